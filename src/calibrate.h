/*
 * calibrate.h
 *	  Calibration of a trained network on its training rows (docs/model.md, Score).
 */
#ifndef AMAD_CALIBRATE_H
#define AMAD_CALIBRATE_H

#include "model.h"

/* Bytes that calibrate_model() allocates for so many rows. */
extern Size calibrate_bytes(const Model *model, int64 rows);

/*
 * Sets rho, mu, theta and threshold.  rows: (nrows, features), scaled; those from
 * held_from on were held out of training.
 */
extern void calibrate_model(Model *model, const float *rows, int64 nrows, int64 held_from);

#endif							/* AMAD_CALIBRATE_H */
