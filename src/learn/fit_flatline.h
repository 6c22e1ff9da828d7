/*
 * learn/fit_flatline.h
 *	  Flatlines: how little the features move in training (docs/model.md, Flatlines).
 */
#ifndef AMAD_LEARN_FIT_FLATLINE_H
#define AMAD_LEARN_FIT_FLATLINE_H

#include "learn/calibration_rows.h"

/* Bytes that fit_flatlines() and add_flatline_evidence() allocate at most. */
extern Size fit_flatline_bytes(const Model *model);

/*
 * Sets activity and flatline in stats from the rows of runs that have a raw
 * score, without evidence of flatlines so far.  Without such rows the figures stay.  A
 * recalibration can lower activity only, and flatline stays.
 */
extern void fit_flatlines(CalibrationRows *rows, RunRange runs, ModelStats *stats);

/* The evidence of a flatline, from the mean raw score of rows. */
extern double flatline_of_mean(const Model *model, double mean);

/* Adds the evidence of flatlines to the raw scores of a run. */
extern void add_flatline_evidence(CalibrationRows *rows, const DatasetRun *run,
								  const ModelStats *stats);

#endif							/* AMAD_LEARN_FIT_FLATLINE_H */
