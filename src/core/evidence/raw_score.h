/*
 * core/evidence/raw_score.h
 *	  The raw score of a row: the evidence of its features (docs/model.md, Score).
 */
#ifndef AMAD_CORE_EVIDENCE_RAW_SCORE_H
#define AMAD_CORE_EVIDENCE_RAW_SCORE_H

#include <stddef.h>
#include <stdint.h>

#include "core/evidence/season.h"

/* The settings and figures that turn residuals into scores. */
typedef struct nn_calibration
{
	/* settings */
	int			features;		/* C */
	int			layers;			/* N */
	int			nhorizons;
	const int  *horizons;		/* (nhorizons) ascending, all different */
	int			lookahead;		/* later rows a score may use, 0 … max horizon / 2 */
	double		release; /* limit of a horizon's evidence, in units of the next shorter
								 * one's; 0: no limit */
	double		fade; /* what the farthest row of a horizon has less weight than the
								 * scored row, 0 … 1; 0: all the same */
	double		burst; /* most that a raw score counts in horizon h, except in the
								 * shortest, in units of h · theta_h; 0: no limit */
	double		clip;			/* of scaled values when compared with expected ones */
	double		beyond; /* weight of the size of values beyond the clip; 0: they are alike */
	double		gamma;			/* discrepancy_weight */
	double		delta;			/* state_weight; 0: no states */
	const double *weight;		/* (C) of the features' evidence; NULL: all 1 */

	/* figures of the network and the states */
	const double *rho;			/* (C) mean squared residual */
	const double *rho_incomplete;	/* (C) the same while some features are missing; NULL: rho */
	const double *mu;			/* (N) mean discrepancies, and with states the mean distance */

	/* figures of the season */
	const nn_season *season;	/* NULL or without periods: no season */
	const double *season_weights;	/* (C, terms) */
	const double *season_scale; /* (C) factor of a squared deviation from the season */

	/* figures of recurrence and levels */
	const double *recurrence;	/* (bins) profile; NULL: nothing recurs */
	const double *recurrence_slots; /* (NN_RECURRENCE_SLOTS) bins with usual values … */
	const double *recurrence_mean;	/* (NN_RECURRENCE_SLOTS, C) … which are these … */
	const double *recurrence_scale; /* (NN_RECURRENCE_SLOTS, C) … and the factor of a squared
									 * deviation from them */
	double		level_limit;	/* of the raw scores some time ago; 0: none */

	/* figures of flatlines */
	double		flatline;		/* evidence of a feature that does not move at all; 0: none */
	const double *activity;		/* (C) activity that counts as low; 0: none is low */

	/* figures of relations */
	const float *precision;		/* (C, C) Λ; NULL: no relations */
	const double *relation_mean;	/* (C) mean term of a feature; NULL: all 1 */
	double		relation_limit; /* a row's relation that counts as unusual */
	double		relation;		/* evidence of a row with twice this relation; 0: none */

	/* figures of the anomaly score */
	const double *theta;		/* (nhorizons) scale of A_h */
	double		threshold;
} nn_calibration;

#define NN_NO_SCORE (-1.0)		/* raw score of a row whose features are all imputed */

/* A row and what the model makes of it. */
typedef struct nn_row
{
	const float *scaled;		/* (C) */
	const float *expected;		/* (C) */
	const float *signals;		/* discrepancy D of each block and, with states, the distance S */
	const float *activity;		/* (C) NaN: unknown; NULL: all unknown */
	const uint8_t *imputed;		/* map of imputed features; NULL: none */
	double		incomplete;		/* 0 … 1: share of the last rows with missing features */
	int64_t		time;			/* for the season */
} nn_row;

/*
 * Raw score of a row: the weighted mean of the features' evidence,
 *		(x̂ - z)²/r_c · (1 + beyond · max(0, ln |z unclipped|/clip)) · (mean_n D/mu)^gamma · (S/mu)^delta
 *			+ season_scale_c · (season's z - z)²
 *			+ flatline · max(0, 1 - its activity / activity_c)⁴
 * with r_c = rho_c + incomplete · (rho_incomplete_c - rho_c), over those that are not
 * imputed, plus the evidence of relations, divided by what recurs at the time of the row,
 * plus the evidence of features that deviate from what they usually are at that time;
 * NN_NO_SCORE if all are imputed.  Unless NULL, evidence (C) is set to the weighted evidence of each feature, 0 for
 * imputed ones.
 */
extern double nn_raw_score(const nn_calibration *calibration, const nn_row *row, double *evidence);

/* The weight of a feature's evidence, and the squared residual that is usual for it in a row. */
extern double nn_feature_weight(const nn_calibration *calibration, int feature);
extern double nn_expected_square(const nn_calibration *calibration, const nn_row *row, int feature);

/*
 * The relation of a row: the weighted mean of its features' terms (relations.h), each
 * relative to its mean.  Sets terms (C) to them.  Its evidence in the raw score is
 *		relation · max(0, the row's relation / relation_limit - 1)
 */
extern double nn_row_relation(const nn_calibration *calibration, const nn_row *row, float *terms);
extern double nn_relation_evidence(const nn_calibration *calibration, double row_relation);

/* Where a time is in the profile of what recurs. */
typedef struct nn_recurrence_place
{
	double		divisor;		/* 1: nothing recurs */
	int			slot;			/* -1: none */
} nn_recurrence_place;

extern nn_recurrence_place nn_find_recurrence(const nn_calibration *calibration, int64_t time);

/* A raw score without what recurs to one with it; raw: of a row that is not all imputed. */
extern double nn_recurrence_score(const nn_calibration *calibration, const nn_row *row, double raw);

/* The part of the raw score that comes from flatlines; 0 if all features are imputed. */
extern double nn_flatline_evidence(const nn_calibration *calibration, const float *activity,
								   const uint8_t *imputed);

#endif							/* AMAD_CORE_EVIDENCE_RAW_SCORE_H */
