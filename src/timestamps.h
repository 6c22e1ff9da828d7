/*
 * timestamps.h
 *	  The time column: timestamptz, timestamp or bigint, all 64-bit integers.
 */
#ifndef AMAD_TIMESTAMPS_H
#define AMAD_TIMESTAMPS_H

/* The text of a value, for messages. */
extern char *timestamps_text(Oid type, int64 ts);

/* Whether a value has a place on the time line. */
extern bool timestamps_finite(Oid type, int64 ts);

/* ERROR unless rows with such a time column can be scored by a model trained on the other. */
extern void timestamps_check_model(Oid model_type, Oid type);

/* ERROR for values that have no place on a time line: infinities. */
extern void timestamps_check(Oid type, int64 ts);

#endif							/* AMAD_TIMESTAMPS_H */
