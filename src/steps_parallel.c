/*
 * steps_parallel.c
 *	  The steps of a training on PostgreSQL's parallel workers.
 *
 * Rows, plan and the exchange of gradients stand in dynamic shared memory.  The
 * leader takes part like a worker.  The barrier is static: a worker that came
 * first must not find itself the only participant and run ahead, so workers wait
 * until the leader has counted them.
 */
#include "postgres.h"
#include "compat.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/barrier.h"
#include "storage/condition_variable.h"
#include "storage/spin.h"
#include "tcop/tcopprot.h"

#include "steps.h"

#define KEY_SHARED UINT64CONST(0xA3AD000000000001)
#define KEY_ROWS UINT64CONST(0xA3AD000000000002)
#define KEY_GRADS UINT64CONST(0xA3AD000000000003)
#define KEY_LOSSES UINT64CONST(0xA3AD000000000004)
#define KEY_QUERY UINT64CONST(0xA3AD000000000005)

typedef struct StepsShared
{
	StepsPlan	plan;
	ConditionVariable counted;
	slock_t		mutex;
	int			participants;	/* 0 until the leader has counted; under mutex */
	Barrier		barrier;
} StepsShared;

PGDLLEXPORT void amad_steps_worker(dsm_segment *segment, shm_toc *toc);

static Size
rows_bytes(const StepsPlan *plan)
{
	return mul_size(mul_size(sizeof(float), plan->shape.features), plan->rows);
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
	Size		replica = sizeof(float) * nn_params_size(&plan->shape);

	return workers == 0 ? 0
		: rows_bytes(plan) + grads_bytes(plan) + losses_bytes(plan) +
		workers * (steps_bytes(plan) + replica);
}

static void
meet(void *arg)
{
	BarrierArriveAndWait(&((StepsShared *) arg)->barrier, PG_WAIT_EXTENSION);
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
	const float *rows = shm_toc_lookup(toc, KEY_ROWS, false);
	StepsExchange exchange;
	StepsReport report;
	float	   *params;

	debug_query_string = shm_toc_lookup(toc, KEY_QUERY, true);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	wait_until_counted(shared);
	exchange = exchange_of(shared, toc, ParallelWorkerNumber + 1);
	params = palloc_extended(sizeof(float) * nn_params_size(&shared->plan.shape), MCXT_ALLOC_HUGE);
	steps_participate(&shared->plan, rows, params, &report, &exchange);
}

/* ---- the leader --------------------------------------------------------------------------- */

static ParallelContext *
create_context(const StepsPlan *plan, int workers)
{
	ParallelContext *pcxt = CreateParallelContext("amad", "amad_steps_worker", workers);

	shm_toc_estimate_chunk(&pcxt->estimator, sizeof(StepsShared));
	shm_toc_estimate_chunk(&pcxt->estimator, rows_bytes(plan));
	shm_toc_estimate_chunk(&pcxt->estimator, grads_bytes(plan));
	shm_toc_estimate_chunk(&pcxt->estimator, losses_bytes(plan));
	shm_toc_estimate_keys(&pcxt->estimator, 4);
	if (debug_query_string)
	{
		shm_toc_estimate_chunk(&pcxt->estimator, strlen(debug_query_string) + 1);
		shm_toc_estimate_keys(&pcxt->estimator, 1);
	}
	InitializeParallelDSM(pcxt);
	return pcxt;
}

static StepsShared *
fill_context(ParallelContext *pcxt, const StepsPlan *plan, const float *rows)
{
	StepsShared *shared = shm_toc_allocate(pcxt->toc, sizeof(StepsShared));
	float	   *shared_rows = shm_toc_allocate(pcxt->toc, rows_bytes(plan));

	shared->plan = *plan;
	shared->participants = 0;
	SpinLockInit(&shared->mutex);
	ConditionVariableInit(&shared->counted);
	memcpy(shared_rows, rows, rows_bytes(plan));
	shm_toc_insert(pcxt->toc, KEY_SHARED, shared);
	shm_toc_insert(pcxt->toc, KEY_ROWS, shared_rows);
	shm_toc_insert(pcxt->toc, KEY_GRADS, shm_toc_allocate(pcxt->toc, grads_bytes(plan)));
	shm_toc_insert(pcxt->toc, KEY_LOSSES, shm_toc_allocate(pcxt->toc, losses_bytes(plan)));
	if (debug_query_string)
	{
		char	   *query = shm_toc_allocate(pcxt->toc, strlen(debug_query_string) + 1);

		strcpy(query, debug_query_string);
		shm_toc_insert(pcxt->toc, KEY_QUERY, query);
	}
	return shared;
}

/* Counts the workers that have come, and lets them begin. */
static void
begin(ParallelContext *pcxt, StepsShared *shared)
{
	WaitForParallelWorkersToAttach(pcxt);
	BarrierInit(&shared->barrier, pcxt->nworkers_launched + 1);
	SpinLockAcquire(&shared->mutex);
	shared->participants = pcxt->nworkers_launched + 1;
	SpinLockRelease(&shared->mutex);
	ConditionVariableBroadcast(&shared->counted);
}

bool
steps_run_parallel(const StepsPlan *plan, const float *rows, float *params, int workers,
				   StepsReport *report)
{
	ParallelContext *pcxt;

	EnterParallelMode();
	pcxt = create_context(plan, workers);
	if (pcxt->seg != NULL)		/* else there is no shared memory to be had */
	{
		StepsShared *shared = fill_context(pcxt, plan, rows);

		LaunchParallelWorkers(pcxt);
		if (pcxt->nworkers_launched > 0)
		{
			StepsExchange exchange;

			begin(pcxt, shared);
			report->workers = pcxt->nworkers_launched;
			ereport(DEBUG1,
					(errmsg_internal("training with %d parallel workers", report->workers)));
			exchange = exchange_of(shared, pcxt->toc, 0);
			steps_participate(plan, rows, params, report, &exchange);
		}
		WaitForParallelWorkersToFinish(pcxt);
	}
	DestroyParallelContext(pcxt);
	ExitParallelMode();
	return report->workers > 0;
}
