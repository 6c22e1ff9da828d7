/*
 * rows/source_query.c
 *	  The query that reads a source.
 *
 * It casts the time column, selects the series columns, the features and the label,
 * restricts them to the range, and sorts by series and time.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "pg/timestamps.h"
#include "rows/source.h"
#include "rows/source_private.h"

/* The type that the query casts the time column to; dates are converted by timestamps_value(). */
Oid
source_ts_read_type(const Source *s)
{
	return s->ts_column_type == DATEOID ? DATEOID : s->ts_type;
}

/* Its name, in pg_catalog. */
const char *
source_ts_read_name(const Source *s)
{
	return source_ts_read_type(s) == DATEOID ? "date" : timestamps_type_name(s->ts_type);
}

/* Appends a condition on the bare time column, so that indexes and partitions can be used. */
void
source_append_bound(StringInfo out, const Source *s, const char *column, const char *operator,
					int64 ts)
{
	appendStringInfo(out, "%s%s OPERATOR(pg_catalog.%s) %s::pg_catalog.%s",
					 out->len > 0 ? " AND " : "", column, operator,
					 quote_literal_cstr(timestamps_literal(s->ts_type, ts)),
					 timestamps_type_name(s->ts_type));
}

/* Appends the columns c0 (ts), c1 ... (series columns, features, label) of the query. */
static void
append_columns(StringInfo out, const Source *s)
{
	int			n = 0;

	appendStringInfo(out, "%s::pg_catalog.%s AS c%d", quote_identifier(s->spec.timestamp_col),
					 source_ts_read_name(s), n++);
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(out, ", %s AS c%d", quote_identifier(s->spec.series_cols[i]), n++);
	for (int i = 0; i < s->spec.nfeatures; i++)
		appendStringInfo(out, ", %s AS c%d", quote_identifier(s->spec.features[i]), n++);
	if (s->spec.label_col)
		appendStringInfo(out, ", %s AS c%d", quote_identifier(s->spec.label_col), n++);
}

/*
 * Appends the query for the rows of the source that meet conditions on its own columns.  All
 * forms of the query consist of such parts, which end with a WHERE clause or with the source.
 */
static void
append_rows(StringInfo out, const Source *s, const char *conditions)
{
	if (s->spec.metric_col)
	{
		source_append_narrow(out, s, conditions);
		return;
	}
	appendStringInfoString(out, "SELECT ");
	append_columns(out, s);
	appendStringInfo(out, " FROM %s%s%s", s->from, conditions[0] == '\0' ? "" : " WHERE ",
					 conditions);
}

/* The series columns as the beginning of a sort key: "c1, c2, ". */
static char *
series_list(const Source *s)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(&list, "c%d, ", i + 1);
	return list.data;
}

/*
 * The query for the rows with the last_n newest timestamps of each series among the rows of
 * a query, plus all rows from until on.
 */
static char *
newest_rows(const Source *s, const SourceRange *range, const char *rows)
{
	const char *series = series_list(s);
	StringInfoData partition;
	StringInfoData after;

	initStringInfo(&partition);
	initStringInfo(&after);
	if (range->has_until && range->read_until != range->until)
		source_append_bound(&after, s, "c0", ">=", range->until);
	appendStringInfo(&partition, "%s%s", series, after.data);
	if (after.len == 0 && partition.len > 0)
		partition.data[partition.len - 2] = '\0';	/* the last comma */
	return psprintf("SELECT * FROM (SELECT *, pg_catalog.dense_rank() OVER "
					"(%s%s ORDER BY c0 DESC NULLS LAST) AS number FROM (%s) AS r) AS n "
					"WHERE number OPERATOR(pg_catalog.<=) " INT64_FORMAT "%s%s ORDER BY %sc0",
					partition.len > 0 ? "PARTITION BY " : "", partition.data, rows, range->last_n,
					after.len > 0 ? " OR " : "", after.data, series);
}

char *
source_query(const Source *s, const SourceRange *range)
{
	const char *ts = quote_identifier(s->spec.timestamp_col);
	StringInfoData where;
	StringInfoData rows;

	initStringInfo(&where);
	if (range->has_since)
		source_append_bound(&where, s, ts, ">=", source_first_time(s, range->since));
	if (range->has_until)
		source_append_bound(&where, s, ts, "<", source_first_time(s, range->read_until));
	if (range->series)
		source_append_series(&where, s, range->series);
	initStringInfo(&rows);
	append_rows(&rows, s, where.data);
	if (range->last_n > 0)
		return newest_rows(s, range, rows.data);
	appendStringInfo(&rows, " ORDER BY %sc0", series_list(s));
	return rows.data;
}
