/*
 * core/evidence/horizons.c
 *	  From the raw scores of neighbouring rows to anomaly scores (docs/model.md, Score).
 *
 * In double precision and in a fixed order.  A sum is computed from a horizon's newest row
 * backwards for every row: a running sum would carry the rounding errors of all earlier
 * rows, and scores would depend on where the series begins.
 */
#include <math.h>

#include "core/evidence/horizons.h"

int
nn_max_horizon(const nn_calibration *calibration)
{
	return calibration->horizons[calibration->nhorizons - 1];	/* they ascend */
}

void
nn_horizons_open(nn_horizons *h, const nn_calibration *calibration, double *ring)
{
	h->calibration = calibration;
	h->size = nn_max_horizon(calibration);
	h->ring = ring;
	nn_horizons_reset(h);
}

void
nn_horizons_reset(nn_horizons *h)
{
	h->count = 0;
	h->waiting = 0;
}

void
nn_horizons_add(nn_horizons *h, double raw)
{
	h->ring[h->count++ % h->size] = raw;
	h->waiting++;
}

/* Index in the ring of the raw score `back` rows before the newest. */
static int
ring_index(const nn_horizons *h, int back)
{
	return (int) ((h->count + h->size - 1 - back) % h->size);
}

/* The ring is long enough: lookahead is at most half of its size. */
void
nn_horizons_means(const nn_horizons *h, int back, double *means)
{
	const nn_calibration *cal = h->calibration;

	for (int i = 0; i < cal->nhorizons; i++)
	{
		const int	rows = cal->horizons[i];
		const int	reach = nn_horizon_reach(rows, cal->lookahead);
		int			after = back > reach ? back - reach : 0;	/* rows behind the last one */
		const double most = i > 0 && cal->burst > 0 ? cal->burst * rows * cal->theta[i] : INFINITY;
		int			place = ring_index(h, after);
		double		sum = 0.0;
		double		weights = 0.0;

		means[i] = NAN;
		if (h->count < after + rows)
			continue;
		for (int n = 0; n < rows; n++)
		{
			if (h->ring[place] != NN_NO_SCORE)
			{
				double		weight = nn_horizon_weight(cal->fade, rows, after + n - back);
				double		raw = h->ring[place];

				sum += weight * (raw > most ? most : raw);
				weights += weight;
			}
			place = place > 0 ? place - 1 : h->size - 1;
		}
		if (weights > 0)
			means[i] = sum / weights;
	}
}

double
nn_horizons_score(const nn_horizons *h, int back)
{
	const nn_calibration *cal = h->calibration;
	double		means[NN_HORIZONS_MAX];
	double		limit = INFINITY;
	double		score = 0.0;

	if (h->count - back < h->size || h->ring[ring_index(h, back)] == NN_NO_SCORE)
		return NAN;
	nn_horizons_means(h, back, means);
	for (int i = 0; i < cal->nhorizons; i++)
	{
		double		evidence = means[i] / cal->theta[i];

		if (isnan(evidence))
			return NAN;			/* rather than the 0 of a normal row */
		if (evidence > limit)
			evidence = limit;
		if (evidence > score)
			score = evidence;
		if (cal->release > 0)
			limit = cal->release * evidence;
	}
	return score;
}
