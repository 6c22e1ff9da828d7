/*
 * learn/threshold.h
 *	  Scales of the horizons and the threshold, from raw scores.
 */
#ifndef AMAD_LEARN_THRESHOLD_H
#define AMAD_LEARN_THRESHOLD_H

#include "learn/calibration_rows.h"

/* What became of the rows of a recalibration. */
typedef struct Recalibrated
{
	int64		rows;			/* with a score */
	int64		flagged;		/* of them, by the new threshold */
	int			series;			/* with new figures of their own */
	int			kept;			/* with too few rows: they keep theirs */
} Recalibrated;

/*
 * theta and threshold from the rows of the runs first … last - 1, to stats, whose other
 * figures are there.  Their scores, and those above the threshold, are added to result
 * unless it is NULL.
 */
extern void threshold_set(CalibrationRows *rows, int first, int last, ModelStats *stats,
						  Recalibrated *result);

#endif							/* AMAD_LEARN_THRESHOLD_H */
