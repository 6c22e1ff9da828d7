/*
 * score/scorer.c
 *	  Scoring of rows: one series after another, block by block.
 *
 * A stretch is what the network sees as one series: it begins with the series
 * and anew after every gap.  Its first rows are left out until every feature has
 * had a value, or fill_limit rows have passed: were the unknown guessed before, a
 * row's score could depend on where the query's range begins.
 *
 * With lookahead a row waits for its score until so many rows have followed it in
 * its stretch, or the stretch has ended.  Rows come out in the order in which they
 * were added, so those behind a waiting one stay with it, from block to block.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"
#include "storage/shmem.h"

#include "score/predict_parallel.h"
#include "score/scorer.h"
#include "rows/series.h"
#include "pg/timestamps.h"

#define NEVER (-1)

/* With workers: their blocks have so many times the context, and need so much memory at most. */
#define PARALLEL_CONTEXTS 8
#define PARALLEL_BYTES (16 * 1024 * 1024)

/* A row of the block. */
typedef struct BlockRow
{
	int64		ts;
	double		score;
	int			fed;			/* its place among the rows fed to the model; -1: it is not */
	int64		before;			/* when it is: rows of its stretch before it */
	int			mark;
	ScoreStatus status;
	bool		ts_valid;
	bool		after_gap;		/* the stretch before it has ended */
	bool		begins;			/* it is the first of its stretch that is fed */
	bool		missing;		/* some feature is */
	bool		no_input;		/* it is to have no score, for that */
	bool		waiting;		/* it will have its score when rows after it have come */
} BlockRow;

/* A series, and what the model knows of it. */
typedef struct Series
{
	int64		number;			/* of those that were begun */
	const ModelStats *stats;
	bool		unknown;		/* it is not among the fleet's */
} Series;

/* Rows of one series that pass through the model together. */
typedef struct Block
{
	Series		series;
	char	   *key;			/* of the series, when it is its first block, or NULL */
	bool		alone;			/* its stretch has rows before it that are not carried */
	int			rows;
	BlockRow   *row;			/* (room) */
	uint8	   *missing;		/* (room, IMPUTED_BYTES) map of features that are */
	PredictTask task;			/* rows fed, and what the model makes of them */
} Block;

/*
 * Rows kept from one block to the next: the first that waits for rows to come, and all
 * behind it.  Those fed all wait, so they are lookahead at most, and as many again
 * while the ones from before come out; they stand in a ring.
 */
typedef struct Waiting
{
	int			first;
	int			rows;			/* from the first on */
	int			room;
	int			ring;			/* 2 · lookahead */
	int			next;			/* place in it of the next row fed */
	BlockRow   *row;			/* (room) */
	uint8	   *missing;		/* (room, IMPUTED_BYTES) */
	float	   *scaled;			/* (ring, C) */
	float	   *expected;		/* (ring, C) */
	float	   *signals;		/* (ring, N) */
	float	   *activity;		/* (ring, C) */
} Waiting;

struct Scorer
{
	const LoadedModel *loaded;
	MemoryContext memory;
	int			features;
	int			context;
	int			lookahead;

	/* the series, and its stretch, that rows are added to */
	Series		series;
	char	   *key;			/* until a block begins */
	nn_scaling	scaling;
	int64		offered;		/* rows of the stretch */
	int64		fed;			/* rows of it that went to the model */
	int64		kept;			/* newest of them that stand in the last block */
	bool		after_gap;
	bool		has_ts;
	int64		last_ts;
	int64	   *seen;			/* (C) row of the last value, NEVER */
	double	   *last;			/* (C) that value */

	/* blocks: used in turn */
	PredictPool *pool;			/* NULL: alone, and there is one block */
	int			nblocks;
	Block	   *block;			/* (nblocks) */
	int			room;			/* rows of a block at most */
	bool		filling;		/* block number `submitted` */
	int64		submitted;
	int64		collected;

	bool		ended;			/* no more rows of the series come */

	/* rows scored last: those kept from before, then those of a block */
	Waiting		waiting;
	int			front;			/* rows that were kept from before */
	Block	   *scored;			/* NULL: no block */
	float	   *activity;		/* (room, C) of the block's rows that were fed */
	int			shown;			/* rows of both, counted together, that come out */
	int			nwaiting;
	int			oldest;			/* no row of both before this one waits */
	int			most_kept;
	bool		new_series;

	/* their series, and what its scores depend on */
	int64		series_number;
	char	   *series_key;
	const ModelStats *stats;
	bool		unknown;
	Prediction	prediction;
	nn_activity *moved;			/* NULL: the model does not ask how much features have moved */
	nn_calibration calibration;
	nn_horizons horizons;
};

/* What rows that are kept need, but for their BlockRows. */
static Size
waiting_bytes(const LoadedModel *loaded)
{
	const Model *m = loaded->model;
	int			arrays = 2 + m->plan.has_flatlines;

	return mul_size(2 * m->options.lookahead,
					sizeof(float) * (arrays * m->features + loaded->predictor->signals));
}

static void
check_memory(const LoadedModel *loaded)
{
	const Model *m = loaded->model;
	Size		bytes = predict_series_bytes(loaded->predictor) +
		model_activity_bytes(m, m->features) + waiting_bytes(loaded);

	if (bytes > (Size) work_mem * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("memory required to score is %zu kB, work_mem is %d kB",
						bytes / 1024 + 1, work_mem),
				 errhint("Raise work_mem.")));
}

/* What a block of so many rows needs beside its task. */
static Size
block_bytes(const Scorer *s, int rows)
{
	return mul_size(rows, sizeof(BlockRow) + IMPUTED_BYTES(s->features));
}

static void
open_block(const Scorer *s, Block *b, int room)
{
	const Size	rows = room;

	memset(b, 0, sizeof(Block));
	b->row = palloc_extended(sizeof(BlockRow) * rows, MCXT_ALLOC_HUGE);
	b->missing = palloc_extended(rows * IMPUTED_BYTES(s->features), MCXT_ALLOC_HUGE);
}

static void
open_task(const Scorer *s, PredictTask *task, int room)
{
	const Size	rows = room;
	const int	C = s->features;

	task->begins = palloc(sizeof(bool) * rows);
	task->rows = palloc_extended(sizeof(float) * rows * C, MCXT_ALLOC_HUGE);
	task->expected = palloc_extended(sizeof(float) * rows * C, MCXT_ALLOC_HUGE);
	task->signals = palloc(sizeof(float) * rows * Max(s->loaded->predictor->signals, 1));
}

/* What tells how much features have moved, if the model asks. */
static nn_activity *
open_moved(const Scorer *s)
{
	const Model *m = s->loaded->model;
	Size		bytes = model_activity_bytes(m, m->features);

	return bytes == 0 ? NULL
		: model_activity_open(m, m->features, palloc_extended(bytes, MCXT_ALLOC_HUGE));
}

/* Room for that of a block's rows. */
static float *
open_activity(const Scorer *s, int room)
{
	return s->moved == NULL ? NULL
		: palloc_extended(sizeof(float) * room * s->features, MCXT_ALLOC_HUGE);
}

static void
open_waiting(const Scorer *s, Waiting *w)
{
	const Size	rows = 2 * s->lookahead;
	const int	C = s->features;

	if (rows == 0)
		return;
	w->room = w->ring = rows;
	w->row = palloc_extended(sizeof(BlockRow) * rows, MCXT_ALLOC_HUGE);
	w->missing = palloc_extended(rows * IMPUTED_BYTES(C), MCXT_ALLOC_HUGE);
	w->scaled = palloc_extended(sizeof(float) * rows * C, MCXT_ALLOC_HUGE);
	w->expected = palloc_extended(sizeof(float) * rows * C, MCXT_ALLOC_HUGE);
	w->signals = palloc_extended(sizeof(float) * rows * Max(s->loaded->predictor->signals, 1),
								MCXT_ALLOC_HUGE);
	w->activity = open_activity(s, rows);
}

Scorer *
scorer_open(const LoadedModel *loaded, int block_rows)
{
	const int	C = loaded->model->features;
	Scorer	   *s = palloc0(sizeof(Scorer));
	int			ring = loaded->model->plan.max_horizon;

	check_memory(loaded);
	s->loaded = loaded;
	s->memory = CurrentMemoryContext;
	s->features = C;
	s->context = loaded->predictor->context;
	s->lookahead = loaded->model->options.lookahead;
	predict_series_open(&s->prediction, loaded->predictor);
	s->moved = open_moved(s);
	s->activity = open_activity(s, block_rows);
	s->horizons.ring = palloc_extended(sizeof(double) * ring, MCXT_ALLOC_HUGE);
	s->seen = palloc(sizeof(int64) * C);
	s->last = palloc(sizeof(double) * C);
	s->room = block_rows;
	s->nblocks = 1;
	s->block = palloc(sizeof(Block));
	open_block(s, s->block, block_rows);
	open_task(s, &s->block->task, block_rows);
	open_waiting(s, &s->waiting);
	s->most_kept = (int) Min(Max((Size) work_mem * 1024 / block_bytes(s, 1), 2 * s->lookahead),
							 PG_INT32_MAX / 4);
	scorer_begin(s, NULL);
	return s;
}

/* ---- a stretch ------------------------------------------------------------------------ */

static void
begin_stretch(Scorer *s)
{
	s->offered = 0;
	s->fed = 0;
	s->kept = 0;
	for (int c = 0; c < s->features; c++)
		s->seen[c] = NEVER;
}

void
scorer_begin(Scorer *s, const char *key)
{
	const Model *m = s->loaded->model;

	Assert(!s->filling);
	if (s->key)
		pfree(s->key);
	s->key = key ? MemoryContextStrdup(s->memory, key) : NULL;
	s->series.number++;
	s->series.stats = model_series_stats(m, key);
	s->series.unknown = s->series.stats == NULL && m->nseries > 0;
	if (s->series.stats == NULL)
		s->series.stats = &m->stats;
	s->scaling = model_scaling(m, s->series.stats);
	s->after_gap = false;
	s->has_ts = false;
	s->ended = false;
	begin_stretch(s);
}

void
scorer_end(Scorer *s)
{
	s->ended = true;
}

void
scorer_abandon(Scorer *s)
{
	s->waiting.rows = 0;
	s->front = 0;
	s->shown = 0;
	s->nwaiting = 0;
}

/* Whether a row has its place in the series; otherwise what it is.  Ends the stretch at a gap. */
static ScoreStatus
place(Scorer *s, int64 ts, bool ts_valid, bool *after_gap)
{
	if (!ts_valid)
		return SCORE_INVALID_TS;
	if (s->has_ts && ts == s->last_ts)
		return SCORE_DUPLICATE_TS;
	if (s->has_ts && ts < s->last_ts)
		return SCORE_OUT_OF_ORDER;
	if (s->has_ts && s->series.stats->max_gap > 0 &&
		timestamps_distance(s->last_ts, ts) > s->series.stats->max_gap)
	{
		s->after_gap = *after_gap = true;
		begin_stretch(s);
	}
	s->has_ts = true;
	s->last_ts = ts;
	return SCORE_FINE;
}

/*
 * The row as the model is to see it, behind those fed before.  A missing value is
 * the last one, up to fill_limit rows later, then the mean.  False while some
 * feature's value cannot be known.
 */
static bool
feed(Scorer *s, Block *b, BlockRow *fed, const double *values)
{
	const int	limit = s->loaded->model->options.fill_limit;
	const int	C = s->features;
	const int	at = b->task.n;
	float	   *scaled = b->task.rows + (size_t) at * C;
	int64		row = s->offered++;
	bool		known = true;

	for (int c = 0; c < C; c++)
	{
		if (!isnan(values[c]))
		{
			s->seen[c] = row;
			s->last[c] = values[c];
			scaled[c] = nn_scale(&s->scaling, c, values[c]);
			continue;
		}
		known = known && (s->seen[c] != NEVER || row >= limit);
		scaled[c] = s->seen[c] == NEVER || row - s->seen[c] > limit ? 0.0f
			: nn_scale(&s->scaling, c, s->last[c]);
	}
	if (s->fed == 0 && !known)
		return false;
	b->task.begins[at] = fed->begins = s->fed == 0;
	fed->before = s->fed++;
	fed->fed = b->task.n++;
	s->kept++;
	return true;
}

/*
 * The block that rows are to go to.  Behind another one it needs the rows before it,
 * for whoever scores it; alone, the prediction has them.
 */
static Block *
begin_block(Scorer *s)
{
	Block	   *b = &s->block[s->submitted % s->nblocks];

	s->filling = true;
	b->series = s->series;
	b->key = s->key;
	s->key = NULL;
	b->rows = 0;
	b->task.n = 0;
	b->task.carried = 0;
	if (s->pool)
	{
		const PredictTask *before = &s->block[(s->submitted + s->nblocks - 1) % s->nblocks].task;
		int			carried = (int) Min(s->fed, s->context);

		b->alone = s->kept < carried;
		if (b->alone)
			carried = 0;
		if (carried > 0)
			memcpy(b->task.rows - (size_t) carried * s->features,
				   before->rows + ((ptrdiff_t) before->n - carried) * s->features,
				   sizeof(float) * carried * s->features);
		b->task.carried = carried;
		s->kept = carried;
	}
	return b;
}

/* Sets the map of missing values; whether there are any. */
static bool
map_missing(int features, const double *values, uint8 *map)
{
	bool		any = false;

	memset(map, 0, IMPUTED_BYTES(features));
	for (int c = 0; c < features; c++)
		if (isnan(values[c]))
		{
			map[c / 8] |= 1 << c % 8;
			any = true;
		}
	return any;
}

/* A row of the block without a place in the series. */
static BlockRow *
add_row(Scorer *s, Block *b, int64 ts, int mark)
{
	BlockRow   *row = &b->row[b->rows++];

	memset(row, 0, sizeof(BlockRow));
	row->ts = ts;
	row->mark = mark;
	row->score = NAN;
	row->fed = -1;
	return row;
}

static Block *
open_block_to_fill(Scorer *s)
{
	return s->filling ? &s->block[s->submitted % s->nblocks] : begin_block(s);
}

void
scorer_add(Scorer *s, int64 ts, bool ts_valid, const double *values, int mark)
{
	Block	   *b = open_block_to_fill(s);
	uint8	   *map = b->missing + b->rows * IMPUTED_BYTES(s->features);
	BlockRow   *row = add_row(s, b, ts, mark);

	row->ts_valid = ts_valid;
	row->missing = map_missing(s->features, values, map);
	row->status = place(s, ts, ts_valid, &row->after_gap);
	if (row->status == SCORE_FINE)
	{
		row->status = s->after_gap ? SCORE_GAP : SCORE_WARMUP;
		feed(s, b, row, values);
	}
}

void
scorer_add_duplicate(Scorer *s, int64 ts, int mark)
{
	Block	   *b = open_block_to_fill(s);
	BlockRow   *row;

	memset(b->missing + b->rows * IMPUTED_BYTES(s->features), 0, IMPUTED_BYTES(s->features));
	row = add_row(s, b, ts, mark);
	row->ts_valid = true;
	row->status = SCORE_DUPLICATE_TS;
}

int
scorer_rows(const Scorer *s)
{
	return s->filling ? s->block[s->submitted % s->nblocks].rows : 0;
}

bool
scorer_full(const Scorer *s)
{
	return scorer_rows(s) == s->room;
}

/* ---- scores ------------------------------------------------------------------------------- */

/* A row of those kept from before and those of the block, counted together. */
static BlockRow *
row_at(const Scorer *s, int i)
{
	return i < s->front ? &s->waiting.row[s->waiting.first + i] : &s->scored->row[i - s->front];
}

static BlockRow *
next_waiting(Scorer *s)
{
	while (!row_at(s, s->oldest)->waiting)
		s->oldest++;
	return row_at(s, s->oldest);
}

/* The oldest row that waits has its score, which sees the rows that have come. */
static void
settle(Scorer *s)
{
	BlockRow   *row = next_waiting(s);

	row->waiting = false;
	s->nwaiting--;
	if (s->horizons.count - s->nwaiting < s->horizons.size)
		return;
	if (!row->no_input)
		row->score = nn_horizons_score(&s->horizons, s->nwaiting);
	if (isinf(row->score))
		row->score = NAN;
	row->status = row->no_input ? SCORE_NULL_INPUT
		: isnan(row->score) ? SCORE_NOT_FINITE
		: s->unknown ? SCORE_UNKNOWN_SERIES : SCORE_FINE;
}

/* How much the features have moved up to a row. */
static const float *
move(Scorer *s, bool begins, const nn_row *row, float *activity)
{
	if (begins)
		nn_activity_reset(s->moved);
	nn_activity_push(s->moved, row->scaled, row->imputed, activity);
	return activity;
}

static void
score_row(Scorer *s, Block *b, int i)
{
	BlockRow   *row = &b->row[i];
	size_t		at = (size_t) row->fed * s->features;
	nn_row		values = {
		.scaled = b->task.rows + at,
		.expected = b->task.expected + at,
		.signals = b->task.signals + (size_t) row->fed * s->loaded->predictor->signals,
		.imputed = b->missing + i * IMPUTED_BYTES(s->features),
		.time = row->ts,
	};
	double		raw;

	if (row->begins)
		nn_horizons_reset(&s->horizons);
	if (s->moved)
		values.activity = move(s, row->begins, &values, s->activity + at);
	if (row->before < s->context)
		return;
	raw = nn_raw_score(&s->calibration, &values, NULL);
	nn_horizons_add(&s->horizons, raw);
	row->no_input = raw == NN_NO_SCORE ||
		(row->missing && s->loaded->model->options.missing == MISSING_ERROR);
	row->waiting = true;
	s->nwaiting++;
	if (s->nwaiting > s->lookahead)
		settle(s);
}

/* Room for another row: what is gone at the beginning, or more. */
static void
make_room(Scorer *s)
{
	Waiting    *w = &s->waiting;
	const Size	bytes = IMPUTED_BYTES(s->features);

	if (w->first > w->room / 2)
	{
		memmove(w->row, w->row + w->first, sizeof(BlockRow) * w->rows);
		memmove(w->missing, w->missing + w->first * bytes, w->rows * bytes);
		w->first = 0;
		return;
	}
	w->room *= 2;
	w->row = repalloc_huge(w->row, sizeof(BlockRow) * w->room);
	w->missing = repalloc_huge(w->missing, w->room * bytes);
}

/* Keeps a row of the block. */
static void
keep(Scorer *s, const BlockRow *row, const ScoredRow *data)
{
	Waiting    *w = &s->waiting;
	const int	C = s->features;
	const int	N = s->loaded->predictor->signals;
	BlockRow   *to;
	Size		at;

	if (w->first + w->rows == w->room)
		make_room(s);
	at = w->first + w->rows++;
	to = &w->row[at];
	*to = *row;
	memcpy(w->missing + at * IMPUTED_BYTES(C), data->missing, IMPUTED_BYTES(C));
	if (row->fed < 0)
		return;
	to->fed = w->next;
	w->next = (w->next + 1) % w->ring;
	memcpy(w->scaled + (size_t) to->fed * C, data->scaled, sizeof(float) * C);
	memcpy(w->expected + (size_t) to->fed * C, data->expected, sizeof(float) * C);
	if (N > 0)
		memcpy(w->signals + (size_t) to->fed * N, data->signals, sizeof(float) * N);
	if (s->moved)
		memcpy(w->activity + (size_t) to->fed * C, data->activity, sizeof(float) * C);
}

/* Rows that wait have no score, as no row will come for them. */
static void
give_up(Scorer *s)
{
	while (s->nwaiting > 0)
	{
		BlockRow   *row = next_waiting(s);

		row->waiting = false;
		s->nwaiting--;
		if (s->horizons.count - s->nwaiting >= s->horizons.size)
			row->status = row->no_input ? SCORE_NULL_INPUT : SCORE_PENDING;
	}
}

/*
 * What comes out of so many rows: those before the first that waits; the others are
 * kept.  So many rows that have no place may stand behind it that memory is too small
 * for them; rather than fail, or have them wait for ever, it waits no more.
 */
static void
show(Scorer *s, int rows)
{
	s->shown = rows;
	if (s->nwaiting == 0)
		return;
	next_waiting(s);
	if (rows - s->oldest > s->most_kept)
	{
		give_up(s);
		return;
	}
	s->shown = s->oldest;
	for (int i = Max(s->shown, s->front); i < rows; i++)
	{
		ScoredRow	data = scorer_row(s, i);

		keep(s, row_at(s, i), &data);
	}
}

/* The rows that came out are gone, those kept come first. */
static void
recall(Scorer *s)
{
	int			gone = Min(s->shown, s->front);

	s->waiting.first += gone;
	s->waiting.rows -= gone;
	s->front = s->waiting.rows;
	s->shown = 0;
	s->oldest = 0;
	if (s->front == 0)
		s->waiting.first = 0;
}

static void
begin_series(Scorer *s, Block *b)
{
	s->series_number = b->series.number;
	if (s->series_key)
		pfree(s->series_key);
	s->series_key = b->key;
	b->key = NULL;
	s->stats = b->series.stats;
	s->unknown = b->series.unknown;
	s->calibration = model_calibration(s->loaded->model, s->stats);
	nn_horizons_open(&s->horizons, &s->calibration, s->horizons.ring);
}

/* From what the model made of the block. */
static void
score_block(Scorer *s, Block *b)
{
	recall(s);
	s->scored = b;
	s->new_series = b->series.number != s->series_number;
	if (s->new_series)
		begin_series(s, b);
	for (int i = 0; i < b->rows; i++)
	{
		while (b->row[i].after_gap && s->nwaiting > 0)
			settle(s);
		if (b->row[i].fed >= 0)
			score_row(s, b, i);
	}
	show(s, s->front + b->rows);
}

/* The series has ended: what was kept comes out.  False: nothing was. */
static bool
score_rest(Scorer *s)
{
	recall(s);
	s->scored = NULL;
	s->new_series = false;
	s->shown = s->front;
	give_up(s);
	return s->shown > 0;
}

/* ---- a block ---------------------------------------------------------------------------- */

void
scorer_submit(Scorer *s)
{
	Block	   *b = &s->block[s->submitted % s->nblocks];

	if (!s->filling)
		return;
	if (s->pool)
		predict_pool_submit(s->pool, &b->task, b->alone);
	s->filling = false;
	s->submitted++;
}

bool
scorer_collect(Scorer *s, bool all)
{
	Block	   *b = &s->block[s->collected % s->nblocks];

	if (s->collected == s->submitted)
		return s->ended && score_rest(s);
	if (b->series.number != s->series_number && score_rest(s))
		return true;
	if (s->pool == NULL)
		predict_task(&s->prediction, &b->task);
	else if (all || s->submitted - s->collected == s->nblocks)
		predict_pool_await(s->pool, s->collected);
	else if (!predict_pool_done(s->pool, s->collected))
		return false;
	s->collected++;
	score_block(s, b);
	return true;
}

int
scorer_scored(const Scorer *s)
{
	return s->shown;
}

ScoredRow
scorer_row(const Scorer *s, int i)
{
	const Waiting *w = &s->waiting;
	const bool	kept = i < s->front;
	const BlockRow *row = row_at(s, i);
	const PredictTask *task = kept ? NULL : &s->scored->task;
	ScoredRow	result = {
		.ts = row->ts,
		.ts_valid = row->ts_valid,
		.status = row->status,
		.score = row->score,
		.missing = kept ? w->missing + (Size) (w->first + i) * IMPUTED_BYTES(s->features)
		: s->scored->missing + (i - s->front) * IMPUTED_BYTES(s->features),
		.begins = row->begins,
		.mark = row->mark,
	};

	if (row->fed >= 0)
	{
		size_t		at = (size_t) row->fed * s->features;

		result.scaled = (kept ? w->scaled : task->rows) + at;
		if (row->before >= s->context)
		{
			result.expected = (kept ? w->expected : task->expected) + at;
			result.signals = (kept ? w->signals : task->signals) +
				(size_t) row->fed * s->loaded->predictor->signals;
			if (s->moved)
				result.activity = (kept ? w->activity : s->activity) + at;
		}
	}
	return result;
}

/* ---- parallel workers ------------------------------------------------------------------- */

int
scorer_workers(const Scorer *s)
{
	return predict_pool_workers(s->loaded->predictor);
}

int64
scorer_patience(const Scorer *s)
{
	return predict_pool_patience(s->loaded->predictor);
}

/* The best size of a block, fewer when so many are too large, 0 when PREDICT_ROWS are. */
static int
parallel_room(const Scorer *s, int nblocks)
{
	const Size	limit = Min(PARALLEL_BYTES, (Size) work_mem * 1024);
	const Size	activity = s->moved ? sizeof(float) * s->features : 0;
	int			room = (s->context * PARALLEL_CONTEXTS / PREDICT_ROWS + 1) * PREDICT_ROWS;

	while (room > 0 && activity * room +
		   nblocks * (block_bytes(s, room) +
					  predict_pool_task_bytes(s->loaded->predictor, room)) > limit)
		room -= PREDICT_ROWS;
	return room;
}

bool
scorer_parallel(Scorer *s, int workers)
{
	/* each process has one in hand and one to go on with */
	int			nblocks = 2 * (workers + 1);
	int			room = parallel_room(s, nblocks);
	MemoryContext old;

	Assert(s->pool == NULL && !s->filling && s->collected == s->submitted);
	if (room == 0)
		return false;
	old = MemoryContextSwitchTo(s->memory);
	s->pool = predict_pool_open(&s->prediction, workers, nblocks, room);
	if (s->pool != NULL)
	{
		s->block = palloc(sizeof(Block) * nblocks);
		for (int i = 0; i < nblocks; i++)
		{
			open_block(s, &s->block[i], room);
			s->block[i].task = predict_pool_task(s->pool, i);
		}
		if (s->moved)
			pfree(s->activity);
		s->activity = open_activity(s, room);
		s->nblocks = nblocks;
		s->room = room;
		s->submitted = s->collected = 0;
		s->kept = 0;
	}
	MemoryContextSwitchTo(old);
	return s->pool != NULL;
}

void
scorer_finish(Scorer *s)
{
	Assert(!s->filling && s->collected == s->submitted);
	if (s->pool == NULL)
		return;
	predict_pool_close(s->pool);
	s->pool = NULL;
	s->scored = NULL;			/* its rows are gone */
	s->shown = 0;
	s->room = 0;				/* and no more can come */
}

const char *
scorer_series(const Scorer *s)
{
	return s->series_key;
}

bool
scorer_new_series(const Scorer *s)
{
	return s->new_series;
}

/* ---- the rest ------------------------------------------------------------------------------ */

const nn_calibration *
scorer_calibration(const Scorer *s)
{
	return &s->calibration;
}

const ModelStats *
scorer_stats(const Scorer *s)
{
	return s->stats;
}

int
scorer_depth(const Model *m)
{
	return m->plan.warmup + m->options.fill_limit;
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
		[SCORE_UNKNOWN_SERIES] = "unknown_series",
		[SCORE_NOT_FINITE] = "not_finite",
		[SCORE_PENDING] = "pending",
	};

	return text[status];
}
