/*
 * score/detect_arguments.c
 *	  Arguments that several SQL functions share.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "utils/builtins.h"

#include "score/detect_arguments.h"

char *
arguments_text(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

DetectSpec
arguments_detect(FunctionCallInfo fcinfo, int source, int timestamp_col)
{
	DetectSpec	spec = {
		.function = fcinfo->flinfo->fn_oid,
		.model_name = arguments_text(fcinfo, 0),
		.source = arguments_text(fcinfo, source),
		.timestamp_col = arguments_text(fcinfo, timestamp_col),
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
arguments_last_n(FunctionCallInfo fcinfo, int number, const DetectSpec *spec)
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
