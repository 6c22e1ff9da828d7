/*
 * series.h
 *	  A series of rows (ts, features …) on its way from SQL to the network.
 *
 * Rows are added in any order, then series_finish() sorts them, refuses
 * duplicates, fills missing values and scales.  State lives in a context of its
 * own; all states of a backend together are held below maintenance_work_mem.
 */
#ifndef AMAD_SERIES_H
#define AMAD_SERIES_H

#include "options.h"

typedef struct Series Series;

/* What a finished series tells about its rows. */
typedef struct SeriesFacts
{
	int64		rows;
	int64		imputed;		/* values that were missing and filled */
	int64		imputed_rows;	/* rows with at least one of them */
	int64		first_ts;
	int64		last_ts;
} SeriesFacts;

/* A new series in a child of parent, of rows with so many features. */
extern Series *series_open(MemoryContext parent, int features, Oid ts_type);
extern void series_close(Series *series);
extern int	series_features(const Series *series);
extern int64 series_rows(const Series *series);

/* Adds a row; NaN marks a missing value.  ERROR beyond maintenance_work_mem. */
extern void series_add(Series *series, int64 ts, const double *values);

/*
 * Sorts, checks and fills; sets mean and standard deviation of every feature
 * (std 0 where constant); returns the scaled rows (rows, C), allocated in the
 * series' context, in place of the raw ones.
 */
extern float *series_finish(Series *series, const Options *options,
							double *mean, double *std, SeriesFacts *facts);

/*
 * ERROR unless `bytes` more fit into maintenance_work_mem beside the series of
 * this backend; what: "training" …
 */
extern void series_check_memory(const char *what, Size bytes);

#endif							/* AMAD_SERIES_H */
