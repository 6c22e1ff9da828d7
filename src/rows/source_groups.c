/*
 * rows/source_groups.c
 *	  Values of the series of a source, computed where its rows are.
 *
 *		WITH amad_value AS MATERIALIZED (SELECT $1 AS value)
 *		SELECT c1, aggregates, count(c0 ORDER BY c0) FILTER (WHERE false)
 *		FROM (the query of the source, ordered by c1, c0) AS r GROUP BY c1 ORDER BY c1
 *
 * The last aggregate counts nothing.  As it has ORDER BY, series cannot be aggregated by hashing,
 * which would keep the rows of all of them at once, and in any order.  Citus sends the CTE to each
 * node as an intermediate result.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "rows/relation.h"
#include "rows/series_key.h"
#include "rows/source_groups.h"
#include "rows/source_private.h"

#define FETCH_GROUPS 50			/* of a cursor at once */

/* The names of the series columns in the query. */
static char *
list_group_columns(const Source *s)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(&list, "%sc%d", i > 0 ? ", " : "", i + 1);
	return list.data;
}

char *
source_row_columns(const Source *s)
{
	const int	label = 1 + s->spec.nseries + s->spec.nfeatures;
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "ROW(c0");
	for (int i = 0; i < s->spec.nfeatures; i++)
		appendStringInfo(&out, ", c%d", 1 + s->spec.nseries + i);
	if (s->spec.label_col == NULL)
		appendStringInfoString(&out, ", false)");
	else if (getBaseType(s->label_type) == BOOLOID)
		appendStringInfo(&out, ", c%d IS TRUE)", label);
	else
		appendStringInfo(&out, ", (c%d OPERATOR(pg_catalog.<>) 0) IS TRUE)", label);
	return out.data;
}

static char *
write_groups_query(const Source *s, const SourceRange *range, const SourceAggregates *a)
{
	const char *columns = list_group_columns(s);

	return psprintf("%sSELECT %s, %s, pg_catalog.count(c0 ORDER BY c0) FILTER (WHERE false) "
					"FROM (%s) AS r GROUP BY %s ORDER BY %s",
					OidIsValid(a->value_type)
						? "WITH amad_value AS MATERIALIZED (SELECT $1 AS value) "
						: "",
					columns, a->select, source_query(s, range), columns, columns);
}

/* Fetches the groups, and passes them on. */
static void
read_groups(const Source *s, const SourceAggregates *a, const char *query, source_group_visit visit,
			void	   *arg, bool *visiting)
{
	const int	nseries = s->spec.nseries;
	const int	n = nseries + a->n;
	Datum	   *values = palloc(sizeof(Datum) * (n + 1));
	bool	   *nulls = palloc(sizeof(bool) * (n + 1));
	Oid			type = a->value_type;
	Datum		value = a->value;
	SPIPlanPtr	plan = source_prepare(&s->spec, query, OidIsValid(type) ? 1 : 0, &type,
									 CURSOR_OPT_PARALLEL_OK);
	Portal		portal = SPI_cursor_open(NULL, plan, &value, NULL, false);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "amad group",
												  ALLOCSET_DEFAULT_SIZES);

	for (SPI_cursor_fetch(portal, true, FETCH_GROUPS); SPI_processed > 0;
		 SPI_cursor_fetch(portal, true, FETCH_GROUPS))
	{
		TupleDesc	desc = SPI_tuptable->tupdesc;

		for (int i = 0; i < n; i++)
			relation_check_column(source_label(s->spec.source), desc, i,
								  i < nseries ? s->series_types[i] : a->types[i - nseries],
								  i < nseries ? s->series_collations[i] : InvalidOid);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			MemoryContext old;

			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(context);
			old = MemoryContextSwitchTo(context);
			heap_deform_tuple(SPI_tuptable->vals[i], desc, values, nulls);
			*visiting = true;
			visit(series_key_of_row(nseries, s->spec.series_cols, s->series_types, values, nulls),
				  values + nseries, nulls + nseries, arg);
			*visiting = false;
			MemoryContextSwitchTo(old);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

void
source_scan_groups(const Source *s, const SourceRange *range, const SourceAggregates *a,
				   source_group_visit visit, void *arg)
{
	const char *query = write_groups_query(s, range, a);
	MemoryContext context = CurrentMemoryContext;
	SourceScope scope = source_enter(&s->spec);
	volatile bool visiting = false;

	ereport(DEBUG1, (errmsg_internal("amad computes values of series by: %s", query)));
	SPI_connect();
	PG_TRY();
	{
		read_groups(s, a, query, visit, arg, (bool *) &visiting);
	}
	PG_CATCH();
	{
		if (visiting)
			PG_RE_THROW();
		source_rethrow(&s->spec, context);
	}
	PG_END_TRY();
	SPI_finish();
	source_leave(&scope);
}
