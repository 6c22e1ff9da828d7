/*
 * score/scorer.h
 *	  Scoring of rows: one series after another, block by block.
 *
 * Rows are added one by one; when the block is full, or no more come, it is
 * submitted, and passes through the model when it is collected.  Then rows can be
 * looked at, in the order in which they were added.  What a row gets depends on the
 * model, the scorer_depth() rows of its series before it, and with the option
 * lookahead so many after it: until they have come it is not among those to look at.
 * It does not depend on how rows are cut into blocks.
 */
#ifndef AMAD_SCORE_SCORER_H
#define AMAD_SCORE_SCORER_H

#include "score/cache.h"

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
	SCORE_NOT_FINITE,			/* the network's output is no number */
	SCORE_PENDING				/* rows after it that its score may see have not come */
} ScoreStatus;

typedef struct ScoredRow
{
	int64		ts;
	bool		ts_valid;
	ScoreStatus status;
	double		score;			/* anomaly_score; NaN: none */
	const uint8 *missing;		/* map of features that are */
	const float *scaled;		/* (features) as the model was given them; NULL: it was not */
	const float *expected;		/* (features) scaled; NULL: none */
	const float *signals;		/* (signals) NULL as expected */
	const float *activity;		/* (features) NULL: the model does not ask for it */
	bool		begins;			/* the model saw no row of its stretch before it */
	int			mark;			/* the caller's, as it was added */
} ScoredRow;

typedef struct Scorer Scorer;

/*
 * A scorer in the current context, with blocks of so many rows, which keeps a
 * pointer to the model.  ERROR when it needs more than work_mem.
 */
extern Scorer *scorer_open(const LoadedModel *loaded, int block_rows);

/*
 * A series begins, and with it a block: rows that were added are submitted before.
 * key: of one of a fleet's, NULL when not told.
 */
extern void scorer_begin(Scorer *scorer, const char *key);

/* The next row of the series; false ts_valid: null or infinite.  It keeps the mark. */
extern void scorer_add(Scorer *scorer, int64 ts, bool ts_valid, const double *values, int mark);

/*
 * A row whose timestamp another row of the series has, before or after it: that row is
 * the one to be added with its values, this one gets SCORE_DUPLICATE_TS.
 */
extern void scorer_add_duplicate(Scorer *scorer, int64 ts, int mark);

/* Rows in the block since the last run; whether another would be too many. */
extern int	scorer_rows(const Scorer *scorer);
extern bool scorer_full(const Scorer *scorer);

/* No more rows of the series come: after the blocks submitted, those that wait are collected. */
extern void scorer_end(Scorer *scorer);

/* Forgets the rows scored last, and those that wait. */
extern void scorer_abandon(Scorer *scorer);

/* Hands over the rows that were added, if any.  The next row added begins another block. */
extern void scorer_submit(Scorer *scorer);

/*
 * Scores the oldest block submitted, or gives up what waits of a series that has ended.
 * False when there is neither; and, unless all is true, when the model is not done with
 * the block and there is room for another.
 */
extern bool scorer_collect(Scorer *scorer, bool all);

/* Rows to look at after that, which may be none, and row 0 …; valid until the next one. */
extern int	scorer_scored(const Scorer *scorer);
extern ScoredRow scorer_row(const Scorer *scorer, int i);

/*
 * ---- with parallel workers ----
 *
 * Blocks are then larger, and several are under way: the caller submits each and
 * collects those that are scored, one by one, in their order.  Alone there is one,
 * to be collected before another is begun.
 */

/* Workers that may be asked for, as it is now; 0: none. */
extern int	scorer_workers(const Scorer *scorer);

/* Rows to be scored alone before workers are worth their start. */
extern int64 scorer_patience(const Scorer *scorer);

/*
 * Asks for workers, when no row is in the block and none under way; from here to
 * scorer_finish() the session is in parallel mode and must not write.  False: none
 * are to be had, and all is as before.
 */
extern bool scorer_parallel(Scorer *scorer, int workers);

/* After the last block: ends the workers. */
extern void scorer_finish(Scorer *scorer);

/*
 * Of the rows scored last: key of their series, valid until rows of another one are
 * scored, and whether they are the series' first.
 */
extern const char *scorer_series(const Scorer *scorer);
extern bool scorer_new_series(const Scorer *scorer);

/* Figures in use for the series of the rows scored last. */
extern const ModelStats *scorer_stats(const Scorer *scorer);
extern const nn_calibration *scorer_calibration(const Scorer *scorer);

/* Rows before a row that its score can depend on, missing values included. */
extern int	scorer_depth(const Model *model);

/* "warmup" …; NULL: nothing to say. */
extern const char *scorer_status_text(ScoreStatus status);

#endif							/* AMAD_SCORE_SCORER_H */
