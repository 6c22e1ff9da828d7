/*
 * measure/evaluate.c
 *	  The aggregate amad_evaluate: collect scores and labels, then measure.
 *
 *		amad_evaluate([ts,] score, label [, options jsonb]) → jsonb
 *
 * A row takes 16 bytes: its score, and its time and label in one integer.  The final
 * function sorts the rows by time and finds the events (runs of anomalous rows), which take
 * 40 bytes each; then it sorts rows and events by score for the ranking metrics, and by time
 * again for the volume under the surface.  All sorts are in place.  evaluate_json.c reads
 * the options and writes the result; metrics*.c compute.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "measure/evaluate.h"
#include "pg/budget.h"
#include "pg/call_arguments.h"
#include "pg/interrupts.h"
#include "pg/progress.h"
#include "pg/timestamps.h"

/* Numbers and types of a call's arguments; 0: the call does not have it. */
typedef struct EvaluateArguments
{
	int			ts;
	int			score;
	int			label;
	int			options;
	Oid			ts_arg_type;	/* base type, or unknown for an untyped literal */
	Oid			ts_type;		/* timestamps_scored_type() of it */
	Oid			label_type;		/* boolean or double precision */
} EvaluateArguments;

/* State of one group. */
typedef struct EvaluateState
{
	Node	   *call;			/* expression of the call */
	EvaluateArguments arguments;
	Jsonb	   *json;			/* options as given; NULL if null or absent */
	EvaluateOptions options;
	MemoryContext context;		/* for everything that grows with the rows */
	Budget		budget;
	MetricsRow *rows;
	int64		count;
	int64		room;
	int64		excluded;
} EvaluateState;

#define FIRST_ROWS 64

SQL_FUNCTION(amad_evaluate_step);
SQL_FUNCTION(amad_evaluate_final);

/* ---- sorting --------------------------------------------------------------------------- */

static uint32 comparisons = 0;

/* Checks for interrupts every 65536 comparisons: one pass of a sort may visit all rows. */
static inline int
count_comparison(int order)
{
	if ((++comparisons & 0xffff) == 0)
		CHECK_FOR_INTERRUPTS();
	return order;
}

#define COMPARE(a, b) count_comparison(((a) > (b)) - ((a) < (b)))

#define ST_SORT sort_by_place
#define ST_ELEMENT_TYPE MetricsRow
#define ST_COMPARE(a, b) COMPARE((a)->place, (b)->place)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

#define ST_SORT sort_by_score	/* descending */
#define ST_ELEMENT_TYPE MetricsRow
#define ST_COMPARE(a, b) COMPARE((b)->score, (a)->score)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

#define ST_SORT sort_by_peak	/* descending */
#define ST_ELEMENT_TYPE MetricsEvent
#define ST_COMPARE(a, b) COMPARE((b)->peak, (a)->peak)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

#define ST_SORT sort_by_start
#define ST_ELEMENT_TYPE MetricsEvent
#define ST_COMPARE(a, b) COMPARE((a)->start, (b)->start)
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

#define ST_SORT sort_delays
#define ST_ELEMENT_TYPE int64
#define ST_COMPARE(a, b) COMPARE(*(a), *(b))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* ---- memory ----------------------------------------------------------------------------- */

/* Claims bytes for the state.  ERROR if they exceed maintenance_work_mem. */
static void
claim_memory(EvaluateState *state, Size bytes)
{
	budget_claim(&state->budget, "an evaluation", bytes);
}

/* Allocates an array for the final function. */
static void *
allocate_array(EvaluateState *state, Size bytes)
{
	claim_memory(state, bytes);
	return MemoryContextAllocExtended(state->context, bytes, MCXT_ALLOC_HUGE);
}

/*
 * Enlarges the array of rows by a quarter, or by what is left in the budget.  Memory claimed
 * by one group is not available to others.
 */
static void
enlarge_rows(EvaluateState *state)
{
	int64		more = Max(state->room / 4, FIRST_ROWS);

	more = Max(Min(more, (int64) (budget_rest() / sizeof(MetricsRow))), 1);
	claim_memory(state, more * sizeof(MetricsRow));
	state->room += more;
	if (state->rows == NULL)
		state->rows = MemoryContextAllocExtended(state->context, state->room * sizeof(MetricsRow),
												 MCXT_ALLOC_HUGE);
	else
		state->rows = repalloc_huge(state->rows, state->room * sizeof(MetricsRow));
}

/* Returns the unused part of the array of rows to the budget. */
static void
shrink_rows(EvaluateState *state)
{
	Size		unused = (state->room - state->count) * sizeof(MetricsRow);

	if (state->count == 0)
		return;
	state->rows = repalloc_huge(state->rows, state->count * sizeof(MetricsRow));
	state->room = state->count;
	budget_release(&state->budget, unused);
}

/* ---- rows -------------------------------------------------------------------------------- */

/* Finds the arguments of the call, (state, [ts,] score, label [, options]), by their types. */
static EvaluateArguments
find_arguments(FunctionCallInfo fcinfo)
{
	EvaluateArguments arguments = {0};
	FmgrInfo   *flinfo = fcinfo->flinfo;
	int			last = PG_NARGS() - 1;

	if (get_fn_expr_argtype(flinfo, last) == JSONBOID)
		arguments.options = last--;
	arguments.label = last--;
	arguments.score = last--;
	arguments.ts = last;
	arguments.label_type = get_fn_expr_argtype(flinfo, arguments.label);
	/* cannot happen with the aggregates in sql/measure.sql */
	if (get_fn_expr_argtype(flinfo, arguments.score) != FLOAT8OID ||
		(arguments.label_type != BOOLOID && arguments.label_type != FLOAT8OID))
		elog(ERROR, "amad_evaluate_step called with arguments of the wrong types");
	if (arguments.ts == 0)
		return arguments;
	arguments.ts_arg_type = get_fn_expr_argtype(flinfo, arguments.ts);
	/* an untyped literal is read as timestamptz, the preferred type of its category */
	if (arguments.ts_arg_type == UNKNOWNOID)
		arguments.ts_type = TIMESTAMPTZOID;
	else
	{
		arguments.ts_arg_type = time_argument_type(flinfo, arguments.ts, "amad_evaluate",
												   "[ts,] score, label [, options]");
		arguments.ts_type = timestamps_scored_type(arguments.ts_arg_type);
	}
	return arguments;
}

/* Whether times have a known unit, which those of an integer column do not. */
static bool
has_seconds(const EvaluateState *state)
{
	return state->arguments.ts > 0 && state->arguments.ts_type != INT8OID;
}

static EvaluateState *
open_evaluation(FunctionCallInfo fcinfo, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	EvaluateState *state = palloc0(sizeof(EvaluateState));
	int			options;

	state->call = fcinfo->flinfo->fn_expr;
	state->arguments = find_arguments(fcinfo);
	options = state->arguments.options;
	if (options > 0 && !PG_ARGISNULL(options))
		state->json = (Jsonb *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(options));
	evaluate_options_parse(&state->options, state->json);
	if (has_seconds(state) && !isnan(state->options.rows_per_day))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"rows_per_day\" and timestamps cannot be specified together"),
				 errhint("Leave the option out: it follows from the timestamps.")));
	state->context = AllocSetContextCreate(context, "amad evaluate", ALLOCSET_SMALL_SIZES);
	budget_open(&state->budget, state->context,
				"Raise maintenance_work_mem, or evaluate fewer rows at once.");
	MemoryContextSwitchTo(old);
	return state;
}

/* Checks that the row has the options of the group. */
static void
check_constant_options(FunctionCallInfo fcinfo, const EvaluateState *state)
{
	int			options = state->arguments.options;

	/* the argument types were looked up in that expression */
	if (state->call != fcinfo->flinfo->fn_expr)
		elog(ERROR, "state of amad_evaluate was passed to another call");
	if (options > 0 && jsonb_argument_changed(fcinfo, options, state->json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg(
					 "argument options of amad_evaluate must be the same in all rows of a group"),
				 errhint("Use GROUP BY with the columns that it depends on.")));
}

/* Reads the time of a row; without ts it is the number of the row. */
static int64
read_time(FunctionCallInfo fcinfo, const EvaluateState *state)
{
	const EvaluateArguments *arguments = &state->arguments;
	int64		ts;

	if (arguments->ts == 0)
		return state->count;
	if (PG_ARGISNULL(arguments->ts))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("timestamp of amad_evaluate must not be null"),
				 errhint("Leave such rows out with WHERE ... IS NOT NULL.")));
	if (arguments->ts_arg_type == UNKNOWNOID)
		ts = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, PG_GETARG_DATUM(arguments->ts),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	else
		(void) timestamps_value(arguments->ts_arg_type, PG_GETARG_DATUM(arguments->ts), &ts);
	timestamps_check(arguments->ts_type, ts);
	if (ts >= METRICS_MAX_TIME || ts <= -METRICS_MAX_TIME)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp of amad_evaluate is out of range: %s",
						timestamps_text(arguments->ts_type, ts)),
				 arguments->ts_type == INT8OID
					 ? errdetail("Its absolute value must be less than " INT64_FORMAT ".",
								 METRICS_MAX_TIME)
					 : errdetail("It must be before the year 148000.")));
	return ts;
}

/* Reads the label of a row: 0, 1, or -1 if it is null or NaN. */
static int
read_label(FunctionCallInfo fcinfo, const EvaluateState *state)
{
	int			number = state->arguments.label;
	double		label;

	if (PG_ARGISNULL(number))
		return -1;
	if (state->arguments.label_type == BOOLOID)
		return PG_GETARG_BOOL(number) ? 1 : 0;
	label = PG_GETARG_FLOAT8(number);
	if (isnan(label))
		return -1;
	if (label != 0 && label != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("label of amad_evaluate must be 0 or 1, not %s", float8out_internal(label)),
				 errhint("Use a condition instead, for example label > 0.")));
	return label == 1;
}

Datum
amad_evaluate_step(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_group_context(fcinfo, "amad_evaluate");
	EvaluateState *state = PG_ARGISNULL(0) ? NULL : (EvaluateState *) PG_GETARG_POINTER(0);
	int64		time;
	int			label;
	double		score;

	if (state == NULL)
		state = open_evaluation(fcinfo, context);
	else
		check_constant_options(fcinfo, state);
	time = read_time(fcinfo, state);
	label = read_label(fcinfo, state);
	score = PG_ARGISNULL(state->arguments.score) ? NAN : PG_GETARG_FLOAT8(state->arguments.score);
	if (label < 0 || isnan(score))
	{
		state->excluded++;
		PG_RETURN_POINTER(state);
	}
	if (state->count == state->room)
		enlarge_rows(state);
	state->rows[state->count].score = score;
	state->rows[state->count].place = metrics_place(time, label);
	state->count++;
	PG_RETURN_POINTER(state);
}

/* ---- the result --------------------------------------------------------------------------- */

/* Sorts the rows by time.  ERROR if two have the same. */
static void
sort_rows(const EvaluateState *state)
{
	sort_by_place(state->rows, state->count);
	for (int64 i = 1; i < state->count; i++)
	{
		int64		ts = metrics_time(&state->rows[i]);

		if (i % 65536 == 0)
			CHECK_FOR_INTERRUPTS();
		if (ts == metrics_time(&state->rows[i - 1]))
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("duplicate timestamp %s in the rows to evaluate",
							timestamps_text(state->arguments.ts_type, ts)),
					 errhint("Use GROUP BY to evaluate each series separately.")));
	}
}

/*
 * The days that the rows span, NaN if unknown.  The last row counts as long as the mean
 * interval between rows.  Computed in double precision, as the difference of two times may
 * exceed int64.
 */
static double
count_days(const EvaluateState *state)
{
	double		first, last;

	if (!has_seconds(state))
		return state->count / state->options.rows_per_day;
	if (state->count < 2)
		return NAN;
	first = metrics_time(&state->rows[0]);
	last = metrics_time(&state->rows[state->count - 1]);
	return (last - first) / USECS_PER_DAY * state->count / (state->count - 1);
}

/* Mean and median of delays, in a unit; NaN if there are none. */
static void
summarise_delays(int64 *delays, int64 count, double unit, double *mean, double *median)
{
	double		sum = 0;

	*mean = *median = NAN;
	if (count == 0)
		return;
	sort_delays(delays, count);
	for (int64 i = 0; i < count; i++)
		sum += delays[i];
	*mean = sum / count / unit;
	*median = ((double) delays[(count - 1) / 2] + delays[count / 2]) / 2 / unit;
}

static void
measure_detection(const EvaluateState *state, const MetricsRows *rows, const MetricsEvent *events,
				  int64 *delay_rows, int64 *delay_time, Evaluation *result)
{
	double		threshold = state->options.threshold;

	metrics_detection(rows, events, result->events, threshold, &result->detection, delay_rows,
					  delay_time);
	summarise_delays(delay_rows, result->detection.detected, 1, &result->delay_rows_mean,
					 &result->delay_rows_median);
	result->delay_seconds_mean = result->delay_seconds_median = NAN;
	if (has_seconds(state))
		summarise_delays(delay_time, result->detection.detected, USECS_PER_SEC,
						 &result->delay_seconds_mean, &result->delay_seconds_median);
	metrics_affiliation(rows, events, result->events, threshold, &result->affiliation_precision,
						&result->affiliation_recall);
}

/* Computes all metrics, in the order that metrics.h requires. */
static void
measure_rows(EvaluateState *state, Evaluation *result)
{
	MetricsRows rows;
	MetricsVolume *volume;
	MetricsEvent *events;
	int64	   *delays;

	shrink_rows(state);
	rows.row = state->rows;
	rows.n = state->count;
	rows.anomalies = 0;
	rows.check = check_interrupts;
	if (state->arguments.ts > 0)
		sort_rows(state);
	result->days = count_days(state);
	result->rows = rows.n;
	result->excluded = state->excluded;
	result->events = metrics_count_events(&rows);
	result->anomalies = rows.anomalies;
	events = allocate_array(state, result->events * sizeof(MetricsEvent));
	delays = allocate_array(state, 2 * result->events * sizeof(int64));
	volume = allocate_array(state, sizeof(MetricsVolume));
	volume->window = state->options.window;
	volume->work = allocate_array(state, metrics_volume_bytes(volume->window));

	metrics_find_events(&rows, events);
	measure_detection(state, &rows, events, delays, delays + result->events, result);

	metrics_number(&rows);
	sort_by_score(rows.row, rows.n);
	sort_by_peak(events, result->events);
	metrics_ranking(&rows, events, result->events, &result->ranking);
	if (rows.n > 0)
		metrics_volume_levels(&rows, volume);
	sort_by_place(rows.row, rows.n);
	sort_by_start(events, result->events);
	metrics_volume(&rows, events, result->events, volume, &result->vus_pr, &result->vus_roc);
}

Datum
amad_evaluate_final(PG_FUNCTION_ARGS)
{
	EvaluateState *state;
	Evaluation	evaluation;
	bool		begun;

	(void) aggregate_group_context(fcinfo, "amad_evaluate");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (EvaluateState *) PG_GETARG_POINTER(0);
	begun = progress_begin(PROGRESS_EVALUATE);
	measure_rows(state, &evaluation);
	progress_end(begun);
	/* many groups may be kept until the end of the query */
	MemoryContextDelete(state->context);
	PG_RETURN_JSONB_P(evaluate_result(&state->options, &evaluation));
}
