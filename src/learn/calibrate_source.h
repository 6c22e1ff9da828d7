/*
 * learn/calibrate_source.h
 *	  The calibration of a model on all rows of a source, series by series.
 */
#ifndef AMAD_LEARN_CALIBRATE_SOURCE_H
#define AMAD_LEARN_CALIBRATE_SOURCE_H

#include "learn/series_summary.h"
#include "rows/source.h"

/*
 * Whether the rows of a source are on several nodes, and values of its series can be computed there.  Then
 * calibrate_source() computes the calibrations there.
 */
extern bool calibrated_remotely(const Source *source);

/*
 * Replaces the figures of a model that was trained on a sample by those of all rows of a range of
 * its source.  Returns what was counted, and the number of series.
 */
extern SeriesSummary *calibrate_source(Model *model, const Source *source, const SourceRange *range,
									   int *nseries);

#endif							/* AMAD_LEARN_CALIBRATE_SOURCE_H */
