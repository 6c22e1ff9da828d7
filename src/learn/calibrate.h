/*
 * learn/calibrate.h
 *	  Calibration of a trained model on its training rows (docs/model.md, Score),
 *	  or on later ones (docs/recalibrate.md).
 */
#ifndef AMAD_LEARN_CALIBRATE_H
#define AMAD_LEARN_CALIBRATE_H

#include "rows/dataset.h"

#define CALIBRATE_LEAST 1e-12	/* of a figure that divides */

/* Bytes that calibrate_model() allocates for so many rows. */
extern Size calibrate_bytes(const Model *model, int64 rows);

/*
 * Sets rho, mu, theta and threshold of the model, whose other figures of all rows
 * and weights are there; and all figures of the series of a fleet.  A series with
 * too few held-out rows gets those of all together.  ERROR when no row has a score.
 */
extern void calibrate_model(Model *model, const Dataset *dataset);

/* What a row of a recalibration is used for. */
typedef enum RowUse
{
	ROW_CONTEXT,				/* the rows after it */
	ROW_SCORED,					/* the threshold, too */
	ROW_KEPT					/* rho, mu and theta, too */
} RowUse;

/* What the model has said of the rows of a dataset, which all have their context. */
typedef struct Recorded
{
	const float *expected;		/* (rows, C) */
	const float *signals;		/* (rows, N) */
	const uint8 *use;			/* (rows) RowUse */
	const double *severity;		/* (rows) by the model as it was; NaN: none */
	double		trim;			/* share of the rows that may be anomalous, 0 … 0.5; 0: none is, */
								/* and figures may fall, too */
	bool		threshold_only; /* rho, mu and theta stay */
	bool		new_contamination;	/* the threshold may fall */
} Recorded;

/* What became of it. */
typedef struct Recalibrated
{
	int64		rows;			/* with a score */
	int64		flagged;		/* of them, by the new threshold */
	int			series;			/* with new figures of their own */
	int			kept;			/* with too few rows: they keep theirs */
} Recalibrated;

/*
 * The same for a model that was calibrated before, on rows among which there may be
 * anomalies.  Series of the dataset that the model does not know count for the
 * figures of all together only.  ERROR when there are too few rows.
 */
extern void calibrate_again(Model *model, const Dataset *dataset, const Recorded *recorded,
							Recalibrated *result);

#endif							/* AMAD_LEARN_CALIBRATE_H */
