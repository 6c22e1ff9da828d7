/*
 * pg/citus.c
 *	  What Citus knows of this node and its tables.
 *
 * Citus has no functions for other extensions in C.  But each node with metadata, coordinator or
 * worker, has the catalogs pg_dist_*, in the schema pg_catalog, in which only superusers can create
 * tables.  Their columns are looked up by name, since versions of Citus add others.  A shard is a
 * table in the schema of its table, with the shard's number at the end of its name.
 *
 * Without Citus, everything here costs one lookup in a cache.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "pg/citus.h"

/* A catalog of Citus that is being read. */
typedef struct CitusScan
{
	Relation	catalog;
	SysScanDesc scan;
	HeapTuple	row;			/* the current one */
} CitusScan;

static Oid
find_catalog(const char *name)
{
	return get_relname_relid(name, PG_CATALOG_NAMESPACE);
}

bool
citus_installed(void)
{
	return OidIsValid(find_catalog("pg_dist_partition"));
}

/* An index whose first column is a column of its table. */
static Oid
find_index(Relation table, AttrNumber column)
{
	List	   *indexes = RelationGetIndexList(table);
	Oid			found = InvalidOid;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = relation_open(lfirst_oid(cell), AccessShareLock);

		if (index->rd_index->indisvalid && index->rd_index->indkey.values[0] == column)
			found = RelationGetRelid(index);
		relation_close(index, AccessShareLock);
		if (OidIsValid(found))
			break;
	}
	list_free(indexes);
	return found;
}

/*
 * Finds the first row of a catalog in which a column has a value, or any row if the column is
 * NULL.  False if there is none; otherwise close_row() must follow.
 */
static bool
open_row(CitusScan *s, const char *name, const char *column, RegProcedure equals, Datum value)
{
	Oid			oid = find_catalog(name);
	Oid			index = InvalidOid;
	ScanKeyData key;

	s->catalog = OidIsValid(oid) ? try_relation_open(oid, AccessShareLock) : NULL;
	if (s->catalog == NULL)
		return false;
	if (column != NULL)
	{
		const AttrNumber number = get_attnum(oid, column);

		if (number <= 0)
			elog(ERROR, "table pg_catalog.%s of Citus has no column \"%s\"", name, column);
		index = find_index(s->catalog, number);
		ScanKeyInit(&key, number, BTEqualStrategyNumber, equals, value);
	}
	s->scan = systable_beginscan(s->catalog, index, OidIsValid(index), NULL, column ? 1 : 0, &key);
	s->row = systable_getnext(s->scan);
	if (HeapTupleIsValid(s->row))
		return true;
	systable_endscan(s->scan);
	relation_close(s->catalog, AccessShareLock);
	return false;
}

static void
close_row(CitusScan *s)
{
	systable_endscan(s->scan);
	relation_close(s->catalog, AccessShareLock);
}

/* A column of the row; 0 if it does not exist, is null, or has another type. */
static Datum
row_column(const CitusScan *s, const char *name, Oid type)
{
	TupleDesc	desc = RelationGetDescr(s->catalog);
	const AttrNumber number = get_attnum(RelationGetRelid(s->catalog), name);
	bool		isnull = true;
	Datum		value = 0;

	if (number > 0 && TupleDescAttr(desc, number - 1)->atttypid == type)
		value = heap_getattr(s->row, number, desc, &isnull);
	return isnull ? 0 : value;
}

bool
citus_on_worker(void)
{
	CitusScan	group;
	bool		worker;

	if (!open_row(&group, "pg_dist_local_group", NULL, InvalidOid, 0))
		return false;
	worker = DatumGetInt32(row_column(&group, "groupid", INT4OID)) > 0;
	close_row(&group);
	return worker;
}

CitusTable
citus_table(Oid table)
{
	CitusTable	kind = CITUS_DISTRIBUTED;
	CitusScan	partition;

	if (!open_row(&partition, "pg_dist_partition", "logicalrelid", F_OIDEQ,
				  ObjectIdGetDatum(table)))
		return CITUS_NONE;
	/* tables without a distribution column; a schema can be distributed as a whole */
	if (DatumGetChar(row_column(&partition, "partmethod", CHAROID)) == 'n')
	{
		if (DatumGetChar(row_column(&partition, "repmodel", CHAROID)) == 't')
			kind = CITUS_REFERENCE;
		else if (DatumGetInt32(row_column(&partition, "colocationid", INT4OID)) == 0)
			kind = CITUS_LOCAL;
	}
	close_row(&partition);
	return kind;
}

Oid
citus_local_copy(Oid table)
{
	char	   *name = get_rel_name(table);
	Oid			schema = get_rel_namespace(table);
	CitusScan	shard;
	int64		number;

	if (name == NULL ||
		!open_row(&shard, "pg_dist_shard", "logicalrelid", F_OIDEQ, ObjectIdGetDatum(table)))
		return InvalidOid;
	number = DatumGetInt64(row_column(&shard, "shardid", INT8OID));
	close_row(&shard);
	return get_relname_relid(psprintf("%s_" INT64_FORMAT, name, number), schema);
}

Oid
citus_table_of_shard(Oid relation)
{
	char	   *name = get_rel_name(relation);
	char	   *end = name ? strrchr(name, '_') : NULL;
	char	   *whole;
	Oid			table;
	CitusScan	shard;
	int64		number = 0;

	if (end == NULL || end[1] == '\0')
		return InvalidOid;
	for (const char *digit = end + 1; *digit; digit++)
	{
		if (*digit < '0' || *digit > '9' || number > PG_INT64_MAX / 10 - 1)
			return InvalidOid;
		number = number * 10 + (*digit - '0');
	}
	if (!open_row(&shard, "pg_dist_shard", "shardid", F_INT8EQ, Int64GetDatum(number)))
		return InvalidOid;
	table = DatumGetObjectId(row_column(&shard, "logicalrelid", REGCLASSOID));
	close_row(&shard);
	if (get_rel_namespace(table) != get_rel_namespace(relation))
		return InvalidOid;
	/* Citus shortens long names */
	whole = psprintf("%s%s", get_rel_name(table), end);
	return strlen(whole) >= NAMEDATALEN || strcmp(whole, name) == 0 ? table : InvalidOid;
}
