/*
 * learn/fit_flatline.h
 *	  How little the features of a training move (docs/model.md, Flatlines).
 */
#ifndef AMAD_LEARN_FIT_FLATLINE_H
#define AMAD_LEARN_FIT_FLATLINE_H

#include "learn/calibration_rows.h"

/* Bytes that flatline_set() and flatline_add() allocate at most. */
extern Size flatline_bytes(const Model *model);

/*
 * Sets the activity below which each feature hardly moves, and what that is worth, from
 * the rows of the runs first … last - 1 that have a raw score, still without evidence of
 * flatlines.  Where none has, they stay as they are; when figures only grow, the activity
 * may fall, and what it is worth stays.
 */
extern void flatline_set(CalibrationRows *rows, int first, int last, ModelStats *stats);

/* Adds the evidence of flatlines to the raw scores of a run. */
extern void flatline_add(CalibrationRows *rows, const DatasetRun *run, const ModelStats *stats);

#endif							/* AMAD_LEARN_FIT_FLATLINE_H */
