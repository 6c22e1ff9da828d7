/*
 * learn/fit_level.h
 *	  Levels: the highest level of evidence in the training rows.
 */
#ifndef AMAD_LEARN_FIT_LEVEL_H
#define AMAD_LEARN_FIT_LEVEL_H

#include "learn/calibration_rows.h"

/* Sets the highest level of a series, or of all, from the raw scores. */
extern void fit_level(const CalibrationRows *rows, RunRange runs, ModelStats *stats);

#endif							/* AMAD_LEARN_FIT_LEVEL_H */
