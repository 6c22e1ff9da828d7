/*
 * operate/watch.c
 *	  The functions amad_watch, amad_unwatch, amad_pause, amad_resume, and amad_drop.
 *
 * A watch belongs to the owner of its model, who creates it: the triggers and the table of scores
 * are created with the caller's privileges.  What it has to score first is an entry of the
 * change log, so the first refresh is like any other.
 *
 * amad_drop, which drops versions of a model, is here because the last one takes the watch with it.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "model/owners.h"
#include "model/registry.h"
#include "operate/schedule.h"
#include "operate/watch_tables.h"
#include "operate/watch_triggers.h"
#include "operate/watch_views.h"
#include "pg/call_arguments.h"
#include "pg/json.h"
#include "rows/source_shards.h"
#include "score/detect.h"

#define MOST_YEARS 1000			/* in intervals */

enum
{
	ARG_MODEL_NAME,
	ARG_TARGET,
	ARG_EVERY,
	ARG_DELAY,
	ARG_LATE,
	ARG_RETAIN,
	ARG_SINCE,
	ARG_SILENCE,
	ARG_MIN_SEVERITY,
	ARG_MIN_ROWS,
	ARG_MERGE_GAP,
	ARG_MIN_DURATION,
	ARG_ALERTS_PER_DAY,
	ARG_CRITICAL_SEVERITY,
	ARG_LABELS,
	ARG_NOTIFY,
	ARG_CARE,
	ARG_COOLDOWN
};

SQL_FUNCTION(amad_watch);
SQL_FUNCTION(amad_unwatch);
SQL_FUNCTION(amad_pause);
SQL_FUNCTION(amad_resume);
SQL_FUNCTION(amad_drop);

/*
 * Locks the caller's watch of a model, whether it exists or not, until the transaction ends: there is
 * one, and those who create, alter or drop it wait for each other.
 */
static void
lock_watch_name(const WatchTables *t, const char *model_name)
{
	LockDatabaseObject(t->watches,
					   hash_combine(hash_bytes((const unsigned char *) model_name,
											   strlen(model_name)),
									hash_bytes_uint32(t->caller)),
					   0, ExclusiveLock);
}

/* ---- amad_watch -------------------------------------------------------------------------- */

/*
 * Refuses negative intervals, as a negative time would score rows of the future, and intervals before which
 * there are no times.
 */
static void
check_interval(FunctionCallInfo fcinfo, int number, const char *name)
{
	const Interval zero = {0};
	const Interval most = {.month = MOST_YEARS * MONTHS_PER_YEAR};

	if (!PG_ARGISNULL(number) &&
		DatumGetBool(
			DirectFunctionCall2(interval_gt, PG_GETARG_DATUM(number), IntervalPGetDatum(&most))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at most %d years", name, MOST_YEARS)));

	if (!PG_ARGISNULL(number) &&
		DatumGetBool(
			DirectFunctionCall2(interval_lt, PG_GETARG_DATUM(number), IntervalPGetDatum(&zero))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be negative", name)));
}

/* Refuses a rule by which no row could be an incident, or every row. */
static void
check_rule(FunctionCallInfo fcinfo)
{
	check_interval(fcinfo, ARG_MERGE_GAP, "merge_gap");
	check_interval(fcinfo, ARG_MIN_DURATION, "min_duration");
	check_interval(fcinfo, ARG_COOLDOWN, "cooldown");
	/* or NaN */
	if (!PG_ARGISNULL(ARG_MIN_SEVERITY) && !(PG_GETARG_FLOAT8(ARG_MIN_SEVERITY) >= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("min_severity must be at least 1"),
				 errdetail("Rows with a severity up to 1 are normal.")));
	if (!PG_ARGISNULL(ARG_ALERTS_PER_DAY) &&
		(!(PG_GETARG_FLOAT8(ARG_ALERTS_PER_DAY) >= 0) ||
		 isinf(PG_GETARG_FLOAT8(ARG_ALERTS_PER_DAY))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("alerts_per_day must be a number that is not negative")));
	if (!PG_ARGISNULL(ARG_MIN_ROWS) && PG_GETARG_INT32(ARG_MIN_ROWS) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("min_rows must be at least 1")));
}

/* Refuses labels and a channel that announcements could not have. */
static void
check_announcements(FunctionCallInfo fcinfo)
{
	if (!PG_ARGISNULL(ARG_CRITICAL_SEVERITY) && !(PG_GETARG_FLOAT8(ARG_CRITICAL_SEVERITY) >= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("critical_severity must be at least 1")));
	if (!PG_ARGISNULL(ARG_NOTIFY) &&
		VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(ARG_NOTIFY)) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("notify must be the name of a channel, of less than %d bytes",
						NAMEDATALEN)));
	if (!PG_ARGISNULL(ARG_LABELS))
	{
		Jsonb	   *labels = PG_GETARG_JSONB_P(ARG_LABELS);
		JsonbIterator *it;
		JsonbValue	value;
		char	   *key;

		if (!JB_ROOT_IS_OBJECT(labels))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("labels must be a JSON object"),
					 errhint("For example '{\"team\": \"plant\"}'.")));
		it = JsonbIteratorInit(&labels->root);
		while ((key = json_next_member(&it, &value)) != NULL)
			if (value.type != jbvString)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("label \"%s\" must be a string", key)));
	}
}

/* Settings of a watch that an argument changes. */
static const struct
{
	int			arg;
	const char *column;
	Oid			type;
	const char *none;			/* expression that takes it back to null; NULL: it is never null */
} settings[] = {
	{ARG_EVERY, "every", INTERVALOID, "'0'"},
	{ARG_DELAY, "delay", INTERVALOID, NULL},
	{ARG_LATE, "late", INTERVALOID, "'0'"},
	{ARG_RETAIN, "retain", INTERVALOID, "'0'"},
	{ARG_SILENCE, "silence", INTERVALOID, "'0'"},
	{ARG_MIN_SEVERITY, "min_severity", FLOAT8OID, NULL},
	{ARG_MIN_ROWS, "min_rows", INT4OID, NULL},
	{ARG_MERGE_GAP, "merge_gap", INTERVALOID, "'0'"},
	{ARG_MIN_DURATION, "min_duration", INTERVALOID, NULL},
	{ARG_ALERTS_PER_DAY, "alerts_per_day", FLOAT8OID, "'0'"},
	{ARG_CRITICAL_SEVERITY, "critical_severity", FLOAT8OID, NULL},
	{ARG_LABELS, "labels", JSONBOID, "jsonb_build_object()"},
	{ARG_NOTIFY, "notify", TEXTOID, "''"},
	{ARG_CARE, "care", BOOLOID, NULL},
	{ARG_COOLDOWN, "cooldown", INTERVALOID, NULL},
};

#define FIRST_SETTING 7			/* number of the parameter of the first setting */

/* Inserts the row of a watch, or updates the columns that are given.  Returns its identifier. */
static pg_uuid_t
store_watch(FunctionCallInfo fcinfo, const WatchTables *t, const pg_uuid_t *id, const char *target,
			Oid relation)
{
	Oid			types[FIRST_SETTING - 1 + lengthof(settings)] = {TEXTOID, TEXTOID, NAMEOID,
														 OIDOID,  INT8OID, OIDOID};
	NameData	owner;
	Datum		values[lengthof(types)] = {
		PG_GETARG_DATUM(ARG_MODEL_NAME), CStringGetTextDatum(target),	 NameGetDatum(&owner),
		ObjectIdGetDatum(t->caller),	 Int64GetDatum(owner_cluster()), ObjectIdGetDatum(relation),
	};
	char		nulls[lengthof(types) + 1];
	StringInfoData set;
	StringInfoData text;
	int			per_day = 0;	/* number of the parameter alerts_per_day */

	namestrcpy(&owner, GetUserNameFromId(t->caller, false));
	memset(nulls, ' ', sizeof(nulls));
	nulls[5] = OidIsValid(relation) ? ' ' : 'n';
	if (!id)
	{
		/* with the defaults of the table */
		(void) watch_tables_execute(t,
									"INSERT INTO {watches} (watch, owner, owner_oid, "
									"owner_cluster, model_name, target, source_oid)"
									" VALUES (gen_random_uuid(), $3, $4, $5, $1, $2, $6) RETURNING "
									"watch",
									6, types, values, nulls);
		if (SPI_processed != 1)
			elog(ERROR, "table \"%s\" did not accept the watch", WATCHES_TABLE);
		id = memcpy(palloc(sizeof(pg_uuid_t)),
					DatumGetUUIDP(watch_tables_value(0, 1, UUIDOID, NULL)), sizeof(pg_uuid_t));
	}
	initStringInfo(&set);
	for (int i = 0; i < lengthof(settings); i++)
	{
		const int	n = FIRST_SETTING + i;

		if (settings[i].arg == ARG_ALERTS_PER_DAY)
			per_day = n;
		types[n - 1] = settings[i].type;
		values[n - 1] = PG_GETARG_DATUM(settings[i].arg);
		nulls[n - 1] = PG_ARGISNULL(settings[i].arg) ? 'n' : ' ';
		appendStringInfo(&set,
						 settings[i].none ? ", %1$s = CASE WHEN $%2$d = %3$s THEN NULL ELSE "
											"coalesce($%2$d, %1$s) END"
										  : ", %1$s = coalesce($%2$d, %1$s)",
						 settings[i].column, n, settings[i].none);
	}
	initStringInfo(&text);
	/* newest_ts and polled_until describe a table */
	appendStringInfo(&text,
					 "UPDATE {watches} SET target = $2, owner = $3, owner_oid = $4, owner_cluster "
					 "= $5,"
					 " source_oid = $6, newest_ts = CASE WHEN target = $2 THEN newest_ts END,"
					 " polled_until = CASE WHEN target = $2 THEN polled_until END,"
					 " tuned_version = CASE WHEN target = $2 AND $%d IS NULL THEN tuned_version "
					 "END%s"
					 " WHERE watch = '%s' AND model_name = $1 RETURNING watch",
					 per_day, set.data, watch_id_text(id));
	(void) watch_tables_execute(t, text.data, lengthof(types), types, values, nulls);
	if (SPI_processed != 1)
		elog(ERROR, "table \"%s\" did not accept the watch", WATCHES_TABLE);
	return *DatumGetUUIDP(watch_tables_value(0, 1, UUIDOID, NULL));
}

/*
 * Creates what is missing of the target and its views; returns the target's name.  They are on this node only:
 * Citus need not create them on others.
 */
static char *
create_relations(const char *target, char *qualified, const Source *source, Oid relation)
{
	static const char propagation[] = "citus.enable_ddl_propagation";
	const int	level = NewGUCNestLevel();

	if (GetConfigOption(propagation, true, false) != NULL)
		(void) set_config_option(propagation, "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
	if (qualified == NULL)
	{
		watch_create_target(target, source, relation);
		qualified = watch_open_target(target, source, false);
	}
	watch_create_views(qualified, source);
	AtEOXact_GUC(false, level);
	return qualified;
}

/* (model_name, target, every, delay, late, retain, since, silence, the rule for incidents, and how they are announced) → jsonb */
Datum
amad_watch(PG_FUNCTION_ARGS)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	char	   *model_name = text_argument(fcinfo, ARG_MODEL_NAME);
	char	   *target = text_argument(fcinfo, ARG_TARGET);
	DetectSpec	spec = {.function = function, .model_name = model_name};
	Detection  *detection;
	const Source *source;
	Watch		watch;
	WatchTables t;
	StringInfoData result;
	RegistryEntry entry;
	Oid			relation = InvalidOid;
	char	   *qualified;
	char	   *old_target = NULL;
	bool		exists;
	bool		polled;
	bool		new_target;

	PreventCommandIfReadOnly("amad_watch()");
	if (model_name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("model_name must not be null")));
	registry_check_coordinator(fcinfo);
	check_interval(fcinfo, ARG_EVERY, "every");
	check_interval(fcinfo, ARG_DELAY, "delay");
	check_interval(fcinfo, ARG_LATE, "late");
	check_interval(fcinfo, ARG_RETAIN, "retain");
	check_interval(fcinfo, ARG_SILENCE, "silence");
	check_rule(fcinfo);
	check_announcements(fcinfo);

	/* concurrent calls wait, as for a refresh that runs */
	watch_tables_enter(&t, function);
	lock_watch_name(&t, model_name);
	exists = watch_find(&t, model_name, true, &watch);
	watch_tables_leave(&t);
	if (exists)
	{
		(void) watch_lock(t.watches, &watch.id, WATCH_REFRESH, ExclusiveLock, false, true);
		old_target = watch.target;
	}

	/* the model and its source; both belong to the caller */
	entry = registry_find(function, model_name, 0);
	if (!entry.own)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("model \"%s\" belongs to role \"%s\"", model_name, NameStr(entry.role)),
				 errhint("Use SET ROLE to become the owner of the model.")));
	detection = detect_open(&spec);
	source = detect_source(detection);
	if (source->ts_type == INT8OID &&
		!(PG_ARGISNULL(ARG_DELAY) && PG_ARGISNULL(ARG_LATE) && PG_ARGISNULL(ARG_RETAIN) &&
		  PG_ARGISNULL(ARG_SINCE) && PG_ARGISNULL(ARG_SILENCE) && PG_ARGISNULL(ARG_MERGE_GAP) &&
		  PG_ARGISNULL(ARG_MIN_DURATION) && PG_ARGISNULL(ARG_ALERTS_PER_DAY) &&
		  PG_ARGISNULL(ARG_COOLDOWN)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("intervals, since and alerts_per_day need a time column that is not an "
						"integer"),
				 errdetail("The intervals are delay, late, retain, silence, merge_gap, "
						   "min_duration and cooldown.")));

	/* the table of scores */
	relation = watch_source_relation(source);
	if (target == NULL)
		target = exists ? old_target
						: psprintf("%s", quote_identifier(psprintf("%s_scores", model_name)));
	qualified = watch_open_target(target, source, true);
	new_target = !exists || qualified == NULL || strcmp(old_target, qualified) != 0;
	if (new_target)
		qualified = create_relations(target, qualified, source, relation);

	/* the row of the watch, then its triggers */
	polled = PG_ARGISNULL(ARG_LATE)
		? exists && watch.late != NULL
		: DatumGetBool(DirectFunctionCall2(interval_gt, PG_GETARG_DATUM(ARG_LATE),
										   IntervalPGetDatum(&(const Interval){0})));
	if (!polled && !OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("changes of the source of model \"%s\" cannot be logged", model_name),
				 errdetail("It is a query."),
				 errhint("Specify late, the time that each refresh is to score again.")));
	if (!polled && source_is_distributed(source))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("changes of the source of model \"%s\" cannot be logged", model_name),
				 errdetail("It is a distributed table, which cannot have triggers."),
				 errhint("Specify late, the time that each refresh is to score again.")));
	watch_tables_enter(&t, function);
	watch.id = store_watch(fcinfo, &t, exists ? &watch.id : NULL, qualified,
						   polled ? InvalidOid : relation);
	(void) watch_read(&t, &watch.id, &watch);
	watch_tables_leave(&t);
	if (polled)
		watch_drop_triggers(function, &watch.id, NIL);
	else
		watch_ensure_triggers(function, &watch, source, relation, NULL);

	/* what is to be scored first */
	if (new_target || !PG_ARGISNULL(ARG_SINCE))
	{
		int64		since = 0;

		if (!PG_ARGISNULL(ARG_SINCE))
			since = DatumGetInt64(detect_convert_bound(function, TIMESTAMPTZOID, source->ts_type,
													   PG_GETARG_DATUM(ARG_SINCE)));
		watch_tables_enter(&t, function);
		/* instead of everything, which new triggers log */
		if (new_target)
		{
			watch_clear(&t, &watch.id, "changes");
			watch_clear(&t, &watch.id, "pending");
			watch_clear(&t, &watch.id, "series");
			watch_clear(&t, &watch.id, "incidents");
			watch_clear(&t, &watch.id, "outbox");
		}
		watch_log_range(&t, &watch.id, 0, PG_ARGISNULL(ARG_SINCE) ? NULL : &since, NULL);
		watch_tables_leave(&t);
	}

	initStringInfo(&result);
	appendStringInfoChar(&result, '{');
	json_put_string(&result, "watch", watch_id_text(&watch.id));
	json_put_string(&result, "target", qualified);
	json_put_string(&result, "changes", polled ? "polled" : "logged by triggers");
	appendStringInfoChar(&result, '}');
	PG_RETURN_DATUM(JsonbPGetDatum(json_to_jsonb(result.data)));
}

/* ---- the others -------------------------------------------------------------------------- */

/* Drops a watch with its triggers, its job and its rows of all tables; the table of scores is kept. */
static void
drop_watch(Oid function, Oid watches, const Watch *watch)
{
	WatchTables t;

	/* runs are not interrupted */
	(void) watch_lock(watches, &watch->id, WATCH_CARE, ExclusiveLock, false, true);
	(void) watch_lock(watches, &watch->id, WATCH_REFRESH, ExclusiveLock, false, true);
	watch_drop_triggers(function, &watch->id, NIL);
	(void) schedule_remove(watch);
	watch_tables_enter(&t, function);
	watch_delete_rows(&t, &watch->id);
	watch_tables_leave(&t);
}

/* (model_name) */
Datum
amad_unwatch(PG_FUNCTION_ARGS)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	char	   *model_name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	WatchTables t;
	Watch		watch;

	PreventCommandIfReadOnly("amad_unwatch()");
	watch_tables_enter(&t, function);
	lock_watch_name(&t, model_name);
	watch_require(&t, model_name, true, &watch);
	watch_tables_leave(&t);
	drop_watch(function, t.watches, &watch);
	PG_RETURN_VOID();
}

/* (model_name, version) → bigint, versions dropped; version NULL: all */
Datum
amad_drop(PG_FUNCTION_ARGS)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	int			version = registry_version(fcinfo, 1);
	char	   *model_name = text_argument(fcinfo, 0);
	bool		any_left;
	int64		ndropped;

	if (model_name == NULL)
		PG_RETURN_NULL();
	PreventCommandIfReadOnly("amad_drop()");
	/* the lock of the model comes after that of its care, as there */
	if (version == 0 && watch_tables_exist(function))
	{
		WatchTables t;
		Watch		watch;
		bool		exists;

		watch_tables_enter(&t, function);
		exists = watch_find(&t, model_name, true, &watch);
		watch_tables_leave(&t);
		if (exists)
			(void) watch_lock(t.watches, &watch.id, WATCH_CARE, ExclusiveLock, false, true);
	}
	ndropped = registry_drop(function, model_name, version, &any_left);
	if (!any_left && watch_tables_exist(function))
	{
		WatchTables t;
		Watch		watch;
		bool		exists;

		watch_tables_enter(&t, function);
		lock_watch_name(&t, model_name);
		exists = watch_find(&t, model_name, true, &watch);
		watch_tables_leave(&t);
		if (exists)
			drop_watch(function, t.watches, &watch);
	}
	PG_RETURN_INT64(ndropped);
}

static void
set_paused(FunctionCallInfo fcinfo, bool paused)
{
	const Oid	types[] = {UUIDOID, BOOLOID};
	WatchTables t;
	Watch		watch;
	const Datum values[] = {UUIDPGetDatum(&watch.id), BoolGetDatum(paused)};

	PreventCommandIfReadOnly(paused ? "amad_pause()" : "amad_resume()");
	watch_tables_enter(&t, fcinfo->flinfo->fn_oid);
	watch_require(&t, text_to_cstring(PG_GETARG_TEXT_PP(0)), false, &watch);
	(void) watch_tables_execute(&t, "UPDATE {watches} SET paused = $2 WHERE watch = $1", 2, types,
								values, NULL);
	watch_tables_leave(&t);
}

/* (model_name) */
Datum
amad_pause(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, true);
	PG_RETURN_VOID();
}

/* (model_name) */
Datum
amad_resume(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, false);
	PG_RETURN_VOID();
}
