/*
 * rows/source_time.c
 *	  Times in a source that are found by counting its rows.
 *
 * They are counted as the rows of the model are: those of a narrow source have a metric of the
 * model, and are its buckets.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "executor/spi.h"
#include "utils/builtins.h"

#include "pg/timestamps.h"
#include "rows/source.h"
#include "rows/source_private.h"

bool
source_nth_time(const Source *s, Jsonb *series, bool after, int64 from, int64 n, int64 *ts)
{
	const SourceRange range = {
		.has_since = true,
		.since = after ? from + 1 : from,
		.series = series,
		.form = SOURCE_SINGLE,
	};
	const char *query = source_nth_query(s, &range, after, n);
	MemoryContext context = CurrentMemoryContext;
	SourceScope scope = source_enter(&s->spec);
	SPIExecuteOptions options = {.params = NULL, .read_only = true};
	bool		found = false;
	volatile int rc = 0;

	SPI_connect();
	options.params = source_parameters(s, &range);
	PG_TRY();
	{
		rc = SPI_execute_plan_extended(source_plan(s, query, source_generic_plan()), &options);
	}
	PG_CATCH();
	{
		source_rethrow(&s->spec, context);
	}
	PG_END_TRY();
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	if (SPI_processed == 1)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		found = !isnull && SPI_gettypeid(SPI_tuptable->tupdesc, 1) == source_ts_read_type(s) &&
			timestamps_value(source_ts_read_type(s), value, ts);
	}
	SPI_finish();
	source_leave(&scope);
	return found;
}
