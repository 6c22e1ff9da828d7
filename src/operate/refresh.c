/*
 * operate/refresh.c
 *	  The procedure amad_refresh.
 *
 * Its steps, each a transaction (watch_run.c), are: taking the change log (refresh_changes.c); scoring a
 * batch of series (refresh_scores.c) until none is left; retention and the end of the record.  What a
 * step that failed was to score is still in amad_changes or amad_pending, for the next run.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "model/registry.h"
#include "operate/refresh.h"
#include "operate/tune.h"
#include "operate/watch_triggers.h"
#include "pg/call_arguments.h"
#include "pg/subtransaction.h"

SQL_FUNCTION(amad_refresh);

/* ---- the steps --------------------------------------------------------------------------- */

Detection *
refresh_open_detection(const Refresh *r, bool writes)
{
	const DetectSpec spec = {
		.function = r->function,
		.model_name = r->watch.model_name,
		.version = r->version,
		.for_other = r->for_other,
		.writes = writes,
	};

	return detect_open(&spec);
}

/* A time before as_of, in units of the source. */
static int64
time_before(const Refresh *r, const Source *source, const Interval *distance)
{
	Datum		time = DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(r->as_of),
									 IntervalPGetDatum(distance));

	return DatumGetInt64(detect_convert_bound(r->function, TIMESTAMPTZOID, source->ts_type, time));
}

/* Whether the rule for incidents is to be examined: after a day, or after a deployment. */
static bool
tuning_is_due(const Refresh *r)
{
	return r->watch.alerts_per_day > 0 && r->ts_type != INT8OID &&
		(r->watch.tuned_version != r->version || r->as_of - USECS_PER_DAY >= r->watch.tuned_at);
}

/* Chooses the rule for incidents by the scores of the last 30 days, if there are enough. */
static void
choose_rule(Refresh *r, const Source *source, const char *target)
{
	const Interval month = {.day = 30};
	const int64 since = time_before(r, source, &month);
	const TunedRule *rules;
	const TunedRule *rule;
	int			chosen;
	int			n;

	rules = tune_rules(&r->watch, source, target, &since, r->watch.alerts_per_day, true, &n,
					   &chosen);
	if (chosen < 0)
		return;
	rule = &rules[chosen];
	tune_store(r->function, &r->watch, rule, r->watch.alerts_per_day, r->version, r->as_of);
	if (r->watch.tuned_version == 0 || rule->min_severity != r->watch.min_severity ||
		rule->min_rows != r->watch.min_rows || r->watch.merge_gap == NULL ||
		rule->merge_gap != r->watch.merge_gap->time)
		refresh_add_notice(r,
						   psprintf("the rule for incidents is now min_severity %g, min_rows %d: "
									"%.2g alarms a day in the last 30 days",
									rule->min_severity, rule->min_rows, rule->alarms_per_day));
}

/* Deletes scores and records that are too old, and ends the record. */
static bool
finish_run(Refresh *r)
{
	const Oid	types[] = {UUIDOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id)};
	const Source *source = NULL;
	char	   *target = NULL;
	WatchTables t;

	if (r->watch.retain || tuning_is_due(r))
	{
		source = detect_source(refresh_open_detection(r, false));
		target = watch_open_target(r->watch.target, source, false);
	}
	if (tuning_is_due(r))
		choose_rule(r, source, target);
	if (r->watch.retain)
	{
		StringInfoData where;

		initStringInfo(&where);
		source_append_bound(&where, source, quote_identifier(source->spec.timestamp_col), "<",
							time_before(r, source, r->watch.retain));
		SPI_connect();
		if (SPI_execute(psprintf("DELETE FROM %s WHERE %s", target, where.data), false, 0) < 0)
			elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(SPI_result));
		SPI_finish();
	}
	incidents_finish(r);
	watch_tables_enter(&t, r->function);
	if (r->watch.retain)
		(void) watch_tables_execute(&t,
									"DELETE FROM {series} WHERE watch = $1 AND newest < $2 - $3", 3,
									(const Oid[]){UUIDOID, TIMESTAMPTZOID, INTERVALOID},
									(const Datum[]){values[0], TimestampTzGetDatum(r->as_of),
													IntervalPGetDatum(r->watch.retain)},
									NULL);
	/* the newest 1,000 runs, but at least those of a month */
	(void) watch_tables_execute(&t,
								"DELETE FROM {runs} WHERE watch = $1 AND started < "
								"clock_timestamp() - interval '30 days'"
								" AND run <= (SELECT max(run) FROM {runs} WHERE watch = $1) - 1000",
								1, types, values, NULL);
	watch_tables_leave(&t);
	run_end(r);
	return false;
}

/* ---- amad_refresh ------------------------------------------------------------------------ */

static void
read_refresh_arguments(FunctionCallInfo fcinfo, Refresh *r)
{
	r->has_since = !PG_ARGISNULL(1);
	r->since = r->has_since ? PG_GETARG_TIMESTAMPTZ(1) : 0;
	r->has_until = !PG_ARGISNULL(2);
	r->until = r->has_until ? PG_GETARG_TIMESTAMPTZ(2) : 0;
	r->as_of = PG_ARGISNULL(3) ? GetCurrentTransactionStartTimestamp() : PG_GETARG_TIMESTAMPTZ(3);
	if (r->has_since && r->has_until && r->since >= r->until)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("since must be before until")));
}

/* (model_name, since, until, as_of) */
Datum
amad_refresh(PG_FUNCTION_ARGS)
{
	Refresh    *r = run_enter(fcinfo, "amad_refresh");

	read_refresh_arguments(fcinfo, r);
	if (!run_lock(r, "refresh", WATCH_REFRESH, text_argument(fcinfo, 0), "refreshed or altered"))
		PG_RETURN_NULL();
	run_begin(r, "running");
	if (!r->atomic)
		SPI_commit();

	(void) run_step(r, refresh_take_changes);
	while (run_step(r, refresh_score_batch))
		CHECK_FOR_INTERRUPTS();
	(void) run_step(r, finish_run);
	run_notify(r);
	run_leave(r);
	SPI_finish();
	PG_RETURN_NULL();
}
