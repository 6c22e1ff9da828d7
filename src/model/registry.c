/*
 * model/registry.c
 *	  The table amad_models: versions of models, by name and owner.
 *
 * Statements find rows by name or key (models_table.h).  Which of the rows the caller
 * owns or may use is computed here from the stored owner (owners.h), because the
 * statements' CURRENT_USER is the owner of the table.
 *
 * A role may also use models that it has been granted (grants.h).
 *
 * Transactions that change the rows of a name wait for each other on a lock; if the table is a
 * reference table of Citus, those that change any row do (models_table.c).  Under the
 * lock they bring the stored owners up to date, and then change rows one by one.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "model/codec.h"
#include "model/grants.h"
#include "model/owners.h"
#include "model/registry.h"
#include "pg/call_arguments.h"
#include "pg/citus.h"
#include "pg/json.h"

#define IN_USE 0				/* in place of a version */
#define ANY_VERSION (-1)
#define KEPT_RECALIBRATIONS 2	/* of each training, by StoreRule.keep */
#define TRIES 5					/* to change a row whose key changes */

/* ---- rows -------------------------------------------------------------------------------- */

/* A row without its large columns. */
typedef struct Row
{
	Owner		owner;
	Oid			role;			/* owner_role() */
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

/* The rows of a name and of all owners: of one version, of ANY_VERSION, or IN_USE. */
static Rows
find_rows(const Access *a, const char *name, int version, Snapshot snapshot)
{
	Datum		values[] = {CStringGetTextDatum(name), Int32GetDatum(version)};
	uint64		n = models_table_execute(a, FIND, values, NULL, snapshot, true);
	Rows rows = {.n = (int) n, .rows = palloc_extended(sizeof(Row) * Max(n, 1), MCXT_ALLOC_HUGE)};

	for (int i = 0; i < rows.n; i++)
	{
		Row		   *row = &rows.rows[i];

		row->owner = owner_read(a, i);
		row->role = owner_role(&row->owner);
		row->version = DatumGetInt32(models_table_column(a, i, 4, NULL));
		row->deployed = DatumGetBool(models_table_column(a, i, 5, NULL));
		row->tid = *(ItemPointer) DatumGetPointer(models_table_column(a, i, 6, NULL));
		row->xmin = DatumGetTransactionId(models_table_column(a, i, 7, NULL));
		row->cmin = DatumGetCommandId(models_table_column(a, i, 8, NULL));
	}
	SPI_freetuptable(SPI_tuptable);
	return rows;
}

/* Reports that a trigger or a policy on the table has prevented a change. */
static void
report_not_accepted(const Access *a, const char *name, int version)
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
 * number.  A row that is not found by its key is looked up again: another session
 * can have updated the owner's name in it, or have deleted it.
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
			if (owner_change_row(a, statement, name, &row->owner.name, row->version, value, 0,
								 snapshot))
				changed++;
			else
				missed = row->version;
		}
		UnregisterSnapshot(snapshot);
		if (missed == 0)
			return changed;
		if (i == TRIES)
			report_not_accepted(a, name, missed);
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

/* The caller's own row with the highest version; NULL if there is none. */
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

/* ---- storing ----------------------------------------------------------------------------- */

/* Locks a name of the caller until the end of the transaction. */
static void
lock_name(const Access *a, const char *name)
{
	uint32		hash = hash_bytes((const unsigned char *) name, strlen(name));

	/* the oid of a table is one of this node; all nodes have been locked */
	if (a->distributed)
		return;
	LockDatabaseObject(a->table, hash_combine(hash, hash_bytes_uint32(a->caller)), 0,
					   ExclusiveLock);
}

/* Locks a name of a->caller to change its rows. */
static void
prepare_to_change(const Access *a, const char *name)
{
	lock_name(a, name);
	owners_update(a);
	if (a->distributed)
		grants_update(a);
}

/* Enters the table to change the rows of a name. */
static void
enter_to_change(Access *a, Oid function, const char *name, AclMode needed)
{
	models_table_enter(a, function, RowExclusiveLock, needed);
	prepare_to_change(a, name);
}

/* Drops the grants on a model of which no version is left, also if rows were deleted by SQL. */
static void
drop_stale_grants(const Access *a, const char *name)
{
	Rows		found = present_rows(a, name);

	if (own_row(a, &found) == NULL)
		(void) grants_remove(a, name, NULL, GRANT_READ);
}

/*
 * The next version.  Rows with the caller's name count, too, even if they belong to a
 * dropped role of that name.
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
	return PointerGetDatum(
		construct_array(names, m->options.nnames, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Whether one of the caller's versions is deployed. */
static bool
is_deployed(const Access *a, const char *name, int version)
{
	Rows		found = present_rows(a, name);

	for (int i = 0; i < found.n; i++)
		if (found.rows[i].role == a->caller && found.rows[i].version == version &&
			found.rows[i].deployed)
			return true;
	return false;
}

/* A version of the caller, as far as StoreRule.keep depends on it. */
typedef struct KeptVersion
{
	int			version;
	int			training;		/* version of the training that it comes from */
	bool		deployed;
} KeptVersion;

static int
compare_versions(const void *a, const void *b)
{
	const int	x = *(const int *) a;
	const int	y = *(const int *) b;

	return (x > y) - (x < y);
}

/* Newest training first, and newest version first. */
static int
compare_kept_versions(const void *a, const void *b)
{
	const KeptVersion *x = a;
	const KeptVersion *y = b;

	if (x->training != y->training)
		return x->training < y->training ? 1 : -1;
	return (x->version < y->version) - (x->version > y->version);
}

/* The caller's versions, in that order. */
static KeptVersion *
find_trainings(const Access *a, const char *name, int *n)
{
	Datum		values[] = {CStringGetTextDatum(name)};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	uint64		rows = models_table_execute(a, TRAININGS, values, NULL, snapshot, true);
	KeptVersion *found = palloc_extended(sizeof(KeptVersion) * Max(rows, 1), MCXT_ALLOC_HUGE);

	*n = 0;
	for (int i = 0; i < (int) rows; i++)
	{
		Owner		owner = owner_read(a, i);
		int			version = DatumGetInt32(models_table_column(a, i, 4, NULL));
		bool		training;
		Datum		from = models_table_column(a, i, 6, &training);

		if (owner_role(&owner) != a->caller)
			continue;
		found[(*n)++] = (KeptVersion){
			.version = version,
			.training = registry_training_version(version,
												  training ? NULL : TextDatumGetCString(from)),
			.deployed = DatumGetBool(models_table_column(a, i, 5, NULL)),
		};
	}
	SPI_freetuptable(SPI_tuptable);
	UnregisterSnapshot(snapshot);
	qsort(found, *n, sizeof(KeptVersion), compare_kept_versions);
	return found;
}

/* Drops the versions that StoreRule.keep does not keep. */
static void
drop_old_versions(const Access *a, const char *name, int keep, MemoryContext context,
				  StoredVersion *stored)
{
	int			n;
	KeptVersion *found = find_trainings(a, name, &n);
	int			trainings = 0;
	int			recalibrations = 0;

	stored->dropped = MemoryContextAllocHuge(context, sizeof(int) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		const KeptVersion *v = &found[i];

		if (i == 0 || v->training != v[-1].training)
		{
			trainings++;
			recalibrations = 0;
		}
		if (v->version != v->training)
			recalibrations++;
		if (v->deployed || v->version == stored->version ||
			(trainings <= keep &&
			 (v->version == v->training || recalibrations <= KEPT_RECALIBRATIONS)))
			continue;
		if (change_rows(a, name, to_drop, v->version, DROP, 0) > 0)
			stored->dropped[stored->ndropped++] = v->version;
	}
	qsort(stored->dropped, stored->ndropped, sizeof(int), compare_versions);
}

int
registry_training_version(int version, const char *training_version)
{
	/* anything may be stored there */
	long		training = training_version ? strtol(training_version, NULL, 10) : 0;

	return training > 0 && training < version ? (int) training : version;
}

int
registry_training(int version, Jsonb *facts)
{
	JsonbValue *value = json_get(&facts->root, "recalibration");

	if (value == NULL || value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return version;
	value = json_get(value->val.binary.data, "training_version");
	return registry_training_version(version, psprintf("%.0f", json_number(value, 0)));
}

void
registry_check_change(FunctionCallInfo fcinfo, const char *name, const char *hint)
{
	Oid			function = fcinfo->flinfo->fn_oid;

	if (citus_installed())
		models_table_check_node(fcinfo, name ? name : psprintf("%s()", get_func_name(function)),
								hint);
}

void
registry_check_coordinator(FunctionCallInfo fcinfo)
{
	registry_check_change(fcinfo, NULL, NULL);
	if (citus_on_worker())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("watches are kept on the coordinator of Citus"),
				 errhint("Connect to the coordinator.")));
}

void
registry_check_drop(Oid function)
{
	Access		a;

	models_table_enter(&a, function, AccessShareLock, ACL_DELETE);
	models_table_leave(&a);
}

/* Says why a version is stored without being deployed, although that was asked for. */
static void
report_not_deployed(const char *name, int version, int from_version)
{
	ereport(NOTICE,
			(errmsg("version %d of model \"%s\" is not deployed", version, name),
			 errdetail("It was computed from version %d, which is no longer deployed.",
					   from_version),
			 errhint(
				 "Deploy it with amad_deploy() if it is to replace the version that is deployed "
				 "now.")));
}

StoredVersion
registry_store(Oid function, const char *name, const Model *model, Jsonb *training, Jsonb *source,
			   const StoreRule *rule)
{
	MemoryContext context = CurrentMemoryContext;
	StoredVersion stored = {.deployed = rule->deploy};
	struct varlena *value = model_encode(model);
	StringInfoData options;
	Access		a;
	NameData	owner;
	Datum		values[11];
	char		nulls[] = "           ";

	initStringInfo(&options);
	options_write(&model->options, &options);
	enter_to_change(&a, function, name, rule->keep > 0 ? ACL_DELETE : ACL_SELECT);
	namestrcpy(&owner, GetUserNameFromId(a.caller, false));
	drop_stale_grants(&a, name);
	stored.version = next_version(&a, name, NameStr(owner));
	if (rule->deploy && rule->from_version > 0 && !is_deployed(&a, name, rule->from_version))
		stored.deployed = false;
	if (stored.deployed)
		(void) change_rows(&a, name, to_retire, stored.version, SET_DEPLOYED, BoolGetDatum(false));

	values[0] = CStringGetTextDatum(name);
	values[1] = NameGetDatum(&owner);
	values[2] = Int32GetDatum(stored.version);
	values[3] = ObjectIdGetDatum(a.caller);
	values[4] = Int64GetDatum(owner_cluster());
	nulls[3] = nulls[4] = owner_by_oid(&a) ? ' ' : 'n';
	values[5] = names_array(model);
	nulls[5] = model->options.nnames > 0 ? ' ' : 'n';
	values[6] = JsonbPGetDatum(json_to_jsonb(options.data));
	values[7] = JsonbPGetDatum(training);
	values[8] = JsonbPGetDatum(source);
	nulls[8] = source ? ' ' : 'n';
	values[9] = PointerGetDatum(value);
	values[10] = BoolGetDatum(stored.deployed);
	if (models_table_execute(&a, INSERT, values, nulls, InvalidSnapshot, false) != 1)
		report_not_accepted(&a, name, stored.version);
	if (rule->keep > 0)
		drop_old_versions(&a, name, rule->keep, context, &stored);
	models_table_leave(&a);
	if (stored.deployed != rule->deploy)
		report_not_deployed(name, stored.version, rule->from_version);
	pfree(value);
	return stored;
}

/* ---- finding ----------------------------------------------------------------------------- */

int
registry_version(FunctionCallInfo fcinfo, int number)
{
	const bool	given = !argument_is_null(fcinfo, number);
	int			version = given ? PG_GETARG_INT32(number) : 0;

	if (given && version < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("version must be at least 1")));
	return version;
}

static void
report_not_found(const Access *a, const char *name, int version)
{
	if (version > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("version %d of model \"%s\" does not exist", version, name)));
	if (citus_on_worker() && !a->distributed)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("model \"%s\" does not exist on this node", name),
				 errdetail(
					 "The node is a worker of Citus, and table amad_models is not a reference "
					 "table."),
				 errhint("Call amad_distribute() on the coordinator.")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("model \"%s\" does not exist", name),
			 errhint("Train it with amad_train(), or let its owner grant it with amad_grant(). The "
					 "table amad_models lists the models that you "
					 "can use.")));
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

/* Removes the rows that the caller may not use. */
static void
keep_visible(const Access *a, Rows *found)
{
	bool		all = sees_all(a);
	int			n = 0;

	for (int i = 0; i < found->n; i++)
		if (all ||
			(OidIsValid(found->rows[i].role) && has_privs_of_role(a->caller, found->rows[i].role)))
			found->rows[n++] = found->rows[i];
	found->n = n;
}

/* Removes the rows of models that the caller has not been granted a privilege on. */
static void
keep_granted(const Access *a, const char *name, Rows *found, GrantPrivilege privilege)
{
	Oid			last = InvalidOid;
	bool		allowed = false;
	int			n = 0;

	for (int i = 0; i < found->n; i++)
	{
		const Oid	role = found->rows[i].role;

		if (i == 0 || role != last)
			allowed = grants_allow(a->schema, a->caller, role, name, privilege);
		last = role;
		if (allowed)
			found->rows[n++] = found->rows[i];
	}
	found->n = n;
}

static void
report_ambiguous(const char *name, const Row *first, const Row *second)
{
	ereport(ERROR,
			(errcode(ERRCODE_AMBIGUOUS_ALIAS), errmsg("model name \"%s\" is ambiguous", name),
			 errdetail("Roles \"%s\" and \"%s\" both have a model of that name.", owner_name(first),
					   owner_name(second)),
			 errhint("Use SET ROLE to become the owner of the model.")));
}

/* The highest version of the only owner.  ERROR if there are several; it names the first two. */
static const Row *
only_row(const char *name, const Rows *found)
{
	const Row  *best = NULL;
	const Row  *other = NULL;

	for (int i = 0; i < found->n; i++)
	{
		const Row  *row = &found->rows[i];

		if (best == NULL ||
			(same_owner(best, row) ? row->version > best->version
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
		report_ambiguous(name, best, other);
	return best;
}

/* The row that a name and a version, or IN_USE, stand for in a call of the caller. */
static const Row *
find_row(const Access *a, const char *name, int version, Rows *found)
{
	const Row  *row;
	Rows		all;
	bool		own;

	*found = find_rows(a, name, version, InvalidSnapshot);
	row = own_row(a, found);
	if (row != NULL)
		return row;
	/* own models hide others, even without that version; those of its roles hide granted ones */
	all = find_rows(a, name, ANY_VERSION, InvalidSnapshot);
	own = own_row(a, &all) != NULL;
	keep_visible(a, &all);
	if (all.n > 0)
		keep_visible(a, found);
	else
		keep_granted(a, name, found, GRANT_READ);
	if (found->n > 0 && !own)
		return only_row(name, found);
	if (own && version == IN_USE)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no version of model \"%s\" is deployed", name),
				 errhint("Deploy one with amad_deploy().")));
	report_not_found(a, name, version);
	return NULL;				/* not reached */
}

static RegistryEntry
make_entry(const Access *a, const char *name, const Row *row)
{
	RegistryEntry entry = {
		.model_name = name,
		.owner = row->owner.name,
		.version = row->version,
		.role_oid = row->role,
		.own = row->role == a->caller,
		.table = a->relation,
		.table_owner = a->table_owner,
		.tid = row->tid,
		.xmin = row->xmin,
		.cmin = row->cmin,
	};

	namestrcpy(&entry.role, owner_name(row));
	return entry;
}

RegistryEntry
registry_find(Oid function, const char *name, int version)
{
	const char *copy = pstrdup(name);
	RegistryEntry entry;
	Access		a;
	Rows		found;

	models_table_enter(&a, function, AccessShareLock, ACL_SELECT);
	entry = make_entry(&a, copy, find_row(&a, name, version, &found));
	models_table_leave(&a);
	return entry;
}

bool
registry_find_own(Oid function, const char *name, RegistryEntry *entry)
{
	const char *copy = pstrdup(name);
	Access		a;
	Rows		found;
	const Row  *row;

	models_table_enter(&a, function, AccessShareLock, ACL_SELECT);
	found = find_rows(&a, name, IN_USE, InvalidSnapshot);
	row = own_row(&a, &found);
	if (row != NULL)
		*entry = make_entry(&a, copy, row);
	models_table_leave(&a);
	return row != NULL;
}

/* The only column of a statement on an entry, in the current context; NULL if it is null. */
static struct varlena *
fetch_column(Oid function, Statement statement, const RegistryEntry *entry)
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
				 errmsg("version %d of model \"%s\" was dropped while it was being read",
						entry->version, entry->model_name)));
	MemoryContextSwitchTo(caller);
	/* only the source can be null */
	datum = models_table_column(&a, 0, 1, statement == SOURCE ? &isnull : NULL);
	if (statement != SOURCE || !isnull)
		value = PG_DETOAST_DATUM_COPY(datum);
	models_table_leave(&a);
	return value;
}

struct varlena *
registry_value(Oid function, const RegistryEntry *entry)
{
	return fetch_column(function, VALUE, entry);
}

char *
registry_value_query(Oid function, const RegistryEntry *entry)
{
	char	   *schema = function_schema(function);

	return psprintf("SELECT model FROM %s WHERE model_name OPERATOR(pg_catalog.=) %s AND owner "
					"OPERATOR(pg_catalog.=) %s AND version OPERATOR(pg_catalog.=) %d",
					quote_qualified_identifier(schema, MODELS_TABLE),
					quote_literal_cstr(entry->model_name),
					quote_literal_cstr(NameStr(entry->owner)), entry->version);
}

Jsonb *
registry_facts(Oid function, const RegistryEntry *entry)
{
	Jsonb	   *facts = (Jsonb *) fetch_column(function, FACTS, entry);

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
	return (Jsonb *) fetch_column(function, SOURCE, entry);
}

Jsonb *
registry_options(Oid function, const RegistryEntry *entry)
{
	return (Jsonb *) fetch_column(function, OPTIONS, entry);
}

static void
report_damaged(const RegistryEntry *entry, const char *reason)
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
	Model *volatile model = NULL;

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
		report_damaged(entry, reason);
	}
	PG_END_TRY();
	return model;
}

Model *
registry_model(Oid function, const RegistryEntry *entry)
{
	return registry_decode(entry, registry_value(function, entry));
}

static Jsonb *
require_source(Oid function, const RegistryEntry *entry, const char *name)
{
	Jsonb	   *source = registry_source(function, entry);

	if (source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has no stored source", name),
				 errdetail("It was trained by the aggregate."),
				 errhint("Specify the source, or train the model with amad_train(model_name, "
						 "source, ...).")));
	return source;
}

static void
report_not_own_source(const RegistryEntry *entry, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the stored source of model \"%s\" belongs to role \"%s\"", name,
					NameStr(entry->role)),
			 errdetail("Sources stored by other roles are not executed with your privileges."),
			 errhint("Specify the source, or use SET ROLE to become the owner.")));
}

Jsonb *
registry_trusted_source(Oid function, const RegistryEntry *entry, const char *name)
{
	Jsonb	   *source = require_source(function, entry, name);

	if (!entry->own)
		report_not_own_source(entry, name);
	if (superuser() && !superuser_arg(entry->table_owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the stored source of model \"%s\" is not executed with the privileges of "
						"a superuser",
						name),
				 errdetail("The table amad_models belongs to role \"%s\", which can change it.",
						   GetUserNameFromId(entry->table_owner, false)),
				 errhint("Specify the source, or use SET ROLE to become a role that is not a "
						 "superuser.")));
	return source;
}

void
registry_check_forgery(Oid table_owner, Oid role)
{
	char	   *table_role = GetUserNameFromId(table_owner, false);
	char	   *name = GetUserNameFromId(role, false);

	if (superuser_arg(table_owner) || has_privs_of_role(table_owner, role))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the stored source is not read with the privileges of role \"%s\"", name),
			 errdetail("The tables of extension amad belong to role \"%s\", which can change them "
					   "and does not have these privileges.",
					   table_role),
			 superuser_arg(role)
				 ? errhint("Specify the source.")
				 : errhint("Specify the source, or make role \"%s\" a member of role \"%s\".",
						   table_role, name)));
}

Jsonb *
registry_readable_source(Oid function, const RegistryEntry *entry, const char *name, Oid *role)
{
	Jsonb	   *source;

	*role = entry->role_oid;
	if (entry->own)
		return registry_trusted_source(function, entry, name);
	source = require_source(function, entry, name);
	if (!grants_allow(get_func_namespace(function), GetUserId(), entry->role_oid, name, GRANT_READ))
		report_not_own_source(entry, name);
	registry_check_forgery(entry->table_owner, entry->role_oid);
	return source;
}

/* ---- versions ---------------------------------------------------------------------------- */

/* ERROR unless the caller has a version, or with 0 any version. */
static void
check_exists(const Access *a, const Rows *found, const char *name, int version)
{
	for (int i = 0; i < found->n; i++)
		if (found->rows[i].role == a->caller && to_drop(&found->rows[i], version))
			return;
	report_not_found(a, name, version);
}

/* The owner of the model that the caller may deploy: itself, or a role that granted it that. */
static Oid
find_operated_owner(const Access *a, const char *name)
{
	Rows		found = present_rows(a, name);
	Rows		operated = found;
	const Row  *row;

	if (own_row(a, &found) != NULL)
		return a->caller;
	operated.rows = palloc_extended(sizeof(Row) * Max(found.n, 1), MCXT_ALLOC_HUGE);
	memcpy(operated.rows, found.rows, sizeof(Row) * found.n);
	keep_granted(a, name, &operated, GRANT_OPERATE);
	row = only_row(name, &operated);
	if (row != NULL)
		return row->role;
	keep_granted(a, name, &found, GRANT_READ);
	if (found.n > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for model \"%s\"", name),
				 errdetail("Its owner has granted you the privilege \"read\", but not "
						   "\"operate\".")));
	return a->caller;
}

void
registry_deploy(Oid function, const char *name, int version)
{
	Access		a;
	Rows		found;

	models_table_enter(&a, function, RowExclusiveLock, ACL_SELECT);
	a.caller = find_operated_owner(&a, name);
	prepare_to_change(&a, name);
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
				 errhint(
					 "Deploy another version first with amad_deploy(), or drop all versions.")));
}

int64
registry_drop(Oid function, const char *name, int version, bool *any_left)
{
	Access		a;
	Rows		found;
	int64		n;

	enter_to_change(&a, function, name, ACL_DELETE);
	found = present_rows(&a, name);
	check_exists(&a, &found, name, version);
	if (version > 0)
		check_not_in_use(&a, &found, name, version);
	*any_left = false;
	for (int i = 0; i < found.n; i++)
		if (found.rows[i].role == a.caller && !to_drop(&found.rows[i], version))
			*any_left = true;
	n = change_rows(&a, name, to_drop, version, DROP, 0);
	drop_stale_grants(&a, name);
	models_table_leave(&a);
	return n;
}

/* ---- grants ------------------------------------------------------------------------------ */

void
registry_grant(Oid function, const char *name, const char *role, GrantPrivilege privilege)
{
	Access		a;
	Rows		found;

	enter_to_change(&a, function, name, ACL_SELECT);
	found = present_rows(&a, name);
	check_exists(&a, &found, name, 0);
	grants_add(&a, name, role, privilege);
	models_table_leave(&a);
}

bool
registry_revoke(Oid function, const char *name, const char *role, GrantPrivilege privilege)
{
	Access		a;
	Rows		found;
	bool		revoked;

	enter_to_change(&a, function, name, ACL_SELECT);
	found = present_rows(&a, name);
	check_exists(&a, &found, name, 0);
	revoked = grants_remove(&a, name, role, privilege) > 0;
	models_table_leave(&a);
	return revoked;
}
