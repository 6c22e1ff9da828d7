/*
 * score/maintenance.h
 *	  Maintenance windows: times at which series are not watched.
 *
 * They come from a relation or query with two time columns, begin and end, and
 * are half-open.  Columns named as the model's series columns restrict a window
 * to the series with these values.
 */
#ifndef AMAD_SCORE_MAINTENANCE_H
#define AMAD_SCORE_MAINTENANCE_H

#include "model/model.h"

typedef struct Maintenance Maintenance;

/*
 * Reads the windows, with the caller's rights, in the current context.  time_type: of
 * the times that will be asked for (timestamps_scored_type()).  ERROR unless the source has two columns of
 * such a type, or when the windows need more than work_mem.
 */
extern Maintenance *maintenance_open(const char *source, Oid time_type, const Model *model);

/* A series comes (series_key.h; NULL: the only one). */
extern void maintenance_begin(Maintenance *maintenance, const char *series);

/* Whether a time is in one of its windows. */
extern bool maintenance_covers(const Maintenance *maintenance, int64 ts);

#endif							/* AMAD_SCORE_MAINTENANCE_H */
