/*
 * operate/recalibrate_options.c
 *	  The options of amad_recalibrate: its own, and those of a training that only calibration uses.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "utils/builtins.h"

#include "model/options.h"
#include "operate/recalibrate_options.h"
#include "operate/recent.h"
#include "pg/json.h"

#define MOST_TRIM 0.5			/* anomalies cannot be the majority */

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

Choices
recalibrate_choices(Jsonb *json, bool some_series)
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
