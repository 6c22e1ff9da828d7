/*
 * pg/timestamps.h
 *	  The time column: timestamptz, timestamp, date or an integer.
 *
 * Times are handled as 64-bit integers: microseconds for timestamptz and timestamp, the
 * number itself for integers.  A date is scored as the timestamp of its midnight, so scores
 * never depend on the session's time zone.  Only bounds and displayed timestamps are
 * converted between timestamp and timestamptz.
 */
#ifndef AMAD_PG_TIMESTAMPS_H
#define AMAD_PG_TIMESTAMPS_H

#include "datatype/timestamp.h"

/*
 * The type that times of a type or domain are handled as: TIMESTAMPTZOID, TIMESTAMPOID or
 * INT8OID; InvalidOid if a column of this type cannot be a time column.
 */
extern Oid	timestamps_scored_type(Oid type);

/* The name of a type that timestamps_scored_type() returns, for queries: in pg_catalog. */
extern const char *timestamps_type_name(Oid scored_type);

/*
 * Reads a time of base type timestamptz, timestamp, date, int8, int4 or int2.  False if it
 * is infinite, or a date beyond the range of timestamp.
 */
extern bool timestamps_value(Oid type, Datum value, int64 *ts);

/* The text of a value, for messages: in the session's time zone and DateStyle. */
extern char *timestamps_text(Oid type, int64 ts);

/* The text of a value, for queries: the same in every session. */
extern char *timestamps_literal(Oid type, int64 ts);

/* Whether a value is a finite time. */
extern bool timestamps_finite(Oid type, int64 ts);

/* The distance from one timestamp to another that is not earlier. */
static inline double
timestamps_distance(int64 from, int64 to)
{
	return (double) ((uint64) to - (uint64) from);
}

/*
 * Converts between timestamp and timestamptz by the session's time zone, as a cast does,
 * except that times out of range become -infinity or infinity.
 */
extern int64 timestamps_convert(Oid from, Oid to, int64 ts);

/* Adds an interval, with days of 24 hours; -infinity or infinity if out of range. */
extern int64 timestamps_later(int64 ts, const Interval *interval);

/* ERROR if rows with this type of time column cannot be scored by a model of the other type. */
extern void timestamps_check_model(Oid model_type, Oid type);

/* ERROR if the time is infinite. */
extern void timestamps_check(Oid type, int64 ts);

#endif							/* AMAD_PG_TIMESTAMPS_H */
