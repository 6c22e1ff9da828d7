/*
 * score/maintenance.h
 *	  Maintenance windows: times at which anomalies of a series are ignored.
 *
 * They come from a relation or query with two time columns, begin (inclusive) and end
 * (exclusive).  Columns with the names of series columns of the model restrict a window to
 * the series with these values.
 */
#ifndef AMAD_SCORE_MAINTENANCE_H
#define AMAD_SCORE_MAINTENANCE_H

#include "model/model.h"

typedef struct Maintenance Maintenance;

/*
 * Reads the windows with the caller's privileges, in the current context.  time_type: the
 * type by which the model's rows are scored (timestamps_scored_type()).  ERROR unless the
 * source has two time columns that can be compared with it, or if the windows need more
 * than work_mem.
 */
extern Maintenance *maintenance_open(const char *source, Oid time_type, const Model *model);

/* Selects the windows of a series (series_key.h; NULL: the only one). */
extern void maintenance_select_series(Maintenance *maintenance, const char *series);

/* Whether a time is in a window of the selected series. */
extern bool maintenance_covers(const Maintenance *maintenance, int64 ts);

/* The first of its windows that ends after a time; false if no window does. */
extern bool maintenance_next(const Maintenance *maintenance, int64 ts, int64 *begin, int64 *end);

/*
 * A query for the same windows that names no relation, for maintenance_open() on another node.  Its text does
 * not depend on the session.
 */
extern char *maintenance_query(const Maintenance *maintenance);

#endif							/* AMAD_SCORE_MAINTENANCE_H */
