/*
 * train.h
 *	  Training: from a series of rows to a model.
 */
#ifndef AMAD_TRAIN_H
#define AMAD_TRAIN_H

#include "model.h"
#include "series.h"

/* Facts of a training, for its summary. */
typedef struct TrainFacts
{
	SeriesFacts series;
	int64		steps;
	double		loss;			/* total, mean over the last part of the steps */
	int			workers;
	double		seconds;
} TrainFacts;

/*
 * Trains and calibrates a model on the series, which is consumed.  The model is
 * allocated in the current context.  ERRORs: too few rows, duplicate timestamps,
 * missing values that cannot be filled, memory beyond maintenance_work_mem.
 */
extern Model *train_model(Series *series, const Options *options, TrainFacts *facts);

#endif							/* AMAD_TRAIN_H */
