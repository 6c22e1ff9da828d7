/*
 * operate/recalibrate.c
 *	  The function amad_recalibrate: new scales and threshold from recent rows,
 *	  the network untouched.
 *
 *		amad_recalibrate(model_name, since, until, last_n, source, timestamp_col,
 *						 label_col, options) → jsonb
 *
 * Nobody knows which of the recent rows are anomalous, so those with the greatest
 * severities count for no scale, and cannot raise the threshold (calibrate.c).
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"

#include "learn/fit_flatline.h"
#include "pg/json.h"
#include "operate/recent.h"
#include "model/registry.h"

#define ARG_OPTIONS RECENT_ARGS
#define MOST_TRIM 0.5			/* beyond it the anomalies were the rule */

SQL_FUNCTION(amad_recalibrate);

/* ---- options -------------------------------------------------------------------------- */

typedef struct Choices
{
	double		trim;
	bool		threshold_only;
	Jsonb	   *others;			/* options that the training has, too; NULL: none */
} Choices;

static const char *const own_keys[] = {"trim", "threshold_only"};

/* Options of a training that calibration alone looks at; scales: for rho, mu, theta. */
static const struct
{
	const char *key;
	bool		scales;
}			training_keys[] =
{
	{"contamination", false},
	{"discrepancy_weight", true},
	{"horizon_quantile", true},
	{"lookahead", false},
	{"release", false},
	{"residual_floor", true},
	{"season_weight", true},
};

static bool
known_key(const char *key)
{
	for (int i = 0; i < lengthof(own_keys); i++)
		if (strcmp(key, own_keys[i]) == 0)
			return true;
	for (int i = 0; i < lengthof(training_keys); i++)
		if (strcmp(key, training_keys[i].key) == 0)
			return true;
	return false;
}

static void
unknown_key(const char *key)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(training_keys); i++)
		appendStringInfo(&list, "%s, ", training_keys[i].key);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized option \"%s\" of a recalibration", key),
			 errhint("Valid options are: %s%s, %s. Others need a training.", list.data, own_keys[0],
					 own_keys[1])));
}

static void
check_keys(Jsonb *json)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("For example '{\"contamination\": 0.005}'.")));
	JsonbIteratorNext(&it, &value, true);	/* the object's beginning */
	while (JsonbIteratorNext(&it, &value, true) == WJB_KEY)
	{
		char	   *key = pnstrdup(value.val.string.val, value.val.string.len);

		if (!known_key(key))
			unknown_key(key);
		JsonbIteratorNext(&it, &value, true);
	}
}

static void
invalid_choice(const char *key, JsonbValue *value, const char *must_be)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": %s", key,
					JsonbToCString(NULL, &JsonbValueToJsonb(value)->root, -1)),
			 errdetail("It must be %s.", must_be)));
}

static void
parse_trim(Choices *choices, JsonbValue *value)
{
	choices->trim = json_number(value, -1);
	if (!(choices->trim >= 0 && choices->trim <= MOST_TRIM))
		invalid_choice("trim", value, "a number from 0 to 0.5");
}

static void
check_threshold_only(Jsonb *json)
{
	for (int i = 0; i < lengthof(training_keys); i++)
		if (training_keys[i].scales && json_get(&json->root, training_keys[i].key) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" does not go with \"threshold_only\"",
							training_keys[i].key),
					 errdetail("It changes the scores, not the threshold.")));
}

/* An object without a key. */
static Jsonb *
without(Jsonb *json, const char *key)
{
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(json),
											  CStringGetTextDatum(key)));
}

static Choices
parse_choices(Jsonb *json)
{
	Choices		choices = {.trim = RECENT_TRIM};
	JsonbValue *value;

	if (json == NULL)
		return choices;
	check_keys(json);
	if ((value = json_get(&json->root, "trim")) != NULL)
		parse_trim(&choices, value);
	if ((value = json_get(&json->root, "threshold_only")) != NULL)
	{
		if (value->type != jbvBool)
			invalid_choice("threshold_only", value, "true or false");
		choices.threshold_only = value->val.boolean;
	}
	if (choices.threshold_only)
		check_threshold_only(json);
	choices.others = json;
	for (int i = 0; i < lengthof(own_keys); i++)
		choices.others = without(choices.others, own_keys[i]);
	return choices;
}

/* Sets those of the model's options that were given. */
static void
apply_options(Options *options, Jsonb *others)
{
	StringInfoData text;

	if (others == NULL)
		return;
	initStringInfo(&text);
	options_write(options, &text);
	others = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
												JsonbPGetDatum(json_to_jsonb(text.data)),
												JsonbPGetDatum(others)));
	options_parse(options, others);
}

/* ---- the model ----------------------------------------------------------------------------- */

static RegistryEntry
own_entry(const DetectSpec *spec, int version)
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

/* Adds to the facts that the model carries; those of an earlier recalibration go. */
static char *
facts_text(const char *training, int version, const Recent *recent, const Choices *choices,
		   const Recalibrated *result)
{
	Jsonb	   *facts = without(json_to_jsonb(training), "recalibration");
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

/* A fact of the training that the new version keeps; 0 if it is not a number up to `most`. */
static double
number_of(Jsonb *facts, const char *key, double most)
{
	double		x = json_number(json_get(&facts->root, key), 0);

	return x >= 0 && x <= most ? x : 0;
}

/* The facts of the model, and how long its training took. */
static Jsonb *
training_facts(const Model *model, Jsonb *old)
{
	StringInfoData text;

	initStringInfo(&text);
	json_reopen(&text, json_to_jsonb(model->training));
	json_put_double(&text, "seconds", number_of(old, "seconds", DBL_MAX));
	json_put_int(&text, "workers", (int) number_of(old, "workers", PG_INT32_MAX));
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}

static int
store(const DetectSpec *spec, const RegistryEntry *entry, const Model *model)
{
	return registry_store(spec->function, spec->model_name, model,
						  training_facts(model, registry_facts(spec->function, entry)),
						  registry_source(spec->function, entry));
}

/* ---- the whole -------------------------------------------------------------------------------- */

/* Share of the rows that the old version flags. */
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
	{
		json_put_int(&text, "labelled_rows", recent->labelled);
	}
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
	(void) own_entry(&spec, 0);
	recent = recent_read(&spec, choices.trim);
	entry = own_entry(&spec, detect_model(recent->detection)->version);
	model = registry_model(spec.function, &entry);
	apply_options(&model->options, choices.others);
	recorded = (Recorded) {
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
				 2 * sizeof(double) * recent->dataset->nrows + flatline_bytes(model));
	calibrate_again(model, recent->dataset, &recorded, &result);
	model->training = facts_text(model->training, entry.version, recent, &choices, &result);
	version = store(&spec, &entry, model);
	PG_RETURN_JSONB_P(summary(spec.model_name, version, entry.version, model, recent, &result,
							  seconds_since(start)));
}
