/*
 * learn/fit_season.h
 *	  The season of a model: its periods, and its figures from rows (docs/model.md,
 *	  Season).
 */
#ifndef AMAD_LEARN_FIT_SEASON_H
#define AMAD_LEARN_FIT_SEASON_H

#include "learn/calibration_rows.h"

/*
 * The periods that the options ask for and the rows, which are complete, can tell
 * something about.  step: median distance of their timestamps.  ERROR when a period
 * that was given is not among these.
 */
extern nn_season season_choose(const Options *options, const Dataset *dataset, double step);

/* Bytes that a model's season takes, while it is computed. */
extern Size season_bytes(const Model *model);

/*
 * Weights and gain of the runs first … last - 1, into stats.  Of a series with too
 * few rows for it, the weights are those of all series together, `others` (NULL:
 * these are all).
 */
extern void season_fit(const Model *model, const Dataset *dataset, int first, int last,
					   const ModelStats *others, ModelStats *stats);

/* Spread, and the scale that follows, from the rows of the runs first … last - 1 that count. */
extern void season_measure(const CalibrationRows *rows, int first, int last, ModelStats *stats);

#endif							/* AMAD_LEARN_FIT_SEASON_H */
