/*
 * rows/series_windows.h
 *	  Windows of time, each for the series with some values.
 */
#ifndef AMAD_ROWS_SERIES_WINDOWS_H
#define AMAD_ROWS_SERIES_WINDOWS_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef struct SeriesWindows SeriesWindows;

/* In the current context.  cols: the series columns that windows can have values of. */
extern SeriesWindows *series_windows_open(int ncols, char **cols);

/*
 * Adds a window, in the order of their begins; end: exclusive.  values: (ncols) as texts of
 * members of series keys (series_key.h), which are copied; NULL: null.  any: (ncols) of whichever
 * value.
 */
extern void series_windows_add(SeriesWindows *windows, int64 begin, int64 end, char **values,
							   const bool *any);

/* The memory of the windows. */
extern Size series_windows_bytes(const SeriesWindows *windows);

/* Selects those of a series (series_key.h; NULL: there are no series columns). */
extern void series_windows_select(SeriesWindows *windows, const Jsonb *key);

/* The numbers of the selected ones, from 0, in the order in which they were added. */
extern const int *series_windows_selected(const SeriesWindows *windows, int *n);

/*
 * A query that returns all windows: begin, end, and the series columns as texts by their names, null: of
 * whichever value.  Its text does not depend on the session.
 */
extern char *series_windows_query(const SeriesWindows *windows, Oid time_type);

/* Whether a time is in a selected window. */
extern bool series_windows_cover(const SeriesWindows *windows, int64 ts);

/*
 * The first stretch of selected windows, which may be several that overlap, that ends after a
 * time; false if none does.
 */
extern bool series_windows_next(const SeriesWindows *windows, int64 ts, int64 *begin, int64 *end);

/*
 * The times of verdicts of some kinds (model/verdicts.h) as windows for the series columns of
 * rows; NULL if there are none.  integers: whether the time column is an integer.  numbers, unless NULL:
 * receives, for each window, the number of the verdict in the list.
 */
extern SeriesWindows *series_windows_of_verdicts(const List *verdicts, int kinds, int ncols,
												 char **cols, bool integers, int **numbers);

#endif							/* AMAD_ROWS_SERIES_WINDOWS_H */
