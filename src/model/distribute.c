/*
 * model/distribute.c
 *	  amad_distribute: the tables of models on all nodes of a Citus cluster, and its undo.
 *
 * amad_models and amad_grants become reference tables: each node has a copy, and a change is made to
 * all copies in one transaction.  The other tables stay on the coordinator, where watches run.
 *
 * Citus's own undistribute_table() copies a table to a new one, which it refuses for tables of an
 * extension.  So amad_undistribute() does what Citus does when a table is dropped, except that the
 * table stays: it removes the table from the metadata and drops the copies, and before that it puts
 * the rows of the local copy aside, under another name.
 *
 * All statements run as the owner of the tables, in a security-restricted operation.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "model/grants.h"
#include "model/models_table.h"
#include "model/owners.h"
#include "pg/citus.h"
#include "pg/statements.h"

SQL_FUNCTION(amad_distribute);
SQL_FUNCTION(amad_undistribute);

static const char *const tables[] = {MODELS_TABLE, "amad_grants"};

/* One of these tables, locked. */
typedef struct SharedTable
{
	Oid			oid;
	const char *name;
	const char *schema_name;
	const char *qualified;		/* quoted */
	CitusTable	kind;
} SharedTable;

/* ---- statements -------------------------------------------------------------------------- */

static void
run(const char *statement)
{
	int			rc = SPI_execute(statement, false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
}

/* Leaves out what Citus says of each step. */
static void
be_quiet(void)
{
	(void) set_config_option("client_min_messages", "warning", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* Calls a function of Citus whose arguments are a table and, perhaps, its schema and name. */
static void
call_citus(const SharedTable *t, const char *function, bool names, const char *more)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "SELECT pg_catalog.%s(%s::pg_catalog.regclass", function,
					 quote_literal_cstr(t->qualified));
	if (names)
		appendStringInfo(&text, ", %s, %s", quote_literal_cstr(t->schema_name),
						 quote_literal_cstr(t->name));
	appendStringInfo(&text, "%s)", more);
	run(text.data);
}

/* ---- tables ------------------------------------------------------------------------------ */

static void
check_citus(const char *function)
{
	if (!citus_installed())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension citus is not installed in this database")));
	if (citus_on_worker())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s must be called on the coordinator of Citus", function)));
	/* an older snapshot would not see all rows */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot be called at isolation level %s", function,
						XactIsoLevel == XACT_SERIALIZABLE ? "serializable" : "repeatable read"),
				 errhint("Use read committed.")));
}

/* Locks a table, of which the caller must have the owner's privileges; returns its owner. */
static Oid
lock_table(Oid schema, const char *name, LOCKMODE lock, SharedTable *t)
{
	Oid			oid = get_relname_relid(name, schema);
	Relation	table = OidIsValid(oid) ? try_relation_open(oid, lock) : NULL;
	Oid			owner;

	if (table == NULL || RelationGetNamespace(table) != schema ||
		strcmp(RelationGetRelationName(table), name) != 0 ||
		table->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table \"%s\" of extension amad does not exist", name),
				 errdetail("The extension was not updated, or the table was renamed.")));
	owner = table->rd_rel->relowner;
	if (!has_privs_of_role(GetUserId(), owner))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, name);
	t->oid = oid;
	t->name = name;
	t->schema_name = get_namespace_name(schema);
	t->qualified = quote_qualified_identifier(t->schema_name, name);
	t->kind = citus_table(oid);
	relation_close(table, NoLock);
	return owner;
}

/* Locks the tables and returns their owner. */
static Oid
lock_tables(Oid function, LOCKMODE lock, SharedTable *locked)
{
	Oid			schema = get_func_namespace(function);
	Oid			owner = InvalidOid;

	if (!OidIsValid(schema))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension amad was dropped")));
	for (int i = 0; i < lengthof(tables); i++)
	{
		Oid			other = lock_table(schema, tables[i], lock, &locked[i]);

		if (OidIsValid(owner) && other != owner)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("tables \"%s\" and \"%s\" of extension amad have different owners",
							tables[0], tables[i])));
		owner = other;
	}
	return owner;
}

/* ---- to all nodes ------------------------------------------------------------------------ */

/* ERROR if a worker has rows of its own, which nobody would find any more. */
static void
refuse_own_rows(const SharedTable *t)
{
	run(psprintf("SELECT nodename || ':' || nodeport FROM run_command_on_workers(%s)"
				 " WHERE success AND result <> '0'",
				 quote_literal_cstr(psprintf("SELECT count(*) FROM %s", t->qualified))));
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s of worker %s has rows", t->qualified,
						SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)),
				 errdetail("Nobody would find them any more."),
				 errhint("Copy them to the coordinator if they are needed, and delete them on the "
						 "worker.")));
}

static void
distribute(const SharedTable *t)
{
	if (t->kind == CITUS_REFERENCE)
		return;
	if (t->kind != CITUS_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s is already managed by Citus", t->qualified),
				 errdetail("It is not a reference table.")));
	refuse_own_rows(t);
	call_citus(t, "create_reference_table", false, "");
	/* the rows are in the copies now */
	call_citus(t, "truncate_local_data_after_distributing_table", false, "");
	if (!OidIsValid(citus_local_copy(t->oid)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the coordinator is not in the metadata of Citus"),
				 errhint("Add it with citus_set_coordinator_host().")));
}

static bool
are_distributed(const SharedTable *locked)
{
	for (int i = 0; i < lengthof(tables); i++)
		if (locked[i].kind != CITUS_REFERENCE)
			return false;
	return true;
}

/* Copies the tables to nodes that were added since. */
static void
copy_to_new_nodes(const SharedTable *locked)
{
	bool		missing = false;

	for (int i = 0; i < lengthof(tables) && !missing; i++)
	{
		run(psprintf("SELECT FROM pg_dist_node AS n WHERE isactive AND noderole = 'primary'"
					 " AND NOT EXISTS (SELECT FROM pg_dist_placement AS p"
					 " JOIN pg_dist_shard AS s ON s.shardid = p.shardid"
					 " WHERE s.logicalrelid = %u AND p.groupid = n.groupid)",
					 locked[i].oid));
		missing = SPI_processed > 0;
	}
	/* that needs privileges; it uses connections of its own, so no more may be locked */
	if (missing)
		run("SELECT pg_catalog.replicate_reference_tables()");
}

/* () */
Datum
amad_distribute(PG_FUNCTION_ARGS)
{
	const Oid	function = fcinfo->flinfo->fn_oid;
	SharedTable locked[lengthof(tables)];
	StatementScope scope;
	Access		a;

	check_citus("amad_distribute()");
	scope = statements_enter(lock_tables(function, AccessShareLock, locked));
	be_quiet();
	if (are_distributed(locked))
		copy_to_new_nodes(locked);
	else
	{
		(void) lock_tables(function, AccessExclusiveLock, locked);
		for (int i = 0; i < lengthof(tables); i++)
			distribute(&locked[i]);
	}
	statements_leave(&scope);

	models_table_enter(&a, function, RowExclusiveLock, ACL_SELECT);
	owners_update(&a);
	grants_update(&a);
	models_table_leave(&a);
	PG_RETURN_VOID();
}

/* ---- back to the coordinator -------------------------------------------------------------- */

/* Drops the trigger by which Citus truncates copies, and the dependency on the extension citus. */
static void
detach(const SharedTable *t)
{
	Relation	table = relation_open(t->oid, NoLock);
	Oid			citus = get_extension_oid("citus", true);
	char	   *trigger = NULL;

	for (int i = 0; table->trigdesc && i < table->trigdesc->numtriggers; i++)
		if (table->trigdesc->triggers[i].tgisinternal &&
			strncmp(table->trigdesc->triggers[i].tgname, "truncate_trigger_", 17) == 0)
			trigger = pstrdup(table->trigdesc->triggers[i].tgname);
	relation_close(table, NoLock);
	if (trigger)
		run(psprintf("DROP TRIGGER %s ON %s", quote_identifier(trigger), t->qualified));
	if (OidIsValid(citus))
		(void) deleteDependencyRecordsForSpecific(RelationRelationId, t->oid, DEPENDENCY_NORMAL,
												  ExtensionRelationId, citus);
}

static void
undistribute(const SharedTable *t)
{
	Oid			copy = citus_local_copy(t->oid);
	char	   *kept = psprintf("%s_kept", t->name);
	char	   *kept_qualified = quote_qualified_identifier(t->schema_name, kept);

	if (t->kind == CITUS_NONE)
		return;
	if (t->kind != CITUS_REFERENCE || !OidIsValid(copy))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s is not a reference table with a copy on this node",
						t->qualified)));
	call_citus(t, "master_remove_distributed_table_metadata_from_workers", true, "");
	run(psprintf("ALTER TABLE %s RENAME TO %s",
				 quote_qualified_identifier(t->schema_name, get_rel_name(copy)),
				 quote_identifier(kept)));
	call_citus(t, "citus_drop_all_shards", true, ", false");
	call_citus(t, "master_remove_partition_metadata", true, "");
	run(psprintf("SELECT pg_catalog.master_unmark_object_distributed("
				 "'pg_catalog.pg_class'::pg_catalog.regclass, %u, 0)",
				 t->oid));
	/* rows from before it was distributed, if it was not by amad_distribute() */
	run(psprintf("DELETE FROM %s", t->qualified));
	run(psprintf("INSERT INTO %s SELECT * FROM %s", t->qualified, kept_qualified));
	run(psprintf("DROP TABLE %s", kept_qualified));
	detach(t);
}

/* () */
Datum
amad_undistribute(PG_FUNCTION_ARGS)
{
	SharedTable locked[lengthof(tables)];
	StatementScope scope;

	check_citus("amad_undistribute()");
	scope = statements_enter(lock_tables(fcinfo->flinfo->fn_oid, AccessExclusiveLock, locked));
	be_quiet();
	for (int i = 0; i < lengthof(tables); i++)
		undistribute(&locked[i]);
	statements_leave(&scope);
	PG_RETURN_VOID();
}
