/*
 * score/blocks.h
 *	  Blocks of rows on their way through the model.
 *
 * A block holds rows of one series.  Without workers there is one block: it is filled,
 * submitted, and predicted when it is collected.  With workers there are several, which
 * are submitted as they are filled and collected in the same order once a worker has
 * predicted them.
 */
#ifndef AMAD_SCORE_BLOCKS_H
#define AMAD_SCORE_BLOCKS_H

#include "rows/transform.h"
#include "score/predict_parallel.h"
#include "score/scored_row.h"

/*
 * Bytes of the bitmaps of a row: features that the model does not get, and those without a value. (A
 * value can be missing only after its transform.)
 */
#define MISSING_BYTES(features) (2 * IMPUTED_BYTES(features))

typedef struct BlockRow
{
	int64		ts;
	double		score;
	int			fed;			/* index among the rows fed to the model; -1: not fed */
	int64		before;			/* if fed: rows of its stretch fed before it */
	int			mark;
	ScoreStatus status;
	bool		ts_valid;
	bool		after_gap;		/* a gap before it has ended a stretch */
	bool		begins;			/* the first row of its stretch that is fed */
	bool		missing;		/* a feature is missing */
	bool		no_input;		/* missing features rule out a score */
	float		incomplete;		/* as in nn_row */
	float		level;			/* nn_level_beyond() of its level, with lookahead */
	bool		waiting;		/* it gets its score when later rows have arrived */
} BlockRow;

/* A series that rows are added to, or whose rows are scored. */
typedef struct SeriesInHand
{
	int64		number;			/* 1 … in the order in which series began */
	char	   *key;			/* NULL: not given, or handed on */
	void	   *origin;			/* of scorer_cut_series(); NULL likewise */
	const ModelStats *stats;
	bool		unknown;		/* the model is a fleet's without this series */
} SeriesInHand;

typedef struct RowBlock
{
	SeriesInHand series;		/* with its key in the first block of the series */
	bool		alone;			/* rows of its stretch precede it that are not carried */
	int			rows;
	BlockRow   *row;			/* (room) */
	uint8	   *missing;		/* (room, MISSING_BYTES) */
	Inverse    *inverse;		/* (room, features) NULL: nothing is transformed */
	PredictTask task;			/* the rows fed, and the model's outputs */
} RowBlock;

typedef struct BlockQueue
{
	Prediction *prediction;		/* of this process */
	int			features;
	bool		inverse;		/* blocks have it */
	PredictPool *pool;			/* NULL: no workers */
	int			nblocks;
	RowBlock   *block;			/* (nblocks) used in turn */
	int			room;			/* rows of a block at most */
	bool		filling;		/* block number `submitted` */
	int64		submitted;
	int64		collected;
} BlockQueue;

/* Opens a queue of one block of PREDICT_ROWS rows in the current context. */
extern void blocks_open(BlockQueue *queue, Prediction *prediction, bool inverse);

/* Memory for a row of a block, without its task. */
extern Size blocks_row_bytes(int features, bool inverse);

/*
 * Returns the block to be filled, and begins one of the series if there is none.
 * stretch_rows: rows of the current stretch fed in earlier blocks.
 */
extern RowBlock *blocks_fill(BlockQueue *queue, SeriesInHand *series, int64 stretch_rows);

/* Adds a row that is not fed to a block. */
extern BlockRow *blocks_add_row(BlockQueue *queue, RowBlock *block, int64 ts, int mark);

extern bool blocks_full(const BlockQueue *queue);

/* Submits the block being filled, if there is one. */
extern void blocks_submit(BlockQueue *queue);

/* The oldest block that was submitted and not collected; NULL: none. */
extern RowBlock *blocks_oldest(const BlockQueue *queue);

/*
 * Collects that block, with the model's outputs.  False if workers are not done with it,
 * unless wait is true or all blocks are submitted: then it waits.
 */
extern bool blocks_collect(BlockQueue *queue, bool wait);

/*
 * Starts workers when no block is being filled or submitted.  other_row_bytes: memory
 * that the caller needs for a row of a block.  False if there are no workers or too
 * little memory: the queue is as before.
 */
extern bool blocks_start_workers(BlockQueue *queue, int workers, Size other_row_bytes);

/* Ends the workers, if there are any, after the last block; no rows can be added then. */
extern void blocks_stop_workers(BlockQueue *queue);

#endif							/* AMAD_SCORE_BLOCKS_H */
