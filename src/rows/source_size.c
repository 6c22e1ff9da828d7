/*
 * rows/source_size.c
 *	  The number of rows of a source, as estimated by the planner.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "executor/spi.h"
#include "nodes/plannodes.h"
#include "utils/plancache.h"

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

void
source_report_row(const Source *s, const SourceRange *range)
{
	progress_add(1);
	if (progress_wants_total())
		progress_set_total(estimate_source_rows(s, range));
}
