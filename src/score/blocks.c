/*
 * score/blocks.c
 *	  Blocks of rows on their way through the model.
 *
 * A network needs the `context` rows before a row.  Without workers the process's own
 * prediction goes on from block to block and has seen them.  With workers anybody may
 * predict a block, so each block carries the rows before it, copied from the end of the
 * previous one.  A block whose stretch has more rows before it than the previous block
 * holds (the first one after workers were started) is predicted by this process, which
 * has seen them.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"
#include "storage/shmem.h"

#include "score/blocks.h"

/* Rows of a block for workers, in contexts, and the memory of all blocks at most */
#define PARALLEL_CONTEXTS 8
#define PARALLEL_BYTES (16 * 1024 * 1024)

Size
blocks_row_bytes(int features, bool inverse)
{
	return sizeof(BlockRow) + MISSING_BYTES(features) + (inverse ? sizeof(Inverse) * features : 0);
}

/* Allocates the `room` rows of a block, without its task. */
static void
open_block(const BlockQueue *queue, RowBlock *b, int room)
{
	const Size	rows = room;

	memset(b, 0, sizeof(RowBlock));
	b->row = palloc_extended(sizeof(BlockRow) * rows, MCXT_ALLOC_HUGE);
	b->missing = palloc_extended(rows * MISSING_BYTES(queue->features), MCXT_ALLOC_HUGE);
	if (queue->inverse)
		b->inverse = palloc_extended(rows * sizeof(Inverse) * queue->features, MCXT_ALLOC_HUGE);
}

void
blocks_open(BlockQueue *queue, Prediction *prediction, bool inverse)
{
	const Predictor *p = prediction->predictor;
	const Size	row = sizeof(float) * p->shape.features;
	PredictTask *task;

	memset(queue, 0, sizeof(BlockQueue));
	queue->prediction = prediction;
	queue->features = p->shape.features;
	queue->inverse = inverse;
	queue->nblocks = 1;
	queue->room = PREDICT_ROWS;
	queue->block = palloc(sizeof(RowBlock));
	open_block(queue, queue->block, PREDICT_ROWS);
	task = &queue->block->task;
	task->begins = palloc(sizeof(bool) * PREDICT_ROWS);
	task->rows = palloc_extended(row * PREDICT_ROWS, MCXT_ALLOC_HUGE);
	task->imputed = palloc(PREDICT_ROWS * IMPUTED_BYTES(p->shape.features));
	task->expected = palloc_extended(row * PREDICT_ROWS, MCXT_ALLOC_HUGE);
	task->signals = palloc(sizeof(float) * PREDICT_ROWS * Max(p->signals, 1));
}

/* Copies the rows before the block from the end of the previous block, if they are there. */
static void
carry_context(const BlockQueue *queue, RowBlock *b, int64 stretch_rows)
{
	const int64 previous = queue->submitted + queue->nblocks - 1;
	const PredictTask *before = &queue->block[previous % queue->nblocks].task;
	const int	C = queue->features;
	const Size	map = IMPUTED_BYTES(C);
	int			carried = (int) Min(stretch_rows, queue->prediction->predictor->context);

	b->alone = before->carried + before->n < carried;
	if (b->alone)
		carried = 0;
	if (carried > 0)
	{
		memcpy(b->task.rows - (size_t) carried * C,
			   before->rows + ((ptrdiff_t) before->n - carried) * C, sizeof(float) * carried * C);
		memcpy(b->task.imputed - carried * map,
			   before->imputed + ((ptrdiff_t) before->n - carried) * (ptrdiff_t) map,
			   carried * map);
	}
	b->task.carried = carried;
}

RowBlock *
blocks_fill(BlockQueue *queue, SeriesInHand *series, int64 stretch_rows)
{
	RowBlock   *b = &queue->block[queue->submitted % queue->nblocks];

	if (queue->filling)
		return b;
	queue->filling = true;
	b->series = *series;
	series->key = NULL;
	series->origin = NULL;
	b->rows = 0;
	b->task.n = 0;
	b->task.carried = 0;
	if (queue->pool)
		carry_context(queue, b, stretch_rows);
	return b;
}

BlockRow *
blocks_add_row(BlockQueue *queue, RowBlock *b, int64 ts, int mark)
{
	const Size	bytes = MISSING_BYTES(queue->features);
	BlockRow   *row = &b->row[b->rows];

	memset(row, 0, sizeof(BlockRow));
	memset(b->missing + b->rows++ * bytes, 0, bytes);
	row->ts = ts;
	row->mark = mark;
	row->score = NAN;
	row->fed = -1;
	return row;
}

bool
blocks_full(const BlockQueue *queue)
{
	return queue->filling && queue->block[queue->submitted % queue->nblocks].rows == queue->room;
}

void
blocks_submit(BlockQueue *queue)
{
	RowBlock   *b = &queue->block[queue->submitted % queue->nblocks];

	if (!queue->filling)
		return;
	if (queue->pool)
		predict_pool_submit(queue->pool, &b->task, b->alone);
	queue->filling = false;
	queue->submitted++;
}

RowBlock *
blocks_oldest(const BlockQueue *queue)
{
	return queue->collected == queue->submitted ? NULL
												: &queue->block[queue->collected % queue->nblocks];
}

bool
blocks_collect(BlockQueue *queue, bool wait)
{
	if (queue->pool == NULL)
		predict_task(queue->prediction, &blocks_oldest(queue)->task);
	else if (wait || queue->submitted - queue->collected == queue->nblocks)
		predict_pool_await(queue->pool, queue->collected);
	else if (!predict_pool_done(queue->pool, queue->collected))
		return false;
	queue->collected++;
	return true;
}

/* ---- workers ------------------------------------------------------------------------------ */

/* Rows of a block: PARALLEL_CONTEXTS contexts, or fewer if memory is short; 0: too short. */
static int
parallel_room(const BlockQueue *queue, int nblocks, Size other_row_bytes)
{
	const Predictor *p = queue->prediction->predictor;
	const Size	limit = Min(PARALLEL_BYTES, (Size) work_mem * 1024);
	int			room = (p->context * PARALLEL_CONTEXTS / PREDICT_ROWS + 1) * PREDICT_ROWS;

	while (room > 0 &&
		   other_row_bytes * room +
				   nblocks *
					   (mul_size(room, blocks_row_bytes(p->shape.features, queue->inverse)) +
						predict_pool_task_bytes(p, room)) >
			   limit)
		room -= PREDICT_ROWS;
	return room;
}

bool
blocks_start_workers(BlockQueue *queue, int workers, Size other_row_bytes)
{
	/* each process has one in hand and one to go on with */
	int			nblocks = 2 * (workers + 1);
	int			room = parallel_room(queue, nblocks, other_row_bytes);

	Assert(queue->pool == NULL && !queue->filling && queue->collected == queue->submitted);
	if (room == 0)
		return false;
	queue->pool = predict_pool_open(queue->prediction, workers, nblocks, room);
	if (queue->pool == NULL)
		return false;
	queue->block = palloc(sizeof(RowBlock) * nblocks);
	for (int i = 0; i < nblocks; i++)
	{
		open_block(queue, &queue->block[i], room);
		queue->block[i].task = predict_pool_task(queue->pool, i);
	}
	queue->nblocks = nblocks;
	queue->room = room;
	queue->submitted = queue->collected = 0;
	return true;
}

void
blocks_stop_workers(BlockQueue *queue)
{
	Assert(!queue->filling && queue->collected == queue->submitted);
	if (queue->pool == NULL)
		return;
	predict_pool_close(queue->pool);
	queue->pool = NULL;
	queue->room = 0;
}
