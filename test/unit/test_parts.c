/*
 * test_parts.c
 *	  Random numbers, parameters, optimiser, scaling, quantiles, scores.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "json.h"

#define LENGTH(a) ((int) (sizeof(a) / sizeof((a)[0])))

/* ---- random numbers ------------------------------------------------------------ */

static void
test_rng_values(void)
{
	/* output of the authors' program for this state */
	static const uint64_t want[] = {
		UINT64_C(11520),
		UINT64_C(0),
		UINT64_C(1509978240),
		UINT64_C(1215971899390074240),
		UINT64_C(1216172134540287360),
		UINT64_C(607988272756665600),
		UINT64_C(16172922978634559625),
		UINT64_C(8476171486693032832),
		UINT64_C(10595114339597558777),
		UINT64_C(2904607092377533576),
	};
	nn_rng		rng = {{1, 2, 3, 4}};
	bool		equal = true;

	for (int i = 0; i < LENGTH(want); i++)
		equal = nn_rng_next(&rng) == want[i] && equal;
	ok(equal, "xoshiro256** gives the known values");
}

static void
test_rng_seeds(void)
{
	nn_rng		a, b, c, d;
	bool		same = true;
	int			alike = 0;

	nn_rng_seed(&a, 42, 1);
	nn_rng_seed(&b, 42, 1);
	nn_rng_seed(&c, 42, 2);
	nn_rng_seed(&d, 43, 1);
	for (int i = 0; i < 1000; i++)
	{
		uint64_t	x = nn_rng_next(&a);

		same = same && x == nn_rng_next(&b);
		alike += x == nn_rng_next(&c);
		alike += x == nn_rng_next(&d);
	}
	ok(same, "the same seed and stream give the same numbers");
	ok(alike == 0, "another seed or stream gives other numbers");
}

static void
test_rng_double(void)
{
	nn_rng		rng;
	double		low = 1, high = 0, sum = 0;

	nn_rng_seed(&rng, 1, 0);
	for (int i = 0; i < 100000; i++)
	{
		double		x = nn_rng_double(&rng);

		low = fmin(low, x);
		high = fmax(high, x);
		sum += x;
	}
	ok(low >= 0 && low < 1e-3 && high < 1 && high > 1 - 1e-3 && fabs(sum / 100000 - 0.5) < 5e-3,
	   "uniform numbers from 0 to 1");
}

static void
test_rng_below(void)
{
	const uint64_t huge = UINT64_C(3) << 62;
	nn_rng		rng;
	int			count[7] = {0};
	int			first_third = 0;
	bool		below = true;

	nn_rng_seed(&rng, 1, 0);
	for (int i = 0; i < 70000; i++)
	{
		uint64_t	x = nn_rng_below(&rng, 7);

		below = below && x < 7;
		count[x % 7]++;
	}
	for (int i = 0; i < 7; i++)
		below = below && abs(count[i] - 10000) < 500;
	ok(below, "integers below 7, all equally often");
	below = true;
	for (int i = 0; i < 30000; i++)
	{
		uint64_t	x = nn_rng_below(&rng, huge);

		below = below && x < huge;
		first_third += x < huge / 3;
	}
	/* a plain remainder would give the first third of the range half of the time */
	ok(below && abs(first_third - 10000) < 500, "integers below 3·2^62 without bias");
	for (int i = 0; i < 100; i++)
		below = below && nn_rng_below(&rng, 1) == 0;
	ok(below, "integers below 1");
}

/* ---- parameters ---------------------------------------------------------------------- */

static bool
same_dims(const nn_param *p, const json_value *shape)
{
	bool		same = shape->count == (size_t) p->ndim;

	for (int i = 0; same && i < p->ndim; i++)
		same = shape->child[i].number == p->dims[i];
	return same;
}

static void
test_params_names(void)
{
	const nn_shape shape = edge_shapes[0];
	const char *dir = getenv("AMAD_TEST_DIR");
	char		path[4096];
	json_value *json;
	const json_value *params;
	bool		same = true;

	snprintf(path, sizeof(path), "%s/reference/amad.json", dir ? dir : "test");
	json = json_read(path);
	if (json == NULL)
		exit(EXIT_FAILURE);
	params = json_get(json, "params");
	ok(params->count == (size_t) nn_param_count(&shape), "%zu parameters", params->count);
	for (int i = 0; i < nn_param_count(&shape); i++)
	{
		nn_param	p = nn_param_at(&shape, i);

		if (!same_dims(&p, json_get(json_get(params, p.name), "shape")))
		{
			note("%s has another shape", p.name);
			same = false;
		}
	}
	ok(same, "names and shapes of the parameters are those of the reference");
	json_free(json);
}

static bool
contiguous(const nn_shape *shape)
{
	const int	n = nn_param_count(shape);
	nn_param   *all = dirty(n * sizeof(nn_param));
	size_t		offset = 0;
	bool		good = true;

	for (int i = 0; i < n; i++)
	{
		nn_param   *p = &all[i];
		size_t		size = 1;

		*p = nn_param_at(shape, i);
		for (int j = 0; j < p->ndim; j++)
			size *= p->dims[j];
		good = good && p->offset == offset && p->size == size;
		for (int j = 0; j < i; j++)
			good = good && strcmp(p->name, all[j].name) != 0;
		offset += size;
	}
	free(all);
	return good && offset == nn_params_size(shape);
}

static void
test_params_layout(void)
{
	const nn_shape deep = {3, 8, 8, 2, 120};	/* block numbers of three digits */
	bool		good = contiguous(&deep);

	for (int i = 0; i < EDGE_SHAPES; i++)
		good = good && contiguous(&edge_shapes[i]);
	ok(good, "names are unique, offsets contiguous");
}

/* Whether a layer norm starts as 1 and 0, and other values are spread over ±bound. */
static bool
well_started(const nn_param *p, const float *values)
{
	double		bound = p->fan_in > 0 ? 1 / sqrt(p->fan_in) : 0;
	double		low = INFINITY, high = -INFINITY, sum = 0;

	for (size_t i = 0; i < p->size; i++)
	{
		low = fmin(low, values[i]);
		high = fmax(high, values[i]);
		sum += values[i] / (double) p->size;
	}
	if (p->fan_in == 0)
		return low == high && low == (strstr(p->name, ".bias") ? 0 : 1);
	if (p->ndim > 1 && p->fan_in != p->dims[1] * (p->ndim > 2 ? p->dims[2] : 1))
		return false;
	/* rounding to float may move a value onto the bound */
	if (low < -bound * (1 + 1e-7) || high > bound * (1 + 1e-7))
		return false;
	return p->size < 500 ||
		(low < -0.95 * bound && high > 0.95 * bound && fabs(sum) < 0.15 * bound);
}

static void
test_params_init(void)
{
	const nn_shape shape = {19, 64, 64, 4, 2};
	const size_t size = nn_params_size(&shape);
	float	   *a = dirty(size * sizeof(float));
	float	   *b = dirty(size * sizeof(float));
	bool		good = true;

	nn_params_init(&shape, 1, a, NULL);
	nn_params_init(&shape, 1, b, NULL);
	ok(memcmp(a, b, size * sizeof(float)) == 0, "the same seed gives the same weights");
	nn_params_init(&shape, 2, b, NULL);
	ok(memcmp(a, b, size * sizeof(float)) != 0, "another seed gives other weights");
	for (int i = 0; i < nn_param_count(&shape); i++)
	{
		nn_param	p = nn_param_at(&shape, i);

		if (!well_started(&p, a + p.offset))
		{
			note("%s has wrong initial values", p.name);
			good = false;
		}
	}
	ok(good, "initial weights are uniform within 1/sqrt(fan_in), layer norms 1 and 0");
	free(a);
	free(b);
}

static void
test_context(void)
{
	const nn_shape usual = {19, 64, 64, 4, 2};
	const nn_shape least = {1, 1, 4, 1, 1};

	ok(nn_context(&usual) == 140 && nn_context(&least) == 14, "context");
}

/* ---- optimiser -------------------------------------------------------------------------- */

static double
cycle(int64_t step, int64_t steps)
{
	return nn_one_cycle(step, steps, 1e-3, 0.1, 25, 1e4);
}

static bool
near(double got, double want)
{
	return fabs(got - want) <= 1e-12 * fabs(want) + 1e-300;
}

static void
test_one_cycle(void)
{
	bool		rises = true;
	bool		bounded = true;

	ok(near(cycle(0, 500), 1e-3 / 25), "one-cycle rate starts at peak/25");
	ok(near(cycle(49, 500), 1e-3), "… peaks after a tenth of the steps");
	ok(fabs(cycle(499, 500) / (1e-3 / 250000) - 1) < 1e-9, "… ends at peak/250000");
	ok(near(cycle(24, 500), 4e-5 + (1e-3 - 4e-5) * 24 / 49), "… rises linearly");
	ok(near(cycle(274, 500), 4e-9 + (1e-3 - 4e-9) / 2), "… falls along a cosine");
	for (int i = 1; i < 500; i++)
		rises = rises && (cycle(i, 500) > cycle(i - 1, 500)) == (i <= 49);
	ok(rises, "… rises, then falls");
	for (int steps = 1; steps <= 30; steps++)
		for (int i = 0; i < steps; i++)
		{
			double		rate = cycle(i, steps);

			bounded = bounded && rate >= 3.9e-9 && rate <= 1e-3 * (1 + 1e-12);
		}
	ok(bounded, "… stays within its limits for 1 … 30 steps");
}

/* Steps of Adam in double, by the formulas of Kingma & Ba. */
static void
adam_in_double(int n, int steps, double rate, const float *grads, double *params)
{
	double		m[8] = {0};
	double		v[8] = {0};

	for (int step = 1; step <= steps; step++)
		for (int i = 0; i < n; i++)
		{
			double		g = grads[i] * step;

			m[i] = 0.9 * m[i] + 0.1 * g;
			v[i] = 0.999 * v[i] + 0.001 * g * g;
			params[i] -= rate * m[i] / (1 - pow(0.9, step)) /
				(sqrt(v[i] / (1 - pow(0.999, step))) + 1e-8);
		}
}

static void
test_adam(void)
{
	const nn_adam adam = {.beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f};
	const float grads[] = {0.5f, -2, 1e-3f, 0, 1e-6f};
	enum
	{
		N = LENGTH(grads)
	};
	float		params[N] = {1, 2, -3, 4, 0.5f};
	double		want[N] = {1, 2, -3, 4, 0.5};
	float		moment1[N] = {0};
	float		moment2[N] = {0};

	for (int step = 1; step <= 3; step++)
	{
		float		g[N];

		for (int i = 0; i < N; i++)
			g[i] = grads[i] * step;
		nn_adam_step(&adam, step, 0.01, N, params, g, moment1, moment2, NULL);
	}
	adam_in_double(N, 3, 0.01, grads, want);
	ok_close(deviation(N, params, want, 0), 1e-6, "Adam with bias corrections");
}

static void
test_clip(void)
{
	const nn_adam adam = {.beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .clip = 1};
	float		params[2] = {0};
	float		moment1[2] = {0};
	float		moment2[2] = {0};
	float		small[2] = {0.3f, -0.4f};
	float		large[2] = {30, -40};
	double		norm = nn_adam_step(&adam, 1, 0.1, 2, params, small, moment1, moment2, NULL);

	ok(fabs(norm - 0.5) < 1e-6 && fabs(moment1[0] - 0.03) < 1e-6 && fabs(moment1[1] + 0.04) < 1e-6,
	   "a gradient within the clip is used unchanged");
	norm = nn_adam_step(&adam, 2, 0.1, 2, params, large, moment1, moment2, NULL);
	ok(fabs(norm - 50) < 1e-4 && fabs(moment1[0] - (0.027 + 0.06)) < 1e-6 &&
		   fabs(moment1[1] + (0.036 + 0.08)) < 1e-6,
	   "a longer gradient is scaled down to the clip, and its norm returned");
}

/* ---- scaling ------------------------------------------------------------------------------ */

static void
test_scale(void)
{
	const double mean[] = {10, 0.3, 1e13, 0, 1e13, 1e-30};
	const double std[] = {2, 0, 0, 0, 2e6, 1e-32};
	const nn_scaling s = {.features = 6, .mean = mean, .std = std, .clip = 5, .bound = 5};
	const nn_scaling wide = {.features = 6, .mean = mean, .std = std, .clip = 5, .bound = 1e6};

	ok(nn_scale(&s, 0, 13) == 1.5f && nn_scale(&s, 0, 10) == 0, "scaling");
	ok(nn_unscale(&s, 0, 1.5) == 13 && nn_unscale(&s, 0, 0) == 10 && nn_unscale(&s, 1, 4) == 0.3 &&
		   fabs(nn_unscale(&s, 1, s.clip * pow(1 + log(3), 4)) - 0.9) < 1e-12 &&
		   fabs(nn_unscale(&s, 1, -s.clip * pow(1 + log(3), 4)) + 0.3) < 1e-12,
	   "and its inverse, also for other values of a constant");
	ok(nn_scale(&s, 0, 1e300) == 5 && nn_scale(&s, 0, -1e300) == -5 &&
		   nn_scale(&s, 0, INFINITY) == 5 && nn_scale(&s, 0, 20.000001) == 5,
	   "scaling clips");
	ok(nn_scale(&s, 4, 1e13 + 3e6) == 1.5f && nn_scale(&s, 5, 0.99e-30) == -1,
	   "scaling in any unit");
	ok(nn_scale(&s, 1, 0.3) == 0 && nn_scale(&s, 1, 0.1 + 0.2) == 0 &&
		   nn_scale(&s, 1, 0.3 + 1e-14) == 5 && nn_scale(&s, 1, 0.3 - 1e-14) == -5 &&
		   nn_scale(&s, 2, 1e13 + 0.03) == 0 && nn_scale(&s, 2, 1e13 + 0.05) == 5 &&
		   nn_scale(&s, 3, DBL_TRUE_MIN) == 0 && nn_scale(&s, 3, -1e-300) == -5,
	   "a constant feature is 0 within the tolerance, else ±clip");
	ok(nn_scale(&wide, 2, 1.1e13) > 5.4 && nn_scale(&wide, 2, 3e13) > nn_scale(&wide, 2, 1.1e13) &&
		   nn_scale(&wide, 2, -3e13) < -5 &&
		   nn_scale(&wide, 3, 250) > 2 * nn_scale(&wide, 3, 0.1) &&
		   nn_scale(&wide, 2, 2e13) == (float) (5 * pow(1 + log1p(1), 4)) &&
		   nn_scale(&wide, 3, 1e300) == 1e6,
	   "a large change of a constant is more than a small one");
	ok(nn_is_constant(5, 0) && nn_is_constant(0, 0) && !nn_is_constant(0, 1e-300) &&
		   nn_is_constant(-1e13, 0.03) && !nn_is_constant(1e13, 0.05) &&
		   !nn_is_constant(3e-7, 1e-8) && !nn_is_constant(1e-30, 1e-40) &&
		   nn_is_constant(DBL_TRUE_MIN, DBL_TRUE_MIN) && !nn_is_constant(1e308, 1e294),
	   "constant features");
}

/* ---- quantiles ------------------------------------------------------------------------------ */

static double
quantile(int n, const double *values, double q)
{
	double		copy[16];

	memcpy(copy, values, n * sizeof(double));
	return nn_quantile(copy, n, q);
}

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

/* Compares with sorting: values with many ties in random, rising and falling order. */
static bool
selects_as_sorting_does(void)
{
	static double values[300];
	static double sorted[300];
	nn_rng		rng;

	nn_rng_seed(&rng, 5, 0);
	for (int n = 1; n <= 300; n++)
		for (int order = 0; order < 3; order++)
		{
			double		q = nn_rng_double(&rng);
			double		at = q * (n - 1);
			int			k = (int) at;
			double		expected;

			for (int i = 0; i < n; i++)
				values[i] = order == 0 ? (double) nn_rng_below(&rng, n)
					: order == 1	   ? i / 3
									   : -i / 2;
			memcpy(sorted, values, sizeof(double) * n);
			qsort(sorted, n, sizeof(double), compare);
			expected = sorted[n - 1];
			if (k + 1 < n)
				expected = sorted[k] + (at - k) * (sorted[k + 1] - sorted[k]);
			if (nn_quantile(values, n, q) != expected)
				return false;
		}
	return true;
}

/* Expected values are those of numpy.quantile(values, q). */
static void
test_quantile(void)
{
	const double five[] = {3, -1, 10, 2.5, 7};
	const double ties[] = {2, 1, 1, 2};
	const double one[] = {42};

	ok(quantile(5, five, 0) == -1 && quantile(5, five, 1) == 10 && quantile(5, five, 0.5) == 3,
	   "quantiles: minimum, maximum, median");
	ok(selects_as_sorting_does(), "quantiles by selection equal those by sorting");
	ok(near(quantile(5, five, 0.9), 8.8) && near(quantile(5, five, 0.3), 2.6) &&
		   near(quantile(5, five, 0.125), 0.75),
	   "quantiles between order statistics");
	ok(near(quantile(4, ties, 0.5), 1.5) && near(quantile(4, ties, 0.25), 1),
	   "quantiles of equal values");
	ok(quantile(1, one, 0) == 42 && quantile(1, one, 0.99) == 42 && quantile(1, one, 1) == 42,
	   "quantiles of one value");
}

/* ---- scores ---------------------------------------------------------------------- */

static const double rho[] = {0.5, 2};
static const double mu[] = {0.02, 0.04};
static const double theta[] = {2, 1, 0.5};
static const int lengths[] = {1, 3, 5};

static const nn_calibration calibration = {
	.features = 2,
	.layers = 2,
	.nhorizons = 3,
	.horizons = lengths,
	.clip = 5,
	.gamma = 0.25,
	.rho = rho,
	.mu = mu,
	.theta = theta,
	.threshold = 1,
};

static void
test_raw_score(void)
{
	const float scaled[] = {1, -1};
	const float expected[] = {2, 1};
	const float discrepancy[] = {0.04f, 0.16f};
	const float below[] = {-1e-9f, -1e-9f};
	const float broken[] = {NAN, 0.1f};
	nn_calibration flat = calibration;
	nn_row		row = {.scaled = scaled, .expected = expected, .signals = discrepancy};
	double		raw = nn_raw_score(&calibration, &row, NULL);

	flat.gamma = 0;
	/* mean of 1/0.5 and 4/2, times the fourth root of (2 + 4)/2 */
	ok(fabs(raw - 2 * pow(3, 0.25)) < 1e-6, "raw score");
	ok(nn_raw_score(&flat, &row, NULL) == 2, "raw score without discrepancy");
	row.signals = below;
	ok(nn_raw_score(&calibration, &row, NULL) == 0, "a discrepancy rounded below 0 counts as 0");
	row.signals = broken;
	ok(isnan(nn_raw_score(&calibration, &row, NULL)), "a NaN discrepancy gives a NaN score");
}

/* Compares with the mean over the features given, for all maps of two bytes. */
static void
test_raw_score_of_given(void)
{
	enum
	{
		F = 11
	};
	const float discrepancy[] = {0.04f, 0.16f};
	double		many_rho[F];
	float		scaled[F];
	float		expected[F];
	nn_row		without = {.scaled = scaled,
					  .expected = expected,
					  .signals = discrepancy,
					  .imputed = (uint8_t[]){0, 2}};
	nn_row		with = {.scaled = scaled,
				   .expected = expected,
				   .signals = discrepancy,
				   .imputed = (uint8_t[]){2, 1}};
	nn_calibration many = calibration;
	nn_calibration weighted;
	double		weight[F];
	nn_rng		rng;
	bool		right = true;

	nn_rng_seed(&rng, 3, 0);
	for (int c = 0; c < F; c++)
	{
		many_rho[c] = random_between(&rng, 0.5, 2);
		weight[c] = c % 2 == 0 ? 1.5 : 0.2;
		scaled[c] = (float) random_between(&rng, -3, 3);
		expected[c] = (float) random_between(&rng, -3, 3);
	}
	many.features = F;
	many.rho = many_rho;
	weighted = many;
	weighted.weight = weight;
	for (int map = 0; map < 1 << F; map++)
	{
		const uint8_t imputed[] = {(uint8_t) map, (uint8_t) (map >> 8)};
		nn_row		row = {.scaled = scaled,
					  .expected = expected,
					  .signals = discrepancy,
					  .imputed = imputed};
		double		raw = nn_raw_score(&many, &row, NULL);
		double		heavy = nn_raw_score(&weighted, &row, NULL);
		double		nu = 0;
		double		nu_weighted = 0;
		double		weights = 0;
		int			given = 0;

		for (int c = 0; c < F; c++)
			if ((map >> c & 1) == 0)
			{
				double		r = pow((double) expected[c] - scaled[c], 2) / many_rho[c];

				nu += r;
				nu_weighted += weight[c] * r;
				weights += weight[c];
				given++;
			}
		row.imputed = NULL;
		if (map == 0)
			right = right && raw == nn_raw_score(&many, &row, NULL);
		if (given == 0)
			right = right && raw == NN_NO_SCORE && heavy == NN_NO_SCORE;
		else
			right = right && fabs(raw / (nu / given * pow(3, 0.25)) - 1) < 1e-6 &&
				fabs(heavy / (nu_weighted / weights * pow(3, 0.25)) - 1) < 1e-6;
	}
	ok(right, "imputed features do not count in the raw score, which is NaN if all are imputed");
	expected[9] = NAN;
	ok(nn_raw_score(&many, &without, NULL) > 0 && isnan(nn_raw_score(&many, &with, NULL)),
	   "imputed features do not count even if they are NaN");
}

/* Mean of the raw scores among the last h of n values. */
static double
mean_of_last(const double *values, int n, int h)
{
	double		sum = 0;
	int			given = 0;

	if (n < h)
		return NAN;
	for (int i = n - h; i < n; i++)
		if (values[i] != NN_NO_SCORE)
		{
			sum += values[i];
			given++;
		}
	return given > 0 ? sum / given : NAN;
}

static void
test_horizons(void)
{
	const double raw[] = {1, 4, 2, 8, 5, 7, 0, 0, 0, 0, 0, 3};
	double		ring[5];
	nn_horizons h;
	bool		means_right = true;
	bool		score_right = true;

	nn_horizons_open(&h, &calibration, ring);
	ok(nn_max_horizon(&calibration) == 5, "the longest horizon");
	for (int round = 0; round < 2; round++)
	{
		for (int n = 1; n <= LENGTH(raw); n++)
		{
			double		means[3];
			double		want[3];
			double		most = 0;
			double		score;

			nn_horizons_add(&h, raw[n - 1]);
			nn_horizons_means(&h, 0, means);
			score = nn_horizons_score(&h, 0);
			for (int i = 0; i < 3; i++)
			{
				want[i] = mean_of_last(raw, n, lengths[i]);
				most = fmax(most, want[i] / theta[i]);
			}
			means_right = means_right && deviation_of_doubles(3, means, want, 1) < 1e-15;
			score_right = score_right && (n < 5 ? isnan(score) : fabs(score - most) < 1e-14);
		}
		nn_horizons_reset(&h);
	}
	ok(means_right, "means of the last rows, NaN before there are enough; the same after a reset");
	ok(score_right, "score: the greatest mean in units of theta, NaN before all horizons are full");
	for (int n = 0; n < 6; n++)
		nn_horizons_add(&h, n == 3 ? NAN : 1);
	ok(isnan(nn_horizons_score(&h, 0)), "no score while a raw score is NaN");
	for (int n = 0; n < 3; n++)
		nn_horizons_add(&h, 1);
	ok(nn_horizons_score(&h, 0) == 2, "a score again when it has left the horizons");
}

/* Rows without a raw score do not count in means, and have no score themselves. */
static void
test_horizons_with_gaps(void)
{
	const double none = NN_NO_SCORE;
	const double raw[] = {none, none, 3,	none, 1, 4,	   none, none, none,
						  none, none, none, 2,	  0, none, 6,	 none};
	double		ring[5];
	nn_horizons h;
	bool		means_right = true;
	bool		score_right = true;

	nn_horizons_open(&h, &calibration, ring);
	for (int n = 1; n <= LENGTH(raw); n++)
	{
		double		means[3];
		double		want[3];
		double		most = 0;
		double		score;

		nn_horizons_add(&h, raw[n - 1]);
		nn_horizons_means(&h, 0, means);
		score = nn_horizons_score(&h, 0);
		for (int i = 0; i < 3; i++)
		{
			want[i] = mean_of_last(raw, n, lengths[i]);
			if (!isnan(want[i]))
				most = fmax(most, want[i] / theta[i]);
		}
		means_right = means_right && deviation_of_doubles(3, means, want, 1) < 1e-15;
		score_right = score_right &&
			(n < 5 || raw[n - 1] == none ? isnan(score) : fabs(score - most) < 1e-14);
	}
	ok(means_right, "rows without a raw score do not count in means; NaN if there are no others");
	ok(score_right, "a row without a raw score has no score, but the next one has");
}

/* The score that follows from means (docs/model.md, Score). */
static double
score_of(const double *means, double release)
{
	double		before = INFINITY;
	double		score = 0;

	for (int i = 0; i < 3; i++)
	{
		double		evidence = means[i] / theta[i];

		if (release > 0 && i > 0)
			evidence = fmin(evidence, release * before);
		before = evidence;
		score = fmax(score, evidence);
	}
	return score;
}

/* Whether means and score of the row `back` rows before the n-th are right. */
static bool
right_around(const nn_calibration *around, const double *raw, int n, int back)
{
	double		ring[5];
	double		means[3];
	double		want[3];
	double		score;
	nn_horizons h;

	nn_horizons_open(&h, around, ring);
	for (int i = 0; i < n; i++)
		nn_horizons_add(&h, raw[i]);
	nn_horizons_means(&h, back, means);
	score = nn_horizons_score(&h, back);
	for (int i = 0; i < 3; i++)
	{
		/* the last row that the horizon reaches */
		int			reach = lengths[i] / 2 < around->lookahead ? lengths[i] / 2 : around->lookahead;

		want[i] = mean_of_last(raw, n - back + reach < n ? n - back + reach : n, lengths[i]);
	}
	return deviation_of_doubles(3, means, want, 1) < 1e-15 &&
		(n - back < 5 || raw[n - back - 1] == NN_NO_SCORE
			 ? isnan(score)
			 : fabs(score - score_of(want, around->release)) < 1e-14);
}

/* Horizons around a row that end at the newest row and are limited by shorter ones. */
static void
test_horizons_around(void)
{
	const double raw[] = {1, 4, 2, 8, 5, 7, NN_NO_SCORE, 0, 9, 0, 3, NN_NO_SCORE, 6, 1};
	nn_calibration around = calibration;
	bool		right = true;

	for (around.release = 0; around.release < 2; around.release += 0.5)
		for (around.lookahead = 0; around.lookahead <= 2; around.lookahead++)
			for (int n = 1; n <= LENGTH(raw); n++)
				for (int back = 0; back <= around.lookahead && back < n; back++)
					right = right && right_around(&around, raw, n, back);
	ok(right, "horizons are around a row, end at the newest row, and release limits them");
}

/* Rows are released `lookahead` rows late, each once; the rest at the end of a stretch. */
static void
test_horizons_delay(void)
{
	nn_calibration late = calibration;
	double		ring[5];
	nn_horizons h;
	int			next = 0;		/* the row to be released */
	bool		right = true;

	late.lookahead = 2;
	nn_horizons_open(&h, &late, ring);
	for (int i = 0; i < 9; i++)
	{
		nn_horizons_add(&h, i);
		right = right && nn_horizons_due(&h) == (i >= 2);
		if (nn_horizons_due(&h))
			right = right && i - nn_horizons_release(&h) == next++;
	}
	ok(right && next == 7 && !nn_horizons_due(&h),
	   "rows come due when the rows they may see are there");
	while (h.waiting > 0)
		right = right && 8 - nn_horizons_release(&h) == next++;
	ok(right && next == 9, "and the last ones when the caller ends the stretch");
	nn_horizons_add(&h, 1);
	nn_horizons_reset(&h);
	ok(h.waiting == 0, "no row waits when a stretch begins");
}

static void
test_choice(void)
{
	ok(!nn_kernel_use("none") && nn_kernel_use(NULL) && nn_kernel_use("portable") &&
		   strcmp(nn_kernel_name(), "portable") == 0,
	   "kernels are chosen by name");
	nn_kernel_use(NULL);
}

int
main(void)
{
	test_rng_values();
	test_rng_seeds();
	test_rng_double();
	test_rng_below();
	test_params_names();
	test_params_layout();
	test_params_init();
	test_context();
	test_one_cycle();
	test_adam();
	test_clip();
	test_scale();
	test_quantile();
	test_raw_score();
	test_raw_score_of_given();
	test_horizons();
	test_horizons_with_gaps();
	test_horizons_around();
	test_horizons_delay();
	test_choice();
	return done();
}
