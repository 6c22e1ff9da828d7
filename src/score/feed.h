/*
 * score/feed.h
 *	  The rows of a series as the model is to see them: in order, cut at gaps,
 *	  transformed, filled, scaled.
 */
#ifndef AMAD_SCORE_FEED_H
#define AMAD_SCORE_FEED_H

#include "rows/fill.h"
#include "rows/transform.h"
#include "score/blocks.h"

typedef struct Feed
{
	/* settings */
	int			features;
	int			fill_limit;
	bool		refuse_missing; /* a row with missing values has no score */
	const Transforms *transforms;
	Transformer *transformer;	/* NULL: no feature is transformed */
	double	   *values;			/* (features) transformed */

	/* the series */
	nn_scaling	scaling;
	double		max_gap;
	bool		after_gap;		/* it has had a gap */
	bool		has_ts;
	int64		last_ts;		/* of its last row in order */

	/* the stretch: the rows since the series began or since its last gap */
	int64		offered;		/* rows, fed or not */
	int64		fed;
	FillLast   *last;			/* (features) the last value of each */
} Feed;

/* Opens a feed for a model in the current context. */
extern void feed_open(Feed *feed, const Model *model);

extern void feed_begin_series(Feed *feed, const Model *model, const ModelStats *stats);

/*
 * Feeds a row that was added to the block, if it is in order and no longer one of the
 * first rows of a stretch for which a feature has no value.  Sets its status, to
 * SCORE_WARMUP or SCORE_GAP for a row that may get a score.
 */
extern void feed_row(Feed *feed, RowBlock *block, BlockRow *row, const double *values);

#endif							/* AMAD_SCORE_FEED_H */
