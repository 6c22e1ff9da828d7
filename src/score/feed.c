/*
 * score/feed.c
 *	  The rows of a series as the model is to see them: in order, cut at gaps,
 *	  transformed, filled, scaled.
 *
 * A row without a timestamp, or whose timestamp is not later than that of the row before,
 * is not fed.  A distance of more than max_gap begins a new stretch, which the model sees
 * as a new series.
 *
 * Missing values are filled by the rule of rows/fill.h.  The first rows of a stretch are
 * not fed until every feature has had a value or fill_limit rows have passed, and those that a
 * transformed value depends on: if a value from before the query's range were replaced by the
 * mean, scores would depend on where the range begins.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "pg/timestamps.h"
#include "score/feed.h"

void
feed_open(Feed *feed, const Model *model)
{
	memset(feed, 0, sizeof(Feed));
	feed->features = model->features;
	feed->fill_limit = model->options.fill_limit;
	feed->refuse_missing = model->options.missing == MISSING_ERROR;
	feed->last = palloc(sizeof(FillLast) * model->features);
	feed->transforms = &model->transforms;
	if (!model->transforms.any)
		return;
	feed->transformer = transformer_open(&model->transforms, model->ts_type);
	feed->values = palloc(sizeof(double) * model->features);
}

static void
begin_stretch(Feed *feed)
{
	feed->offered = 0;
	feed->fed = 0;
	for (int c = 0; c < feed->features; c++)
		feed->last[c] = FILL_NONE;
	if (feed->transformer)
		transformer_begin(feed->transformer);
}

void
feed_begin_series(Feed *feed, const Model *model, const ModelStats *stats)
{
	feed->scaling = model_scaling(model, stats);
	feed->max_gap = stats->max_gap;
	feed->after_gap = false;
	feed->has_ts = false;
	begin_stretch(feed);
}

/* Fills and scales a row; false while a feature has no known value at the start of a stretch. */
static bool
fill_row(Feed *feed, const double *values, float *scaled)
{
	int64		row = feed->offered++;
	bool		known = true;

	for (int c = 0; c < feed->features; c++)
	{
		double		value = fill_value(&feed->last[c], row, feed->fill_limit, values[c]);

		known = known &&
			(feed->last[c].row >= 0 ||
			 row >= feed->fill_limit + transforms_reach(feed->transforms, c));
		scaled[c] = fill_scale(&feed->scaling, c, value);
	}
	return known || feed->fed > 0;
}

void
feed_row(Feed *feed, RowBlock *b, BlockRow *row, const double *values)
{
	const int	C = feed->features;
	uint8	   *map = b->missing + (row - b->row) * MISSING_BYTES(C);

	for (int c = 0; c < C; c++)
		if (isnan(values[c]))
		{
			fill_mark(map, c);
			fill_mark(map + IMPUTED_BYTES(C), c);
			row->missing = true;
		}
	row->no_input = row->missing && feed->refuse_missing;

	/* its place in the series */
	row->status = !row->ts_valid				   ? SCORE_INVALID_TS
		: feed->has_ts && row->ts == feed->last_ts ? SCORE_DUPLICATE_TS
		: feed->has_ts && row->ts < feed->last_ts  ? SCORE_OUT_OF_ORDER
												   : SCORE_FINE;
	if (row->status != SCORE_FINE)
		return;
	if (feed->has_ts && feed->max_gap > 0 &&
		timestamps_distance(feed->last_ts, row->ts) > feed->max_gap)
	{
		feed->after_gap = row->after_gap = true;
		begin_stretch(feed);
	}
	feed->has_ts = true;
	feed->last_ts = row->ts;

	if (feed->transformer)
	{
		memcpy(feed->values, values, sizeof(double) * C);
		transformer_row(feed->transformer, row->ts, feed->values,
						b->inverse + (Size) (row - b->row) * C);
		values = feed->values;
		for (int c = 0; c < C; c++)
			if (isnan(values[c]))
			{
				fill_mark(map, c);
				row->missing = true;
			}
	}

	/* and among the rows fed */
	row->status = feed->after_gap ? SCORE_GAP : SCORE_WARMUP;
	if (!fill_row(feed, values, b->task.rows + (size_t) b->task.n * C))
		return;
	memcpy(b->task.imputed + (Size) b->task.n * IMPUTED_BYTES(C), map, IMPUTED_BYTES(C));
	b->task.begins[b->task.n] = row->begins = feed->fed == 0;
	row->before = feed->fed++;
	row->fed = b->task.n++;
}
