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
	RESULT_SCORE,				/* float8 */
	RESULT_THRESHOLD,			/* float8 */
	RESULT_SEVERITY,			/* float8 */
	RESULT_ANOMALY,				/* bool */
	RESULT_EXPECTED,			/* jsonb */
	RESULT_CONTRIBUTIONS,		/* jsonb */
	RESULT_DIRECTION,			/* jsonb */
	RESULT_IMPUTED,				/* text[] */
	RESULT_STATUS,				/* text */
	RESULT_VERSION,				/* int4 */
	RESULT_COLUMNS
};

/* Writes results of a model; allocated in the current context. */
typedef struct ResultWriter ResultWriter;

extern ResultWriter *result_open(const LoadedModel *loaded);

/* Severity of a row: its score in units of the threshold; NaN if it has none. */
extern double result_severity(const Scorer *scorer, const ScoredRow *row);

/* Shares (features) of the features in a row's score, which sum to 1.  False if it has none. */
extern bool result_shares(const Scorer *scorer, const Model *model, const ScoredRow *row,
						  double *shares);

/* Sign of the actual minus the expected value of a feature: -1, 0, 1; 0 if either is missing. */
extern int	result_direction(const ModelStats *stats, const ScoredRow *row, int feature);

/*
 * Sets values and nulls (RESULT_COLUMNS), in the current context.  Without details, columns
 * that explain the score are null.
 */
extern void result_columns(ResultWriter *writer, const Scorer *scorer, const ScoredRow *row,
						   bool details, Datum *values, bool *nulls);

#endif							/* AMAD_SCORE_EXPLANATION_H */
