/*
 * score/explanation.h
 *	  The result of a scored row: the columns of amad_result.
 */
#ifndef AMAD_SCORE_EXPLANATION_H
#define AMAD_SCORE_EXPLANATION_H

#include "score/scorer.h"

/* The columns, in order. */
enum
{
	EXPLANATION_SCORE,			/* float8 */
	EXPLANATION_THRESHOLD,		/* float8 */
	EXPLANATION_SEVERITY,		/* float8 */
	EXPLANATION_ANOMALY,		/* bool */
	EXPLANATION_EXPECTED,		/* jsonb */
	EXPLANATION_LOWER,			/* jsonb */
	EXPLANATION_UPPER,			/* jsonb */
	EXPLANATION_CONTRIBUTIONS,	/* jsonb */
	EXPLANATION_DIRECTION,		/* jsonb */
	EXPLANATION_IMPUTED,		/* text[] */
	EXPLANATION_STATUS,			/* text */
	EXPLANATION_VERSION,		/* int4 */
	EXPLANATION_COLUMNS
};

/* Writes results of a model; allocated in the current context. */
typedef struct ExplanationWriter ExplanationWriter;

extern ExplanationWriter *explanation_open(const LoadedModel *loaded);

/* Severity of a row: its score in units of the threshold; NaN if it has none. */
extern double explanation_severity(const Scorer *scorer, const ScoredRow *row);

/* Shares (features) of the features in a row's score, which sum to 1.  False if it has none. */
extern bool explanation_shares(const Scorer *scorer, const Model *model, const ScoredRow *row,
							   double *shares);

/* Sign of the actual minus the expected value of a feature: -1, 0, 1; 0 if either is missing. */
extern int	explanation_direction(const ModelStats *stats, const ScoredRow *row, int feature);

/*
 * Sets values and nulls (EXPLANATION_COLUMNS), in the current context.  Without details, columns
 * that explain the score are null.
 */
extern void explanation_columns(ExplanationWriter *writer, const Scorer *scorer,
								const ScoredRow *row, bool details, Datum *values, bool *nulls);

#endif							/* AMAD_SCORE_EXPLANATION_H */
