/*
 * learn/threshold.h
 *	  Scales of the horizons (theta) and the threshold, from raw scores.
 */
#ifndef AMAD_LEARN_THRESHOLD_H
#define AMAD_LEARN_THRESHOLD_H

#include "learn/calibration_rows.h"

/* How well a model fits recent rows, by their severities. */
typedef struct RowFit
{
	double		median;
	bool		lasting;		/* flagged rows are spread over most of the time */
	bool		drifted;		/* it no longer fits them: this is more than an incident */
} RowFit;

/* From n severities in order of time, which are reordered. */
extern RowFit threshold_row_fit(double *severities, int64 n);

/* The result of a recalibration. */
typedef struct Recalibrated
{
	int64		rows;			/* with a score */
	int64		flagged;		/* rows that the new threshold flags */
	double		threshold_ratio; /* new / old threshold on the same scale, of the series where it
								 * is greatest; 0: not known */
	int			series;			/* with new figures */
	int			kept;			/* with too few rows: their figures stay */
	int64		most;			/* rows with a score of the series that has most, or of all */
} Recalibrated;

/* The quantiles of all scores and of those held out that a training's threshold is computed from. */
#define THRESHOLD_GAPS 3
extern const double threshold_gap_quantiles[THRESHOLD_GAPS];

/*
 * The threshold of a training from these quantiles of the scores of held-out rows and of all n
 * rows, and from the quantile 1 - threshold_share() of all rows.
 */
extern double threshold_share(const Model *model, int64 n);
extern double threshold_of_quantiles(const double *held_out, const double *all, double high,
									 int64 n);

/*
 * Collects the anomaly scores of all rows of runs, or of those held out, in scratch; returns
 * their number.
 */
extern int64 threshold_collect_scores(CalibrationRows *rows, RunRange runs, const ModelStats *stats,
									  bool held_out);

/*
 * Sets theta and threshold in stats, whose other figures are set, from the raw scores of
 * runs first … last - 1.  Adds the numbers of scored and flagged rows to result unless it
 * is NULL.
 */
extern void fit_threshold(CalibrationRows *rows, RunRange runs, ModelStats *stats,
						  Recalibrated *result);

#endif							/* AMAD_LEARN_THRESHOLD_H */
