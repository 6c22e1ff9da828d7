/*
 * score/predict_parallel.c
 *	  Inference by PostgreSQL's parallel workers.
 *
 * A task goes from submitted to taken to done.  The leader never waits for a worker to start:
 * it does a task itself that no worker has taken.  A process that takes the task after its
 * last one continues its stream.  For any other task it first passes the carried rows through
 * the model and discards their outputs.  Either way a row's outputs are the same, bit by bit
 * (nn_stream in core/network/network.h).
 *
 * The mutex protects the counters and the `done` flags.  A task's other members are set by
 * the leader before it is submitted, and its outputs by the process that took it before it
 * is done, so they need no lock.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/xact.h"
#include "storage/condition_variable.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "pg/interrupts.h"
#include "pg/parallel.h"
#include "pg/progress.h"
#include "pg/settings.h"
#include "score/predict_parallel.h"

#define KEY_SHARED UINT64CONST(0xA3AD000000000101)
#define KEY_PACKED UINT64CONST(0xA3AD000000000102)
#define KEY_TASKS UINT64CONST(0xA3AD000000000103)
#define KEY_STATES UINT64CONST(0xA3AD000000000104)

/* Work, in multiplications, that takes about as long as starting workers: some 50 ms */
#define PATIENCE 1e9

/* A task without its arrays. */
typedef struct TaskState
{
	int			n;
	int			carried;
	bool		done;			/* under mutex */
} TaskState;

typedef struct PoolShared
{
	/* set before workers start */
	Predictor	predictor;		/* the leader's, without its pointers */
	Size		packed_at;		/* offset of the weights in their chunk */
	int			tasks;
	int			rows;

	ConditionVariable work;		/* a task was submitted, or the pool was closed */
	ConditionVariable done;		/* a task was done */

	/* under mutex */
	slock_t		mutex;
	int64		submitted;		/* number of tasks */
	int64		taken;
	bool		closed;
	TaskState	state[FLEXIBLE_ARRAY_MEMBER];	/* (tasks) */
} PoolShared;

/* A process that does tasks: the leader or a worker. */
typedef struct Participant
{
	PoolShared *shared;
	char	   *memory;			/* the tasks' arrays */
	const Predictor *predictor;
	Prediction *prediction;
	int64		last;			/* the task whose rows the prediction saw last; NOWHERE */
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

/* Maps of imputed features, of the carried rows, too. */
static Size
maps(const Predictor *p, int rows)
{
	return CACHELINEALIGN(mul_size((Size) p->context + rows, IMPUTED_BYTES(p->shape.features)));
}

Size
predict_pool_task_bytes(const Predictor *p, int rows)
{
	return CACHELINEALIGN(sizeof(bool) * rows) + floats(p->context + rows, p->shape.features) +
		maps(p, rows) + floats(rows, p->shape.features) + floats(rows, p->signals);
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
	task.imputed = (uint8 *) at + (Size) p->context * IMPUTED_BYTES(p->shape.features);
	at += maps(p, rows);
	task.expected = (float *) at;
	at += floats(rows, p->shape.features);
	task.signals = (float *) at;
	return task;
}

/* Takes the oldest task that has not been taken; false if there is none.  Under mutex. */
static bool
take_task(PoolShared *shared, int64 *number)
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
		me->last = number;		/* no rows: the next task continues the stream */
	SpinLockAcquire(&shared->mutex);
	shared->state[number % shared->tasks].done = true;
	SpinLockRelease(&shared->mutex);
}

/* ---- workers ------------------------------------------------------------------------------ */

/* Waits for a task and takes it; false if the pool was closed. */
static bool
await_task(PoolShared *shared, int64 *number)
{
	bool		got;
	bool		closed;

	ConditionVariablePrepareToSleep(&shared->work);
	for (;;)
	{
		SpinLockAcquire(&shared->mutex);
		got = take_task(shared, number);
		closed = shared->closed;
		SpinLockRelease(&shared->mutex);
		if (got || closed)
			break;
		ConditionVariableSleep(&shared->work, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	return got;
}

/* Copies the model to the worker's own memory: it contains pointers. */
static Predictor *
copy_predictor(const PoolShared *shared, shm_toc *toc)
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
	predictor = copy_predictor(shared, toc);
	predict_series_open(&prediction, predictor);
	{
		Participant me = {
			.shared = shared,
			.memory = shm_toc_lookup(toc, KEY_TASKS, false),
			.predictor = predictor,
			.prediction = &prediction,
			.last = NOWHERE,
		};

		while (await_task(shared, &number))
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
	/* multiplications with weights and in the attention, whose exponentials count several */
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
pool_states_bytes(const Predictor *p)
{
	return sizeof(float) * nn_states_size(p->shape.features);
}

/* Fills the shared memory; returns the leader as a participant. */
static Participant
fill_pool_memory(shm_toc *toc, Prediction *own, int tasks, int rows)
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
		memcpy(shm_toc_lookup(toc, KEY_STATES, false), p->states, pool_states_bytes(p));
	shared->packed_at = (char *) nn_packed_copy(packed, &p->shape, p->packed, check_interrupts) -
		packed;
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
	const Predictor *p = own->predictor;
	const ParallelChunk chunks[] = {
		{KEY_SHARED, shared_bytes(tasks)},
		{KEY_PACKED, nn_packed_bytes(&p->shape)},
		{KEY_TASKS, mul_size(predict_pool_task_bytes(p, rows), tasks)},
		{KEY_STATES, p->states ? pool_states_bytes(p) : 0},
	};
	ParallelContext *pcxt = parallel_open("amad_predict_worker", workers, chunks, lengthof(chunks));
	PredictPool *pool;
	Participant leader;

	if (pcxt == NULL)
		return NULL;
	leader = fill_pool_memory(pcxt->toc, own, tasks, rows);
	if (!parallel_launch(pcxt))
		return NULL;
	ereport(DEBUG1, (errmsg_internal("scoring with %d parallel workers", pcxt->nworkers_launched)));
	progress_set_workers(pcxt->nworkers_launched);
	pool = palloc(sizeof(PredictPool));
	*pool = (PredictPool){.pcxt = pcxt, .leader = leader};
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
	int64		number = shared->submitted; /* only the leader changes it */
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

/* Does the oldest task that has not been taken; false if there is none. */
static bool
do_next_task(PredictPool *pool)
{
	PoolShared *shared = pool->leader.shared;
	int64		number;
	bool		got;

	SpinLockAcquire(&shared->mutex);
	got = take_task(shared, &number);
	SpinLockRelease(&shared->mutex);
	if (got)
		do_task(&pool->leader, number);
	return got;
}

void
predict_pool_await(PredictPool *pool, int64 number)
{
	PoolShared *shared = pool->leader.shared;

	while (!predict_pool_done(pool, number) && do_next_task(pool))
		CHECK_FOR_INTERRUPTS();
	/* a worker has taken it */
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
	progress_set_workers(0);
	pfree(pool);
}
