/*
 * learn/optimizer.h
 *	  The steps of a training, by one process or by several together.
 *
 * A batch is cut into shards of NN_SHARD_CHUNKS chunks, whatever the number of
 * processes.  Each process holds a replica of the weights, computes the gradients
 * of its shards, adds up those of all shards in one order, and takes the same
 * step: replicas stay equal to the last bit, and so does the model, however many
 * processes made it.
 */
#ifndef AMAD_LEARN_OPTIMIZER_H
#define AMAD_LEARN_OPTIMIZER_H

#include "core/network/network.h"
#include "rows/dataset.h"

#define STEPS_CURVE 20			/* points of the loss curve at most */

/* All that fixes a training besides the rows; flat, so it can be shared. */
typedef struct StepsPlan
{
	nn_shape	shape;
	nn_objective objective;
	double		learning_rate;
	uint64		seed;
	double		clip;			/* of the rows, for the network */
	int64		steps;
	int64		rows;			/* of the dataset */
	int64		starts;			/* rows that a chunk can begin with */
	int			nruns;			/* runs that have such rows */
	bool		warm;			/* weights are given, not initialised */
	unsigned	without;		/* NN_WITHOUT_*: parts of the network held at 0 */
	int			chunk_length;
	int			batch_size;
} StepsPlan;

/* A run of rows that chunks are cut from. */
typedef struct StepsRun
{
	int64		first;			/* row of the dataset */
	int64		before;			/* starts in the runs before it */
} StepsRun;

/* The rows to train on. */
typedef struct StepsRows
{
	const float *rows;			/* (plan->rows, C) */
	const StepsRun *runs;		/* (plan->nruns) */
} StepsRows;

/* What the steps tell about themselves. */
typedef struct StepsReport
{
	double		curve[STEPS_CURVE];	/* total loss, means of equal parts of the steps */
	int			points;
	int			workers;		/* besides the leader */
} StepsReport;

/* The plan for a dataset, and the rows for it; runs are allocated in the current context. */
extern StepsPlan steps_plan(const Dataset *dataset, StepsRows *rows);
extern int	steps_shards(const StepsPlan *plan);

/* Bytes that a process allocates beside rows and weights. */
extern Size steps_bytes(const nn_shape *shape, int batch_size, int chunk_length);

/* Workers that would be asked for: 0 for a small job or inside a worker; fewer than
 * the setting allows when `bytes` and what they need exceed maintenance_work_mem. */
extern int	steps_workers_wanted(const StepsPlan *plan, Size bytes);

/* Shared memory that so many workers and the leader need, rows included. */
extern Size steps_shared_bytes(const StepsPlan *plan, int workers);

/*
 * Trains params (initialised here unless plan->warm) with so many workers, in the
 * current context.
 */
extern void steps_run(const StepsPlan *plan, const StepsRows *rows, float *params, int workers,
					  StepsReport *report);

/* ---- between steps.c and steps_parallel.c ------------------------------------------- */

/* Gradients and losses of all shards, where processes meet.  Two sets, by step. */
typedef struct StepsExchange
{
	int			participants;
	int			me;				/* 0: leader */
	float	   *grads;			/* (2, shards, weights) */
	nn_losses  *losses;			/* (2, shards) */
	void		(*meet) (void *arg);	/* returns when all participants have called it */
	void	   *arg;
} StepsExchange;

/* The whole training as one participant sees it; exchange NULL: alone. */
extern void steps_participate(const StepsPlan *plan, const StepsRows *rows, float *params,
							  StepsReport *report, const StepsExchange *exchange);

/* Tries with workers; false when none was to be had, and nothing was done. */
extern bool steps_run_parallel(const StepsPlan *plan, const StepsRows *rows, float *params,
							   int workers, StepsReport *report);

#endif							/* AMAD_LEARN_OPTIMIZER_H */
