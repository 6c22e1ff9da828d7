/*
 * rows/dataset.h
 *	  The rows of a training: series after series, sorted, filled and scaled.
 *
 * Training chunks are taken from runs: stretches of one series without a gap.  Some rows of
 * every series that is long enough are held out of training, for calibration (held_out.h).
 */
#ifndef AMAD_ROWS_DATASET_H
#define AMAD_ROWS_DATASET_H

#include "model/model.h"
#include "rows/held_out.h"
#include "rows/series.h"

/* A stretch of consecutive rows of one series. */
typedef struct DatasetRun
{
	int			series;
	int64		first;			/* position in the dataset */
	int64		rows;
	int64		number;			/* number of the first row in its series */
} DatasetRun;

/* Consecutive runs: first … last - 1. */
typedef struct RunRange
{
	int			first;
	int			last;
} RunRange;

typedef struct DatasetSeries
{
	char	   *key;			/* see series_key.h; NULL: the only series */
	int64		rows;			/* including omitted ones */
	HeldOut		held;
	double	   *mean;			/* (features) */
	double	   *std;			/* (features) */
	int64	   *known;			/* (features) number of values not missing */
	double		step;
	double		max_gap;
} DatasetSeries;

/* Counts of rows, for the summary. */
typedef struct DatasetFacts
{
	int64		rows;			/* used for training and calibration */
	int64		offered;		/* seen, in series that are long enough */
	int64		duplicates;		/* omitted: their timestamp occurred before */
	int64		without_ts;		/* omitted: no timestamp */
	int64		labelled;		/* omitted: known to be bad */
	int64		short_series;	/* series omitted */
	int64		gaps;			/* between rows of a series */
	SeriesFacts values;
} DatasetFacts;

typedef struct Dataset
{
	MemoryContext context;
	Budget		budget;
	const Options *options;
	int			features;
	ModelPlan	plan;
	Oid			ts_type;
	Transforms	transforms;		/* TRANSFORM_AUTO until a series has shown more */

	bool		decided;		/* transforms are those of a model */

	Size		reserve;		/* bytes to leave for the training */
	int64		newest;			/* rows of the open series to keep; 0: all */

	/* sampling */
	bool		sampling;		/* when rows do not fit, count the others, instead of an ERROR */
	Size		limit;			/* bytes for all */
	int			level;			/* one of 2^level blocks is kept */
	bool		full;			/* the rows do not fit; those collected were released */
	int64		kept;			/* rows of the sample, in the series that have ended … */
	int64		open_kept;		/* … and in the open one */
	int64	   *counts;			/* (ncounts) rows of each series, including omitted ones */
	int			ncounts;
	int64		largest;		/* rows of the longest series, including omitted ones */

	bool		begun;			/* a series is open */
	Series	   *open;			/* its rows; NULL if the dataset is full */
	char	   *open_key;
	uint64		open_hash;
	int64		open_number;	/* number of its next row */

	float	   *rows;			/* (nrows, features) scaled, within plan.bound */
	int64	   *ts;				/* (nrows) */
	uint8	   *imputed;		/* (nrows, IMPUTED_BYTES), or NULL if no value is */
	int64		nrows;
	int64		room;
	DatasetRun *runs;
	int			nruns;
	DatasetSeries *series;
	int			nseries;
	DatasetFacts facts;
} Dataset;

/*
 * An empty dataset, in a child context of parent.  options must outlive it.
 */
extern Dataset *dataset_open(MemoryContext parent, const Options *options, int features,
							 Oid ts_type);
extern void dataset_close(Dataset *dataset);

/*
 * An empty dataset for one series of a model, with the model's transforms, for calibration.  newest:
 * rows come in order of time, and only so many are kept, the last ones; 0: all, and an ERROR if they do
 * not fit in maintenance_work_mem.
 */
extern Dataset *dataset_open_calibration(MemoryContext parent, const Model *model, int64 newest);

/* The least number of rows of a series that can be trained on and calibrated. */
extern int64 dataset_least_rows(const Dataset *dataset);

/* Begins a series, whose rows follow.  key is copied; NULL: the only series. */
extern void dataset_begin(Dataset *dataset, const char *key);
extern void dataset_add(Dataset *dataset, int64 ts, const double *values);

/* Omits a row of the open series: the rows before and after it are not neighbours. */
extern void dataset_skip(Dataset *dataset);

/* Omits rows of the open series up to the one with a number, counted from 0. */
extern void dataset_skip_to(Dataset *dataset, int64 number);

/*
 * Ends the last series; transforms has been decided then.  Sets mean, std, step and max_gap of
 * all rows together in stats.  ERROR if no series is long enough, or a feature has no value.
 */
extern void dataset_finish(Dataset *dataset, ModelStats *stats);

/*
 * Ends the only series of a dataset for calibration; false if it has too few rows.  What cannot be
 * computed from its rows is taken from stats, the figures of all series.
 */
extern bool dataset_finish_calibration(Dataset *dataset, const ModelStats *stats);

/*
 * Computes mean, std, step and max_gap of all rows together from those of n series, each with key,
 * mean, std, known, step and max_gap, and gives series without a value of a feature those
 * of all.  A feature without any value keeps mean and std.
 */
extern void dataset_pool(const Options *options, Oid ts_type, int features, int n,
						 DatasetSeries *series, ModelStats *stats);

/* ---- samples: dataset_sampling.c ---- */

/*
 * Makes the dataset a sample, which has to fit in maintenance_work_mem with `reserve` bytes for the
 * training: one of 2^level blocks of rows is kept.  Rows come in order of series and time.
 */
extern void dataset_begin_sample(Dataset *dataset, Size reserve, int level);

/*
 * Ends the last series of a sample.  If it did not fit, returns the level of a sample that is expected to;
 * otherwise -1.
 */
extern int	dataset_end_sample(Dataset *dataset);

/* Rows of a block: these are kept or left out together. */
extern int64 dataset_block_rows(const Dataset *dataset);

/* A hash of the key of a series (NULL: there are none), and whether one of its blocks is kept. */
extern uint64 dataset_series_hash(const char *key);
extern bool dataset_keeps_block(uint64 hash, int64 block, int level);

/*
 * The level at which n series with these numbers of rows, in this order, are expected to fit; 0 if all
 * rows do.
 */
extern int	dataset_choose_level(const Dataset *dataset, int n, const int64 *rows);

/* The same, at least 1, for a number of series with so many rows, of which the longest has `largest`. */
extern int	dataset_sample_level(const Dataset *dataset, int64 series, int64 rows, int64 largest);

/*
 * Instead of the above: adds series and rows that are already scaled, for calibration
 * only.  begins: the row is not a neighbour of the one before.
 */
extern void dataset_begin_scaled(Dataset *dataset, const char *key);
extern void dataset_add_scaled(Dataset *dataset, bool begins, int64 ts, const float *scaled,
							   const uint8 *imputed);

/*
 * The maintenance_work_mem with which no row is left out, in the worst order of the series;
 * largest: rows of the longest one.
 */
extern Size dataset_bytes(const Dataset *dataset, int64 nseries, int64 rows, int64 largest);

/* All runs, and the runs of the series that begins with a run; they are consecutive. */
extern RunRange dataset_all_runs(const Dataset *dataset);
extern RunRange dataset_series_runs(const Dataset *dataset, int first);

/* The option max_gap in units of the time column, or its default for a step. */
extern double dataset_max_gap(const Options *options, Oid ts_type, double step);

/*
 * Whether the row at a place of a run is held out.  Sets *end to the place of the next row
 * of the run that differs from it, or to the end of the run.
 */
extern bool dataset_held_out(const Dataset *dataset, const DatasetRun *run, int64 place,
							 int64 *end);

/* A row's map of imputed values, or NULL. */
extern const uint8 *dataset_imputed(const Dataset *dataset, int64 row);

#endif							/* AMAD_ROWS_DATASET_H */
