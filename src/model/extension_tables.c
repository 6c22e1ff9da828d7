/*
 * model/extension_tables.c
 *	  Tables of the extension that are read without SQL, so that nothing attached to them runs.
 *
 * Such a table may be missing, as in a database whose extension has not been updated.  Its owner,
 * or a superuser, may have altered or replaced it, so it is checked each time.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "model/extension_tables.h"
#include "model/models_table.h"

static bool
has_usual_columns(TupleDesc desc, int ncolumns, const Oid *types)
{
	if (desc->natts < ncolumns)
		return false;
	for (int i = 0; i < ncolumns; i++)
		if (TupleDescAttr(desc, i)->attisdropped || TupleDescAttr(desc, i)->atttypid != types[i])
			return false;
	return true;
}

static Oid
relation_owner(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

Relation
extension_table_open(Oid schema, const char *name, int ncolumns, const Oid *types, LOCKMODE lock)
{
	Oid			oid = get_relname_relid(name, schema);
	Oid			models = get_relname_relid(MODELS_TABLE, schema);
	Relation	table = OidIsValid(oid) && OidIsValid(models) ? try_relation_open(oid, lock) : NULL;

	if (table == NULL)
		return NULL;
	if (table->rd_rel->relkind == RELKIND_RELATION && table->rd_rel->relam == HEAP_TABLE_AM_OID &&
		table->rd_rel->relowner == relation_owner(models) &&
		has_usual_columns(RelationGetDescr(table), ncolumns, types))
		return table;
	relation_close(table, lock);
	return NULL;
}
