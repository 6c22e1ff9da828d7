/*
 * learn/threshold.h
 *	  Scales of the horizons and the threshold, from raw scores.
 */
#ifndef AMAD_LEARN_THRESHOLD_H
#define AMAD_LEARN_THRESHOLD_H

#include "learn/calibrate.h"

/* What the rows of a dataset have for raw scores, and which of them count. */
typedef struct RawScores
{
	const Model *model;
	const Dataset *dataset;
	const Recorded *recorded;	/* NULL: a training, and every row is ROW_KEPT */
	bool		use_all;		/* no held-out row has a score: all rows count as such */
	double	   *raw;			/* (rows) NaN: none */
	double	   *scratch;		/* (rows) */
} RawScores;

/* Place in a run of its first row that is held out. */
extern int64 threshold_held_place(const RawScores *scores, const DatasetRun *run);

extern RowUse threshold_use_of(const RawScores *scores, int64 row);

/*
 * Figures of recent rows do not fall below those they had: a short quiet time, its
 * suspicious rows left out, knows less than the training of how far values go.
 */
extern bool threshold_only_grows(const RawScores *scores);

/* A recalibration that leaves all figures but the threshold as they are. */
extern bool threshold_alone(const RawScores *scores);

/*
 * theta and threshold from the rows of the runs first … last - 1, to stats, whose other
 * figures are there.  Their scores, and those above the threshold, are added to result
 * unless it is NULL.
 */
extern void threshold_set(RawScores *scores, int first, int last, ModelStats *stats,
						  Recalibrated *result);

#endif							/* AMAD_LEARN_THRESHOLD_H */
