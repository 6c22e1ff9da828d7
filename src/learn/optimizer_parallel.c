/*
 * learn/optimizer_parallel.c
 *	  The steps of a training on PostgreSQL's parallel workers.
 *
 * Rows, plan and the exchange of gradients stand in dynamic shared memory.  The
 * leader takes part like a worker.  Workers wait until the leader has counted them:
 * one that came first must not find itself the only participant and run ahead.
 *
 * Participants meet once a step, some hundred times a second, and come within a
 * part of a millisecond of each other.  To be put to sleep and woken each time
 * would cost as much as it saves (a Barrier did), so they look out for each other
 * for a while first.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "learn/optimizer.h"
#include "pg/parallel.h"

#define KEY_SHARED UINT64CONST(0xA3AD000000000001)
#define KEY_ROWS UINT64CONST(0xA3AD000000000002)
#define KEY_GRADS UINT64CONST(0xA3AD000000000003)
#define KEY_LOSSES UINT64CONST(0xA3AD000000000004)
#define KEY_RUNS UINT64CONST(0xA3AD000000000005)
#define KEY_WEIGHTS UINT64CONST(0xA3AD000000000006)	/* given ones, when warm */

typedef struct StepsShared
{
	StepsPlan	plan;
	ConditionVariable counted;
	slock_t		mutex;
	int			participants;	/* 0 until the leader has counted; under mutex */
	pg_atomic_uint64 arrived;	/* arrivals at all meetings */
	ConditionVariable met;		/* for those who have waited long */
} StepsShared;

PGDLLEXPORT void amad_steps_worker(dsm_segment *segment, shm_toc *toc);

static Size
rows_bytes(const StepsPlan *plan)
{
	return mul_size(mul_size(sizeof(float), plan->shape.features), plan->rows);
}

static Size
runs_bytes(const StepsPlan *plan)
{
	return mul_size(sizeof(StepsRun), plan->nruns);
}

static Size
weights_bytes(const StepsPlan *plan)
{
	return mul_size(sizeof(float), nn_params_size(&plan->shape));
}

static Size
grads_bytes(const StepsPlan *plan)
{
	return mul_size(2 * steps_shards(plan) * sizeof(float), nn_params_size(&plan->shape));
}

static Size
losses_bytes(const StepsPlan *plan)
{
	return 2 * steps_shards(plan) * sizeof(nn_losses);
}

/* With workers, each has weights and moments of its own. */
Size
steps_shared_bytes(const StepsPlan *plan, int workers)
{
	return workers == 0 ? 0
		: rows_bytes(plan) + runs_bytes(plan) + weights_bytes(plan) + grads_bytes(plan) +
		losses_bytes(plan) + workers * (steps_bytes(&plan->shape, plan->batch_size, plan->chunk_length) +
				   weights_bytes(plan));
}

#define LOOKS 20000				/* for the others, before going to sleep: about a millisecond */

/* Returns when all have called it as often as this participant. */
static void
meet(void *arg)
{
	StepsShared *shared = arg;
	uint64		arrival = pg_atomic_add_fetch_u64(&shared->arrived, 1);
	uint64		goal = (arrival + shared->participants - 1) / shared->participants * shared->participants;

	if (arrival == goal)
		ConditionVariableBroadcast(&shared->met);
	for (int i = 0; i < LOOKS && pg_atomic_read_u64(&shared->arrived) < goal; i++)
		SPIN_DELAY();
	if (pg_atomic_read_u64(&shared->arrived) < goal)
	{
		ConditionVariablePrepareToSleep(&shared->met);
		while (pg_atomic_read_u64(&shared->arrived) < goal)
			ConditionVariableSleep(&shared->met, PG_WAIT_EXTENSION);
		ConditionVariableCancelSleep();
	}
	/* what they wrote before is seen after */
	pg_memory_barrier();
}

static StepsExchange
exchange_of(StepsShared *shared, shm_toc *toc, int me)
{
	StepsExchange x = {
		.participants = shared->participants,
		.me = me,
		.grads = shm_toc_lookup(toc, KEY_GRADS, false),
		.losses = shm_toc_lookup(toc, KEY_LOSSES, false),
		.meet = meet,
		.arg = shared,
	};

	return x;
}

/* ---- workers ---------------------------------------------------------------------------- */

static void
wait_until_counted(StepsShared *shared)
{
	int			participants;

	ConditionVariablePrepareToSleep(&shared->counted);
	for (;;)
	{
		SpinLockAcquire(&shared->mutex);
		participants = shared->participants;
		SpinLockRelease(&shared->mutex);
		if (participants > 0)
			break;
		ConditionVariableSleep(&shared->counted, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

void
amad_steps_worker(dsm_segment *segment, shm_toc *toc)
{
	StepsShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	StepsRows	rows = {
		.rows = shm_toc_lookup(toc, KEY_ROWS, false),
		.runs = shm_toc_lookup(toc, KEY_RUNS, false),
	};
	StepsExchange exchange;
	StepsReport report;
	float	   *params;

	parallel_begin_worker(toc);
	wait_until_counted(shared);
	exchange = exchange_of(shared, toc, ParallelWorkerNumber + 1);
	params = palloc_extended(weights_bytes(&shared->plan), MCXT_ALLOC_HUGE);
	parallel_copy(params, shm_toc_lookup(toc, KEY_WEIGHTS, false), weights_bytes(&shared->plan));
	steps_participate(&shared->plan, &rows, params, &report, &exchange);
}

/* ---- the leader --------------------------------------------------------------------------- */

static ParallelContext *
open_context(const StepsPlan *plan, int workers)
{
	const ParallelChunk chunks[] = {
		{KEY_SHARED, sizeof(StepsShared)},
		{KEY_ROWS, rows_bytes(plan)},
		{KEY_RUNS, runs_bytes(plan)},
		{KEY_WEIGHTS, weights_bytes(plan)},
		{KEY_GRADS, grads_bytes(plan)},
		{KEY_LOSSES, losses_bytes(plan)},
	};

	return parallel_open("amad_steps_worker", workers, chunks, lengthof(chunks));
}

static StepsShared *
fill_context(shm_toc *toc, const StepsPlan *plan, const StepsRows *rows, const float *params)
{
	StepsShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);

	shared->plan = *plan;
	shared->participants = 0;
	SpinLockInit(&shared->mutex);
	ConditionVariableInit(&shared->counted);
	ConditionVariableInit(&shared->met);
	pg_atomic_init_u64(&shared->arrived, 0);
	parallel_copy(shm_toc_lookup(toc, KEY_ROWS, false), rows->rows, rows_bytes(plan));
	parallel_copy(shm_toc_lookup(toc, KEY_RUNS, false), rows->runs, runs_bytes(plan));
	parallel_copy(shm_toc_lookup(toc, KEY_WEIGHTS, false), params, weights_bytes(plan));
	return shared;
}

/* Counts the workers that have come, and lets them begin. */
static void
begin(ParallelContext *pcxt, StepsShared *shared)
{
	WaitForParallelWorkersToAttach(pcxt);
	SpinLockAcquire(&shared->mutex);
	shared->participants = pcxt->nworkers_launched + 1;
	SpinLockRelease(&shared->mutex);
	ConditionVariableBroadcast(&shared->counted);
}

bool
steps_run_parallel(const StepsPlan *plan, const StepsRows *rows, float *params, int workers,
				   StepsReport *report)
{
	ParallelContext *pcxt = open_context(plan, workers);
	StepsShared *shared;
	StepsExchange exchange;

	if (pcxt == NULL)
		return false;
	shared = fill_context(pcxt->toc, plan, rows, params);
	if (!parallel_launch(pcxt))
		return false;
	begin(pcxt, shared);
	report->workers = pcxt->nworkers_launched;
	ereport(DEBUG1, (errmsg_internal("training with %d parallel workers", report->workers)));
	exchange = exchange_of(shared, pcxt->toc, 0);
	steps_participate(plan, rows, params, report, &exchange);
	parallel_close(pcxt);
	return true;
}
