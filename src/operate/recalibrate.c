/*
 * operate/recalibrate.c
 *	  The function amad_recalibrate: new scales and threshold from recent rows; the
 *	  network stays.
 *
 *		amad_recalibrate(model_name, since, until, last_n, source, timestamp_col,
 *						 label_col, options) → jsonb
 *
 * It is not known which of the recent rows are anomalous.  So the rows with the greatest
 * severities do not count for the scales and cannot raise the threshold (threshold.c).
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"

#include "learn/calibrate.h"
#include "model/registry.h"
#include "operate/recent.h"
#include "pg/json.h"

#define ARG_OPTIONS RECENT_ARGS
#define MOST_TRIM 0.5			/* anomalies cannot be the majority */

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
	{"contamination", false},	{"lookahead", false}, {"discrepancy_weight", true},
	{"horizon_quantile", true}, {"release", false},	  {"residual_floor", true},
	{"season_weight", true},
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

/* A copy of an object without a key. */
static Jsonb *
remove_key(Jsonb *json, const char *key)
{
	return DatumGetJsonbP(
		DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(json), CStringGetTextDatum(key)));
}

static Choices
parse_choices(Jsonb *json)
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
	choices.others = json;
	for (int i = 0; i < lengthof(own_keys); i++)
		choices.others = remove_key(choices.others, own_keys[i]);
	return choices;
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
				  const Recalibrated *result)
{
	Jsonb	   *facts = remove_key(json_to_jsonb(training), "recalibration");
	StringInfoData text;

	initStringInfo(&text);
	json_reopen(&text, facts);
	json_key(&text, "recalibration");
	appendStringInfoChar(&text, '{');
	json_put_int(&text, "from_version", version);
	json_put_int(&text, "rows", result->rows);
	json_put_int(&text, "labelled_rows", recent->labelled);
	json_put_double(&text, "trim", choices->trim);
	json_put_json(&text, "threshold_only", choices->threshold_only ? "true" : "false");
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

static int
store(const DetectSpec *spec, const RegistryEntry *entry, const Model *model)
{
	return registry_store(spec->function, spec->model_name, model,
						  copy_training_facts(model, registry_facts(spec->function, entry)),
						  registry_source(spec->function, entry));
}

/* ---- the whole -------------------------------------------------------------------------- */

/* The share of the rows that the old version flags. */
static double
flagged_before(const Recent *recent)
{
	int64		scored = 0;
	int64		flagged = 0;

	for (int i = 0; i < recent->dataset->nseries; i++)
	{
		scored += recent->series[i].scored;
		flagged += recent->series[i].flagged;
	}
	return scored > 0 ? (double) flagged / scored : 0;
}

static Jsonb *
summary(const char *name, int version, int from_version, const Model *model, const Recent *recent,
		const Recalibrated *result, double seconds)
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
	}
	json_put_double(&text, "flagged_before", flagged_before(recent));
	json_put_double(&text, "flagged",
					result->rows > 0 ? (double) result->flagged / result->rows : 0);
	json_put_double(&text, "threshold", model->stats.threshold);
	json_put_double(&text, "seconds", seconds);
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}

static double
seconds_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_DOUBLE(now);
}

Datum
amad_recalibrate(PG_FUNCTION_ARGS)
{
	DetectSpec	spec = recent_spec(fcinfo);
	Choices		choices = parse_choices(PG_ARGISNULL(ARG_OPTIONS) ? NULL
															  : PG_GETARG_JSONB_P(ARG_OPTIONS));
	Recalibrated result;
	RegistryEntry entry;
	Recorded	recorded;
	Recent	   *recent;
	Model	   *model;
	instr_time	start;
	int			version;

	INSTR_TIME_SET_CURRENT(start);
	PreventCommandIfReadOnly("amad_recalibrate()");
	(void) find_own_model(&spec, 0);
	recent = recent_read(&spec, choices.trim);
	entry = find_own_model(&spec, detect_model(recent->detection)->version);
	model = registry_model(spec.function, &entry);
	if (choices.others)
		options_update(&model->options, choices.others);
	recorded = (Recorded){
		.expected = recent->expected,
		.signals = recent->signals,
		.use = recent->use,
		.severity = recent->severity,
		.trim = choices.trim,
		.threshold_only = choices.threshold_only,
		.new_contamination = choices.others != NULL &&
			json_get(&choices.others->root, "contamination") != NULL,
	};
	budget_check(&recent->dataset->budget, "recalibration",
				 recalibrate_bytes(model, recent->dataset->nrows));
	recalibrate_model(model, recent->dataset, &recorded, &result);
	model->training = add_recalibration(model->training, entry.version, recent, &choices, &result);
	version = store(&spec, &entry, model);
	PG_RETURN_JSONB_P(summary(spec.model_name, version, entry.version, model, recent, &result,
							  seconds_since(start)));
}
