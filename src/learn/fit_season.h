/*
 * learn/fit_season.h
 *	  Seasonality: the periods of a model, and their figures (docs/model.md, Season).
 */
#ifndef AMAD_LEARN_FIT_SEASON_H
#define AMAD_LEARN_FIT_SEASON_H

#include "learn/calibration_rows.h"
#include "learn/series_summary.h"

/*
 * The periods of the options that the rows of a finished dataset are long and dense enough
 * for.  step: median distance of their timestamps.  ERROR if a period that was specified is
 * not among them.
 */
extern nn_season fit_season_periods(const Options *options, const Dataset *dataset, double step);

/* Bytes of the figures of the season, and of fitting them. */
extern Size fit_season_bytes(const Model *model);

/*
 * Sets weights and gain in stats from runs.  A series with too few rows
 * gets the weights of `others`, the figures of all rows (NULL: stats are those).
 */
extern void fit_season_weights(const Model *model, const Dataset *dataset, RunRange runs,
							   const ModelStats *others, ModelStats *stats);

/* Whether the rows of a series span its longest period several times. */
extern bool fit_season_spans(const Model *model, const Dataset *dataset, RunRange runs);

/*
 * Adds the deviations of the rows of runs from the season of all series to a summary; and sets gain,
 * spread and scale of all series from it, as far as it has values.
 */
extern void fit_season_summarize(const CalibrationRows *rows, RunRange runs,
								 SeriesSummary *summary);
extern void fit_season_merged(Model *model, const SeriesSummary *summary);

/* Sets spread and scale in stats from the rows of runs that count. */
extern void fit_season_spread(const CalibrationRows *rows, RunRange runs, ModelStats *stats);

#endif							/* AMAD_LEARN_FIT_SEASON_H */
