/*
 * operate/watch_triggers.c
 *	  The triggers of a watch on its source, and the table that scores are written to.
 *
 * A statement fires the triggers of the relation that it names, and no others: an INSERT into a
 * partitioned table those of the table, an INSERT into one of its partitions those of the
 * partition.  So every relation of the tree has triggers of its own, and no row is logged twice.
 *
 * A relation that has none yet, such as a new partition, may have got rows unseen.  CREATE TRIGGER
 * waits for the transactions that write to it, so the rows that are visible afterwards, and those
 * that the triggers will log, are all there are: the time of the former is logged.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/relation.h"
#include "access/tupdesc.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "operate/change_log.h"
#include "operate/watch_triggers.h"
#include "pg/call_arguments.h"
#include "pg/subtransaction.h"
#include "pg/timestamps.h"
#include "rows/relation.h"

#define CHUNKS_SCHEMA "_timescaledb_internal"

/* The triggers of a relation. */
static const struct
{
	const char *name;
	const char *event;
	const char *referencing;
	int16		type;
} events[] = {
	{"insert", "INSERT", "REFERENCING NEW TABLE AS amad_new", TRIGGER_TYPE_INSERT},
	{"update", "UPDATE", "REFERENCING OLD TABLE AS amad_old NEW TABLE AS amad_new",
	 TRIGGER_TYPE_UPDATE},
	{"delete", "DELETE", "REFERENCING OLD TABLE AS amad_old", TRIGGER_TYPE_DELETE},
	{"truncate", "TRUNCATE", "", TRIGGER_TYPE_TRUNCATE},
};

static void
execute(const char *statement)
{
	int			rc = SPI_execute(statement, false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
}

static void
call_execute(void *statement)
{
	execute(statement);
}

/* The qualified name of a relation that is locked. */
static char *
relation_name(Relation rel)
{
	return quote_qualified_identifier(get_namespace_name_or_temp(RelationGetNamespace(rel)),
									  RelationGetRelationName(rel));
}

/* The trigger function in the schema of another function of the extension. */
static Oid
log_function(Oid function)
{
	char	   *schema = function_schema(function);

	return LookupFuncName(list_make2(makeString(schema), makeString("amad_log_change")), 0, NULL,
						  false);
}

Oid
watch_source_relation(const Source *s)
{
	SourceScope scope = source_enter(&s->spec);
	Oid			relation = relation_open_source(s->spec.source, "source").relation;

	source_leave(&scope);
	return relation;
}

/* ---- creating triggers ------------------------------------------------------------------- */

/* NUMBER:NAME of a column of a relation, for an argument. */
static char *
column_argument(Relation rel, const char *name)
{
	AttrNumber	number = get_attnum(RelationGetRelid(rel), name);

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", name,
						RelationGetRelationName(rel))));
	return psprintf("%d:%s", number, name);
}

/* The arguments of the triggers of a relation. */
static List *
trigger_arguments(const Watch *w, const Source *s, Relation rel)
{
	List *arguments = list_make3(watch_id_text(&w->id), change_log_binding(RelationGetRelid(rel)),
								 column_argument(rel, s->spec.timestamp_col));

	for (int i = 0; i < s->spec.nseries; i++)
		arguments = lappend(arguments, column_argument(rel, s->spec.series_cols[i]));
	return arguments;
}

/* The trigger of a watch for an event; NULL if it does not exist. */
static const Trigger *
find_trigger(Relation rel, Oid function, const char *id, int16 type)
{
	const TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		const Trigger *t = &triggers->triggers[i];

		if (t->tgfoid == function && t->tgnargs > CHANGE_LOG_SERIES - 1 &&
			strcmp(t->tgargs[CHANGE_LOG_WATCH], id) == 0 && (t->tgtype & type) != 0)
			return t;
	}
	return NULL;
}

static bool
has_arguments(const Trigger *t, List *arguments)
{
	ListCell   *cell;
	int			i = 0;

	if (t->tgnargs != list_length(arguments))
		return false;
	foreach(cell, arguments)
		if (strcmp(t->tgargs[i++], lfirst(cell)) != 0)
			return false;
	return true;
}

/* Whether TimescaleDB has made a relation a hypertable, whose triggers cannot be altered. */
static bool
is_hypertable(Relation rel)
{
	const Oid	catalog = get_namespace_oid("_timescaledb_catalog", true);

	if (!OidIsValid(get_extension_oid("timescaledb", true)) || !OidIsValid(catalog) ||
		!OidIsValid(get_relname_relid("hypertable", catalog)))
		return false;
	execute(psprintf("SELECT FROM _timescaledb_catalog.hypertable WHERE schema_name "
					 "OPERATOR(pg_catalog.=) %s AND table_name OPERATOR(pg_catalog.=) %s",
					 quote_literal_cstr(get_namespace_name_or_temp(RelationGetNamespace(rel))),
					 quote_literal_cstr(RelationGetRelationName(rel))));
	return SPI_processed > 0;
}

/*
 * Creates the triggers that a relation lacks and replaces those whose arguments differ.  Returns
 * whether any were missing.  The owner of the relation makes them fire in all sessions, also
 * with session_replication_role = replica.
 *
 * TimescaleDB deletes compressed batches as a whole, so if chunks can be compressed it refuses a
 * trigger that sees deleted rows.  There, one that does not see them logs that everything changed.
 */
static bool
create_triggers(Oid log, const Watch *w, const Source *s, Oid relation)
{
	Relation	rel = relation_open(relation, AccessShareLock);
	const bool	hypertable = is_hypertable(rel);
	const bool	alters = !hypertable && has_privs_of_role(GetUserId(), rel->rd_rel->relowner);
	char	   *id = watch_id_text(&w->id);
	char	   *log_name = quote_qualified_identifier(function_schema(log), get_func_name(log));
	char	   *name = relation_name(rel);
	List	   *arguments = trigger_arguments(w, s, rel);
	List	   *statements = NIL;
	List	   *otherwise = NIL;	/* for those that may be refused, else NULL */
	StringInfoData action;
	bool		missing = false;
	ListCell   *cell;
	ListCell   *other;

	initStringInfo(&action);
	appendStringInfo(&action, "FOR EACH STATEMENT EXECUTE FUNCTION %s(", log_name);
	foreach(cell, arguments)
		appendStringInfo(&action, "%s%s", foreach_current_index(cell) > 0 ? ", " : "",
						 quote_literal_cstr(lfirst(cell)));
	appendStringInfoChar(&action, ')');
	for (int i = 0; i < lengthof(events); i++)
	{
		const Trigger *t = find_trigger(rel, log, id, events[i].type);
		char	   *trigger;
		char	   *create;
		bool		disabled = t && t->tgenabled == TRIGGER_DISABLED;

		if (t && has_arguments(t, arguments))
			continue;
		missing = missing || t == NULL;
		trigger = t ? pstrdup(t->tgname) : psprintf("amad_%.8s_%s", id, events[i].name);
		trigger = pstrdup(quote_identifier(trigger));
		create = psprintf("CREATE OR REPLACE TRIGGER %s AFTER %s ON %s", trigger, events[i].event,
						  name);
		statements = lappend(statements,
							 psprintf("%s %s %s", create, events[i].referencing, action.data));
		otherwise = lappend(otherwise,
							hypertable && events[i].type == TRIGGER_TYPE_DELETE
								? psprintf("%s %s", create, action.data)
								: NULL);
		if (alters)
		{
			statements = lappend(statements,
								 psprintf("ALTER TABLE %s %s TRIGGER %s", name,
										  disabled ? "DISABLE" : "ENABLE ALWAYS", trigger));
			otherwise = lappend(otherwise, NULL);
		}
	}
	/* a table that is open cannot be altered */
	relation_close(rel, NoLock);
	if (statements != NIL && pg_class_aclcheck(relation, GetUserId(), ACL_TRIGGER) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to create triggers on %s", name),
				 errhint("Its owner can grant the privilege TRIGGER. Without it, specify late, the "
						 "time that each refresh is to score again.")));
	forboth(cell, statements, other, otherwise)
	{
		ErrorData  *error = NULL;

		if (lfirst(other) == NULL)
			execute(lfirst(cell));
		else
			error = subtransaction_run(call_execute, lfirst(cell));
		if (error && error->sqlerrcode != ERRCODE_FEATURE_NOT_SUPPORTED)
			ReThrowError(error);
		if (error)
		{
			ereport(NOTICE,
					(errmsg("each DELETE from \"%s\" will make the next refresh score all rows",
							get_rel_name(relation)),
					 errdetail("TimescaleDB refuses a trigger that sees the deleted rows: %s",
							   error->message)));
			execute(lfirst(other));
		}
	}
	return missing;
}

/* Logs the time of the rows of one relation as changed. */
static void
log_relation(Oid function, const Watch *w, const Source *s, Oid relation)
{
	Relation	rel = relation_open(relation, AccessShareLock);
	char	   *name = relation_name(rel);
	bool		null_first = true;
	bool		null_last = true;
	bool		known = pg_class_aclcheck(relation, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
	int64		first = 0;
	int64		last = 0;
	WatchTables t;

	relation_close(rel, NoLock);
	if (known)
	{
		StringInfoData where;

		initStringInfo(&where);
		execute(source_span_query(s, psprintf("ONLY %s", name), &where));
		if (SPI_processed == 1 && SPI_gettypeid(SPI_tuptable->tupdesc, 1) == source_ts_read_type(s))
		{
			Datum min = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null_first);
			Datum max = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null_last);

			if (null_first || null_last)
				return;			/* no rows */
			null_first = !timestamps_value(source_ts_read_type(s), min, &first);
			null_last = !timestamps_value(source_ts_read_type(s), max, &last);
		}
	}
	watch_tables_enter(&t, function);
	watch_log_range(&t, &w->id, 0, null_first ? NULL : &first, null_last ? NULL : &last);
	watch_tables_leave(&t);
}

static void
report_not_logged(Oid relation, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("changes of \"%s\" cannot be logged", get_rel_name(relation)),
			 errdetail_internal("%s", detail),
			 errhint("Specify late, the time that each refresh is to score again.")));
}

/* ERROR unless statement triggers see what changes in a relation. */
static void
check_source_relation(Oid relation, char kind)
{
	const char *detail = NULL;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		detail = "It is not a table.";
	else
	{
		execute(psprintf("SELECT FROM pg_catalog.pg_subscription_rel WHERE srrelid "
						 "OPERATOR(pg_catalog.=) '%u'::pg_catalog.oid",
						 relation));
		if (SPI_processed > 0)
			detail = "Its rows come by logical replication, which fires no statement triggers.";
	}
	if (detail)
		report_not_logged(relation, detail);
}

void
watch_ensure_triggers(Oid function, const Watch *w, const Source *s, Oid relation,
					  StringInfo notices)
{
	List	   *relations = find_all_inheritors(relation, AccessShareLock, NULL);
	Oid			log = log_function(function);
	WatchTables t;
	ListCell   *cell;
	bool		all = false;
	int			added = 0;

	SPI_connect();
	foreach(cell, relations)
	{
		const Oid	oid = lfirst_oid(cell);
		const bool	root = oid == relation;
		const char	kind = get_rel_relkind(oid);

		CHECK_FOR_INTERRUPTS();
		if (root)
			check_source_relation(oid, kind);
		/* rows get into the chunks of a hypertable by statements that name the hypertable */
		if (!root && strcmp(get_namespace_name_or_temp(get_rel_namespace(oid)), CHUNKS_SCHEMA) == 0)
			continue;
		/* triggers that see rows would let the statements fail that change rows of it */
		if (!root && kind == RELKIND_FOREIGN_TABLE)
			report_not_logged(relation, psprintf("\"%s\" is a foreign table.", get_rel_name(oid)));
		/* statements that name the root are seen in any case */
		if ((kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) &&
			(root || pg_class_aclcheck(oid, GetUserId(), ACL_TRIGGER) == ACLCHECK_OK) &&
			create_triggers(log, w, s, oid))
		{
			added++;
			all = all || root;	/* it comes first */
			if (!all)
				log_relation(function, w, s, oid);
		}
	}
	SPI_finish();
	if (all)
	{
		watch_tables_enter(&t, function);
		watch_log_range(&t, &w->id, 0, NULL, NULL);
		watch_tables_leave(&t);
	}
	if (added > 0 && notices)
		appendStringInfo(notices, "%striggers were created on %d relations",
						 notices->len > 0 ? "; " : "", added);
	watch_drop_triggers(function, &w->id, relations);
}

void
watch_drop_triggers(Oid function, const pg_uuid_t *id, List *except)
{
	Oid			log = log_function(function);
	char	   *text = watch_id_text(id);
	uint64		n;

	SPI_connect();
	/* arguments are stored one after another, each with a zero byte */
	execute(
		psprintf("SELECT tgrelid, tgname FROM pg_catalog.pg_trigger WHERE tgfoid "
				 "OPERATOR(pg_catalog.=) '%u'::pg_catalog.oid AND pg_catalog.substr(tgargs, 1, %d) "
				 "OPERATOR(pg_catalog.=) %s::pg_catalog.bytea",
				 log, (int) strlen(text), quote_literal_cstr(text)));
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		SPITupleTable *table = SPI_tuptable;
		bool		isnull;
		Oid oid = DatumGetObjectId(SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull));
		char	   *name = SPI_getvalue(table->vals[i], table->tupdesc, 2);
		Relation	rel;
		char	   *table_name;
		bool		owner;

		if (list_member_oid(except, oid) || (rel = try_relation_open(oid, AccessShareLock)) == NULL)
			continue;
		owner = has_privs_of_role(GetUserId(), rel->rd_rel->relowner);
		table_name = relation_name(rel);
		relation_close(rel, NoLock);
		/* others remain, and log nothing once the watch is gone */
		if (owner)
			execute(
				psprintf("DROP TRIGGER IF EXISTS %s ON %s", quote_identifier(name), table_name));
		SPI_tuptable = table;
	}
	SPI_finish();
}

/* ---- the table of scores ----------------------------------------------------------------- */

/* The columns after those of the series and the time. */
static const struct
{
	const char *name;
	Oid			type;
} columns[] = {
	{"severity", FLOAT8OID}, {"status", TEXTOID},		  {"model_version", INT4OID},
	{"expected", JSONBOID},	 {"contributions", JSONBOID},
};

/* The type of the time column as the source has it. */
static Oid
time_column_type(const Source *s)
{
	return s->ts_column_type;
}

static void
append_series_column(StringInfo out, const Source *s, int i)
{
	Oid			collation = s->series_collations[i];

	appendStringInfo(out, "%s %s", quote_identifier(s->spec.series_cols[i]),
					 format_type_extended(s->series_types[i], -1,
										  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(collation) && collation != get_typcollation(s->series_types[i]))
		appendStringInfo(out, " COLLATE %s", generate_collation_name(collation));
}

/*
 * Makes a table a hypertable with the chunk interval of another one.  Calls nothing but the function
 * of the extension timescaledb.  If that refuses, the table remains as it is, with a NOTICE.
 */
static void
make_hypertable(Oid table, const char *ts_column, Relation like)
{
	StatementScope scope = statements_enter(InvalidOid);
	ErrorData  *error = NULL;

	execute(psprintf("SELECT format('SELECT %%I.create_hypertable(relation => %%s::regclass,"
					 " time_column_name => %%L::name, chunk_time_interval => %%s::bigint,"
					 " create_default_indexes => false)',"
					 " n.nspname, %u, d.column_name, d.interval_length)"
					 " FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace,"
					 " _timescaledb_catalog.hypertable h"
					 " JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id"
					 " WHERE e.extname = 'timescaledb' AND h.schema_name = %s"
					 " AND h.table_name = %s AND d.column_name = %s"
					 " AND d.interval_length IS NOT NULL"
					 " AND (SELECT bool_and(EXISTS (SELECT FROM pg_depend x"
					 " WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid"
					 " AND x.refobjid = e.oid AND x.deptype = 'e')) FROM pg_proc p"
					 " WHERE p.pronamespace = n.oid AND p.proname = 'create_hypertable')",
					 table, quote_literal_cstr(get_namespace_name(RelationGetNamespace(like))),
					 quote_literal_cstr(RelationGetRelationName(like)),
					 quote_literal_cstr(ts_column)));
	if (SPI_processed > 0)
		error = subtransaction_run(call_execute,
								   SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	if (error && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	if (error)
		ereport(NOTICE,
				(errmsg("target \"%s\" is not a hypertable, as its source is", get_rel_name(table)),
				 errdetail("create_hypertable() failed: %s", error->message)));
	statements_leave(&scope);
}

void
watch_create_target(const char *target, const Source *s, Oid relation)
{
	RangeVar   *name = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(target)));
	char	   *table = quote_qualified_identifier(name->schemaname, name->relname);
	StringInfoData create;
	StringInfoData key;

	initStringInfo(&create);
	initStringInfo(&key);
	appendStringInfo(&create, "CREATE TABLE %s (", table);
	for (int i = 0; i < s->spec.nseries; i++)
	{
		append_series_column(&create, s, i);
		appendStringInfoString(&create, ", ");
		appendStringInfo(&key, "%s, ", quote_identifier(s->spec.series_cols[i]));
	}
	appendStringInfo(&create, "%s %s NOT NULL", quote_identifier(s->spec.timestamp_col),
					 format_type_extended(time_column_type(s), -1, FORMAT_TYPE_FORCE_QUALIFY));
	for (int i = 0; i < lengthof(columns); i++)
		appendStringInfo(&create, ", %s %s", columns[i].name,
						 format_type_extended(columns[i].type, -1, FORMAT_TYPE_FORCE_QUALIFY));
	appendStringInfoChar(&create, ')');
	appendStringInfoString(&key, quote_identifier(s->spec.timestamp_col));
	SPI_connect();
	execute(create.data);
	/* a null can be the value of a series column, so this cannot be a primary key */
	execute(psprintf("CREATE UNIQUE INDEX ON %s (%s) NULLS NOT DISTINCT", table, key.data));
	/* rows of a table in a publication, such as one of all tables, could not be deleted otherwise */
	execute(psprintf("ALTER TABLE %s REPLICA IDENTITY FULL", table));
	if (OidIsValid(relation))
	{
		Relation	rel = relation_open(relation, AccessShareLock);

		if (is_hypertable(rel))
			make_hypertable(RangeVarGetRelid(name, NoLock, false), s->spec.timestamp_col, rel);
		relation_close(rel, NoLock);
	}
	SPI_finish();
}

/* Notes that a column of the target is missing or has another type. */
static void
check_target_column(StringInfo problems, TupleDesc desc, const char *name, Oid type)
{
	const char *separator = problems->len > 0 ? ", " : "";

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->attisdropped || strcmp(NameStr(column->attname), name) != 0)
			continue;
		if (getBaseType(column->atttypid) != getBaseType(type))
			appendStringInfo(problems, "%s\"%s\" is %s, not %s", separator, name,
							 format_type_be(column->atttypid), format_type_be(type));
		return;
	}
	appendStringInfo(problems, "%s\"%s\" is missing", separator, name);
}

char *
watch_open_target(const char *target, const Source *s, bool missing_ok)
{
	RangeVar   *name = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(target)));
	Oid			oid = RangeVarGetRelid(name, RowExclusiveLock, missing_ok);
	StringInfoData problems;
	Relation	rel;
	char	   *qualified;

	if (!OidIsValid(oid))
		return NULL;
	rel = relation_open(oid, NoLock);
	qualified = relation_name(rel);
	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("target %s is not a table", qualified)));
	initStringInfo(&problems);
	for (int i = 0; i < s->spec.nseries; i++)
		check_target_column(&problems, RelationGetDescr(rel), s->spec.series_cols[i],
							s->series_types[i]);
	check_target_column(&problems, RelationGetDescr(rel), s->spec.timestamp_col,
						time_column_type(s));
	for (int i = 0; i < lengthof(columns); i++)
		check_target_column(&problems, RelationGetDescr(rel), columns[i].name, columns[i].type);
	if (problems.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("target %s does not have the columns of the scores", qualified),
				 errdetail("Column %s.", problems.data),
				 errhint("Alter the table, or specify another target in amad_watch().")));
	relation_close(rel, NoLock);
	return qualified;
}
