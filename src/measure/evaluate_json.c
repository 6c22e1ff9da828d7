/*
 * measure/evaluate_json.c
 *	  amad_evaluate: its options from JSON, its result to JSON (see evaluate.h).
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "utils/builtins.h"

#include "measure/evaluate.h"
#include "pg/json.h"

/* ---- options ------------------------------------------------------------------------------ */

static void
invalid_value(const char *key, JsonbValue *value, const char *range)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": %s", key, json_value_text(value)),
			 errdetail("It must be %s.", range)));
}

static void
parse_key(EvaluateOptions *options, const char *key, JsonbValue *value)
{
	double		x = json_number(value, NAN);

	if (strcmp(key, "threshold") == 0)
	{
		if (!isfinite(x))
			invalid_value(key, value, "a number");
		options->threshold = x;
	}
	else if (strcmp(key, "window") == 0)
	{
		if (!(x >= 0 && x <= METRICS_MAX_WINDOW) || x != floor(x))
			invalid_value(key, value, psprintf("an integer from 0 to %d", METRICS_MAX_WINDOW));
		options->window = (int) x;
	}
	else if (strcmp(key, "rows_per_day") == 0)
	{
		if (!(x >= 1e-6 && x <= 1e12))
			invalid_value(key, value, "a number from 1e-06 to 1e+12");
		options->rows_per_day = x;
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized option \"%s\"", key),
				 errhint("Valid options are: threshold, window, rows_per_day.")));
}

void
evaluate_options_parse(EvaluateOptions *options, Jsonb *json)
{
	JsonbIterator *it;
	JsonbValue	value;

	options->threshold = 1;
	options->window = 100;
	options->rows_per_day = NAN;
	if (json == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("For example '{\"threshold\": 1.5}'.")));
	it = JsonbIteratorInit(&json->root);
	JsonbIteratorNext(&it, &value, true);	/* the object's beginning */
	while (JsonbIteratorNext(&it, &value, true) == WJB_KEY)
	{
		char	   *key = pnstrdup(value.val.string.val, value.val.string.len);

		JsonbIteratorNext(&it, &value, true);
		parse_key(options, key, &value);
	}
}

/* ---- the result ---------------------------------------------------------------------------- */

/* NaN as null; infinities, which JSON has no number for, as to_jsonb() writes them. */
static void
put(StringInfo out, const char *key, double value)
{
	if (isinf(value))
		json_put_string(out, key, value > 0 ? "Infinity" : "-Infinity");
	else
		json_put_double(out, key, value);
}

static double
harmonic_mean(double a, double b)
{
	return a + b > 0 ? 2 * a * b / (a + b) : a + b;
}

static void
write_data(StringInfo out, const Evaluation *e)
{
	json_put_int(out, "rows", e->rows);
	json_put_int(out, "anomalies", e->anomalies);
	json_put_int(out, "excluded", e->excluded);
	json_put_int(out, "events", e->events);
}

static void
write_ranking(StringInfo out, const EvaluateOptions *options, const Evaluation *e)
{
	put(out, "auc_pr", e->ranking.auc_pr);
	put(out, "random_auc_pr", e->rows > 0 ? (double) e->anomalies / e->rows : NAN);
	put(out, "auc_roc", e->ranking.auc_roc);
	put(out, "vus_pr", e->vus_pr);
	put(out, "vus_roc", e->vus_roc);
	json_put_int(out, "window", options->window);
	put(out, "best_f1", e->ranking.best_f1);
	put(out, "best_f1_threshold", e->ranking.best_f1_threshold);
	put(out, "best_point_adjusted_f1", e->ranking.best_adjusted_f1);
}

static void
write_rows_at_threshold(StringInfo out, const EvaluateOptions *options, const Evaluation *e)
{
	const MetricsDetection *d = &e->detection;
	int64		adjusted_flagged = d->flagged - d->hits + d->adjusted;

	put(out, "threshold", options->threshold);
	json_put_int(out, "flagged", d->flagged);
	put(out, "precision", metrics_precision(d->hits, d->flagged));
	put(out, "recall", metrics_recall(d->hits, e->anomalies));
	put(out, "f1", metrics_f1(d->hits, d->flagged, e->anomalies));
	put(out, "point_adjusted_precision", metrics_precision(d->adjusted, adjusted_flagged));
	put(out, "point_adjusted_recall", metrics_recall(d->adjusted, e->anomalies));
	put(out, "point_adjusted_f1", metrics_f1(d->adjusted, adjusted_flagged, e->anomalies));
	put(out, "affiliation_precision", e->affiliation_precision);
	put(out, "affiliation_recall", e->affiliation_recall);
	put(out, "affiliation_f1", harmonic_mean(e->affiliation_precision, e->affiliation_recall));
}

static void
write_events_at_threshold(StringInfo out, const Evaluation *e)
{
	const MetricsDetection *d = &e->detection;

	json_put_int(out, "events_detected", d->detected);
	put(out, "event_recall", metrics_recall(d->detected, e->events));
	put(out, "delay_rows_mean", e->delay_rows_mean);
	put(out, "delay_rows_median", e->delay_rows_median);
	put(out, "delay_seconds_mean", e->delay_seconds_mean);
	put(out, "delay_seconds_median", e->delay_seconds_median);
	json_put_int(out, "alarms", d->alarms);
	json_put_int(out, "false_alarms", d->false_alarms);
	put(out, "false_alarms_per_day", d->false_alarms / e->days);
	put(out, "false_alarms_per_1000_rows", e->rows > 0 ? 1000.0 * d->false_alarms / e->rows : NAN);
}

Jsonb *
evaluate_result(const EvaluateOptions *options, const Evaluation *evaluation)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	write_data(&out, evaluation);
	write_ranking(&out, options, evaluation);
	write_rows_at_threshold(&out, options, evaluation);
	write_events_at_threshold(&out, evaluation);
	appendStringInfoChar(&out, '}');
	return json_to_jsonb(out.data);
}
