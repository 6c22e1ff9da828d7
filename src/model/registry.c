/*
 * model/registry.c
 *	  The table amad_models: versions of models, by name and owner.
 *
 * Statements find rows by name or key (models_table.h).  Which of them the caller owns
 * or may use is computed here, from the stored owner (resolve()), because the
 * statements' CURRENT_USER is the table's owner.
 *
 * Writers of a name take turns by a lock.  Under it they bring the stored names of
 * renamed roles up to date (mend_owners()), and change rows one by one.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "model/codec.h"
#include "pg/json.h"
#include "model/models_table.h"
#include "model/registry.h"

#define IN_USE 0				/* in place of a version */
#define ANY_VERSION (-1)
#define TRIES 5					/* to change a row whose key changes */

SQL_FUNCTION(amad_may_use);

/* ---- owners ------------------------------------------------------------------------------ */

/* As a row has it. */
typedef struct Owner
{
	NameData	name;
	bool		has_oid;		/* both that and the cluster are not null */
	Oid			oid;
	int64		cluster;
} Owner;

static int64
this_cluster(void)
{
	return (int64) GetSystemIdentifier();
}

/* Whether the oid decides, because it is one of this cluster. */
static bool
decided_by_oid(const Owner *owner)
{
	return owner->has_oid && owner->cluster == this_cluster();
}

/* The role that owns a row; InvalidOid when there is none. */
static Oid
resolve(const Owner *owner)
{
	if (!decided_by_oid(owner))
		return get_role_oid(NameStr(owner->name), true);
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(owner->oid)) ? owner->oid : InvalidOid;
}

/* (owner, owner_oid, owner_cluster) → boolean, for the policies of the table */
Datum
amad_may_use(PG_FUNCTION_ARGS)
{
	Owner		owner = {0};
	Oid			role;

	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	owner.name = *PG_GETARG_NAME(0);
	owner.has_oid = !PG_ARGISNULL(1) && !PG_ARGISNULL(2);
	if (owner.has_oid)
	{
		owner.oid = PG_GETARG_OID(1);
		owner.cluster = PG_GETARG_INT64(2);
	}
	role = resolve(&owner);
	PG_RETURN_BOOL(OidIsValid(role) && has_privs_of_role(GetUserId(), role));
}

/* ---- rows -------------------------------------------------------------------------------- */

/* A row without its large columns. */
typedef struct Row
{
	Owner		owner;
	Oid			role;			/* that owns it, InvalidOid: none */
	int			version;
	bool		deployed;
	ItemPointerData tid;
	TransactionId xmin;
	CommandId	cmin;
} Row;

typedef struct Rows
{
	int			n;
	Row		   *rows;
} Rows;

static Owner
read_owner(const Access *a, int row)
{
	Owner		owner = {0};
	bool		no_oid;
	bool		no_cluster;
	Datum		oid = models_table_column(a, row, 2, &no_oid);
	Datum		cluster = models_table_column(a, row, 3, &no_cluster);

	owner.name = *DatumGetName(models_table_column(a, row, 1, NULL));
	owner.has_oid = !no_oid && !no_cluster;
	if (owner.has_oid)
	{
		owner.oid = DatumGetObjectId(oid);
		owner.cluster = DatumGetInt64(cluster);
	}
	return owner;
}

/* The rows of a name, of all owners: of a version, of all (ANY_VERSION), or IN_USE. */
static Rows
find_rows(const Access *a, const char *name, int version, Snapshot snapshot)
{
	Datum		values[] = {CStringGetTextDatum(name), Int32GetDatum(version)};
	uint64		n = models_table_execute(a, FIND, values, NULL, snapshot, true);
	Rows		rows = {.n = (int) n, .rows = palloc_extended(sizeof(Row) * Max(n, 1), MCXT_ALLOC_HUGE)};

	for (int i = 0; i < rows.n; i++)
	{
		Row		   *row = &rows.rows[i];

		row->owner = read_owner(a, i);
		row->role = resolve(&row->owner);
		row->version = DatumGetInt32(models_table_column(a, i, 4, NULL));
		row->deployed = DatumGetBool(models_table_column(a, i, 5, NULL));
		row->tid = *(ItemPointer) DatumGetPointer(models_table_column(a, i, 6, NULL));
		row->xmin = DatumGetTransactionId(models_table_column(a, i, 7, NULL));
		row->cmin = DatumGetCommandId(models_table_column(a, i, 8, NULL));
	}
	SPI_freetuptable(SPI_tuptable);
	return rows;
}

/* Runs a statement on one row, found by its key; true if there was one. */
static bool
change_row(const Access *a, Statement statement, const char *name, const NameData *owner,
		   int version, Datum fourth, Datum fifth, Snapshot snapshot)
{
	Datum		values[] = {CStringGetTextDatum(name), NameGetDatum(owner),
	Int32GetDatum(version), fourth, fifth};

	return models_table_execute(a, statement, values, NULL, snapshot, false) > 0;
}

/* A trigger or a policy of the table's owner has prevented a change. */
static void
not_accepted(const Access *a, const char *name, int version)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table %s did not accept the change of version %d of model \"%s\"", a->name,
					version, name),
			 errhint("Look for triggers and policies on the table.")));
}

typedef bool (*RowTest) (const Row *row, int version);

static bool
to_retire(const Row *row, int version)
{
	return row->deployed && row->version != version;
}

static bool
to_deploy(const Row *row, int version)
{
	return !row->deployed && row->version == version;
}

static bool
to_drop(const Row *row, int version)
{
	return version == 0 || row->version == version;
}

/*
 * Runs a statement on each of the caller's rows that pass a test, and returns their
 * number.  A row that was not found by its key is looked for again: another session
 * may have repaired the owner's name in it, or have deleted it.
 */
static int64
change_rows(const Access *a, const char *name, RowTest test, int version, Statement statement,
			Datum value)
{
	int64		changed = 0;

	for (int i = 0;; i++)
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		Rows		found = find_rows(a, name, ANY_VERSION, snapshot);
		int			missed = 0;

		for (int j = 0; j < found.n; j++)
		{
			const Row  *row = &found.rows[j];

			if (row->role != a->caller || !test(row, version))
				continue;
			if (change_row(a, statement, name, &row->owner.name, row->version, value, 0, snapshot))
				changed++;
			else
				missed = row->version;
		}
		UnregisterSnapshot(snapshot);
		if (missed == 0)
			return changed;
		if (i == TRIES)
			not_accepted(a, name, missed);
	}
}

/*
 * The caller's rows of a name as they are now, also under REPEATABLE READ: a snapshot
 * taken under the lock of the name sees what its last holder committed.
 */
static Rows
present_rows(const Access *a, const char *name)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Rows		found = find_rows(a, name, ANY_VERSION, snapshot);

	UnregisterSnapshot(snapshot);
	return found;
}

/* ---- owners' names are kept right --------------------------------------------------------- */

/*
 * Locks the rows of an owner and writes their keys' other parts into arrays; those
 * that another transaction has locked are left out.
 */
static int
lock_rows(const Access *a, const Owner *owner, Snapshot snapshot, char ***names, int **versions)
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
	return change_row(a, RENAME_OWNER, model, from, version, NameGetDatum(to), 0, snapshot);
}

/* Rows of a renamed role, under way from one name to the other. */
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
 * Roles may have swapped their names, and keys are checked row by row.  So all renamed
 * rows first get a name that no role has.  One whose right key is taken gets its old
 * name again, or keeps that one: its oid decides anyway.
 */
static void
mend_names(const Access *a, Renamed *renamed, int n, Snapshot snapshot)
{
	for (int i = 0; i < n; i++)
	{
		Renamed    *r = &renamed[i];
		int			kept = 0;

		namestrcpy(&r->between, psprintf("$%u", r->owner.oid));
		r->n = lock_rows(a, &r->owner, snapshot, &r->names, &r->versions);
		/* a row that could not be renamed is left as it is: the name may be another role's */
		for (int j = 0; j < r->n; j++)
			if (rename_owner(a, r->names[j], r->versions[j], &r->owner.name, &r->between,
							 snapshot))
			{
				r->names[kept] = r->names[j];
				r->versions[kept++] = r->versions[j];
			}
		r->n = kept;
	}
	for (int i = 0; i < n; i++)
	{
		Renamed    *r = &renamed[i];

		for (int j = 0; j < r->n; j++)
			if (!rename_owner(a, r->names[j], r->versions[j], &r->between, &r->now, snapshot))
				(void) rename_owner(a, r->names[j], r->versions[j], &r->between, &r->owner.name,
									snapshot);
	}
}

/* Rows that are the caller's by name only, of a restored dump, get its oid. */
static void
adopt(const Access *a, const Owner *owner, Snapshot snapshot)
{
	char	  **names;
	int		   *versions;
	int			n = lock_rows(a, owner, snapshot, &names, &versions);

	for (int i = 0; i < n; i++)
		(void) change_row(a, ADOPT, names[i], &owner->name, versions[i],
						  ObjectIdGetDatum(a->caller), Int64GetDatum(this_cluster()), snapshot);
}

/*
 * Brings stored names and oids up to date, once in a transaction that changes the
 * table.  Where transactions have one snapshot that would cause serialization
 * failures, so there it is left to the next one.
 */
static void
mend_owners(const Access *a)
{
	static TransactionId done_in = InvalidTransactionId;
	static Oid	done_for = InvalidOid;
	Snapshot	snapshot;
	Owner	   *owners;
	Renamed    *renamed;
	int			n;
	int			nrenamed = 0;

	if (IsolationUsesXactSnapshot() ||
		(done_in == GetTopTransactionId() && done_for == a->caller))
		return;
	done_in = GetTopTransactionId();
	done_for = a->caller;

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	n = (int) models_table_execute(a, OWNERS, NULL, NULL, snapshot, true);
	owners = palloc_extended(sizeof(Owner) * Max(n, 1), MCXT_ALLOC_HUGE);
	renamed = palloc_extended(sizeof(Renamed) * Max(n, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
		owners[i] = read_owner(a, i);
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < n; i++)
	{
		Oid			role = resolve(&owners[i]);
		char	   *name = OidIsValid(role) ? GetUserNameFromId(role, true) : NULL;

		if (name == NULL)
			continue;
		if (!decided_by_oid(&owners[i]))
		{
			if (role == a->caller)
				adopt(a, &owners[i], snapshot);
		}
		else if (strcmp(name, NameStr(owners[i].name)) != 0)
		{
			Renamed    *r = &renamed[nrenamed++];

			r->owner = owners[i];
			namestrcpy(&r->now, name);
		}
	}
	mend_names(a, renamed, nrenamed, snapshot);
	UnregisterSnapshot(snapshot);
}

/* ---- storing ----------------------------------------------------------------------------- */

/* Trainings of one owner and name take turns from here to the transaction's end. */
static void
lock_name(const Access *a, const char *name)
{
	uint32		hash = hash_bytes((const unsigned char *) name, strlen(name));

	LockDatabaseObject(a->table, hash_combine(hash, hash_bytes_uint32(a->caller)), 0,
					   ExclusiveLock);
}

/* Enters the table to change the rows of a name. */
static void
enter_to_change(Access *a, Oid function, const char *name, AclMode needed)
{
	models_table_enter(a, function, RowExclusiveLock, needed);
	lock_name(a, name);
	mend_owners(a);
}

/*
 * The next version.  Rows of the caller's name count, too, even if they are those of a
 * role of that name that is gone.
 */
static int
next_version(const Access *a, const char *name, const char *owner)
{
	Rows		found = present_rows(a, name);
	int			last = 0;

	for (int i = 0; i < found.n; i++)
		if (found.rows[i].role == a->caller ||
			strcmp(NameStr(found.rows[i].owner.name), owner) == 0)
			last = Max(last, found.rows[i].version);
	if (last == PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("model \"%s\" has no more version numbers", name),
				 errhint("Drop the version with the highest number.")));
	return last + 1;
}

static Datum
names_array(const Model *m)
{
	Datum	   *names = palloc(sizeof(Datum) * Max(m->options.nnames, 1));

	for (int i = 0; i < m->options.nnames; i++)
		names[i] = CStringGetTextDatum(m->options.names[i]);
	return PointerGetDatum(construct_array(names, m->options.nnames, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

int
registry_store(Oid function, const char *name, const Model *model, Jsonb *training,
			   Jsonb *source)
{
	struct varlena *value = model_encode(model);
	StringInfoData options;
	Access		a;
	NameData	owner;
	Datum		values[10];
	char		nulls[] = "          ";
	int			version;

	initStringInfo(&options);
	options_write(&model->options, &options);
	enter_to_change(&a, function, name, ACL_SELECT);
	namestrcpy(&owner, GetUserNameFromId(a.caller, false));
	version = next_version(&a, name, NameStr(owner));
	(void) change_rows(&a, name, to_retire, version, SET_DEPLOYED, BoolGetDatum(false));

	values[0] = CStringGetTextDatum(name);
	values[1] = NameGetDatum(&owner);
	values[2] = Int32GetDatum(version);
	values[3] = ObjectIdGetDatum(a.caller);
	values[4] = Int64GetDatum(this_cluster());
	values[5] = names_array(model);
	nulls[5] = model->options.nnames > 0 ? ' ' : 'n';
	values[6] = JsonbPGetDatum(json_to_jsonb(options.data));
	values[7] = JsonbPGetDatum(training);
	values[8] = JsonbPGetDatum(source);
	nulls[8] = source ? ' ' : 'n';
	values[9] = PointerGetDatum(value);
	if (models_table_execute(&a, INSERT, values, nulls, InvalidSnapshot, false) != 1)
		not_accepted(&a, name, version);
	models_table_leave(&a);
	pfree(value);
	return version;
}

/* ---- finding ----------------------------------------------------------------------------- */

static void
not_found(const char *name, int version)
{
	if (version > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("version %d of model \"%s\" does not exist", version, name)));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("model \"%s\" does not exist", name),
			 errhint("Train it with amad_train(), or look into the table amad_models for the models "
					 "that you may use.")));
}

/* Whether the caller sees the rows of all owners, by the rules of row-level security. */
static bool
sees_all(const Access *a)
{
	return has_bypassrls_privilege(a->caller) || has_privs_of_role(a->caller, a->table_owner);
}

/* The name of a row's owner today. */
static const char *
owner_name(const Row *row)
{
	char	   *name = OidIsValid(row->role) ? GetUserNameFromId(row->role, true) : NULL;

	return name != NULL ? name : NameStr(row->owner.name);
}

static bool
same_owner(const Row *a, const Row *b)
{
	if (OidIsValid(a->role) || OidIsValid(b->role))
		return a->role == b->role;
	return strcmp(NameStr(a->owner.name), NameStr(b->owner.name)) == 0;
}

/* The caller's own row with the highest version, NULL: none. */
static const Row *
own_row(const Access *a, const Rows *found)
{
	const Row  *best = NULL;

	for (int i = 0; i < found->n; i++)
		if (found->rows[i].role == a->caller &&
			(best == NULL || found->rows[i].version > best->version))
			best = &found->rows[i];
	return best;
}

/* Removes the rows that the caller may not use. */
static void
keep_visible(const Access *a, Rows *found)
{
	bool		all = sees_all(a);
	int			n = 0;

	for (int i = 0; i < found->n; i++)
		if (all || (OidIsValid(found->rows[i].role) &&
					has_privs_of_role(a->caller, found->rows[i].role)))
			found->rows[n++] = found->rows[i];
	found->n = n;
}

static void
ambiguous(const char *name, const Row *first, const Row *second)
{
	ereport(ERROR,
			(errcode(ERRCODE_AMBIGUOUS_ALIAS),
			 errmsg("model name \"%s\" is ambiguous", name),
			 errdetail("Roles \"%s\" and \"%s\" both have a model of that name.",
					   owner_name(first), owner_name(second)),
			 errhint("Use SET ROLE to become the owner of the one you mean.")));
}

/* The highest version of the only owner; ERROR if there are several, naming the first two. */
static const Row *
only_row(const char *name, const Rows *found)
{
	const Row  *best = NULL;
	const Row  *other = NULL;

	for (int i = 0; i < found->n; i++)
	{
		const Row  *row = &found->rows[i];

		if (best == NULL || (same_owner(best, row) ? row->version > best->version
							 : strcmp(owner_name(row), owner_name(best)) < 0))
			best = row;
	}
	for (int i = 0; i < found->n; i++)
	{
		const Row  *row = &found->rows[i];

		if (!same_owner(best, row) &&
			(other == NULL || strcmp(owner_name(row), owner_name(other)) < 0))
			other = row;
	}
	if (other != NULL)
		ambiguous(name, best, other);
	return best;
}

/* The row that a name and a version, or IN_USE, mean to the caller. */
static const Row *
find_row(const Access *a, const char *name, int version, Rows *found)
{
	const Row  *row;

	*found = find_rows(a, name, version, InvalidSnapshot);
	row = own_row(a, found);
	if (row != NULL)
		return row;
	keep_visible(a, found);
	if (found->n > 0)
	{
		Rows		all = find_rows(a, name, ANY_VERSION, InvalidSnapshot);

		/* an own model without that version hides those of others */
		if (own_row(a, &all) == NULL)
			row = only_row(name, found);
	}
	if (row == NULL)
		not_found(name, version);
	return row;
}

RegistryEntry
registry_find(Oid function, const char *name, int version)
{
	RegistryEntry entry = {.model_name = pstrdup(name)};
	Access		a;
	Rows		found;
	const Row  *row;

	models_table_enter(&a, function, AccessShareLock, ACL_SELECT);
	row = find_row(&a, name, version, &found);
	entry.owner = row->owner.name;
	entry.version = row->version;
	namestrcpy(&entry.role, owner_name(row));
	entry.own = row->role == a.caller;
	entry.table = a.table;
	entry.table_owner = a.table_owner;
	entry.tid = row->tid;
	entry.xmin = row->xmin;
	entry.cmin = row->cmin;
	models_table_leave(&a);
	return entry;
}

/* The only column of an entry, copied into the caller's context; NULL when it is null. */
static struct varlena *
fetch(Oid function, Statement statement, const RegistryEntry *entry)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[] = {CStringGetTextDatum(entry->model_name), NameGetDatum(&entry->owner),
	Int32GetDatum(entry->version)};
	struct varlena *value = NULL;
	Access		a;
	bool		isnull;
	Datum		datum;

	models_table_enter(&a, function, AccessShareLock, ACL_SELECT);
	if (models_table_execute(&a, statement, values, NULL, InvalidSnapshot, true) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("version %d of model \"%s\" was dropped while it was being looked up",
						entry->version, entry->model_name)));
	MemoryContextSwitchTo(caller);
	/* of all these columns, only the source may be null */
	datum = models_table_column(&a, 0, 1, statement == SOURCE ? &isnull : NULL);
	if (statement != SOURCE || !isnull)
		value = PG_DETOAST_DATUM_COPY(datum);
	models_table_leave(&a);
	return value;
}

struct varlena *
registry_value(Oid function, const RegistryEntry *entry)
{
	return fetch(function, VALUE, entry);
}

Jsonb *
registry_facts(Oid function, const RegistryEntry *entry)
{
	Jsonb	   *facts = (Jsonb *) fetch(function, FACTS, entry);

	if (!JB_ROOT_IS_OBJECT(facts))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"training\" of version %d of model \"%s\" is not a JSON object",
						entry->version, entry->model_name)));
	return facts;
}

Jsonb *
registry_source(Oid function, const RegistryEntry *entry)
{
	return (Jsonb *) fetch(function, SOURCE, entry);
}

Jsonb *
registry_options(Oid function, const RegistryEntry *entry)
{
	return (Jsonb *) fetch(function, OPTIONS, entry);
}

static void
damaged(const RegistryEntry *entry, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("version %d of model \"%s\" of role \"%s\" is damaged", entry->version,
					entry->model_name, NameStr(entry->role)),
			 errdetail("%s", reason),
			 errhint("Deploy another version, train the model again, or drop it with amad_drop(). "
					 "amad_model_error() finds damaged models.")));
}

Model *
registry_decode(const RegistryEntry *entry, struct varlena *value)
{
	MemoryContext context = CurrentMemoryContext;
	Model	   *volatile model = NULL;

	PG_TRY();
	{
		model = model_decode(value);
	}
	PG_CATCH();
	{
		ErrorData  *error;
		char	   *reason;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		reason = model_damage(error);
		if (reason == NULL)
			ReThrowError(error);
		damaged(entry, reason);
	}
	PG_END_TRY();
	return model;
}

Model *
registry_model(Oid function, const RegistryEntry *entry)
{
	return registry_decode(entry, registry_value(function, entry));
}

static void
check_trust(const RegistryEntry *entry, const char *name)
{
	if (!entry->own)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the source of model \"%s\" is that of role \"%s\"", name,
						NameStr(entry->role)),
				 errdetail("What another role has stored is not run with your rights."),
				 errhint("Name the source, or use SET ROLE to become the owner.")));
	if (superuser() && !superuser_arg(entry->table_owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the source of model \"%s\" is not run with the rights of a superuser",
						name),
				 errdetail("The table amad_models belongs to role \"%s\", which can change it.",
						   GetUserNameFromId(entry->table_owner, false)),
				 errhint("Name the source, or use SET ROLE to become a role that is not a superuser.")));
}

Jsonb *
registry_trusted_source(Oid function, const RegistryEntry *entry, const char *name)
{
	Jsonb	   *source = registry_source(function, entry);

	if (source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" remembers no source", name),
				 errdetail("It was trained by the aggregate."),
				 errhint("Name the source, or train it with amad_train(model_name, source, …).")));
	check_trust(entry, name);
	return source;
}

/* ---- versions ---------------------------------------------------------------------------- */

/* ERROR if the caller has no such version; 0: none at all. */
static void
check_exists(const Access *a, const Rows *found, const char *name, int version)
{
	for (int i = 0; i < found->n; i++)
		if (found->rows[i].role == a->caller && to_drop(&found->rows[i], version))
			return;
	not_found(name, version);
}

void
registry_deploy(Oid function, const char *name, int version)
{
	Access		a;
	Rows		found;

	enter_to_change(&a, function, name, ACL_SELECT);
	found = present_rows(&a, name);
	check_exists(&a, &found, name, version);
	(void) change_rows(&a, name, to_retire, version, SET_DEPLOYED, BoolGetDatum(false));
	(void) change_rows(&a, name, to_deploy, version, SET_DEPLOYED, BoolGetDatum(true));
	models_table_leave(&a);
}

/* ERROR if a version is deployed and not the only one. */
static void
check_not_in_use(const Access *a, const Rows *found, const char *name, int version)
{
	bool		deployed = false;
	bool		others = false;

	for (int i = 0; i < found->n; i++)
	{
		const Row  *row = &found->rows[i];

		if (row->role == a->caller && row->version == version)
			deployed |= row->deployed;
		else if (row->role == a->caller)
			others = true;
	}
	if (deployed && others)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("version %d of model \"%s\" is deployed", version, name),
				 errhint("Deploy another version first with amad_deploy(), or drop all versions.")));
}

int64
registry_drop(Oid function, const char *name, int version)
{
	Access		a;
	Rows		found;
	int64		n;

	enter_to_change(&a, function, name, ACL_DELETE);
	found = present_rows(&a, name);
	check_exists(&a, &found, name, version);
	if (version > 0)
		check_not_in_use(&a, &found, name, version);
	n = change_rows(&a, name, to_drop, version, DROP, 0);
	models_table_leave(&a);
	return n;
}
