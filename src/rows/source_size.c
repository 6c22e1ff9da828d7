/*
 * rows/source_size.c
 *	  The number of rows of a source, as estimated by the planner, or counted.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "executor/spi.h"
#include "nodes/plannodes.h"
#include "utils/builtins.h"
#include "utils/plancache.h"

#include "pg/elapsed.h"
#include "pg/progress.h"
#include "rows/source.h"
#include "rows/source_private.h"

/* The planner's estimate of the rows that source_scan() reads. */
static double
estimate_source_rows(const Source *s, const SourceRange *range)
{
	SourceScope scope = source_enter(&s->spec);
	SPIPlanPtr	plan;
	CachedPlan *cached;
	double		rows = 0;

	SPI_connect();
	plan = SPI_prepare(source_query(s, range), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	cached = SPI_plan_get_cached_plan(plan);
	if (cached)
	{
		PlannedStmt *statement = linitial_node(PlannedStmt, cached->stmt_list);

		rows = statement->planTree ? statement->planTree->plan_rows : 0;
		ReleaseCachedPlan(cached, NULL);
	}
	SPI_finish();
	source_leave(&scope);
	return rows;
}

SourceSize
source_count(const Source *s, int64 least)
{
	const SourceRange everything = {.last_n = 0};
	SourceScope scope = source_enter(&s->spec);
	SourceSize	size = {0};
	int64 *counts[] = {&size.series, &size.rows, &size.used_series, &size.used_rows, &size.largest};
	StringInfoData query;
	instr_time	start;
	int64		first;
	int64		last;

	initStringInfo(&query);
	appendStringInfo(&query,
					 "SELECT pg_catalog.count(*), pg_catalog.sum(n)::pg_catalog.int8, "
					 "pg_catalog.count(*) FILTER (WHERE used), "
					 "pg_catalog.sum(n) FILTER (WHERE used)::pg_catalog.int8, pg_catalog.max(n) "
					 "FROM (SELECT pg_catalog.count(*) AS n, "
					 "pg_catalog.count(*) OPERATOR(pg_catalog.>=) " INT64_FORMAT " AS used FROM %s",
					 least, s->from);
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(&query, "%s%s", i == 0 ? " GROUP BY " : ", ",
						 quote_identifier(s->spec.series_cols[i]));
	appendStringInfoString(&query, ") AS series");
	INSTR_TIME_SET_CURRENT(start);
	SPI_connect();
	if (SPI_execute(query.data, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "SPI_execute failed: %s", query.data);
	for (int i = 0; i < lengthof(counts); i++)
	{
		bool		isnull;
		Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull);

		*counts[i] = isnull ? 0 : DatumGetInt64(value);
	}
	SPI_finish();
	size.seconds = seconds_since(start);
	source_leave(&scope);
	if (source_span(s, &everything, &first, &last))
		size.span = (double) last - first;
	return size;
}

void
source_report_row(const Source *s, const SourceRange *range)
{
	progress_add(1);
	if (progress_wants_total())
		progress_set_total(estimate_source_rows(s, range));
}
