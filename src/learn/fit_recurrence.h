/*
 * learn/fit_recurrence.h
 *	  Recurrence: the evidence that rows usually have at their time of day or week.
 */
#ifndef AMAD_LEARN_FIT_RECURRENCE_H
#define AMAD_LEARN_FIT_RECURRENCE_H

#include "learn/calibration_rows.h"

/*
 * Computes the profile of a series, or of all, from the raw scores, which it does not change
 * yet; overwrites scratch.  If nothing recurs, it has no profile.  A series that is too short has
 * the profile of `others`.
 */
extern void fit_recurrence(CalibrationRows *rows, RunRange runs, const ModelStats *others,
						   ModelStats *stats);

/* Gives a series the profile of all rows. */
extern void take_recurrence(const ModelStats *all, ModelStats *series);

/* Applies the profile to the raw scores of a run. */
extern void apply_recurrence(CalibrationRows *rows, const DatasetRun *run, const ModelStats *stats);

#endif							/* AMAD_LEARN_FIT_RECURRENCE_H */
