/*
 * operate/care.c
 *	  The procedure amad_care: keeps the model of a watch up to date.
 *
 * It is called often and does what is due by its own records in amad_runs:
 *
 *	recalibrate	daily: amad_drift() of the last day, in batches of series.  Those that have drifted are
 *				recalibrated and checked again; what still has drifted is an incident.  Series that the
 *				model does not contain are adopted when they have enough rows, and calibrated again
 *				two, six and fourteen days later, because few rows give a low threshold.
 *	retrain		weekly: amad_retrain() on the last month, deployed if it is better.
 *
 * If an operator has deployed an older version than one that was deployed before, nothing is
 * replaced until a version at least as new as that one is deployed.  If somebody deploys another version
 * while a new one is computed, that is not deployed (learn/deployment.c).
 *
 * Each batch is a transaction.  Refreshes go on meanwhile: the locks differ.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#include "model/registry.h"
#include "operate/refresh.h"
#include "pg/call_arguments.h"
#include "pg/json.h"
#include "pg/subtransaction.h"

SQL_FUNCTION(amad_care);

#define CHECK_DAYS 1			/* rows that are checked, … */
#define CHECK_STEPS 150			/* … and as many steps of the model at least */
#define ADOPT_DAYS 30			/* rows that a series is adopted by */
#define TRAIN_DAYS 30			/* rows that a model is trained on, … */
#define TRAIN_STEPS 4000		/* … and as many steps at least */
#define BATCH_ROWS 1000000		/* read by one check, about */
#define BATCH_SERIES 500
#define KEPT_TRAININGS 8
#define ALL_TRAININGS PG_INT32_MAX

/* What a call of amad_care does. */
typedef struct Care
{
	TimestampTz until;			/* rows before this time are read */
	Datum		last_id;		/* bytea, of the last series of a batch; 0: none */
	int			recalibrated;	/* series */
	int			adopted;
	int			drifted;		/* that still are */
	StringInfoData problems;	/* of recalibrations */
} Care;

/* ---- functions that are called as the owner ------------------------------------------------ */

/* A query of a function of the extension. */
typedef struct OwnerCall
{
	char	   *text;
	int			nargs;
	const Oid  *types;
	const Datum *values;
	const char *nulls;
	int			result;			/* the integer in the first column of the first row */
} OwnerCall;

/* An integer of the last result; 0 if it is null. */
static int
result_int(int row, int number)
{
	bool		isnull;
	Datum		value = watch_tables_value(row, number, INT4OID, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

static void
execute_owner_call(void *arg)
{
	OwnerCall  *call = arg;
	const int	rc = SPI_execute_with_args(call->text, call->nargs, unconstify(Oid *, call->types),
										 unconstify(Datum *, call->values), call->nulls, false, 0);

	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	call->result = SPI_processed > 0 ? result_int(0, 1) : 0;
}

/* The qualified name of a function of the extension. */
static const char *
name_function(const Refresh *r, const char *name)
{
	return quote_qualified_identifier(function_schema(r->function), name);
}

static TimestampTz
time_before_now(const Refresh *r, int days, int steps)
{
	return r->care->until - Max(days * USECS_PER_DAY, watch_steps(&r->watch, 1) * (int64) steps);
}

/* Notes the version that is deployed now. */
static void
note_deployed_version(Refresh *r)
{
	r->version = registry_find(r->function, r->watch.model_name, 0).version;
	r->watch.newest_version = Max(r->watch.newest_version, r->version);
}

/*
 * Reads the newest version that was deployed, which a step that failed may have raised in memory, and
 * the one that is deployed now.
 */
static void
read_versions(Refresh *r)
{
	const Oid	types[] = {UUIDOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id)};
	WatchTables t;

	watch_tables_enter(&t, r->function);
	r->watch.newest_version =
		watch_tables_execute(&t, "SELECT newest_version FROM {watches} WHERE watch = $1", 1, types,
							 values, NULL) == 1
		? result_int(0, 1)
		: 0;
	watch_tables_leave(&t);
	note_deployed_version(r);
}

/* Whether an operator has deployed an older version than one that was deployed before. */
static bool
is_rolled_back(const Refresh *r)
{
	return r->version < r->watch.newest_version;
}

static char *
describe_rollback(const Refresh *r)
{
	return psprintf("version %d was deployed in place of version %d", r->version,
					r->watch.newest_version);
}

/*
 * Stores what was noted.  A refresh updates the same rows while it holds its lock, which is taken first,
 * so that they do not wait for each other.
 */
static void
store_newest_version(Refresh *r)
{
	const Oid	types[] = {UUIDOID, INT4OID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), Int32GetDatum(r->watch.newest_version)};
	WatchTables t;

	trouble_lock(r);
	watch_tables_enter(&t, r->function);
	(void) watch_tables_execute(&t,
								"UPDATE {watches} SET newest_version = $2 WHERE watch = $1 AND "
								"(newest_version IS NULL OR newest_version < $2)",
								lengthof(types), types, values, NULL);
	watch_tables_leave(&t);
}

/* ---- drift and adoption -------------------------------------------------------------------- */

/* The series as an argument of functions: a JSON array; NULL if the model has none. */
static Jsonb *
list_keys(const CheckedSeries *series, int n)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < n; i++)
		if (series[i].key)
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "[",
							 JsonbToCString(NULL, &series[i].key->root, -1));
	if (list.len == 0)
		return NULL;
	appendStringInfoChar(&list, ']');
	return json_to_jsonb(list.data);
}

/* Arguments of functions that read series: $1 model, $2 since, $3 until, $4 series. */
static const Oid reading_types[] = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID};

/* Sets series[].drift. */
static void
check_drift(Refresh *r, CheckedSeries *series, int n)
{
	Jsonb	   *keys = list_keys(series, n);
	const Datum values[] = {CStringGetTextDatum(r->watch.model_name),
							TimestampTzGetDatum(time_before_now(r, CHECK_DAYS, CHECK_STEPS)),
							TimestampTzGetDatum(r->care->until), JsonbPGetDatum(keys)};
	OwnerCall	call = {
		.text =
			psprintf("SELECT k.n::int, d.action FROM %s(model_name => $1, since => $2, until => $3,"
					 " series => $4) AS d"
					 " JOIN jsonb_array_elements(coalesce($4, '[null]')) WITH ORDINALITY AS k(key, "
					 "n)"
					 " ON k.key = coalesce(d.series, 'null')"
					 " WHERE d.feature IS NULL AND d.drifted",
					 name_function(r, "amad_drift")),
		.nargs = lengthof(values),
		.types = reading_types,
		.values = values,
		.nulls = keys ? NULL : "   n",
	};
	MemoryContext caller = CurrentMemoryContext;
	const StatementScope scope = statements_enter(InvalidOid);

	for (int i = 0; i < n; i++)
		series[i].drift = NULL;
	execute_owner_call(&call);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		const int	number = result_int((int) i, 1) - 1;
		bool		isnull;
		Datum		action = watch_tables_value((int) i, 2, TEXTOID, &isnull);

		if (number >= 0 && number < n)
			series[number].drift = isnull
				? "recalibrate"
				: MemoryContextStrdup(caller, TextDatumGetCString(action));
	}
	statements_leave(&scope);
}

/*
 * Recalibrates series, or adopts them, by the rows from since on.  Too few rows are no error: there will be
 * more.  Returns the number of series adopted, -1 if there were too few rows.
 */
static int
recalibrate_series(Refresh *r, const CheckedSeries *series, int n, TimestampTz since,
				   const char *options)
{
	Jsonb	   *keys = list_keys(series, n);
	const Datum values[] = {CStringGetTextDatum(r->watch.model_name), TimestampTzGetDatum(since),
							TimestampTzGetDatum(r->care->until), JsonbPGetDatum(keys)};
	OwnerCall	call = {
		.text =
			psprintf("SELECT (s ->> 'series_adopted')::int FROM %s(model_name => $1, since => $2,"
					 " until => $3, series => $4, options => %s, deploy => true, keep => %d) AS s",
					 name_function(r, "amad_recalibrate"), options, ALL_TRAININGS),
		.nargs = lengthof(values),
		.types = reading_types,
		.values = values,
		.nulls = keys ? NULL : "   n",
	};
	const StatementScope scope = statements_enter(InvalidOid);
	ErrorData  *error = subtransaction_run(execute_owner_call, &call);
	const int	adopted = error ? -1 : call.result;

	if (error && error->sqlerrcode != ERRCODE_INVALID_PARAMETER_VALUE)
		ReThrowError(error);
	if (error && r->care->problems.len < 1000)
		appendStringInfo(&r->care->problems, "%s%s", r->care->problems.len > 0 ? "; " : "",
						 error->message);
	statements_leave(&scope);
	note_deployed_version(r);
	return adopted;
}

/* Moves those that drift to the begin; returns their number. */
static int
partition_drifted(CheckedSeries *series, int n)
{
	int			first = 0;

	for (int i = 0; i < n; i++)
		if (series[i].drift)
		{
			CheckedSeries moved = series[i];

			series[i] = series[first];
			series[first++] = moved;
		}
	return first;
}

/*
 * Reads the next series: those that the model contains, of these the ones that are to be calibrated again
 * because they were adopted by few rows first; then the others.  Returns their numbers.
 */
static CheckedSeries *
read_batch(Refresh *r, int *nyoung, int *nknown, int *nlearning)
{
	const int64 steps = Max(1,
							(r->care->until - time_before_now(r, CHECK_DAYS, CHECK_STEPS)) /
								Max(1, watch_steps(&r->watch, 1)));
	const Oid	types[] = {UUIDOID, TIMESTAMPTZOID, BYTEAOID, INT4OID, TIMESTAMPTZOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id),
							TimestampTzGetDatum(time_before_now(r, CHECK_DAYS, CHECK_STEPS)),
							r->care->last_id,
							Int32GetDatum((int) Max(1, Min(BATCH_SERIES, BATCH_ROWS / steps))),
							TimestampTzGetDatum(r->as_of)};
	CheckedSeries *series;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	WatchTables t;
	int			n;

	watch_tables_enter(&t, r->function);
	n = (int)
		watch_tables_execute(&t,
							 "SELECT id, key, learning, NOT learning AND coalesce("
							 "   $5 - adopted >= (calibrated - adopted) * 2 + interval '2 days'"
							 "   AND calibrated - adopted < interval '14 days', false) AS young"
							 " FROM (SELECT * FROM {series} WHERE watch = $1 AND newest >= $2"
							 "   AND ($3 IS NULL OR id > $3) ORDER BY id LIMIT $4) AS s"
							 " ORDER BY learning, young DESC, id",
							 lengthof(types), types, values, r->care->last_id ? NULL : "  n  ");
	old = MemoryContextSwitchTo(caller);
	series = palloc0(sizeof(CheckedSeries) * Max(n, 1));
	*nyoung = *nknown = *nlearning = 0;
	for (int i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		key = watch_tables_value(i, 2, JSONBOID, &isnull);

		series[i].id = PointerGetDatum(
			PG_DETOAST_DATUM_COPY(watch_tables_value(i, 1, BYTEAOID, NULL)));
		series[i].key = isnull ? NULL : DatumGetJsonbPCopy(key);
		if (DatumGetBool(watch_tables_value(i, 3, BOOLOID, NULL)))
			(*nlearning)++;
		else
			(*nknown)++;
		if (DatumGetBool(watch_tables_value(i, 4, BOOLOID, NULL)))
			(*nyoung)++;
	}
	MemoryContextSwitchTo(old);
	watch_tables_leave(&t);

	/* the greatest identifier is where the next batch begins */
	old = MemoryContextSwitchTo(r->context);
	for (int i = 0; i < n; i++)
		if (!r->care->last_id ||
			DatumGetBool(DirectFunctionCall2(byteagt, series[i].id, r->care->last_id)))
			r->care->last_id = PointerGetDatum(PG_DETOAST_DATUM_COPY(series[i].id));
	MemoryContextSwitchTo(old);
	return series;
}

/* What an incident says about a series that still has drifted. */
static const char *
explain_drift(const Refresh *r)
{
	return is_rolled_back(r)
		? psprintf("it has drifted, and is not recalibrated, because %s", describe_rollback(r))
		: "it has drifted, and a recalibration did not help: train the model again";
}

/* The identifiers of series: bytea[]. */
static Datum
list_ids(const CheckedSeries *series, int n)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		ids[i] = series[i].id;
	return PointerGetDatum(construct_array(ids, n, BYTEAOID, -1, false, TYPALIGN_INT));
}

/* Notes that series have been adopted, or calibrated again. */
static void
note_adopted(const Refresh *r, Datum ids, bool again)
{
	const Oid	types[] = {UUIDOID, BYTEAARRAYOID, TIMESTAMPTZOID, BOOLOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), ids, TimestampTzGetDatum(r->as_of),
							BoolGetDatum(again)};
	WatchTables t;

	trouble_lock(r);
	watch_tables_enter(&t, r->function);
	(void)
		watch_tables_execute(&t,
							 "UPDATE {series} SET adopted = CASE WHEN $4 THEN adopted ELSE $3 END,"
							 " calibrated = $3 WHERE watch = $1 AND id = ANY ($2)",
							 lengthof(types), types, values, NULL);
	watch_tables_leave(&t);
}

/*
 * A step: checks some series.  Refreshes wait as long as the results are written, not while they are
 * computed.
 */
static bool
check_batch(Refresh *r)
{
	Care	   *care = r->care;
	int			nyoung;
	int			nknown;
	int			nlearning;
	CheckedSeries *series = read_batch(r, &nyoung, &nknown, &nlearning);
	const Datum young = list_ids(series, nyoung);	/* series are moved below */
	int			again = -1;
	int			adopted = -1;

	read_versions(r);
	r->sums.series += nknown + nlearning;
	/* by all of their rows, as in a training */
	if (nyoung > 0 && !is_rolled_back(r))
		again = recalibrate_series(r, series, nyoung, time_before_now(r, ADOPT_DAYS, 0),
								   "'{\"trim\": 0}'");
	if (nknown > 0)
	{
		int			ndrifted;

		check_drift(r, series, nknown);
		ndrifted = partition_drifted(series, nknown);
		if (ndrifted > 0 && !is_rolled_back(r) &&
			recalibrate_series(r, series, ndrifted, time_before_now(r, CHECK_DAYS, CHECK_STEPS),
							   "NULL") >= 0)
		{
			care->recalibrated += ndrifted;
			check_drift(r, series, ndrifted);
		}
		for (int i = 0; i < ndrifted; i++)
			if (series[i].drift)
			{
				series[i].drift = explain_drift(r);
				care->drifted++;
			}
	}
	if (nlearning > 0 && !is_rolled_back(r))
		adopted = recalibrate_series(r, series + nknown, nlearning,
									 time_before_now(r, ADOPT_DAYS, 0), "NULL");
	care->adopted += Max(adopted, 0);

	store_newest_version(r);
	if (nknown > 0)
		trouble_report_drift(r, series, nknown);
	if (again >= 0)
		note_adopted(r, young, true);
	if (adopted >= 0)
		note_adopted(r, list_ids(series + nknown, nlearning), false);
	return nknown + nlearning > 0;
}

/* A step: ends the record of the check. */
static bool
finish_check(Refresh *r)
{
	const Care *care = r->care;

	read_versions(r);
	store_newest_version(r);
	if (care->recalibrated > 0)
		refresh_add_notice(r, psprintf("%d series were recalibrated", care->recalibrated));
	if (care->adopted > 0)
		refresh_add_notice(r, psprintf("%d series were adopted", care->adopted));
	if (care->drifted > 0)
		refresh_add_notice(r, psprintf("%d series have drifted", care->drifted));
	if (is_rolled_back(r))
		refresh_add_notice(r, psprintf("%s, so nothing is recalibrated", describe_rollback(r)));
	if (care->problems.len > 0)
		refresh_add_notice(r, care->problems.data);
	trouble_close_drifts(r, time_before_now(r, CHECK_DAYS, CHECK_STEPS));
	run_end(r);
	return false;
}

/* ---- training ------------------------------------------------------------------------------ */

/* The version that was trained contains all series. */
static void
forget_adoptions(const Refresh *r)
{
	const Oid	types[] = {UUIDOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id)};
	WatchTables t;

	watch_tables_enter(&t, r->function);
	(void) watch_tables_execute(&t,
								"UPDATE {series} SET adopted = NULL, calibrated = NULL WHERE watch "
								"= $1"
								" AND adopted IS NOT NULL",
								lengthof(types), types, values, NULL);
	watch_tables_leave(&t);
}

/* A step: trains, and deploys the version if it is better. */
static bool
retrain_model(Refresh *r)
{
	const Oid	types[] = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	const Datum values[] = {CStringGetTextDatum(r->watch.model_name),
							TimestampTzGetDatum(time_before_now(r, TRAIN_DAYS, TRAIN_STEPS)),
							TimestampTzGetDatum(r->care->until)};
	OwnerCall	call = {
		.text =
			psprintf("SELECT (s ->> 'version')::int, (s ->> 'deployed')::bool"
					 " FROM %s(model_name => $1, since => $2, until => $3, deploy => 'if_better',"
					 " keep => %d) AS s",
					 name_function(r, "amad_retrain"), KEPT_TRAININGS),
		.nargs = lengthof(values),
		.types = types,
		.values = values,
	};
	int			version = 0;
	bool		deployed = false;
	StatementScope scope;

	read_versions(r);
	if (is_rolled_back(r))
		refresh_add_notice(r, psprintf("%s, so no other was trained", describe_rollback(r)));
	else
	{
		scope = statements_enter(InvalidOid);
		execute_owner_call(&call);
		if (SPI_processed == 1)
		{
			version = result_int(0, 1);
			deployed = DatumGetBool(watch_tables_value(0, 2, BOOLOID, NULL));
		}
		statements_leave(&scope);
		refresh_add_notice(r,
						   psprintf(deployed ? "version %d was trained and deployed"
											 : "version %d was trained; it is not better than "
											   "version %d",
									version, r->version));
	}
	note_deployed_version(r);
	store_newest_version(r);
	if (deployed)
		forget_adoptions(r);
	run_end(r);
	return false;
}

/* ---- what is due --------------------------------------------------------------------------- */

/* What is done how often. */
typedef struct Task
{
	const char *kind;			/* of its runs */
	int64		period;
	bool		at_once;		/* the first time, too */
	bool		(*step) (Refresh *);	/* until it returns false */
	bool		(*last_step) (Refresh *);	/* NULL: none */
} Task;

static const Task tasks[] = {
	{"recalibrate", USECS_PER_DAY, true, check_batch, finish_check},
	{"retrain", 7 * USECS_PER_DAY, false, retrain_model, NULL},
};

#define RETRY USECS_PER_DAY		/* after a failure */
#define SLACK (USECS_PER_DAY / 48)	/* a schedule is not exact */

/* Whether enough time has passed since a time in the result. */
static bool
has_passed(const Refresh *r, int number, int64 period, bool otherwise)
{
	bool		isnull;
	TimestampTz last = DatumGetTimestampTz(watch_tables_value(0, number, TIMESTAMPTZOID, &isnull));

	return isnull ? otherwise : r->as_of >= last && r->as_of - last >= period - SLACK;
}

static bool
is_due(const Refresh *r, const Task *task)
{
	const Oid	types[] = {UUIDOID, TEXTOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), CStringGetTextDatum(task->kind)};
	WatchTables t;
	bool		due;

	/* this session has the lock: what is running was killed */
	watch_tables_enter(&t, r->function);
	if (watch_tables_execute(&t,
							 "SELECT max(as_of) FILTER (WHERE kind = $2 AND state = 'done'),"
							 " max(as_of) FILTER (WHERE kind = $2 AND state IN ('failed', "
							 "'killed', "
							 "'cancelled', 'running')), min(as_of)"
							 " FROM {runs} WHERE watch = $1 AND kind <> 'refresh' AND state <> "
							 "'skipped'"
							 /* not those that somebody has dated to the far future */
							 " AND as_of <= started + interval '1 day'",
							 lengthof(types), types, values, NULL) != 1)
		elog(ERROR, "table \"%s\" has no summary", RUNS_TABLE);
	due = has_passed(r, 1, task->period, task->at_once || has_passed(r, 3, task->period, false)) &&
		has_passed(r, 2, RETRY, true);
	watch_tables_leave(&t);
	return due;
}

/* Does a task; returns its error. */
static ErrorData *
do_task(Refresh *r, const Task *task)
{
	ErrorData  *error = NULL;
	bool		more = true;
	Care	   *care = r->care;

	*care = (Care){
		.until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
														 TimestampTzGetDatum(r->as_of),
														 IntervalPGetDatum(&r->watch.delay))),
	};
	MemoryContextSwitchTo(r->context);
	initStringInfo(&care->problems);
	r->sums = (RefreshSums){0};
	if (!r->atomic)
		resetStringInfo(&r->notices);
	r->kind = task->kind;
	run_begin(r, "running");
	if (!r->atomic)
		SPI_commit();
	while (error == NULL && more)
	{
		CHECK_FOR_INTERRUPTS();
		error = run_try_step(r, task->step, &more);
	}
	if (error == NULL && task->last_step)
		error = run_try_step(r, task->last_step, &more);
	return error;
}

/* (model_name, as_of) */
Datum
amad_care(PG_FUNCTION_ARGS)
{
	Refresh    *r = run_enter(fcinfo, "amad_care");
	ErrorData  *error = NULL;

	r->as_of = PG_ARGISNULL(1) ? GetCurrentTransactionStartTimestamp() : PG_GETARG_TIMESTAMPTZ(1);
	if (TIMESTAMP_NOT_FINITE(r->as_of))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("as_of must not be infinite")));
	r->care = palloc0(sizeof(Care));
	if (!run_lock(r, tasks[0].kind, WATCH_CARE, text_argument(fcinfo, 0), "cared for"))
		PG_RETURN_NULL();
	if (!r->watch.care)
		ereport(NOTICE,
				(errmsg("care is switched off for the watch of model \"%s\"", r->watch.model_name),
				 errhint("Switch it on with amad_watch(…, care => true).")));
	else if (r->watch.integer_time)
		ereport(NOTICE, (errmsg("amad_care needs a time column that is not an integer")));
	else
		/* a task that fails does not keep the next one from being done, unless it was cancelled */
		for (int i = 0; i < lengthof(tasks) && !(error && run_is_cancel(error)); i++)
		{
			ErrorData  *other = is_due(r, &tasks[i]) ? do_task(r, &tasks[i]) : NULL;

			error = error ? error : other;
		}
	run_notify(r);
	run_leave(r);
	if (error)
		ReThrowError(error);
	SPI_finish();
	PG_RETURN_NULL();
}
