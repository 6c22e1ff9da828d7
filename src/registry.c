/*
 * registry.c
 *	  The table amad_models: versions of models under names, by owner.
 */
#include "postgres.h"
#include "compat.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "json.h"
#include "registry.h"

#define TABLE_NAME "amad_models"

/* Statements, with the table's schema for each %s, two at most. */
typedef enum Statement
{
	LAST_VERSION,
	RETIRE,
	INSERT,
	FIND,
	VALUE,
	FACTS,
	SOURCE,
	OPTIONS,
	DEPLOY,
	IN_USE,
	DROP,
	STATEMENTS
} Statement;

typedef struct StatementSpec
{
	const char *text;
	int			nargs;
	Oid			args[7];		/* 0: amad_model, which has no fixed oid */
} StatementSpec;

static const StatementSpec specs[STATEMENTS] = {
	[LAST_VERSION] = {
		"SELECT pg_catalog.max(version) FROM %s." TABLE_NAME
		" WHERE model_name OPERATOR(pg_catalog.=) $1 AND owner OPERATOR(pg_catalog.=) CURRENT_USER",
		1, {TEXTOID}
	},
	[RETIRE] = {
		"UPDATE %s." TABLE_NAME " SET deployed = false"
		" WHERE model_name OPERATOR(pg_catalog.=) $1 AND owner OPERATOR(pg_catalog.=) CURRENT_USER"
		" AND deployed",
		1, {TEXTOID}
	},
	[INSERT] = {
		"INSERT INTO %s." TABLE_NAME " (model_name, version, model, features, options, training, source)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7)",
		7, {TEXTOID, INT4OID, InvalidOid, TEXTARRAYOID, JSONBOID, JSONBOID, JSONBOID}
	},
	[FIND] = {
		"SELECT DISTINCT ON (owner) id, version, owner, ctid, xmin, cmin,"
		" owner OPERATOR(pg_catalog.=) CURRENT_USER"
		" FROM %s." TABLE_NAME " m"
		" WHERE model_name OPERATOR(pg_catalog.=) $1"
		" AND CASE WHEN $2 OPERATOR(pg_catalog.=) 0 THEN deployed"
		" ELSE version OPERATOR(pg_catalog.=) $2 END"
		" AND (owner OPERATOR(pg_catalog.=) CURRENT_USER"
		" OR NOT EXISTS (SELECT FROM %s." TABLE_NAME " o"
		" WHERE o.model_name OPERATOR(pg_catalog.=) $1"
		" AND o.owner OPERATOR(pg_catalog.=) CURRENT_USER))"
		" ORDER BY owner, version DESC LIMIT 2",
		2, {TEXTOID, INT4OID}
	},
	[VALUE] = {
		"SELECT model FROM %s." TABLE_NAME " WHERE id OPERATOR(pg_catalog.=) $1",
		1, {INT8OID}
	},
	[FACTS] = {
		"SELECT training FROM %s." TABLE_NAME " WHERE id OPERATOR(pg_catalog.=) $1",
		1, {INT8OID}
	},
	[SOURCE] = {
		"SELECT source FROM %s." TABLE_NAME " WHERE id OPERATOR(pg_catalog.=) $1",
		1, {INT8OID}
	},
	[OPTIONS] = {
		"SELECT options FROM %s." TABLE_NAME " WHERE id OPERATOR(pg_catalog.=) $1",
		1, {INT8OID}
	},
	[DEPLOY] = {
		"UPDATE %s." TABLE_NAME " SET deployed = true"
		" WHERE model_name OPERATOR(pg_catalog.=) $1 AND owner OPERATOR(pg_catalog.=) CURRENT_USER"
		" AND version OPERATOR(pg_catalog.=) $2",
		2, {TEXTOID, INT4OID}
	},
	[IN_USE] = {
		"SELECT deployed AND EXISTS (SELECT FROM %s." TABLE_NAME " o"
		" WHERE o.model_name OPERATOR(pg_catalog.=) $1"
		" AND o.owner OPERATOR(pg_catalog.=) CURRENT_USER"
		" AND o.version OPERATOR(pg_catalog.<>) $2)"
		" FROM %s." TABLE_NAME " m"
		" WHERE m.model_name OPERATOR(pg_catalog.=) $1 AND m.owner OPERATOR(pg_catalog.=) CURRENT_USER"
		" AND m.version OPERATOR(pg_catalog.=) $2",
		2, {TEXTOID, INT4OID}
	},
	[DROP] = {
		"DELETE FROM %s." TABLE_NAME
		" WHERE model_name OPERATOR(pg_catalog.=) $1 AND owner OPERATOR(pg_catalog.=) CURRENT_USER"
		" AND ($2 OPERATOR(pg_catalog.=) 0 OR version OPERATOR(pg_catalog.=) $2)",
		2, {TEXTOID, INT4OID}
	},
};

/* Prepared once in a backend, for one schema. */
static SPIPlanPtr plans[STATEMENTS];
static Oid	plans_schema = InvalidOid;

static Oid
schema_of(Oid function)
{
	Oid			schema = get_func_namespace(function);

	if (!OidIsValid(schema))
		elog(ERROR, "cache lookup failed for function %u", function);
	return schema;
}

static void
forget_plan(Statement statement)
{
	if (plans[statement] != NULL)
		SPI_freeplan(plans[statement]);
	plans[statement] = NULL;
}

/* The type amad_model, in the schema it was created in. */
static Oid
model_type(Oid schema)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("amad_model"),
						   ObjectIdGetDatum(schema));
}

static SPIPlanPtr
plan_of(Oid function, Statement statement)
{
	const StatementSpec *spec = &specs[statement];
	Oid			schema = schema_of(function);
	Oid			args[lengthof(spec->args)];
	char	   *text;

	/* an invalid plan would be made anew, but with the old oid of amad_model */
	for (int i = 0; i < STATEMENTS; i++)
		if (plans_schema != schema || (plans[i] != NULL && !SPI_plan_is_valid(plans[i])))
			forget_plan(i);
	plans_schema = schema;
	if (plans[statement] != NULL)
		return plans[statement];
	for (int i = 0; i < spec->nargs; i++)
		args[i] = OidIsValid(spec->args[i]) ? spec->args[i] : model_type(schema);
	text = psprintf(spec->text, quote_identifier(get_namespace_name(schema)),
					quote_identifier(get_namespace_name(schema)));
	plans[statement] = SPI_prepare(text, spec->nargs, args);
	if (plans[statement] == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plans[statement]);
	return plans[statement];
}

/*
 * Runs a statement.  Reads of a STABLE function see the query's snapshot;
 * `snapshot` replaces it when given.
 */
static void
execute(Oid function, Statement statement, Datum *values, const char *nulls, Snapshot snapshot,
		bool read_only)
{
	int			rc = SPI_execute_snapshot(plan_of(function, statement), values, nulls, snapshot,
										  InvalidSnapshot, read_only, true, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
}

/* ---- storing --------------------------------------------------------------------------- */

/* Trainings of one owner and name take turns from here to the transaction's end. */
static void
lock_name(Oid function, const char *name)
{
	Oid			table = get_relname_relid(TABLE_NAME, schema_of(function));
	uint32		hash = hash_bytes((const unsigned char *) name, strlen(name));

	LockDatabaseObject(table, hash_combine(hash, hash_bytes_uint32(GetUserId())), 0,
					   ExclusiveLock);
}

/*
 * The next version, with the others retired.  A snapshot taken under the lock
 * sees what the last holder committed, also under REPEATABLE READ.
 */
static int
next_version(Oid function, const char *name)
{
	Datum		values[] = {CStringGetTextDatum(name)};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		isnull;
	Datum		last;

	execute(function, LAST_VERSION, values, NULL, snapshot, true);
	last = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	execute(function, RETIRE, values, NULL, snapshot, false);
	UnregisterSnapshot(snapshot);
	return isnull ? 1 : DatumGetInt32(last) + 1;
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

/* The model's own facts and those of the run. */
static Datum
training_json(const Model *m, const TrainFacts *facts)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, m->training);
	text.data[--text.len] = '\0';	/* reopen the object */
	json_key(&text, "seconds");
	json_double(&text, facts->seconds);
	json_key(&text, "workers");
	json_int(&text, facts->workers);
	appendStringInfoChar(&text, '}');
	return JsonbPGetDatum(json_to_jsonb(text.data));
}

int
registry_store(Oid function, const char *name, const Model *model, const TrainFacts *facts,
			   Jsonb *source)
{
	StringInfoData options;
	Datum		values[7];
	char		nulls[] = "       ";
	int			version;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	lock_name(function, name);
	version = next_version(function, name);

	initStringInfo(&options);
	options_write(&model->options, &options);
	values[0] = CStringGetTextDatum(name);
	values[1] = Int32GetDatum(version);
	values[2] = PointerGetDatum(model_encode(model));
	values[3] = names_array(model);
	nulls[3] = model->options.nnames > 0 ? ' ' : 'n';
	values[4] = JsonbPGetDatum(json_to_jsonb(options.data));
	values[5] = training_json(model, facts);
	values[6] = JsonbPGetDatum(source);
	nulls[6] = source ? ' ' : 'n';
	execute(function, INSERT, values, nulls, InvalidSnapshot, false);
	SPI_finish();
	return version;
}

/* ---- finding ---------------------------------------------------------------------------- */

static Datum
column(int row, int number)
{
	bool		isnull;

	/* all columns asked for are NOT NULL */
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, &isnull);
}

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

RegistryEntry
registry_find(Oid function, const char *name, int version)
{
	Datum		values[] = {CStringGetTextDatum(name), Int32GetDatum(version)};
	RegistryEntry entry;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	execute(function, FIND, values, NULL, InvalidSnapshot, true);
	if (SPI_processed == 0)
		not_found(name, version);
	if (SPI_processed == 2)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_ALIAS),
				 errmsg("model name \"%s\" is ambiguous", name),
				 errdetail("Roles \"%s\" and \"%s\" both have a model of that name.",
						   NameStr(*DatumGetName(column(0, 3))),
						   NameStr(*DatumGetName(column(1, 3)))),
				 errhint("Use SET ROLE to become the owner of the one you mean.")));
	entry.id = DatumGetInt64(column(0, 1));
	entry.version = DatumGetInt32(column(0, 2));
	entry.tid = *(ItemPointer) DatumGetPointer(column(0, 4));
	entry.xmin = DatumGetTransactionId(column(0, 5));
	entry.cmin = DatumGetCommandId(column(0, 6));
	entry.own = DatumGetBool(column(0, 7));
	entry.owner = *DatumGetName(column(0, 3));
	SPI_finish();
	return entry;
}

/* The only column of an entry, copied into the caller's context; NULL when it is null. */
static struct varlena *
fetch(Oid function, Statement statement, int64 id)
{
	Datum		values[] = {Int64GetDatum(id)};
	MemoryContext caller = CurrentMemoryContext;
	struct varlena *value = NULL;
	bool		isnull;
	Datum		datum;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	execute(function, statement, values, NULL, InvalidSnapshot, true);
	if (SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the model was dropped while it was being looked up")));
	MemoryContextSwitchTo(caller);
	datum = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		value = PG_DETOAST_DATUM_COPY(datum);
	SPI_finish();
	return value;
}

struct varlena *
registry_value(Oid function, int64 id)
{
	return fetch(function, VALUE, id);
}

Jsonb *
registry_facts(Oid function, int64 id)
{
	return (Jsonb *) fetch(function, FACTS, id);
}

Jsonb *
registry_source(Oid function, int64 id)
{
	return (Jsonb *) fetch(function, SOURCE, id);
}

Jsonb *
registry_options(Oid function, int64 id)
{
	return (Jsonb *) fetch(function, OPTIONS, id);
}

SourceSpec
registry_source_spec(Oid function, const RegistryEntry *entry, const char *name)
{
	Jsonb	   *source = registry_source(function, entry->id);

	if (source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" remembers no source", name),
				 errdetail("It was trained by the aggregate."),
				 errhint("Name the source, or train it with amad_train(model_name, source, …).")));
	if (!entry->own)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the source of model \"%s\" is that of role \"%s\"", name,
						NameStr(entry->owner)),
				 errdetail("What another role has stored is not run with your rights."),
				 errhint("Name the source, or use SET ROLE to become the owner.")));
	return source_from_jsonb(source);
}

/* ---- versions ------------------------------------------------------------------------------ */

void
registry_deploy(Oid function, const char *name, int version)
{
	Datum		values[] = {CStringGetTextDatum(name), Int32GetDatum(version)};

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	lock_name(function, name);
	execute(function, RETIRE, values, NULL, InvalidSnapshot, false);
	execute(function, DEPLOY, values, NULL, InvalidSnapshot, false);
	if (SPI_processed == 0)
		not_found(name, version);
	SPI_finish();
}

int64
registry_drop(Oid function, const char *name, int version)
{
	Datum		values[] = {CStringGetTextDatum(name), Int32GetDatum(version)};
	int64		dropped;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	lock_name(function, name);
	if (version > 0)
	{
		execute(function, IN_USE, values, NULL, InvalidSnapshot, false);
		if (SPI_processed > 0 && DatumGetBool(column(0, 1)))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("version %d of model \"%s\" is deployed", version, name),
					 errhint("Deploy another version first with amad_deploy(), or drop all versions.")));
	}
	execute(function, DROP, values, NULL, InvalidSnapshot, false);
	dropped = SPI_processed;
	if (dropped == 0)
		not_found(name, version);
	SPI_finish();
	return dropped;
}
