/*
 * operate/feedback.h
 *	  What people say of incidents.
 */
#ifndef AMAD_OPERATE_FEEDBACK_H
#define AMAD_OPERATE_FEEDBACK_H

#include "rows/source.h"

/* The factor by which a peak must exceed that of a false alarm to be announced. */
#define MUTED_PEAKS 1.2

/*
 * The values of the features in the row of a series at a time, as an object in the current
 * context; 0: there is no such row.  series: a condition on the series columns; NULL: there are
 * none.
 */
extern Datum feedback_actual_values(const Source *source, Jsonb *series, int64 ts);

/* Whether the actual value is above the expected one, or below; false if either is not known. */
extern bool feedback_direction(Datum expected, Datum actual, const char *feature, bool *above);

#endif							/* AMAD_OPERATE_FEEDBACK_H */
