/*
 * rows/source_time.c
 *	  Times in a source that are found by counting rows.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "pg/timestamps.h"
#include "rows/source.h"
#include "rows/source_private.h"

bool
source_nth_time(const Source *s, Jsonb *series, bool after, int64 from, int64 n, int64 *ts)
{
	const char *column = quote_identifier(s->spec.timestamp_col);
	SourceScope scope = source_enter(&s->spec);
	StringInfoData where;
	bool		found = false;
	bool		isnull;
	Datum		value;
	int			rc;

	initStringInfo(&where);
	source_append_bound(&where, s, column, after ? ">" : "<", from);
	if (s->ts_type != INT8OID)
		source_append_bound(&where, s, column, after ? "<" : ">", after ? DT_NOEND : DT_NOBEGIN);
	if (series)
		source_append_series(&where, s, series);
	SPI_connect();
	/* the sort is by the bare column, for indexes */
	rc = SPI_execute(psprintf("SELECT t::pg_catalog.%s FROM (SELECT DISTINCT %s AS t FROM %s WHERE "
							  "%s"
							  " ORDER BY t %s LIMIT " INT64_FORMAT ") AS s OFFSET " INT64_FORMAT,
							  source_ts_read_name(s), column, s->from, where.data,
							  after ? "ASC" : "DESC", n, n - 1),
					 true, 0);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	if (SPI_processed == 1)
	{
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		found = !isnull && SPI_gettypeid(SPI_tuptable->tupdesc, 1) == source_ts_read_type(s) &&
			timestamps_value(source_ts_read_type(s), value, ts);
	}
	SPI_finish();
	source_leave(&scope);
	return found;
}
