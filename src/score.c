/*
 * score.c
 *	  The window function amad_score(model, ts, VARIADIC features).
 *
 * Rows are read ahead in blocks, for the network is fastest on blocks; each row
 * is read and computed once.  A block's severities are then served one by one.
 * All else that is kept is the stream's ring of keys and values and the last raw
 * scores, so memory does not grow with the partition.
 */
#include "postgres.h"
#include "compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "cache.h"
#include "feature.h"
#include "timestamps.h"
#include "window_row.h"

#define MODEL_ARG 0
#define TS_ARG 1
#define FEATURES_ARG 2

#define VALUE_HEAD_BYTES 32		/* of a model, enough to tell it from another */

/* State of a call site: the model and the partition in hand. */
typedef struct ScoreState
{
	bool		by_value;		/* the model is an amad_model, else a name */
	bool		constant_model; /* the same for all rows, by its expression */
	Oid			ts_type;
	Features   *features;
	MemoryContextCallback release;

	LoadedModel *loaded;
	char	   *name;			/* of the model, by name */
	struct varlena *value_head; /* first bytes of the model, by value */
	nn_stream  *stream;
	nn_horizons horizons;
	MemoryContext memory;		/* of all that depends on the model */

	/* the partition */
	int64		rows;			/* rows pushed into the stream */
	bool		has_ts;
	int64		last_ts;
	double	   *last;			/* (C) last known values, NaN: none yet */

	/* the block of rows read ahead */
	int64		block_start;	/* position in the partition */
	int			block_rows;
	int			skipped;		/* leading rows of it before the series' start */
	double	   *row;			/* (C) */
	float	   *scaled;			/* (NN_STREAM_ROWS, C) */
	float	   *expected;		/* (NN_STREAM_ROWS, C) */
	float	   *discrepancy;	/* (NN_STREAM_ROWS, N) */
	double		severity[NN_STREAM_ROWS];	/* NaN: warm-up */
} ScoreState;

/* What a partition has: only whether it was begun. */
typedef struct PartitionState
{
	bool		begun;
} PartitionState;

SQL_FUNCTION(amad_score);

/* ---- the model --------------------------------------------------------------------------- */

static void
release_model(void *arg)
{
	ScoreState *s = arg;

	if (s->loaded)
		cache_release(s->loaded);
	s->loaded = NULL;
}

static void
check_memory(const nn_shape *shape)
{
	Size		bytes = nn_stream_bytes(shape);

	if (bytes > (Size) work_mem * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("memory required to score is %zu kB, work_mem is %d kB",
						bytes / 1024 + 1, work_mem),
				 errhint("Raise work_mem.")));
}

static void
check_features(const ScoreState *s)
{
	const Model *m = s->loaded->model;

	if (s->features->count != m->features)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d features given, but the model%s%s%s has %s", s->features->count,
						s->name ? " \"" : "", s->name ? s->name : "", s->name ? "\"" : "",
						model_feature_list(m)),
				 errhint("Give the features that the model was trained with, in the same order.")));
}

/* Room for a model's stream and outputs. */
static void
open_stream(ScoreState *s)
{
	const nn_shape *shape = &s->loaded->shape;
	const int	C = shape->features;
	MemoryContext old;

	check_memory(shape);
	MemoryContextReset(s->memory);
	s->name = NULL;
	s->value_head = NULL;
	old = MemoryContextSwitchTo(s->memory);
	s->stream = nn_stream_open(palloc_extended(nn_stream_bytes(shape), MCXT_ALLOC_HUGE),
							   s->loaded->packed);
	nn_horizons_open(&s->horizons, &s->loaded->calibration,
					 palloc(sizeof(double) * nn_max_horizon(&s->loaded->calibration)));
	s->last = palloc(sizeof(double) * C);
	s->row = palloc(sizeof(double) * C);
	s->scaled = palloc(sizeof(float) * NN_STREAM_ROWS * C);
	s->expected = palloc(sizeof(float) * NN_STREAM_ROWS * C);
	s->discrepancy = palloc(sizeof(float) * NN_STREAM_ROWS * shape->layers);
	MemoryContextSwitchTo(old);
}

/* Is the model by value the one in hand?  Its first bytes hold a checksum of the rest. */
static bool
same_value(const ScoreState *s, Datum model)
{
	struct varlena *head = PG_DETOAST_DATUM_SLICE(model, 0, VALUE_HEAD_BYTES);

	return s->value_head != NULL && VARSIZE_ANY(head) == VARSIZE(s->value_head) &&
		memcmp(VARDATA_ANY(head), VARDATA(s->value_head), VARSIZE_ANY_EXHDR(head)) == 0;
}

static void
use_value(ScoreState *s, Datum model)
{
	if (same_value(s, model))
		return;
	release_model(s);
	s->loaded = cache_by_value(PG_DETOAST_DATUM(model));
	open_stream(s);
	s->value_head = MemoryContextAlloc(s->memory, VARHDRSZ + VALUE_HEAD_BYTES);
	memcpy(s->value_head, PG_DETOAST_DATUM_SLICE(model, 0, VALUE_HEAD_BYTES),
		   VARHDRSZ + VALUE_HEAD_BYTES);
}

static void
use_name(ScoreState *s, Oid function, const char *name)
{
	LoadedModel *loaded = cache_by_name(function, name);
	bool		same = loaded == s->loaded;

	release_model(s);
	s->loaded = loaded;
	if (same)
		return;
	open_stream(s);
	s->name = MemoryContextStrdup(s->memory, name);
}

/* The model argument of the current row, for the partition that begins with it. */
static void
use_model(FunctionCallInfo fcinfo, WindowObject window, ScoreState *s)
{
	bool		isnull;
	Datum		model = WinGetFuncArgCurrent(window, MODEL_ARG, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("model of amad_score must not be null")));
	if (s->by_value)
		use_value(s, model);
	else
		use_name(s, fcinfo->flinfo->fn_oid, TextDatumGetCString(model));
}

/* A model that is an expression of columns must not change within a partition. */
static void
check_same_model(WindowObject window, const ScoreState *s, int offset)
{
	bool		isnull;
	Datum		model = window_row_argument(window, MODEL_ARG, offset, &isnull);

	if (isnull ||
		(s->by_value ? !same_value(s, model)
		 : strcmp(TextDatumGetCString(model), s->name) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("model of amad_score must be the same in all rows of a partition"),
				 errhint("Add PARTITION BY with the columns that it depends on.")));
}

/* ---- rows ---------------------------------------------------------------------------------- */

static ScoreState *
open_state(FunctionCallInfo fcinfo)
{
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	ScoreState *s = palloc0(sizeof(ScoreState));

	s->by_value = get_fn_expr_argtype(fcinfo->flinfo, MODEL_ARG) != TEXTOID;
	s->constant_model = get_fn_expr_arg_stable(fcinfo->flinfo, MODEL_ARG);
	s->ts_type = get_fn_expr_argtype(fcinfo->flinfo, TS_ARG);
	s->features = feature_open(fcinfo->flinfo, FEATURES_ARG, PG_NARGS());
	s->memory = AllocSetContextCreate(CurrentMemoryContext, "amad score", ALLOCSET_DEFAULT_SIZES);
	s->release.func = release_model;
	s->release.arg = s;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &s->release);
	fcinfo->flinfo->fn_extra = s;
	MemoryContextSwitchTo(old);
	return s;
}

static void
begin_partition(FunctionCallInfo fcinfo, WindowObject window, ScoreState *s)
{
	use_model(fcinfo, window, s);
	if (s->features->array)
	{
		bool		isnull;
		Datum		array = WinGetFuncArgCurrent(window, FEATURES_ARG, &isnull);

		s->features->count = isnull ? s->loaded->model->features
			: feature_array_length(array);
	}
	check_features(s);
	nn_stream_reset(s->stream);
	nn_horizons_reset(&s->horizons);
	for (int c = 0; c < s->features->count; c++)
		s->last[c] = NAN;
	s->rows = 0;
	s->has_ts = false;
	s->block_start = 0;
	s->block_rows = 0;
}

/* Goes to a row; false at the partition's end. */
static bool
read_ts(WindowObject window, ScoreState *s, int offset)
{
	bool		isnull;
	bool		isout;
	int64		ts = DatumGetInt64(window_row_seek(window, TS_ARG, offset, &isnull, &isout));

	if (isout)
		return false;
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("timestamp of amad_score must not be null"),
				 errhint("Leave such rows out with WHERE … IS NOT NULL.")));
	timestamps_check(s->ts_type, ts);
	if (s->has_ts && ts <= s->last_ts)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timestamp %s follows %s within a partition of amad_score",
						timestamps_text(s->ts_type, ts), timestamps_text(s->ts_type, s->last_ts)),
				 errdetail("The rows of a series must have increasing timestamps."),
				 errhint("Use OVER (ORDER BY …) with the same timestamp, and PARTITION BY with the "
						 "columns that identify a series.")));
	s->has_ts = true;
	s->last_ts = ts;
	return true;
}

static void
read_features(WindowObject window, ScoreState *s, int offset)
{
	const Features *f = s->features;
	bool		isnull;

	if (f->array)
	{
		Datum		array = window_row_argument(window, FEATURES_ARG, offset, &isnull);

		feature_array_values(f, array, isnull, s->row);
		return;
	}
	for (int c = 0; c < f->count; c++)
	{
		Datum		value = window_row_argument(window, FEATURES_ARG + c, offset, &isnull);

		s->row[c] = feature_value(f->type[c], value, isnull);
	}
}

/*
 * Missing values become the last known ones.  The series starts with the first
 * row by which every feature has had a value: were the unknown guessed, a row's
 * score could depend on where the query's range begins.
 */
static bool
carry_forward(ScoreState *s)
{
	bool		complete = true;

	for (int c = 0; c < s->features->count; c++)
	{
		if (!isnan(s->row[c]))
			s->last[c] = s->row[c];
		complete = complete && !isnan(s->last[c]);
	}
	return complete;
}

/* Reads the next rows of the partition, scaled; leaves their number in block_rows. */
static void
read_block(WindowObject window, ScoreState *s)
{
	const int	C = s->features->count;
	int			n = 0;

	s->skipped = 0;
	for (; n < NN_STREAM_ROWS && read_ts(window, s, n); n++)
	{
		float	   *scaled = s->scaled + (size_t) (n - s->skipped) * C;

		if (!s->constant_model)
			check_same_model(window, s, n);
		read_features(window, s, n);
		if (!carry_forward(s))
		{
			s->skipped++;
			continue;
		}
		for (int c = 0; c < C; c++)
			scaled[c] = nn_scale(&s->loaded->scaling, c, s->last[c]);
	}
	s->block_rows = n;
}

static void
score_block(ScoreState *s)
{
	const nn_calibration *cal = &s->loaded->calibration;
	int			n = s->block_rows - s->skipped;

	for (int i = 0; i < s->skipped; i++)
		s->severity[i] = NAN;
	if (n > 0)
		nn_stream_push(s->stream, s->scaled, n, s->expected, s->discrepancy);
	for (int i = 0; i < n; i++)
	{
		size_t		at = (size_t) i * cal->features;

		if (s->rows++ >= s->loaded->context)
			nn_horizons_add(&s->horizons,
							nn_raw_score(cal, s->scaled + at, s->expected + at,
										 s->discrepancy + (size_t) i * cal->layers));
		s->severity[s->skipped + i] = nn_horizons_score(&s->horizons) / cal->threshold;
	}
}

Datum
amad_score(PG_FUNCTION_ARGS)
{
	WindowObject window = PG_WINDOW_OBJECT();
	ScoreState *s = fcinfo->flinfo->fn_extra;
	PartitionState *partition;
	int64		position;
	double		severity;

	if (!WindowObjectIsValid(window))
		elog(ERROR, "amad_score called in non-window context");
	if (s == NULL)
		s = open_state(fcinfo);
	partition = WinGetPartitionLocalMemory(window, sizeof(PartitionState));
	if (!partition->begun)
	{
		begin_partition(fcinfo, window, s);
		partition->begun = true;
	}

	position = WinGetCurrentPosition(window);
	if (position >= s->block_start + s->block_rows)
	{
		CHECK_FOR_INTERRUPTS();
		read_block(window, s);
		score_block(s);
		s->block_start = position;
		/* nothing before the block's last row is needed again */
		WinSetMarkPosition(window, position + s->block_rows - 1);
	}
	severity = s->severity[position - s->block_start];
	if (isnan(severity))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(severity);
}
