/*
 * score/window_functions.c
 *	  The window functions amad_score and amad_explain:
 *
 *		(model, [series jsonb,] ts, VARIADIC features) OVER (ORDER BY ts)
 *
 * The executor asks for one row after another, but the network is fastest on blocks.  So
 * when the current row has no score yet, the rows after it are read ahead into the scorer
 * (scorer.c) until it has a block, which is scored at once; the results are then returned
 * one by one.  With the option lookahead, the rows read ahead include those that a score may
 * use.  Each row is read once, and the executor's row store is told that it is not needed
 * again, so memory does not grow with the partition.
 *
 * Rows of one timestamp (peers) are read together, because only one of them has its place in
 * the series: the first in the order of duplicate_rows.h.  The others get the status
 * duplicate_ts.
 *
 * The model and the series are read at the beginning of a partition, and must not change
 * within it.  Everything that depends on the model is kept for the next partition.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "pg/call_arguments.h"
#include "pg/timestamps.h"
#include "pg/window_row.h"
#include "rows/duplicate_rows.h"
#include "rows/features.h"
#include "rows/series_key.h"
#include "score/explanation.h"

#define MODEL_ARG 0
#define SERIES_ARG 1			/* if it has type jsonb */

#define VALUE_HEAD_BYTES 32		/* first bytes of a model, which identify it */

#define DUPLICATE_ROWS 100		/* no warning of duplicates in a partition with fewer rows */

typedef struct PeerRow
{
	bool		any;			/* there is a row */
	int64		ts;
	bool		ts_valid;		/* a finite time */
	double	   *values;			/* (C) */
} PeerRow;

/* The rows of one timestamp, usually one. */
typedef struct Peers
{
	int64		rows;
	int64		passed;			/* rows passed on to the scorer */
	int64		place;			/* number of the row that is scored */
	PeerRow		row;			/* that row */
} Peers;

/* State of a call in a query: the model and the current partition. */
typedef struct ScoreState
{
	/* arguments */
	const char *function;		/* for messages */
	bool		by_value;		/* the model is an amad_model, otherwise a name */
	bool		constant_model; /* its expression is the same for all rows */
	bool		has_series;		/* there is a series argument */
	bool		constant_series;
	int			ts_arg;			/* number of the argument ts */
	Oid			ts_type;		/* its base type */
	Features   *features;

	/* model */
	LoadedModel *loaded;
	MemoryContextCallback release;
	char	   *name;			/* of a model given by name */
	struct varlena *value_head; /* first bytes of a model given by value */
	MemoryContext memory;		/* for everything that depends on the model */
	Scorer	   *scorer;
	SeriesFinder *finder;		/* NULL until it is needed */

	/* partition */
	MemoryContext partition;
	struct varlena *series;		/* its series argument; NULL if null */
	int64		read;			/* rows read */
	int64		taken;			/* rows taken from the scorer */
	bool		ended;			/* all rows were read */
	PeerRow		next;			/* the last row read, not yet among the peers */
	Peers		peers;
	int64		duplicates;		/* rows that repeat a timestamp */
	bool		has_last;
	int64		last_ts;		/* greatest finite timestamp */
	bool		warned;			/* a partition of the query had many duplicates */

	MemoryContext row_context;	/* reset for each row read */
	MemoryContext block;		/* reset for each block */

	/* result of amad_explain */
	TupleDesc	columns;
	ExplanationWriter *writer;
	Datum		values[EXPLANATION_COLUMNS];
	bool		nulls[EXPLANATION_COLUMNS];
} ScoreState;

/* State of a partition, which begins as zeros. */
typedef struct PartitionState
{
	bool		begun;			/* its first row was seen */
} PartitionState;

SQL_FUNCTION(amad_score);
SQL_FUNCTION(amad_explain);
SQL_FUNCTION(amad_explain_anomalies);

/* ---- the model --------------------------------------------------------------------------- */

static void
release_call_model(void *arg)
{
	ScoreState *s = arg;

	if (s->loaded)
		cache_release(s->loaded);
	s->loaded = NULL;
}

static void
check_feature_count(const ScoreState *s)
{
	const Model *m = s->loaded->model;

	if (s->features->count != m->features)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d features given, but the model%s%s%s has %s", s->features->count,
						s->name ? " \"" : "", s->name ? s->name : "", s->name ? "\"" : "",
						model_feature_list(m)),
				 errhint(
					 "Specify the features that the model was trained with, in the same order.")));
}

/* Allocates everything that depends on the model. */
static void
open_model_memory(ScoreState *s)
{
	MemoryContext old;

	MemoryContextReset(s->memory);
	s->name = NULL;
	s->value_head = NULL;
	s->finder = NULL;
	old = MemoryContextSwitchTo(s->memory);
	s->scorer = scorer_open(s->loaded, false);
	s->next.values = palloc(sizeof(double) * s->loaded->model->features);
	s->peers.row.values = palloc(sizeof(double) * s->loaded->model->features);
	s->writer = s->columns ? explanation_open(s->loaded) : NULL;
	MemoryContextSwitchTo(old);
}

/* Whether a model by value is the current one.  Its first bytes hold a checksum of the rest. */
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
	release_call_model(s);
	s->loaded = cache_by_value(PG_DETOAST_DATUM(model));
	open_model_memory(s);
	s->value_head = MemoryContextAlloc(s->memory, VARHDRSZ + VALUE_HEAD_BYTES);
	memcpy(s->value_head, PG_DETOAST_DATUM_SLICE(model, 0, VALUE_HEAD_BYTES),
		   VARHDRSZ + VALUE_HEAD_BYTES);
}

static void
use_name(ScoreState *s, Oid function, const char *name)
{
	LoadedModel *loaded = cache_by_name(function, name, 0);
	bool		same = loaded == s->loaded;

	release_call_model(s);
	s->loaded = loaded;
	if (same)
		return;
	open_model_memory(s);
	s->name = MemoryContextStrdup(s->memory, name);
}

/* Loads the model of the current row, which begins a partition. */
static void
use_model(FunctionCallInfo fcinfo, WindowObject window, ScoreState *s)
{
	bool		isnull;
	Datum		model = WinGetFuncArgCurrent(window, MODEL_ARG, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("model of %s must not be null", s->function)));
	if (s->by_value)
		use_value(s, model);
	else
		use_name(s, fcinfo->flinfo->fn_oid, TextDatumGetCString(model));
}

/* ERROR: an argument changed within a partition. */
static void
report_change(const ScoreState *s, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s of %s must be the same in all rows of a partition", what, s->function),
			 errhint("Add PARTITION BY with the columns that it depends on.")));
}

/* Checks that a row has the model and the series of the partition. */
static void
check_partition_arguments(WindowObject window, const ScoreState *s, int offset)
{
	bool		isnull;
	Datum		value;

	if (!s->constant_model)
	{
		value = window_row_argument(window, MODEL_ARG, offset, &isnull);
		if (isnull ||
			(s->by_value ? !same_value(s, value)
						 : strcmp(TextDatumGetCString(value), s->name) != 0))
			report_change(s, "model");
	}
	if (s->has_series && !s->constant_series)
	{
		struct varlena *series;

		value = window_row_argument(window, SERIES_ARG, offset, &isnull);
		series = isnull ? NULL : PG_DETOAST_DATUM_PACKED(value);
		if ((series == NULL) != (s->series == NULL) ||
			(series != NULL &&
			 (VARSIZE_ANY_EXHDR(series) != VARSIZE_ANY_EXHDR(s->series) ||
			  memcmp(VARDATA_ANY(series), VARDATA_ANY(s->series), VARSIZE_ANY_EXHDR(series)) != 0)))
			report_change(s, "series");
	}
}

/* ---- rows ---------------------------------------------------------------------------------- */

static ScoreState *
open_score_state(FunctionCallInfo fcinfo, const char *function, bool explain)
{
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	ScoreState *s = palloc0(sizeof(ScoreState));

	/* ERROR with IGNORE NULLS, which would skip rows */
	WinCheckAndInitializeNullTreatment(PG_WINDOW_OBJECT(), false, fcinfo);
	s->function = function;
	s->by_value = get_fn_expr_argtype(fcinfo->flinfo, MODEL_ARG) != TEXTOID;
	s->constant_model = get_fn_expr_arg_stable(fcinfo->flinfo, MODEL_ARG);
	s->has_series = get_fn_expr_argtype(fcinfo->flinfo, SERIES_ARG) == JSONBOID;
	s->constant_series = get_fn_expr_arg_stable(fcinfo->flinfo, SERIES_ARG);
	s->ts_arg = s->has_series ? SERIES_ARG + 1 : SERIES_ARG;
	s->ts_type = time_argument_type(fcinfo->flinfo, s->ts_arg, function,
									"model, [series jsonb,] ts, feature, ...");
	if (explain)
	{
		if (get_call_result_type(fcinfo, NULL, &s->columns) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		s->columns = BlessTupleDesc(s->columns);
	}
	s->memory = AllocSetContextCreate(CurrentMemoryContext, "amad score", ALLOCSET_DEFAULT_SIZES);
	s->partition = AllocSetContextCreate(CurrentMemoryContext, "amad partition",
										 ALLOCSET_SMALL_SIZES);
	s->row_context = AllocSetContextCreate(CurrentMemoryContext, "amad row",
										   ALLOCSET_DEFAULT_SIZES);
	s->block = AllocSetContextCreate(CurrentMemoryContext, "amad block", ALLOCSET_DEFAULT_SIZES);
	s->release.func = release_call_model;
	s->release.arg = s;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &s->release);
	fcinfo->flinfo->fn_extra = s;
	MemoryContextSwitchTo(old);
	return s;
}

/* The key that the model has for a series: 1 for '1', if the column was a number. */
static const char *
find_partition_key(ScoreState *s, const char *key)
{
	const Model *m = s->loaded->model;
	MemoryContext old;
	const char *known;

	if (model_known_stats(m, key) != NULL)
		return key;
	old = MemoryContextSwitchTo(s->memory);
	if (s->finder == NULL)
		s->finder = series_finder_open(m, NULL, NULL);
	known = series_finder_find(s->finder, key, NULL);
	MemoryContextSwitchTo(old);
	return known ? known : key;
}

/* Begins the series of the current row in the scorer. */
static void
use_series(WindowObject window, ScoreState *s)
{
	const char *key = NULL;
	MemoryContext old;
	bool		isnull;
	Datum		series;

	scorer_abandon(s->scorer);	/* the last partition may not have been read to its end */
	MemoryContextReset(s->partition);
	s->series = NULL;
	if (s->has_series)
	{
		series = WinGetFuncArgCurrent(window, SERIES_ARG, &isnull);
		old = MemoryContextSwitchTo(s->partition);
		if (!isnull)
		{
			s->series = PG_DETOAST_DATUM_COPY(series);
			key = find_partition_key(s, series_key_of_jsonb(s->loaded->model, (Jsonb *) s->series));
		}
		MemoryContextSwitchTo(old);
	}
	scorer_begin(s->scorer, key, NULL);
}

/* Looks up the types of the features, once; the model has their names, for messages. */
static void
look_up_features(FunctionCallInfo fcinfo, ScoreState *s)
{
	const Options *options = &s->loaded->model->options;
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

	s->features = features_open(fcinfo->flinfo, s->ts_arg + 1, PG_NARGS(), options->nnames,
								options->names);
	MemoryContextSwitchTo(old);
}

static void
begin_partition(FunctionCallInfo fcinfo, WindowObject window, ScoreState *s)
{
	use_model(fcinfo, window, s);
	if (s->features == NULL)
		look_up_features(fcinfo, s);
	if (s->features->array)
	{
		bool		isnull;
		Datum		array = WinGetFuncArgCurrent(window, s->ts_arg + 1, &isnull);

		s->features->count = isnull ? s->loaded->model->features : features_array_length(array);
	}
	check_feature_count(s);
	timestamps_check_model(s->loaded->model->ts_type, timestamps_scored_type(s->ts_type));
	use_series(window, s);
	s->read = 0;
	s->taken = 0;
	s->ended = false;
	s->next.any = false;
	s->peers.rows = s->peers.passed = 0;
	s->duplicates = 0;
	s->has_last = false;
}

/* Checks that rows are in order of time, as the window's ORDER BY may be another one. */
static void
check_row_order(ScoreState *s, int64 ts)
{
	if (s->has_last && ts < s->last_ts)
	{
		const Oid	type = timestamps_scored_type(s->ts_type);

		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timestamp %s follows %s within a partition of %s",
						timestamps_text(type, ts), timestamps_text(type, s->last_ts), s->function),
				 errdetail("The rows of a series must be in order of their timestamps."),
				 errhint(
					 "Use OVER (ORDER BY ...) with the same timestamp, and PARTITION BY with the "
					 "columns that identify a series.")));
	}
	s->has_last = true;
	s->last_ts = ts;
}

static void
read_window_features(WindowObject window, ScoreState *s, int offset, double *values)
{
	const Features *f = s->features;
	bool		isnull;

	if (f->array)
	{
		Datum		array = window_row_argument(window, s->ts_arg + 1, offset, &isnull);

		features_array_values(f, array, isnull, values);
		return;
	}
	for (int c = 0; c < f->count; c++)
	{
		Datum		value = window_row_argument(window, s->ts_arg + 1 + c, offset, &isnull);

		values[c] = features_value(f->type[c], value, isnull);
	}
}

/* Reads the next row of the partition, if there is one; `position` is that of the current row. */
static bool
read_window_row(WindowObject window, ScoreState *s, int64 position)
{
	const int	offset = (int) (s->read - position);
	PeerRow    *row = &s->next;
	MemoryContext old;
	bool		isnull;
	bool		isout;
	Datum		ts = window_row_seek(window, s->ts_arg, offset, &isnull, &isout);

	row->any = !isout;
	if (isout)
		return false;
	MemoryContextReset(s->row_context);
	old = MemoryContextSwitchTo(s->row_context);
	s->read++;
	row->ts = 0;
	row->ts_valid = !isnull && timestamps_value(s->ts_type, ts, &row->ts);
	if (row->ts_valid)
		check_row_order(s, row->ts);
	check_partition_arguments(window, s, offset);
	read_window_features(window, s, offset, row->values);
	MemoryContextSwitchTo(old);
	return true;
}

/* Makes the row read last the one of the peers that is scored. */
static void
keep_next_row(ScoreState *s)
{
	PeerRow		old = s->peers.row;

	s->peers.row = s->next;
	s->next.values = old.values;
	s->next.any = false;
}

/* Reads the rows of the next timestamp, and one row more.  False at the end of the partition. */
static bool
read_peers(WindowObject window, ScoreState *s, int64 position)
{
	Peers	   *p = &s->peers;

	p->rows = p->passed = p->place = 0;
	if (!s->next.any && !read_window_row(window, s, position))
		return false;
	keep_next_row(s);
	p->rows = 1;
	while (read_window_row(window, s, position) && p->row.ts_valid && s->next.ts_valid &&
		   s->next.ts == p->row.ts)
	{
		CHECK_FOR_INTERRUPTS();
		/* the executor can forget the rows read: what matters of them is copied */
		WinSetMarkPosition(window, s->read - 1);
		if (duplicate_rows_precedes(s->loaded->model->features, s->next.values, false,
									p->row.values, false))
		{
			keep_next_row(s);
			p->place = p->rows;
		}
		s->next.any = false;
		p->rows++;
		s->duplicates++;
	}
	return true;
}

/* Passes the next row to the scorer.  False at the end of the partition. */
static bool
pass_row_to_scorer(WindowObject window, ScoreState *s, int64 position)
{
	Peers	   *p = &s->peers;

	if (p->passed == p->rows && !read_peers(window, s, position))
		return false;
	if (p->passed++ == p->place)
		scorer_add(s->scorer, p->row.ts, p->row.ts_valid, p->row.values, 0);
	else
		scorer_add_duplicate(s->scorer, p->row.ts, 0);
	return true;
}

/* Warns at the end of a partition, once a query, if its rows seem to be of several series. */
static void
warn_of_duplicates(ScoreState *s)
{
	if (s->warned || s->read < DUPLICATE_ROWS || s->duplicates <= DUPLICATE_SHARE * s->read)
		return;
	s->warned = true;
	ereport(WARNING,
			(errmsg(INT64_FORMAT " of " INT64_FORMAT
								 " rows in a partition of %s repeat a timestamp",
					s->duplicates, s->read, s->function),
			 errhint("Add PARTITION BY with the columns that identify a series.")));
}

/* Reads rows of the partition until the scorer is full; `position` is that of the current row. */
static void
read_block(WindowObject window, ScoreState *s, int64 position)
{
	MemoryContext old = MemoryContextSwitchTo(s->block);

	CHECK_FOR_INTERRUPTS();
	MemoryContextReset(s->block);
	while (!s->ended && !scorer_full(s->scorer))
		s->ended = !pass_row_to_scorer(window, s, position);
	if (s->ended)
	{
		warn_of_duplicates(s);
		scorer_end(s->scorer);
	}
	/* rows before the last one read are not needed again */
	WinSetMarkPosition(window, s->read - 1);
	MemoryContextSwitchTo(old);
}

/* The result of the current row. */
static ScoredRow
score_current_row(FunctionCallInfo fcinfo, WindowObject window, ScoreState *s)
{
	PartitionState *partition;
	int64		position = WinGetCurrentPosition(window);
	ScoredRow	row;

	partition = WinGetPartitionLocalMemory(window, sizeof(PartitionState));
	if (!partition->begun)
	{
		begin_partition(fcinfo, window, s);
		partition->begun = true;
	}
	Assert(s->taken <= position);	/* rows are asked for in their order */
	for (; s->taken <= position; s->taken++)
		while (!scorer_next(s->scorer, &row))
		{
			if (s->ended)
				elog(ERROR, "row " INT64_FORMAT " of the partition was lost", position);
			read_block(window, s, position);
		}
	return row;
}

static ScoreState *
get_score_state(FunctionCallInfo fcinfo, const char *function, bool explain)
{
	if (!WindowObjectIsValid(PG_WINDOW_OBJECT()))
		elog(ERROR, "%s called in non-window context", function);
	if (fcinfo->flinfo->fn_extra == NULL)
		return open_score_state(fcinfo, function, explain);
	return fcinfo->flinfo->fn_extra;
}

/* → float8: the severity, NULL if there is none */
Datum
amad_score(PG_FUNCTION_ARGS)
{
	ScoreState *s = get_score_state(fcinfo, "amad_score", false);
	ScoredRow	row = score_current_row(fcinfo, PG_WINDOW_OBJECT(), s);

	if (isnan(row.score))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(explanation_severity(s->scorer, &row));
}

static Datum
explain_current_row(FunctionCallInfo fcinfo, const char *function, bool all)
{
	ScoreState *s = get_score_state(fcinfo, function, true);
	ScoredRow	row = score_current_row(fcinfo, PG_WINDOW_OBJECT(), s);
	const bool details = all || score_is_anomaly(row.status, explanation_severity(s->scorer, &row));

	explanation_columns(s->writer, s->scorer, &row, details, s->values, s->nulls);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(s->columns, s->values, s->nulls)));
}

/* → amad_result */
Datum
amad_explain(PG_FUNCTION_ARGS)
{
	return explain_current_row(fcinfo, "amad_explain", true);
}

/* → amad_result, with explanations of anomalies only */
Datum
amad_explain_anomalies(PG_FUNCTION_ARGS)
{
	return explain_current_row(fcinfo, "amad_explain_anomalies", false);
}
