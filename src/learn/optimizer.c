/*
 * learn/optimizer.c
 *	  The training steps of the network, as one process runs them.
 *
 * Each step draws a batch of chunks at random positions, passes them through the network
 * shard by shard, adds the gradients of all shards, and changes the weights by Adam with a
 * one-cycle learning rate (docs/model.md, Training).  Every participant draws all chunks
 * from the same random numbers, so no positions are exchanged.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/rng.h"
#include "learn/optimizer.h"
#include "pg/interrupts.h"
#include "pg/parallel.h"
#include "pg/progress.h"

#define RNG_CHUNKS 1			/* stream of random numbers for chunk positions */
#define RNG_FAULTS (UINT64CONST(1) << 32)	/* the first of the streams for faults, one a chunk */

/* The usual values of Adam (Kingma and Ba) and of the one-cycle learning rate. */
static const nn_adam adam = {.beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .clip = 1.0f};

#define CYCLE_PEAK 0.1			/* share of the steps before the rate's peak */
#define CYCLE_START 25			/* the peak divided by the first rate */
#define CYCLE_END 1e4			/* the first rate divided by the last */
#define CONTRAST_TEMPERATURE 0.1f

/* State of a training. */
typedef struct Optimizer
{
	/* input */
	const OptimizerPlan *plan;
	const GradientExchange *exchange;	/* NULL: one participant */
	const OptimizerRows *rows;

	/* state */
	size_t		nparams;
	float	   *params;
	float	   *grads;			/* of the batch */
	float	   *shard_grads;	/* of a shard; without exchange only */
	float	   *moment1;
	float	   *moment2;
	nn_rng		rng;

	/* memory */
	nn_train   *workspace;
	int64	   *chunk;			/* (batch_size) the first row of each */
	float	   *clipped;		/* chunks of a shard, clipped for the network */
	float	   *corrupted;		/* the same with faults */

	/* output */
	OptimizerReport *report;
} Optimizer;

/* ---- plans ---------------------------------------------------------------------------- */

/* Adds the starts from place `from` to `to` - 1 of a run. */
static void
add_starts(OptimizerPlan *plan, OptimizerRun *runs, const DatasetRun *run, int64 from, int64 to)
{
	if (from >= to)
		return;
	runs[plan->nruns].first = run->first + from;
	runs[plan->nruns++].before = plan->starts;
	plan->starts += to - from;
}

/*
 * Finds the rows that a chunk can begin with: a chunk is within a run, and some of its rows
 * that have a loss are not held out.  Marks the rows that are; returns the number of others.
 */
static int64
find_starts(const Dataset *d, OptimizerPlan *plan, OptimizerRun *runs, uint8 *held_out)
{
	const int	skip = plan->objective.skip + plan->objective.ahead;
	int64		trained = 0;

	for (int i = 0; i < d->nruns; i++)
	{
		const DatasetRun *run = &d->runs[i];
		int64		starts = Max(run->rows - plan->chunk_length + 1, 0);
		int64		from = 0;

		for (int64 place = 0, end; place < run->rows; place = end)
		{
			bool		held = dataset_held_out(d, run, place, &end);

			CHECK_FOR_INTERRUPTS();
			memset(held_out + run->first + place, held, end - place);
			if (!held && starts > 0)
				trained += end - place;
			/* the rows with a loss of chunks that begin in between are all held out */
			if (held && end - plan->chunk_length >= place - skip)
			{
				add_starts(plan, runs, run, from, Min(Max(place - skip, 0), starts));
				from = end - plan->chunk_length + 1;
			}
		}
		add_starts(plan, runs, run, Max(from, 0), starts);
	}
	return trained;
}

/* The greatest number of ranges that find_starts() can find. */
static Size
most_ranges(const Dataset *d)
{
	Size		n = d->nruns;

	for (int i = 0; i < d->nseries; i++)
		n += d->series[i].held.blocks;
	return n;
}

OptimizerPlan
optimizer_plan(const Dataset *dataset, OptimizerRows *rows)
{
	const Options *o = dataset->options;
	double		batch = (double) o->batch_size * o->chunk_length;
	OptimizerRun *runs = palloc_extended(sizeof(OptimizerRun) * most_ranges(dataset),
										 MCXT_ALLOC_HUGE);
	uint8	   *held_out = palloc_extended(dataset->nrows, MCXT_ALLOC_HUGE);
	int64		trained;
	OptimizerPlan plan = {
		.shape = dataset->plan.shape,
		.objective =
			{
				/* the first rows of a chunk have too little context to learn from */
				.skip = Min(o->window / 2, o->chunk_length - o->ahead - 1),
				.ahead = o->ahead,
				.maxmin = (float) o->maxmin_weight,
				.contrast = (float) o->contrast_weight,
				.temperature = CONTRAST_TEMPERATURE,
			},
		.learning_rate = o->learning_rate,
		.seed = o->seed,
		.clip = o->clip,
		.without = o->without,
		.corruption =
			{
				.missing = o->input_missing,
				.outliers = o->input_outliers,
				.fill_limit = o->fill_limit,
				.clip = o->clip,
			},
		.rows = dataset->nrows,
		.chunk_length = o->chunk_length,
		.batch_size = o->batch_size,
	};

	trained = find_starts(dataset, &plan, runs, held_out);
	plan.steps = o->steps > 0 ? o->steps : Max((int64) ceil(o->epochs * trained / batch), 1);
	plan.passes = plan.steps * batch / trained;
	rows->rows = dataset->rows;
	rows->runs = runs;
	rows->held_out = held_out;
	return plan;
}

int
optimizer_shards(const OptimizerPlan *plan)
{
	return (plan->batch_size + NN_SHARD_CHUNKS - 1) / NN_SHARD_CHUNKS;
}

static int
shard_chunks(int batch_size)
{
	return Min(NN_SHARD_CHUNKS, batch_size);
}

Size
optimizer_bytes(const nn_shape *shape, int batch_size, int chunk_length)
{
	/* gradients of the batch and of a shard, two moments */
	return nn_train_bytes(shape, shard_chunks(batch_size), chunk_length) +
		sizeof(float) *
		(4 * nn_params_size(shape) +
		 2 * (Size) shard_chunks(batch_size) * chunk_length * shape->features);
}

/* ---- a step ----------------------------------------------------------------------------- */

/* The n-th row that a chunk can begin with. */
static int64
find_start(const Optimizer *s, int64 n)
{
	const OptimizerRun *runs = s->rows->runs;
	int			low = 0;
	int			high = s->plan->nruns - 1;

	/* the last run with before <= n */
	while (low < high)
	{
		int			middle = low + (high - low + 1) / 2;

		if (runs[middle].before <= n)
			low = middle;
		else
			high = middle - 1;
	}
	return runs[low].first + n - runs[low].before;
}

/* Draws the chunks of a batch: the same in all participants. */
static void
draw_chunks(Optimizer *s)
{
	for (int b = 0; b < s->plan->batch_size; b++)
		s->chunk[b] = find_start(s, nn_rng_below(&s->rng, s->plan->starts));
}

#define CLIP_FLOATS 1048576		/* a few milliseconds */

/* Copies a chunk, clipped for the network. */
static void
clip_chunk(const Optimizer *s, const float *chunk, Size floats, float *clipped)
{
	for (Size at = 0; at < floats; at += CLIP_FLOATS)
	{
		CHECK_FOR_INTERRUPTS();
		nn_clip(s->plan->clip, chunk + at, Min(floats - at, CLIP_FLOATS), clipped + at);
	}
}

/* Computes the gradients and losses of a shard. */
static void
pass_shard(Optimizer *s, int64 step, int shard, float *grads, nn_losses *losses)
{
	int			first = shard * NN_SHARD_CHUNKS;
	int			n = Min(NN_SHARD_CHUNKS, s->plan->batch_size - first);
	const Size	floats = (Size) s->plan->chunk_length * s->plan->shape.features;
	const OptimizerPlan *p = s->plan;
	const float *chunk[NN_SHARD_CHUNKS];
	nn_target	target[NN_SHARD_CHUNKS];

	for (int b = 0; b < n; b++)
	{
		const float *rows = s->rows->rows + s->chunk[first + b] * p->shape.features;
		float	   *clipped = s->clipped + b * floats;
		float	   *corrupted = s->corrupted + b * floats;
		nn_rng		rng;

		clip_chunk(s, rows, floats, clipped);
		parallel_copy(corrupted, clipped, sizeof(float) * floats);
		nn_rng_seed(&rng, p->seed, RNG_FAULTS + step * p->batch_size + first + b);
		corrupt_chunk(&p->corruption, &rng, p->chunk_length, p->shape.features, corrupted);
		chunk[b] = corrupted;
		target[b].rows = clipped;
		target[b].held_out = s->rows->held_out + s->chunk[first + b];
	}
	nn_forward(s->workspace, s->params, chunk, n);
	nn_backward(s->workspace, s->params, &p->objective, target, p->batch_size, grads, losses);
}

#define ADD_FLOATS 1048576		/* a millisecond or two */

/* Adds the gradients and losses of a shard to those of the batch; the first shard sets them. */
static void
add_shard(Optimizer *s, int shard, const float *grads, const nn_losses *losses, nn_losses *sum)
{
	for (size_t at = 0; at < s->nparams; at += ADD_FLOATS)
	{
		const size_t end = Min(s->nparams, at + ADD_FLOATS);

		CHECK_FOR_INTERRUPTS();
		if (shard > 0)
			for (size_t i = at; i < end; i++)
				s->grads[i] += grads[i];
		else if (grads != s->grads)
			memcpy(s->grads + at, grads + at, sizeof(float) * (end - at));
	}
	sum->reconstruction += losses->reconstruction;
	sum->discrepancy += losses->discrepancy;
	sum->contrast += losses->contrast;
	sum->total += losses->total;
}

/* Computes the gradients of a batch in s->grads, and returns its losses. */
static nn_losses
pass_batch_alone(Optimizer *s, int64 step)
{
	nn_losses	losses;
	nn_losses	sum = {0};

	for (int shard = 0; shard < optimizer_shards(s->plan); shard++)
	{
		float	   *grads = shard == 0 ? s->grads : s->shard_grads;

		pass_shard(s, step, shard, grads, &losses);
		add_shard(s, shard, grads, &losses, &sum);
	}
	return sum;
}

/* The same with other participants: each computes the gradients of some of the shards. */
static nn_losses
pass_batch_together(Optimizer *s, int64 step)
{
	const GradientExchange *x = s->exchange;
	int			shards = optimizer_shards(s->plan);
	float	   *grads = x->grads + (step % 2) * shards * s->nparams;
	nn_losses  *losses = x->losses + (step % 2) * shards;
	nn_losses	sum = {0};

	for (int shard = x->me; shard < shards; shard += x->participants)
		pass_shard(s, step, shard, grads + shard * s->nparams, &losses[shard]);
	x->meet(x->arg);
	for (int shard = 0; shard < shards; shard++)
		add_shard(s, shard, grads + shard * s->nparams, &losses[shard], &sum);
	return sum;
}

static void
take_step(Optimizer *s, int64 step, const nn_losses *losses)
{
	const OptimizerPlan *p = s->plan;
	double		rate = nn_one_cycle(step, p->steps, p->learning_rate, CYCLE_PEAK, CYCLE_START,
							   CYCLE_END);

	/* weights that are 0 and have no gradient stay 0 and do not count in the norm */
	nn_params_clear(&p->shape, p->without, s->grads);
	if (!isfinite(losses->total) ||
		!isfinite(nn_adam_step(&adam, step + 1, rate, s->nparams, s->params, s->grads, s->moment1,
							   s->moment2, check_interrupts)))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("training diverged in step " INT64_FORMAT, step + 1),
				 errhint("Choose a smaller learning_rate.")));
}

static void
report_progress(const Optimizer *s, int64 step, const nn_losses *losses)
{
	if (progress_notice_due())
		ereport(NOTICE,
				(errmsg("step " INT64_FORMAT " of " INT64_FORMAT
						": loss %.4f, reconstruction %.4f, "
						"discrepancy %.4f, contrast %.4f",
						step + 1, s->plan->steps, losses->total, losses->reconstruction,
						losses->discrepancy, losses->contrast)));
}

static void
run_steps(Optimizer *s)
{
	int64		steps = s->plan->steps;
	double		part = 0.0;
	int64		part_steps = 0;

	for (int64 step = 0; step < steps; step++)
	{
		nn_losses	losses;

		CHECK_FOR_INTERRUPTS();
		draw_chunks(s);
		losses = s->exchange ? pass_batch_together(s, step) : pass_batch_alone(s, step);
		take_step(s, step, &losses);
		part += losses.total;
		part_steps++;
		progress_add((int64) s->plan->batch_size * s->plan->chunk_length);
		report_progress(s, step, &losses);
		if ((step + 1) * LOSS_POINTS / steps > step * LOSS_POINTS / steps)
		{
			s->report->curve[s->report->points++] = part / part_steps;
			part = 0.0;
			part_steps = 0;
		}
	}
}

/* ---- a training --------------------------------------------------------------------------- */

#define ZERO_FLOATS 524288		/* a millisecond or two, when memory is touched first */

/* Allocates zeros, with checks for interrupts: the weights of a large network take seconds. */
static float *
allocate_zeros(size_t n)
{
	float	   *x = palloc_extended(sizeof(float) * n, MCXT_ALLOC_HUGE);

	for (size_t at = 0; at < n; at += ZERO_FLOATS)
	{
		CHECK_FOR_INTERRUPTS();
		memset(x + at, 0, sizeof(float) * Min(n - at, ZERO_FLOATS));
	}
	return x;
}

void
optimizer_participate(const OptimizerPlan *plan, const OptimizerRows *rows, float *params,
					  OptimizerReport *report, const GradientExchange *exchange)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "amad optimizer",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	Optimizer	s = {
		.plan = plan,
		.exchange = exchange,
		.nparams = nn_params_size(&plan->shape),
		.rows = rows,
		.params = params,
		.report = report,
	};
	Size		bytes;
	Size		floats;
	int			chunks;

	s.grads = allocate_zeros(s.nparams);
	s.shard_grads = exchange ? NULL : allocate_zeros(s.nparams);
	s.moment1 = allocate_zeros(s.nparams);
	s.moment2 = allocate_zeros(s.nparams);
	s.chunk = palloc(sizeof(int64) * plan->batch_size);
	chunks = shard_chunks(plan->batch_size);
	floats = (Size) chunks * plan->chunk_length * plan->shape.features;
	s.clipped = palloc_extended(sizeof(float) * floats, MCXT_ALLOC_HUGE);
	s.corrupted = palloc_extended(sizeof(float) * floats, MCXT_ALLOC_HUGE);
	bytes = nn_train_bytes(&plan->shape, chunks, plan->chunk_length);
	s.workspace = nn_train_open(palloc_extended(bytes, MCXT_ALLOC_HUGE), &plan->shape, chunks,
								plan->chunk_length, check_interrupts);
	report->points = 0;
	if (!plan->warm)
		nn_params_init(&plan->shape, plan->seed, params, check_interrupts);
	nn_params_clear(&plan->shape, plan->without, params);
	nn_rng_seed(&s.rng, plan->seed, RNG_CHUNKS);
	run_steps(&s);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
}

void
optimizer_run(const OptimizerPlan *plan, const OptimizerRows *rows, float *params, int workers,
			  OptimizerReport *report)
{
	progress_phase(PROGRESS_TRAINING, (double) plan->steps * plan->batch_size * plan->chunk_length,
				   plan->later);
	report->workers = 0;
	if (workers > 0 && optimizer_run_parallel(plan, rows, params, workers, report))
		return;
	optimizer_participate(plan, rows, params, report, NULL);
}
