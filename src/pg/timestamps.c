/*
 * pg/timestamps.c
 *	  The time column: timestamptz, timestamp, date or an integer.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "pg/timestamps.h"

Oid
timestamps_scored_type(Oid type)
{
	switch (getBaseType(type))
	{
		case TIMESTAMPTZOID:
			return TIMESTAMPTZOID;
		case TIMESTAMPOID:
		case DATEOID:
			return TIMESTAMPOID;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return INT8OID;
		default:
			return InvalidOid;
	}
}

const char *
timestamps_type_name(Oid scored_type)
{
	return scored_type == TIMESTAMPTZOID ? "timestamptz"
		: scored_type == TIMESTAMPOID	 ? "timestamp"
										 : "int8";
}

/* The timestamp of a date's midnight; false if it is infinite or out of range. */
static bool
date_value(DateADT date, int64 *ts)
{
	/* both types begin on the same day, but dates end later */
	if (DATE_NOT_FINITE(date) || date >= TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE)
	{
		*ts = date < 0 ? DT_NOBEGIN : DT_NOEND;
		return false;
	}
	*ts = (int64) date * USECS_PER_DAY;
	return true;
}

bool
timestamps_value(Oid type, Datum value, int64 *ts)
{
	switch (type)
	{
		case DATEOID:
			return date_value(DatumGetDateADT(value), ts);
		case INT2OID:
			*ts = DatumGetInt16(value);
			return true;
		case INT4OID:
			*ts = DatumGetInt32(value);
			return true;
		default:
			*ts = DatumGetInt64(value);
			return timestamps_finite(type, *ts);
	}
}

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

char *
timestamps_literal(Oid type, int64 ts)
{
	char		text[MAXDATELEN + 1];
	struct pg_tm tm;
	fsec_t		fsec;

	if (type == INT8OID)
		return psprintf(INT64_FORMAT, ts);
	if (TIMESTAMP_NOT_FINITE(ts))
		return pstrdup(TIMESTAMP_IS_NOBEGIN(ts) ? "-infinity" : "infinity");
	/* converted as a timestamp without time zone, that is, in UTC */
	if (timestamp2tm(ts, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	tm.tm_isdst = 0;			/* a negative value would omit the time zone */
	EncodeDateTime(&tm, fsec, type == TIMESTAMPTZOID, 0, NULL, USE_ISO_DATES, text);
	return pstrdup(text);
}

bool
timestamps_finite(Oid type, int64 ts)
{
	return type == INT8OID || !TIMESTAMP_NOT_FINITE(ts);
}

static int64
saturated(int64 ts)
{
	return ts < MIN_TIMESTAMP ? DT_NOBEGIN : ts >= END_TIMESTAMP ? DT_NOEND : ts;
}

int64
timestamps_convert(Oid from, Oid to, int64 ts)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			west;			/* seconds */

	if (from == to || TIMESTAMP_NOT_FINITE(ts))
		return ts;
	if (from == TIMESTAMPTZOID)
	{
		if (timestamp2tm(ts, &west, &tm, &fsec, NULL, NULL) != 0)
			return saturated(ts);
		return saturated(ts - west * USECS_PER_SEC);
	}
	if (timestamp2tm(ts, NULL, &tm, &fsec, NULL, NULL) != 0)
		return saturated(ts);
	west = DetermineTimeZoneOffset(&tm, session_timezone);
	return saturated(ts + west * USECS_PER_SEC);
}

int64
timestamps_later(int64 ts, const Interval *interval)
{
	double		estimate;

	if (TIMESTAMP_NOT_FINITE(ts))
		return ts;
	estimate = (double) ts + (double) interval->time +
		((double) interval->month * 31 + interval->day) * USECS_PER_DAY;
	/* PostgreSQL's addition raises an ERROR out of range: keep a safe distance from it */
	if (estimate >= END_TIMESTAMP - 366.0 * USECS_PER_DAY)
		return DT_NOEND;
	if (estimate <= MIN_TIMESTAMP + 366.0 * USECS_PER_DAY)
		return DT_NOBEGIN;
	return DatumGetInt64(DirectFunctionCall2(timestamp_pl_interval, TimestampGetDatum(ts),
											 IntervalPGetDatum(interval)));
}

/* Gaps are measured in units of the time column, and integers are not microseconds. */
void
timestamps_check_model(Oid model_type, Oid type)
{
	if ((model_type == INT8OID) != (type == INT8OID))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("time column has type %s, but the model was trained with type %s",
						format_type_be(type), format_type_be(model_type))));
}

void
timestamps_check(Oid type, int64 ts)
{
	if (!timestamps_finite(type, ts))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp of a row must be finite, not %s", timestamps_text(type, ts)),
				 errhint("Exclude such rows with WHERE isfinite(...).")));
}
