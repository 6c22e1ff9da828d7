/*
 * operate/watch_tables.c
 *	  The tables of watches: statements that run as their owner.
 *
 * As for amad_models (model/models_table.c), the owner of the tables can have altered them, and
 * a role with the privilege TRIGGER could add code that would run with the owner's rights.  So
 * the tables are looked up in the extension's schema and locked, must have neither triggers
 * nor rules, and the types of results are checked.  Statements run with the search_path
 * pg_catalog, pg_temp, so names of operators and functions need no schema.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "model/grants.h"
#include "model/owners.h"
#include "model/registry.h"
#include "operate/watch_tables.h"

static const char *const tables[] = {WATCHES_TABLE,	  CHANGES_TABLE, OVERFLOW_TABLE,
									 PENDING_TABLE,	  SERIES_TABLE,	 RUNS_TABLE,
									 INCIDENTS_TABLE, OUTBOX_TABLE,	 VERDICTS_TABLE};

/* ---- access ------------------------------------------------------------------------------ */

static void
refuse_table(const char *name, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" of extension amad %s", name, what),
			 errdetail("Code attached to it would run with the privileges of the table's owner.")));
}

/* Locks a table and checks it; returns its oid and owner. */
static Oid
lock_table(Oid schema, const char *name, Oid *owner)
{
	Oid			oid = get_relname_relid(name, schema);
	Relation	table = OidIsValid(oid) ? try_relation_open(oid, RowExclusiveLock) : NULL;

	if (table == NULL || RelationGetNamespace(table) != schema ||
		strcmp(RelationGetRelationName(table), name) != 0 ||
		table->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table \"%s\" of extension amad does not exist", name),
				 errdetail("The extension was dropped, or the table was renamed.")));
	if (table->rd_rules != NULL)
		refuse_table(name, "has a rule");
	for (int i = 0; table->trigdesc && i < table->trigdesc->numtriggers; i++)
		if (table->trigdesc->triggers[i].tgenabled != TRIGGER_DISABLED)
			refuse_table(name, "has a trigger");
	*owner = table->rd_rel->relowner;
	relation_close(table, NoLock);
	return oid;
}

int64
watch_steps(const Watch *watch, int steps)
{
	return Min(watch->step, PG_INT64_MAX / 64) * steps;
}

int64
watch_interval_units(const Interval *interval)
{
	double		units = (double) interval->month * 30 * USECS_PER_DAY +
		(double) interval->day * USECS_PER_DAY + interval->time;

	return (int64) Max(0.0, Min(units, (double) (PG_INT64_MAX / 8)));
}

bool
watch_tables_exist(Oid function)
{
	return OidIsValid(get_relname_relid(WATCHES_TABLE, get_func_namespace(function)));
}

void
watch_tables_enter(WatchTables *t, Oid function)
{
	t->context = CurrentMemoryContext;
	t->schema = get_func_namespace(function);
	if (!OidIsValid(t->schema))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension amad was dropped")));
	t->caller = GetUserId();
	t->watches = lock_table(t->schema, tables[0], &t->owner);
	if (pg_class_aclcheck(t->watches, t->caller, ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, WATCHES_TABLE);
	for (int i = 1; i < lengthof(tables); i++)
	{
		Oid			owner;

		(void) lock_table(t->schema, tables[i], &owner);
		if (owner != t->owner)
			refuse_table(tables[i], "has an owner of its own");
	}
	t->scope = statements_enter(t->owner);
}

void
watch_tables_leave(const WatchTables *t)
{
	statements_leave(&t->scope);
}

/* The text of a statement, with the qualified names of the tables. */
static char *
fill_in_tables(const WatchTables *t, const char *text)
{
	const char *schema = get_namespace_name(t->schema);
	StringInfoData out;

	initStringInfo(&out);
	for (const char *open; (open = strchr(text, '{')) != NULL; text = strchr(open, '}') + 1)
	{
		char	   *name = psprintf("amad_%.*s", (int) (strchr(open, '}') - open - 1), open + 1);

		appendBinaryStringInfo(&out, text, open - text);
		appendStringInfoString(&out, quote_qualified_identifier(schema, name));
	}
	appendStringInfoString(&out, text);
	return out.data;
}

uint64
watch_tables_execute(const WatchTables *t, const char *text, int nargs, const Oid *types,
					 const Datum *values, const char *nulls)
{
	int			rc = SPI_execute_with_args(fill_in_tables(t, text), nargs, unconstify(Oid *, types),
								   unconstify(Datum *, values), nulls, false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

Datum
watch_tables_value(int row, int number, Oid type, bool *isnull)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	bool		null;
	Datum		value;

	if (SPI_gettypeid(desc, number) != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of a table of extension amad does not have type %s",
						SPI_fname(desc, number), format_type_be(type))));
	value = SPI_getbinval(SPI_tuptable->vals[row], desc, number, &null);
	if (isnull != NULL)
		*isnull = null;
	else if (null)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("column \"%s\" of a table of extension amad is null",
						SPI_fname(desc, number))));
	return value;
}

/* ---- watches ----------------------------------------------------------------------------- */

#define WATCH_COLUMNS \
	"owner, owner_oid, owner_cluster, watch, model_name, target, delay, late, retain, paused," \
	" source_oid, depth, lookahead, newest_ts, polled_until, every, step," \
	" silence, min_severity, min_rows, merge_gap, min_duration, alerts_per_day," \
	" tuned_version, notify, care, newest_version," \
	" time_type = 'int8', cooldown, tuned_at"

static char *
copy_text(MemoryContext context, int row, int number)
{
	return MemoryContextStrdup(context,
							   TextDatumGetCString(watch_tables_value(row, number, TEXTOID, NULL)));
}

static Interval *
copy_interval(MemoryContext context, int row, int number)
{
	bool		isnull;
	Datum		value = watch_tables_value(row, number, INTERVALOID, &isnull);
	Interval   *copy;

	if (isnull)
		return NULL;
	copy = MemoryContextAlloc(context, sizeof(Interval));
	*copy = *DatumGetIntervalP(value);
	return copy;
}

/* The owner in a row of the result. */
static Owner
read_owner(int row, bool *same_cluster)
{
	Owner		owner = {0};
	bool		no_oid;
	bool		no_cluster;
	Datum		oid = watch_tables_value(row, 2, OIDOID, &no_oid);
	Datum		cluster = watch_tables_value(row, 3, INT8OID, &no_cluster);

	owner.name = *DatumGetName(watch_tables_value(row, 1, NAMEOID, NULL));
	owner_set_oid(&owner, oid, no_oid, cluster, no_cluster);
	*same_cluster = owner.has_oid && owner.cluster == owner_cluster();
	return owner;
}

static void
read_watch(MemoryContext context, int row, Watch *w)
{
	Owner		owner;
	bool		isnull;
	Datum		value;

	memset(w, 0, sizeof(Watch));
	owner = read_owner(row, &w->same_cluster);
	w->role = owner_role(&owner);
	w->id = *DatumGetUUIDP(watch_tables_value(row, 4, UUIDOID, NULL));
	w->model_name = copy_text(context, row, 5);
	w->target = copy_text(context, row, 6);
	w->delay = *DatumGetIntervalP(watch_tables_value(row, 7, INTERVALOID, NULL));
	w->late = copy_interval(context, row, 8);
	w->retain = copy_interval(context, row, 9);
	w->paused = DatumGetBool(watch_tables_value(row, 10, BOOLOID, NULL));
	value = watch_tables_value(row, 11, OIDOID, &isnull);
	w->source = isnull || !w->same_cluster ? InvalidOid : DatumGetObjectId(value);
	w->depth = DatumGetInt32(watch_tables_value(row, 12, INT4OID, NULL));
	w->lookahead = DatumGetInt32(watch_tables_value(row, 13, INT4OID, NULL));
	value = watch_tables_value(row, 14, INT8OID, &isnull);
	w->has_newest = !isnull;
	w->newest = isnull ? 0 : DatumGetInt64(value);
	value = watch_tables_value(row, 15, INT8OID, &isnull);
	w->has_polled = !isnull;
	w->polled_until = isnull ? 0 : DatumGetInt64(value);
	w->every = copy_interval(context, row, 16);
	value = watch_tables_value(row, 17, INT8OID, &isnull);
	w->step = isnull ? 0 : DatumGetInt64(value);
	w->silence = copy_interval(context, row, 18);
	w->min_severity = DatumGetFloat8(watch_tables_value(row, 19, FLOAT8OID, NULL));
	w->min_rows = DatumGetInt32(watch_tables_value(row, 20, INT4OID, NULL));
	w->merge_gap = copy_interval(context, row, 21);
	w->min_duration = *DatumGetIntervalP(watch_tables_value(row, 22, INTERVALOID, NULL));
	value = watch_tables_value(row, 23, FLOAT8OID, &isnull);
	w->alerts_per_day = isnull ? 0 : DatumGetFloat8(value);
	value = watch_tables_value(row, 24, INT4OID, &isnull);
	w->tuned_version = isnull ? 0 : DatumGetInt32(value);
	value = watch_tables_value(row, 25, TEXTOID, &isnull);
	w->notify = isnull ? NULL : MemoryContextStrdup(context, TextDatumGetCString(value));
	w->care = DatumGetBool(watch_tables_value(row, 26, BOOLOID, NULL));
	value = watch_tables_value(row, 27, INT4OID, &isnull);
	w->newest_version = isnull ? 0 : DatumGetInt32(value);
	value = watch_tables_value(row, 28, BOOLOID, &isnull);
	w->integer_time = !isnull && DatumGetBool(value);
	w->cooldown = *DatumGetIntervalP(watch_tables_value(row, 29, INTERVALOID, NULL));
	value = watch_tables_value(row, 30, TIMESTAMPTZOID, &isnull);
	w->tuned_at = isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
}

/* Whether the caller may operate a watch: 3: its own, 2: as a member of the owner's role, 1: by a grant. */
static int
operating_rank(const WatchTables *t, Oid role, const char *model_name)
{
	if (role == t->caller)
		return 3;
	if (!OidIsValid(role))
		return 0;
	if (has_privs_of_role(t->caller, role))
		return 2;
	return grants_allow(t->schema, t->caller, role, model_name, GRANT_OPERATE);
}

Datum
watch_list_operated(const WatchTables *t)
{
	const int n = (int) watch_tables_execute(t, "SELECT " WATCH_COLUMNS " FROM {watches}", 0, NULL,
											 NULL, NULL);
	ArrayBuildState *found = initArrayResult(UUIDOID, t->context, false);

	for (int i = 0; i < n; i++)
	{
		bool		same;
		Owner		owner = read_owner(i, &same);

		CHECK_FOR_INTERRUPTS();
		if (operating_rank(t, owner_role(&owner), copy_text(t->context, i, 5)) > 0)
			(void) accumArrayResult(found, watch_tables_value(i, 4, UUIDOID, NULL), false, UUIDOID,
									t->context);
	}
	return makeArrayResult(found, t->context);
}

bool
watch_find(const WatchTables *t, const char *model_name, bool own, Watch *watch)
{
	const Oid	types[] = {TEXTOID};
	const Datum values[] = {CStringGetTextDatum(model_name)};
	uint64		n;
	int			found = -1;
	int			best = 0;
	Oid			other = InvalidOid;

	n = watch_tables_execute(t, "SELECT " WATCH_COLUMNS " FROM {watches} WHERE model_name = $1", 1,
							 types, values, NULL);
	for (int i = 0; i < (int) n; i++)
	{
		bool		same;
		Owner		owner = read_owner(i, &same);
		Oid			role = owner_role(&owner);
		int			rank;

		rank = operating_rank(t, role, model_name);
		if (own && role != t->caller)
			rank = 0;
		if (rank == 0 || rank < best)
			continue;
		other = rank > best ? InvalidOid : role;
		best = rank;
		found = i;
	}
	if (found < 0)
		return false;
	read_watch(t->context, found, watch);
	if (OidIsValid(other))
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_ALIAS),
				 errmsg("model name \"%s\" is ambiguous", model_name),
				 errdetail("Several roles have a watch of a model of that name."),
				 errhint("Use SET ROLE to become the owner of the watch.")));
	return true;
}

void
watch_require(const WatchTables *t, const char *model_name, bool own, Watch *watch)
{
	if (!watch_find(t, model_name, own, watch))
		watch_report_missing(model_name);
}

bool
watch_read(const WatchTables *t, const pg_uuid_t *id, Watch *watch)
{
	const Oid	types[] = {UUIDOID};
	const Datum values[] = {UUIDPGetDatum(id)};

	if (watch_tables_execute(t,
							 "SELECT " WATCH_COLUMNS
							 " FROM {watches} WHERE watch = $1 FOR KEY SHARE",
							 1, types, values, NULL) != 1)
		return false;
	read_watch(t->context, 0, watch);
	return true;
}

void
watch_report_missing(const char *model_name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no watch of model \"%s\"", model_name),
			 errhint("Create it with amad_watch(). The table amad_watches lists the watches that "
					 "you can use.")));
}

void
watch_clear(const WatchTables *t, const pg_uuid_t *id, const char *table)
{
	const Oid	types[] = {UUIDOID};
	const Datum values[] = {UUIDPGetDatum(id)};

	(void) watch_tables_execute(t, psprintf("DELETE FROM {%s} WHERE watch = $1", table), 1, types,
								values, NULL);
}

void
watch_delete_rows(const WatchTables *t, const pg_uuid_t *id)
{
	/* that of the watch itself last */
	for (int i = lengthof(tables) - 1; i >= 0; i--)
		watch_clear(t, id, tables[i] + strlen("amad_"));
}

void
watch_log_range(const WatchTables *t, const pg_uuid_t *id, Datum series, const int64 *first,
				const int64 *last)
{
	const Oid	types[] = {UUIDOID, TEXTARRAYOID, INT8OID, INT8OID};
	const Datum values[] = {UUIDPGetDatum(id), series, Int64GetDatum(first ? *first : 0),
							Int64GetDatum(last ? *last : 0)};
	char		nulls[] = {' ', series ? ' ' : 'n', first ? ' ' : 'n', last ? ' ' : 'n', '\0'};

	(void) watch_tables_execute(t, "INSERT INTO {changes} VALUES ($1, $2, $3, $4, now())", 4, types,
								values, nulls);
}

char *
watch_id_text(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/* ---- the owner of a watch ---------------------------------------------------------------- */

bool
watch_acts_for_other(const WatchTables *t, const Watch *watch)
{
	if (has_privs_of_role(t->caller, watch->role))
		return false;
	registry_check_forgery(t->owner, watch->role);
	return true;
}

StatementScope
watch_owner_enter(const Watch *watch, bool for_other)
{
	StatementScope scope = {.guc_level = NewGUCNestLevel()};

	GetUserIdAndSecContext(&scope.user, &scope.security_context);
	/* the caller could otherwise provide functions that those of the owner call by their names */
	if (for_other)
		(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	SetUserIdAndSecContext(watch->role,
						   scope.security_context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	return scope;
}

void
watch_owner_leave(const StatementScope *scope)
{
	AtEOXact_GUC(false, scope->guc_level);
	SetUserIdAndSecContext(scope->user, scope->security_context);
}

/* ---- the lock of a watch ----------------------------------------------------------------- */

/*
 * A lock of PostgreSQL's own method, not an advisory lock: users' locks have other numbers,
 * and after an error a session-level lock of this method is released automatically.
 */
static LOCKTAG
watch_lock_tag(Oid watches, const pg_uuid_t *id, WatchLock lock)
{
	LOCKTAG		tag;

	/* the fourth number is not 0, as it is in PostgreSQL's locks of objects */
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, watches, hash_bytes(id->data, UUID_LEN), lock);
	return tag;
}

bool
watch_lock(Oid watches, const pg_uuid_t *id, WatchLock lock, LOCKMODE mode, bool session, bool wait)
{
	LOCKTAG		tag = watch_lock_tag(watches, id, lock);

	return LockAcquire(&tag, mode, session, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
watch_unlock_session(Oid watches, const pg_uuid_t *id, WatchLock lock)
{
	LOCKTAG		tag = watch_lock_tag(watches, id, lock);

	(void) LockRelease(&tag, ExclusiveLock, true);
}
