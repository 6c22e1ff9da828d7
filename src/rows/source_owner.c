/*
 * rows/source_owner.c
 *	  A stored source that is read with the privileges of its owner, for another role.
 *
 * The role that calls may be hostile.  It chooses when the source is read, and the state of the
 * session.  So
 *
 * - settings that change the meaning of the source's text are set.  Relations are read with the
 *   search_path pg_catalog; in the one stored with a query, temporary objects come last;
 * - nothing is read in a session that has temporary objects: the source, or a function that it
 *   calls, could name one of them;
 * - everything that the query reads or calls must belong to the owner of the source or to a
 *   superuser.  Otherwise another role could replace a table by a view, whose functions would run
 *   with the owner's privileges.  A role of which the owner is a member is such a role, too;
 * - errors that the source can raise are replaced, because their messages and contexts may contain
 *   values.
 *
 * An operator that refreshes a watch is such a caller, too.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "rows/source.h"
#include "rows/source_private.h"

static void
refuse_to_read(Oid reader, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the stored source is not read with the privileges of role \"%s\"",
					GetUserNameFromId(reader, false)),
			 errdetail("%s", detail), errhint("%s", hint)));
}

/* Whether the session has relations or types in its schema of temporary objects. */
static bool
has_temporary_objects(void)
{
	Oid			temp;
	Oid			toast;
	Relation	depend;
	SysScanDesc scan;
	ScanKeyData keys[2];
	bool		found;

	GetTempNamespaceState(&temp, &toast);
	if (!OidIsValid(temp))
		return false;
	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(NamespaceRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(temp));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, lengthof(keys), keys);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return found;
}

void
source_read_as(SourceSpec *spec, Oid owner)
{
	char	   *path = pstrdup(spec->search_path ? spec->search_path : "pg_catalog");
	StringInfoData out;
	List	   *names;
	ListCell   *cell;

	if (has_temporary_objects())
		refuse_to_read(owner, "The session has temporary objects, which the source could name.",
					   "Drop them, for example with DISCARD TEMP.");
	initStringInfo(&out);
	if (!SplitIdentifierString(path, ',', &names))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the source stored in amad_models is invalid")));
	foreach(cell, names)
		if (strncmp(lfirst(cell), "pg_temp", strlen("pg_temp")) != 0)
			appendStringInfo(&out, "%s, ", quote_identifier(lfirst(cell)));
	appendStringInfoString(&out, "pg_temp");
	spec->search_path = out.data;
	spec->reader = owner;
}

void
source_set_reader(void)
{
	static const char *const settings[][2] = {
		{"standard_conforming_strings", "on"},
		{"transform_null_equals", "off"},
		{"array_nulls", "on"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* ---- what a query reads and calls -------------------------------------------------------- */

static void
check_owner(Oid reader, Oid owner, const char *what, const char *name)
{
	if (owner != reader && !superuser_arg(owner))
		refuse_to_read(reader,
					   psprintf("It uses %s \"%s\" of role \"%s\".", what, name,
								GetUserNameFromId(owner, false)),
					   "Specify the source.");
}

static bool
check_function(Oid function, void *reader)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	check_owner(*(Oid *) reader, ((Form_pg_proc) GETSTRUCT(tuple))->proowner, "function",
				NameStr(((Form_pg_proc) GETSTRUCT(tuple))->proname));
	ReleaseSysCache(tuple);
	return false;
}

/* Functions in an expression or a query; a coercion to a domain calls those of its constraints. */
static bool
check_functions(Node *node, void *reader)
{
	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, check_function, reader);
	if (IsA(node, CoerceToDomain))
	{
		const Oid	type = ((CoerceToDomain *) node)->resulttype;
		HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for type %u", type);
		check_owner(*(Oid *) reader, ((Form_pg_type) GETSTRUCT(tuple))->typowner, "type",
					NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
		ReleaseSysCache(tuple);
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, check_functions, reader, 0);
	return expression_tree_walker(node, check_functions, reader);
}

static void
check_relation(Oid reader, Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Form_pg_class class;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	class = (Form_pg_class) GETSTRUCT(tuple);
	check_owner(reader, class->relowner, "relation", NameStr(class->relname));
	ReleaseSysCache(tuple);
}

void
source_check_plan(const SourceSpec *spec, SPIPlanPtr plan)
{
	Oid			reader = spec->reader;
	ListCell   *i;
	ListCell   *j;

	if (!OidIsValid(reader))
		return;
	foreach(i, SPI_plan_get_plan_sources(plan))
	{
		CachedPlanSource *source = lfirst(i);

		foreach(j, source->relationOids)
			check_relation(reader, lfirst_oid(j));
		foreach(j, source->query_list)
			(void) check_functions(lfirst(j), &reader);
	}
}

/* ---- errors ------------------------------------------------------------------------------ */

void
source_rethrow(const SourceSpec *spec, MemoryContext context)
{
	const int	code = geterrcode();
	const int	category = ERRCODE_TO_CATEGORY(code);
	ErrorData  *error;

	/* refused, changed, cancelled, out of memory or disk, or a conflict with another transaction */
	if (!OidIsValid(spec->reader) || code == ERRCODE_INSUFFICIENT_PRIVILEGE ||
		code == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE ||
		category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_TRANSACTION_ROLLBACK)
		PG_RE_THROW();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	ereport(ERROR,
			(errcode(error->sqlerrcode), errmsg("the stored source cannot be read"),
			 errdetail("Role \"%s\" sees the error when it reads the source.",
					   GetUserNameFromId(spec->reader, false))));
}
