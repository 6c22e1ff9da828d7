/*
 * model/grants.c
 *	  Grants: what the owner of a model allows other roles to do with it.
 *
 * Owners and grantees are stored as owners of models are (owners.c): the oid decides in the cluster
 * that it comes from, elsewhere the name does.  The name "public", which no role can have, stands
 * for all roles.
 *
 * The table may be missing, as in a database whose extension has not been updated; then nothing is
 * granted.  Changes are statements that run as its owner.  They concern rows of one model and one
 * owner, under the lock of that name.  A new grant brings the stored names and oids of these rows
 * up to date and removes grants to roles that were dropped.
 *
 * The table can be a reference table of Citus, together with amad_models.  Then the copy on this
 * node is read; changes, and reads that go with them, are statements that Citus executes.  As for
 * owners of models, names decide on workers, so all of them are brought up to date with each change
 * on the coordinator.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "model/extension_tables.h"
#include "model/grants.h"
#include "model/owners.h"
#include "pg/citus.h"

#define GRANTS_TABLE "amad_grants"
#define EVERYBODY "public"

SQL_FUNCTION(amad_may_read);

/* Columns of the table, from 1; roles have three each. */
enum
{
	OWNER = 1,
	MODEL_NAME = 4,
	GRANTEE,
	PRIVILEGE = 8,
	GRANTED_AT,
	COLUMNS = GRANTED_AT
};

static const Oid column_types[COLUMNS] = {NAMEOID, OIDOID,	INT8OID, TEXTOID,		NAMEOID,
										  OIDOID,  INT8OID, TEXTOID, TIMESTAMPTZOID};

static const char *const privileges[] = {"read", "operate"};

/* A grant on models of a name. */
typedef struct Grant
{
	Owner		owner;
	Oid			owner_role;		/* owner_role() */
	Owner		grantee;
	Oid			grantee_role;
	bool		everybody;
	const char *privilege_name;
	GrantPrivilege privilege;
	TimestampTz granted_at;
} Grant;

static int
find_privilege(const char *name)
{
	for (int i = 0; i < lengthof(privileges); i++)
		if (strcmp(name, privileges[i]) == 0)
			return i;
	return -1;
}

GrantPrivilege
grant_privilege(const char *name)
{
	int			found = find_privilege(name);

	if (found < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized privilege \"%s\"", name),
				 errhint("Valid privileges are \"read\" and \"operate\".")));
	return found;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* The primary key, if it begins with the name of the model. */
static Oid
name_index(Relation grants)
{
	Oid			index = InvalidOid;
	Relation	key;

	if (!grants->rd_indexvalid)
		list_free(RelationGetIndexList(grants));	/* finds the primary key */
	if (!OidIsValid(grants->rd_pkindex))
		return InvalidOid;
	key = relation_open(grants->rd_pkindex, AccessShareLock);
	if (key->rd_index->indkey.values[0] == MODEL_NAME)
		index = RelationGetRelid(key);
	relation_close(key, AccessShareLock);
	return index;
}

/* The role in three columns: name, oid and cluster. */
static Owner
read_role(HeapTuple row, TupleDesc desc, int first)
{
	Owner		role = {0};
	bool		no_name;
	bool		no_oid;
	bool		no_cluster;
	Datum		name = heap_getattr(row, first, desc, &no_name);
	Datum		oid = heap_getattr(row, first + 1, desc, &no_oid);
	Datum		cluster = heap_getattr(row, first + 2, desc, &no_cluster);

	if (!no_name)
		role.name = *DatumGetName(name);
	owner_set_oid(&role, oid, no_oid, cluster, no_cluster);
	return role;
}

/* Reads a row; false if its privilege is unknown. */
static bool
read_grant(HeapTuple row, TupleDesc desc, Grant *grant)
{
	bool		isnull;
	Datum		value = heap_getattr(row, PRIVILEGE, desc, &isnull);
	int			privilege;

	if (isnull)
		return false;
	grant->privilege_name = TextDatumGetCString(value);
	privilege = find_privilege(grant->privilege_name);
	if (privilege < 0)
		return false;
	grant->privilege = privilege;
	value = heap_getattr(row, GRANTED_AT, desc, &isnull);
	grant->granted_at = isnull ? 0 : DatumGetTimestampTz(value);
	grant->owner = read_role(row, desc, OWNER);
	grant->owner_role = owner_role(&grant->owner);
	grant->grantee = read_role(row, desc, GRANTEE);
	grant->grantee_role = owner_role(&grant->grantee);
	grant->everybody = strcmp(NameStr(grant->grantee.name), EVERYBODY) == 0;
	return true;
}

typedef struct GrantScan
{
	Relation	grants;
	SysScanDesc scan;
} GrantScan;

/* Opens the table to read it, or its copy on this node; NULL if there is no table. */
static Relation
open_grants(Oid schema)
{
	Relation	table = extension_table_open(schema, GRANTS_TABLE, COLUMNS, column_types,
										  AccessShareLock);
	Relation	copy = NULL;
	char	   *name;

	if (table == NULL || citus_table(RelationGetRelid(table)) != CITUS_REFERENCE)
		return table;
	name = get_rel_name(citus_local_copy(RelationGetRelid(table)));
	if (name != NULL)
		copy = extension_table_open(schema, name, COLUMNS, column_types, AccessShareLock);
	if (copy == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the table \"%s\" of extension amad has no copy on this node",
						GRANTS_TABLE),
				 errhint("Call amad_distribute() on the coordinator.")));
	relation_close(table, NoLock);
	return copy;
}

/* Begins to read the grants on models of a name; false if there is no table. */
static bool
begin_grants(GrantScan *s, Oid schema, const char *model_name, Snapshot snapshot)
{
	ScanKeyData key;
	Oid			index;

	s->grants = open_grants(schema);
	if (s->grants == NULL)
		return false;
	index = name_index(s->grants);
	ScanKeyEntryInitialize(&key, 0, MODEL_NAME, BTEqualStrategyNumber, InvalidOid,
						   TupleDescAttr(RelationGetDescr(s->grants), MODEL_NAME - 1)->attcollation,
						   F_TEXTEQ, CStringGetTextDatum(model_name));
	s->scan = systable_beginscan(s->grants, index, OidIsValid(index), snapshot, 1, &key);
	return true;
}

static bool
next_grant(GrantScan *s, Grant *grant)
{
	HeapTuple	row;

	while (HeapTupleIsValid(row = systable_getnext(s->scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (read_grant(row, RelationGetDescr(s->grants), grant))
			return true;
	}
	return false;
}

static void
end_grants(GrantScan *s)
{
	systable_endscan(s->scan);
	relation_close(s->grants, NoLock);
}

bool
grants_allow(Oid schema, Oid role, Oid owner, const char *model_name, GrantPrivilege privilege)
{
	GrantScan	scan;
	Grant		grant;
	bool		allowed = false;

	if (!OidIsValid(owner) || !begin_grants(&scan, schema, model_name, GetActiveSnapshot()))
		return false;
	while (!allowed && next_grant(&scan, &grant))
		allowed = grant.owner_role == owner && grant.privilege >= privilege &&
			(grant.everybody ||
			 (OidIsValid(grant.grantee_role) && has_privs_of_role(role, grant.grantee_role)));
	end_grants(&scan);
	return allowed;
}

/* (owner, owner_oid, owner_cluster, model_name) → boolean, for policies */
Datum
amad_may_read(PG_FUNCTION_ARGS)
{
	Owner		owner;
	Oid			role = owner_argument(fcinfo, &owner) ? owner_role(&owner) : InvalidOid;

	PG_RETURN_BOOL(OidIsValid(role) &&
				   (has_privs_of_role(GetUserId(), role) ||
					(!PG_ARGISNULL(3) &&
					 grants_allow(get_func_namespace(fcinfo->flinfo->fn_oid), GetUserId(), role,
								  text_to_cstring(PG_GETARG_TEXT_PP(3)), GRANT_READ))));
}

/* ---- changes ----------------------------------------------------------------------------- */

#define KEY \
	"model_name OPERATOR(pg_catalog.=) $1 AND owner OPERATOR(pg_catalog.=) $2" \
	" AND grantee OPERATOR(pg_catalog.=) $3 AND privilege OPERATOR(pg_catalog.=) $4" \
	" AND granted_at OPERATOR(pg_catalog.=) $5"

/*
 * Runs a statement; %s in its text stands for the table, $1 to $5 for the key of a grant, $6 to $11
 * for the new owner and grantee.
 */
static void
change_grant(const Access *a, const char *text, const char *model_name, const Grant *key,
			 const Grant *new)
{
	Oid			types[] = {TEXTOID, NAMEOID, NAMEOID, TEXTOID, TIMESTAMPTZOID, NAMEOID,
				   OIDOID,	INT8OID, NAMEOID, OIDOID,  INT8OID};
	Datum		values[] = {
		CStringGetTextDatum(model_name),	  NameGetDatum(&key->owner.name),
		NameGetDatum(&key->grantee.name),	  CStringGetTextDatum(key->privilege_name),
		TimestampTzGetDatum(key->granted_at), NameGetDatum(&new->owner.name),
		ObjectIdGetDatum(new->owner.oid),	  Int64GetDatum(new->owner.cluster),
		NameGetDatum(&new->grantee.name),	  ObjectIdGetDatum(new->grantee.oid),
		Int64GetDatum(new->grantee.cluster),
	};
	char		nulls[] = "           ";
	char	   *table = quote_qualified_identifier(get_namespace_name(a->schema), GRANTS_TABLE);
	SPIPlanPtr	plan = SPI_prepare(psprintf(text, table), lengthof(types), types);
	Snapshot	snapshot;

	if (!new->owner.has_oid)
		nulls[6] = nulls[7] = 'n';
	if (!new->grantee.has_oid)
		nulls[9] = nulls[10] = 'n';
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	/* also under REPEATABLE READ, what the last holder of the lock committed */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (SPI_execute_snapshot(plan, values, nulls, snapshot, InvalidSnapshot, false, true, 0) < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(SPI_result));
	UnregisterSnapshot(snapshot);
}

/* Locks the table for changes, and refuses what would run code with its owner's privileges. */
static void
lock_grants(const Access *a)
{
	Relation	grants = extension_table_open(a->schema, GRANTS_TABLE, COLUMNS, column_types,
										   RowExclusiveLock);

	if (grants == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table \"%s\" of extension amad does not exist", GRANTS_TABLE),
				 errdetail("The extension was not updated, or the table was renamed or altered.")));
	if (grants->rd_rules != NULL || models_table_trigger(grants->trigdesc) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" of extension amad has a %s", GRANTS_TABLE,
						grants->rd_rules ? "rule" : "trigger"),
				 errdetail("Code attached to it would run with the privileges of the table's "
						   "owner.")));
	relation_close(grants, NoLock);
}

static List *
add_own_grant(const Access *a, List *grants, const Grant *grant)
{
	if (grant->owner_role != a->caller)
		return grants;
	return lappend(grants, memcpy(palloc(sizeof(Grant)), grant, sizeof(Grant)));
}

/*
 * Selects the grants on models of a name, or all (NULL), with a statement that Citus executes.  The
 * rows are in SPI_tuptable.
 */
static void
select_grants(const Access *a, const char *model_name, Snapshot snapshot)
{
	char	   *table = quote_qualified_identifier(get_namespace_name(a->schema), GRANTS_TABLE);
	char	   *text = psprintf("SELECT * FROM %s WHERE $1 IS NULL"
						  " OR model_name OPERATOR(pg_catalog.=) $1",
						  table);
	SPIPlanPtr	plan = SPI_prepare(text, 1, (Oid[]){TEXTOID});
	Datum		name = model_name ? CStringGetTextDatum(model_name) : 0;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	if (SPI_execute_snapshot(plan, &name, model_name ? " " : "n", snapshot, InvalidSnapshot, true,
							 true, 0) < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(SPI_result));
}

/* The grants on the model of a->caller, as they are now. */
static List *
present_grants(const Access *a, const char *model_name)
{
	Relation	table = extension_table_open(a->schema, GRANTS_TABLE, COLUMNS, column_types,
										  AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	List	   *grants = NIL;
	GrantScan	scan;
	Grant		grant;

	if (table != NULL && citus_table(RelationGetRelid(table)) == CITUS_REFERENCE)
	{
		select_grants(a, model_name, snapshot);
		for (uint64 i = 0; i < SPI_processed; i++)
			if (read_grant(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &grant))
				grants = add_own_grant(a, grants, &grant);
		SPI_freetuptable(SPI_tuptable);
	}
	else if (begin_grants(&scan, a->schema, model_name, snapshot))
	{
		while (next_grant(&scan, &grant))
			grants = add_own_grant(a, grants, &grant);
		end_grants(&scan);
	}
	if (table != NULL)
		relation_close(table, NoLock);
	UnregisterSnapshot(snapshot);
	return grants;
}

/* A role as it is stored now. */
static Owner
present_role(const Access *a, Oid role)
{
	Owner		owner = {0};

	if (owner_by_oid(a))
		owner_set_oid(&owner, ObjectIdGetDatum(role), false, Int64GetDatum(owner_cluster()), false);

	namestrcpy(&owner.name, GetUserNameFromId(role, false));
	return owner;
}

static bool
same_role(const Owner *a, const Owner *b)
{
	return strcmp(NameStr(a->name), NameStr(b->name)) == 0 && a->has_oid == b->has_oid &&
		a->oid == b->oid && a->cluster == b->cluster;
}

/* Whether a grant is to the role of a name, now or, if there is none, when it was granted. */
static bool
is_granted_to(const Grant *grant, const char *role, Oid oid)
{
	if (grant->everybody || strcmp(role, EVERYBODY) == 0)
		return grant->everybody && strcmp(role, EVERYBODY) == 0;
	if (OidIsValid(oid))
		return grant->grantee_role == oid;
	return !OidIsValid(grant->grantee_role) && strcmp(NameStr(grant->grantee.name), role) == 0;
}

/* Brings the names and oids of a grant up to date; a->caller owns the model. */
static void
update_grant(const Access *a, const char *model_name, const Grant *grant)
{
	Grant		now = *grant;

	now.owner = present_role(a, grant->owner_role);
	if (!grant->everybody)
		now.grantee = present_role(a, grant->grantee_role);
	if (!same_role(&now.owner, &grant->owner) || !same_role(&now.grantee, &grant->grantee))
		change_grant(a,
					 "UPDATE %s SET owner = $6, owner_oid = $7, owner_cluster = $8,"
					 " grantee = $9, grantee_oid = $10, grantee_cluster = $11 WHERE " KEY,
					 model_name, grant, &now);
}

/* Whether a grant can be removed: a role of another cluster can still be created here. */
static bool
is_stale(const Grant *grant)
{
	return (!OidIsValid(grant->owner_role) && owner_is_here(&grant->owner)) ||
		(!grant->everybody && !OidIsValid(grant->grantee_role) && owner_is_here(&grant->grantee));
}

void
grants_update(const Access *a)
{
	Relation	table = extension_table_open(a->schema, GRANTS_TABLE, COLUMNS, column_types,
										  AccessShareLock);
	Snapshot	snapshot;
	SPITupleTable *rows;
	uint64		n;
	bool		reference;

	if (table == NULL)
		return;
	reference = citus_table(RelationGetRelid(table)) == CITUS_REFERENCE;
	relation_close(table, NoLock);
	if (!reference || !owner_by_oid(a))
		return;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	select_grants(a, NULL, snapshot);
	rows = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		Grant		grant;
		char	   *name = SPI_getvalue(rows->vals[i], rows->tupdesc, MODEL_NAME);

		CHECK_FOR_INTERRUPTS();
		if (name == NULL || !read_grant(rows->vals[i], rows->tupdesc, &grant))
			continue;
		if (is_stale(&grant))
			change_grant(a, "DELETE FROM %s WHERE " KEY, name, &grant, &grant);
		else if (OidIsValid(grant.owner_role) &&
				 (grant.everybody || OidIsValid(grant.grantee_role)))
			update_grant(a, name, &grant);
	}
	SPI_freetuptable(rows);
	UnregisterSnapshot(snapshot);
}

void
grants_add(const Access *a, const char *model_name, const char *role, GrantPrivilege privilege)
{
	const bool	everybody = strcmp(role, EVERYBODY) == 0;
	const Oid	oid = everybody ? InvalidOid : get_role_oid(role, false);
	Grant		new = {
		.owner = present_role(a, a->caller),
		.privilege_name = privileges[privilege],
		.granted_at = GetCurrentTimestamp(),
	};
	bool		exists = false;
	ListCell   *cell;

	lock_grants(a);
	foreach(cell, present_grants(a, model_name))
	{
		Grant	   *grant = lfirst(cell);

		if (!grant->everybody && !OidIsValid(grant->grantee_role))
		{
			if (is_stale(grant))
				change_grant(a, "DELETE FROM %s WHERE " KEY, model_name, grant, grant);
			continue;
		}
		exists = exists || (is_granted_to(grant, role, oid) && grant->privilege == privilege);
		update_grant(a, model_name, grant);
	}
	if (exists)
		return;
	if (everybody)
		namestrcpy(&new.grantee.name, EVERYBODY);
	else
		new.grantee = present_role(a, oid);
	change_grant(a,
				 "INSERT INTO %s (model_name, owner, grantee, privilege, granted_at, owner_oid,"
				 " owner_cluster, grantee_oid, grantee_cluster)"
				 " VALUES ($1, $6, $9, $4, $5, $7, $8, $10, $11)",
				 model_name, &new, &new);
}

int
grants_remove(const Access *a, const char *model_name, const char *role, GrantPrivilege privilege)
{
	Oid			oid = role ? get_role_oid(role, true) : InvalidOid;
	List	   *grants = present_grants(a, model_name);
	int			removed = 0;
	ListCell   *cell;

	if (grants != NIL)
		lock_grants(a);
	foreach(cell, grants)
	{
		const Grant *grant = lfirst(cell);

		if (role && (grant->privilege < privilege || !is_granted_to(grant, role, oid)))
			continue;
		change_grant(a, "DELETE FROM %s WHERE " KEY, model_name, grant, grant);
		removed++;
	}
	return removed;
}
