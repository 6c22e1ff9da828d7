/*
 * score/detect_arguments.c
 *	  The arguments of functions that detect: model, range and source.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "pg/call_arguments.h"
#include "score/detect_arguments.h"

DetectSpec
read_detect_arguments(FunctionCallInfo fcinfo, int source, int timestamp_col)
{
	DetectSpec	spec = {
		.function = fcinfo->flinfo->fn_oid,
		.model_name = text_argument(fcinfo, 0),
		.source = text_argument(fcinfo, source),
		.timestamp_col = text_argument(fcinfo, timestamp_col),
		.bound_type = get_fn_expr_argtype(fcinfo->flinfo, 1),
		.has_since = !PG_ARGISNULL(1),
		.since = PG_GETARG_DATUM(1),
		.has_until = !PG_ARGISNULL(2),
		.until = PG_GETARG_DATUM(2),
	};

	if (spec.model_name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("model_name must not be null")));
	return spec;
}

int64
read_last_n_argument(FunctionCallInfo fcinfo, int number, const DetectSpec *spec)
{
	if (PG_ARGISNULL(number))
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
