/*
 * source_parallel.c
 *	  Whether a source can be read in parallel mode.
 */
#include "postgres.h"
#include "compat.h"

#include "catalog/pg_proc.h"
#include "executor/spi.h"
#include "optimizer/clauses.h"
#include "utils/plancache.h"

#include "source_parallel.h"

static bool
has_unsafe(SPIPlanPtr plan)
{
	ListCell   *i;
	ListCell   *j;

	foreach(i, SPI_plan_get_plan_sources(plan))
		foreach(j, ((CachedPlanSource *) lfirst(i))->query_list)
			if (max_parallel_hazard(lfirst_node(Query, j)) == PROPARALLEL_UNSAFE)
				return true;
	return false;
}

bool
source_parallel_mode_ok(const Source *s, const SourceRange *range)
{
	SPIPlanPtr	plan;
	bool		ok;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	plan = SPI_prepare(source_query(s, range), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	ok = !has_unsafe(plan);
	SPI_finish();
	return ok;
}
