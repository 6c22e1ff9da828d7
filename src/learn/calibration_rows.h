/*
 * learn/calibration_rows.h
 *	  The rows that a calibration computes figures from, and which of them count.
 *
 * A training calibrates on its own dataset: the model reconstructs the rows, and rows held
 * out of training count for the scales.  A recalibration has recent rows whose
 * reconstructions were recorded while they were read; suspicious rows do not count, and
 * figures do not fall below those of the training.  All files of a calibration ask the
 * functions here instead of distinguishing the two.
 */
#ifndef AMAD_LEARN_CALIBRATION_ROWS_H
#define AMAD_LEARN_CALIBRATION_ROWS_H

#include "rows/dataset.h"
#include "rows/incomplete_rows.h"
#include "score/predict.h"

#define CALIBRATE_LEAST 1e-12	/* of a figure that divides */

/* What a row counts for. */
typedef enum RowUse
{
	ROW_CONTEXT,				/* only the rows after it */
	ROW_SCORED,					/* the threshold, too */
	ROW_KEPT					/* rho, mu and theta, too */
} RowUse;

/* Rows of a recalibration, with what the model says of them; all have their context. */
typedef struct Recorded
{
	const float *expected;		/* (rows, C) */
	const float *signals;		/* (rows, N) */
	const uint8 *use;			/* (rows) RowUse */
	const double *severity;		/* (rows) of the model before; NaN: none */
	const bool *refit;			/* (series) whether rho, mu and theta change */
	double		trim;			/* share of the rows that can be anomalous, 0 … 0.5; with 0 */
	/* figures may fall, too */
	bool		some_series;	/* only figures of series change, not those of all rows */
	bool		part;			/* too few rows are no error, because there are others elsewhere */
	bool		new_contamination;	/* the threshold may fall */
} Recorded;

typedef struct CalibrationRows
{
	/* settings */
	const Model *model;
	const Dataset *dataset;
	const Recorded *recorded;	/* NULL: a training */
	bool		use_all;		/* no held-out row has a score: all rows count as held out */

	/* of the row that is visited */
	const uint8 *imputed;		/* map of what the model did not get; NULL: it got all */
	double		incomplete;		/* as in nn_row */

	/* reconstructions of a training */
	int			context;		/* rows before a row that they depend on; 0 when recorded */
	Prediction	prediction;
	float	   *expected;		/* (PREDICT_ROWS, C) */
	float	   *signals;		/* (PREDICT_ROWS, N) */
	int			ndropped;		/* features that the model does not get; 0: it gets all */
	const int  *dropped;		/* (ndropped) */
	float	   *partial;		/* (PREDICT_ROWS, C) rows without them … */
	uint8	   *partial_imputed;	/* (PREDICT_ROWS, IMPUTED_BYTES) … and their maps */

	/* of each row */
	double	   *raw;			/* (rows) raw score; NaN: none */
	double	   *relation;		/* (rows) of those with a raw score; NULL: not used */
	double	   *scratch;		/* (rows) values that a quantile is computed from */
} CalibrationRows;

/* What to do with a row's reconstruction. */
typedef void (*calibration_visit) (const CalibrationRows *rows, int64 row, const float *expected,
								  const float *signals, void *arg);

/* In the current context; recorded is NULL for a training.  The bytes that it allocates. */
extern CalibrationRows calibration_rows_open(const Model *model, const Dataset *dataset,
											 const Recorded *recorded);
extern Size calibration_rows_bytes(const Model *model, int64 rows);

/* Visits the rows of a run from place to end - 1 that have their whole context in it. */
extern void calibration_rows_visit(CalibrationRows *rows, const DatasetRun *run, int64 place,
								   int64 end, calibration_visit visit, void *arg);

/* Rows before a row that its score depends on. */
extern int64 calibration_rows_warmup(const CalibrationRows *rows);

/*
 * Whether the row at a place of a run counts as one that was not learned: it was held out, or
 * it is a recent row.  *end as in dataset_held_out().
 */
extern bool calibration_rows_held_out(const CalibrationRows *rows, const DatasetRun *run,
									  int64 place, int64 *end);

extern RowUse calibration_rows_use(const CalibrationRows *rows, int64 row);

/*
 * Whether figures of a series, or of all, may fall.  A short quiet period, without its
 * suspicious rows, says less than the training about how far values can go.
 */
extern bool calibration_rows_may_fall(const CalibrationRows *rows, const ModelStats *stats);

/* Whether all figures are computed from runs, or only the threshold. */
extern bool calibration_rows_refit(const CalibrationRows *rows, RunRange runs);

/* Whether figures of all rows are computed, or only those of series. */
extern bool calibration_rows_of_all(const CalibrationRows *rows);

/* A quantile of the first n values in scratch. */
extern double calibration_rows_quantile(CalibrationRows *rows, int64 n, double q);

#endif							/* AMAD_LEARN_CALIBRATION_ROWS_H */
