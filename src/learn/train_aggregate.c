/*
 * learn/train_aggregate.c
 *	  The aggregates amad_fit and amad_train: collect rows, then train.
 *
 *		amad_fit([options jsonb,] ts, VARIADIC features) → amad_model
 *		amad_train(model_name, [options jsonb,] ts, VARIADIC features) → jsonb
 *
 * The first row of a group fixes the model's name, the options, and the types and number of
 * the features.  Every row is converted to double precision and added to a Dataset, whose
 * memory is bounded by maintenance_work_mem.  The final function sorts the rows by time and
 * trains; amad_train also stores the model as a new version.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/memutils.h"

#include "learn/train_model.h"
#include "model/codec.h"
#include "model/registry.h"
#include "pg/call_arguments.h"
#include "pg/progress.h"
#include "pg/timestamps.h"
#include "rows/features.h"
#include "rows/holidays.h"

#define FIT_ARGUMENTS "[options jsonb,] ts, feature, ..."
#define FIT_HINT \
	"Store models in a table that is co-located with the source: INSERT INTO ... SELECT ..., " \
	"amad_fit(...) FROM ... GROUP BY ..."
#define TRAIN_ARGUMENTS "model_name, " FIT_ARGUMENTS

/* The numbers of a call's arguments; 0 is the state, -1: the call does not have it. */
typedef struct ArgumentPlaces
{
	const char *function;		/* for messages */
	const char *arguments;		/* for hints */
	int			name;
	int			options;
	int			ts;
} ArgumentPlaces;

/* State of one group. */
typedef struct FitState
{
	const ArgumentPlaces *places;
	Node	   *call;			/* expression of the call */
	Oid			ts_type;		/* base type of the argument */
	Features   *features;
	char	   *name;			/* of the model; NULL for amad_fit */
	Jsonb	   *json;			/* options as given; NULL if null or absent */
	Options		options;
	Dataset    *dataset;		/* NULL until the number of features is known */
	double	   *values;			/* of a row */
} FitState;

SQL_FUNCTION(amad_fit_step);
SQL_FUNCTION(amad_fit_options_step);
SQL_FUNCTION(amad_train_step);
SQL_FUNCTION(amad_train_options_step);
SQL_FUNCTION(amad_fit_final);
SQL_FUNCTION(amad_train_final);

/* ---- rows ------------------------------------------------------------------------------ */

static char *
read_model_name(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("model_name must not be null")));
	return text_to_cstring(PG_GETARG_TEXT_PP(number));
}

/* Reads all arguments of the first row but the timestamp and the features. */
static FitState *
open_fit_state(FunctionCallInfo fcinfo, const ArgumentPlaces *places, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	FitState   *state = palloc0(sizeof(FitState));

	state->places = places;
	state->call = fcinfo->flinfo->fn_expr;
	state->ts_type = time_argument_type(fcinfo->flinfo, places->ts, places->function,
										places->arguments);
	if (places->name >= 0)
	{
		/* fail before the training, not after it */
		PreventCommandIfReadOnly("amad_train()");
		registry_check_change(fcinfo, "amad_train()", FIT_HINT);
		state->name = read_model_name(fcinfo, places->name);
		if (state->name[0] == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("model_name must not be empty")));
	}
	if (places->options >= 0 && !PG_ARGISNULL(places->options))
		state->json = (Jsonb *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(places->options));
	options_parse(&state->options, places->name >= 0 ? holidays_read(state->json) : state->json);
	state->features = features_open(fcinfo->flinfo, places->ts + 1, PG_NARGS(),
									state->options.nnames, state->options.names);
	MemoryContextSwitchTo(old);
	return state;
}

/* Checks that the row has the model name and the options of the group. */
static void
check_constant_arguments(FunctionCallInfo fcinfo, const FitState *state)
{
	const ArgumentPlaces *places = state->places;
	const char *changed = NULL;

	/* the argument types were looked up in that expression */
	if (state->call != fcinfo->flinfo->fn_expr)
		elog(ERROR, "state of %s was passed to another call", places->function);
	if (places->name >= 0 && !get_fn_expr_arg_stable(fcinfo->flinfo, places->name) &&
		strcmp(read_model_name(fcinfo, places->name), state->name) != 0)
		changed = "model_name";
	if (places->options >= 0 && jsonb_argument_changed(fcinfo, places->options, state->json))
		changed = "options";
	if (changed)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument %s of %s must be the same in all rows of a group", changed,
						places->function),
				 errhint("Use GROUP BY with the columns that it depends on.")));
}

/* Reads the features of a row into state->values; the first row fixes their number. */
static void
read_row_features(FunctionCallInfo fcinfo, FitState *state, MemoryContext context)
{
	Features   *f = state->features;

	if (f->array && f->count == 0)
	{
		if (PG_ARGISNULL(f->first))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("the first array of features must not be null")));
		f->count = features_array_length(PG_GETARG_DATUM(f->first));
	}
	if (state->dataset == NULL)
	{
		if (state->options.nnames == 0 || state->options.nnames == f->count)
			options_check_transforms(&state->options, f->count);
		state->dataset = dataset_open(context, &state->options, f->count,
									  timestamps_scored_type(state->ts_type));
		dataset_begin(state->dataset, NULL);
		state->values = MemoryContextAlloc(context, sizeof(double) * f->count);
	}
	if (f->array)
		features_array_values(f, PG_GETARG_DATUM(f->first), PG_ARGISNULL(f->first), state->values);
	else
		for (int i = 0; i < f->count; i++)
			state->values[i] = features_value(f->type[i], PG_GETARG_DATUM(f->first + i),
											  PG_ARGISNULL(f->first + i));
}

static Datum
add_training_row(FunctionCallInfo fcinfo, const ArgumentPlaces *places)
{
	MemoryContext context = aggregate_group_context(fcinfo, places->function);
	FitState   *state = PG_ARGISNULL(0) ? NULL : (FitState *) PG_GETARG_POINTER(0);
	int64		ts;

	if (state == NULL)
		state = open_fit_state(fcinfo, places, context);
	else
		check_constant_arguments(fcinfo, state);
	if (PG_ARGISNULL(places->ts))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("timestamp of a training row must not be null"),
				 errhint("Leave such rows out with WHERE ... IS NOT NULL.")));
	read_row_features(fcinfo, state, context);
	/* dataset_add() refuses infinite timestamps */
	if (!timestamps_value(state->ts_type, PG_GETARG_DATUM(places->ts), &ts) &&
		state->ts_type == DATEOID && !DATE_NOT_FINITE(PG_GETARG_DATEADT(places->ts)))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("date of a training row is out of the range of timestamp: %s",
						DatumGetCString(
							DirectFunctionCall1(date_out, PG_GETARG_DATUM(places->ts))))));
	dataset_add(state->dataset, ts, state->values);
	PG_RETURN_POINTER(state);
}

Datum
amad_fit_step(PG_FUNCTION_ARGS)
{
	static const ArgumentPlaces places = {"amad_fit", FIT_ARGUMENTS, -1, -1, 1};

	return add_training_row(fcinfo, &places);
}

Datum
amad_fit_options_step(PG_FUNCTION_ARGS)
{
	static const ArgumentPlaces places = {"amad_fit", FIT_ARGUMENTS, -1, 1, 2};

	return add_training_row(fcinfo, &places);
}

Datum
amad_train_step(PG_FUNCTION_ARGS)
{
	static const ArgumentPlaces places = {"amad_train", TRAIN_ARGUMENTS, 1, -1, 2};

	return add_training_row(fcinfo, &places);
}

Datum
amad_train_options_step(PG_FUNCTION_ARGS)
{
	static const ArgumentPlaces places = {"amad_train", TRAIN_ARGUMENTS, 1, 2, 3};

	return add_training_row(fcinfo, &places);
}

/* ---- the result -------------------------------------------------------------------------- */

static FitState *
get_final_state(FunctionCallInfo fcinfo, const char *function)
{
	(void) aggregate_group_context(fcinfo, function);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("no rows to train a model")));
	return (FitState *) PG_GETARG_POINTER(0);
}

static Model *
train_group(FitState *state, TrainFacts *facts)
{
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = train_error_context,
		.arg = state->name,
	};
	const bool	begun = progress_begin(PROGRESS_TRAIN);
	Model	   *model;

	error_context_stack = &context;
	model = train_model(state->dataset, NULL, facts);
	error_context_stack = context.previous;
	progress_end(begun);
	state->dataset = NULL;
	return model;
}

Datum
amad_fit_final(PG_FUNCTION_ARGS)
{
	FitState   *state = get_final_state(fcinfo, "amad_fit");
	TrainFacts	facts;

	PG_RETURN_POINTER(model_encode(train_group(state, &facts)));
}

Datum
amad_train_final(PG_FUNCTION_ARGS)
{
	FitState   *state = get_final_state(fcinfo, "amad_train");
	TrainFacts	facts;
	Model	   *model = train_group(state, &facts);
	const StoreRule rule = {.deploy = true};
	StoredVersion stored = registry_store(fcinfo->flinfo->fn_oid, state->name, model,
										  train_facts_to_jsonb(model, &facts), NULL, &rule);

	PG_RETURN_JSONB_P(train_summary(state->name, stored.version, model, &facts));
}
