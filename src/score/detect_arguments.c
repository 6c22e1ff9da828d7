/*
 * score/detect_arguments.c
 *	  The arguments of functions that detect: model, range and source; and ranges of trainings.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "pg/call_arguments.h"
#include "pg/timestamps.h"
#include "score/detect_arguments.h"

/* The function, and its arguments since and until. */
static DetectSpec
read_bounds(FunctionCallInfo fcinfo, int since)
{
	return (DetectSpec){
		.function = fcinfo->flinfo->fn_oid,
		.bound_type = get_fn_expr_argtype(fcinfo->flinfo, since),
		.has_since = !argument_is_null(fcinfo, since),
		.since = since < PG_NARGS() ? PG_GETARG_DATUM(since) : (Datum) 0,
		.has_until = !argument_is_null(fcinfo, since + 1),
		.until = since + 1 < PG_NARGS() ? PG_GETARG_DATUM(since + 1) : (Datum) 0,
	};
}

DetectSpec
read_detect_arguments(FunctionCallInfo fcinfo, int since, int source, int timestamp_col)
{
	DetectSpec	spec = read_bounds(fcinfo, since);

	spec.model_name = text_argument(fcinfo, 0);
	spec.source = text_argument(fcinfo, source);
	spec.timestamp_col = text_argument(fcinfo, timestamp_col);
	if (spec.model_name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("model_name must not be null")));
	return spec;
}

int64
read_last_n_argument(FunctionCallInfo fcinfo, int number, const DetectSpec *spec)
{
	if (argument_is_null(fcinfo, number))
		return 0;
	if (PG_GETARG_INT64(number) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("last_n must be at least 1")));
	if (spec->has_since)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("since and last_n cannot be specified together")));
	return PG_GETARG_INT64(number);
}

DetectSpec
read_range_arguments(FunctionCallInfo fcinfo, int since)
{
	DetectSpec	spec = read_bounds(fcinfo, since);

	spec.last_n = read_last_n_argument(fcinfo, since + 2, &spec);
	if (spec.has_since && spec.has_until && DatumGetInt64(spec.since) >= DatumGetInt64(spec.until))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("since must be before until")));
	return spec;
}

SourceRange
range_of_source(const DetectSpec *spec, Oid ts_type)
{
	SourceRange range = {
		.has_since = spec->has_since,
		.has_until = spec->has_until,
		.last_n = spec->last_n,
		.series = spec->series,
	};

	if (spec->has_since || spec->has_until)
		(void) detect_convert_bound(spec->function, ts_type, spec->bound_type, Int64GetDatum(0));
	if (spec->has_since)
		range.since = DatumGetInt64(
			detect_convert_bound(spec->function, spec->bound_type, ts_type, spec->since));
	if (spec->has_until)
		range.until = range.read_until = DatumGetInt64(
			detect_convert_bound(spec->function, spec->bound_type, ts_type, spec->until));
	/* an infinite bound that excludes nothing */
	if (ts_type != INT8OID)
	{
		range.has_since = range.has_since && !TIMESTAMP_IS_NOBEGIN(range.since);
		range.has_until = range.has_until && !TIMESTAMP_IS_NOEND(range.until);
	}
	return range;
}
