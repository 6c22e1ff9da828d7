/*
 * score/predict_parallel.h
 *	  Inference by PostgreSQL's parallel workers.
 *
 * A pool is a ring of tasks in dynamic shared memory.  The leader fills and submits them in
 * turn, and fills them again once they are done.  Workers take the oldest task that has not
 * been taken.  The leader takes one only while it has nothing else to do, so its other work
 * overlaps with theirs.
 *
 * From predict_pool_open() to predict_pool_close() the session is in parallel mode and must
 * not write.
 */
#ifndef AMAD_SCORE_PREDICT_PARALLEL_H
#define AMAD_SCORE_PREDICT_PARALLEL_H

#include "score/predict.h"

typedef struct PredictPool PredictPool;

/* Number of workers to ask for; 0 in a worker or in parallel mode, and for other methods. */
extern int	predict_pool_workers(const Predictor *predictor);

/* Number of rows after which workers are worth the time they need to start. */
extern int64 predict_pool_patience(const Predictor *predictor);

/* Shared memory of a task of `rows` rows. */
extern Size predict_pool_task_bytes(const Predictor *predictor, int rows);

/*
 * Opens a pool of `tasks` (2 …) tasks with at most `rows` (PREDICT_ROWS …) rows, in the
 * current context; NULL if no worker or no shared memory is available.  The leader's first
 * task may continue the series that `own` has begun.
 */
extern PredictPool *predict_pool_open(Prediction *own, int workers, int tasks, int rows);

/* Task number `number` (0 …), to be filled; the one `tasks` before it must be done. */
extern PredictTask predict_pool_task(PredictPool *pool, int64 number);

/*
 * Submits the next task, whose n and carried are set.  alone: rows of its stretch precede it
 * that are not carried, so only the leader can do it, and does so at once.
 */
extern void predict_pool_submit(PredictPool *pool, const PredictTask *task, bool alone);

/* Whether a task is done; does tasks or waits until it is. */
extern bool predict_pool_done(PredictPool *pool, int64 number);
extern void predict_pool_await(PredictPool *pool, int64 number);

/* Ends the workers, and parallel mode. */
extern void predict_pool_close(PredictPool *pool);

#endif							/* AMAD_SCORE_PREDICT_PARALLEL_H */
