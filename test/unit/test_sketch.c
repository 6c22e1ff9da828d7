/*
 * test_sketch.c
 *	  Quantiles from counts that are merged (core/evidence/sketch.c).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/evidence/quantile.h"
#include "core/evidence/sketch.h"
#include "core/rng.h"
#include "tap.h"

#define VALUES 20000
#define SHARDS 7

static const double quantiles[] = {0.0, 0.001, 0.01,  0.25,	   0.5, 0.75,
								   0.9, 0.99,  0.999, 0.99995, 1.0};

typedef double (*draw) (nn_rng *rng);

static double
uniform(nn_rng *rng)
{
	return (double) nn_rng_below(rng, 1000000) / 1000.0;
}

static double
lognormal(nn_rng *rng)
{
	double		sum = -6.0;

	for (int i = 0; i < 12; i++)
		sum += (double) nn_rng_below(rng, 1 << 20) / (1 << 20);
	return exp(2.0 * sum);
}

/* ten powers of ten, a few of them rare */
static double
wide(nn_rng *rng)
{
	return pow(10.0, (double) nn_rng_below(rng, 1 << 20) / (1 << 20) * 20.0 - 10.0);
}

static double
few_values(nn_rng *rng)
{
	return 1.0 + nn_rng_below(rng, 3);
}

/* a tenth is exactly 0 */
static double
with_zeros(nn_rng *rng)
{
	return nn_rng_below(rng, 10) == 0 ? 0.0 : uniform(rng);
}

static void
test_error(const char *name, draw value)
{
	double	   *values = malloc(sizeof(double) * VALUES);
	double	   *copy = malloc(sizeof(double) * VALUES);
	nn_sketch  *sketch = malloc(sizeof(nn_sketch));
	double		worst = 0.0;
	nn_rng		rng;

	nn_rng_seed(&rng, 1, 2);
	nn_sketch_clear(sketch);
	for (int i = 0; i < VALUES; i++)
	{
		values[i] = value(&rng);
		nn_sketch_add(sketch, values[i]);
	}
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(*quantiles); i++)
	{
		double		exact;

		memcpy(copy, values, sizeof(double) * VALUES);
		exact = nn_quantile(copy, VALUES, quantiles[i]);
		worst = fmax(worst,
					 fabs(nn_sketch_quantile(sketch, quantiles[i]) - exact) / fmax(exact, 1e-10));
	}
	if (!ok(worst <= NN_SKETCH_ERROR, "%s: relative error of quantiles", name))
		note("%g", worst);
	free(values);
	free(copy);
	free(sketch);
}

/* The greatest relative error of a single value, over the borders of buckets. */
static void
test_values(void)
{
	nn_sketch  *sketch = malloc(sizeof(nn_sketch));
	double		worst = 0.0;
	double		before = -1.0;
	bool		rises = true;

	nn_sketch_clear(sketch);
	for (double x = ldexp(1.0, NN_SKETCH_LEAST); x < ldexp(1.0, NN_SKETCH_MOST); x *= 1.0009)
	{
		double		found;

		nn_sketch_clear(sketch);
		nn_sketch_add(sketch, x);
		found = nn_sketch_quantile(sketch, 0.5);
		worst = fmax(worst, fabs(found - x) / x);
		rises = rises && found >= before;
		before = found;
	}
	ok(worst <= NN_SKETCH_ERROR, "single values: relative error %g", worst);
	ok(rises, "greater values are not in earlier buckets");
	free(sketch);
}

static double
quantile_of_one(double value)
{
	static nn_sketch sketch;

	nn_sketch_clear(&sketch);
	nn_sketch_add(&sketch, value);
	return nn_sketch_quantile(&sketch, 1.0);
}

static void
test_range(void)
{
	nn_sketch  *sketch = malloc(sizeof(nn_sketch));

	nn_sketch_clear(sketch);
	ok(nn_sketch_quantile(sketch, 0.5) == 0.0, "no values");
	ok(quantile_of_one(0.0) == 0.0 && quantile_of_one(-1.0) == 0.0 &&
		   quantile_of_one(1e-300) == 0.0,
	   "0, negative and tiny values count as 0");
	ok(quantile_of_one(1e300) == ldexp(1.0, NN_SKETCH_MOST) &&
		   quantile_of_one(INFINITY) == ldexp(1.0, NN_SKETCH_MOST),
	   "values beyond the range count as its end");
	ok(quantile_of_one(nextafter(ldexp(1.0, NN_SKETCH_MOST), 0)) < ldexp(1.0, NN_SKETCH_MOST) &&
		   quantile_of_one(ldexp(1.0, NN_SKETCH_LEAST)) > 0,
	   "the ends of the range");
	ok(nn_sketch_add_count(sketch, 5, UINT64_MAX - 1) && nn_sketch_add_count(sketch, 6, 1) &&
		   !nn_sketch_add_count(sketch, 5, 1) && sketch->n == UINT64_MAX,
	   "counts do not overflow");
	ok(nn_sketch_quantile(sketch, 0.5) > 0 && nn_sketch_quantile(sketch, 1.0) > 0,
	   "quantiles of as many values as there can be");
	free(sketch);
}

static bool
merge(nn_sketch *to, const nn_sketch *from)
{
	bool		fits = true;

	for (int i = 0; i < NN_SKETCH_BUCKETS; i++)
		fits = fits && nn_sketch_add_count(to, i, from->count[i]);
	return fits;
}

/* Values in any number of places, merged in any order. */
static void
test_merging(void)
{
	nn_sketch  *shard = calloc(SHARDS, sizeof(nn_sketch));
	nn_sketch  *whole = calloc(1, sizeof(nn_sketch));
	nn_sketch  *merged = calloc(2, sizeof(nn_sketch));
	nn_rng		rng;

	nn_rng_seed(&rng, 3, 4);
	for (int i = 0; i < VALUES; i++)
	{
		double		x = lognormal(&rng);

		nn_sketch_add(whole, x);
		nn_sketch_add(&shard[nn_rng_below(&rng, SHARDS)], x);
	}
	for (int i = 0; i < SHARDS; i++)
	{
		merge(&merged[0], &shard[i]);
		merge(&merged[1], &shard[SHARDS - 1 - i]);
	}
	ok(memcmp(whole, &merged[0], sizeof(nn_sketch)) == 0 &&
		   memcmp(whole, &merged[1], sizeof(nn_sketch)) == 0,
	   "the same counts in any order of merging");
	free(shard);
	free(whole);
	free(merged);
}

int
main(void)
{
	test_error("uniform values", uniform);
	test_error("lognormal values", lognormal);
	test_error("values of twenty powers of ten", wide);
	test_error("three different values", few_values);
	test_error("values with zeros", with_zeros);
	test_values();
	test_range();
	test_merging();
	return done();
}
