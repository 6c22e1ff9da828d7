/*
 * operate/recalibrate.c
 *	  The function amad_recalibrate: new scales and threshold from recent rows; the
 *	  network stays.
 *
 *		amad_recalibrate(model_name, since, until, last_n, series, source, timestamp_col,
 *						 label_col, options, deploy, keep) → jsonb
 *
 * It is not known which of the recent rows are anomalous.  So the rows with the greatest
 * severities do not count for the scales and cannot raise the threshold (threshold.c).
 *
 * Series that a fleet's model does not contain are read with a scaling of their own (adopt.c).
 * Those with enough rows become series of the model before it is calibrated, and all of their
 * rows count, as in a training; rows of the others do not.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "learn/calibrate.h"
#include "learn/deployment.h"
#include "learn/fit_season.h"
#include "model/codec.h"
#include "model/registry.h"
#include "operate/adopt.h"
#include "operate/recent.h"
#include "pg/elapsed.h"
#include "pg/json.h"
#include "pg/progress.h"

/* Arguments after those of recent_spec(), in their order. */
enum
{
	ARG_OPTIONS = RECENT_ARGS,
	ARG_DEPLOY,
	ARG_KEEP
};

#define MOST_TRIM 0.5			/* anomalies cannot be the majority */
#define MOST_NAMED 20			/* series in a list of the summary */
#define SEASON_HELD_OUT 0.1		/* share of the rows of a new series that measure its season */

SQL_FUNCTION(amad_recalibrate);

/* ---- options -------------------------------------------------------------------------- */

typedef struct Choices
{
	double		trim;
	bool		threshold_only;
	Jsonb	   *others;			/* options of a training; NULL: none */
} Choices;

static const char *const own_keys[] = {"trim", "threshold_only"};

/* Options of a training that only calibration uses. */
static const struct
{
	const char *key;
	bool		scales;			/* changes rho, mu or theta; only advanced ones do */
} training_keys[] = {
	{.key = "contamination"},
	{.key = "lookahead"},
	{.key = "burst"},
	{.key = "discrepancy_weight", .scales = true},
	{.key = "fade", .scales = true},
	{.key = "flatline_weight", .scales = true},
	{.key = "horizon_quantile", .scales = true},
	{.key = "relation_weight", .scales = true},
	{.key = "release"},
	{.key = "residual_floor", .scales = true},
	{.key = "season_weight", .scales = true},
	{.key = "state_weight", .scales = true},
};

/* The keys of a level, as a list for messages. */
static char *
list_training_keys(OptionLevel level)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(training_keys); i++)
		if (options_level(training_keys[i].key) == level)
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", training_keys[i].key);
	return list.data;
}

/* ERROR unless a recalibration has the option, and it is given at its level. */
static void
check_key(const char *key, OptionLevel given)
{
	for (int i = 0; i < lengthof(own_keys); i++)
		if (strcmp(key, own_keys[i]) == 0)
		{
			options_check_level(key, OPTION_ORDINARY, given);
			return;
		}
	for (int i = 0; i < lengthof(training_keys); i++)
		if (strcmp(key, training_keys[i].key) == 0)
		{
			options_check_level(key, options_level(key), given);
			return;
		}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized option \"%s\" of a recalibration", key),
			 errhint("Valid options are: %s, %s, %s; advanced options: %s. "
					 "Other options require retraining.",
					 list_training_keys(OPTION_ORDINARY), own_keys[0], own_keys[1],
					 list_training_keys(OPTION_ADVANCED))));
}

/* Checks the keys of an object; returns the object "advanced" in it, NULL if there is none. */
static JsonbContainer *
check_keys(JsonbContainer *object, OptionLevel level)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbContainer *advanced = NULL;
	JsonbValue	value;
	char	   *key;

	while ((key = json_next_member(&it, &value)) != NULL)
		if (level == OPTION_ADVANCED || strcmp(key, "advanced") != 0)
			check_key(key, level);
		else
			advanced = options_advanced(&value);
	return advanced;
}

/* ERROR if the object "advanced" has an option that changes scores. */
static void
check_threshold_only(JsonbContainer *advanced)
{
	for (int i = 0; i < lengthof(training_keys); i++)
		if (training_keys[i].scales && json_get(advanced, training_keys[i].key) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" cannot be combined with \"threshold_only\"",
							training_keys[i].key),
					 errdetail("It changes the scores, not the threshold.")));
}

/* ERROR if an object has an option of a training, which would apply to all series. */
static void
refuse_options_of_all(JsonbContainer *object)
{
	for (int i = 0; i < lengthof(training_keys); i++)
		if (json_get(object, training_keys[i].key) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" cannot be combined with the argument series",
							training_keys[i].key),
					 errdetail("It applies to all series of the model.")));
}

/* A copy of an object without a key. */
static Jsonb *
remove_key(Jsonb *json, const char *key)
{
	return DatumGetJsonbP(
		DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(json), CStringGetTextDatum(key)));
}

static Choices
parse_choices(Jsonb *json, bool some_series)
{
	Choices		choices = {.trim = RECENT_TRIM};
	JsonbContainer *advanced;
	JsonbValue *value;

	if (json == NULL)
		return choices;
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("options must be a JSON object"),
				 errhint("For example '{\"contamination\": 0.005}'.")));
	advanced = check_keys(&json->root, OPTION_ORDINARY);
	if (advanced != NULL)
		check_keys(advanced, OPTION_ADVANCED);
	if ((value = json_get(&json->root, "trim")) != NULL)
	{
		choices.trim = json_number(value, -1);
		if (!(choices.trim >= 0 && choices.trim <= MOST_TRIM))
			json_refuse_option("trim", value, "a number from 0 to 0.5");
	}
	if ((value = json_get(&json->root, "threshold_only")) != NULL)
	{
		if (value->type != jbvBool)
			json_refuse_option("threshold_only", value, "true or false");
		choices.threshold_only = value->val.boolean;
	}
	if (choices.threshold_only && advanced != NULL)
		check_threshold_only(advanced);
	if (some_series)
	{
		refuse_options_of_all(&json->root);
		if (advanced != NULL)
			refuse_options_of_all(advanced);
	}
	choices.others = json;
	for (int i = 0; i < lengthof(own_keys); i++)
		choices.others = remove_key(choices.others, own_keys[i]);
	return choices;
}

/* Sets options of the model, and the weights of evidence among its figures. */
static void
update_options(Model *m, Jsonb *others)
{
	const Options old = m->options;
	ModelPlan	plan;

	options_update(&m->options, others);
	plan = plan_make(&m->options, m->features);
	if (plan.has_states != m->plan.has_states || plan.evidence != m->plan.evidence)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a recalibration cannot change a weight from or to 0"),
				 errdetail("The model would have other figures."),
				 errhint("Set the option when training.")));
	for (int i = -1; i < m->nseries; i++)
	{
		ModelStats *stats = i < 0 ? &m->stats : &m->series[i].stats;

		CHECK_FOR_INTERRUPTS();
		if (plan.has_flatlines)
			stats->flatline *= m->options.flatline_weight / old.flatline_weight;
		if (plan.has_relations)
			stats->relation *= m->options.relation_weight / old.relation_weight;
	}
}

/* ---- new series ---------------------------------------------------------------------------- */

/* The series that the model did not contain. */
typedef struct NewSeries
{
	int			adopted;
	int			learning;		/* the others, with too few rows */
	char	   *adopted_list;	/* JSON arrays of the first ones */
	char	   *learning_list;
} NewSeries;

static void
report_too_few_to_adopt(const Model *m, int64 scored)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("too few rows to adopt a series: " INT64_FORMAT, scored),
			 m->season.nperiods > 0
				 ? errdetail("At least " INT64_FORMAT
							 " rows with a score are needed, and the rows have to span %d times "
							 "the shortest period of the season.",
							 adopt_least_rows(&m->options), ADOPT_PERIODS)
				 : errdetail("At least " INT64_FORMAT " rows with a score are needed.",
							 adopt_least_rows(&m->options)),
			 errhint("Specify an earlier since or a greater last_n.")));
}

static void
list_series(StringInfo list, const char *text)
{
	appendStringInfo(list, "%s%s", list->len > 1 ? ", " : "", text);
}

/*
 * Adds the new series that have figures and at least `least` rows with a score to the model.
 * The rows of others count for nothing.  ERROR if there are only others.
 */
static NewSeries
adopt_new_series(Recent *recent, Model *m)
{
	const Dataset *d = recent->dataset;
	const int64 least = adopt_least_rows(&m->options);
	Size		bytes = sizeof(ModelSeries) * (2 * (Size) d->nseries + m->nseries);
	NewSeries	result = {0};
	ModelSeries *added;
	StringInfoData adopted;
	StringInfoData learning;
	int64		most = 0;

	budget_check(&recent->budget, "series", bytes);
	added = palloc_extended(sizeof(ModelSeries) * Max(d->nseries, 1), MCXT_ALLOC_HUGE);
	initStringInfo(&adopted);
	initStringInfo(&learning);
	appendStringInfoChar(&adopted, '[');
	appendStringInfoChar(&learning, '[');
	for (int i = 0; i < d->nseries; i++)
	{
		RecentSeries *s = &recent->series[i];

		CHECK_FOR_INTERRUPTS();
		if (!s->learning)
			continue;
		if (s->scored < least)
			s->figures = NULL;
		/* all rows with a score count, as in a training; old severities do not */
		for (int64 row = s->first; row < s->first + s->rows; row++)
		{
			if (s->figures == NULL)
				recent->use[row] = ROW_CONTEXT;
			else if (recent->use[row] != ROW_CONTEXT)
				recent->use[row] = ROW_KEPT;
			recent->severity[row] = NAN;
		}
		if (s->figures)
		{
			added[result.adopted++] = (ModelSeries){d->series[i].key, *s->figures};
			if (result.adopted <= MOST_NAMED)
				list_series(&adopted, d->series[i].key);
			continue;
		}
		most = Max(most, s->scored);
		if (++result.learning <= MOST_NAMED)
			list_series(&learning,
						psprintf("{\"series\": %s, \"rows\": " INT64_FORMAT "}", d->series[i].key,
								 s->scored));
	}
	if (result.learning > 0 && result.learning == d->nseries)
		report_too_few_to_adopt(m, most);
	if (result.adopted > 0)
		model_add_series(m, result.adopted, added);
	appendStringInfoChar(&adopted, ']');
	appendStringInfoChar(&learning, ']');
	result.adopted_list = adopted.data;
	result.learning_list = learning.data;
	return result;
}

/*
 * Fits the season of each series that has been adopted to its rows, some of which measure how
 * well it fits.
 */
static void
fit_new_seasons(const Recent *recent, const Model *m)
{
	const Dataset *d = recent->dataset;

	for (RunRange runs = {0, 0}; runs.last < d->nruns;)
	{
		int			i = d->runs[runs.last].series;
		DatasetSeries *series = &d->series[i];

		CHECK_FOR_INTERRUPTS();
		runs = dataset_series_runs(d, runs.last);
		if (!recent->series[i].learning || recent->series[i].figures == NULL)
			continue;
		series->held = held_out_plan(series->rows, SEASON_HELD_OUT, 1, 0);
		fit_season_weights(m, d, runs, &m->stats, recent->series[i].figures);
		series->held.blocks = 0;	/* in a recalibration all rows are like held-out ones */
	}
}

/* ---- moved levels ------------------------------------------------------------------------- */

/* Takes over the scaling of the series that were rescaled; returns a list of features as JSON. */
static char *
take_over_scaling(const Recent *recent, Model *m)
{
	const Dataset *d = recent->dataset;
	StringInfoData list;
	int			named = 0;

	initStringInfo(&list);
	appendStringInfoChar(&list, '[');
	for (int i = 0; i < d->nseries; i++)
	{
		const char *key = d->series[i].key;
		const ModelStats *from = recent->series[i].figures;
		ModelStats *to = (ModelStats *) model_known_stats(m, key);

		CHECK_FOR_INTERRUPTS();
		if (from == NULL || recent->series[i].learning)
			continue;
		for (int c = 0; c < m->features; c++)
		{
			if (from->mean[c] == to->mean[c] && from->std[c] == to->std[c])
				continue;
			if (named++ < MOST_NAMED)
			{
				appendStringInfoString(&list, named > 1 ? ", {" : "{");
				if (key)
					json_put_json(&list, "series", key);
				json_put_string(&list, "feature", options_feature_name(&m->options, c));
				/* null for a constant, which has no standard deviation */
				json_put_double(&list, "shift", (from->mean[c] - to->mean[c]) / to->std[c]);
				appendStringInfoChar(&list, '}');
			}
			to->mean[c] = from->mean[c];
			to->std[c] = from->std[c];
		}
	}
	appendStringInfoChar(&list, ']');
	return list.data;
}

/*
 * Decides which series get new scales: those that have drifted together with the values of
 * their features, and new ones; all of them if the options say so.
 */
static bool *
find_refit(const Recent *recent, const Choices *choices)
{
	bool	   *refit = palloc(sizeof(bool) * Max(recent->dataset->nseries, 1));
	bool		all = choices->trim == 0 ||
		(choices->others != NULL && JsonContainerSize(&choices->others->root) > 0);

	for (int i = 0; i < recent->dataset->nseries; i++)
	{
		const RecentSeries *s = &recent->series[i];

		CHECK_FOR_INTERRUPTS();
		refit[i] = !choices->threshold_only &&
			(all || (s->learning ? s->figures != NULL : s->fit.drifted && s->shifted));
	}
	return refit;
}

/* ---- the model ----------------------------------------------------------------------------- */

/* Finds a version that the caller owns. */
static RegistryEntry
find_own_model(const DetectSpec *spec, int version)
{
	RegistryEntry entry = registry_find(spec->function, spec->model_name, version);

	if (!entry.own)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("model \"%s\" belongs to role \"%s\"", spec->model_name,
						NameStr(entry.role)),
				 errhint("Use SET ROLE to become the owner.")));
	return entry;
}

/* Adds the recalibration to the facts of the model, in place of an earlier one. */
static char *
add_recalibration(const char *training, int version, const Recent *recent, const Choices *choices,
				  const NewSeries *new, const Recalibrated *result)
{
	Jsonb	   *old = json_to_jsonb(training);
	const int	training_version = registry_training(version, old);
	Jsonb	   *facts = remove_key(old, "recalibration");
	StringInfoData text;

	initStringInfo(&text);
	json_reopen(&text, facts);
	json_key(&text, "recalibration");
	appendStringInfoChar(&text, '{');
	json_put_int(&text, "from_version", version);
	json_put_int(&text, "training_version", training_version);
	json_put_int(&text, "rows", result->rows);
	json_put_int(&text, "labelled_rows", recent->labelled);
	json_put_double(&text, "trim", choices->trim);
	json_put_json(&text, "threshold_only", choices->threshold_only ? "true" : "false");
	if (new->adopted > 0)
		json_put_int(&text, "series_adopted", new->adopted);
	appendStringInfoString(&text, "}}");
	return text.data;
}

/* A number of the facts; 0 if it is not a number from 0 to `most`. */
static double
read_fact(Jsonb *facts, const char *key, double most)
{
	double		x = json_number(json_get(&facts->root, key), 0);

	return x >= 0 && x <= most ? x : 0;
}

/* The facts to store: those of the model, and the duration of its training. */
static Jsonb *
copy_training_facts(const Model *model, Jsonb *old)
{
	StringInfoData text;

	initStringInfo(&text);
	json_reopen(&text, json_to_jsonb(model->training));
	json_put_double(&text, "seconds", read_fact(old, "seconds", DBL_MAX));
	json_put_int(&text, "workers", (int) read_fact(old, "workers", PG_INT32_MAX));
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}

/* ---- the whole -------------------------------------------------------------------------- */

static Jsonb *
summary(const char *name, int version, int from_version, const Model *model, const Recent *recent,
		const NewSeries *new, const char *rescaled, const Recalibrated *result, double seconds)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_put_string(&text, "model_name", name);
	json_put_int(&text, "version", version);
	json_put_int(&text, "from_version", from_version);
	json_put_int(&text, "rows", result->rows);
	if (recent->labelled > 0)
		json_put_int(&text, "labelled_rows", recent->labelled);
	if (model->nseries > 0)
	{
		json_put_int(&text, "series", result->series);
		json_put_int(&text, "series_unchanged", result->kept);
		json_put_int(&text, "series_adopted", new->adopted);
		json_put_int(&text, "series_learning", new->learning);
		json_put_json(&text, "adopted", new->adopted_list);
		json_put_json(&text, "learning", new->learning_list);
	}
	json_put_json(&text, "rescaled", rescaled);
	json_put_double(&text, "flagged_before", recent->flagged_before);
	json_put_double(&text, "flagged",
					result->rows > 0 ? (double) result->flagged / result->rows : 0);
	json_put_double(&text, "threshold", model->stats.threshold);
	if (result->threshold_ratio > 0)
		json_put_double(&text, "threshold_ratio", result->threshold_ratio);
	json_put_double(&text, "seconds", seconds);
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}

Datum
amad_recalibrate(PG_FUNCTION_ARGS)
{
	DetectSpec	spec = recent_spec(fcinfo);
	const bool	begun = progress_begin(PROGRESS_RECALIBRATE);
	Choices		choices = parse_choices(PG_ARGISNULL(ARG_OPTIONS) ? NULL
															  : PG_GETARG_JSONB_P(ARG_OPTIONS),
									spec.series != NULL);
	DeployArguments deploy = read_deploy_arguments(fcinfo, ARG_DEPLOY, ARG_KEEP);
	Deployment	deployment;
	Recalibrated result;
	NewSeries	new;
	Jsonb	   *json;
	char	   *rescaled;
	RegistryEntry entry;
	Recorded	recorded;
	Recent	   *recent;
	Recent		counts;
	Model	   *model;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	PreventCommandIfReadOnly("amad_recalibrate()");
	deployment = deployment_open(&deploy, &spec, find_own_model(&spec, 0).version);
	recent = recent_read(&spec, choices.trim,
						 choices.threshold_only ? RECENT_CALIBRATE : RECENT_RESCALE);
	entry = find_own_model(&spec, detect_model(recent->detection)->version);
	deployment.from_version = entry.version;
	model = registry_model(spec.function, &entry);
	if (choices.others)
		update_options(model, choices.others);
	recorded = (Recorded){
		.expected = recent->expected,
		.signals = recent->signals,
		.use = recent->use,
		.severity = recent->severity,
		.trim = choices.trim,
		.some_series = spec.series != NULL,
		.new_contamination = choices.others != NULL &&
			json_get(&choices.others->root, "contamination") != NULL,
	};
	rescaled = take_over_scaling(recent, model);
	new = adopt_new_series(recent, model);
	recorded.refit = find_refit(recent, &choices);
	budget_check(&recent->dataset->budget, "recalibration",
				 recalibrate_bytes(model, recent->dataset->nrows) + fit_season_bytes(model));
	if (new.adopted > 0 && model->season.nperiods > 0 && !choices.threshold_only)
		fit_new_seasons(recent, model);
	recalibrate_model(model, recent->dataset, &recorded, &result);
	model->training = add_recalibration(model->training, entry.version, recent, &choices, &new,
										&result);
	counts = *recent;
	if (deploy.when == DEPLOY_IF_BETTER)
	{
		/* the comparison needs the memory of the rows, to which the model has pointers */
		model = model_decode(model_encode(model));
		MemoryContextDelete(recent->context);
	}
	progress_phase(PROGRESS_STORING, 0, 0);
	deployment_store(&deployment, model,
					 copy_training_facts(model, registry_facts(spec.function, &entry)),
					 registry_source(spec.function, &entry));
	json = summary(spec.model_name, deployment.stored.version, entry.version, model, &counts, &new,
				   rescaled, &result, seconds_since(start));
	progress_end(begun);
	PG_RETURN_JSONB_P(deployment_summary(&deployment, json));
}
