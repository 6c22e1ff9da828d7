/*
 * model/owners.c
 *	  The owners of the rows of amad_models.
 *
 * A row stores the name of its owner, which is part of its key, and the owner's oid with
 * the system identifier of the cluster.  In that cluster the oid identifies the owner, so
 * renaming the role changes nothing.  In another cluster, after a restore or on a replica
 * of the table, the name does.  owners_update() brings the stored names and oids up to
 * date whenever the table is changed.
 *
 * Nodes of Citus are clusters of their own, with the same roles under other oids.  Rows of a
 * reference table store the oids of the coordinator, which brings them up to date.  On workers the
 * name decides.  So that a new role of the same name does not become the owner there, rows of
 * dropped roles get a name that no role has.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "model/owners.h"
#include "pg/citus.h"

SQL_FUNCTION(amad_may_use);

int64
owner_cluster(void)
{
	return (int64) GetSystemIdentifier();
}

bool
owner_by_oid(const Access *a)
{
	return !a->distributed || !citus_on_worker();
}

bool
owner_is_here(const Owner *owner)
{
	return owner->has_oid && owner->cluster == owner_cluster();
}

Oid
owner_role(const Owner *owner)
{
	if (!owner_is_here(owner))
		return get_role_oid(NameStr(owner->name), true);
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(owner->oid)) ? owner->oid : InvalidOid;
}

void
owner_set_oid(Owner *owner, Datum oid, bool no_oid, Datum cluster, bool no_cluster)
{
	owner->has_oid = !no_oid && !no_cluster;
	if (!owner->has_oid)
		return;
	owner->oid = DatumGetObjectId(oid);
	owner->cluster = DatumGetInt64(cluster);
}

bool
owner_argument(FunctionCallInfo fcinfo, Owner *owner)
{
	memset(owner, 0, sizeof(Owner));
	if (PG_ARGISNULL(0))
		return false;
	owner->name = *PG_GETARG_NAME(0);
	owner_set_oid(owner, PG_GETARG_DATUM(1), PG_ARGISNULL(1), PG_GETARG_DATUM(2), PG_ARGISNULL(2));
	return true;
}

/* (owner, owner_oid, owner_cluster) → boolean, for policies */
Datum
amad_may_use(PG_FUNCTION_ARGS)
{
	Owner		owner;
	Oid			role = owner_argument(fcinfo, &owner) ? owner_role(&owner) : InvalidOid;

	PG_RETURN_BOOL(OidIsValid(role) && has_privs_of_role(GetUserId(), role));
}

/* ---- rows -------------------------------------------------------------------------------- */

Owner
owner_read(const Access *a, int row)
{
	Owner		owner = {0};
	bool		no_oid;
	bool		no_cluster;
	Datum		oid = models_table_column(a, row, 2, &no_oid);
	Datum		cluster = models_table_column(a, row, 3, &no_cluster);

	owner.name = *DatumGetName(models_table_column(a, row, 1, NULL));
	owner_set_oid(&owner, oid, no_oid, cluster, no_cluster);
	return owner;
}

bool
owner_change_row(const Access *a, Statement statement, const char *name, const NameData *owner,
				 int version, Datum fourth, Datum fifth, Snapshot snapshot)
{
	Datum		values[] = {CStringGetTextDatum(name), NameGetDatum(owner), Int32GetDatum(version),
					  fourth, fifth};

	return models_table_execute(a, statement, values, NULL, snapshot, false) > 0;
}

/* ---- keeping them up to date ------------------------------------------------------------ */

/*
 * Locks the rows of an owner, except for those that another transaction has locked, and
 * returns their number; names and versions are the other columns of their keys.
 */
static int
lock_owned_rows(const Access *a, const Owner *owner, Snapshot snapshot, char ***names,
				int **versions)
{
	Datum		values[] = {NameGetDatum(&owner->name), ObjectIdGetDatum(owner->oid),
					  Int64GetDatum(owner->cluster)};
	char		nulls[] = "   ";
	int			n;

	if (!owner->has_oid)
		nulls[1] = nulls[2] = 'n';
	n = (int) models_table_execute(a, LOCK_ROWS, values, nulls, snapshot, false);
	*names = palloc_extended(sizeof(char *) * Max(n, 1), MCXT_ALLOC_HUGE);
	*versions = palloc_extended(sizeof(int) * Max(n, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
	{
		(*names)[i] = TextDatumGetCString(models_table_column(a, i, 1, NULL));
		(*versions)[i] = DatumGetInt32(models_table_column(a, i, 2, NULL));
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/* Gives a row another owner's name, unless that key exists. */
static bool
rename_owner(const Access *a, const char *model, int version, const NameData *from,
			 const NameData *to, Snapshot snapshot)
{
	Datum		key[] = {CStringGetTextDatum(model), NameGetDatum(to), Int32GetDatum(version)};

	/* not read-only, to see what was renamed before */
	if (models_table_execute(a, TAKEN, key, NULL, snapshot, false) > 0)
		return false;
	return owner_change_row(a, RENAME_OWNER, model, from, version, NameGetDatum(to), 0, snapshot);
}

/* A name that no role has. */
static char *
unused_name(Oid role)
{
	return psprintf("$%u", role);
}

/* Rows of a renamed role, while they are given its new name. */
typedef struct Renamed
{
	Owner		owner;
	NameData	between;
	NameData	now;
	int			n;
	char	  **names;
	int		   *versions;
} Renamed;

/*
 * Writes the new names of renamed roles.  Roles can have swapped their names, and keys are
 * checked row by row, so all rows first get a name that no role has.  If the key with the
 * new name exists, the row gets its old name back, or keeps the temporary one; its oid
 * identifies the owner in any case.
 */
static void
update_owner_names(const Access *a, Renamed *renamed, int n, Snapshot snapshot)
{
	for (int i = 0; i < n; i++)
	{
		Renamed    *r = &renamed[i];
		int			kept = 0;

		namestrcpy(&r->between, unused_name(r->owner.oid));
		r->n = lock_owned_rows(a, &r->owner, snapshot, &r->names, &r->versions);
		/* a row that could not be renamed is left alone: the name can be another role's */
		for (int j = 0; j < r->n; j++)
			if (rename_owner(a, r->names[j], r->versions[j], &r->owner.name, &r->between, snapshot))
			{
				r->names[kept] = r->names[j];
				r->versions[kept++] = r->versions[j];
			}
		r->n = kept;
	}
	for (int i = 0; i < n; i++)
	{
		Renamed    *r = &renamed[i];

		for (int j = 0; j < r->n && strcmp(NameStr(r->now), NameStr(r->between)) != 0; j++)
			if (!rename_owner(a, r->names[j], r->versions[j], &r->between, &r->now, snapshot))
				(void) rename_owner(a, r->names[j], r->versions[j], &r->between, &r->owner.name,
									snapshot);
	}
}

/* Stores a role's oid in rows that have only its name, as those of a restored dump. */
static void
adopt_rows(const Access *a, const Owner *owner, Oid role, Snapshot snapshot)
{
	char	  **names;
	int		   *versions;
	int			n = lock_owned_rows(a, owner, snapshot, &names, &versions);

	for (int i = 0; i < n; i++)
		(void) owner_change_row(a, ADOPT, names[i], &owner->name, versions[i],
								ObjectIdGetDatum(role), Int64GetDatum(owner_cluster()), snapshot);
}

void
owners_update(const Access *a)
{
	static TransactionId done_in = InvalidTransactionId;
	static Oid	done_for = InvalidOid;
	Snapshot	snapshot;
	Owner	   *owners;
	Renamed    *renamed;
	int			n;
	int			nrenamed = 0;

	if (IsolationUsesXactSnapshot() ||
		(done_in == GetTopTransactionId() && done_for == a->caller) || !owner_by_oid(a))
		return;
	done_in = GetTopTransactionId();
	done_for = a->caller;

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	n = (int) models_table_execute(a, OWNERS, NULL, NULL, snapshot, true);
	owners = palloc_extended(sizeof(Owner) * Max(n, 1), MCXT_ALLOC_HUGE);
	renamed = palloc_extended(sizeof(Renamed) * Max(n, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
		owners[i] = owner_read(a, i);
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < n; i++)
	{
		Oid			role = owner_role(&owners[i]);
		char	   *name = OidIsValid(role) ? GetUserNameFromId(role, true) : NULL;

		if (name == NULL && a->distributed && owner_is_here(&owners[i]))
			name = unused_name(owners[i].oid);
		if (name == NULL)
			continue;
		if (!owner_is_here(&owners[i]))
		{
			/* workers store no oids */
			if (role == a->caller || a->distributed)
				adopt_rows(a, &owners[i], role, snapshot);
		}
		else if (strcmp(name, NameStr(owners[i].name)) != 0)
		{
			Renamed    *r = &renamed[nrenamed++];

			r->owner = owners[i];
			namestrcpy(&r->now, name);
		}
	}
	update_owner_names(a, renamed, nrenamed, snapshot);
	UnregisterSnapshot(snapshot);
}
