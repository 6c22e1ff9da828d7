/*
 * operate/recalibrate.c
 *	  The function amad_recalibrate: new scales and threshold from recent rows; the
 *	  network stays.
 *
 *		amad_recalibrate(model_name, since, until, last_n, series, source, timestamp_col,
 *						 label_col, options, deploy, keep) → jsonb
 *
 * recalibrate_rows.c reads the rows and computes the figures, for series on the shards of a distributed
 * source there (recalibrate_shards.c).
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "learn/deployment.h"
#include "model/codec.h"
#include "model/registry.h"
#include "operate/recalibrate_rows.h"
#include "operate/recalibrate_shards.h"
#include "pg/elapsed.h"
#include "pg/json.h"
#include "pg/progress.h"

/* Arguments after those of recent_spec(), in their order. */
enum
{
	ARG_OPTIONS = RECENT_ARGS,
	ARG_DEPLOY = RECALIBRATE_SHARD_ARGS,
	ARG_KEEP
};

#define MOST_NAMED 20			/* series in a list of the summary */

SQL_FUNCTION(amad_recalibrate);

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

/* A copy of an object without a key. */
static Jsonb *
remove_key(Jsonb *json, const char *key)
{
	return DatumGetJsonbP(
		DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(json), CStringGetTextDatum(key)));
}

/* Adds the recalibration to the facts of the model, in place of an earlier one. */
static char *
add_recalibration(const char *training, int version, const Choices *choices, const Recalibration *r)
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
	json_put_int(&text, "rows", r->result.rows);
	json_put_int(&text, "labelled_rows", r->labelled);
	json_put_double(&text, "trim", choices->trim);
	json_put_json(&text, "threshold_only", choices->threshold_only ? "true" : "false");
	if (r->adopted > 0)
		json_put_int(&text, "series_adopted", r->adopted);
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

/* Writes the first series that were adopted, or else those that have too few rows. */
static void
write_new_series(StringInfo out, const Recalibration *r, bool adopted)
{
	int			named = 0;

	appendStringInfoChar(out, '[');
	for (int i = 0; i < r->nseries && named < MOST_NAMED; i++)
	{
		const RecalibratedSeries *s = &r->series[i];

		CHECK_FOR_INTERRUPTS();
		if (adopted ? !s->adopted : s->learning < 0)
			continue;
		if (named++ > 0)
			appendStringInfoString(out, ", ");
		if (adopted)
			appendStringInfoString(out, s->key);
		else
			appendStringInfo(out, "{\"series\": %s, \"rows\": " INT64_FORMAT "}", s->key,
							 s->learning);
	}
	appendStringInfoChar(out, ']');
}

static void
write_rescaled(StringInfo out, const Recalibration *r)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < Min(list_length(r->rescaled), MOST_NAMED); i++)
		appendStringInfo(out, "%s%s", i > 0 ? ", " : "", (char *) list_nth(r->rescaled, i));
	appendStringInfoChar(out, ']');
}

static Jsonb *
summary(const char *name, int version, int from_version, const Model *model, const Recalibration *r,
		double seconds)
{
	const Recalibrated *result = &r->result;
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_put_string(&text, "model_name", name);
	json_put_int(&text, "version", version);
	json_put_int(&text, "from_version", from_version);
	json_put_int(&text, "rows", result->rows);
	if (r->labelled > 0)
		json_put_int(&text, "labelled_rows", r->labelled);
	if (model->nseries > 0)
	{
		json_put_int(&text, "series", result->series);
		json_put_int(&text, "series_unchanged", result->kept);
		json_put_int(&text, "series_adopted", r->adopted);
		json_put_int(&text, "series_learning", r->learning);
		json_key(&text, "adopted");
		write_new_series(&text, r, true);
		json_key(&text, "learning");
		write_new_series(&text, r, false);
	}
	json_key(&text, "rescaled");
	write_rescaled(&text, r);
	json_put_double(&text, "flagged_before",
					r->scored_before > 0 ? (double) r->flagged_before / r->scored_before : 0);
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
	Choices		choices = recalibrate_choices(PG_ARGISNULL(ARG_OPTIONS)
											  ? NULL
											  : PG_GETARG_JSONB_P(ARG_OPTIONS),
										  spec.series != NULL);
	DeployArguments deploy = read_deploy_arguments(fcinfo, ARG_DEPLOY, ARG_KEEP);
	Deployment	deployment;
	RecalibratedShards *shards;
	Recalibration r;
	Jsonb	   *json;
	RegistryEntry entry;
	Recent	   *recent = NULL;
	struct varlena *value;
	Model	   *model;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	PreventCommandIfReadOnly("amad_recalibrate()");
	deployment = deployment_open(&deploy, &spec, find_own_model(&spec, 0).version);
	shards = recalibrate_shards_open(fcinfo, &spec);
	if (shards == NULL)
		recent = recalibrate_read(&spec, &choices);
	entry = find_own_model(&spec,
						   shards ? recalibrate_shards_version(shards)
								  : detect_model(recent->detection)->version);
	deployment.from_version = entry.version;
	value = registry_value(spec.function, &entry);
	model = registry_decode(&entry, value);
	r = shards ? recalibrate_shards_run(shards, model, value)
			   : recalibrate_rows(&spec, &choices, false, recent, model);
	model->training = add_recalibration(model->training, entry.version, &choices, &r);
	if (deploy.when == DEPLOY_IF_BETTER && recent)
	{
		/* the comparison needs the memory of the rows, to which the model has pointers */
		model = model_decode(model_encode(model));
		MemoryContextDelete(recent->context);
	}
	progress_phase(PROGRESS_STORING, 0, 0);
	deployment_store(&deployment, model,
					 copy_training_facts(model, registry_facts(spec.function, &entry)),
					 registry_source(spec.function, &entry));
	json = summary(spec.model_name, deployment.stored.version, entry.version, model, &r,
				   seconds_since(start));
	progress_end(begun);
	PG_RETURN_JSONB_P(deployment_summary(&deployment, json));
}
