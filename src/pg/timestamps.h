/*
 * pg/timestamps.h
 *	  The time column: timestamptz, timestamp, date or an integer.
 *
 * Rows are scored by 64-bit integers: microseconds for timestamptz and timestamp,
 * the number itself for integers.  A date is scored as the timestamp of its
 * midnight, so no score depends on the session's time zone.  Conversions between
 * timestamp and timestamptz serve bounds and shown timestamps only.
 */
#ifndef AMAD_PG_TIMESTAMPS_H
#define AMAD_PG_TIMESTAMPS_H

#include "datatype/timestamp.h"

/*
 * The type by which a column of a type (or a domain over it) is scored: TIMESTAMPTZOID,
 * TIMESTAMPOID or INT8OID; InvalidOid when it cannot be a time column.
 */
extern Oid	timestamps_scored_type(Oid type);

/* The name of a type that timestamps_scored_type() returns, for queries: in pg_catalog. */
extern const char *timestamps_type_name(Oid scored_type);

/*
 * The value of a column of base type timestamptz, timestamp, date, int8, int4 or int2.
 * False when it is infinite, or a date beyond the range of timestamp.
 */
extern bool timestamps_value(Oid type, Datum value, int64 *ts);

/* The text of a value, for messages: in the session's time zone and DateStyle. */
extern char *timestamps_text(Oid type, int64 ts);

/* The text of a value, for queries: the same in every session. */
extern char *timestamps_literal(Oid type, int64 ts);

/* Whether a value is a finite time. */
extern bool timestamps_finite(Oid type, int64 ts);

/* How much later than another a timestamp is, which is not less: above 0 unless equal. */
static inline double
timestamps_distance(int64 from, int64 to)
{
	return (double) ((uint64) to - (uint64) from);
}

/*
 * Between timestamp and timestamptz by the session's time zone, as a cast does; but
 * what is out of range becomes -infinity or infinity.
 */
extern int64 timestamps_convert(Oid from, Oid to, int64 ts);

/* A time later by an interval; days have 24 hours.  Saturates at -infinity and infinity. */
extern int64 timestamps_later(int64 ts, const Interval *interval);

/* ERROR unless rows with such a time column can be scored by a model trained on the other. */
extern void timestamps_check_model(Oid model_type, Oid type);

/* ERROR for infinite values. */
extern void timestamps_check(Oid type, int64 ts);

#endif							/* AMAD_PG_TIMESTAMPS_H */
