/*
 * measure/evaluate_json.c
 *	  Options and result of the aggregate amad_evaluate, from and to JSON.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>


#include "measure/evaluate.h"
#include "pg/json.h"

/* ---- options ------------------------------------------------------------------------------ */

static void
parse_option(EvaluateOptions *options, const char *key, JsonbValue *value)
{
	double		x = json_number(value, NAN);

	if (strcmp(key, "threshold") == 0)
	{
		if (!isfinite(x))
			json_refuse_option(key, value, "a number");
		options->threshold = x;
	}
	else if (strcmp(key, "window") == 0)
	{
		if (!(x >= 0 && x <= METRICS_MAX_WINDOW) || x != floor(x))
			json_refuse_option(key, value, psprintf("an integer from 0 to %d", METRICS_MAX_WINDOW));
		options->window = (int) x;
	}
	else if (strcmp(key, "rows_per_day") == 0)
	{
		if (!(x >= 1e-6 && x <= 1e12))
			json_refuse_option(key, value, "a number from 1e-06 to 1e+12");
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
	char	   *key;

	options->threshold = 1;
	options->window = 100;
	options->rows_per_day = NAN;
	if (json == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("options must be a JSON object"),
				 errhint("For example '{\"threshold\": 1.5}'.")));
	it = JsonbIteratorInit(&json->root);
	while ((key = json_next_member(&it, &value)) != NULL)
		parse_option(options, key, &value);
}

/* ---- the result ---------------------------------------------------------------------------- */

/* Writes NaN as null, and infinities as strings, as to_jsonb() does. */
static void
put_measure(StringInfo out, const char *key, double value)
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
	put_measure(out, "auc_pr", e->ranking.auc_pr);
	put_measure(out, "random_auc_pr", e->rows > 0 ? (double) e->anomalies / e->rows : NAN);
	put_measure(out, "auc_roc", e->ranking.auc_roc);
	put_measure(out, "vus_pr", e->vus_pr);
	put_measure(out, "vus_roc", e->vus_roc);
	json_put_int(out, "window", options->window);
	put_measure(out, "best_f1", e->ranking.best_f1);
	put_measure(out, "best_f1_threshold", e->ranking.best_f1_threshold);
	put_measure(out, "best_point_adjusted_f1", e->ranking.best_adjusted_f1);
}

static void
write_rows_at_threshold(StringInfo out, const EvaluateOptions *options, const Evaluation *e)
{
	const MetricsDetection *d = &e->detection;
	int64		adjusted_flagged = d->flagged - d->hits + d->adjusted;

	put_measure(out, "threshold", options->threshold);
	json_put_int(out, "flagged", d->flagged);
	put_measure(out, "precision", metrics_precision(d->hits, d->flagged));
	put_measure(out, "recall", metrics_recall(d->hits, e->anomalies));
	put_measure(out, "f1", metrics_f1(d->hits, d->flagged, e->anomalies));
	put_measure(out, "point_adjusted_precision", metrics_precision(d->adjusted, adjusted_flagged));
	put_measure(out, "point_adjusted_recall", metrics_recall(d->adjusted, e->anomalies));
	put_measure(out, "point_adjusted_f1", metrics_f1(d->adjusted, adjusted_flagged, e->anomalies));
	put_measure(out, "affiliation_precision", e->affiliation_precision);
	put_measure(out, "affiliation_recall", e->affiliation_recall);
	put_measure(out, "affiliation_f1",
				harmonic_mean(e->affiliation_precision, e->affiliation_recall));
}

static void
write_events_at_threshold(StringInfo out, const Evaluation *e)
{
	const MetricsDetection *d = &e->detection;

	json_put_int(out, "events_detected", d->detected);
	put_measure(out, "event_recall", metrics_recall(d->detected, e->events));
	put_measure(out, "delay_rows_mean", e->delay_rows_mean);
	put_measure(out, "delay_rows_median", e->delay_rows_median);
	put_measure(out, "delay_seconds_mean", e->delay_seconds_mean);
	put_measure(out, "delay_seconds_median", e->delay_seconds_median);
	json_put_int(out, "alarms", d->alarms);
	json_put_int(out, "false_alarms", d->false_alarms);
	put_measure(out, "false_alarms_per_day", d->false_alarms / e->days);
	put_measure(out, "false_alarms_per_1000_rows",
				e->rows > 0 ? 1000.0 * d->false_alarms / e->rows : NAN);
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
