/*
 * score/predict_parallel.h
 *	  Predictions on PostgreSQL's parallel workers.
 *
 * A pool is a queue of tasks, each with room in dynamic shared memory.  The leader
 * fills and submits them in turn, and uses them again in turn once they are done;
 * workers take the oldest that nobody has taken.  The leader helps only when it
 * has nothing else to do, so that the rest of its work goes on beside the network.
 *
 * From open to close the session is in parallel mode: it must not write.
 */
#ifndef AMAD_SCORE_PREDICT_PARALLEL_H
#define AMAD_SCORE_PREDICT_PARALLEL_H

#include "score/predict.h"

typedef struct PredictPool PredictPool;

/* Workers that may be asked for: 0 inside a worker or in parallel mode. */
extern int	predict_pool_workers(const Predictor *predictor);

/* Rows that one process should have predicted before it asks for help. */
extern int64 predict_pool_patience(const Predictor *predictor);

/* Shared memory of a task of so many rows. */
extern Size predict_pool_task_bytes(const Predictor *predictor, int rows);

/*
 * A pool of `tasks` (2 …) tasks of `rows` (PREDICT_ROWS …) rows at most, in the
 * current context; NULL when there is no worker or no shared memory to be had.
 * `own` goes on where it is: the leader's first task may continue its series.
 */
extern PredictPool *predict_pool_open(Prediction *own, int workers, int tasks, int rows);

/* The task of a number (0 …), to be filled: that `tasks` before it must be done. */
extern PredictTask predict_pool_task(PredictPool *pool, int64 number);

/*
 * Submits the next task, whose n and carried are set.  alone: its stretch has rows
 * before it that are not carried; only the leader can do it, and does so at once.
 */
extern void predict_pool_submit(PredictPool *pool, const PredictTask *task, bool alone);

/* Whether a task is done; and helps or waits until it is. */
extern bool predict_pool_done(PredictPool *pool, int64 number);
extern void predict_pool_await(PredictPool *pool, int64 number);

/* Ends the workers, and parallel mode. */
extern void predict_pool_close(PredictPool *pool);

#endif							/* AMAD_SCORE_PREDICT_PARALLEL_H */
