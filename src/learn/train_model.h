/*
 * learn/train_model.h
 *	  Training: from a dataset to a model.
 */
#ifndef AMAD_LEARN_TRAIN_MODEL_H
#define AMAD_LEARN_TRAIN_MODEL_H

#include "rows/dataset.h"

/* Facts of a training, for its summary. */
typedef struct TrainFacts
{
	DatasetFacts rows;
	int			nseries;		/* of a fleet; 0: rows of one series */
	int			sampled;		/* of so many rows about one was kept */
	int64		steps;
	double		loss;			/* total, mean over the last part of the steps */
	int			workers;
	double		seconds;
} TrainFacts;

/*
 * Trains and calibrates a model on a dataset that has all its rows; its memory is
 * given back.  The model is allocated in the current context.  initial: weights to
 * begin with, of the same shape; NULL: random ones.  ERRORs: too few rows, missing
 * values that cannot be filled, memory beyond maintenance_work_mem.
 */
extern Model *train_model(Dataset *dataset, const Model *initial, TrainFacts *facts);

/* Bytes that a training needs beside its rows, without workers. */
extern Size train_bytes(const Options *options, int features);

/* The facts as they are stored: a JSON object. */
extern Jsonb *train_facts_to_jsonb(const Model *model, const TrainFacts *facts);

/* Summary of a stored training: jsonb. */
extern Jsonb *train_summary(const char *name, int version, const Model *model,
							const TrainFacts *facts);

#endif							/* AMAD_LEARN_TRAIN_MODEL_H */
