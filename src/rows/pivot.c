/*
 * rows/pivot.c
 *	  The aggregate amad_pivot, by which the query of a narrow source makes rows of metrics one
 *	  row of features.
 *
 *		amad_pivot(metric text, value, ts, metrics text[], aggregate text) → float8[]
 *
 * Element i of the result comes from the rows whose metric is metrics[i], NaN if they have no
 * value.  Rows with another metric are ignored, and the result is null if there are no other rows.
 * Values that are null, NaN or infinite are ignored as well.
 * The result does not depend on the order of the rows, which differs between plans: sums are
 * exact until they are rounded once at the end (J. R. Shewchuk, "Adaptive Precision
 * Floating-Point Arithmetic", 1997), and the last value is the greatest of those with the
 * greatest timestamp.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "nodes/primnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "pg/call_arguments.h"
#include "pg/timestamps.h"
#include "rows/features.h"
#include "rows/pivot.h"

SQL_FUNCTION(amad_pivot_step);
SQL_FUNCTION(amad_pivot_final);

#define PIVOT_ARGUMENTS "metric, value, ts, metrics, aggregate"

/*
 * Two values that are larger are not added, so that no sum of up to 2^53 values overflows
 * before smaller ones are subtracted.
 */
#define SUMMAND_MAX 1e292

static const char *const kinds[] = {
	[PIVOT_AVG] = "avg", [PIVOT_MAX] = "max",	[PIVOT_MIN] = "min",
	[PIVOT_SUM] = "sum", [PIVOT_LAST] = "last",
};

/* The name of a metric, and its place in the result. */
typedef struct Metric
{
	const char *name;
	int			length;
	int			place;
} Metric;

/* What is the same in all rows; kept in fn_extra. */
typedef struct PivotCall
{
	PivotKind	kind;
	FeatureType value_type;
	Oid			ts_type;
	int			nmetrics;
	Metric	   *metrics;		/* (nmetrics) sorted */
	int		   *next;			/* (nmetrics) of the metric at a place: the one found after it */
	int			last;			/* place of the metric found last */
} PivotCall;

/* A sum of at least two values: parts of increasing size that do not overlap. */
typedef struct ExactSum
{
	bool		too_large;		/* a summand exceeds SUMMAND_MAX */
	int			nparts;
	int			room;
	double		parts[FLEXIBLE_ARRAY_MEMBER];
} ExactSum;

/* The values of a metric so far. */
typedef struct PivotCell
{
	int64		count;			/* of values */
	int64		ts;				/* last: of the value */
	double		value;			/* max, min, last; with a sum: the only one */
	ExactSum   *sum;			/* NULL: fewer than two values */
} PivotCell;

/* State of one group. */
typedef struct PivotState
{
	PivotKind	kind;
	bool		any;			/* a row has one of the metrics */
	int			ncells;
	PivotCell	cells[FLEXIBLE_ARRAY_MEMBER];
} PivotState;

PivotKind
pivot_kind(const char *name)
{
	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(kinds[i], name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized aggregate \"%s\"", name),
			 errhint("Available aggregates are avg, max, min, sum and last.")));
}

static int
compare_metrics(const void *a, const void *b)
{
	const Metric *x = a;
	const Metric *y = b;

	if (x->length != y->length)
		return x->length < y->length ? -1 : 1;
	return memcmp(x->name, y->name, x->length);
}

/* Reads the arguments that are the same in all rows. */
static PivotCall *
open_pivot_call(FunctionCallInfo fcinfo)
{
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	PivotCall  *call = palloc0(sizeof(PivotCall));
	Oid			value_type = get_fn_expr_argtype(fcinfo->flinfo, 2);
	const Aggref *aggregate = AggGetAggref(fcinfo);
	Datum	   *names;
	bool	   *nulls;

	for (int i = 4; i <= 5; i++)
		if (PG_ARGISNULL(i) || !aggregate ||
			!IsA(list_nth_node(TargetEntry, aggregate->args, i - 1)->expr, Const))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument %s of amad_pivot() must be a constant that is not null",
							i == 4 ? "metrics" : "aggregate")));
	call->kind = pivot_kind(text_to_cstring(PG_GETARG_TEXT_PP(5)));
	if (!features_type(value_type, &call->value_type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("argument value of amad_pivot() has type %s, which is neither numeric nor "
						"boolean",
						format_type_be(value_type))));
	call->ts_type = time_argument_type(fcinfo->flinfo, 3, "amad_pivot", PIVOT_ARGUMENTS);

	deconstruct_array(PG_GETARG_ARRAYTYPE_P_COPY(4), TEXTOID, -1, false, TYPALIGN_INT, &names,
					  &nulls, &call->nmetrics);
	if (call->nmetrics < 1 || call->nmetrics > FEATURES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("amad_pivot() needs 1 to %d metrics, not %d", FEATURES_MAX,
						call->nmetrics)));
	call->metrics = palloc(sizeof(Metric) * call->nmetrics);
	for (int i = 0; i < call->nmetrics; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("metrics must not contain nulls")));
		call->metrics[i].name = VARDATA_ANY(DatumGetPointer(names[i]));
		call->metrics[i].length = VARSIZE_ANY_EXHDR(DatumGetPointer(names[i]));
		call->metrics[i].place = i;
	}
	qsort(call->metrics, call->nmetrics, sizeof(Metric), compare_metrics);
	call->next = palloc0(sizeof(int) * call->nmetrics);
	MemoryContextSwitchTo(old);
	return call;
}

/* ---- exact sums --------------------------------------------------------------------------- */

/* Adds a value; each step replaces two parts by their rounded sum and the rounding error. */
static ExactSum *
add_exactly(ExactSum *sum, double x)
{
	int			kept = 0;

	if (fabs(x) > SUMMAND_MAX)
	{
		sum->too_large = true;
		return sum;
	}
	for (int i = 0; i < sum->nparts; i++)
	{
		double		large = fabs(x) < fabs(sum->parts[i]) ? sum->parts[i] : x;
		double		small = fabs(x) < fabs(sum->parts[i]) ? x : sum->parts[i];
		double		error;

		x = large + small;
		error = small - (x - large);
		if (error != 0)
			sum->parts[kept++] = error;
	}
	if (kept == sum->room)
	{
		sum->room *= 2;
		sum = repalloc(sum, offsetof(ExactSum, parts) + sizeof(double) * sum->room);
	}
	sum->parts[kept++] = x;
	sum->nparts = kept;
	return sum;
}

/* The sum, rounded once; missing if a summand is too large. */
static double
round_sum(const ExactSum *sum)
{
	int			n = sum->nparts;
	double		total;
	double		error = 0;

	if (sum->too_large)
		return NAN;
	total = n > 0 ? sum->parts[--n] : 0;
	while (n > 0 && error == 0)
	{
		double		large = total;
		double		small = sum->parts[--n];

		total = large + small;
		error = small - (total - large);
	}
	/* halfway between two doubles, unless the parts below decide */
	if (n > 0 && ((error < 0 && sum->parts[n - 1] < 0) || (error > 0 && sum->parts[n - 1] > 0)))
	{
		double		next = total + 2 * error;

		if (next - total == 2 * error)
			total = next;
	}
	return total;
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* Adds a value to those of its metric; context: of the group. */
static void
add_value(PivotCell *cell, PivotKind kind, double value, int64 ts, MemoryContext context)
{
	bool		first = cell->count++ == 0;

	switch (kind)
	{
		case PIVOT_AVG:
		case PIVOT_SUM:
			if (first)
				cell->value = value;
			else
			{
				if (cell->sum == NULL)
				{
					cell->sum = MemoryContextAllocZero(context,
													   offsetof(ExactSum, parts) +
														   sizeof(double) * 4);
					cell->sum->room = 4;
					cell->sum = add_exactly(cell->sum, cell->value);
				}
				cell->sum = add_exactly(cell->sum, value);
			}
			break;
		case PIVOT_MAX:
			cell->value = first ? value : Max(cell->value, value);
			break;
		case PIVOT_MIN:
			cell->value = first ? value : Min(cell->value, value);
			break;
		case PIVOT_LAST:
			if (first || ts > cell->ts || (ts == cell->ts && value > cell->value))
			{
				cell->ts = ts;
				cell->value = value;
			}
			break;
	}
}

/* The place of a metric; -1: it is another one.  Metrics mostly come in the same order again. */
static int
find_metric(PivotCall *call, const text *name)
{
	Metric		key = {.name = VARDATA_ANY(name), .length = VARSIZE_ANY_EXHDR(name)};
	const Metric *metric = &call->metrics[call->next[call->last]];

	if (compare_metrics(&key, metric) != 0)
	{
		metric = bsearch(&key, call->metrics, call->nmetrics, sizeof(Metric), compare_metrics);
		if (metric == NULL)
			return -1;
		call->next[call->last] = metric - call->metrics;
	}
	call->last = metric->place;
	return call->last;
}

Datum
amad_pivot_step(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_group_context(fcinfo, "amad_pivot_step");
	PivotState *state = PG_ARGISNULL(0) ? NULL : (PivotState *) PG_GETARG_POINTER(0);
	PivotCall  *call = fcinfo->flinfo->fn_extra;
	int			place;
	double		value;
	int64		ts = PG_INT64_MIN;

	if (call == NULL)
		call = fcinfo->flinfo->fn_extra = open_pivot_call(fcinfo);
	if (state == NULL)
	{
		state = MemoryContextAllocZero(context,
									   offsetof(PivotState, cells) +
										   sizeof(PivotCell) * call->nmetrics);
		state->kind = call->kind;
		state->ncells = call->nmetrics;
	}
	else if (state->ncells != call->nmetrics)
		elog(ERROR, "state of amad_pivot was passed to another call");

	place = PG_ARGISNULL(1) ? -1 : find_metric(call, PG_GETARG_TEXT_PP(1));
	if (place < 0)
		PG_RETURN_POINTER(state);
	state->any = true;
	value = features_value(call->value_type, PG_GETARG_DATUM(2), PG_ARGISNULL(2));
	if (!isnan(value))
	{
		if (call->kind == PIVOT_LAST && !PG_ARGISNULL(3))
			(void) timestamps_value(call->ts_type, PG_GETARG_DATUM(3), &ts);
		add_value(&state->cells[place], call->kind, value, ts, context);
	}
	PG_RETURN_POINTER(state);
}

Datum
amad_pivot_final(PG_FUNCTION_ARGS)
{
	const PivotState *state;
	ArrayType  *result;
	float8	   *values;
	Size		size;

	(void) aggregate_group_context(fcinfo, "amad_pivot_final");
	state = PG_ARGISNULL(0) ? NULL : (PivotState *) PG_GETARG_POINTER(0);
	if (state == NULL || !state->any)
		PG_RETURN_NULL();
	size = ARR_OVERHEAD_NONULLS(1) + sizeof(float8) * state->ncells;
	result = palloc0(size);
	SET_VARSIZE(result, size);
	result->ndim = 1;
	result->elemtype = FLOAT8OID;
	ARR_DIMS(result)[0] = state->ncells;
	ARR_LBOUND(result)[0] = 1;
	values = (float8 *) ARR_DATA_PTR(result);
	for (int i = 0; i < state->ncells; i++)
	{
		const PivotCell *cell = &state->cells[i];

		values[i] = cell->count == 0 ? NAN : cell->value;
		if (cell->sum)
			values[i] = round_sum(cell->sum) /
				(state->kind == PIVOT_AVG ? (double) cell->count : 1);
	}
	PG_RETURN_ARRAYTYPE_P(result);
}
