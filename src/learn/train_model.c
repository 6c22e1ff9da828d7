/*
 * learn/train_model.c
 *	  Training: from a dataset to a model.
 *
 * Rows that are not held out train the weights (steps.c); all rows calibrate them
 * (calibrate.c).
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"

#include "core/evidence/pca.h"
#include "pg/blas.h"
#include "pg/interrupts.h"
#include "learn/calibrate.h"
#include "pg/json.h"
#include "learn/fit_season.h"
#include "learn/binary_features.h"
#include "learn/fit_states.h"
#include "learn/optimizer.h"
#include "learn/train_model.h"
#include "pg/parallel.h"

#define MAX_MODEL_BYTES MODEL_MOST_BYTES

/* ---- how much is needed ------------------------------------------------------------ */

static void
check_size(const Options *options, int features)
{
	nn_shape	shape = options_shape(options, features);

	if (options->method == METHOD_AMAD &&
		nn_params_size(&shape) * sizeof(float) > MAX_MODEL_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a model of " UINT64_FORMAT " weights is too large to be stored",
						(uint64) nn_params_size(&shape)),
				 errhint("Choose a smaller d_model or fewer layers.")));
	if (options->method == METHOD_PCA && features > NN_PCA_FEATURES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("method \"pca\" is limited to %d features, but there are %d",
						NN_PCA_FEATURES, features),
				 errhint("Give fewer features, or choose \"method\": \"amad\" or \"zscore\".")));
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

/* The method's own workspace. */
static Size
method_bytes(const Options *o, int features)
{
	nn_shape	shape = options_shape(o, features);

	switch ((Method) o->method)
	{
		case METHOD_AMAD:
			/* weights, the value while it is put together, the steps */
			return 3 * sizeof(float) * (nn_params_size(&shape) + options_states_size(o, features)) +
				steps_bytes(&shape, o->batch_size, o->chunk_length) + states_bytes(o, features);
		case METHOD_PCA:
			return nn_pca_bytes(features) + 3 * sizeof(float) * features * features;
		case METHOD_ZSCORE:
			break;
	}
	return 0;
}

Size
train_bytes(const Options *o, int features)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "amad size",
												  ALLOCSET_SMALL_SIZES);
	const nn_season season = options_season(o);
	MemoryContext old;
	Model	   *model;
	Size		bytes;

	check_size(o, features);
	old = MemoryContextSwitchTo(scratch);
	model = model_create(o, features, 0);
	model_set_season(model, &season);
	bytes = method_bytes(o, features) + calibrate_bytes(model, 0);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return bytes;
}

/* ---- methods ----------------------------------------------------------------------------- */

static void
check_initial(const Model *model, const Model *initial)
{
	nn_shape	a = model_shape(model);
	nn_shape	b = model_shape(initial);

	if (initial->options.method != METHOD_AMAD || memcmp(&a, &b, sizeof(a)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a warm start needs a network of the same shape"),
				 errdetail("The deployed one has %d features, window %d, d_model %d, heads %d, layers %d.",
						   b.features, b.window, b.d_model, b.heads, b.layers)));
}

static void
learn_network(Model *model, const Dataset *dataset, const Model *initial, Size others,
			  StepsReport *report, TrainFacts *facts)
{
	StepsRows	rows;
	StepsPlan	plan = steps_plan(dataset, &rows);

	if (initial)
	{
		check_initial(model, initial);
		parallel_copy(model->params, initial->params, sizeof(float) * model_network_size(model));
		plan.warm = true;
	}
	steps_run(&plan, &rows, model->params, steps_workers_wanted(&plan, others), report);
	facts->steps = plan.steps;
	facts->loss = report->curve[report->points - 1];
	facts->workers = report->workers;
}

/* The model's params are made anew, for only now their number is known. */
static void
learn_components(Model *model, const Dataset *dataset, MemoryContext result)
{
	const int	C = model->features;
	void	   *memory = palloc_extended(nn_pca_bytes(C), MCXT_ALLOC_HUGE);
	float	   *components = palloc_extended(sizeof(float) * C * C, MCXT_ALLOC_HUGE);
	int			k;

	nn_pca_begin(memory, C);
	for (int i = 0; i < dataset->nruns; i++)
		nn_pca_add(memory, C, dataset->rows + dataset->runs[i].first * C,
				   dataset_training_rows(dataset, &dataset->runs[i]), check_interrupts);
	CHECK_FOR_INTERRUPTS();
	k = nn_pca_end(memory, C, model->options.variance, components);
	if (k < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("principal components could not be computed")));
	model->nparams = (size_t) k * C;
	model->params = MemoryContextAllocHuge(result, Max(sizeof(float) * model->nparams, 1));
	memcpy(model->params, components, sizeof(float) * model->nparams);
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Facts that depend on rows and options only, for the model to carry. */
static char *
facts_text(const Dataset *d, const TrainFacts *facts, const StepsReport *report)
{
	StringInfoData text;
	int64		held = 0;

	for (int i = 0; i < d->nruns; i++)
		held += d->runs[i].rows - dataset_training_rows(d, &d->runs[i]);
	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_put_int(&text, "rows", facts->rows.rows);
	json_put_int(&text, "held_out", held);
	json_put_int(&text, "series", d->nseries);
	json_put_int(&text, "gaps", facts->rows.gaps);
	json_put_int(&text, "imputed_values", facts->rows.values.imputed);
	json_put_int(&text, "imputed_rows", facts->rows.values.imputed_rows);
	json_put_int(&text, "steps", facts->steps);
	json_put_int(&text, "seed", d->options->seed);
	json_put_doubles(&text, "loss", report->points, report->curve);
	appendStringInfoChar(&text, '}');
	return text.data;
}

static void
report_sampling(const Dataset *d)
{
	if (d->level > 0)
		ereport(NOTICE,
				(errmsg("training on a sample of " INT64_FORMAT " of " INT64_FORMAT " rows",
						d->nrows, d->facts.offered),
				 errdetail("All would not fit into maintenance_work_mem, %d MB.",
						   maintenance_work_mem / 1024),
				 errhint("Raise maintenance_work_mem to train on more of them.")));
}

Model *
train_model(Dataset *d, const Model *initial, TrainFacts *facts)
{
	const Options *o = d->options;
	MemoryContext result = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(result, "amad training", ALLOCSET_DEFAULT_SIZES);
	StepsReport report = {.points = 0};
	Model	   *model;
	Size		bytes;
	nn_season	season;
	instr_time	start,
				end;

	INSTR_TIME_SET_CURRENT(start);
	memset(facts, 0, sizeof(*facts));
	check_names(o, d->features);
	check_size(o, d->features);
	model = model_create(o, d->features, 0);
	MemoryContextSwitchTo(work);
	dataset_finish(d, &model->stats);
	facts->rows = d->facts;
	report_sampling(d);
	season = season_choose(o, d, model->stats.step);
	MemoryContextSwitchTo(result);
	model_set_season(model, &season);
	MemoryContextSwitchTo(work);
	/* counted as if steps and calibration ran at the same time */
	bytes = method_bytes(o, d->features) + calibrate_bytes(model, d->nrows);
	budget_check(&d->budget, "training", bytes);
	flags_find(model, d);
	if (o->method == METHOD_AMAD)
	{
		learn_network(model, d, initial, bytes, &report, facts);
		states_fit(model, d, check_interrupts);
	}
	else if (o->method == METHOD_PCA)
		learn_components(model, d, result);
	MemoryContextSwitchTo(result);
	calibrate_model(model, d);
	model->ts_type = d->ts_type;
	model->training = facts_text(d, facts, &report);
	model->core = blas_core();
	facts->nseries = d->series[0].key ? d->nseries : 0;
	facts->sampled = 1 << d->level;
	MemoryContextDelete(work);
	dataset_close(d);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	facts->seconds = INSTR_TIME_GET_DOUBLE(end);
	return model;
}

/* ---- summary ----------------------------------------------------------------------------------- */

/* Features that the scaling takes for constant: their changes are not learned. */
static void
write_constant_features(const Model *model, StringInfo out)
{
	bool	   *constant = palloc(sizeof(bool) * model->features);

	for (int i = 0; i < model->features; i++)
		constant[i] = !(model->stats.std[i] > 0);
	model_write_names(model, constant, out);
	pfree(constant);
}

/* A count that is told only where there is something to tell. */
static void
write_count(StringInfo out, const char *key, int64 count)
{
	if (count == 0)
		return;
	json_put_int(out, key, count);
}

Jsonb *
train_facts_to_jsonb(const Model *m, const TrainFacts *facts)
{
	StringInfoData text;

	initStringInfo(&text);
	json_reopen(&text, json_to_jsonb(m->training));
	json_put_double(&text, "seconds", facts->seconds);
	json_put_int(&text, "workers", facts->workers);
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}

Jsonb *
train_summary(const char *name, int version, const Model *model, const TrainFacts *facts)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_put_string(&text, "model_name", name);
	json_put_int(&text, "version", version);
	json_put_int(&text, "rows", facts->rows.rows);
	json_put_int(&text, "features", model->features);
	write_count(&text, "series", facts->nseries);
	write_count(&text, "short_series", facts->rows.short_series);
	write_count(&text, "gaps", facts->rows.gaps);
	write_count(&text, "duplicate_rows", facts->rows.duplicates);
	write_count(&text, "rows_without_timestamp", facts->rows.without_ts);
	write_count(&text, "labelled_rows", facts->rows.labelled);
	write_count(&text, "sampled_from", facts->sampled > 1 ? facts->rows.offered : 0);
	json_put_int(&text, "imputed_rows", facts->rows.values.imputed_rows);
	json_put_int(&text, "imputed_values", facts->rows.values.imputed);
	json_key(&text, "constant_features");
	write_constant_features(model, &text);
	json_put_int(&text, "steps", facts->steps);
	json_put_double(&text, "loss", facts->loss);
	json_put_double(&text, "threshold", model->stats.threshold);
	json_put_int(&text, "warmup", options_warmup(&model->options, model->features));
	json_put_double(&text, "seconds", facts->seconds);
	json_put_int(&text, "workers", facts->workers);
	json_put_string(&text, "core", model->core);
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}
