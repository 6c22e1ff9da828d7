/*
 * score/scorer.c
 *	  Scores the rows of one series after another.
 *
 * Rows are added to a block as the model is to see them (feed.c), and a block is passed
 * through the model when it is full, because the network is fastest on blocks (blocks.c).
 * From the model's outputs for a row comes its raw score, and from the raw scores of
 * neighbouring rows its anomaly score (core/evidence/horizons.h).
 *
 * With the option lookahead a row waits for its score until that many rows have followed
 * it in its stretch, or a gap has ended the stretch.  Rows are returned in the order in
 * which they were added, so a waiting row holds back those behind it, which are kept from
 * block to block (held_rows.c).  At the end of a series rows that wait are returned without
 * a score: it might change when more rows arrive.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"

#include "rows/incomplete_rows.h"
#include "score/feed.h"
#include "score/held_rows.h"
#include "score/scorer.h"

struct Scorer
{
	/* settings */
	const LoadedModel *loaded;
	MemoryContext memory;
	int			features;
	int			nsignals;
	int			context;		/* rows before a row with a raw score */
	int			warmup;			/* rows before a row with a score */
	int			most_held;
	int			workers;		/* to start, if enough rows come; 0: none */
	int64		patience;		/* rows after which they are worth it */
	scorer_earlier earlier;
	void	   *earlier_arg;

	/* input: the series that rows are added to */
	SeriesInHand adding;
	Feed		feed;
	bool		ended;
	int64		added;			/* rows of all series */

	/* on their way through the model */
	Prediction	prediction;
	BlockQueue	blocks;

	/* the series whose rows are scored */
	SeriesInHand scoring;
	bool		new_series;		/* no row of it was returned */
	int			stretches;		/* of its rows so far */
	nn_calibration calibration;
	nn_horizons horizons;
	IncompleteRows incomplete;
	nn_level	level;
	nn_activity *activity_stream;	/* NULL: the model does not use the features' activity */

	/* output: rows held from before, then those of a block, counted together */
	HeldRows	held;
	int			front;			/* rows held from before */
	RowBlock   *block;			/* NULL: none */
	float	   *activity;		/* (blocks.room, features) of the block's rows that were fed */
	int			ready;			/* rows that can be returned */
	int			returned;
	int			oldest;			/* no row before this one waits */
};

/* ---- opening ------------------------------------------------------------------------------ */

static void
check_memory(const Model *m, const Predictor *p)
{
	Size		bytes = predict_series_bytes(p) + model_activity_bytes(m, m->features) +
		held_rows_bytes(m, p) + transformer_bytes(&m->transforms);

	if (bytes > (Size) work_mem * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("memory required to score is %zu kB, work_mem is %d kB", bytes / 1024 + 1,
						work_mem),
				 errhint("Raise work_mem.")));
}

/* Memory for the activity of the features in a row of a block. */
static Size
activity_row_bytes(const Scorer *s)
{
	return s->activity_stream ? sizeof(float) * s->features : 0;
}

Scorer *
scorer_open(const LoadedModel *loaded, bool parallel)
{
	const Model *m = loaded->model;
	const Predictor *p = loaded->predictor;
	Size		activity_bytes = model_activity_bytes(m, m->features);
	Scorer	   *s = palloc0(sizeof(Scorer));

	check_memory(m, p);
	s->loaded = loaded;
	s->memory = CurrentMemoryContext;
	s->features = m->features;
	s->nsignals = p->signals;
	s->incomplete.rows = incomplete_rows_most(p->context);
	s->context = p->context;
	s->warmup = m->plan.warmup;
	s->most_held = (int) Min(Max((Size) work_mem * 1024 /
									 blocks_row_bytes(m->features, m->transforms.any),
								 2 * m->options.lookahead),
							 PG_INT32_MAX / 4);
	s->workers = parallel ? predict_pool_workers(p) : 0;
	s->patience = predict_pool_patience(p);
	feed_open(&s->feed, m);
	predict_series_open(&s->prediction, p);
	blocks_open(&s->blocks, &s->prediction, m->transforms.any);
	s->horizons.ring = palloc_extended(sizeof(double) * m->plan.max_horizon, MCXT_ALLOC_HUGE);
	if (activity_bytes > 0)
	{
		s->activity_stream = model_activity_open(m, m->features,
												 palloc_extended(activity_bytes, MCXT_ALLOC_HUGE));
		s->activity = palloc_extended(activity_row_bytes(s) * s->blocks.room, MCXT_ALLOC_HUGE);
	}
	held_rows_open(&s->held, m, p);
	scorer_begin(s, NULL, NULL);
	return s;
}

/* ---- input -------------------------------------------------------------------------------- */

void
scorer_begin(Scorer *s, const char *key, const ModelStats *figures)
{
	const Model *m = s->loaded->model;

	blocks_submit(&s->blocks);
	if (s->adding.key)
		pfree(s->adding.key);
	if (s->adding.origin)
		pfree(s->adding.origin);
	s->adding.origin = NULL;
	s->adding.key = key ? MemoryContextStrdup(s->memory, key) : NULL;
	s->adding.number++;
	s->adding.stats = figures ? figures : model_series_stats(m, key);
	s->adding.unknown = s->adding.stats == NULL && m->nseries > 0;
	if (s->adding.stats == NULL)
		s->adding.stats = &m->stats;
	feed_begin_series(&s->feed, m, s->adding.stats);
	s->ended = false;
}

void
scorer_set_earlier(Scorer *s, scorer_earlier earlier, void *arg)
{
	s->earlier = earlier;
	s->earlier_arg = arg;
}

void
scorer_cut_series(Scorer *s, void *origin)
{
	Assert(s->adding.origin == NULL && !s->blocks.filling);
	s->adding.origin = origin;
}

void
scorer_add(Scorer *s, int64 ts, bool ts_valid, const double *values, int mark)
{
	RowBlock   *b = blocks_fill(&s->blocks, &s->adding, s->feed.fed);
	BlockRow   *row = blocks_add_row(&s->blocks, b, ts, mark);

	s->added++;
	row->ts_valid = ts_valid;
	feed_row(&s->feed, b, row, values);
}

void
scorer_add_duplicate(Scorer *s, int64 ts, int mark)
{
	RowBlock   *b = blocks_fill(&s->blocks, &s->adding, s->feed.fed);
	BlockRow   *row = blocks_add_row(&s->blocks, b, ts, mark);

	s->added++;
	row->ts_valid = true;
	row->status = SCORE_DUPLICATE_TS;
}

bool
scorer_full(const Scorer *s)
{
	return blocks_full(&s->blocks);
}

void
scorer_end(Scorer *s)
{
	s->ended = true;
}

/* ---- scores ------------------------------------------------------------------------------- */

/* Row i of those held from before and those of the block. */
static BlockRow *
output_row(const Scorer *s, int i)
{
	return i < s->front ? &s->held.row[s->held.first + i] : &s->block->row[i - s->front];
}

static BlockRow *
oldest_waiting_row(Scorer *s)
{
	while (!output_row(s, s->oldest)->waiting)
		s->oldest++;
	return output_row(s, s->oldest);
}

static double
level_of_last_row(const Scorer *s)
{
	return nn_level_beyond(nn_level_of_last(&s->level, s->scoring.stats->step),
						   s->calibration.level_limit);
}

/* Adds the raw scores of rows that were not added, if the level of the last row needs them. */
static void
complete_level(Scorer *s)
{
	const nn_level *earlier;

	if (s->scoring.origin == NULL || nn_level_complete(&s->level, s->scoring.stats->step))
		return;
	earlier = s->earlier(s->scoring.origin, s->scoring.key, nn_level_begin(&s->level),
						 NN_LEVEL_ROWS - s->level.rows, s->earlier_arg);
	if (earlier)
		nn_level_prepend(&s->level, earlier);
	pfree(s->scoring.origin);
	s->scoring.origin = NULL;
}

/* Whether a row is above the threshold only because the level of its series is. */
static bool
has_drifted(Scorer *s, const BlockRow *row)
{
	const nn_calibration *cal = &s->calibration;

	if (!(cal->level_limit > 0 && row->score > cal->threshold))
		return false;
	if (cal->lookahead == 0)
		complete_level(s);
	/* without lookahead it is the row added last, and its level is computed only here */
	return row->score <= cal->threshold * (cal->lookahead > 0 ? row->level : level_of_last_row(s));
}

/* Ends the wait of the oldest waiting row: with its score, or pending at the end of a series. */
static void
release_row(Scorer *s, bool pending)
{
	BlockRow   *row = oldest_waiting_row(s);
	int			back = nn_horizons_release(&s->horizons);

	row->waiting = false;
	if (row->before < s->warmup)
		return;
	if (row->no_input)
		row->status = SCORE_NULL_INPUT;
	else if (pending)
		row->status = SCORE_PENDING;
	else
	{
		row->score = nn_horizons_score(&s->horizons, back);
		if (isinf(row->score))
			row->score = NAN;
		row->status = isnan(row->score) ? SCORE_NOT_FINITE
			: s->scoring.unknown		? SCORE_LEARNING
			: has_drifted(s, row)		? SCORE_DRIFT
										: SCORE_FINE;
	}
}

/* The raw score of row i of a block; it waits for its score. */
static void
add_raw_score(Scorer *s, RowBlock *b, int i)
{
	BlockRow   *row = &b->row[i];
	size_t		at = (size_t) row->fed * s->features;
	nn_row		values = {
		.scaled = b->task.rows + at,
		.expected = b->task.expected + at,
		.signals = b->task.signals + (size_t) row->fed * s->nsignals,
		.imputed = b->missing + (Size) i * MISSING_BYTES(s->features),
		.time = model_calendar_time(s->loaded->model, row->ts),
	};
	double		raw;

	if (row->begins)
	{
		nn_horizons_reset(&s->horizons);
		nn_level_reset(&s->level);
		incomplete_rows_reset(&s->incomplete);
		/* no row before a gap matters */
		if (s->stretches++ > 0 && s->scoring.origin)
		{
			pfree(s->scoring.origin);
			s->scoring.origin = NULL;
		}
	}
	values.incomplete = row->incomplete = incomplete_rows_add(&s->incomplete, row->missing);
	if (s->activity_stream)
	{
		if (row->begins)
			nn_activity_reset(s->activity_stream);
		nn_activity_push(s->activity_stream, values.scaled, values.imputed, s->activity + at);
		values.activity = s->activity + at;
	}
	if (row->before < s->context)
		return;
	raw = nn_raw_score(&s->calibration, &values, NULL);
	if (s->calibration.level_limit > 0)
	{
		nn_level_add(&s->level, row->ts, raw);
		if (s->calibration.lookahead > 0)
			row->level = level_of_last_row(s);
	}
	nn_horizons_add(&s->horizons, raw);
	row->no_input = row->no_input || raw == NN_NO_SCORE;
	row->waiting = true;
}

/* Fills in row i of those held from before and those of the block. */
static void
fill_scored_row(const Scorer *s, int i, ScoredRow *result)
{
	const bool	held = i < s->front;
	const BlockRow *row = output_row(s, i);
	const PredictTask *task = held ? NULL : &s->block->task;
	const Size	bytes = MISSING_BYTES(s->features);
	const uint8 *missing = held ? s->held.missing + (Size) (s->held.first + i) * bytes
								: s->block->missing + (i - s->front) * bytes;

	*result = (ScoredRow){
		.ts = row->ts,
		.ts_valid = row->ts_valid,
		.mark = row->mark,
		.missing = missing,
		.empty = missing + IMPUTED_BYTES(s->features),
		.status = row->status,
		.score = row->score,
		.incomplete = row->incomplete,
		.begins = row->begins,
	};
	if (row->fed >= 0)
	{
		size_t		at = (size_t) row->fed * s->features;

		result->scaled = (held ? s->held.scaled : task->rows) + at;
		if (s->blocks.inverse)
			result->inverse = held ? s->held.inverse + at
								   : s->block->inverse + (size_t) (i - s->front) * s->features;
		if (row->before >= s->context)
		{
			result->expected = (held ? s->held.expected : task->expected) + at;
			result->signals = (held ? s->held.signals : task->signals) +
				(size_t) row->fed * s->nsignals;
			if (s->activity_stream)
				result->activity = (held ? s->held.activity : s->activity) + at;
		}
	}
}

/* Drops the rows that were returned; those held come first now. */
static void
drop_returned(Scorer *s)
{
	held_rows_drop(&s->held, Min(s->ready, s->front));
	s->front = s->held.rows;
	s->block = NULL;
	s->ready = s->returned = s->oldest = 0;
}

/* Scores a block that has passed through the model. */
static void
score_block(Scorer *s, RowBlock *b)
{
	int			rows;

	drop_returned(s);
	s->block = b;
	if (b->series.number != s->scoring.number)
	{
		if (s->scoring.key)
			pfree(s->scoring.key);
		if (s->scoring.origin)
			pfree(s->scoring.origin);
		s->scoring = b->series;
		s->new_series = true;
		s->stretches = 0;
		nn_level_reset(&s->level);
		s->calibration = model_calibration(s->loaded->model, s->scoring.stats);
		nn_horizons_open(&s->horizons, &s->calibration, s->horizons.ring);
	}
	for (int i = 0; i < b->rows; i++)
	{
		while (b->row[i].after_gap && s->horizons.waiting > 0)
			release_row(s, false);
		if (b->row[i].fed < 0)
			continue;
		add_raw_score(s, b, i);
		if (nn_horizons_due(&s->horizons))
			release_row(s, false);
	}

	/* rows before the first that waits can be returned */
	s->ready = rows = s->front + b->rows;
	if (s->horizons.waiting == 0)
		return;
	(void) oldest_waiting_row(s);
	if (rows - s->oldest > s->most_held)
	{
		/* memory is too small for the rows behind it, most of them not in order: wait no more */
		while (s->horizons.waiting > 0)
			release_row(s, true);
		return;
	}
	s->ready = s->oldest;
	for (int i = Max(s->ready, s->front); i < rows; i++)
	{
		ScoredRow	data;

		fill_scored_row(s, i, &data);
		held_rows_add(&s->held, output_row(s, i), &data);
	}
}

/* Ends the series whose rows are scored: rows held can be returned.  False if there are none. */
static bool
finish_series(Scorer *s)
{
	drop_returned(s);
	s->ready = s->front;
	while (s->horizons.waiting > 0)
		release_row(s, true);
	return s->ready > 0;
}

/* Scores the next block, or finishes a series.  False if there is nothing to do yet. */
static bool
score_more(Scorer *s)
{
	RowBlock   *b = blocks_oldest(&s->blocks);

	if (b == NULL && !s->ended)
		return false;
	if (b == NULL)
	{
		bool		more = finish_series(s);

		blocks_stop_workers(&s->blocks);	/* with the rows of the last block */
		return more;
	}
	if (b->series.number != s->scoring.number && finish_series(s))
		return true;
	if (!blocks_collect(&s->blocks, s->ended))
		return false;
	score_block(s, b);
	return true;
}

bool
scorer_next(Scorer *s, ScoredRow *row)
{
	while (s->returned == s->ready)
	{
		if (s->ended || blocks_full(&s->blocks))
			blocks_submit(&s->blocks);
		if (!score_more(s))
			return false;
	}
	fill_scored_row(s, s->returned++, row);
	row->new_series = s->new_series;
	s->new_series = false;
	return true;
}

void
scorer_abandon(Scorer *s)
{
	held_rows_drop(&s->held, s->held.rows);
	s->front = s->ready = s->returned = 0;
	nn_horizons_reset(&s->horizons);
}

/* ---- the series of the row returned last -------------------------------------------------- */

const char *
scorer_series(const Scorer *s)
{
	return s->scoring.key;
}

const ModelStats *
scorer_stats(const Scorer *s)
{
	return s->scoring.stats;
}

const nn_calibration *
scorer_calibration(const Scorer *s)
{
	return &s->calibration;
}

/* ---- workers ------------------------------------------------------------------------------ */

bool
scorer_wants_workers(const Scorer *s)
{
	return s->workers > 0 && s->blocks.pool == NULL && s->added >= s->patience &&
		!s->blocks.filling && blocks_oldest(&s->blocks) == NULL;
}

void
scorer_start_workers(Scorer *s)
{
	MemoryContext old = MemoryContextSwitchTo(s->memory);

	if (blocks_start_workers(&s->blocks, s->workers, activity_row_bytes(s)) && s->activity_stream)
	{
		pfree(s->activity);
		s->activity = palloc_extended(activity_row_bytes(s) * s->blocks.room, MCXT_ALLOC_HUGE);
	}
	MemoryContextSwitchTo(old);
}

/* ---- the rest ----------------------------------------------------------------------------- */

const nn_level *
scorer_level(const Scorer *s)
{
	return &s->level;
}

int
scorer_depth(const Model *m, bool status)
{
	/* raw scores of the rows that the longest horizon and the level of a row consist of */
	const int	raw = Max(m->plan.max_horizon - 1, status && m->plan.has_levels ? NN_LEVEL_TO : 0);

	return m->plan.context + raw + m->options.fill_limit + transforms_longest_reach(&m->transforms);
}

const char *
scorer_status_text(ScoreStatus status)
{
	static const char *const text[] = {
		[SCORE_FINE] = NULL,
		[SCORE_WARMUP] = "warmup",
		[SCORE_GAP] = "gap",
		[SCORE_NULL_INPUT] = "null_input",
		[SCORE_DUPLICATE_TS] = "duplicate_ts",
		[SCORE_OUT_OF_ORDER] = "out_of_order",
		[SCORE_INVALID_TS] = "invalid_ts",
		[SCORE_LEARNING] = "learning",
		[SCORE_DRIFT] = "drift",
		[SCORE_NOT_FINITE] = "not_finite",
		[SCORE_PENDING] = "pending",
	};

	return text[status];
}
