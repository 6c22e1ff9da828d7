/*
 * operate/schedule.c
 *	  The functions amad_schedule, amad_unschedule, amad_find_job; the procedures for jobs.
 *
 * Schedulers are other extensions, on which amad does not depend: they are looked for at each
 * call, by the catalogs.  Everything runs with the caller's privileges, and a job is the
 * caller's; of a superuser who schedules another role's watch, it is that role's.
 *
 * pg_cron has a job for a name, a role and all databases.  It reads jobs in the database
 * cron.database_name only.  If that is another one, or the caller may not use it, the result has the
 * statement with which an administrator can create the job there.  TimescaleDB has jobs in each
 * database, except in its Apache edition, where the functions exist and raise an error.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "operate/crontab.h"
#include "operate/refresh.h"
#include "operate/schedule.h"
#include "pg/call_arguments.h"
#include "pg/json.h"
#include "pg/statements.h"
#include "pg/subtransaction.h"

SQL_FUNCTION(amad_schedule);
SQL_FUNCTION(amad_unschedule);
SQL_FUNCTION(amad_find_job);
SQL_FUNCTION(amad_job);
SQL_FUNCTION(amad_check_job);

/* What other extensions offer the current role in this database. */
typedef struct Schedulers
{
	bool		pg_cron;		/* jobs can be created */
	bool		pg_cron_visible;	/* jobs can be listed */
	bool		pg_cron_runs;	/* it runs the jobs of this database's table */
	bool		pg_cron_seconds;	/* "30 seconds" is a schedule */
	char	   *timescaledb;	/* schema of add_job, quoted; NULL: it has no jobs */
	bool		timescaledb_visible;
	bool		hidden;			/* there may be jobs that cannot be listed */
} Schedulers;

/* ---- statements with the caller's privileges --------------------------------------------- */

/* Runs a query whose parameters are texts and returns the number of rows. */
static int
run_query(const char *text, int nargs, const char *const *arguments, bool read_only)
{
	Oid			types[5] = {0};
	Datum		values[5] = {0};
	char		nulls[] = "     ";
	int			rc;

	Assert(nargs <= lengthof(types));
	for (int i = 0; i < nargs; i++)
	{
		types[i] = TEXTOID;
		values[i] = arguments[i] ? CStringGetTextDatum(arguments[i]) : 0;
		nulls[i] = arguments[i] ? ' ' : 'n';
	}
	rc = SPI_execute_with_args(text, nargs, types, values, nulls, read_only, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	return (int) SPI_processed;
}

/* A value of the last result as text, or NULL. */
static char *
result_text(int row, int number)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number);
}

static bool
result_is_true(int number)
{
	char	   *text = result_text(0, number);

	return text != NULL && strcmp(text, "t") == 0;
}

/* Looks at the functions and tables that extensions own: a user may have others of these names. */
static void
find_schedulers(Schedulers *s)
{
	const char *cron_database = GetConfigOption("cron.database_name", true, false);

	memset(s, 0, sizeof(*s));
	s->hidden = cron_database != NULL;
	if (run_query("SELECT has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, "
				  "'EXECUTE'),"
				  " has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),"
				  " string_to_array(substring(e.extversion, '^\\d+\\.\\d+'), '.')::int[] >= '{1,5}'"
				  " FROM pg_extension e, pg_namespace n, pg_proc p, pg_class c"
				  " WHERE e.extname = 'pg_cron' AND n.nspname = 'cron'"
				  " AND p.pronamespace = n.oid AND p.proname = 'schedule'"
				  " AND p.proargtypes::text = '25 25 25' AND c.relnamespace = n.oid"
				  " AND c.relname = 'job'"
				  " AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass"
				  " AND d.objid = p.oid AND d.refobjid = e.oid AND d.deptype = 'e')"
				  " AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
				  " AND d.objid = c.oid AND d.refobjid = e.oid AND d.deptype = 'e')",
				  0, NULL, true) == 1)
	{
		s->pg_cron_runs = cron_database &&
			strcmp(cron_database, get_database_name(MyDatabaseId)) == 0;
		s->pg_cron = s->pg_cron_runs && result_is_true(1);
		s->pg_cron_visible = result_is_true(2);
		s->pg_cron_seconds = result_is_true(3);
		s->hidden = !s->pg_cron_visible || (cron_database && !s->pg_cron_runs);
	}
	if (run_query("SELECT quote_ident(n.nspname), has_schema_privilege(v.relnamespace, 'USAGE')"
				  " AND has_table_privilege(v.oid, 'SELECT')"
				  " FROM pg_extension e, pg_namespace n, pg_class v"
				  " WHERE e.extname = 'timescaledb' AND n.oid = e.extnamespace"
				  " AND v.oid = to_regclass('timescaledb_information.jobs')"
				  " AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
				  " AND d.objid = v.oid AND d.refobjid = e.oid AND d.deptype = 'e')"
				  " AND EXISTS (SELECT FROM pg_proc p, pg_depend d WHERE p.pronamespace = n.oid"
				  " AND p.proname = 'add_job' AND d.classid = 'pg_proc'::regclass"
				  " AND d.objid = p.oid AND d.refobjid = e.oid AND d.deptype = 'e')",
				  0, NULL, true) == 1)
	{
		s->timescaledb = result_text(0, 1);
		s->timescaledb_visible = result_is_true(2);
	}
}

/* ---- the jobs of a watch ----------------------------------------------------------------- */

/* The procedures that jobs call. */
static const char *const procedures[] = {"amad_refresh", "amad_care"};

/*
 * The name of a pg_cron job; with the database if it is created in another one.  It had 63 bytes
 * at most before version 1.5, so long names of models are replaced by the watch's identifier.
 */
static char *
job_name(const char *procedure, const pg_uuid_t *id, const char *model_name, bool other_database)
{
	char	   *name = other_database
		? psprintf("%s %s in %s", procedure, model_name, get_database_name(MyDatabaseId))
		: psprintf("%s %s", procedure, model_name);

	return strlen(name) < NAMEDATALEN ? name : psprintf("%s %s", procedure, watch_id_text(id));
}

/* Jobs of pg_cron for a watch: $1, $2: names, $3: the watch's owner. */
#define CRON_JOBS \
	"j.jobname::text IN ($1, $2) AND j.database = current_database()" \
	" AND j.username IN (current_user, $3)"

/* Jobs of TimescaleDB: $1: name of the model, $2: the watch's owner. */
#define TIMESCALEDB_JOBS \
	"j.proc_name = 'amad_job'" \
	" AND j.config->>'model_name' = $1 AND j.owner::text IN (current_user, $2)"

int
schedule_remove(const Watch *watch)
{
	const StatementScope scope = statements_enter(InvalidOid);
	const char *owner = OidIsValid(watch->role) ? GetUserNameFromId(watch->role, true) : NULL;
	const char *const model[] = {watch->model_name, owner};
	int			removed = 0;
	Schedulers	s;

	find_schedulers(&s);
	for (int i = 0; i < lengthof(procedures) && s.pg_cron && s.pg_cron_visible; i++)
	{
		const char *const names[] = {job_name(procedures[i], &watch->id, watch->model_name, false),
									 job_name(procedures[i], &watch->id, watch->model_name, true),
									 owner};

		removed += run_query("SELECT cron.unschedule(j.jobid) FROM cron.job j WHERE " CRON_JOBS, 3,
							 names, false);
	}
	if (s.timescaledb && s.timescaledb_visible)
		removed +=
			run_query(psprintf("SELECT %s.delete_job(j.job_id)"
							   " FROM timescaledb_information.jobs j WHERE " TIMESCALEDB_JOBS,
							   s.timescaledb),
					  2, model, false);
	statements_leave(&scope);
	return removed;
}

/* What add_timescaledb_job() needs, and its result. */
typedef struct JobCall
{
	const char *query;
	const char *arguments[5];
	char	   *job;
} JobCall;

static void
call_add_job(void *arg)
{
	JobCall    *call = arg;

	(void) run_query(call->query, lengthof(call->arguments), call->arguments, false);
	call->job = result_text(0, 1);
}

/* Adds a job to TimescaleDB.  NULL if its edition has no jobs. */
static char *
add_timescaledb_job(const Schedulers *s, Oid function, const Watch *watch, const char *procedure,
					const char *every)
{
	const char *schema = quote_identifier(function_schema(function));
	JobCall		call = {
		.query = psprintf("SELECT %s.add_job(proc => $1::regproc,"
						  " schedule_interval => $2::interval,"
						  " config => jsonb_strip_nulls(jsonb_build_object('model_name', $3, "
						  "'procedure', $5)),"
						  " check_config => $4::regproc)",
						  s->timescaledb),
		.arguments = {psprintf("%s.amad_job", schema), every, watch->model_name,
					  psprintf("%s.amad_check_job", schema),
					  procedure != procedures[0] ? procedure : NULL},
	};
	ErrorData  *error = subtransaction_run(call_add_job, &call);

	if (error && error->sqlerrcode != ERRCODE_FEATURE_NOT_SUPPORTED)
		ReThrowError(error);
	return error ? NULL : call.job;
}

/* ---- amad_schedule ----------------------------------------------------------------------- */

static void
find_watch_to_schedule(Oid function, const char *model_name, Watch *watch)
{
	WatchTables t;

	watch_tables_enter(&t, function);
	watch_require(&t, model_name, false, watch);
	watch_tables_leave(&t);
}

/* A job that is to be created. */
typedef struct Job
{
	Oid			function;
	const Watch *watch;
	const char *procedure;
	const char *schedule;		/* in the syntax of crontab, if every is NULL */
	Interval   *every;
	bool		for_owner;		/* the caller, a superuser, creates it for the watch's owner */
} Job;

/* Creates a job, and writes what there is to know about it as members of an object. */
static void
create_job(const Schedulers *s, const Job *job, StringInfo result)
{
	const Watch *watch = job->watch;
	char	   *database = get_database_name(MyDatabaseId);
	char	   *role = GetUserNameFromId(job->for_owner ? watch->role : GetUserId(), false);
	const char *schedule = job->schedule;

	/* a scheduler may have another search_path */
	char	   *command = psprintf("CALL %s(%s)",
							 quote_qualified_identifier(get_namespace_name(
															get_func_namespace(job->function)),
														job->procedure),
							 crontab_sql_literal(watch->model_name));
	char	   *scheduler = NULL;
	char	   *id = NULL;

	if (job->every && (s->pg_cron || !s->timescaledb))
		schedule = crontab_round_interval(job->every, s->pg_cron && s->pg_cron_seconds);
	if (s->pg_cron)
	{
		const char *const arguments[] = {job_name(job->procedure, &watch->id, watch->model_name,
												  false),
										 schedule, command, role};

		(void) run_query(job->for_owner ? "SELECT cron.schedule_in_database($1, $2, $3,"
										  " current_database()::text, $4)"
										: "SELECT cron.schedule($1, $2, $3)",
						 job->for_owner ? 4 : 3, arguments, false);
		scheduler = "pg_cron";
		id = result_text(0, 1);
	}
	else if (s->timescaledb && job->every)
	{
		char	   *interval = DatumGetCString(
			DirectFunctionCall1(interval_out, IntervalPGetDatum(job->every)));

		id = add_timescaledb_job(s, job->function, watch, job->procedure, interval);
		if (id != NULL)
		{
			scheduler = "timescaledb";
			schedule = interval;
		}
		else
			schedule = crontab_round_interval(job->every, false);
	}

	json_put_string(result, "scheduler", scheduler);
	if (id)
		json_put_int(result, "job", strtoll(id, NULL, 10));
	json_put_string(result, "schedule", schedule);
	json_put_string(result, "command", command);
	if (scheduler == NULL)
	{
		char	   *name = job_name(job->procedure, &watch->id, watch->model_name, true);
		char	   *statement = GetConfigOption("cron.database_name", true, false)
			? psprintf("SELECT cron.schedule_in_database(%s, %s, %s, %s, %s)",
					   crontab_sql_literal(name), crontab_sql_literal(schedule),
					   crontab_sql_literal(command), crontab_sql_literal(database),
					   crontab_sql_literal(role))
			: NULL;

		json_put_string(result, "statement", statement);
		json_put_string(result, "crontab", crontab_psql_line(schedule, database, role, command));
	}
}

/* (model_name, schedule) → jsonb */
Datum
amad_schedule(PG_FUNCTION_ARGS)
{
	char	   *model_name = required_text_argument(fcinfo, 0, "model_name");
	char	   *schedule = text_argument(fcinfo, 1);
	Interval	hour = {.time = USECS_PER_HOUR};
	Watch		watch;
	Job			job = {.function = fcinfo->flinfo->fn_oid, .watch = &watch};
	Schedulers	s;
	StringInfoData result;
	StatementScope scope;

	find_watch_to_schedule(job.function, model_name, &watch);
	/* a superuser's job does not need its privileges */
	job.for_owner = superuser() && watch.role != GetUserId();

	/* an interval, or the syntax of crontab */
	if (schedule == NULL && watch.every == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the watch of model \"%s\" has no value of every", model_name),
				 errhint("Specify schedule, for example '5 min' or '*/5 * * * *'.")));
	if (schedule == NULL)
		job.every = watch.every;
	else if (crontab_is_schedule(schedule))
		job.schedule = schedule;
	else
		job.every = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(schedule),
														  ObjectIdGetDatum(InvalidOid),
														  Int32GetDatum(-1)));

	initStringInfo(&result);	/* not in the memory of SPI */
	appendStringInfoChar(&result, '{');

	/* instead of the jobs that it has */
	(void) schedule_remove(&watch);
	scope = statements_enter(InvalidOid);
	find_schedulers(&s);
	job.procedure = procedures[0];
	create_job(&s, &job, &result);
	if (watch.care)
	{
		/* each hour, which does what is due; of several watches not in the same minute */
		job.procedure = procedures[1];
		job.every = s.timescaledb && !s.pg_cron ? &hour : NULL;
		job.schedule = psprintf("%d * * * *", watch.id.data[0] % 60);
		json_key(&result, "care");
		appendStringInfoChar(&result, '{');
		create_job(&s, &job, &result);
		appendStringInfoChar(&result, '}');
	}
	appendStringInfoChar(&result, '}');
	statements_leave(&scope);
	PG_RETURN_DATUM(JsonbPGetDatum(json_to_jsonb(result.data)));
}

/* (model_name) → boolean */
Datum
amad_unschedule(PG_FUNCTION_ARGS)
{
	Watch		watch;

	find_watch_to_schedule(fcinfo->flinfo->fn_oid, text_to_cstring(PG_GETARG_TEXT_PP(0)), &watch);
	PG_RETURN_BOOL(schedule_remove(&watch) > 0);
}

/* ---- amad_find_job ----------------------------------------------------------------------- */

/*
 * (watch, model_name, owner) → (scheduler, job, state, message): the job of a watch, for
 * amad_status.
 */
Datum
amad_find_job(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *id = PG_GETARG_UUID_P(0);
	const char *model_name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *owner = NameStr(*PG_GETARG_NAME(2));
	MemoryContext caller = CurrentMemoryContext;
	char	   *values[] = {NULL, NULL, NULL, NULL};
	bool		found = false;
	Schedulers *s = fcinfo->flinfo->fn_extra;
	TupleDesc	desc;
	StatementScope scope;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE ||
		desc->natts != lengthof(values))
		elog(ERROR, "function amad_find_job has another result type");
	scope = statements_enter(InvalidOid);
	/* amad_status calls this for each watch */
	if (s == NULL)
	{
		s = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Schedulers));
		find_schedulers(s);
		if (s->timescaledb)
			s->timescaledb = MemoryContextStrdup(fcinfo->flinfo->fn_mcxt, s->timescaledb);
		fcinfo->flinfo->fn_extra = s;
	}
	if (s->pg_cron_visible)
	{
		const char *const arguments[] = {job_name(procedures[0], id, model_name, false),
										 job_name(procedures[0], id, model_name, true), owner,
										 s->pg_cron_runs ? "t" : "f"};

		found =
			run_query("SELECT 'pg_cron', j.jobid, CASE WHEN NOT (j.active AND $4::bool) THEN"
					  " 'inactive' WHEN d.status = 'failed' THEN 'failing' ELSE 'scheduled' END,"
					  " CASE WHEN d.status = 'failed' THEN d.return_message END"
					  " FROM cron.job j LEFT JOIN LATERAL (SELECT d.status, d.return_message"
					  " FROM cron.job_run_details d WHERE d.jobid = j.jobid"
					  " AND d.status IN ('succeeded', 'failed') ORDER BY d.runid DESC LIMIT 1) d"
					  " ON true WHERE " CRON_JOBS " ORDER BY j.active DESC, j.jobid LIMIT 1",
					  lengthof(arguments), arguments, true) > 0;
	}
	if (!found && s->timescaledb && s->timescaledb_visible)
	{
		const char *const arguments[] = {model_name, owner};

		found = run_query("SELECT 'timescaledb', j.job_id, CASE WHEN NOT j.scheduled THEN"
						  " 'inactive' WHEN d.last_run_status = 'Failed' THEN 'failing' ELSE"
						  " 'scheduled' END, NULL::text FROM timescaledb_information.jobs j"
						  " LEFT JOIN timescaledb_information.job_stats d USING (job_id)"
						  " WHERE " TIMESCALEDB_JOBS " ORDER BY j.job_id LIMIT 1",
						  lengthof(arguments), arguments, true) > 0;
	}
	for (int i = 0; found && i < lengthof(values); i++)
	{
		char	   *text = result_text(0, i + 1);

		values[i] = text ? MemoryContextStrdup(caller, text) : NULL;
	}
	statements_leave(&scope);
	/* unknown where jobs cannot be seen */
	if (!found && !s->hidden)
		values[2] = "not scheduled";
	PG_RETURN_DATUM(
		HeapTupleGetDatum(BuildTupleFromCStrings(TupleDescGetAttInMetadata(desc), values)));
}

/* ---- jobs of TimescaleDB ----------------------------------------------------------------- */

/* The name of a model in the configuration of a job. */
static char *
configured_model(Jsonb *config)
{
	char *name = JB_ROOT_IS_OBJECT(config) ? json_string_text(json_get(&config->root, "model_name"))
										   : NULL;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the configuration of a job needs a \"model_name\"")));
	return name;
}

/* Whether a job calls amad_care rather than amad_refresh. */
static bool
calls_care(Jsonb *config)
{
	const char *procedure = json_string_text(json_get(&config->root, "procedure"));

	if (procedure == NULL)
		return false;
	for (int i = 0; i < lengthof(procedures); i++)
		if (strcmp(procedure, procedures[i]) == 0)
			return i > 0;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a job cannot call \"%s\"", procedure),
			 errhint("Valid values of \"procedure\" are \"%s\" and \"%s\".", procedures[0],
					 procedures[1])));
}

/* (config): whether a job can have it; ERROR if not */
Datum
amad_check_job(PG_FUNCTION_ARGS)
{
	Watch		watch;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("config must not be null")));
	find_watch_to_schedule(fcinfo->flinfo->fn_oid, configured_model(PG_GETARG_JSONB_P(0)), &watch);
	(void) calls_care(PG_GETARG_JSONB_P(0));
	PG_RETURN_VOID();
}

/* (job_id, config): CALL amad_refresh(config->>'model_name'), or amad_care */
Datum
amad_job(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(call, 4);
	Jsonb	   *config;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("config must not be null")));
	config = PG_GETARG_JSONB_P(1);
	InitFunctionCallInfoData(*call, fcinfo->flinfo, 4, fcinfo->fncollation, fcinfo->context, NULL);
	memset(call->args, 0, 4 * sizeof(NullableDatum));
	call->args[0].value = CStringGetTextDatum(configured_model(config));
	for (int i = 1; i < 4; i++)
		call->args[i].isnull = true;
	return calls_care(config) ? amad_care(call) : amad_refresh(call);
}
