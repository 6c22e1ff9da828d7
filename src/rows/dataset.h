/*
 * rows/dataset.h
 *	  The rows of a training: series after series, sorted, filled and scaled.
 *
 * Chunks are cut from runs: stretches of one series without a gap.  The last
 * rows of every series that is long enough are held out of training.
 */
#ifndef AMAD_ROWS_DATASET_H
#define AMAD_ROWS_DATASET_H

#include "model/model.h"
#include "rows/series.h"

/* A stretch of neighbouring rows of one series. */
typedef struct DatasetRun
{
	int			series;
	int64		first;			/* row of the dataset */
	int64		rows;
	int64		number;			/* of the first row, within its series */
} DatasetRun;

/* Consecutive runs: first … last - 1. */
typedef struct RunRange
{
	int			first;
	int			last;
} RunRange;

typedef struct DatasetSeries
{
	char	   *key;			/* series_key.h; NULL: the only series */
	int64		rows;			/* that were offered, those left out included */
	int64		held_from;		/* number of the first row that is held out; rows: none is */
	double	   *mean;			/* (features) */
	double	   *std;			/* (features) */
	int64	   *known;			/* (features) values that were given */
	double		step;
	double		max_gap;
} DatasetSeries;

/* What was done to the rows, for the summary. */
typedef struct DatasetFacts
{
	int64		rows;			/* used for training and calibration */
	int64		offered;		/* seen, of series long enough */
	int64		duplicates;		/* rows left out: their timestamp had occurred */
	int64		without_ts;		/* rows left out: no timestamp */
	int64		labelled;		/* rows left out: known to be bad */
	int64		short_series;	/* series left out */
	int64		gaps;			/* between rows of a series */
	SeriesFacts values;
} DatasetFacts;

typedef struct Dataset
{
	MemoryContext context;
	Budget		budget;
	const Options *options;
	int			features;
	ModelPlan		plan;
	Oid			ts_type;

	Size		reserve;		/* bytes to be left for training; with sampling */
	bool		sampling;		/* rows beyond the budget are left out, else an ERROR */
	int			level;			/* of 2^level blocks one is kept */

	Series	   *open;			/* the series being collected; NULL: none */
	char	   *open_key;
	int64		open_number;	/* of its next row */

	float	   *rows;			/* (nrows, features) scaled, within plan.bound */
	int64	   *ts;				/* (nrows) */
	uint8	   *imputed;		/* (nrows, IMPUTED_BYTES) or NULL: nothing is */
	int64		nrows;
	int64		room;
	DatasetRun *runs;
	int			nruns;
	DatasetSeries *series;
	int			nseries;
	DatasetFacts facts;
} Dataset;

/*
 * An empty dataset in a child of parent.  options must outlive it.  sampling:
 * rows come in order of series and time, and whole blocks of them are left out
 * when they and `reserve` bytes more would exceed maintenance_work_mem.
 */
extern Dataset *dataset_open(MemoryContext parent, const Options *options, int features,
							 Oid ts_type, bool sampling, Size reserve);
extern void dataset_close(Dataset *dataset);

/* A series begins; its rows follow.  key is copied; NULL: the only series. */
extern void dataset_begin(Dataset *dataset, const char *key);
extern void dataset_add(Dataset *dataset, int64 ts, const double *values);

/* A row of the open series that is left out: its neighbours are no neighbours. */
extern void dataset_skip(Dataset *dataset);

/*
 * No more rows come.  Sets mean and std of all rows together in stats, and step
 * and max_gap.  ERROR when no series is long enough, or a feature has no value.
 */
extern void dataset_finish(Dataset *dataset, ModelStats *stats);

/*
 * Instead of all this: series and rows that are scaled already, none of which is
 * trained on.  `begins`: it is no neighbour of the row before.
 */
extern void dataset_begin_scaled(Dataset *dataset, const char *key);
extern void dataset_add_scaled(Dataset *dataset, bool begins, int64 ts, const float *scaled,
							   const uint8 *imputed);

/* All runs, and the runs of the series that begins with a run; they are consecutive. */
extern RunRange dataset_all_runs(const Dataset *dataset);
extern RunRange dataset_series_runs(const Dataset *dataset, int first);

/* Rows of a run before the first held out, and the map of a row (NULL: nothing imputed). */
extern int64 dataset_training_rows(const Dataset *dataset, const DatasetRun *run);
extern const uint8 *dataset_imputed(const Dataset *dataset, int64 row);

#endif							/* AMAD_ROWS_DATASET_H */
