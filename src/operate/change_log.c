/*
 * operate/change_log.c
 *	  The trigger function amad_log_change: what a statement changed, for watches.
 *
 * It runs after each statement on a source, reads the rows of the transition tables, and adds the
 * first and last time that changed in each series to amad_changes.  A statement with very many
 * series gets one entry for all of them.  A trigger without transition tables, for TRUNCATE or for
 * DELETE from a hypertable with compressed chunks, does not see rows: all times of all series.
 *
 * The statement must not fail because of it.  So the function has no errors of its own: what it
 * cannot read becomes "all series", "all times" or both, and if the tables of the extension are not
 * as it knows them, it warns.  It writes to the table directly, not by a statement, because the
 * role that changes the source need not have any right on the table.  The only code of a data type
 * that it calls is that of PostgreSQL's own scalar types; rows of a source whose series columns have
 * other types are logged for all series.
 *
 * If nobody refreshes the watch, the log must not grow without bound.  When it is full, a row of
 * amad_overflow says that everything is to be scored again, and no more is logged.
 *
 * Anybody can create a trigger with this function and the identifier of somebody else's
 * watch.  So the relation must be the source of the watch or a descendant of it.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "access/detoast.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "common/shortest_dec.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "model/owners.h"
#include "operate/change_log.h"
#include "operate/watch_tables.h"
#include "pg/settings.h"
#include "pg/timestamps.h"

#define MOST_SERIES 10000		/* of a statement that are logged one by one */
#define MOST_KEY_BYTES 1000		/* longer values of series columns are not logged */
#define INSERT_ROWS 50			/* log entries inserted at once */

SQL_FUNCTION(amad_log_change);

/* The changed range of a series. */
typedef struct SeriesChange
{
	uint32		hash;
	char		status;			/* for simplehash */
	const char *key;			/* of the series, see append_value() */
	Datum		series;			/* text[] */
	int64		first;
	int64		last;
} SeriesChange;

#define SH_PREFIX changes
#define SH_ELEMENT_TYPE SeriesChange
#define SH_KEY_TYPE const char *
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) (key), strlen(key))
#define SH_EQUAL(table, a, b) (strcmp(a, b) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(table, element) (element)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* A column that is read. */
typedef struct LogColumn
{
	int			number;			/* from 1 */
	Oid			type;			/* base type */
} LogColumn;

/* What a statement changed. */
typedef struct ChangedRows
{
	/* how rows are read */
	bool		by_time;		/* otherwise: all times of all series */
	bool		by_series;		/* otherwise: all series */
	LogColumn	ts;
	int			nseries;
	LogColumn  *series;

	/* the rows */
	changes_hash *changes;
	MemoryContext context;		/* of the changes */
	MemoryContext row_context;	/* reset for every row */
	StringInfoData key;			/* of the row */
	const char **texts;			/* (nseries) its values; NULL: null */
	bool		any;
	int64		first;			/* of all rows */
	int64		last;
} ChangedRows;

/* ---- the columns ------------------------------------------------------------------------- */

char *
change_log_binding(Oid relation)
{
	return psprintf("%u/" UINT64_FORMAT, relation, GetSystemIdentifier());
}

/* The 32 hexadecimal digits of an identifier; false if the text is something else. */
static bool
parse_watch_id(const char *text, pg_uuid_t *id)
{
	int			digits = 0;

	for (; *text != '\0'; text++)
	{
		const char *hex = "0123456789abcdef";
		const char *digit = strchr(hex, *text);

		if (*text == '-')
			continue;
		if (digit == NULL || digits == 2 * UUID_LEN)
			return false;
		id->data[digits / 2] = (id->data[digits / 2] << 4) | (digit - hex);
		digits++;
	}
	return digits == 2 * UUID_LEN;
}

/*
 * Finds a column by an argument NUMBER:NAME: by the number in the relation that the trigger was
 * created on, otherwise by the name.
 */
static bool
find_log_column(Relation rel, const char *argument, bool same_relation, LogColumn *column)
{
	TupleDesc	desc = RelationGetDescr(rel);
	char	   *name;
	long		number = strtol(argument, &name, 10);

	if (*name != ':')
		return false;
	name++;
	if (!same_relation)
		for (number = 1; number <= desc->natts; number++)
			if (!TupleDescAttr(desc, number - 1)->attisdropped &&
				strcmp(NameStr(TupleDescAttr(desc, number - 1)->attname), name) == 0)
				break;
	if (number < 1 || number > desc->natts || TupleDescAttr(desc, number - 1)->attisdropped ||
		column_is_virtual(desc, number - 1))
		return false;
	column->number = number;
	column->type = getBaseType(TupleDescAttr(desc, number - 1)->atttypid);
	return true;
}

/* Whether write_text() writes values of a type. */
static bool
is_plain_type(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case UUIDOID:
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return true;
		default:
			return get_typtype(type) == TYPTYPE_ENUM;
	}
}

static void
find_log_columns(ChangedRows *c, const TriggerData *t)
{
	const Trigger *trigger = t->tg_trigger;
	const bool	same = strcmp(trigger->tgargs[CHANGE_LOG_BINDING],
							 change_log_binding(RelationGetRelid(t->tg_relation))) == 0;

	c->by_time = find_log_column(t->tg_relation, trigger->tgargs[CHANGE_LOG_TS], same, &c->ts) &&
		OidIsValid(timestamps_scored_type(c->ts.type));
	c->by_series = true;
	c->nseries = trigger->tgnargs - CHANGE_LOG_SERIES;
	c->series = palloc0(sizeof(LogColumn) * Max(c->nseries, 1));
	for (int i = 0; i < c->nseries; i++)
		c->by_series = c->by_series &&
			find_log_column(t->tg_relation, trigger->tgargs[CHANGE_LOG_SERIES + i], same,
							&c->series[i]) &&
			is_plain_type(c->series[i].type);
}

/* ---- rows -------------------------------------------------------------------------------- */

/*
 * The text of a value, which the type's input function reads as an equal value in any session, and
 * which is the same for equal values; NULL if it is too long.
 */
static const char *
write_text(Oid type, Datum value)
{
	static const int utc = 0;
	char	   *buffer;

	switch (type)
	{
		case BOOLOID:
			return DatumGetBool(value) ? "true" : "false";
		case INT2OID:
		case INT4OID:
			buffer = palloc(12);
			pg_ltoa(type == INT2OID ? DatumGetInt16(value) : DatumGetInt32(value), buffer);
			return buffer;
		case INT8OID:
			buffer = palloc(MAXINT8LEN + 1);
			pg_lltoa(DatumGetInt64(value), buffer);
			return buffer;
		case OIDOID:
			return psprintf("%u", DatumGetObjectId(value));
		case FLOAT4OID:
		case FLOAT8OID:
		{
			double		x = type == FLOAT4OID ? DatumGetFloat4(value) : DatumGetFloat8(value);

			if (isnan(x))
				return "NaN";
			if (isinf(x))
				return x > 0 ? "Infinity" : "-Infinity";
			buffer = palloc(DOUBLE_SHORTEST_DECIMAL_LEN);
			if (type == FLOAT4OID)
				float_to_shortest_decimal_buf(DatumGetFloat4(value), buffer);
			else
				double_to_shortest_decimal_buf(x, buffer);
			return buffer;
		}
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			buffer = palloc(MAXDATELEN + 1);
			return JsonEncodeDateTime(buffer, value, type, type == TIMESTAMPTZOID ? &utc : NULL);
		case NAMEOID:
			return pstrdup(NameStr(*DatumGetName(value)));
		case UUIDOID:
			return DatumGetCString(DirectFunctionCall1(uuid_out, value));
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			/* the size of the value before it was compressed or moved out of line */
			if (toast_raw_datum_size(value) > MOST_KEY_BYTES)
				return NULL;
			if (type == NUMERICOID)
				return numeric_normalize(DatumGetNumeric(value));
			buffer = TextDatumGetCString(value);
			if (type == BPCHAROID)
				buffer[bpchartruelen(buffer, strlen(buffer))] = '\0';
			return buffer;
		default:
			return DatumGetCString(DirectFunctionCall1(enum_out, value));
	}
}

/* Appends a value to a key: quoted, or N for null. */
static void
append_value(StringInfo key, const char *text)
{
	if (text == NULL)
	{
		appendStringInfoChar(key, 'N');
		return;
	}
	appendStringInfoChar(key, '"');
	for (; *text != '\0'; text++)
	{
		if (*text == '"')
			appendStringInfoChar(key, '"');
		appendStringInfoChar(key, *text);
	}
	appendStringInfoChar(key, '"');
}

/* The values of the current row as text[]. */
static Datum
series_array(const ChangedRows *c)
{
	const int	lower = 1;
	int			n = c->nseries;
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(n, 1));

	if (n == 0)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	for (int i = 0; i < n; i++)
	{
		nulls[i] = c->texts[i] == NULL;
		values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(c->texts[i]);
	}
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, unconstify(int *, &lower),
											  TEXTOID, -1, false, TYPALIGN_INT));
}

/* The entry of the series of a row; NULL if it cannot be logged by its series. */
static SeriesChange *
find_series_change(ChangedRows *c, TupleTableSlot *slot)
{
	SeriesChange *change;
	MemoryContext old;
	bool		found;

	resetStringInfo(&c->key);
	for (int i = 0; i < c->nseries; i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, c->series[i].number, &isnull);

		c->texts[i] = isnull ? NULL : write_text(c->series[i].type, value);
		if (c->texts[i] == NULL && !isnull)
			return NULL;
		append_value(&c->key, c->texts[i]);
	}
	change = changes_lookup(c->changes, c->key.data);
	if (change != NULL || c->changes->members >= MOST_SERIES)
		return change;
	old = MemoryContextSwitchTo(c->context);
	change = changes_insert(c->changes, pstrdup(c->key.data), &found);
	change->series = series_array(c);
	change->first = PG_INT64_MAX;
	change->last = PG_INT64_MIN;
	MemoryContextSwitchTo(old);
	return change;
}

/* Adds the rows of a transition table. */
static void
read_changed_rows(ChangedRows *c, Relation rel, Tuplestorestate *rows)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsMinimalTuple);
	int			pointer = tuplestore_alloc_read_pointer(rows, EXEC_FLAG_REWIND);

	/* a pointer of our own, because the store is shared; it begins where another one is */
	tuplestore_select_read_pointer(rows, pointer);
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, c->ts.number, &isnull);
		SeriesChange *change = NULL;
		int64		ts;

		CHECK_FOR_INTERRUPTS();
		/* a row without a time has no score, and no other depends on it */
		if (isnull || !timestamps_value(c->ts.type, value, &ts))
			continue;
		if (c->by_series)
		{
			MemoryContext old = MemoryContextSwitchTo(c->row_context);

			change = find_series_change(c, slot);
			MemoryContextSwitchTo(old);
			MemoryContextReset(c->row_context);
		}
		c->by_series = change != NULL;
		if (change)
		{
			change->first = Min(change->first, ts);
			change->last = Max(change->last, ts);
		}
		c->first = c->any ? Min(c->first, ts) : ts;
		c->last = c->any ? Max(c->last, ts) : ts;
		c->any = true;
	}
	ExecDropSingleTupleTableSlot(slot);
}

/* ---- the watch --------------------------------------------------------------------------- */

/* The type of a column, InvalidOid if it does not exist. */
static Oid
column_type_of(TupleDesc desc, int number)
{
	return number <= desc->natts ? TupleDescAttr(desc, number - 1)->atttypid : InvalidOid;
}

/* Whether a relation is the source in a row of amad_watches, or a descendant of it. */
static bool
is_source(Relation watches, HeapTuple row, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(watches);
	bool		no_source;
	bool		no_cluster;
	Datum		source = heap_getattr(row, WATCHES_SOURCE, desc, &no_source);
	Datum		cluster = heap_getattr(row, WATCHES_CLUSTER, desc, &no_cluster);
	Oid			type;

	if (no_source)
		return false;			/* it is polled */
	if (DatumGetObjectId(source) == RelationGetRelid(rel))
		return true;
	/* after a restore, until the next refresh */
	type = get_rel_type_id(DatumGetObjectId(source));
	if (no_cluster || DatumGetInt64(cluster) != owner_cluster() || !OidIsValid(type))
		return true;
	return OidIsValid(rel->rd_rel->reltype) && typeInheritsFrom(rel->rd_rel->reltype, type);
}

/*
 * Whether changes of a relation are to be logged: the watch exists and it is its source.  Seen by
 * the latest snapshot, because the transaction's can be older than the watch.
 */
static bool
wants_changes(Oid schema, const pg_uuid_t *id, Relation rel)
{
	Oid			oid = get_relname_relid(WATCHES_TABLE, schema);
	Relation	watches = OidIsValid(oid) ? try_relation_open(oid, AccessShareLock) : NULL;
	TupleDesc	desc = watches ? RelationGetDescr(watches) : NULL;
	bool		wanted = false;
	bool		indexed = false;
	Snapshot	snapshot;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	row;

	if (watches == NULL)
		return false;
	if (watches->rd_rel->relkind != RELKIND_RELATION ||
		watches->rd_rel->relam != HEAP_TABLE_AM_OID ||
		column_type_of(desc, WATCHES_WATCH) != UUIDOID ||
		column_type_of(desc, WATCHES_CLUSTER) != INT8OID ||
		column_type_of(desc, WATCHES_SOURCE) != OIDOID)
	{
		relation_close(watches, AccessShareLock);
		return true;
	}
	if (!watches->rd_indexvalid)
		list_free(RelationGetIndexList(watches));	/* finds the primary key */
	if (OidIsValid(watches->rd_pkindex))
	{
		Relation	index = index_open(watches->rd_pkindex, AccessShareLock);

		indexed = index->rd_index->indnkeyatts == 1 &&
			index->rd_index->indkey.values[0] == WATCHES_WATCH;
		index_close(index, AccessShareLock);
	}
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyInit(&key, WATCHES_WATCH, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	scan = systable_beginscan(watches, watches->rd_pkindex, indexed, snapshot, 1, &key);
	row = systable_getnext(scan);
	wanted = HeapTupleIsValid(row) && is_source(watches, row, rel);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	relation_close(watches, AccessShareLock);
	return wanted;
}

/* ---- the log ----------------------------------------------------------------------------- */

/* The entries that are being written. */
typedef struct LogWriter
{
	Relation	log;
	int			n;
	int			nslots;
	TupleTableSlot **slots;
} LogWriter;

/* Opens a table to be written; false, and a warning, if it is not as the extension created it. */
static bool
open_log(LogWriter *w, Oid schema, const char *name, const Oid *types, int ncolumns, int64 entries)
{
	Oid			oid = get_relname_relid(name, schema);
	TupleDesc	desc;
	bool		fits;

	w->log = OidIsValid(oid) ? try_relation_open(oid, RowExclusiveLock) : NULL;
	if (w->log == NULL)
		return false;			/* the extension is being dropped */
	desc = RelationGetDescr(w->log);
	fits = w->log->rd_rel->relkind == RELKIND_RELATION &&
		w->log->rd_rel->relam == HEAP_TABLE_AM_OID && desc->natts == ncolumns &&
		!w->log->rd_rel->relhasindex;
	for (int i = 0; i < ncolumns && fits; i++)
		fits = column_type_of(desc, i + 1) == types[i];
	if (!fits)
	{
		relation_close(w->log, RowExclusiveLock);
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the change was not logged because table \"%s\" of extension amad was "
						"altered",
						name),
				 errhint("Restore the table without indexes and with its own columns, and refresh "
						 "the range of the change with amad_refresh().")));
		return false;
	}
	w->nslots = Min(entries, INSERT_ROWS);
	w->slots = palloc(sizeof(TupleTableSlot *) * w->nslots);
	for (int i = 0; i < w->nslots; i++)
		w->slots[i] = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	return true;
}

static void
flush_log(LogWriter *w)
{
	if (w->n == 1)
		table_tuple_insert(w->log, w->slots[0], GetCurrentCommandId(true), 0, NULL);
	else if (w->n > 1)
		table_multi_insert(w->log, w->slots, w->n, GetCurrentCommandId(true), 0, NULL);
	w->n = 0;
}

/* Adds an entry; without a range: all times of all series. */
static void
add_to_log(LogWriter *w, const pg_uuid_t *id, Datum series, bool has_range, int64 first, int64 last)
{
	Datum		values[CHANGES_COLUMNS];
	bool		nulls[CHANGES_COLUMNS] = {false};

	values[CHANGES_WATCH - 1] = UUIDPGetDatum(id);
	values[CHANGES_SERIES - 1] = series;
	nulls[CHANGES_SERIES - 1] = series == 0;
	values[CHANGES_FIRST - 1] = Int64GetDatum(first);
	values[CHANGES_LAST - 1] = Int64GetDatum(last);
	nulls[CHANGES_FIRST - 1] = nulls[CHANGES_LAST - 1] = !has_range;
	values[CHANGES_LOGGED - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	ExecForceStoreHeapTuple(heap_form_tuple(RelationGetDescr(w->log), values, nulls),
							w->slots[w->n++], true);
	if (w->n == INSERT_ROWS)
		flush_log(w);
}

static void
close_log(LogWriter *w)
{
	flush_log(w);
	for (int i = 0; i < w->nslots; i++)
		ExecDropSingleTupleTableSlot(w->slots[i]);
	relation_close(w->log, NoLock);
}

/*
 * Whether the log has as many entries as it may have, by the statistics, which are not exact.  They are
 * looked up only if the table is so large that it can have.
 */
static bool
is_full(Relation log)
{
	PgStat_StatTabEntry *entry;

	if ((int64) RelationGetNumberOfBlocks(log) * MaxHeapTuplesPerPage < settings_change_log_limit)
		return false;
	entry = pgstat_fetch_stat_tabentry(RelationGetRelid(log));
	return entry && stat_live_tuples(entry) >= settings_change_log_limit;
}

/* Whether a visible row of a table has the watch in its first column. */
static bool
has_row_of(Relation table, const pg_uuid_t *id)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan;
	ScanKeyData key;
	bool		found;

	ScanKeyInit(&key, OVERFLOW_WATCH, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	scan = systable_beginscan(table, InvalidOid, false, snapshot, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * When the log is full: makes sure that a row of amad_overflow covers the changes of this
 * transaction.  The lock, held until it ends, keeps a refresh that does not see the changes from
 * deleting the row.  False if a refresh is just about to do so; then the changes are logged.
 */
static bool
note_overflow(Oid schema, const pg_uuid_t *id)
{
	static const Oid types[] = {UUIDOID, TIMESTAMPTZOID};
	Oid			watches = get_relname_relid(WATCHES_TABLE, schema);
	Datum		values[OVERFLOW_COLUMNS] = {UUIDPGetDatum(id),
									  TimestampTzGetDatum(GetCurrentTransactionStartTimestamp())};
	bool		nulls[OVERFLOW_COLUMNS] = {false};
	LogWriter	w = {0};

	if (!watch_lock(watches, id, WATCH_OVERFLOW, ShareLock, false, false) ||
		!open_log(&w, schema, OVERFLOW_TABLE, types, OVERFLOW_COLUMNS, 1))
		return false;
	if (!has_row_of(w.log, id))
		ExecForceStoreHeapTuple(heap_form_tuple(RelationGetDescr(w.log), values, nulls),
								w.slots[w.n++], true);
	close_log(&w);
	return true;
}

static void
write_log(Oid schema, const pg_uuid_t *id, ChangedRows *c)
{
	static const Oid types[] = {UUIDOID, TEXTARRAYOID, INT8OID, INT8OID, TIMESTAMPTZOID};
	const int64 entries = c->by_time && c->by_series ? c->changes->members : 1;
	LogWriter	w = {0};

	if (!open_log(&w, schema, CHANGES_TABLE, types, CHANGES_COLUMNS, entries))
		return;
	if (is_full(w.log) && note_overflow(schema, id))
		w.n = 0;
	else if (c->by_time && c->by_series)
	{
		changes_iterator i;
		SeriesChange *change;

		changes_start_iterate(c->changes, &i);
		while ((change = changes_iterate(c->changes, &i)) != NULL)
			add_to_log(&w, id, change->series, true, change->first, change->last);
	}
	else
		add_to_log(&w, id, 0, c->by_time, c->first, c->last);
	close_log(&w);
}

Datum
amad_log_change(PG_FUNCTION_ARGS)
{
	TriggerData *t = (TriggerData *) fcinfo->context;
	MemoryContext context;
	MemoryContext old;
	ChangedRows c = {0};
	Tuplestorestate *tables[2];
	int			ntables = 0;
	bool		sees_rows;
	Oid			schema;
	pg_uuid_t	id;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"amad_log_change\" was not called by a trigger")));
	if (!TRIGGER_FIRED_AFTER(t->tg_event) || TRIGGER_FIRED_FOR_ROW(t->tg_event) ||
		t->tg_trigger->tgnargs < CHANGE_LOG_SERIES ||
		!parse_watch_id(t->tg_trigger->tgargs[CHANGE_LOG_WATCH], &id))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" was not created by amad_watch()", t->tg_trigger->tgname)));
	sees_rows = t->tg_trigger->tgoldtable || t->tg_trigger->tgnewtable;

	/* a statement without rows has changed nothing */
	if (t->tg_oldtable && tuplestore_tuple_count(t->tg_oldtable) > 0)
		tables[ntables++] = t->tg_oldtable;
	if (t->tg_newtable && tuplestore_tuple_count(t->tg_newtable) > 0)
		tables[ntables++] = t->tg_newtable;
	if (ntables == 0 && sees_rows)
		return PointerGetDatum(NULL);

	context = AllocSetContextCreate(CurrentMemoryContext, "amad changes", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	if (wants_changes(schema, &id, t->tg_relation))
	{
		c.context = context;
		c.row_context = AllocSetContextCreate(context, "amad changed row", ALLOCSET_DEFAULT_SIZES);
		if (sees_rows)
			find_log_columns(&c, t);
		initStringInfo(&c.key);
		c.texts = palloc(sizeof(char *) * Max(c.nseries, 1));
		c.changes = changes_create(context, 64, NULL);
		for (int i = 0; i < ntables && c.by_time; i++)
			read_changed_rows(&c, t->tg_relation, tables[i]);
		if (c.any || !c.by_time)
			write_log(schema, &id, &c);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return PointerGetDatum(NULL);
}
