/*
 * learn/calibrate_aggregate.c
 *	  The aggregates amad_calibrate and amad_merge: a model's calibration, series by series.
 *
 *		amad_calibrate(model, ts, VARIADIC features) → bytea
 *		amad_merge(model, series jsonb, calibration bytea) → amad_model
 *
 * A group of amad_calibrate is a series.  Its rows are collected like those of amad_fit, within
 * maintenance_work_mem.  The model is decoded once for all groups that have the same one.
 *
 * amad_calibrate_rows(model, row) does so for the query of a source, whose rows come in order of
 * time: row consists of the timestamp, the features, and whether it is known to be bad.  Rows with
 * the same timestamp are dealt with as by source_scan.c.  Only the newest rows that fit in memory
 * are kept.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "learn/merge_calibrations.h"
#include "learn/series_calibration.h"
#include "model/codec.h"
#include "pg/call_arguments.h"
#include "pg/timestamps.h"
#include "rows/duplicate_rows.h"
#include "rows/features.h"
#include "rows/series_key.h"

#define CALIBRATE_ARGUMENTS "model, ts, feature, ..."
#define VALUE_HEAD_BYTES 32		/* first bytes of a model, which identify it */

SQL_FUNCTION(amad_calibrate_step);
SQL_FUNCTION(amad_calibrate_rows_step);
SQL_FUNCTION(amad_calibrate_final);
SQL_FUNCTION(amad_merge_step);
SQL_FUNCTION(amad_merge_final);

/* ---- the model ------------------------------------------------------------------------ */

/* A model that is passed as an argument. */
typedef struct ModelArgument
{
	char		head[VALUE_HEAD_BYTES]; /* of its value */
	uint32		id;
	Model	   *model;
} ModelArgument;

/* Whether a value is that model.  Its first bytes hold a checksum of the rest. */
static bool
is_model(const ModelArgument *model, Datum value)
{
	struct varlena *head = PG_DETOAST_DATUM_SLICE(value, 0, VALUE_HEAD_BYTES);

	return VARSIZE_ANY_EXHDR(head) == VALUE_HEAD_BYTES &&
		memcmp(VARDATA_ANY(head), model->head, VALUE_HEAD_BYTES) == 0;
}

static ModelArgument *
decode_model_argument(Datum value, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	struct varlena *bytes = PG_DETOAST_DATUM(value);
	ModelArgument *m = palloc(sizeof(ModelArgument));

	m->model = model_decode(bytes);
	m->id = calibration_model_id(bytes);
	memcpy(m->head, VARDATA(bytes), VALUE_HEAD_BYTES);
	MemoryContextSwitchTo(old);
	return m;
}

/*
 * The model of a new group.  The first one of a call is kept for all of its groups; another one is
 * decoded for each group that has it.
 */
static ModelArgument *
open_model_argument(FunctionCallInfo fcinfo, int number, const char *function, MemoryContext group)
{
	ModelArgument *kept = fcinfo->flinfo->fn_extra;

	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("model of %s must not be null", function)));
	if (kept && is_model(kept, PG_GETARG_DATUM(number)))
		return kept;
	if (kept)
		return decode_model_argument(PG_GETARG_DATUM(number), group);
	kept = decode_model_argument(PG_GETARG_DATUM(number), fcinfo->flinfo->fn_mcxt);
	fcinfo->flinfo->fn_extra = kept;
	return kept;
}

static void
check_same_model(FunctionCallInfo fcinfo, int number, const char *function,
				 const ModelArgument *model)
{
	if (get_fn_expr_arg_stable(fcinfo->flinfo, number) ||
		(!PG_ARGISNULL(number) && is_model(model, PG_GETARG_DATUM(number))))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("model of %s must be the same in all rows of a group", function),
			 errhint("Use GROUP BY with the columns that it depends on.")));
}

/* ---- amad_calibrate --------------------------------------------------------------------- */

/* A row of a source. */
typedef struct HeldSourceRow
{
	bool		any;
	int64		ts;
	bool		bad;
	double	   *values;
} HeldSourceRow;

/* State of one group. */
typedef struct CalibrateState
{
	ModelArgument *model;
	Node	   *call;			/* expression of the call */
	Oid			ts_type;		/* base type of the timestamp */
	Features   *features;
	double	   *values;			/* of a row */
	Dataset    *dataset;

	/* of a source */
	Oid			row_type;
	int32		row_typmod;
	FeatureType *how;			/* (features) */
	HeldSourceRow held;			/* the first with its timestamp, until a later one comes */
} CalibrateState;

static void
check_ts_type(const Model *m, Oid type)
{
	if (timestamps_scored_type(type) != m->ts_type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("argument ts has type %s, but the model was trained with type %s",
						format_type_be(type), format_type_be(m->ts_type))));
}

static void
check_feature_number(const Model *m, int count)
{
	if (count != m->features)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%d features given, but the model has %s", count, model_feature_list(m)),
				 errhint(
					 "Specify the features that the model was trained with, in the same order.")));
}

static CalibrateState *
open_calibrate_state(FunctionCallInfo fcinfo, const char *function, MemoryContext context,
					 int64 (*rows)(const Model *m))
{
	MemoryContext old = MemoryContextSwitchTo(context);
	CalibrateState *state = palloc0(sizeof(CalibrateState));
	const Model *m;

	state->model = open_model_argument(fcinfo, 1, function, context);
	m = state->model->model;
	state->call = fcinfo->flinfo->fn_expr;
	state->values = palloc(sizeof(double) * m->features);
	state->dataset = dataset_open_calibration(context, m, rows ? rows(m) : 0);
	dataset_begin(state->dataset, NULL);
	MemoryContextSwitchTo(old);
	return state;
}

/* Checks that the row has the model of the group. */
static void
check_calibrate_state(FunctionCallInfo fcinfo, const CalibrateState *state, const char *function)
{
	/* the argument types were looked up in that expression */
	if (state->call != fcinfo->flinfo->fn_expr)
		elog(ERROR, "state of %s was passed to another call", function);
	check_same_model(fcinfo, 1, function, state->model);
}

Datum
amad_calibrate_step(PG_FUNCTION_ARGS)
{
	static const char function[] = "amad_calibrate";
	MemoryContext context = aggregate_group_context(fcinfo, function);
	CalibrateState *state = PG_ARGISNULL(0) ? NULL : (CalibrateState *) PG_GETARG_POINTER(0);
	MemoryContext old;
	Features   *f;
	int64		ts;

	if (state == NULL)
	{
		const Oid	type = time_argument_type(fcinfo->flinfo, 2, function, CALIBRATE_ARGUMENTS);

		state = open_calibrate_state(fcinfo, function, context, NULL);
		state->ts_type = type;
		check_ts_type(state->model->model, type);
		old = MemoryContextSwitchTo(context);
		state->features = features_open(fcinfo->flinfo, 3, PG_NARGS(),
										state->model->model->options.nnames,
										state->model->model->options.names);
		MemoryContextSwitchTo(old);
	}
	else
		check_calibrate_state(fcinfo, state, function);
	f = state->features;
	if (f->array && f->count == 0 && !PG_ARGISNULL(f->first))
		f->count = features_array_length(PG_GETARG_DATUM(f->first));
	if (f->count > 0 || !f->array)
		check_feature_number(state->model->model, f->count);
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("timestamp of a calibration row must not be null"),
				 errhint("Leave such rows out with WHERE ... IS NOT NULL.")));
	if (f->array && f->count == 0)
		/* no array so far: all features of the row are missing */
		for (int i = 0; i < state->model->model->features; i++)
			state->values[i] = NAN;
	else if (f->array)
		features_array_values(f, PG_GETARG_DATUM(f->first), PG_ARGISNULL(f->first), state->values);
	else
		for (int i = 0; i < f->count; i++)
			state->values[i] = features_value(f->type[i], PG_GETARG_DATUM(f->first + i),
											  PG_ARGISNULL(f->first + i));
	if (!timestamps_value(state->ts_type, PG_GETARG_DATUM(2), &ts))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp of a calibration row is infinite or out of range")));
	dataset_add(state->dataset, ts, state->values);
	PG_RETURN_POINTER(state);
}

/* ---- rows of a source --------------------------------------------------------------------- */

static void
refuse_source_row(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid rows of %s", "amad_calibrate_rows"), errdetail("%s", detail),
			 errhint("Use amad_calibrate().")));
}

/* Adds the row that is held. */
static void
add_held_source_row(CalibrateState *state)
{
	HeldSourceRow *held = &state->held;

	if (!held->any)
		return;
	held->any = false;
	if (held->bad)
	{
		state->dataset->facts.labelled++;
		dataset_skip(state->dataset);
	}
	else
		dataset_add(state->dataset, held->ts, held->values);
}

/* Holds the row in values, and swaps the buffers. */
static void
hold_source_row(CalibrateState *state, int64 ts, bool bad)
{
	double	   *values = state->held.values;

	state->held = (HeldSourceRow){.any = true, .ts = ts, .bad = bad, .values = state->values};
	state->values = values;
}

static void
take_source_row(CalibrateState *state, int64 ts, bool bad)
{
	const int	features = state->model->model->features;
	HeldSourceRow *held = &state->held;

	if (held->any && ts < held->ts)
		refuse_source_row("They are not in order of time.");
	if (!held->any || ts > held->ts)
	{
		add_held_source_row(state);
		hold_source_row(state, ts, bad);
		return;
	}
	state->dataset->facts.duplicates++;
	if (duplicate_rows_precedes(features, state->values, bad, held->values, held->bad))
		hold_source_row(state, ts, bad);
}

/* Looks up the types of the columns: a timestamp, the features, and a boolean. */
static void
open_source_row(CalibrateState *state, HeapTupleHeader row, MemoryContext context)
{
	const Model *m = state->model->model;
	TupleDesc	desc;

	state->row_type = HeapTupleHeaderGetTypeId(row);
	state->row_typmod = HeapTupleHeaderGetTypMod(row);
	desc = lookup_rowtype_tupdesc(state->row_type, state->row_typmod);
	check_feature_number(m, desc->natts - 2);
	state->ts_type = getBaseType(TupleDescAttr(desc, 0)->atttypid);
	check_ts_type(m, state->ts_type);
	state->how = MemoryContextAlloc(context, sizeof(FeatureType) * m->features);
	for (int i = 0; i < m->features; i++)
		if (!features_type(TupleDescAttr(desc, i + 1)->atttypid, &state->how[i]))
			refuse_source_row("A feature is neither numeric nor boolean.");
	if (TupleDescAttr(desc, desc->natts - 1)->atttypid != BOOLOID)
		refuse_source_row("The last column is not boolean.");
	ReleaseTupleDesc(desc);
	state->held.values = MemoryContextAlloc(context, sizeof(double) * m->features);
}

Datum
amad_calibrate_rows_step(PG_FUNCTION_ARGS)
{
	static const char function[] = "amad_calibrate_rows";
	MemoryContext context = aggregate_group_context(fcinfo, function);
	CalibrateState *state = PG_ARGISNULL(0) ? NULL : (CalibrateState *) PG_GETARG_POINTER(0);
	HeapTupleHeader row;
	HeapTupleData tuple = {0};
	TupleDesc	desc;
	Datum	   *columns;
	bool	   *nulls;
	int			features;
	int64		ts;

	if (PG_ARGISNULL(2))
		refuse_source_row("A row is null.");
	row = PG_GETARG_HEAPTUPLEHEADER(2);
	if (state == NULL)
	{
		state = open_calibrate_state(fcinfo, function, context, series_calibration_rows);
		open_source_row(state, row, context);
	}
	else
		check_calibrate_state(fcinfo, state, function);
	if (HeapTupleHeaderGetTypeId(row) != state->row_type ||
		HeapTupleHeaderGetTypMod(row) != state->row_typmod)
		refuse_source_row("Their types differ.");
	features = state->model->model->features;
	columns = palloc(sizeof(Datum) * (features + 2));
	nulls = palloc(sizeof(bool) * (features + 2));
	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	tuple.t_data = row;
	desc = lookup_rowtype_tupdesc(state->row_type, state->row_typmod);
	heap_deform_tuple(&tuple, desc, columns, nulls);
	ReleaseTupleDesc(desc);
	for (int i = 0; i < features; i++)
		state->values[i] = features_value(state->how[i], columns[i + 1], nulls[i + 1]);
	if (nulls[0] || !timestamps_value(state->ts_type, columns[0], &ts))
		state->dataset->facts.without_ts++;
	else
		take_source_row(state, ts, !nulls[features + 1] && DatumGetBool(columns[features + 1]));
	PG_RETURN_POINTER(state);
}

/* The result of both; NULL: the series has too few rows. */
Datum
amad_calibrate_final(PG_FUNCTION_ARGS)
{
	CalibrateState *state;
	bytea	   *value;

	(void) aggregate_group_context(fcinfo, "amad_calibrate");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (CalibrateState *) PG_GETARG_POINTER(0);
	add_held_source_row(state);
	value = series_calibration_finish(state->model->model, state->model->id, state->dataset);
	state->dataset = NULL;
	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(value);
}

/* ---- amad_merge ---------------------------------------------------------------------------- */

typedef struct MergeState
{
	ModelArgument *model;
	Calibrations *calibrations;
} MergeState;

/* The key of the series; NULL if the model has none. */
static char *
read_series(FunctionCallInfo fcinfo, int number, const Model *m)
{
	if (m->nseries_cols == 0)
	{
		if (!PG_ARGISNULL(number))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("series must be null because the model has no series")));
		return NULL;
	}
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("series of %s must not be null", "amad_merge")));
	return series_key_of_jsonb(m, PG_GETARG_JSONB_P(number));
}

Datum
amad_merge_step(PG_FUNCTION_ARGS)
{
	static const char function[] = "amad_merge";
	MemoryContext context = aggregate_group_context(fcinfo, function);
	MergeState *state = PG_ARGISNULL(0) ? NULL : (MergeState *) PG_GETARG_POINTER(0);

	if (state == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		if (PG_ARGISNULL(1))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("model of %s must not be null", function)));
		state = palloc0(sizeof(MergeState));
		/* not shared by groups: merging changes it */
		state->model = decode_model_argument(PG_GETARG_DATUM(1), context);
		state->calibrations = calibrations_open();
		MemoryContextSwitchTo(old);
	}
	else
		check_same_model(fcinfo, 1, function, state->model);
	if (!PG_ARGISNULL(3))
		calibrations_add(state->calibrations, read_series(fcinfo, 2, state->model->model),
						 PG_GETARG_BYTEA_PP(3));
	PG_RETURN_POINTER(state);
}

Datum
amad_merge_final(PG_FUNCTION_ARGS)
{
	MergeState *state;
	MemoryContext context = aggregate_group_context(fcinfo, "amad_merge");
	MemoryContext old;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (MergeState *) PG_GETARG_POINTER(0);
	old = MemoryContextSwitchTo(context);
	(void) merge_calibrations(state->model->model, state->model->id, state->calibrations);
	MemoryContextSwitchTo(old);
	PG_RETURN_POINTER(model_encode(state->model->model));
}
