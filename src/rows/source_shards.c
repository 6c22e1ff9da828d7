/*
 * rows/source_shards.c
 *	  The shards of a source that Citus distributes by a series column.
 *
 * Citus executes a query whose joins and groups have the distribution column on each shard, with the
 * name of the shard in place of that of the table.  So
 *
 *		SELECT r.*
 *		FROM (SELECT shard
 *			  FROM (SELECT DISTINCT device, CASE WHEN amad_first_call() THEN pg_typeof(source.*) END
 *					FROM readings AS source) AS k(series, shard)
 *			  WHERE CASE WHEN shard IS NOT NULL THEN amad_first_call() END) AS s
 *		CROSS JOIN LATERAL f(s.shard) AS r
 *
 * calls f once on the node of each shard that has rows, with the row type of the shard there, and
 * only the results of f travel.  It is an ordinary query: it runs in the transaction, and EXPLAIN
 * shows it.
 *
 * The row type, not the column tableoid: a partition's rows are converted to that of the shard,
 * columnar tables do not have the column, and Citus cannot read it of a table if no shard is left to
 * be read.  The condition is above DISTINCT, where it is evaluated once, because the function is
 * volatile; the planner would move it below GROUP BY, and evaluate it for each partition.  The inner
 * call spares making a value of each row.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "pg/call_arguments.h"
#include "pg/citus.h"
#include "pg/statements.h"
#include "rows/relation.h"
#include "rows/source_private.h"
#include "rows/source_shards.h"

#define FETCH_ROWS 1000

SQL_FUNCTION(amad_first_call);

/* → whether it is called for the first time while a query is executed */
Datum
amad_first_call(PG_FUNCTION_ARGS)
{
	const bool	first = fcinfo->flinfo->fn_extra == NULL;

	fcinfo->flinfo->fn_extra = fcinfo->flinfo;
	PG_RETURN_BOOL(first);
}

bool
source_is_distributed(const Source *s)
{
	const CitusTable kind = OidIsValid(s->relation) ? citus_table(s->relation) : CITUS_NONE;

	return kind == CITUS_DISTRIBUTED || kind == CITUS_REFERENCE;
}

bool
source_is_sharded(const Source *s, const char **column)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(s->relation)};
	StatementScope scope;
	const char *name;
	bool		sharded = false;

	*column = NULL;
	/* without the privilege on all columns, the rows are read from here */
	if (!OidIsValid(s->relation) || citus_table(s->relation) != CITUS_DISTRIBUTED ||
		pg_class_aclcheck(s->relation, OidIsValid(s->spec.reader) ? s->spec.reader : GetUserId(),
						  ACL_SELECT) != ACLCHECK_OK)
		return false;
	scope = statements_enter(InvalidOid);
	if (SPI_execute_with_args("SELECT column_to_column_name(logicalrelid, partkey)"
							  " FROM pg_dist_partition WHERE logicalrelid = $1 AND partmethod = "
							  "'h'",
							  1, types, values, NULL, true, 2) != SPI_OK_SELECT)
		elog(ERROR, "the distribution of a table could not be looked up");
	name = SPI_processed == 1 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)
							  : NULL;
	for (int i = 0; name != NULL && i < s->spec.nseries; i++)
		if (strcmp(s->spec.series_cols[i], name) == 0)
		{
			sharded = true;
			*column = MemoryContextStrdup(caller, quote_identifier(name));
		}
	statements_leave(&scope);
	return sharded;
}

char *
source_shards_query(const Source *s, const SourceRange *range, const char *column)
{
	char	   *schema = function_schema(s->spec.function);
	const char *first;
	StringInfoData where;

	first = quote_qualified_identifier(schema, "amad_first_call");
	initStringInfo(&where);
	source_append_range(&where, s, range);
	if (range->series)
		source_append_series(&where, s, range->series);
	return psprintf("SELECT shard FROM (SELECT DISTINCT %s, CASE WHEN %s() THEN "
					"pg_catalog.pg_typeof(source.*) END FROM %s%s%s) AS k(series, shard) "
					"WHERE CASE WHEN shard IS NOT NULL THEN %s() END",
					column, first, s->from, where.len > 0 ? " WHERE " : "", where.data, first);
}

/* Visits the rows of a cursor; *visiting is true meanwhile. */
static void
visit_result_rows(Portal portal, TupleDesc desc, source_row_visit visit, void *arg,
				  volatile bool *visiting)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "amad row of a shard",
												  ALLOCSET_DEFAULT_SIZES);
	Datum	   *values = palloc(sizeof(Datum) * desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * desc->natts);

	for (SPI_cursor_fetch(portal, true, FETCH_ROWS); SPI_processed > 0;
		 SPI_cursor_fetch(portal, true, FETCH_ROWS))
	{
		for (int i = 0; i < desc->natts; i++)
			relation_check_column("result", SPI_tuptable->tupdesc, i,
								  TupleDescAttr(desc, i)->atttypid, InvalidOid);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(context);

			CHECK_FOR_INTERRUPTS();
			heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, nulls);
			*visiting = true;
			visit(values, nulls, arg);
			*visiting = false;
			MemoryContextSwitchTo(old);
			MemoryContextReset(context);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

void
source_run_query(const Source *s, const char *query, int nargs, Oid *types, Datum *values,
				 const char *nulls, TupleDesc desc, source_row_visit visit, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	SourceScope scope = source_enter(&s->spec);
	volatile bool visiting = false;

	SPI_connect();
	PG_TRY();
	{
		visit_result_rows(SPI_cursor_open(NULL, source_prepare(&s->spec, query, nargs, types, 0),
										  values, nulls, true),
						  desc, visit, arg, &visiting);
	}
	PG_CATCH();
	{
		if (visiting)
			PG_RE_THROW();
		source_rethrow(&s->spec, caller);
	}
	PG_END_TRY();
	SPI_finish();
	source_leave(&scope);
}

char *
source_shard_name(Oid row_type)
{
	Oid			relation = get_typ_typrelid(row_type);
	char	   *name = OidIsValid(relation) ? get_rel_name(relation) : NULL;
	char	   *schema = name ? get_namespace_name(get_rel_namespace(relation)) : NULL;

	if (schema == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with row type %u does not exist", row_type)));
	return quote_qualified_identifier(schema, name);
}
