/*
 * learn/train_model.c
 *	  Training: from a dataset to a model.
 *
 * The dataset is finished and the season chosen.  Then the weights are trained on the rows
 * that are not held out (optimizer.c), states are fitted to them (fit_states.c), and the
 * model is calibrated on all rows (calibrate.c).
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "core/evidence/pca.h"
#include "learn/binary_features.h"
#include "learn/calibrate.h"
#include "learn/fit_season.h"
#include "learn/fit_states.h"
#include "learn/optimizer.h"
#include "learn/train_model.h"
#include "model/codec.h"
#include "pg/blas.h"
#include "pg/elapsed.h"
#include "pg/interrupts.h"
#include "pg/json.h"
#include "pg/parallel.h"
#include "pg/progress.h"

/* ---- how much is needed ------------------------------------------------------------ */

static void
check_size(const ModelPlan *plan, const Options *options)
{
	if (plan->network_size * sizeof(float) > MODEL_MOST_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a model of " UINT64_FORMAT " weights is too large to be stored",
						(uint64) plan->network_size),
				 errhint("Choose a smaller d_model or fewer layers.")));
	if (options->method == METHOD_PCA && plan->features > NN_PCA_FEATURES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("method \"pca\" is limited to %d features, but there are %d",
						NN_PCA_FEATURES, plan->features),
				 errhint("Use fewer features, or choose \"method\": \"amad\" or \"zscore\".")));
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

/*
 * Says that the default number of steps does not reach all training rows, as in a large fleet.
 * With 100 different series of 8,000 rows, average precision was .40 after 0.14 passes, .44
 * after 0.7 and .45 after 3.
 */
static void
report_few_passes(const Options *options, const OptimizerPlan *plan)
{
	if (options->default_steps && plan->passes < 1)
		ereport(NOTICE,
				(errmsg("the default of " INT64_FORMAT
						" steps passes over the training rows only %.2g times",
						plan->steps, plan->passes),
				 errhint("Set option \"epochs\" to 3, for example.")));
}

/* Workspace of the method. */
static Size
method_bytes(const Options *o, const ModelPlan *plan)
{
	const int	features = plan->features;

	switch ((Method) o->method)
	{
		case METHOD_AMAD:
			/* weights, the value while it is encoded, the optimizer */
			return 3 * sizeof(float) * plan->params_size +
				optimizer_bytes(&plan->shape, o->batch_size, o->chunk_length) +
				fit_states_bytes(plan);
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
	const nn_season season = plan_largest_season(o);
	const ModelPlan plan = plan_make(o, features);
	MemoryContext old;
	Model	   *model;
	Size		bytes;

	check_size(&plan, o);
	old = MemoryContextSwitchTo(scratch);
	model = model_create(o, features, 0);
	model_set_season(model, &season);
	bytes = method_bytes(o, &plan) + calibrate_bytes(model, 0);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	return bytes;
}

/* ---- methods ----------------------------------------------------------------------------- */

static void
check_initial(const Model *model, const Model *initial)
{
	const nn_shape *shape = &initial->plan.shape;

	if (!initial->plan.has_network || memcmp(&model->plan.shape, shape, sizeof(*shape)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a warm start requires a network of the same shape"),
				 errdetail("The deployed network has %d features, window %d, d_model %d, heads %d, "
						   "layers %d.",
						   shape->features, shape->window, shape->d_model, shape->heads,
						   shape->layers)));
}

/* Time that calibration takes for a row, relative to a training step. */
#define CALIBRATION_COST 0.4

static void
learn_network(Model *model, const Dataset *dataset, const Model *initial, Size others,
			  OptimizerReport *report, TrainFacts *facts)
{
	OptimizerRows rows;
	OptimizerPlan plan = optimizer_plan(dataset, &rows);

	if (initial)
	{
		check_initial(model, initial);
		parallel_copy(model->params, initial->params, sizeof(float) * model->plan.network_size);
		plan.warm = true;
	}
	report_few_passes(dataset->options, &plan);
	plan.later = CALIBRATION_COST * calibrate_passed_rows(model, dataset, 1);
	optimizer_run(&plan, &rows, model->params, optimizer_workers(&plan, others), report);
	facts->steps = plan.steps;
	facts->passes = strtod(psprintf("%.3g", plan.passes), NULL);	/* three digits */
	facts->loss = report->curve[report->points - 1];
	facts->workers = report->workers;
}

void
train_components(Model *model, const Dataset *dataset, MemoryContext result)
{
	const int	C = model->features;
	void	   *memory = palloc_extended(nn_pca_bytes(C), MCXT_ALLOC_HUGE);
	float	   *components = palloc_extended(sizeof(float) * C * C, MCXT_ALLOC_HUGE);
	int			k;

	nn_pca_begin(memory, C);
	for (int i = 0; i < dataset->nruns; i++)
		for (int64 place = 0, end; place < dataset->runs[i].rows; place = end)
			if (!dataset_held_out(dataset, &dataset->runs[i], place, &end))
				nn_pca_add(memory, C, dataset->rows + (dataset->runs[i].first + place) * C,
						   end - place, check_interrupts);
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

/* Writes a count unless it is 0. */
static void
write_count(StringInfo out, const char *key, int64 count)
{
	if (count == 0)
		return;
	json_put_int(out, key, count);
}

/* The facts in the model: they depend on rows and options only. */
static char *
facts_text(const Dataset *d, const TrainFacts *facts, const OptimizerReport *report)
{
	StringInfoData text;
	int64		held = 0;

	for (int i = 0; i < d->nruns; i++)
		for (int64 place = 0, end; place < d->runs[i].rows; place = end)
			if (dataset_held_out(d, &d->runs[i], place, &end))
				held += end - place;
	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_put_int(&text, "rows", facts->rows.rows);
	write_count(&text, "sampled_from", d->level > 0 ? d->facts.offered : 0);
	json_put_int(&text, "held_out", held);
	json_put_int(&text, "series", d->nseries);
	json_put_int(&text, "gaps", facts->rows.gaps);
	json_put_int(&text, "imputed_values", facts->rows.values.imputed);
	json_put_int(&text, "imputed_rows", facts->rows.values.imputed_rows);
	json_put_int(&text, "steps", facts->steps);
	json_put_double(&text, "passes", facts->passes);
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
				 errdetail("All rows do not fit in maintenance_work_mem (%d MB). "
						   "The calibration uses all of them, series by series.",
						   maintenance_work_mem / 1024),
				 errhint("Raise maintenance_work_mem to train on more of them.")));
}

/* Other types have no time zone, and integers no days. */
static void
check_calendar(const Options *o, Oid ts_type)
{
	const char *option = o->timezone ? "timezone" : "holidays";

	if (o->timezone ? ts_type == TIMESTAMPTZOID : o->calendar.nholidays == 0 || ts_type != INT8OID)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" cannot be used with a time column of type %s", option,
					format_type_be(ts_type))));
}

/* The names of the features with a transform, as a list; NULL if no feature has it. */
static char *
list_transformed(const Model *m, Transform kind)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int c = 0; c < m->features; c++)
		if (m->transforms.kind[c] == kind && options_transform(&m->options, c) == TRANSFORM_AUTO)
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "",
							 options_feature_name(&m->options, c));
	return list.len > 0 ? list.data : NULL;
}

/* Sets the transforms of the model, and names the features for which they were decided here. */
static void
set_transforms(Model *m, const Dataset *d)
{
	char	   *counters;
	char	   *trends;

	memcpy(m->transforms.kind, d->transforms.kind, sizeof(uint8) * m->features);
	transforms_settle(&m->transforms);
	counters = list_transformed(m, TRANSFORM_RATE);
	trends = list_transformed(m, TRANSFORM_DETREND);
	if (counters)
		ereport(NOTICE,
				(errmsg("scoring counters by their rate: %s", counters),
				 errhint("Set option \"transform\" to override this.")));
	if (trends)
		ereport(NOTICE,
				(errmsg("scoring trends by the distance from their recent mean: %s", trends),
				 errhint("Set option \"transform\" to override this.")));
}

Model *
train_model(Dataset *d, const Model *initial, TrainFacts *facts)
{
	const Options *o = d->options;
	MemoryContext result = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(result, "amad training", ALLOCSET_DEFAULT_SIZES);
	OptimizerReport report = {.points = 0};
	Model	   *model;
	Size		bytes;
	nn_season	season;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	memset(facts, 0, sizeof(*facts));
	check_names(o, d->features);
	check_size(&d->plan, o);
	check_calendar(o, d->ts_type);
	model = model_create(o, d->features, 0);
	model->ts_type = d->ts_type;
	MemoryContextSwitchTo(work);
	progress_phase(PROGRESS_PREPARING, 0, 0);
	dataset_finish(d, &model->stats);
	facts->rows = d->facts;
	report_sampling(d);
	set_transforms(model, d);
	season = fit_season_periods(o, d, model->stats.step);
	MemoryContextSwitchTo(result);
	model_set_season(model, &season);
	MemoryContextSwitchTo(work);
	/* optimizer and calibration are counted as if they ran at the same time */
	bytes = method_bytes(o, &d->plan) + calibrate_bytes(model, d->nrows) + d->nrows;
	budget_check(&d->budget, "training", bytes);
	find_binary_features(model, d);
	if (d->plan.has_network)
	{
		learn_network(model, d, initial, bytes, &report, facts);
		fit_states(model, d);
	}
	else if (o->method == METHOD_PCA)
		train_components(model, d, result);
	MemoryContextSwitchTo(result);
	calibrate_model(model, d);
	model->training = facts_text(d, facts, &report);
	model->core = blas_core();
	facts->nseries = d->series[0].key ? d->nseries : 0;
	facts->sampled = 1 << d->level;
	facts->passed = calibrate_passed_rows(model, d, 1) * d->facts.offered / Max(d->nrows, 1);
	MemoryContextDelete(work);
	dataset_close(d);
	facts->seconds = seconds_since(start);
	return model;
}

void
train_set_calibrated(Model *m, const SeriesSummary *s, int nseries, TrainFacts *facts)
{
	StringInfoData text;

	facts->nseries = m->nseries_cols > 0 ? nseries : 0;
	facts->calibrated = s->counts[SUMMARY_ROWS];
	/* not counted here if only the sample was read */
	facts->rows.labelled = Max(facts->rows.labelled, s->counts[SUMMARY_LABELLED]);
	facts->rows.gaps = s->counts[SUMMARY_GAPS];
	facts->rows.values.imputed = s->counts[SUMMARY_IMPUTED];
	facts->rows.values.imputed_rows = s->counts[SUMMARY_IMPUTED_ROWS];
	/* of members with the same key the last one counts */
	initStringInfo(&text);
	json_reopen(&text, json_to_jsonb(m->training));
	json_put_int(&text, "calibrated_rows", facts->calibrated);
	json_put_int(&text, "series", nseries);
	json_put_int(&text, "gaps", facts->rows.gaps);
	json_put_int(&text, "imputed_values", facts->rows.values.imputed);
	json_put_int(&text, "imputed_rows", facts->rows.values.imputed_rows);
	appendStringInfoChar(&text, '}');
	m->training = JsonbToCString(NULL, &json_to_jsonb(text.data)->root, -1);
}

void
train_error_context(void *name)
{
	if (name)
		errcontext("training of model \"%s\"", (const char *) name);
}

/* ---- summary ----------------------------------------------------------------------------------- */

/* Features that are constant in training. */
static void
write_constant_features(const Model *model, StringInfo out)
{
	bool	   *constant = palloc(sizeof(bool) * model->features);

	for (int i = 0; i < model->features; i++)
		constant[i] = !(model->stats.std[i] > 0);
	model_write_names(model, constant, out);
	pfree(constant);
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
	write_count(&text, "calibrated_rows", facts->calibrated);
	json_put_int(&text, "imputed_rows", facts->rows.values.imputed_rows);
	json_put_int(&text, "imputed_values", facts->rows.values.imputed);
	json_key(&text, "constant_features");
	write_constant_features(model, &text);
	if (model->transforms.any)
	{
		json_key(&text, "transforms");
		transforms_write(&model->transforms, &model->options, &text);
	}
	json_put_int(&text, "steps", facts->steps);
	json_put_double(&text, "passes", facts->passes);
	json_put_double(&text, "loss", facts->loss);
	json_put_double(&text, "threshold", model->stats.threshold);
	json_put_int(&text, "warmup", model_warmup(model));
	json_put_double(&text, "seconds", facts->seconds);
	json_put_int(&text, "workers", facts->workers);
	json_put_string(&text, "core", model->core);
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}
