/*
 * rows/series.h
 *	  The rows of one series (ts, features …) as they come from SQL.
 *
 * Rows are added in any order; series_sort() puts them in order and refuses
 * duplicates, then they can be cut at gaps, measured and scaled.
 */
#ifndef AMAD_ROWS_SERIES_H
#define AMAD_ROWS_SERIES_H

#include "pg/budget.h"
#include "core/evidence/scaling.h"
#include "model/options.h"

typedef struct Series Series;

/* What scaling tells about a series' rows. */
typedef struct SeriesFacts
{
	int64		imputed;		/* values that were missing and filled */
	int64		imputed_rows;	/* rows with at least one of them */
} SeriesFacts;

/* A stretch of rows that belong together: no gap, and none left out between them. */
typedef struct SeriesRun
{
	int64		first;			/* row, in order of time */
	int64		rows;
	int64		number;			/* of the first row */
} SeriesRun;

/* A new series in a child of parent, of rows with so many features. */
extern Series *series_open(MemoryContext parent, int features, Oid ts_type);
extern void series_close(Series *series);
extern int64 series_rows(const Series *series);

/* Bytes that a row takes here. */
extern Size series_row_bytes(int features);

/*
 * Adds a row; NaN marks a missing value.  `number` counts the rows of the series,
 * those left out included: neighbours have consecutive ones.  ERROR beyond
 * maintenance_work_mem.
 */
extern void series_add(Series *series, int64 ts, int64 number, const double *values);

/* Keeps only the rows whose number the function accepts. */
extern void series_thin(Series *series, bool (*keep) (int64 number, void *arg), void *arg);

/* Sorts by time.  ERROR for a timestamp that occurs twice. */
extern void series_sort(Series *series);

/* ---- of a sorted series ---------------------------------------------------------- */

/* Median distance of neighbouring timestamps, in units of ts; 0 for fewer than two rows. */
extern double series_step(const Series *series);

/*
 * Mean and standard deviation of the known values of every feature, 0 where they
 * are constant, and their number (features).  Without any, mean and std are 0.
 */
extern void series_moments(const Series *series, double *mean, double *std, int64 *known);

/* The run that begins at a row: up to a gap of more than max_gap (0: any is allowed). */
extern SeriesRun series_run(const Series *series, int64 first, double max_gap);

/*
 * The rows of a run, scaled (rows, C).  Missing values are filled by the options'
 * policy, and are 0 (the mean) where it has no value; their bits are set in
 * imputed (rows, bytes of a row's map), which the caller has cleared.  It may be
 * NULL when series_complete().
 */
extern void series_scale(const Series *series, const SeriesRun *run, const Options *options,
						 const nn_scaling *scaling, float *scaled, uint8 *imputed,
						 SeriesFacts *facts);

/* Timestamps of the rows of a run. */
extern void series_times(const Series *series, const SeriesRun *run, int64 *ts);

/* Whether no value is missing. */
extern bool series_complete(const Series *series);


#endif							/* AMAD_ROWS_SERIES_H */
