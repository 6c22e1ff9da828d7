/*
 * operate/refresh.c
 *	  The procedure amad_refresh: its transactions, its lock, and the record of the run.
 *
 * A refresh is a sequence of steps with a commit after each: the record of the run; taking the
 * change log (refresh_changes.c); scoring a batch of series (refresh_scores.c) until none is left;
 * retention and the end of the record.  A step that fails is rolled back alone, as a subtransaction,
 * so that the failure can be recorded and committed before the error is raised again.  What it was to
 * score is still in amad_changes or amad_pending, for the next run.
 *
 * A session-level lock makes sure that one refresh of a watch runs at a time.  It survives the
 * commits, and an error or the end of the process releases it.  So a run that is recorded as
 * "running" although the lock is free was killed.
 *
 * Where a procedure cannot commit, all is one transaction with a transaction-level lock.
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

#define NOTICES_SIZE 8192		/* bytes of remarks in the record, about */

/* ---- the record of the run --------------------------------------------------------------- */

void
refresh_add_notice(Refresh *r, const char *notice)
{
	if (r->notices.len + strlen(notice) < NOTICES_SIZE)
		appendStringInfo(&r->notices, "%s%s", r->notices.len > 0 ? "; " : "", notice);
}

/* Begins a record. */
static void
begin_record(Refresh *r, const char *state)
{
	const Oid	types[] = {UUIDOID, TEXTOID, TIMESTAMPTZOID, TEXTOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), CStringGetTextDatum(state),
							TimestampTzGetDatum(r->as_of), CStringGetTextDatum(r->notices.data)};
	const bool	running = strcmp(state, "running") == 0;
	WatchTables t;

	watch_tables_enter(&t, r->function);
	if (running)
		(void) watch_tables_execute(&t,
									"UPDATE {runs} SET state = 'killed', ended = clock_timestamp() "
									"WHERE watch = $1"
									" AND state = 'running'",
									1, types, values, NULL);
	if (watch_tables_execute(&t,
							 "INSERT INTO {runs} (watch, run, started, ended, state, as_of, "
							 "changes, series,"
							 " rows_scored, rows_flagged, rows_learning, notices)"
							 " SELECT $1, coalesce(max(run), 0) + 1, clock_timestamp(),"
							 " CASE WHEN $2 <> 'running' THEN clock_timestamp() END, $2, $3, 0, 0, "
							 "0, 0, 0, nullif($4, '')"
							 " FROM {runs} WHERE watch = $1 ON CONFLICT DO NOTHING RETURNING run",
							 4, types, values, NULL) == 1)
		r->run = DatumGetInt64(watch_tables_value(0, 1, INT8OID, NULL));
	else if (running)
		elog(ERROR, "table \"%s\" did not accept the run", RUNS_TABLE);
	watch_tables_leave(&t);
}

/* Writes the figures so far, and the end of the run if it has ended. */
static void
update_record(Refresh *r, const char *state, const ErrorData *error)
{
	const Oid	types[] = {UUIDOID, INT8OID, TEXTOID, INT8OID, INT8OID, INT8OID,
						 INT8OID, INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID};
	const Datum values[] = {
		UUIDPGetDatum(&r->watch.id),
		Int64GetDatum(r->run),
		CStringGetTextDatum(state),
		Int64GetDatum(r->sums.changes),
		Int64GetDatum(r->sums.series),
		Int64GetDatum(r->sums.rows),
		Int64GetDatum(r->sums.flagged),
		Int64GetDatum(r->sums.learning),
		Int32GetDatum(r->version),
		error ? CStringGetTextDatum(unpack_sql_state(error->sqlerrcode)) : 0,
		error ? CStringGetTextDatum(error->message ? error->message : "unknown error") : 0,
		CStringGetTextDatum(r->notices.data),
	};
	char		nulls[] = "            ";
	WatchTables t;

	nulls[8] = r->version > 0 ? ' ' : 'n';
	nulls[9] = nulls[10] = error ? ' ' : 'n';
	nulls[11] = r->notices.len > 0 ? ' ' : 'n';
	watch_tables_enter(&t, r->function);
	(void) watch_tables_execute(&t,
								"UPDATE {runs} SET state = $3, ended = CASE WHEN $3 <> 'running' "
								"THEN clock_timestamp() END,"
								" changes = $4, series = $5, rows_scored = $6, rows_flagged = $7, "
								"rows_learning = $8,"
								" model_version = $9, sqlstate = $10, message = $11, notices = $12"
								" WHERE watch = $1 AND run = $2 AND state = 'running'",
								lengthof(values), types, values, nulls);
	watch_tables_leave(&t);
}

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

/* Whether the rule for incidents is to be chosen, because another version was deployed. */
static bool
tuning_is_due(const Refresh *r)
{
	return r->watch.alerts_per_day > 0 && r->watch.tuned_version != r->version &&
		r->ts_type != INT8OID;
}

/* Chooses the rule for incidents by the scores of the last 30 days, if there are enough. */
static void
choose_rule(Refresh *r, const Source *source, const char *target)
{
	const Interval month = {.day = 30};
	const int64 since = time_before(r, source, &month);
	TunedRule  *rules;
	int			chosen;
	int			n;

	rules = tune_rules(&r->watch, source, target, &since, r->watch.alerts_per_day, &n, &chosen);
	if (chosen < 0)
		return;
	tune_store(r->function, &r->watch, &rules[chosen], r->watch.alerts_per_day, r->version);
	refresh_add_notice(r,
					   psprintf("the rule for incidents is now min_severity %g, min_rows %d: "
								"%.2g alarms a day in the last 30 days",
								rules[chosen].min_severity, rules[chosen].min_rows,
								rules[chosen].alarms_per_day));
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
	update_record(r, "done", NULL);
	return false;
}

/* Runs a step as the watch's owner. */
static bool
run_as_owner(Refresh *r, bool (*step)(Refresh *r))
{
	MemoryContext context = AllocSetContextCreate(r->context, "amad refresh step",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	const int	guc_level = NewGUCNestLevel();
	Oid			user;
	int			security_context;
	bool		more;

	GetUserIdAndSecContext(&user, &security_context);
	/* an operator could otherwise provide functions that those of the owner call by their names */
	if (r->for_other)
		(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	SetUserIdAndSecContext(r->watch.role,
						   security_context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	PushActiveSnapshot(GetTransactionSnapshot());
	more = step(r);
	if (more)
		update_record(r, "running", NULL);
	PopActiveSnapshot();
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, security_context);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return more;
}

/* Whether an error means that somebody stopped the run, rather than that it cannot succeed. */
static bool
is_cancel(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION;
}

/* The arguments and the result of run_as_owner(). */
typedef struct StepCall
{
	Refresh    *refresh;
	bool		(*step) (Refresh *);
	bool		more;
} StepCall;

static void
call_run_as_owner(void *arg)
{
	StepCall   *call = arg;

	call->more = run_as_owner(call->refresh, call->step);
}

/* Runs a step in a transaction of its own, if that is possible, and commits it. */
static bool
run_step(Refresh *r, bool (*step)(Refresh *r))
{
	const RefreshSums sums = r->sums;
	StepCall	call = {.refresh = r, .step = step};
	ErrorData  *error;

	if (r->atomic)
		return run_as_owner(r, step);
	MemoryContextSwitchTo(r->context);
	error = subtransaction_run(call_run_as_owner, &call);
	if (error)
	{
		r->sums = sums;
		update_record(r, is_cancel(error) ? "cancelled" : "failed", error);
		SPI_commit();
		watch_unlock_session(r->watches, &r->watch.id);
		ReThrowError(error);
	}
	SPI_commit();
	return call.more;
}

/* ---- amad_refresh ------------------------------------------------------------------------ */

static void
read_refresh_arguments(FunctionCallInfo fcinfo, Refresh *r)
{
	r->function = fcinfo->flinfo->fn_oid;
	r->has_since = !PG_ARGISNULL(1);
	r->since = r->has_since ? PG_GETARG_TIMESTAMPTZ(1) : 0;
	r->has_until = !PG_ARGISNULL(2);
	r->until = r->has_until ? PG_GETARG_TIMESTAMPTZ(2) : 0;
	r->as_of = PG_ARGISNULL(3) ? GetCurrentTransactionStartTimestamp() : PG_GETARG_TIMESTAMPTZ(3);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("model_name must not be null")));
	if (r->has_since && r->has_until && r->since >= r->until)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("since must be before until")));
}

/* Finds the watch.  In a transaction of its own, so that the lock can be taken before the next. */
static void
find_watch(Refresh *r, const char *model_name)
{
	WatchTables t;

	watch_tables_enter(&t, r->function);
	t.context = r->context;
	watch_require(&t, model_name, false, &r->watch);
	watch_tables_leave(&t);
	r->watches = t.watches;
	r->for_other = !has_privs_of_role(t.caller, r->watch.role);
	if (r->for_other)
		registry_check_forgery(t.owner, r->watch.role);
}

/* (model_name, since, until, as_of) */
Datum
amad_refresh(PG_FUNCTION_ARGS)
{
	CallContext *call = fcinfo->context && IsA(fcinfo->context, CallContext)
		? (CallContext *) fcinfo->context
		: NULL;
	Refresh    *r;
	char	   *model_name;

	/* the context of this connection to SPI survives commits */
	SPI_connect_ext(call && !call->atomic && !IsSubTransaction() ? SPI_OPT_NONATOMIC : 0);
	r = palloc0(sizeof(Refresh));
	r->context = CurrentMemoryContext;
	r->atomic = call == NULL || call->atomic || IsSubTransaction();
	read_refresh_arguments(fcinfo, r);
	model_name = text_argument(fcinfo, 0);
	initStringInfo(&r->notices);
	if (r->atomic && IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("amad_refresh cannot run in a transaction of this isolation level"),
				 errdetail("It would not see what an earlier refresh has committed."),
				 errhint(
					 "Call it outside of a transaction block, or at the level READ COMMITTED.")));
	if (r->atomic)
	{
		ereport(NOTICE,
				(errmsg("amad_refresh runs in one transaction, because it cannot commit here")));
		refresh_add_notice(r, "all was one transaction");
	}

	find_watch(r, model_name);
	if (!watch_lock(r->watches, &r->watch.id, WATCH_REFRESH, ExclusiveLock, !r->atomic, false))
	{
		ereport(NOTICE,
				(errmsg("the watch of model \"%s\" is being refreshed or altered by another "
						"session",
						model_name)));
		refresh_add_notice(r, "another session was refreshing or altering the watch");
		begin_record(r, "skipped");
		SPI_finish();
		PG_RETURN_NULL();
	}
	/* look again: the watch may have been altered before the lock was there */
	if (!r->atomic)
		SPI_commit();
	find_watch(r, model_name);
	if (r->watch.paused)
	{
		ereport(NOTICE,
				(errmsg("the watch of model \"%s\" is paused", model_name),
				 errhint("Resume it with amad_resume().")));
		if (!r->atomic)
			watch_unlock_session(r->watches, &r->watch.id);
		SPI_finish();
		PG_RETURN_NULL();
	}
	begin_record(r, "running");
	if (!r->atomic)
		SPI_commit();

	(void) run_step(r, refresh_take_changes);
	while (run_step(r, refresh_score_batch))
		CHECK_FOR_INTERRUPTS();
	(void) run_step(r, finish_run);
	if (!r->atomic)
		watch_unlock_session(r->watches, &r->watch.id);
	SPI_finish();
	PG_RETURN_NULL();
}
