/*
 * train.c
 *	  Training: from a series of rows to a model.
 *
 * The last rows are held out; the others train the weights (steps.c), and all
 * calibrate them (calibrate.c).
 */
#include "postgres.h"
#include "compat.h"

#include <math.h>

#include "portability/instr_time.h"
#include "utils/memutils.h"

#include "blas.h"
#include "calibrate.h"
#include "json.h"
#include "steps.h"
#include "train.h"

#define MAX_MODEL_BYTES (900 * (uint64) 1024 * 1024)	/* a value has at most 1 GB */

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
	int64		least = options->chunk_length;

	if (rows - held_out_rows(options, features, rows) >= options->chunk_length)
		return;
	while (least - held_out_rows(options, features, least) < options->chunk_length)
		least++;
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

/*
 * All that is allocated from here on, counted as if steps and calibration ran at
 * the same time.
 */
static void
check_memory(const StepsPlan *plan, const Model *m, int64 rows)
{
	Size		weights = sizeof(float) * m->nparams;
	Size		bytes = weights + steps_bytes(plan) + calibrate_bytes(m, rows);

	bytes += steps_shared_bytes(plan, steps_workers_wanted(plan));
	bytes += 2 * weights;		/* the value, while it is put together */
	bytes += sizeof(float) * rows * m->features;	/* scaled rows */
	series_check_memory("training", bytes);
}

/* ---- the whole ------------------------------------------------------------------------- */

/* Facts that depend on rows and options only, for the model to carry. */
static char *
facts_text(const StepsPlan *plan, const SeriesFacts *series, const StepsReport *report)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_key(&text, "rows");
	json_int(&text, series->rows);
	json_key(&text, "held_out");
	json_int(&text, series->rows - plan->rows);
	json_key(&text, "imputed_values");
	json_int(&text, series->imputed);
	json_key(&text, "imputed_rows");
	json_int(&text, series->imputed_rows);
	json_key(&text, "steps");
	json_int(&text, plan->steps);
	json_key(&text, "seed");
	json_int(&text, plan->seed);
	json_key(&text, "loss");
	json_doubles(&text, report->points, report->curve);
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
	const int64 nrows = series_rows(series);
	MemoryContext result = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(result, "amad training", ALLOCSET_DEFAULT_SIZES);
	StepsReport report;
	StepsPlan	plan;
	Model	   *model;
	float	   *rows;
	instr_time	start,
				end;

	INSTR_TIME_SET_CURRENT(start);
	check_names(options, features);
	check_size(options, features);
	check_rows(options, features, nrows);
	plan = steps_plan(options, features, nrows - held_out_rows(options, features, nrows));
	model = model_create(options, features);
	check_memory(&plan, model, nrows);

	MemoryContextSwitchTo(work);
	rows = series_finish(series, options, model->mean, model->std, &facts->series);
	steps_run(&plan, rows, model->params, &report);
	calibrate_model(model, rows, nrows, plan.rows);
	MemoryContextSwitchTo(result);
	MemoryContextDelete(work);

	model->training = facts_text(&plan, &facts->series, &report);
	model->core = blas_core();
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	facts->steps = plan.steps;
	facts->loss = report.curve[report.points - 1];
	facts->workers = report.workers;
	facts->seconds = INSTR_TIME_GET_DOUBLE(end);
	return model;
}
