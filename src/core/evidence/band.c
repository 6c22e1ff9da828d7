/*
 * core/evidence/band.c
 *	  The values of a feature that would not make a row anomalous.
 *
 * Evidence of 1 is usual, for a feature and for a row.  If all others have it, the threshold
 * determines how much evidence a row needs to be anomalous by the shortest horizon, and how
 * much of it a feature has to contribute.  Up to the clip, each kind of evidence is a
 * parabola in the value z, around the expectation of the network or of the season, and so is
 * their sum.  Relations are evidence only beyond a limit, so the band is the intersection of
 * those with and without them.
 */
#include <math.h>

#include "core/evidence/band.h"
#include "core/evidence/horizons.h"
#include "core/evidence/scaling.h"

#define STATE_DISTANCE 2.0		/* from the states, of a row with a value beyond the clip */

/*
 * The evidence of a value z: (residual + relation) · (z - expected)² + season · (z - usual)².
 * Beyond the clip the part of residual grows as in raw_score.c, and the others do not.
 */
typedef struct Parabolas
{
	double		residual;
	double		relation;
	double		expected;
	double		season;
	double		usual;			/* expectation of the season and of what recurs */
} Parabolas;

/* The raw score of a row with which the shortest horizon reaches the threshold. */
static double
needed_raw_score(const nn_calibration *cal)
{
	const int	rows = cal->horizons[0];
	const int	reach = nn_horizon_reach(rows, cal->lookahead);
	double		weights = 0.0;

	for (int n = 0; n < rows; n++)
		weights += nn_horizon_weight(cal->fade, rows, reach - n);
	return cal->threshold * cal->theta[0] * weights - (weights - 1.0);
}

void
nn_bands_begin(nn_bands *bands, const nn_calibration *cal)
{
	const int	C = cal->features;
	double		weights = 0.0;

	bands->raw = needed_raw_score(cal);
	bands->far = pow(STATE_DISTANCE, cal->delta);
	for (int c = 0; c < C; c++)
		weights += nn_feature_weight(cal, c);
	for (int c = 0; c < C; c++)
	{
		bands->relation[c] = 0.0;
		for (int j = 0; j < C && cal->relation > 0 && cal->precision; j++)
		{
			const double x = cal->precision[(size_t) j * C + c];
			const double mean = cal->relation_mean ? cal->relation_mean[j] : 1.0;

			bands->relation[c] += nn_feature_weight(cal, j) / weights * x * x /
				cal->precision[(size_t) j * C + j] / mean;
		}
	}
}

/* The bound on one side (1: upper, -1: lower) if it is beyond the clip. */
static double
find_far_edge(const nn_bands *bands, const nn_calibration *cal, const Parabolas *p, double needed,
			  int side)
{
	const double clip = side * cal->clip;
	const double network = (clip - p->expected) * (clip - p->expected);
	const double season = (clip - p->usual) * (clip - p->usual);
	const double growth = (needed - p->season * season - p->relation * network) /
		(p->residual * network * bands->far);

	if (growth <= 1.0)
		return clip;
	return cal->beyond > 0 ? clip * exp((growth - 1.0) / cal->beyond) : side * INFINITY;
}

/* Narrows a band to the values with less than the needed evidence; if none, to the best one. */
static void
narrow_band(const nn_bands *bands, const nn_calibration *cal, const Parabolas *p, double needed,
			double	   *lower, double *upper)
{
	const double network = p->residual + p->relation;
	const double sum = 1.0 / (network + p->season);
	const double apart = p->expected - p->usual;
	const double centre = (network * p->expected + p->season * p->usual) * sum;
	const double rest = (needed - network * p->season * sum * apart * apart) * sum;
	const double width = rest > 0 ? sqrt(rest) : 0.0;
	double		low = centre - width;
	double		high = centre + width;

	if (low < -cal->clip)
		low = find_far_edge(bands, cal, p, needed, -1);
	if (high > cal->clip)
		high = find_far_edge(bands, cal, p, needed, 1);
	if (low > *lower)
		*lower = low;
	if (high < *upper)
		*upper = high;
}

/*
 * Adds the evidence of a feature that differs from its usual value in the bin of the row to that
 * of the season.  The sum of two parabolas is a parabola plus a constant, which is returned.
 */
static double
add_usual_value(Parabolas *p, const nn_calibration *cal, nn_recurrence_place recurs, int c)
{
	const size_t at = (size_t) recurs.slot * cal->features + c;
	const double scale = recurs.divisor * cal->recurrence_scale[at];
	const double sum = p->season + scale;
	const double apart = p->usual - cal->recurrence_mean[at];
	const double constant = sum > 0 ? p->season * scale / sum * apart * apart : 0.0;

	if (sum > 0)
		p->usual = (p->season * p->usual + scale * cal->recurrence_mean[at]) / sum;
	p->season = sum;
	return constant;
}

void
nn_row_bands(const nn_bands *bands, const nn_calibration *cal, const nn_row *row, double *lower,
			 double *upper)
{
	const int	terms = cal->season ? nn_season_terms(cal->season) : 0;
	const nn_recurrence_place recurs = nn_find_recurrence(cal, row->time);
	double		basis[NN_SEASON_TERMS];
	double		weights = 0.0;	/* of the features that are not imputed */

	if (terms > 0)
		nn_season_basis(cal->season, row->time, basis);
	for (int c = 0; c < cal->features; c++)
		if (!NN_IMPUTED(row->imputed, c))
			weights += nn_feature_weight(cal, c);
	for (int c = 0; c < cal->features; c++)
	{
		const double weight = nn_feature_weight(cal, c);
		const double all = NN_IMPUTED(row->imputed, c) ? weights + weight : weights;
		double		needed = recurs.divisor * (bands->raw * all - (all - weight)) / weight;
		Parabolas	p = {
			.residual = 1.0 / nn_expected_square(cal, row, c),
			.expected = row->expected[c],
		};

		lower[c] = -INFINITY;
		upper[c] = INFINITY;
		if (terms > 0)
		{
			p.season = cal->season_scale[c];
			p.usual = nn_season_expected(terms, cal->season_weights + (size_t) c * terms, basis);
		}
		if (recurs.slot >= 0)
			needed -= add_usual_value(&p, cal, recurs, c);
		narrow_band(bands, cal, &p, needed, &lower[c], &upper[c]);
		if (bands->relation[c] > 0)
		{
			/* relation · ((1 + bands->relation · q²) / relation_limit - 1), with 1 of the others */
			const double factor = cal->relation * all / weight;
			const double more = needed + factor * (1.0 - 1.0 / cal->relation_limit);

			p.relation = factor * bands->relation[c] / cal->relation_limit * p.residual;
			narrow_band(bands, cal, &p, more, &lower[c], &upper[c]);
		}
	}
}
