/*
 * rows/series.h
 *	  The rows of one series, with unscaled features, during training.
 *
 * Rows are added in any order.  series_sort() sorts them by time and refuses duplicate
 * timestamps; then they can be split at gaps, measured and scaled.
 */
#ifndef AMAD_ROWS_SERIES_H
#define AMAD_ROWS_SERIES_H

#include "core/evidence/scaling.h"
#include "model/options.h"
#include "model/transforms.h"
#include "pg/budget.h"

typedef struct Series Series;

/* Counts of missing values. */
typedef struct SeriesFacts
{
	int64		imputed;		/* missing values, filled */
	int64		imputed_rows;	/* rows with at least one missing value */
} SeriesFacts;

/* Consecutive rows without a gap, and without omitted rows, between them. */
typedef struct SeriesRun
{
	int64		first;			/* position of the first row, in order of time */
	int64		rows;
	int64		number;			/* number of the first row (see series_add()) */
} SeriesRun;

/* A new series, in a child context of parent. */
extern Series *series_open(MemoryContext parent, int features, Oid ts_type);
extern void series_close(Series *series);
extern int64 series_rows(const Series *series);

/* Memory used per row, and what may be allocated for more rows than there are. */
extern Size series_row_bytes(int features);
extern Size series_slack_bytes(int features, int64 rows);

/*
 * Adds a row; NaN marks a missing value.  `number` counts the rows of the series including
 * omitted ones, so that only neighbours have consecutive numbers.  ERROR if the rows do not
 * fit in maintenance_work_mem.
 */
extern void series_add(Series *series, int64 ts, int64 number, const double *values);

/*
 * Releases memory of the rows that were added first, unless they are among the last n.  Only rows
 * that are added in order of time may be forgotten.
 */
extern void series_forget(Series *series, int64 n);

/* Sorts the rows by time.  ERROR if a timestamp occurs twice. */
extern void series_sort(Series *series);

/* ---- of a sorted series ---------------------------------------------------------- */

/* The values of a row, and its timestamp. */
extern const double *series_values(const Series *series, int64 row, int64 *ts);

/* Keeps only the n newest rows. */
extern void series_keep_newest(Series *series, int64 n);

/* ERROR if a value is missing. */
extern void series_refuse_missing(const Series *series, const Options *options);

/* Median distance of consecutive timestamps, in units of ts; 0 for fewer than two rows. */
extern double series_step(const Series *series);

/*
 * Transforms the values of all runs in place: what follows refers to transformed values.
 * max_gap: as for series_run().  step: see transform_rounding().
 */
extern void series_transform(Series *series, const Transforms *transforms, double max_gap,
							 double step);

/*
 * Mean, standard deviation (0 for a constant) and number of the values of every feature
 * that are not missing (features).  If all are missing, mean and std are 0.
 */
extern void series_moments(const Series *series, double *mean, double *std, int64 *known);

/* The run that begins at a row and ends at a gap of more than max_gap (0: no limit). */
extern SeriesRun series_run(const Series *series, int64 first, double max_gap);

/*
 * Scales the rows of a run to scaled (rows, C).  Missing values are filled according to the
 * options (rows/fill.h); their bits are set in imputed (rows, IMPUTED_BYTES), which the
 * caller has cleared.  imputed may be NULL if series_complete().
 */
extern void series_scale(const Series *series, const SeriesRun *run, const Options *options,
						 const nn_scaling *scaling, float *scaled, uint8 *imputed,
						 SeriesFacts *facts);

/* Timestamps of the rows of a run. */
extern void series_times(const Series *series, const SeriesRun *run, int64 *ts);

/* Whether no value is missing. */
extern bool series_complete(const Series *series);

#endif							/* AMAD_ROWS_SERIES_H */
