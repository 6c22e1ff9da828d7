/*
 * nn_score.c
 *	  From residuals to scores: scaling (section 2.1), raw score, horizons,
 *	  quantiles (section 2.7).  In double precision, in a fixed order.
 */
#include <math.h>

#include "nn.h"

#define CONSTANT_TOLERANCE 1e-6
#define POLL_SWAPS 65536		/* of a selection, between two polls */

/* How far a value may stray from mean and still be the same constant. */
static double
tolerance(double mean)
{
	return CONSTANT_TOLERANCE * (fabs(mean) > 1.0 ? fabs(mean) : 1.0);
}

bool
nn_is_constant(double mean, double std)
{
	return std <= tolerance(mean);
}

float
nn_scale(const nn_scaling *s, int feature, double value)
{
	double		mean = s->mean[feature];
	double		std = s->std[feature];
	double		z;

	if (std > 0)
		z = (value - mean) / std;
	else if (fabs(value - mean) <= tolerance(mean))
		z = 0.0;
	else
		z = value > mean ? s->clip : -s->clip;
	if (z > s->bound)
		z = s->bound;
	if (z < -s->bound)
		z = -s->bound;
	return (float) z;
}

void
nn_clip(double clip, const float *z, size_t n, float *clipped)
{
	for (size_t i = 0; i < n; i++)
		clipped[i] = nn_clipped(clip, z[i]);
}

int
nn_max_horizon(const nn_calibration *calibration)
{
	return calibration->horizons[calibration->nhorizons - 1];	/* they ascend */
}

/* (mean_n D/mu)^gamma · (S/mu)^delta */
static double
signal_factor(const nn_calibration *cal, const float *signals)
{
	double		factor = 1.0;
	double		sum = 0.0;

	if (cal->layers > 0 && cal->gamma != 0)
	{
		for (int n = 0; n < cal->layers; n++)
			sum += signals[n] / cal->mu[n];
		/* rounding can leave a divergence a little below 0; NaN stays */
		factor = pow(sum < 0 ? 0.0 : sum / cal->layers, cal->gamma);
	}
	if (cal->delta != 0)
		factor *= pow(signals[cal->layers] / cal->mu[cal->layers], cal->delta);
	return factor;
}

static double
weight_of(const nn_calibration *cal, int c)
{
	return cal->weight ? cal->weight[c] : 1.0;
}

/* Of a feature that moves less than it hardly ever did. */
static double
flatline_evidence(const nn_calibration *cal, const float *activity, int c)
{
	/* NaN is not below anything */
	if (cal->flatline == 0 || activity == NULL || !(activity[c] < cal->activity[c]))
		return 0.0;
	return cal->flatline * (1.0 - activity[c] / cal->activity[c]);
}

double
nn_flatline_evidence(const nn_calibration *cal, const float *activity, const uint8_t *imputed)
{
	double		sum = 0.0;
	double		weights = 0.0;

	for (int c = 0; c < cal->features; c++)
		if (!NN_IMPUTED(imputed, c))
		{
			sum += weight_of(cal, c) * flatline_evidence(cal, activity, c);
			weights += weight_of(cal, c);
		}
	return weights == 0 ? 0.0 : sum / weights;
}

/* Of a feature that is not what the time makes one expect. */
static double
season_evidence(const nn_calibration *cal, int terms, const double *basis, float z, int c)
{
	double		d;

	if (terms == 0)
		return 0.0;
	d = nn_season_expected(terms, cal->season_weights + (size_t) c * terms, basis) - z;
	return cal->season_scale[c] * d * d;
}

double
nn_raw_score(const nn_calibration *cal, const nn_row *row, double *evidence)
{
	const int	terms = cal->season ? nn_season_terms(cal->season) : 0;
	const double factor = signal_factor(cal, row->signals);
	double		basis[NN_SEASON_TERMS];
	double		sum = 0.0;
	double		weights = 0.0;

	if (terms > 0)
		nn_season_basis(cal->season, row->time, basis);
	for (int c = 0; c < cal->features; c++)
	{
		const float z = nn_clipped(cal->clip, row->scaled[c]);
		double		r = (double) row->expected[c] - z;
		double		e;

		if (evidence)
			evidence[c] = 0.0;
		if (NN_IMPUTED(row->imputed, c))
			continue;
		e = weight_of(cal, c) * (r * r / cal->rho[c] * factor +
								 season_evidence(cal, terms, basis, z, c) +
								 flatline_evidence(cal, row->activity, c));
		if (evidence)
			evidence[c] = e;
		sum += e;
		weights += weight_of(cal, c);
	}
	return weights == 0 ? NN_NO_SCORE : sum / weights;
}

void
nn_horizons_open(nn_horizons *h, const nn_calibration *calibration, double *ring)
{
	h->calibration = calibration;
	h->size = nn_max_horizon(calibration);
	h->ring = ring;
	h->count = 0;
}

void
nn_horizons_reset(nn_horizons *h)
{
	h->count = 0;
}

void
nn_horizons_add(nn_horizons *h, double raw)
{
	h->ring[h->count++ % h->size] = raw;
}

/* Rows after the last one of a row's horizon: it stands `back` rows before the newest. */
static int
rows_after(const nn_calibration *cal, int horizon, int back)
{
	int			reach = horizon / 2 < cal->lookahead ? horizon / 2 : cal->lookahead;

	return back > reach ? back - reach : 0;
}

/* Where the raw score so many rows before the newest stands. */
static int
place_of(const nn_horizons *h, int rows_before)
{
	return (int) ((h->count + h->size - 1 - rows_before) % h->size);
}

/*
 * Sums run from a horizon's newest row backwards, always afresh: a running sum would
 * carry the rounding of rows long gone, and a score would depend on them.  Horizons
 * that end with the same row share theirs.  The ring is long enough for all: as lookahead
 * is at most half of its size, end + h is no more than that.
 */
void
nn_horizons_means(const nn_horizons *h, int back, double *means)
{
	const nn_calibration *cal = h->calibration;
	int			end = -1;
	int			place = 0;
	int			n = 0;
	int			given = 0;
	double		sum = 0.0;

	for (int i = 0; i < cal->nhorizons; i++)
	{
		int			after = rows_after(cal, cal->horizons[i], back);

		if (after != end)
		{
			end = after;
			place = place_of(h, end);
			n = given = 0;
			sum = 0.0;
		}
		means[i] = NAN;
		if (h->count < end + cal->horizons[i])
			continue;
		for (; n < cal->horizons[i]; n++)
		{
			if (h->ring[place] != NN_NO_SCORE)
			{
				sum += h->ring[place];
				given++;
			}
			place = place > 0 ? place - 1 : h->size - 1;
		}
		if (given > 0)
			means[i] = sum / given;
	}
}

double
nn_horizons_score(const nn_horizons *h, int back)
{
	const nn_calibration *cal = h->calibration;
	double		means[NN_HORIZONS_MAX];
	double		limit = INFINITY;
	double		score = 0.0;

	if (h->count - back < h->size || h->ring[place_of(h, back)] == NN_NO_SCORE)
		return NAN;
	nn_horizons_means(h, back, means);
	for (int i = 0; i < cal->nhorizons; i++)
	{
		double		evidence = means[i] / cal->theta[i];

		if (isnan(evidence))
			return NAN;			/* not the 0 of a quiet row */
		if (evidence > limit)
			evidence = limit;
		if (evidence > score)
			score = evidence;
		if (cal->release > 0)
			limit = cal->release * evidence;
	}
	return score;
}

/*
 * Quickselect (Hoare): the k-th smallest in its place, none greater before it,
 * none smaller behind.  Pivots are drawn at random, the same ones each time: a fixed
 * place would make some orders of the values take quadratic time.
 */
static double
select_kth(double *x, size_t n, size_t k, nn_poll poll)
{
	size_t		low = 0;
	size_t		high = n - 1;
	size_t		swaps = 0;
	nn_rng		rng;

	nn_rng_seed(&rng, n, k);
	while (low < high)
	{
		double		pivot = x[low + nn_rng_next(&rng) % (high - low)];
		size_t		i = low - 1;
		size_t		j = high + 1;

		if (poll && high - low >= POLL_SWAPS)
			poll();
		for (;;)
		{
			double		t;

			if (poll && ++swaps % POLL_SWAPS == 0)
				poll();
			while (x[++i] < pivot)
				;
			while (x[--j] > pivot)
				;
			if (i >= j)
				break;
			t = x[i];
			x[i] = x[j];
			x[j] = t;
		}
		/* now x[low … j] ≤ pivot ≤ x[j + 1 … high] */
		if (k <= j)
			high = j;
		else
			low = j + 1;
	}
	return x[k];
}

double
nn_quantile(double *values, size_t n, double q)
{
	return nn_quantile_polled(values, n, q, NULL);
}

double
nn_quantile_polled(double *values, size_t n, double q, nn_poll poll)
{
	double		at = q * (n - 1);
	size_t		k = (size_t) at;
	double		low,
				high;

	if (n == 0)
		return 0.0;
	if (k + 1 >= n)
		return select_kth(values, n, n - 1, poll);
	low = select_kth(values, n, k, poll);
	high = values[k + 1];
	for (size_t i = k + 2; i < n; i++)
		if (values[i] < high)
			high = values[i];
	return low + (at - k) * (high - low);
}
