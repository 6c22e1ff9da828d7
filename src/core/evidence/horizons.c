/*
 * core/evidence/horizons.c
 *	  From the raw scores of neighbouring rows to anomaly scores.
 *
 * Computed in double precision and in a fixed order.
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

/* Number of rows after the last row of the horizon of the row `back` rows before the newest. */
static int
rows_after(const nn_calibration *cal, int horizon, int back)
{
	int			reach = horizon / 2 < cal->lookahead ? horizon / 2 : cal->lookahead;

	return back > reach ? back - reach : 0;
}

/* Index in the ring of the raw score `back` rows before the newest. */
static int
ring_index(const nn_horizons *h, int back)
{
	return (int) ((h->count + h->size - 1 - back) % h->size);
}

/*
 * Each sum is computed from scratch, from a horizon's newest row backwards: a running
 * sum would carry the rounding errors of rows long gone, and scores would depend on
 * them.  Horizons that end with the same row share a sum.  The ring holds all rows
 * needed, as lookahead is at most half of its size, so end + h is at most its size.
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
			place = ring_index(h, end);
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

	if (h->count - back < h->size || h->ring[ring_index(h, back)] == NN_NO_SCORE)
		return NAN;
	nn_horizons_means(h, back, means);
	for (int i = 0; i < cal->nhorizons; i++)
	{
		double		evidence = means[i] / cal->theta[i];

		if (isnan(evidence))
			return NAN;			/* unknown, not the 0 of a quiet row */
		if (evidence > limit)
			evidence = limit;
		if (evidence > score)
			score = evidence;
		if (cal->release > 0)
			limit = cal->release * evidence;
	}
	return score;
}
