/*
 * learn/optimizer_parallel.c
 *	  The training steps of the network on PostgreSQL's parallel workers.
 *
 * The plan, the rows and the exchange of gradients are in dynamic shared memory.  The
 * leader takes part like a worker.  Workers wait until the leader has counted them;
 * otherwise the first one could take itself for the only participant.
 *
 * Participants meet once per step, hundreds of times a second, and arrive within a
 * fraction of a millisecond of each other.  Sleeping and waking each time would cost as
 * much as parallelism saves (measured with a Barrier), so a participant spins for about a
 * millisecond before it sleeps.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "learn/optimizer.h"
#include "pg/parallel.h"
#include "pg/progress.h"
#include "pg/settings.h"

#define KEY_SHARED UINT64CONST(0xA3AD000000000001)
#define KEY_ROWS UINT64CONST(0xA3AD000000000002)
#define KEY_GRADS UINT64CONST(0xA3AD000000000003)
#define KEY_LOSSES UINT64CONST(0xA3AD000000000004)
#define KEY_RUNS UINT64CONST(0xA3AD000000000005)
#define KEY_WEIGHTS UINT64CONST(0xA3AD000000000006) /* initial weights, when plan.warm */
#define KEY_HELD_OUT UINT64CONST(0xA3AD000000000007)

/* A training with fewer multiplications takes a tenth of a second: workers start too late. */
#define PARALLEL_WORK 4e9

typedef struct OptimizerShared
{
	OptimizerPlan plan;
	ConditionVariable counted;	/* participants was set */
	slock_t		mutex;
	int			participants;	/* 0 until the leader has set it; under mutex */
	pg_atomic_uint64 arrived;	/* arrivals at all meetings */
	ConditionVariable met;		/* all have arrived; for those that sleep */
} OptimizerShared;

PGDLLEXPORT void amad_train_worker(dsm_segment *segment, shm_toc *toc);

static Size
rows_bytes(const OptimizerPlan *plan)
{
	return mul_size(mul_size(sizeof(float), plan->shape.features), plan->rows);
}

static Size
runs_bytes(const OptimizerPlan *plan)
{
	return mul_size(sizeof(OptimizerRun), plan->nruns);
}

static Size
weights_bytes(const OptimizerPlan *plan)
{
	return mul_size(sizeof(float), nn_params_size(&plan->shape));
}

static Size
grads_bytes(const OptimizerPlan *plan)
{
	return mul_size(2 * optimizer_shards(plan) * sizeof(float), nn_params_size(&plan->shape));
}

static Size
losses_bytes(const OptimizerPlan *plan)
{
	return 2 * optimizer_shards(plan) * sizeof(nn_losses);
}

Size
optimizer_shared_bytes(const OptimizerPlan *plan, int workers)
{
	return workers == 0 ? 0
						: rows_bytes(plan) + plan->rows + runs_bytes(plan) + weights_bytes(plan) +
			grads_bytes(plan) + losses_bytes(plan) +
			workers *
				(optimizer_bytes(&plan->shape, plan->batch_size, plan->chunk_length) +
				 weights_bytes(plan));
}

int
optimizer_workers(const OptimizerPlan *plan, Size bytes)
{
	int			workers = settings_parallel_workers();
	double		work = 3.0 * nn_params_size(&plan->shape) * plan->batch_size * plan->chunk_length *
		plan->steps;

	if (IsInParallelMode() || IsParallelWorker() || work < PARALLEL_WORK)
		return 0;
	workers = Min(workers, optimizer_shards(plan) - 1);
	while (workers > 0 && !budget_fits(bytes + optimizer_shared_bytes(plan, workers)))
		workers--;
	return workers;
}

#define SPINS 20000				/* about a millisecond */

/* Waits until all participants have called it as many times as this one. */
static void
meet_participants(void *arg)
{
	OptimizerShared *shared = arg;
	uint64		arrival = pg_atomic_add_fetch_u64(&shared->arrived, 1);
	uint64		goal = (arrival + shared->participants - 1) / shared->participants *
		shared->participants;

	if (arrival == goal)
		ConditionVariableBroadcast(&shared->met);
	for (int i = 0; i < SPINS && pg_atomic_read_u64(&shared->arrived) < goal; i++)
		SPIN_DELAY();
	if (pg_atomic_read_u64(&shared->arrived) < goal)
	{
		ConditionVariablePrepareToSleep(&shared->met);
		while (pg_atomic_read_u64(&shared->arrived) < goal)
			ConditionVariableSleep(&shared->met, PG_WAIT_EXTENSION);
		ConditionVariableCancelSleep();
	}
	/* what they wrote before is visible now */
	pg_memory_barrier();
}

static GradientExchange
open_exchange(OptimizerShared *shared, shm_toc *toc, int me)
{
	GradientExchange x = {
		.participants = shared->participants,
		.me = me,
		.grads = shm_toc_lookup(toc, KEY_GRADS, false),
		.losses = shm_toc_lookup(toc, KEY_LOSSES, false),
		.meet = meet_participants,
		.arg = shared,
	};

	return x;
}

/* ---- workers ---------------------------------------------------------------------------- */

static void
wait_until_counted(OptimizerShared *shared)
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
amad_train_worker(dsm_segment *segment, shm_toc *toc)
{
	OptimizerShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	OptimizerRows rows = {
		.rows = shm_toc_lookup(toc, KEY_ROWS, false),
		.runs = shm_toc_lookup(toc, KEY_RUNS, false),
		.held_out = shm_toc_lookup(toc, KEY_HELD_OUT, false),
	};
	GradientExchange exchange;
	OptimizerReport report;
	float	   *params;

	parallel_begin_worker(toc);
	wait_until_counted(shared);
	exchange = open_exchange(shared, toc, ParallelWorkerNumber + 1);
	params = palloc_extended(weights_bytes(&shared->plan), MCXT_ALLOC_HUGE);
	parallel_copy(params, shm_toc_lookup(toc, KEY_WEIGHTS, false), weights_bytes(&shared->plan));
	optimizer_participate(&shared->plan, &rows, params, &report, &exchange);
}

/* ---- the leader --------------------------------------------------------------------------- */

static ParallelContext *
open_context(const OptimizerPlan *plan, int workers)
{
	const ParallelChunk chunks[] = {
		{KEY_SHARED, sizeof(OptimizerShared)},
		{KEY_ROWS, rows_bytes(plan)},
		{KEY_RUNS, runs_bytes(plan)},
		{KEY_WEIGHTS, weights_bytes(plan)},
		{KEY_GRADS, grads_bytes(plan)},
		{KEY_LOSSES, losses_bytes(plan)},
		{KEY_HELD_OUT, plan->rows},
	};

	return parallel_open("amad_train_worker", workers, chunks, lengthof(chunks));
}

static OptimizerShared *
fill_context(shm_toc *toc, const OptimizerPlan *plan, const OptimizerRows *rows,
			 const float *params)
{
	OptimizerShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);

	shared->plan = *plan;
	shared->participants = 0;
	SpinLockInit(&shared->mutex);
	ConditionVariableInit(&shared->counted);
	ConditionVariableInit(&shared->met);
	pg_atomic_init_u64(&shared->arrived, 0);
	parallel_copy(shm_toc_lookup(toc, KEY_ROWS, false), rows->rows, rows_bytes(plan));
	parallel_copy(shm_toc_lookup(toc, KEY_RUNS, false), rows->runs, runs_bytes(plan));
	parallel_copy(shm_toc_lookup(toc, KEY_HELD_OUT, false), rows->held_out, plan->rows);
	parallel_copy(shm_toc_lookup(toc, KEY_WEIGHTS, false), params, weights_bytes(plan));
	return shared;
}

/* Counts the workers that were started, and lets them begin. */
static void
release_workers(ParallelContext *pcxt, OptimizerShared *shared)
{
	WaitForParallelWorkersToAttach(pcxt);
	SpinLockAcquire(&shared->mutex);
	shared->participants = pcxt->nworkers_launched + 1;
	SpinLockRelease(&shared->mutex);
	ConditionVariableBroadcast(&shared->counted);
}

bool
optimizer_run_parallel(const OptimizerPlan *plan, const OptimizerRows *rows, float *params,
					   int workers, OptimizerReport *report)
{
	ParallelContext *pcxt = open_context(plan, workers);
	OptimizerShared *shared;
	GradientExchange exchange;

	if (pcxt == NULL)
		return false;
	shared = fill_context(pcxt->toc, plan, rows, params);
	if (!parallel_launch(pcxt))
		return false;
	release_workers(pcxt, shared);
	report->workers = pcxt->nworkers_launched;
	ereport(DEBUG1, (errmsg_internal("training with %d parallel workers", report->workers)));
	progress_set_workers(report->workers);
	exchange = open_exchange(shared, pcxt->toc, 0);
	optimizer_participate(plan, rows, params, report, &exchange);
	parallel_close(pcxt);
	progress_set_workers(0);
	return true;
}
