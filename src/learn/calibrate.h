/*
 * learn/calibrate.h
 *	  Calibration of a model, on its training rows or on later ones.
 */
#ifndef AMAD_LEARN_CALIBRATE_H
#define AMAD_LEARN_CALIBRATE_H

#include "learn/series_summary.h"
#include "learn/threshold.h"

/* ERROR unless a recalibration has enough rows with a score. */
extern void calibrate_check_scored(const Model *model, int64 scored);

/* Bytes that calibrate_model() and recalibrate_model() allocate for `rows` rows. */
extern Size calibrate_bytes(const Model *model, int64 rows);
extern Size recalibrate_bytes(const Model *model, int64 rows);

/* The least number of rows with a score that figures are computed from. */
extern int64 calibrate_least_rows(const Options *options);

/*
 * Sets the figures of a trained model, and those of the series of a fleet; the scaling of
 * all rows is already set.  A series with too few held-out rows gets the figures of all
 * rows.  ERROR if no row has a score.
 */
extern void calibrate_model(Model *model, const Dataset *dataset);

/*
 * Does the same for a calibrated model on recent rows, which can contain anomalies.  Series
 * that are not in the model count for the figures of all rows only.  With some_series, those
 * are not computed.  ERROR if there are too few rows.
 */
extern void recalibrate_model(Model *model, const Dataset *dataset, const Recorded *recorded,
							  Recalibrated *result);

/*
 * Calibrates one series of a model, which need not contain it, on a dataset of
 * dataset_open_calibration().  Sets stats, whose scaling is set, and returns true if the
 * series has enough rows for figures of its own.  summary receives what its rows contribute
 * to the figures of all series; those of the model are used where figures depend on them.
 */
extern bool calibrate_series(Model *model, const Dataset *dataset, ModelStats *stats,
							 SeriesSummary *summary);

/*
 * Sets the figures of all rows, except mean, std, step and max_gap, from the summaries of all
 * series.  What a summary does not contain stays: theta, the limits of activity, the weights of the
 * season, and what recurs.
 */
extern void calibrate_merged(Model *model, const SeriesSummary *summary);

/*
 * Rows that a training's calibration passes through the network, some of them several times;
 * scale: how many times as many rows the dataset would have.
 */
extern double calibrate_passed_rows(const Model *model, const Dataset *dataset, double scale);

#endif							/* AMAD_LEARN_CALIBRATE_H */
