/*
 * scorer.c
 *	  Scoring of rows: one series after another, block by block.
 *
 * A stretch is what the network sees as one series: it begins with the series
 * and anew after every gap.  Its first rows are left out until every feature has
 * had a value, or fill_limit rows have passed: were the unknown guessed before, a
 * row's score could depend on where the query's range begins.
 */
#include "postgres.h"
#include "compat.h"

#include <math.h>

#include "miscadmin.h"

#include "scorer.h"
#include "series.h"

#define NEVER (-1)

/* A row of the block. */
typedef struct BlockRow
{
	int64		ts;
	bool		ts_valid;
	ScoreStatus status;
	double		score;
	int			fed;			/* its place among the rows fed to the model; -1: it is not */
} BlockRow;

/* A row fed to the model. */
typedef struct FedRow
{
	int			row;			/* of the block */
	bool		begins;			/* the first of its stretch */
	int64		before;			/* rows of the stretch before it */
	bool		missing;		/* some feature is */
} FedRow;

struct Scorer
{
	const LoadedModel *loaded;
	const ModelStats *stats;	/* of the series */
	bool		unknown;		/* it is not among the fleet's */
	nn_scaling	scaling;
	nn_calibration calibration;
	Prediction	prediction;
	nn_horizons horizons;
	int			features;
	int			context;

	/* the stretch */
	int64		offered;		/* rows */
	int64		fed;			/* rows that went to the model */
	bool		after_gap;
	bool		has_ts;
	int64		last_ts;
	int64	   *seen;			/* (C) row of the last value, NEVER */
	double	   *last;			/* (C) that value */

	/* the block */
	bool		scored;
	int			rows;
	int			nfed;
	int			room;			/* rows at most */
	BlockRow   *row;			/* (room) */
	FedRow	   *fed_row;		/* (room) */
	double	   *values;			/* (room, C) as given */
	float	   *scaled;			/* (room, C) of rows fed, as what follows */
	uint8	   *imputed;		/* (room, IMPUTED_BYTES) */
	float	   *expected;		/* (room, C) */
	float	   *discrepancy;	/* (room, N) */
};

static void
check_memory(const LoadedModel *loaded)
{
	Size		bytes = predict_series_bytes(loaded->predictor);

	if (bytes > (Size) work_mem * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("memory required to score is %zu kB, work_mem is %d kB",
						bytes / 1024 + 1, work_mem),
				 errhint("Raise work_mem.")));
}

Scorer *
scorer_open(const LoadedModel *loaded, int block_rows)
{
	const Size	rows = block_rows;
	const int	C = loaded->model->features;
	Scorer	   *s = palloc0(sizeof(Scorer));
	int			ring = options_max_horizon(&loaded->model->options);

	check_memory(loaded);
	s->loaded = loaded;
	s->features = C;
	s->context = loaded->predictor->context;
	predict_series_open(&s->prediction, loaded->predictor);
	s->horizons.ring = palloc(sizeof(double) * ring);
	s->seen = palloc(sizeof(int64) * C);
	s->last = palloc(sizeof(double) * C);
	s->room = block_rows;
	s->row = palloc(sizeof(BlockRow) * rows);
	s->fed_row = palloc(sizeof(FedRow) * rows);
	s->values = palloc_extended(sizeof(double) * rows * C, MCXT_ALLOC_HUGE);
	s->scaled = palloc_extended(sizeof(float) * rows * C, MCXT_ALLOC_HUGE);
	s->expected = palloc_extended(sizeof(float) * rows * C, MCXT_ALLOC_HUGE);
	s->imputed = palloc(rows * IMPUTED_BYTES(C));
	s->discrepancy = palloc(sizeof(float) * rows * Max(loaded->predictor->blocks, 1));
	scorer_begin(s, NULL);
	return s;
}

/* ---- a stretch ------------------------------------------------------------------------ */

static void
begin_stretch(Scorer *s)
{
	s->offered = 0;
	s->fed = 0;
	for (int c = 0; c < s->features; c++)
		s->seen[c] = NEVER;
}

void
scorer_begin(Scorer *s, const char *key)
{
	const Model *m = s->loaded->model;

	s->stats = model_series_stats(m, key);
	s->unknown = s->stats == NULL && m->nseries > 0;
	if (s->stats == NULL)
		s->stats = &m->stats;
	s->scaling = model_scaling(m, s->stats);
	s->calibration = model_calibration(m, s->stats);
	nn_horizons_open(&s->horizons, &s->calibration, s->horizons.ring);
	s->after_gap = false;
	s->has_ts = false;
	begin_stretch(s);
}

/* Whether a row has its place in the series; otherwise what it is. */
static ScoreStatus
place(Scorer *s, int64 ts, bool ts_valid)
{
	if (!ts_valid)
		return SCORE_INVALID_TS;
	if (s->has_ts && ts == s->last_ts)
		return SCORE_DUPLICATE_TS;
	if (s->has_ts && ts < s->last_ts)
		return SCORE_OUT_OF_ORDER;
	if (s->has_ts && s->stats->max_gap > 0 &&
		(double) ts - (double) s->last_ts > s->stats->max_gap)
	{
		s->after_gap = true;
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
feed(Scorer *s, const double *values)
{
	const int	limit = s->loaded->model->options.fill_limit;
	const int	C = s->features;
	float	   *scaled = s->scaled + (size_t) s->nfed * C;
	uint8	   *imputed = s->imputed + s->nfed * IMPUTED_BYTES(C);
	FedRow	   *fed = &s->fed_row[s->nfed];
	int64		row = s->offered++;
	bool		known = true;
	bool		missing = false;

	memset(imputed, 0, IMPUTED_BYTES(C));
	for (int c = 0; c < C; c++)
	{
		if (!isnan(values[c]))
		{
			s->seen[c] = row;
			s->last[c] = values[c];
			scaled[c] = nn_scale(&s->scaling, c, values[c]);
			continue;
		}
		missing = true;
		imputed[c / 8] |= 1 << c % 8;
		known = known && (s->seen[c] != NEVER || row >= limit);
		scaled[c] = s->seen[c] == NEVER || row - s->seen[c] > limit ? 0.0f
			: nn_scale(&s->scaling, c, s->last[c]);
	}
	if (s->fed == 0 && !known)
		return false;
	fed->row = s->rows;
	fed->begins = s->fed == 0;
	fed->before = s->fed++;
	fed->missing = missing;
	s->nfed++;
	return true;
}

void
scorer_add(Scorer *s, int64 ts, bool ts_valid, const double *values)
{
	BlockRow   *row;

	if (s->scored)
	{
		s->scored = false;
		s->rows = 0;
		s->nfed = 0;
	}
	row = &s->row[s->rows];
	memcpy(s->values + (size_t) s->rows * s->features, values, sizeof(double) * s->features);
	row->ts = ts;
	row->ts_valid = ts_valid;
	row->score = NAN;
	row->fed = -1;
	row->status = place(s, ts, ts_valid);
	if (row->status == SCORE_FINE)
	{
		row->status = s->after_gap ? SCORE_GAP : SCORE_WARMUP;
		if (feed(s, values))
			row->fed = s->nfed - 1;
	}
	s->rows++;
}

int
scorer_rows(const Scorer *s)
{
	return s->scored ? 0 : s->rows;
}

bool
scorer_full(const Scorer *s)
{
	return scorer_rows(s) == s->room;
}

/* ---- a block ---------------------------------------------------------------------------- */

static void
score_row(Scorer *s, int i)
{
	const FedRow *fed = &s->fed_row[i];
	BlockRow   *row = &s->row[fed->row];
	size_t		at = (size_t) i * s->features;
	double		raw;

	if (fed->before < s->context)
		return;
	raw = nn_raw_score(&s->calibration, s->scaled + at, s->expected + at,
					   s->discrepancy + (size_t) i * s->calibration.layers,
					   s->imputed + i * IMPUTED_BYTES(s->features));
	nn_horizons_add(&s->horizons, raw);
	if (s->horizons.count < s->horizons.size)
		return;
	row->score = nn_horizons_score(&s->horizons);
	if (raw == NN_NO_SCORE ||
		(fed->missing && s->loaded->model->options.missing == MISSING_ERROR))
	{
		row->score = NAN;
		row->status = SCORE_NULL_INPUT;
	}
	else if (isnan(row->score))
		row->status = SCORE_NOT_FINITE;
	else
		row->status = s->unknown ? SCORE_UNKNOWN_SERIES : SCORE_FINE;
}

/* Rows fed that follow `first` in its stretch. */
static int
stretch_rows(const Scorer *s, int first)
{
	int			n = 1;

	while (first + n < s->nfed && !s->fed_row[first + n].begins)
		n++;
	return n;
}

void
scorer_run(Scorer *s)
{
	for (int first = 0, n; first < s->nfed; first += n)
	{
		n = Min(stretch_rows(s, first), PREDICT_ROWS);
		if (s->fed_row[first].begins)
		{
			predict_series_reset(&s->prediction);
			nn_horizons_reset(&s->horizons);
		}
		predict_push(&s->prediction, s->scaled + (size_t) first * s->features, n,
					 s->expected + (size_t) first * s->features,
					 s->discrepancy + (size_t) first * s->calibration.layers);
		for (int i = first; i < first + n; i++)
			score_row(s, i);
	}
	s->scored = true;
}

ScoredRow
scorer_row(const Scorer *s, int i)
{
	const BlockRow *row = &s->row[i];
	ScoredRow	result = {
		.ts = row->ts,
		.ts_valid = row->ts_valid,
		.status = row->status,
		.score = row->score,
		.values = s->values + (size_t) i * s->features,
	};

	if (row->fed >= 0)
	{
		size_t		at = (size_t) row->fed * s->features;

		result.scaled = s->scaled + at;
		result.imputed = s->imputed + row->fed * IMPUTED_BYTES(s->features);
		result.begins = s->fed_row[row->fed].begins;
		if (s->fed_row[row->fed].before >= s->context)
		{
			result.expected = s->expected + at;
			result.discrepancy = s->discrepancy + (size_t) row->fed * s->calibration.layers;
		}
	}
	return result;
}

/* ---- the rest ------------------------------------------------------------------------------ */

bool
scorer_last_ts(const Scorer *s, int64 *ts)
{
	*ts = s->last_ts;
	return s->has_ts;
}

const ModelStats *
scorer_stats(const Scorer *s)
{
	return s->stats;
}

int
scorer_depth(const Model *m)
{
	return options_warmup(&m->options, m->features) + m->options.fill_limit;
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
	};

	return text[status];
}
