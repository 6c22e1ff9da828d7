/*
 * train.c
 *	  Training: from a series of rows to a model (docs/model.md, Training).
 *
 * A step takes random chunks of the rows that are not held out.  They pass
 * through the network in shards of NN_SHARD_CHUNKS, whose gradients are added
 * in a fixed order, so a model's bytes depend on rows, options and kernels only.
 */
#include "postgres.h"
#include "compat.h"

#include <math.h>

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"

#include "blas.h"
#include "calibrate.h"
#include "json.h"
#include "train.h"

#define CURVE_POINTS 20			/* of the loss curve that a model keeps */
#define RNG_CHUNKS 1			/* stream of random numbers for chunk positions */
#define MAX_MODEL_BYTES (900 * (uint64) 1024 * 1024)	/* a value has at most 1 GB */

bool		train_verbose = false;

/* A training under way. */
typedef struct Training
{
	Model	   *model;
	const Options *options;
	const float *rows;			/* (nrows, C) scaled */
	int64		nrows;
	int64		held_from;		/* rows from here on are held out */
	int64		steps;
	nn_objective objective;
	nn_adam		adam;
	nn_rng		rng;
	nn_train   *workspace;
	float	   *grads;
	float	   *shard_grads;
	float	   *moment1;
	float	   *moment2;
	const float **chunk;		/* (batch_size) */
	double		curve[CURVE_POINTS];
	int			points;
} Training;

/* The network's poll: may leave it by an ERROR. */
static void
poll_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
}

/* ---- how much is needed ------------------------------------------------------------ */

/* Rows held out: enough for every horizon, after the context of the first. */
static int64
held_out_rows(const Options *options, int features, int64 rows)
{
	nn_shape	shape = options_shape(options, features);
	int64		least = nn_context(&shape) + 2 * options_max_horizon(options);

	return Max(least, (int64) ceil(options->validation_fraction * rows));
}

static void
check_rows(const Options *options, int features, int64 rows)
{
	int64		held = held_out_rows(options, features, rows);
	int64		least = options->chunk_length + held_out_rows(options, features, 1);

	if (rows - held >= options->chunk_length)
		return;
	/* a large validation_fraction asks for more than one chunk beside the least */
	least = Max(least, (int64) ceil(options->chunk_length / (1.0 - options->validation_fraction)) + 1);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("too few rows to train a model: " INT64_FORMAT, rows),
			 errdetail("These options need at least " INT64_FORMAT " rows: chunks of %d rows, and rows "
					   "held out for the threshold.", least, options->chunk_length),
			 errhint("Give more rows, or smaller values of the options window, layers and horizons.")));
}

static void
check_size(const Options *options, int features)
{
	nn_shape	shape = options_shape(options, features);

	if (nn_params_size(&shape) * sizeof(float) > MAX_MODEL_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a model of " UINT64_FORMAT " weights is too large to be stored",
						(uint64) nn_params_size(&shape)),
				 errhint("Choose a smaller d_model or fewer layers.")));
}

/* Training and calibration do not run at the same time, but their memory stays. */
static void
check_memory(const Options *options, const Model *m, int64 rows)
{
	nn_shape	shape = model_shape(m);
	Size		bytes = nn_train_bytes(&shape, NN_SHARD_CHUNKS, options->chunk_length);

	bytes += 5 * sizeof(float) * m->nparams;	/* weights, two gradients, two moments */
	bytes += 2 * sizeof(float) * m->nparams;	/* the value, while it is put together */
	bytes += calibrate_bytes(m, rows);
	bytes += sizeof(float) * rows * m->features;	/* scaled rows */
	series_check_memory("training", bytes);
}

/* ---- steps --------------------------------------------------------------------------- */

static int64
steps_of(const Options *options, int64 rows)
{
	double		batch = (double) options->batch_size * options->chunk_length;

	if (options->steps > 0)
		return options->steps;
	return Max((int64) ceil(options->epochs * rows / batch), 1);
}

static void
draw_chunks(Training *t)
{
	uint64		starts = t->held_from - t->options->chunk_length + 1;

	for (int b = 0; b < t->options->batch_size; b++)
		t->chunk[b] = t->rows + nn_rng_below(&t->rng, starts) * t->model->features;
}

/* Gradient of the whole batch in t->grads; its losses. */
static nn_losses
pass_batch(Training *t)
{
	const int	batch = t->options->batch_size;
	nn_losses	sum = {0};

	for (int b = 0; b < batch; b += NN_SHARD_CHUNKS)
	{
		float	   *grads = b == 0 ? t->grads : t->shard_grads;
		nn_losses	losses;

		nn_forward(t->workspace, t->model->params, t->chunk + b, Min(NN_SHARD_CHUNKS, batch - b));
		nn_backward(t->workspace, t->model->params, &t->objective, batch, grads, &losses);
		if (b > 0)
			for (size_t i = 0; i < t->model->nparams; i++)
				t->grads[i] += grads[i];
		sum.reconstruction += losses.reconstruction;
		sum.discrepancy += losses.discrepancy;
		sum.contrast += losses.contrast;
		sum.total += losses.total;
	}
	return sum;
}

static void
refuse_divergence(int64 step)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("training diverged in step " INT64_FORMAT, step + 1),
			 errhint("Choose a smaller learning_rate.")));
}

/* All steps; the loss curve is the mean of each of CURVE_POINTS parts. */
static void
run_steps(Training *t)
{
	const Options *o = t->options;
	double		part = 0.0;
	int64		part_steps = 0;

	for (int64 step = 0; step < t->steps; step++)
	{
		double		rate = nn_one_cycle(step, t->steps, o->learning_rate, o->pct_start,
										o->div_factor, o->final_div_factor);
		nn_losses	losses;

		CHECK_FOR_INTERRUPTS();
		draw_chunks(t);
		losses = pass_batch(t);
		if (!isfinite(losses.total) ||
			!isfinite(nn_adam_step(&t->adam, step + 1, rate, t->model->nparams,
								   t->model->params, t->grads, t->moment1, t->moment2)))
			refuse_divergence(step);
		part += losses.total;
		part_steps++;
		if ((step + 1) * CURVE_POINTS / t->steps > step * CURVE_POINTS / t->steps)
		{
			t->curve[t->points++] = part / part_steps;
			if (train_verbose)
				ereport(NOTICE,
						(errmsg("step " INT64_FORMAT " of " INT64_FORMAT ": loss %.4f, reconstruction "
								"%.4f, discrepancy %.4f, contrast %.4f", step + 1, t->steps,
								losses.total, losses.reconstruction, losses.discrepancy,
								losses.contrast)));
			part = 0.0;
			part_steps = 0;
		}
	}
}

static float *
zeros(size_t n)
{
	return palloc_extended(sizeof(float) * n, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/* Trains t->model's weights; memory comes from the current context. */
static void
fit_weights(Training *t)
{
	const Options *o = t->options;
	nn_shape	shape = model_shape(t->model);
	int			chunks = Min(NN_SHARD_CHUNKS, o->batch_size);

	t->steps = steps_of(o, t->held_from);
	t->objective.skip = o->skip;
	t->objective.maxmin = (float) o->maxmin_weight;
	t->objective.contrast = (float) o->contrast_weight;
	t->objective.temperature = (float) o->contrast_temperature;
	t->adam.beta1 = (float) o->adam_beta1;
	t->adam.beta2 = (float) o->adam_beta2;
	t->adam.epsilon = (float) o->adam_epsilon;
	t->adam.clip = (float) o->gradient_clip;
	t->grads = zeros(t->model->nparams);
	t->shard_grads = zeros(t->model->nparams);
	t->moment1 = zeros(t->model->nparams);
	t->moment2 = zeros(t->model->nparams);
	t->chunk = palloc(sizeof(float *) * o->batch_size);
	t->workspace = nn_train_open(palloc_extended(nn_train_bytes(&shape, chunks, o->chunk_length),
												 MCXT_ALLOC_HUGE),
								 &shape, chunks, o->chunk_length, poll_interrupts);
	nn_params_init(&shape, o->seed, t->model->params);
	nn_rng_seed(&t->rng, o->seed, RNG_CHUNKS);
	run_steps(t);
}

/* ---- the whole ------------------------------------------------------------------------- */

/* Facts that depend on rows and options only, for the model to carry. */
static char *
facts_text(const Training *t, const SeriesFacts *facts)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_key(&text, "rows");
	json_int(&text, facts->rows);
	json_key(&text, "held_out");
	json_int(&text, t->nrows - t->held_from);
	json_key(&text, "imputed_values");
	json_int(&text, facts->imputed);
	json_key(&text, "imputed_rows");
	json_int(&text, facts->imputed_rows);
	json_key(&text, "steps");
	json_int(&text, t->steps);
	json_key(&text, "seed");
	json_int(&text, t->options->seed);
	json_key(&text, "loss");
	json_doubles(&text, t->points, t->curve);
	appendStringInfoChar(&text, '}');
	return text.data;
}

static void
check_names(const Options *options, int features)
{
	if (options->nnames > 0 && options->nnames != features)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"features\" has %d names, but there are %d features",
						options->nnames, features)));
}

Model *
train_model(Series *series, const Options *options, TrainFacts *facts)
{
	const int	features = series_features(series);
	MemoryContext result = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(result, "amad training", ALLOCSET_DEFAULT_SIZES);
	Training	t = {.options = options, .nrows = series_rows(series)};
	SeriesFacts rows;
	instr_time	start,
				end;

	INSTR_TIME_SET_CURRENT(start);
	check_names(options, features);
	check_size(options, features);
	check_rows(options, features, t.nrows);
	t.model = model_create(options, features);
	check_memory(options, t.model, t.nrows);
	t.held_from = t.nrows - held_out_rows(options, features, t.nrows);

	MemoryContextSwitchTo(work);
	t.rows = series_finish(series, options, t.model->mean, t.model->std, &rows);
	fit_weights(&t);
	calibrate_model(t.model, t.rows, t.nrows, t.held_from);
	MemoryContextSwitchTo(result);

	t.model->training = facts_text(&t, &rows);
	t.model->core = blas_core();
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	facts->rows = rows.rows;
	facts->imputed = rows.imputed;
	facts->imputed_rows = rows.imputed_rows;
	facts->steps = t.steps;
	facts->loss = t.curve[t.points - 1];
	facts->seconds = INSTR_TIME_GET_DOUBLE(end);
	MemoryContextDelete(work);
	return t.model;
}
