/*
 * scorer.h
 *	  Scoring of rows: one series after another, block by block.
 *
 * Rows are added one by one; when the block is full, or no more come,
 * scorer_run() passes it through the model.  Then each row of the block can be
 * looked at.  What a row gets depends on the model and on the scorer_depth() rows
 * of its series before it, however rows are cut into blocks.
 */
#ifndef AMAD_SCORER_H
#define AMAD_SCORER_H

#include "cache.h"

#define SCORER_ROWS PREDICT_ROWS	/* best size of a block, when one process scores */

/* Why a row has no score, or what there is to say about it. */
typedef enum ScoreStatus
{
	SCORE_FINE,
	SCORE_WARMUP,				/* too few rows of its series before it */
	SCORE_GAP,					/* too few rows since a gap */
	SCORE_NULL_INPUT,			/* no feature has a value; or any, with "missing": "error" */
	SCORE_DUPLICATE_TS,			/* the timestamp has occurred */
	SCORE_OUT_OF_ORDER,			/* it is before that of an earlier row */
	SCORE_INVALID_TS,			/* it is null or infinite */
	SCORE_UNKNOWN_SERIES,		/* a score, by the figures of all series together */
	SCORE_NOT_FINITE			/* the network's output is no number */
} ScoreStatus;

typedef struct ScoredRow
{
	int64		ts;
	bool		ts_valid;
	ScoreStatus status;
	double		score;			/* anomaly_score; NaN: none */
	const double *values;		/* (features) as given, NaN: missing */
	const float *scaled;		/* (features) as the model saw them; NULL: it did not */
	const float *expected;		/* (features) scaled; NULL: none */
	const uint8 *imputed;		/* map of features that were missing; NULL as scaled */
	const float *discrepancy;	/* (blocks) NULL as expected */
	bool		begins;			/* the model saw no row of its stretch before it */
} ScoredRow;

typedef struct Scorer Scorer;

/*
 * A scorer in the current context, with blocks of so many rows, which keeps a
 * pointer to the model.  ERROR when it needs more than work_mem.
 */
extern Scorer *scorer_open(const LoadedModel *loaded, int block_rows);

/* A series begins.  key: of one of a fleet's, NULL when not told. */
extern void scorer_begin(Scorer *scorer, const char *key);

/* The next row of the series; false ts_valid: null or infinite. */
extern void scorer_add(Scorer *scorer, int64 ts, bool ts_valid, const double *values);

/* Rows in the block since the last run; whether another would be too many. */
extern int	scorer_rows(const Scorer *scorer);
extern bool scorer_full(const Scorer *scorer);

/* Scores the block.  The next row added begins another. */
extern void scorer_run(Scorer *scorer);

/* Row 0 … of the block that was scored last. */
extern ScoredRow scorer_row(const Scorer *scorer, int i);

/* Timestamp of the last row that had its place in the series; false: there is none. */
extern bool scorer_last_ts(const Scorer *scorer, int64 *ts);

/* Figures in use for the series. */
extern const ModelStats *scorer_stats(const Scorer *scorer);

/* Rows before a row that its score can depend on, missing values included. */
extern int	scorer_depth(const Model *model);

/* "warmup" …; NULL: nothing to say. */
extern const char *scorer_status_text(ScoreStatus status);

#endif							/* AMAD_SCORER_H */
