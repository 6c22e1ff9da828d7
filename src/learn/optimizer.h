/*
 * learn/optimizer.h
 *	  The training steps of the network, in one process or several.
 *
 * A batch is divided into shards of NN_SHARD_CHUNKS chunks, regardless of the number of
 * processes.  Each process has a copy of the weights, computes the gradients of its
 * shards, adds the gradients of all shards in the same order, and takes the same step.
 * So all copies stay equal to the last bit, and the model does not depend on the number
 * of processes.
 */
#ifndef AMAD_LEARN_OPTIMIZER_H
#define AMAD_LEARN_OPTIMIZER_H

#include "learn/corrupt_chunk.h"
#include "learn/exchange.h"
#include "rows/dataset.h"

#define LOSS_POINTS 20			/* points of the loss curve at most */

/* Everything that determines a training except for the rows; flat, so it can be shared. */
typedef struct OptimizerPlan
{
	/* network */
	nn_shape	shape;
	unsigned	without;		/* NN_WITHOUT_*: parts of the network held at 0 */
	bool		warm;			/* weights are given, not initialized */

	/* steps */
	nn_objective objective;
	double		learning_rate;
	uint64		seed;
	int64		steps;
	double		passes;			/* over the training rows, on average */
	double		later;			/* work that follows, in rows that take as long; for progress */
	int			batch_size;		/* chunks */
	int			chunk_length;	/* rows */

	/* rows */
	double		clip;			/* of the values that the network gets */
	Corruption	corruption;
	int64		rows;			/* of the dataset */
	int64		starts;			/* rows that a chunk can begin with */
	int			nruns;			/* ranges of such rows */
} OptimizerPlan;

/* A range of rows that chunks can begin with. */
typedef struct OptimizerRun
{
	int64		first;			/* row of the dataset */
	int64		before;			/* starts in the ranges before it */
} OptimizerRun;

typedef struct OptimizerRows
{
	const float *rows;			/* (plan->rows, C) */
	const OptimizerRun *runs;	/* (plan->nruns) */
	const uint8 *held_out;		/* (plan->rows) 1: the row has no loss */
} OptimizerRows;

typedef struct OptimizerReport
{
	double		curve[LOSS_POINTS]; /* total loss, means of equal parts of the steps */
	int			points;
	int			workers;		/* without the leader */
} OptimizerReport;

/* The plan for a dataset, and the rows for it; runs are allocated in the current context. */
extern OptimizerPlan optimizer_plan(const Dataset *dataset, OptimizerRows *rows);
extern int	optimizer_shards(const OptimizerPlan *plan);

/* Bytes that a process allocates besides rows and weights. */
extern Size optimizer_bytes(const nn_shape *shape, int batch_size, int chunk_length);

/*
 * Shared memory for `workers` workers and the leader, including the training rows, and the
 * weights and moments of each worker.
 */
extern Size optimizer_shared_bytes(const OptimizerPlan *plan, int workers);

/*
 * The number of workers to request.  0 for a small training and in a worker; as many as
 * fit in maintenance_work_mem with `bytes` of other memory.
 */
extern int	optimizer_workers(const OptimizerPlan *plan, Size bytes);

/* Trains params with up to `workers` workers.  They are initialized unless plan->warm. */
extern void optimizer_run(const OptimizerPlan *plan, const OptimizerRows *rows, float *params,
						  int workers, OptimizerReport *report);

/* The training as one participant runs it; exchange NULL: the only one. */
extern void optimizer_participate(const OptimizerPlan *plan, const OptimizerRows *rows,
								  float *params, OptimizerReport *report,
								  const GradientExchange *exchange);

/* Trains with workers.  False, with nothing done, if no worker could be started. */
extern bool optimizer_run_parallel(const OptimizerPlan *plan, const OptimizerRows *rows,
								   float *params, int workers, OptimizerReport *report);

#endif							/* AMAD_LEARN_OPTIMIZER_H */
