/*
 * timestamps.c
 *	  The time column: timestamptz, timestamp or bigint, all 64-bit integers.
 */
#include "postgres.h"
#include "compat.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "timestamps.h"

char *
timestamps_text(Oid type, int64 ts)
{
	switch (type)
	{
		case TIMESTAMPTZOID:
			return DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(ts)));
		case TIMESTAMPOID:
			return DatumGetCString(DirectFunctionCall1(timestamp_out, TimestampGetDatum(ts)));
		default:
			return psprintf(INT64_FORMAT, ts);
	}
}

bool
timestamps_finite(Oid type, int64 ts)
{
	return type == INT8OID || !TIMESTAMP_NOT_FINITE(ts);
}

/* Gaps are measured in units of the time column: integers are no microseconds. */
void
timestamps_check_model(Oid model_type, Oid type)
{
	if (OidIsValid(model_type) && (model_type == INT8OID) != (type == INT8OID))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("time column of type %s, but the model was trained with %s",
						format_type_be(type), format_type_be(model_type))));
}

void
timestamps_check(Oid type, int64 ts)
{
	if (!timestamps_finite(type, ts))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp of a row must be finite, not %s", timestamps_text(type, ts)),
				 errhint("Leave such rows out with WHERE isfinite(...).")));
}
