/*
 * core/evidence/sketch.c
 *	  Quantiles of values that are counted in several places.
 *
 * The bits of a positive double, read as an integer, are its exponent followed by its mantissa.
 * So the upper bits, down to the seventh of the mantissa, number the buckets in the order
 * of the values, without a logarithm, whose last bit depends on the C library.
 */
#include <math.h>
#include <string.h>

#include "core/evidence/sketch.h"

#define MANTISSA_BITS 52
#define PART_BITS 7				/* 2^7 = NN_SKETCH_PARTS */
#define EXPONENT_BIAS 1023

void
nn_sketch_clear(nn_sketch *s)
{
	memset(s, 0, sizeof(*s));
}

static int
bucket_of_value(double value)
{
	const int	first = (NN_SKETCH_LEAST + EXPONENT_BIAS) * NN_SKETCH_PARTS;
	uint64_t	bits;

	if (value < ldexp(1.0, NN_SKETCH_LEAST))
		return 0;
	if (value >= ldexp(1.0, NN_SKETCH_MOST))
		return NN_SKETCH_BUCKETS - 1;
	memcpy(&bits, &value, sizeof(bits));
	return 1 + (int) (bits >> (MANTISSA_BITS - PART_BITS)) - first;
}

/* The middle of a bucket. */
static double
value_of_bucket(int bucket)
{
	int			part = (bucket - 1) % NN_SKETCH_PARTS;
	int			exponent = NN_SKETCH_LEAST + (bucket - 1) / NN_SKETCH_PARTS;

	if (bucket == 0)
		return 0.0;
	if (bucket == NN_SKETCH_BUCKETS - 1)
		return ldexp(1.0, NN_SKETCH_MOST);
	return ldexp(1.0 + (part + 0.5) / NN_SKETCH_PARTS, exponent);
}

void
nn_sketch_add(nn_sketch *s, double value)
{
	s->count[bucket_of_value(value)]++;
	s->n++;
}

bool
nn_sketch_add_count(nn_sketch *s, int bucket, uint64_t count)
{
	if (count > UINT64_MAX - s->n)
		return false;
	s->count[bucket] += count;
	s->n += count;
	return true;
}

double
nn_sketch_quantile(const nn_sketch *s, double q)
{
	double		at = s->n > 0 ? q * (double) (s->n - 1) : 0.0;
	uint64_t	k = (uint64_t) at;
	uint64_t	before = 0;		/* values in the buckets before */
	int			low;
	int			high;

	if (s->n == 0)
		return 0.0;
	if (k >= s->n)				/* rounding of a very large n */
		k = s->n - 1;
	for (low = 0; before + s->count[low] <= k; low++)
		before += s->count[low];
	/* the next value in order is in the same bucket, or in the next one that has any */
	if (k + 1 < before + s->count[low] || k + 1 >= s->n)
		return value_of_bucket(low);
	for (high = low + 1; s->count[high] == 0; high++)
		;
	return value_of_bucket(low) +
		(at - (double) k) * (value_of_bucket(high) - value_of_bucket(low));
}
