/*
 * core/evidence/raw_score.h
 *	  The raw score of a row: the evidence of its features.
 */
#ifndef AMAD_CORE_EVIDENCE_RAW_SCORE_H
#define AMAD_CORE_EVIDENCE_RAW_SCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/evidence/season.h"

/* What turns residuals into scores (section 2.7). */
typedef struct nn_calibration
{
	int			features;
	int			layers;
	int			nhorizons;
	const int  *horizons;		/* (nhorizons) ascending, all different */
	int			lookahead;		/* rows after a row that its score may see, 0 … max horizon / 2 */
	double		release;		/* times the next shorter horizon's evidence that one may count; 0: any */
	double		clip;			/* of scaled values where they are compared with what is expected */
	double		gamma;			/* discrepancy_weight */
	double		delta;			/* state_weight; 0: there are no states */
	const double *weight;		/* (C) of the features' evidence; NULL: all alike */
	const double *rho;			/* (C) mean squared residual */
	const double *mu;			/* (N, and 1 with states) mean discrepancy, mean distance */
	const nn_season *season;	/* NULL or without periods: none */
	const double *season_weights;	/* (C, terms) */
	const double *season_scale; /* (C) what a squared deviation from the season is multiplied by */
	double		flatline;		/* what a feature that does not move at all is worth; 0: nothing */
	const double *activity;		/* (C) below which it hardly moves; 0: it never does so */
	const double *theta;		/* (nhorizons) scale of A_h */
	double		threshold;
} nn_calibration;

#define NN_NO_SCORE (-1.0)		/* raw score of a row without any input */

/* What a raw score is made of. */
typedef struct nn_row
{
	const float *scaled;		/* (C) */
	const float *expected;		/* (C) */
	const float *signals;		/* discrepancy D of each block and, with states, the distance S */
	const float *activity;		/* (C) NULL: not known, like those that are NaN */
	const uint8_t *imputed;		/* NULL: all are given */
	int64_t		time;			/* for the season */
} nn_row;

/*
 * Raw score of a row: the mean of the features' evidence, weighted,
 *		(x̂ - z)²/rho_c · (mean_n D/mu)^gamma · (S/mu)^delta
 *			+ season_scale_c · (season's z - z)²
 *			+ flatline · max(0, 1 - its activity / activity_c)
 * over those that are not imputed; NN_NO_SCORE when all are.  evidence (C), unless
 * NULL, is set: with its weight, 0 for what is imputed.
 */
extern double nn_raw_score(const nn_calibration *calibration, const nn_row *row, double *evidence);

/* What flatlines add to it, by the activity (C); 0 when all features are imputed. */
extern double nn_flatline_evidence(const nn_calibration *calibration, const float *activity,
								   const uint8_t *imputed);

#endif							/* AMAD_CORE_EVIDENCE_RAW_SCORE_H */
