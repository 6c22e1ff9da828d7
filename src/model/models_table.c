/*
 * model/models_table.c
 *	  Access to the table amad_models: statements that run as its owner.
 *
 * The owner of the table can have altered it, and other objects can be dropped or renamed
 * at any time.  So the table is looked up by its schema and locked before its name is
 * used, each statement is checked to use no other relation, and results are compared with
 * the types that the C code reads.  If the extension is dropped at the same time, an ERROR
 * says so.
 *
 * If the table is a reference table of Citus, statements that change it go through Citus, which
 * changes the copies on all nodes in one transaction.  So do statements that read it in such a
 * transaction, since Citus alone knows on which connection the changes were made.  Other statements
 * read the copy on this node directly: that needs no planning by Citus, which also refuses to read
 * its tables in a query on a shard, where models are looked up by name.  There, the changes of a
 * transaction that are not visible on the task's connection are an ERROR, not old models.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "model/models_table.h"
#include "pg/citus.h"
#include "pg/shard_task.h"

#define MODEL_TYPE InvalidOid	/* amad_model, which has no fixed oid */
#define MAX_ARGS 11
#define MAX_COLUMNS 8

#define OWNER_COLUMNS "owner, owner_oid, owner_cluster"
#define KEY \
	"model_name OPERATOR(pg_catalog.=) $1 AND owner OPERATOR(pg_catalog.=) $2" \
	" AND version OPERATOR(pg_catalog.=) $3"
#define KEY_TYPES TEXTOID, NAMEOID, INT4OID

/* The table's qualified name replaces %s. */
typedef struct StatementSpec
{
	const char *text;
	int			nargs;
	Oid			args[MAX_ARGS];
	int			ncolumns;
	Oid			columns[MAX_COLUMNS];	/* of the result */
} StatementSpec;

static const StatementSpec specs[STATEMENTS] = {
	[FIND] = {"SELECT " OWNER_COLUMNS ", version, deployed, ctid, xmin, cmin FROM %s"
			  " WHERE model_name OPERATOR(pg_catalog.=) $1"
			  " AND CASE WHEN $2 OPERATOR(pg_catalog.=) 0 THEN deployed"
			  " ELSE $2 OPERATOR(pg_catalog.<) 0 OR version OPERATOR(pg_catalog.=) $2 END",
			  2,
			  {TEXTOID, INT4OID},
			  8,
			  {NAMEOID, OIDOID, INT8OID, INT4OID, BOOLOID, TIDOID, XIDOID, CIDOID}},
	[VALUE] = {"SELECT model FROM %s WHERE " KEY, 3, {KEY_TYPES}, 1, {MODEL_TYPE}},
	[FACTS] = {"SELECT training FROM %s WHERE " KEY, 3, {KEY_TYPES}, 1, {JSONBOID}},
	[SOURCE] = {"SELECT source FROM %s WHERE " KEY, 3, {KEY_TYPES}, 1, {JSONBOID}},
	[OPTIONS] = {"SELECT options FROM %s WHERE " KEY, 3, {KEY_TYPES}, 1, {JSONBOID}},
	/* every column, so that no default is computed */
	[INSERT] =
		{"INSERT INTO %s (model_name, owner, version, owner_oid, owner_cluster,"
		 " features, options, training, source, model, deployed, created_at)"
		 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, pg_catalog.clock_timestamp())",
		 11,
		 {KEY_TYPES, OIDOID, INT8OID, TEXTARRAYOID, JSONBOID, JSONBOID, JSONBOID, MODEL_TYPE,
		  BOOLOID}},
	[SET_DEPLOYED] = {"UPDATE %s SET deployed = $4 WHERE " KEY, 4, {KEY_TYPES, BOOLOID}},
	[DROP] = {"DELETE FROM %s WHERE " KEY, 3, {KEY_TYPES}},
	[TRAININGS] = {"SELECT " OWNER_COLUMNS ", version, deployed,"
				   " training OPERATOR(pg_catalog.#>>) '{recalibration,training_version}' FROM %s"
				   " WHERE model_name OPERATOR(pg_catalog.=) $1",
				   1,
				   {TEXTOID},
				   6,
				   {NAMEOID, OIDOID, INT8OID, INT4OID, BOOLOID, TEXTOID}},
	[OWNERS] = {"SELECT DISTINCT " OWNER_COLUMNS " FROM %s",
				0,
				{InvalidOid},
				3,
				{NAMEOID, OIDOID, INT8OID}},
	[LOCK_ROWS] =
		{"SELECT model_name, version FROM %s WHERE owner OPERATOR(pg_catalog.=) $1"
		 " AND owner_oid IS NOT DISTINCT FROM $2 AND owner_cluster IS NOT DISTINCT FROM $3",
		 3,
		 {NAMEOID, OIDOID, INT8OID},
		 2,
		 {TEXTOID, INT4OID}},
	[TAKEN] = {"SELECT version FROM %s WHERE " KEY, 3, {KEY_TYPES}, 1, {INT4OID}},
	[RENAME_OWNER] = {"UPDATE %s SET owner = $4 WHERE " KEY, 4, {KEY_TYPES, NAMEOID}},
	[ADOPT] = {"UPDATE %s SET owner_oid = $4, owner_cluster = $5 WHERE " KEY,
			   5,
			   {KEY_TYPES, OIDOID, INT8OID}},
};

/* Prepared once in a backend, for one table, and for the local copy of a reference table. */
static SPIPlanPtr plans[2][STATEMENTS];
static Oid	plans_relation[2] = {InvalidOid, InvalidOid};

/* The transaction that has changed a reference table. */
static TransactionId changed_in = InvalidTransactionId;

static void
report_dropped(void)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension amad was dropped")));
}

static Oid
schema_of(Oid function)
{
	Oid			schema = get_func_namespace(function);

	if (!OidIsValid(schema))
		report_dropped();
	return schema;
}

/* Locks the table of a schema, which may be renamed or dropped at the same time. */
static Relation
open_table(Oid schema, LOCKMODE lock)
{
	for (;;)
	{
		Oid			oid = get_relname_relid(MODELS_TABLE, schema);
		Relation	table;

		if (!OidIsValid(oid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("the table \"%s\" of extension amad does not exist", MODELS_TABLE),
					 errdetail("The extension was dropped, or the table was renamed.")));
		table = try_relation_open(oid, lock);
		if (table != NULL && RelationGetNamespace(table) == schema &&
			strcmp(RelationGetRelationName(table), MODELS_TABLE) == 0)
			return table;
		if (table != NULL)
			relation_close(table, lock);
		CHECK_FOR_INTERRUPTS();
	}
}

/* The qualified name of a table, quoted. */
static char *
table_name(Oid schema, const char *table)
{
	char	   *name = get_namespace_name(schema);

	if (name == NULL || table == NULL)
		report_dropped();
	return quote_qualified_identifier(name, table);
}

const char *
models_table_trigger(const TriggerDesc *triggers)
{
	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		const Trigger *t = &triggers->triggers[i];

		if (t->tgenabled != TRIGGER_DISABLED &&
			(TRIGGER_FOR_INSERT(t->tgtype) || TRIGGER_FOR_UPDATE(t->tgtype) ||
			 TRIGGER_FOR_DELETE(t->tgtype)))
			return t->tgname;
	}
	return NULL;
}

/*
 * A role with the privilege TRIGGER or REFERENCES on the table could add a trigger, or
 * another table whose triggers a cascade fires.  They would run with the privileges of the
 * table's owner, so nothing is changed while there are any.
 */
static void
refuse_triggers(const Access *a)
{
	Relation	table = relation_open(a->table, NoLock);
	const char *trigger = models_table_trigger(table->trigdesc);

	if (trigger != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s has a trigger, \"%s\"", a->name, trigger),
				 errdetail("Triggers on it, and foreign keys that refer to it, would run "
						   "with the privileges of the table's owner."),
				 errhint("Drop the trigger, or the foreign key it belongs to.")));
	relation_close(table, NoLock);
}

/* Reads the local copy of the table, if there is one and it is what Citus has created. */
static void
read_local_copy(Access *a)
{
	Oid			oid = citus_local_copy(a->table);
	Relation	copy = OidIsValid(oid) ? try_relation_open(oid, AccessShareLock) : NULL;

	if (copy == NULL)
		return;
	if (shard_task_misses_changes(a->table))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("models cannot be looked up by name on a shard after the same transaction "
						"has changed models"),
				 errhint("Commit first, or pass the model by value, from WITH ... AS MATERIALIZED "
						 "(SELECT model FROM amad_models ...).")));
	if (copy->rd_rel->relkind == RELKIND_RELATION && copy->rd_rel->relowner == a->table_owner &&
		RelationGetNamespace(copy) == a->schema)
	{
		a->relation = oid;
		a->name = table_name(a->schema, RelationGetRelationName(copy));
	}
	relation_close(copy, NoLock);
}

static bool
changed_here(void)
{
	return TransactionIdIsValid(changed_in) && changed_in == GetTopTransactionIdIfAny();
}

/* Sets a setting of Citus in the scope of our statements. */
static void
set_citus(const char *setting)
{
	if (GetConfigOption(setting, true, false) != NULL)
		(void) set_config_option(setting, "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
								 0, false);
}

/* Locks a reference table on all nodes, in the order in which Citus always does that. */
static void
lock_on_all_nodes(const Access *a)
{
	char	   *statement = psprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", a->name);
	int			rc;

	/* the lock has to reach the other nodes, also if the session has turned propagation off */
	set_citus("citus.enable_ddl_propagation");
	rc = SPI_execute(statement, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	changed_in = GetTopTransactionId();
}

static void
report_own_models(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("models cannot be changed on a worker of Citus"),
			 errdetail("Table amad_models is not a reference table, so the other nodes would not "
					   "see the change."),
			 errhint("Connect to the coordinator, or call amad_distribute() there.")));
}

/*
 * Citus begins transactions of the same isolation level on other nodes, whose snapshots are older
 * than the lock on the table.  An update would miss rows there, and the copies would differ.
 */
static void
check_isolation(void)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("models on all nodes of Citus cannot be changed at isolation level %s",
						XactIsoLevel == XACT_SERIALIZABLE ? "serializable" : "repeatable read"),
				 errhint("Use read committed.")));
}

void
models_table_check_node(FunctionCallInfo fcinfo, const char *name, const char *hint)
{
	Oid			table;

	shard_task_refuse(fcinfo, name, hint);
	table = get_relname_relid(MODELS_TABLE, schema_of(fcinfo->flinfo->fn_oid));
	switch (citus_table(table))
	{
		case CITUS_NONE:
			if (citus_on_worker())
				report_own_models();
			break;
		case CITUS_REFERENCE:
			check_isolation();
			break;
		default:
			break;
	}
}

/* Locks the table to change it, unless it is a reference table, and checks the node. */
static void
lock_to_change(Access *a, Oid function, LOCKMODE lock)
{
	if (citus_installed())
		shard_task_refuse(NULL, psprintf("%s()", get_func_name(function)), NULL);
	if (!a->distributed)
	{
		LockRelationOid(a->table, lock);
		if (citus_on_worker() && citus_table(a->table) == CITUS_NONE)
			report_own_models();
		/* it can have become one meanwhile */
		a->distributed = citus_table(a->table) == CITUS_REFERENCE;
	}
	if (a->distributed)
		check_isolation();
}

void
models_table_enter(Access *a, Oid function, LOCKMODE lock, AclMode needed)
{
	const bool	change = lock > AccessShareLock;
	Relation	table;
	AclResult	result;

	a->schema = schema_of(function);
	table = open_table(a->schema, AccessShareLock);
	a->table = RelationGetRelid(table);
	a->table_owner = table->rd_rel->relowner;
	a->relation = a->table;
	a->name = table_name(a->schema, MODELS_TABLE);
	if (table->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("%s is not a table", a->name)));
	relation_close(table, NoLock);
	a->distributed = citus_table(a->table) == CITUS_REFERENCE;
	a->caller = GetUserId();
	/* given several privileges, pg_class_aclcheck() requires only one of them */
	result = pg_class_aclcheck(a->table, a->caller, ACL_SELECT);
	if (result == ACLCHECK_OK && needed != ACL_SELECT)
		result = pg_class_aclcheck(a->table, a->caller, needed);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, MODELS_TABLE);

	if (change)
		lock_to_change(a, function, lock);
	else if (a->distributed && !changed_here())
		read_local_copy(a);
	a->scope = statements_enter(a->table_owner);
	if (change && a->distributed)
		lock_on_all_nodes(a);
	else if (a->distributed && a->relation == a->table)
		/* it is only read; in a task that runs in this process, Citus would refuse that */
		set_citus("citus.allow_nested_distributed_execution");
	if (change || needed != ACL_SELECT)
		refuse_triggers(a);
}

void
models_table_leave(const Access *a)
{
	statements_leave(&a->scope);
}

/* The type amad_model, in the schema it was created in. */
static Oid
model_type(const Access *a)
{
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("amad_model"),
							   ObjectIdGetDatum(a->schema));

	if (!OidIsValid(type))
		report_dropped();
	return type;
}

/*
 * ERROR unless a statement uses the locked table and no other relation: a view or a rule
 * would add code of other roles.  The lock keeps the table as it was checked.
 */
static void
check_statement_relations(const Access *a, SPIPlanPtr plan)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	Query	   *query = list_length(source->query_list) == 1 ? linitial(source->query_list) : NULL;
	ListCell   *cell;
	bool		valid = query != NULL;

	if (valid)
		foreach(cell, query->rtable)
		{
			RangeTblEntry *entry = lfirst(cell);

			valid &= entry->rtekind == RTE_RELATION && entry->relid == a->relation;
		}
	if (!valid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("statements on table %s are rewritten by rules", a->name),
				 errhint("Drop the rules on it.")));
}

static SPIPlanPtr
prepare_statement(const Access *a, Statement statement)
{
	const StatementSpec *spec = &specs[statement];
	char	   *text = psprintf(spec->text, a->name);
	Oid			args[MAX_ARGS];
	SPIPlanPtr	plan;

	/* a reference table is locked as a whole */
	if (statement == LOCK_ROWS && !a->distributed)
		text = psprintf("%s FOR UPDATE SKIP LOCKED", text);
	for (int i = 0; i < spec->nargs; i++)
		args[i] = spec->args[i] == MODEL_TYPE ? model_type(a) : spec->args[i];
	plan = SPI_prepare(text, spec->nargs, args);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	check_statement_relations(a, plan);
	return plan;
}

static SPIPlanPtr
plan_of(const Access *a, Statement statement)
{
	const int	copy = a->relation != a->table;
	SPIPlanPtr *kept = plans[copy];

	/* if a trigger on the table called this, the kept plans are in use and must not be freed */
	if (a->scope.security_context & SECURITY_RESTRICTED_OPERATION)
		return prepare_statement(a, statement);

	/* an invalid plan would be replanned with the old oid of amad_model */
	for (int i = 0; i < STATEMENTS; i++)
		if (kept[i] != NULL && (plans_relation[copy] != a->relation || !SPI_plan_is_valid(kept[i])))
		{
			SPI_freeplan(kept[i]);
			kept[i] = NULL;
		}
	plans_relation[copy] = a->relation;
	if (kept[statement] == NULL)
	{
		SPIPlanPtr	plan = prepare_statement(a, statement);

		SPI_keepplan(plan);
		kept[statement] = plan;
	}
	return kept[statement];
}

/* ERROR unless the columns of the result have the types that the C code reads. */
static void
check_columns(const Access *a, Statement statement)
{
	const StatementSpec *spec = &specs[statement];
	TupleDesc	desc = SPI_tuptable->tupdesc;

	for (int i = 0; i < spec->ncolumns; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		Oid			type = spec->columns[i] == MODEL_TYPE ? model_type(a) : spec->columns[i];

		if (column->atttypid != type)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of table %s has type %s instead of type %s",
							NameStr(column->attname), a->name, format_type_be(column->atttypid),
							format_type_be(type))));
	}
}

uint64
models_table_execute(const Access *a, Statement statement, Datum *values, const char *nulls,
					 Snapshot snapshot, bool read_only)
{
	int rc = SPI_execute_snapshot(plan_of(a, statement), values, nulls, snapshot, InvalidSnapshot,
								  read_only, true, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	if (specs[statement].ncolumns > 0)
		check_columns(a, statement);
	return SPI_processed;
}

Datum
models_table_column(const Access *a, int row, int number, bool *isnull)
{
	bool		null;
	Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &null);

	if (isnull != NULL)
		*isnull = null;
	else if (null)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("column \"%s\" of table %s is null",
						SPI_fname(SPI_tuptable->tupdesc, number), a->name)));
	return value;
}
