/*
 * operate/watch_run.c
 *	  A run of a watch: its transactions, its lock, and its record in amad_runs.
 *
 * A run is a sequence of steps with a commit after each.  A step that fails is rolled back alone, as a
 * subtransaction, so that the failure can be recorded and committed before the error is raised again.
 * If the commit fails, too, as it does when the connection to a foreign server has been lost, the
 * failure is recorded in the next transaction.
 *
 * A session-level lock makes sure that one run of a kind is active at a time.  It survives the
 * commits, and an error or the end of the process releases it.  So a run that is recorded as
 * "running" although the lock is free was killed.
 *
 * Where a procedure cannot commit, all is one transaction with a transaction-level lock.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "operate/refresh.h"
#include "pg/call_arguments.h"
#include "pg/subtransaction.h"

#define NOTICES_SIZE 8192		/* bytes of remarks in the record, about */

/* ---- the record ------------------------------------------------------------------------ */

void
refresh_add_notice(Refresh *r, const char *notice)
{
	if (r->notices.len + strlen(notice) < NOTICES_SIZE)
		appendStringInfo(&r->notices, "%s%s", r->notices.len > 0 ? "; " : "", notice);
}

void
run_begin(Refresh *r, const char *state)
{
	const Oid	types[] = {UUIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), CStringGetTextDatum(r->kind),
							CStringGetTextDatum(state), TimestampTzGetDatum(r->as_of),
							CStringGetTextDatum(r->notices.data)};
	const bool	running = strcmp(state, "running") == 0;
	WatchTables t;

	watch_tables_enter(&t, r->function);
	if (running)
		(void) watch_tables_execute(&t,
									"UPDATE {runs} SET state = 'killed', ended = clock_timestamp() "
									"WHERE watch = $1"
									" AND kind = $2 AND state = 'running'",
									2, types, values, NULL);
	if (watch_tables_execute(&t,
							 "INSERT INTO {runs} (watch, kind, run, started, ended, state, as_of, "
							 "notices)"
							 " SELECT $1, $2, coalesce(max(run), 0) + 1, clock_timestamp(),"
							 " CASE WHEN $3 <> 'running' THEN clock_timestamp() END, $3, $4, "
							 "nullif($5, '')"
							 " FROM {runs} WHERE watch = $1 ON CONFLICT DO NOTHING RETURNING run",
							 5, types, values, NULL) == 1)
		r->run = DatumGetInt64(watch_tables_value(0, 1, INT8OID, NULL));
	else if (running)
		elog(ERROR, "table \"%s\" did not accept the run", RUNS_TABLE);
	watch_tables_leave(&t);
}

/* Writes the figures so far, and the end of the run if it has ended. */
static void
update_record(Refresh *r, const char *state, const ErrorData *error)
{
	const Oid	types[] = {UUIDOID, INT8OID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID,
						 INT8OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
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
		CStringGetTextDatum(r->kind),
	};
	char		nulls[] = "             ";
	WatchTables t;

	nulls[8] = r->version > 0 ? ' ' : 'n';
	nulls[9] = nulls[10] = error ? ' ' : 'n';
	nulls[11] = r->notices.len > 0 ? ' ' : 'n';
	watch_tables_enter(&t, r->function);
	(void)
		watch_tables_execute(&t,
							 "UPDATE {runs} SET state = $3, ended = CASE WHEN $3 <> 'running' "
							 "THEN clock_timestamp() END,"
							 " changes = $4, series = $5, rows_scored = $6, rows_flagged = $7, "
							 "rows_learning = $8,"
							 " model_version = $9, sqlstate = $10, message = $11, notices = $12"
							 " WHERE watch = $1 AND run = $2 AND kind = $13 AND state = 'running'",
							 lengthof(values), types, values, nulls);
	watch_tables_leave(&t);
}

/* Runs a step as the watch's owner. */
static bool
run_as_owner(Refresh *r, bool (*step)(Refresh *r))
{
	MemoryContext context = AllocSetContextCreate(r->context, "amad refresh step",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	const StatementScope scope = watch_owner_enter(&r->watch, r->for_other);
	bool		more;

	PushActiveSnapshot(GetTransactionSnapshot());
	more = step(r);
	if (more)
		update_record(r, "running", NULL);
	PopActiveSnapshot();
	watch_owner_leave(&scope);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return more;
}

bool
run_is_cancel(const ErrorData *error)
{
	/* that of a foreign server that shuts down is ERRCODE_ADMIN_SHUTDOWN, and no cancellation */
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED;
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

/* The arguments of trouble_report_failure(). */
typedef struct FailureReport
{
	Refresh    *refresh;
	const char *message;
} FailureReport;

static void
call_report_failure(void *arg)
{
	const FailureReport *report = arg;

	trouble_report_failure(report->refresh, report->message);
}

/*
 * Commits and returns NULL; or the error, after which a new transaction runs.  The error has released
 * the lock, which is taken again if no other run has it now.
 */
static ErrorData *
try_to_commit(Refresh *r)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		SPI_commit();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (error)
		r->locked = watch_lock(r->watches, &r->watch.id, r->lock, ExclusiveLock, true, false);
	return error;
}

static void
record_failure(Refresh *r, const ErrorData *error)
{
	FailureReport failure = {r, error->message};

	update_record(r, run_is_cancel(error) ? "cancelled" : "failed", error);
	/* the error of a report, such as a full disk, is less important */
	if (r->locked && !run_is_cancel(error))
		(void) subtransaction_run(call_report_failure, &failure);
}

ErrorData *
run_try_step(Refresh *r, bool (*step)(Refresh *r), bool *more)
{
	const RefreshSums sums = r->sums;
	StepCall	call = {.refresh = r, .step = step};
	ErrorData  *error;
	ErrorData  *commit_error;

	if (r->atomic)
	{
		*more = run_as_owner(r, step);
		return NULL;
	}
	MemoryContextSwitchTo(r->context);
	error = subtransaction_run(call_run_as_owner, &call);
	if (error)
	{
		r->sums = sums;
		record_failure(r, error);
	}
	commit_error = try_to_commit(r);
	if (commit_error)
	{
		error = error ? error : commit_error;
		r->sums = sums;
		record_failure(r, error);
		SPI_commit();
		if (!r->locked)
			ReThrowError(error);
	}
	*more = call.more;
	return error;
}

bool
run_step(Refresh *r, bool (*step)(Refresh *r))
{
	bool		more;
	ErrorData  *error = run_try_step(r, step, &more);

	if (error)
	{
		run_leave(r);
		ReThrowError(error);
	}
	return more;
}

void
run_end(Refresh *r)
{
	trouble_report_success(r);
	update_record(r, "done", NULL);
}

/* ---- notifications ------------------------------------------------------------------------- */

/* A notification for Async_Notify(). */
typedef struct Notification
{
	const char *channel;
	const char *payload;
} Notification;

static void
call_notify(void *arg)
{
	const Notification *n = arg;

	Async_Notify(n->channel, n->payload);
}

/* Notifies and commits; false if that failed. */
static bool
try_to_notify(Refresh *r, Notification *n)
{
	const bool	done = subtransaction_run(call_notify, n) == NULL;
	ErrorData  *error = try_to_commit(r);	/* a full queue is found then */

	if (error && run_is_cancel(error))
		ReThrowError(error);
	return done && error == NULL;
}

void
run_notify(Refresh *r)
{
	const Oid	types[] = {UUIDOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id)};
	Notification n = {r->watch.notify, watch_id_text(&r->watch.id)};
	WatchTables t;
	bool		waiting;

	/* the failure of a notification would undo the run if it cannot commit before */
	if (n.channel == NULL || r->atomic)
		return;
	MemoryContextSwitchTo(r->context);
	watch_tables_enter(&t, r->function);
	waiting =
		watch_tables_execute(&t,
							 "SELECT FROM {outbox} WHERE watch = $1 AND delivered IS NULL LIMIT 1",
							 1, types, values, NULL) > 0;
	watch_tables_leave(&t);
	if (!waiting || try_to_notify(r, &n))
		return;
	watch_tables_enter(&t, r->function);
	(void) watch_tables_execute(&t,
								"UPDATE {watches} SET notify_failures = notify_failures + 1 WHERE "
								"watch = $1",
								1, types, values, NULL);
	watch_tables_leave(&t);
	SPI_commit();
}

/* ---- begin and end ------------------------------------------------------------------------- */

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
	r->for_other = watch_acts_for_other(&t, &r->watch);
}

Refresh *
run_enter(FunctionCallInfo fcinfo, const char *procedure)
{
	CallContext *call = fcinfo->context && IsA(fcinfo->context, CallContext)
		? (CallContext *) fcinfo->context
		: NULL;
	Refresh    *r;

	PreventCommandIfReadOnly(psprintf("%s()", procedure));
	/* the context of this connection to SPI survives commits */
	SPI_connect_ext(call && !call->atomic && !IsSubTransaction() ? SPI_OPT_NONATOMIC : 0);
	r = palloc0(sizeof(Refresh));
	r->context = CurrentMemoryContext;
	r->function = fcinfo->flinfo->fn_oid;
	r->atomic = call == NULL || call->atomic || IsSubTransaction();
	initStringInfo(&r->notices);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("model_name must not be null")));
	if (r->atomic && IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot run in a transaction of this isolation level", procedure),
				 errdetail("It would not see what an earlier run has committed."),
				 errhint(
					 "Call it outside of a transaction block, or at the level READ COMMITTED.")));
	if (r->atomic)
	{
		ereport(NOTICE,
				(errmsg("%s runs in one transaction, because it cannot commit here", procedure)));
		refresh_add_notice(r, "all was one transaction");
	}
	return r;
}

bool
run_lock(Refresh *r, const char *kind, WatchLock lock, const char *model_name, const char *doing)
{
	r->kind = kind;
	find_watch(r, model_name);
	if (!watch_lock(r->watches, &r->watch.id, lock, ExclusiveLock, !r->atomic, false))
	{
		ereport(NOTICE,
				(errmsg("the watch of model \"%s\" is being %s by another session", model_name,
						doing)));
		refresh_add_notice(r, psprintf("it was being %s by another session", doing));
		run_begin(r, "skipped");
		SPI_finish();
		return false;
	}
	r->lock = lock;
	r->locked = true;
	/* look again: the watch may have been altered before the lock was there */
	if (!r->atomic)
		SPI_commit();
	find_watch(r, model_name);
	if (!r->watch.paused)
		return true;
	ereport(NOTICE,
			(errmsg("the watch of model \"%s\" is paused", model_name),
			 errhint("Resume it with amad_resume().")));
	run_leave(r);
	SPI_finish();
	return false;
}

void
run_leave(Refresh *r)
{
	if (!r->atomic && r->locked)
		watch_unlock_session(r->watches, &r->watch.id, r->lock);
}
