/*
 * score/predict_parallel.c
 *	  Predictions on PostgreSQL's parallel workers.
 *
 * No process waits for a worker to come: a task that none has taken the leader
 * does itself.  A process that takes the task after its last one goes on with its
 * stream; any other task begins with the rows carried in front of it, whose
 * outputs are thrown away.  Either way a row's outputs are the same, bit by bit
 * (nn_stream in nn/nn.h).
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/xact.h"
#include "storage/condition_variable.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "score/predict_parallel.h"
#include "pg/interrupts.h"
#include "pg/settings.h"
#include "pg/parallel.h"

#define KEY_SHARED UINT64CONST(0xA3AD000000000101)
#define KEY_PACKED UINT64CONST(0xA3AD000000000102)
#define KEY_TASKS UINT64CONST(0xA3AD000000000103)
#define KEY_STATES UINT64CONST(0xA3AD000000000104)

/* Multiplications, or what costs as much, that take longer than workers to start: some 50 ms. */
#define PATIENCE 1e9

/* What is told of a task beside its arrays. */
typedef struct TaskState
{
	int			n;
	int			carried;
	bool		done;			/* under mutex */
} TaskState;

typedef struct PoolShared
{
	Predictor	predictor;		/* the leader's, but for its pointers */
	Size		packed_at;		/* of the weights in their chunk */
	int			tasks;
	int			rows;
	ConditionVariable work;		/* a task was submitted, or the pool closed */
	ConditionVariable done;		/* a task was done */
	slock_t		mutex;
	int64		submitted;		/* tasks; all under mutex from here on */
	int64		taken;
	bool		closed;
	TaskState	state[FLEXIBLE_ARRAY_MEMBER];	/* (tasks) */
} PoolShared;

/* A process that does tasks. */
typedef struct Participant
{
	PoolShared *shared;
	char	   *memory;			/* of the tasks */
	const Predictor *predictor;
	Prediction *prediction;
	int64		last;			/* task that the prediction stands behind; NOWHERE */
} Participant;

#define NOWHERE (-2)

struct PredictPool
{
	ParallelContext *pcxt;
	Participant leader;
};

PGDLLEXPORT void amad_predict_worker(dsm_segment *segment, shm_toc *toc);

/* ---- tasks ------------------------------------------------------------------------------ */

static Size
floats(Size n, int m)
{
	return CACHELINEALIGN(mul_size(mul_size(sizeof(float), n), Max(m, 1)));
}

Size
predict_pool_task_bytes(const Predictor *p, int rows)
{
	return CACHELINEALIGN(sizeof(bool) * rows) + floats(p->context + rows, p->shape.features) +
		floats(rows, p->shape.features) + floats(rows, p->signals);
}

static PredictTask
task_at(const Participant *me, int64 number)
{
	const Predictor *p = me->predictor;
	const int	rows = me->shared->rows;
	const int	slot = (int) (number % me->shared->tasks);
	char	   *at = me->memory + predict_pool_task_bytes(p, rows) * slot;
	PredictTask task = {
		.n = me->shared->state[slot].n,
		.carried = me->shared->state[slot].carried,
	};

	task.begins = (bool *) at;
	at += CACHELINEALIGN(sizeof(bool) * rows);
	task.rows = (float *) at + (Size) p->context * p->shape.features;
	at += floats(p->context + rows, p->shape.features);
	task.expected = (float *) at;
	at += floats(rows, p->shape.features);
	task.signals = (float *) at;
	return task;
}

/* The oldest task that nobody has taken; false: there is none.  Under mutex. */
static bool
take(PoolShared *shared, int64 *number)
{
	if (shared->taken == shared->submitted)
		return false;
	*number = shared->taken++;
	return true;
}

static void
do_task(Participant *me, int64 number)
{
	PoolShared *shared = me->shared;
	PredictTask task = task_at(me, number);

	if (task.n > 0)
	{
		if (me->last != number - 1 && !task.begins[0])
			predict_carried(me->prediction, &task);
		predict_task(me->prediction, &task);
		me->last = number;
	}
	else if (me->last == number - 1)
		me->last = number;		/* nothing lies between */
	SpinLockAcquire(&shared->mutex);
	shared->state[number % shared->tasks].done = true;
	SpinLockRelease(&shared->mutex);
}

/* ---- workers ------------------------------------------------------------------------------ */

/* The next task, as soon as there is one; false: there will be none. */
static bool
await_work(PoolShared *shared, int64 *number)
{
	bool		got;
	bool		closed;

	ConditionVariablePrepareToSleep(&shared->work);
	for (;;)
	{
		SpinLockAcquire(&shared->mutex);
		got = take(shared, number);
		closed = shared->closed;
		SpinLockRelease(&shared->mutex);
		if (got || closed)
			break;
		ConditionVariableSleep(&shared->work, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	return got;
}

/* The model in memory of the worker's own: its pointers are those of a process. */
static Predictor *
worker_predictor(const PoolShared *shared, shm_toc *toc)
{
	Predictor  *p = palloc0(sizeof(Predictor));
	char	   *packed = shm_toc_lookup(toc, KEY_PACKED, false);

	*p = shared->predictor;
	p->packed = nn_packed_copy(palloc_extended(nn_packed_bytes(&p->shape), MCXT_ALLOC_HUGE),
							   &p->shape, packed + shared->packed_at, check_interrupts);
	p->states = shm_toc_lookup(toc, KEY_STATES, true);
	return p;
}

void
amad_predict_worker(dsm_segment *segment, shm_toc *toc)
{
	PoolShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	Predictor  *predictor;
	Prediction	prediction;
	int64		number;

	parallel_begin_worker(toc);
	predictor = worker_predictor(shared, toc);
	predict_series_open(&prediction, predictor);
	{
		Participant me = {
			.shared = shared,
			.memory = shm_toc_lookup(toc, KEY_TASKS, false),
			.predictor = predictor,
			.prediction = &prediction,
			.last = NOWHERE,
		};

		while (await_work(shared, &number))
		{
			do_task(&me, number);
			ConditionVariableSignal(&shared->done);
		}
	}
}

/* ---- the leader ------------------------------------------------------------------------------ */

int
predict_pool_workers(const Predictor *p)
{
	if (p->method != METHOD_AMAD || IsInParallelMode() || IsParallelWorker())
		return 0;
	return settings_parallel_workers();
}

int64
predict_pool_patience(const Predictor *p)
{
	/* products with weights, and the attention's, exponentials counted as several */
	double		row = (double) nn_params_size(&p->shape) +
		8.0 * p->shape.layers * p->shape.window * p->shape.d_model;

	return (int64) (PATIENCE / row) + 1;
}

static Size
shared_bytes(int tasks)
{
	return offsetof(PoolShared, state) + sizeof(TaskState) * tasks;
}

static Size
states_bytes(const Predictor *p)
{
	return sizeof(float) * nn_states_size(p->shape.features);
}

static ParallelContext *
open_context(const Predictor *p, int workers, int tasks, int rows)
{
	const ParallelChunk chunks[] = {
		{KEY_SHARED, shared_bytes(tasks)},
		{KEY_PACKED, nn_packed_bytes(&p->shape)},
		{KEY_TASKS, mul_size(predict_pool_task_bytes(p, rows), tasks)},
		{KEY_STATES, p->states ? states_bytes(p) : 0},
	};

	return parallel_open("amad_predict_worker", workers, chunks, lengthof(chunks));
}

static Participant
fill_context(shm_toc *toc, Prediction *own, int tasks, int rows)
{
	const Predictor *p = own->predictor;
	PoolShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	char	   *packed = shm_toc_lookup(toc, KEY_PACKED, false);
	Participant leader = {
		.shared = shared,
		.memory = shm_toc_lookup(toc, KEY_TASKS, false),
		.predictor = p,
		.prediction = own,
		.last = -1,				/* before the first task */
	};

	memset(shared, 0, shared_bytes(tasks));
	shared->predictor = *p;
	shared->predictor.packed = NULL;
	shared->predictor.components = NULL;
	shared->predictor.states = NULL;
	if (p->states)
		memcpy(shm_toc_lookup(toc, KEY_STATES, false), p->states, states_bytes(p));
	shared->packed_at = (char *) nn_packed_copy(packed, &p->shape, p->packed, check_interrupts) - packed;
	shared->tasks = tasks;
	shared->rows = rows;
	SpinLockInit(&shared->mutex);
	ConditionVariableInit(&shared->work);
	ConditionVariableInit(&shared->done);
	return leader;
}

PredictPool *
predict_pool_open(Prediction *own, int workers, int tasks, int rows)
{
	ParallelContext *pcxt = open_context(own->predictor, workers, tasks, rows);
	PredictPool *pool;
	Participant leader;

	if (pcxt == NULL)
		return NULL;
	leader = fill_context(pcxt->toc, own, tasks, rows);
	if (!parallel_launch(pcxt))
		return NULL;
	ereport(DEBUG1,
			(errmsg_internal("scoring with %d parallel workers", pcxt->nworkers_launched)));
	pool = palloc(sizeof(PredictPool));
	*pool = (PredictPool) {.pcxt = pcxt, .leader = leader};
	return pool;
}

PredictTask
predict_pool_task(PredictPool *pool, int64 number)
{
	return task_at(&pool->leader, number);
}

void
predict_pool_submit(PredictPool *pool, const PredictTask *task, bool alone)
{
	PoolShared *shared = pool->leader.shared;
	int64		number = shared->submitted; /* nobody else changes it */
	TaskState  *state = &shared->state[number % shared->tasks];

	SpinLockAcquire(&shared->mutex);
	state->n = task->n;
	state->carried = task->carried;
	state->done = false;
	shared->submitted++;
	if (alone)
		shared->taken++;
	SpinLockRelease(&shared->mutex);
	if (alone)
		do_task(&pool->leader, number);
	else
		ConditionVariableSignal(&shared->work);
}

bool
predict_pool_done(PredictPool *pool, int64 number)
{
	PoolShared *shared = pool->leader.shared;
	bool		done;

	SpinLockAcquire(&shared->mutex);
	done = shared->state[number % shared->tasks].done;
	SpinLockRelease(&shared->mutex);
	return done;
}

/* Takes a task unless the one awaited is done; false: there is none to take. */
static bool
help(PredictPool *pool)
{
	PoolShared *shared = pool->leader.shared;
	int64		number;
	bool		got;

	SpinLockAcquire(&shared->mutex);
	got = take(shared, &number);
	SpinLockRelease(&shared->mutex);
	if (got)
		do_task(&pool->leader, number);
	return got;
}

void
predict_pool_await(PredictPool *pool, int64 number)
{
	PoolShared *shared = pool->leader.shared;

	while (!predict_pool_done(pool, number) && help(pool))
		CHECK_FOR_INTERRUPTS();
	/* a worker is at it */
	ConditionVariablePrepareToSleep(&shared->done);
	while (!predict_pool_done(pool, number))
		ConditionVariableSleep(&shared->done, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

void
predict_pool_close(PredictPool *pool)
{
	PoolShared *shared = pool->leader.shared;

	SpinLockAcquire(&shared->mutex);
	shared->closed = true;
	SpinLockRelease(&shared->mutex);
	ConditionVariableBroadcast(&shared->work);
	parallel_close(pool->pcxt);
	pfree(pool);
}
