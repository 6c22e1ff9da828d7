/*
 * model/verdicts.c
 *	  Verdicts: what people have said of incidents of a watch, and of times of its series.
 *
 * amad_feedback() writes them.  They are read where models are trained, scored, and tuned, as
 * often by roles that cannot see the table; so it is read without SQL. Its owner can have written
 * anything.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "model/extension_tables.h"
#include "model/owners.h"
#include "model/verdicts.h"

/* Columns of amad_verdicts, from 1. */
enum
{
	ID = 1,
	WATCH,
	INCIDENT,
	SERIES_ID,
	SERIES,
	VERDICT,
	FIRST_TS,
	LAST_TS,
	STARTED,
	ENDED,
	FEATURE,
	DIRECTION,
	PEAK_SEVERITY,
	TRAINING_VERSION,
	UNTIL,
	VERDICT_COLUMNS = UNTIL
};

static const Oid verdict_types[VERDICT_COLUMNS] = {INT8OID,		   UUIDOID,	 INT8OID,
												   BYTEAOID,	   JSONBOID, TEXTOID,
												   INT8OID,		   INT8OID,	 TIMESTAMPTZOID,
												   TIMESTAMPTZOID, TEXTOID,	 TEXTOID,
												   FLOAT8OID,	   INT4OID,	 TIMESTAMPTZOID};

/* Columns of amad_watches. */
enum
{
	WATCHES_ID = 1,
	WATCHES_OWNER,
	WATCHES_MODEL = 5,
	WATCHES_READ = WATCHES_MODEL
};

static const Oid watch_types[WATCHES_READ] = {UUIDOID, NAMEOID, OIDOID, INT8OID, TEXTOID};

static const struct
{
	const char *name;
	VerdictKind kind;
} kinds_of_verdicts[] = {
	{"incident", VERDICT_INCIDENT},
	{"false_alarm", VERDICT_FALSE_ALARM},
	{"expected", VERDICT_EXPECTED},
};

bool
verdict_kind(const char *name, VerdictKind *kind)
{
	for (int i = 0; i < lengthof(kinds_of_verdicts); i++)
		if (strcmp(name, kinds_of_verdicts[i].name) == 0)
		{
			*kind = kinds_of_verdicts[i].kind;
			return true;
		}
	return false;
}

/* ---- rows -------------------------------------------------------------------------------- */

/* The text in a column; NULL: null. */
static char *
read_text(HeapTuple row, TupleDesc desc, int number)
{
	bool		isnull;
	Datum		value = heap_getattr(row, number, desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* Reads what mutes others; the feature is NULL if something is missing. */
static void
read_peak(HeapTuple row, TupleDesc desc, GivenVerdict *v)
{
	bool		isnull[3];
	Datum		severity = heap_getattr(row, PEAK_SEVERITY, desc, &isnull[0]);
	Datum		version = heap_getattr(row, TRAINING_VERSION, desc, &isnull[1]);
	Datum		until = heap_getattr(row, UNTIL, desc, &isnull[2]);
	char	   *direction = read_text(row, desc, DIRECTION);

	v->above = direction && strcmp(direction, "above") == 0;
	v->has_until = !isnull[2];
	v->until = isnull[2] ? 0 : DatumGetTimestampTz(until);
	v->training_version = isnull[1] ? 0 : DatumGetInt32(version);
	v->peak_severity = isnull[0] ? 0 : DatumGetFloat8(severity);
	if (!isnull[0] && direction && (v->above || strcmp(direction, "below") == 0))
		v->feature = read_text(row, desc, FEATURE);
}

/* Reads a row; false if it is of another kind or makes no sense. */
static bool
read_verdict(HeapTuple row, TupleDesc desc, int kinds, GivenVerdict *v)
{
	bool		isnull[4];
	char	   *name = read_text(row, desc, VERDICT);
	Datum		first = heap_getattr(row, FIRST_TS, desc, &isnull[0]);
	Datum		last = heap_getattr(row, LAST_TS, desc, &isnull[1]);
	Datum		series = heap_getattr(row, SERIES, desc, &isnull[2]);

	(void) heap_getattr(row, STARTED, desc, &isnull[3]);
	memset(v, 0, sizeof(GivenVerdict));
	if (name == NULL || !verdict_kind(name, &v->kind) || (v->kind & kinds) == 0 || isnull[0] ||
		isnull[1] || DatumGetInt64(first) > DatumGetInt64(last))
		return false;
	v->first = DatumGetInt64(first);
	v->last = DatumGetInt64(last);
	v->integers = isnull[3];
	if (!isnull[2])
	{
		v->series = DatumGetJsonbPCopy(series);
		if (!JB_ROOT_IS_OBJECT(v->series))
			return false;
	}
	if (v->kind == VERDICT_FALSE_ALARM)
		read_peak(row, desc, v);
	return true;
}

static int
compare_begins(const ListCell *a, const ListCell *b)
{
	const GivenVerdict *x = lfirst(a);
	const GivenVerdict *y = lfirst(b);

	return (x->first > y->first) - (x->first < y->first);
}

/* ---- tables ------------------------------------------------------------------------------ */

List *
verdicts_of_watch(Oid function, const pg_uuid_t *watch, int kinds)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "amad verdicts",
												  ALLOCSET_DEFAULT_SIZES);
	Relation	table = extension_table_open(get_func_namespace(function), VERDICTS_TABLE,
										  VERDICT_COLUMNS, verdict_types, AccessShareLock);
	List	   *found = NIL;
	SysScanDesc scan;
	HeapTuple	row;
	MemoryContext old;

	if (table == NULL)
		return NIL;
	old = MemoryContextSwitchTo(context);
	scan = systable_beginscan(table, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		TupleDesc	desc = RelationGetDescr(table);
		GivenVerdict verdict;
		bool		isnull;
		Datum		of = heap_getattr(row, WATCH, desc, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (!isnull && memcmp(DatumGetUUIDP(of), watch, sizeof(pg_uuid_t)) == 0 &&
			read_verdict(row, desc, kinds, &verdict))
			found = lappend(found, memcpy(palloc(sizeof(verdict)), &verdict, sizeof(verdict)));
		if (MemoryContextMemAllocated(context, true) > (Size) work_mem * 1024)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the verdicts on a watch do not fit in work_mem (%d kB)", work_mem),
					 errhint("Raise work_mem, or remove old verdicts with amad_drop_verdict().")));
	}
	systable_endscan(scan);
	relation_close(table, NoLock);
	list_sort(found, compare_begins);
	MemoryContextSwitchTo(old);
	return found;
}

/* Finds the watch of a role's model. */
static bool
find_watch_id(Oid schema, Oid owner, const char *model_name, pg_uuid_t *id)
{
	Relation	table = extension_table_open(schema, WATCHES_TABLE, WATCHES_READ, watch_types,
										  AccessShareLock);
	SysScanDesc scan;
	HeapTuple	row;
	bool		found = false;

	if (table == NULL)
		return false;
	scan = systable_beginscan(table, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while (!found && HeapTupleIsValid(row = systable_getnext(scan)))
	{
		TupleDesc	desc = RelationGetDescr(table);
		bool		isnull[5];
		Datum		values[5];
		Owner		role = {0};

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < lengthof(values); i++)
			values[i] = heap_getattr(row, 1 + i, desc, &isnull[i]);
		if (isnull[WATCHES_ID - 1] || isnull[WATCHES_OWNER - 1] || isnull[WATCHES_MODEL - 1] ||
			strcmp(TextDatumGetCString(values[WATCHES_MODEL - 1]), model_name) != 0)
			continue;
		role.name = *DatumGetName(values[WATCHES_OWNER - 1]);
		owner_set_oid(&role, values[WATCHES_OWNER], isnull[WATCHES_OWNER],
					  values[WATCHES_OWNER + 1], isnull[WATCHES_OWNER + 1]);
		found = owner_role(&role) == owner;
		*id = *DatumGetUUIDP(values[WATCHES_ID - 1]);
	}
	systable_endscan(scan);
	relation_close(table, NoLock);
	return found;
}

List *
verdicts_of_model(Oid function, Oid owner, const char *model_name, int kinds)
{
	pg_uuid_t	id;

	return OidIsValid(owner) && find_watch_id(get_func_namespace(function), owner, model_name, &id)
		? verdicts_of_watch(function, &id, kinds)
		: NIL;
}
