/*
 * learn/train_model.h
 *	  Training: from a dataset to a model.
 */
#ifndef AMAD_LEARN_TRAIN_MODEL_H
#define AMAD_LEARN_TRAIN_MODEL_H

#include "learn/series_summary.h"
#include "rows/dataset.h"

/* Facts of a training, for its summary. */
typedef struct TrainFacts
{
	DatasetFacts rows;
	int			nseries;		/* of a fleet; 0: the rows are one series */
	int			sampled;		/* about one of `sampled` rows was kept */
	int64		calibrated;		/* rows that a sampled model is calibrated on … */
	double		passed;			/* … and how many rows pass through the model for that, about */
	int64		steps;
	double		passes;			/* over the training rows, on average */
	double		loss;			/* total, mean over the last part of the steps */
	int			workers;
	double		seconds;
} TrainFacts;

/*
 * Trains and calibrates a model in the current context, on a dataset that has all its rows,
 * and closes the dataset.  initial: a model of the same shape whose weights are the initial
 * ones; NULL: random weights.  ERROR if there are too few rows, if missing values cannot be
 * filled, or if more than maintenance_work_mem is needed.
 */
extern Model *train_model(Dataset *dataset, const Model *initial, TrainFacts *facts);

/*
 * Finds the principal components of the rows that are not held out.  They become the params
 * of the model, allocated in `result` because their number was not known before.
 */
extern void train_components(Model *model, const Dataset *dataset, MemoryContext result);

/* Notes in the facts what all rows of a model that was trained on a sample contain. */
extern void train_set_calibrated(Model *model, const SeriesSummary *summary, int nseries,
								 TrainFacts *facts);

/* Error context callback: adds the model's name, as there may be many groups.  NULL: none. */
extern void train_error_context(void *name);

/* Bytes that a training without workers needs besides its rows. */
extern Size train_bytes(const Options *options, int features);

/* The facts as they are stored: a JSON object. */
extern Jsonb *train_facts_to_jsonb(const Model *model, const TrainFacts *facts);

/* Summary of a stored training: jsonb. */
extern Jsonb *train_summary(const char *name, int version, const Model *model,
							const TrainFacts *facts);

#endif							/* AMAD_LEARN_TRAIN_MODEL_H */
