/*
 * learn/calibrate.h
 *	  Calibration of a trained model on its training rows (docs/model.md, Score),
 *	  or on later ones (docs/recalibrate.md).
 */
#ifndef AMAD_LEARN_CALIBRATE_H
#define AMAD_LEARN_CALIBRATE_H

#include "learn/threshold.h"

/* Bytes that calibrate_model() allocates for so many rows. */
extern Size calibrate_bytes(const Model *model, int64 rows);

/*
 * Sets rho, mu, theta and threshold of the model, whose other figures of all rows
 * and weights are there; and all figures of the series of a fleet.  A series with
 * too few held-out rows gets those of all together.  ERROR when no row has a score.
 */
extern void calibrate_model(Model *model, const Dataset *dataset);

/*
 * The same for a model that was calibrated before, on rows among which there may be
 * anomalies.  Series of the dataset that the model does not know count for the
 * figures of all together only.  ERROR when there are too few rows.
 */
extern void calibrate_again(Model *model, const Dataset *dataset, const Recorded *recorded,
							Recalibrated *result);

#endif							/* AMAD_LEARN_CALIBRATE_H */
