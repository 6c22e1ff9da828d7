/*
 * timestamps.h
 *	  The time column: timestamptz, timestamp or bigint, all 64-bit integers.
 */
#ifndef AMAD_TIMESTAMPS_H
#define AMAD_TIMESTAMPS_H

/* The text of a value, for messages. */
extern char *timestamps_text(Oid type, int64 ts);

/* ERROR for values that have no place on a time line: infinities. */
extern void timestamps_check(Oid type, int64 ts);

#endif							/* AMAD_TIMESTAMPS_H */
