/*
 * score/scored_row.h
 *	  A row with its anomaly score, as scorer_next() returns it.
 */
#ifndef AMAD_SCORE_SCORED_ROW_H
#define AMAD_SCORE_SCORED_ROW_H

#include "rows/transform.h"

/* Why a row has no score, or a remark on the score it has. */
typedef enum ScoreStatus
{
	SCORE_FINE,
	SCORE_WARMUP,				/* too few rows of its series before it */
	SCORE_GAP,					/* too few rows since a gap */
	SCORE_NULL_INPUT,			/* all features are missing; or any, with "missing": "error" */
	SCORE_DUPLICATE_TS,			/* another row of the series has its timestamp */
	SCORE_OUT_OF_ORDER,			/* its timestamp is before that of an earlier row */
	SCORE_INVALID_TS,			/* its timestamp is null or infinite */
	SCORE_LEARNING,				/* its series is not in the model: figures of all series */
	SCORE_DRIFT,				/* above the threshold, but not above its level some time ago */
	SCORE_NOT_FINITE,			/* the output of the network is not finite */
	SCORE_PENDING				/* later rows that its score may use have not arrived */
} ScoreStatus;

/* Whether a severity above 1 makes a row with this status an anomaly. */
static inline bool
score_is_judged(ScoreStatus status)
{
	return status != SCORE_LEARNING && status != SCORE_DRIFT;
}

/* Whether a row with this status and severity is an anomaly. */
static inline bool
score_is_anomaly(ScoreStatus status, double severity)
{
	return score_is_judged(status) && severity > 1.0;
}

/* Whether a row with this status has a place in its series; the others have no score. */
static inline bool
score_has_place(ScoreStatus status)
{
	return status != SCORE_INVALID_TS && status != SCORE_DUPLICATE_TS &&
		status != SCORE_OUT_OF_ORDER;
}

typedef struct ScoredRow
{
	/* as it was added */
	int64		ts;
	bool		ts_valid;
	int			mark;
	const uint8 *missing;		/* bitmap of the features that the model does not get … */
	const uint8 *empty;			/* … and of those without a value */

	/* result */
	ScoreStatus status;
	double		score;			/* anomaly score; NaN if it has none */

	/* what the model made of it; NULL if it did not see the row */
	const float *scaled;		/* (features) scaled and filled */
	const float *expected;		/* (features) scaled; NULL during warm-up */
	const float *signals;		/* (signals) NULL during warm-up */
	const float *activity;		/* (features) NULL unless the model uses it */
	const Inverse *inverse;		/* (features) NULL unless features are transformed */

	double		incomplete;		/* as in nn_row */
	bool		begins;			/* first row of its stretch that the model saw */
	bool		new_series;		/* first row of its series to be returned */
} ScoredRow;

#endif							/* AMAD_SCORE_SCORED_ROW_H */
