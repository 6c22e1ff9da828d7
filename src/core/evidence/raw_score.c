/*
 * core/evidence/raw_score.c
 *	  The raw score of a row: the evidence of its features.
 *
 * Computed in double precision and in a fixed order.
 */
#include <math.h>

#include "core/evidence/raw_score.h"
#include "core/evidence/recurrence.h"
#include "core/evidence/relations.h"
#include "core/evidence/scaling.h"

/* Returns (mean_n D/mu)^gamma · (S/mu)^delta. */
static double
signal_factor(const nn_calibration *cal, const float *signals)
{
	double		factor = 1.0;
	double		sum = 0.0;

	if (cal->layers > 0 && cal->gamma != 0)
	{
		for (int n = 0; n < cal->layers; n++)
			sum += signals[n] / cal->mu[n];
		/* rounding can leave a divergence slightly below 0; NaN stays NaN */
		factor = pow(sum < 0 ? 0.0 : sum / cal->layers, cal->gamma);
	}
	if (cal->delta != 0)
		factor *= pow(signals[cal->layers] / cal->mu[cal->layers], cal->delta);
	return factor;
}

double
nn_feature_weight(const nn_calibration *cal, int c)
{
	return cal->weight ? cal->weight[c] : 1.0;
}

double
nn_expected_square(const nn_calibration *cal, const nn_row *row, int c)
{
	double		rho = cal->rho[c];

	return cal->rho_incomplete ? rho + row->incomplete * (cal->rho_incomplete[c] - rho) : rho;
}

/* Unweighted evidence of a feature whose activity is unusually low. */
static double
feature_flatline(const nn_calibration *cal, const float *activity, int c)
{
	double		still;

	/* written so that NaN takes this branch */
	if (cal->flatline == 0 || activity == NULL || !(activity[c] < cal->activity[c]))
		return 0.0;
	still = 1.0 - activity[c] / cal->activity[c];
	return cal->flatline * still * still * still * still;
}

double
nn_flatline_evidence(const nn_calibration *cal, const float *activity, const uint8_t *imputed)
{
	double		sum = 0.0;
	double		weights = 0.0;

	for (int c = 0; c < cal->features; c++)
		if (!NN_IMPUTED(imputed, c))
		{
			sum += nn_feature_weight(cal, c) * feature_flatline(cal, activity, c);
			weights += nn_feature_weight(cal, c);
		}
	return weights == 0 ? 0.0 : sum / weights;
}

/* Unweighted evidence of a feature that deviates from its season. */
static double
feature_season(const nn_calibration *cal, int terms, const double *basis, float z, int c)
{
	double		d;

	if (terms == 0)
		return 0.0;
	d = nn_season_expected(terms, cal->season_weights + (size_t) c * terms, basis) - z;
	return cal->season_scale[c] * d * d;
}

/* Factor of the residual of a value beyond the clip, so that its size is not lost. */
static double
beyond_clip(const nn_calibration *cal, float scaled)
{
	double		size = fabs(scaled) / cal->clip;

	return size > 1.0 ? 1.0 + cal->beyond * log(size) : 1.0;
}

double
nn_row_relation(const nn_calibration *cal, const nn_row *row, float *terms)
{
	float		q[NN_RELATION_FEATURES];
	double		sum = 0.0;
	double		weights = 0.0;

	for (int c = 0; c < cal->features; c++)
		q[c] = (float) ((nn_clipped(cal->clip, row->scaled[c]) - (double) row->expected[c]) /
						sqrt(nn_expected_square(cal, row, c)));
	nn_relations_terms(cal->features, cal->precision, q, row->imputed, terms);
	for (int c = 0; c < cal->features; c++)
		if (!NN_IMPUTED(row->imputed, c))
		{
			if (cal->relation_mean)
				terms[c] /= (float) cal->relation_mean[c];
			sum += nn_feature_weight(cal, c) * terms[c];
			weights += nn_feature_weight(cal, c);
		}
	return weights == 0 ? 0.0 : sum / weights;
}

double
nn_relation_evidence(const nn_calibration *cal, double row_relation)
{
	double		beyond = row_relation / cal->relation_limit - 1.0;

	return beyond > 0 ? cal->relation * beyond : 0.0;
}

/* Evidence of relations; adds each feature's weighted share of it to evidence, if given. */
static double
relation_part(const nn_calibration *cal, const nn_row *row, double weights, double *evidence)
{
	float		terms[NN_RELATION_FEATURES];
	double		relation = nn_row_relation(cal, row, terms);
	double		total = nn_relation_evidence(cal, relation);

	for (int c = 0; c < cal->features && total > 0 && evidence; c++)
		evidence[c] += total * nn_feature_weight(cal, c) * terms[c] / relation;
	return total * weights;
}

nn_recurrence_place
nn_find_recurrence(const nn_calibration *cal, int64_t time)
{
	nn_recurrence_place place = {.divisor = 1.0, .slot = -1};

	if (cal->recurrence)
	{
		place.divisor = nn_recurrence_divisor(cal->season, cal->recurrence, time);
		/* usual values are known only of bins in which something recurs */
		if (place.divisor > 1.0)
			place.slot = nn_recurrence_slot(cal->season, cal->recurrence_slots, time);
	}
	return place;
}

/* Weighted evidence of a feature that is not as usual at the time of the row. */
static double
feature_recurrence(const nn_calibration *cal, int slot, float z, int c)
{
	size_t		at = (size_t) slot * cal->features + c;
	double		d;

	if (slot < 0)
		return 0.0;
	d = z - cal->recurrence_mean[at];
	return nn_feature_weight(cal, c) * cal->recurrence_scale[at] * d * d;
}

double
nn_recurrence_score(const nn_calibration *cal, const nn_row *row, double raw)
{
	const nn_recurrence_place recurs = nn_find_recurrence(cal, row->time);
	double		sum = 0.0;
	double		weights = 0.0;

	for (int c = 0; recurs.slot >= 0 && c < cal->features; c++)
		if (!NN_IMPUTED(row->imputed, c))
		{
			sum += feature_recurrence(cal, recurs.slot, row->scaled[c], c);
			weights += nn_feature_weight(cal, c);
		}
	return raw / recurs.divisor + (weights == 0 ? 0.0 : sum / weights);
}

double
nn_raw_score(const nn_calibration *cal, const nn_row *row, double *evidence)
{
	const int	terms = cal->season ? nn_season_terms(cal->season) : 0;
	const double factor = signal_factor(cal, row->signals);
	const nn_recurrence_place recurs = nn_find_recurrence(cal, row->time);
	double		basis[NN_SEASON_TERMS];
	double		sum = 0.0;
	double		unusual = 0.0;	/* the part that is not divided */
	double		weights = 0.0;

	if (terms > 0)
		nn_season_basis(cal->season, row->time, basis);
	for (int c = 0; c < cal->features; c++)
	{
		const float z = nn_clipped(cal->clip, row->scaled[c]);
		double		r = (double) row->expected[c] - z;
		double		e;
		double		u;

		if (evidence)
			evidence[c] = 0.0;
		if (NN_IMPUTED(row->imputed, c))
			continue;
		e = nn_feature_weight(cal, c) *
			(r * r / nn_expected_square(cal, row, c) * beyond_clip(cal, row->scaled[c]) * factor +
			 feature_season(cal, terms, basis, z, c) + feature_flatline(cal, row->activity, c));
		u = feature_recurrence(cal, recurs.slot, row->scaled[c], c);
		if (evidence)
			evidence[c] = e + recurs.divisor * u;
		sum += e;
		unusual += u;
		weights += nn_feature_weight(cal, c);
	}
	if (weights == 0)
		return NN_NO_SCORE;
	if (cal->relation > 0 && cal->precision)
		sum += relation_part(cal, row, weights, evidence);
	return (sum / recurs.divisor + unusual) / weights;
}
