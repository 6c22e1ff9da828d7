/*
 * calibrate.h
 *	  Calibration of a trained model on its training rows (docs/model.md, Score).
 */
#ifndef AMAD_CALIBRATE_H
#define AMAD_CALIBRATE_H

#include "dataset.h"

/* Bytes that calibrate_model() allocates for so many rows. */
extern Size calibrate_bytes(const Model *model, int64 rows);

/*
 * Sets rho, mu, theta and threshold of the model, whose other figures of all rows
 * and weights are there; and all figures of the series of a fleet.  A series with
 * too few held-out rows gets those of all together.  ERROR when no row has a score.
 */
extern void calibrate_model(Model *model, const Dataset *dataset);

#endif							/* AMAD_CALIBRATE_H */
