/*
 * rows/source_narrow.c
 *	  Narrow sources: a row for each value, with a column that names the metric.
 *
 * The features of the model are metrics.  The query that reads the source groups its rows by
 * series and time, or by series and bucket of time, and the aggregate amad_pivot makes one row
 * of each group.  A bucket is labelled by its start.  A range of labels is also one of times, so
 * the bounds are conditions on the bare time column inside the grouping, where they reach
 * indexes and partitions.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "pg/call_arguments.h"
#include "pg/timestamps.h"
#include "rows/pivot.h"
#include "rows/relation.h"
#include "rows/source.h"
#include "rows/source_private.h"

/*
 * Buckets begin at multiples of their width from this Monday, as those of TimescaleDB's
 * time_bucket() do.
 */
#define ORIGIN_TEXT "2000-01-03"
#define ORIGIN (2 * USECS_PER_DAY)

#define REPEATED_ROWS 1000		/* source_repeated_rows() looks at */

/* ---- arguments ------------------------------------------------------------------------------ */

void
source_check_narrow(SourceSpec *spec)
{
	if ((spec->metric_col == NULL) != (spec->value_col == NULL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("metric_col and value_col must be specified together")));
	if (spec->metric_col == NULL && (spec->bucket || spec->aggregate))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s requires metric_col and value_col",
						spec->bucket ? "bucket" : "aggregate")));
	if (spec->metric_col && spec->aggregate == NULL)
		spec->aggregate = "avg";
	if (spec->aggregate)
		(void) pivot_kind(spec->aggregate);
}

static void
refuse_bucket(const Source *s, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid bucket \"%s\" for a time column of type %s", s->spec.bucket,
					format_type_be(s->ts_column_type)),
			 errdetail("%s", detail)));
}

/* The width of the bucket in units of the scored type. */
static int64
read_bucket(const Source *s)
{
	const Interval *interval;
	int64		width;

	if (s->ts_type == INT8OID)
	{
		char	   *end;

		errno = 0;
		width = strtoi64(s->spec.bucket, &end, 10);
		if (errno != 0 || end == s->spec.bucket || *end != '\0' || width <= 0 ||
			width > PG_INT64_MAX / 4)
			refuse_bucket(s, "It must be a positive number of units of the time column.");
		return width;
	}
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(s->spec.bucket),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	if (interval->month != 0)
		refuse_bucket(s, "Months and years differ in length.");
	if (pg_mul_s64_overflow(interval->day, USECS_PER_DAY, &width) ||
		pg_add_s64_overflow(width, interval->time, &width) || width <= 0 ||
		width > PG_INT64_MAX / 4)
		refuse_bucket(s, "It must be a positive interval.");
	if (s->ts_column_type == DATEOID && width % USECS_PER_DAY != 0)
		refuse_bucket(s, "It must be a number of days.");
	return width;
}

void
source_bind_narrow(Source *s)
{
	Oid			input;
	Oid			parameter;

	if (s->spec.bucket)
		s->bucket = read_bucket(s);
	/* the query returns a boolean whatever the type of the label */
	if (s->spec.label_col)
		s->label_is_number = getBaseType(s->label_type) != BOOLOID;
	s->label_type = BOOLOID;
	/* refuse here what is not a value of the type, without the text of the query */
	getTypeInputInfo(getBaseType(s->metric_type), &input, &parameter);
	for (int i = 0; i < s->spec.nfeatures; i++)
		(void) OidInputFunctionCall(input, s->spec.features[i], parameter, -1);
}

/* ---- buckets -------------------------------------------------------------------------------- */

int64
source_bucket_start(const Source *s, int64 ts)
{
	int64		rest;
	int64		start;

	if (s->bucket == 0 || !timestamps_finite(s->ts_type, ts))
		return ts;
	/* of remainders, not of ts, so that nothing overflows */
	rest = (ts % s->bucket - (s->ts_type == INT8OID ? 0 : ORIGIN) % s->bucket) % s->bucket;
	if (rest < 0)
		rest += s->bucket;
	return pg_sub_s64_overflow(ts, rest, &start) ? PG_INT64_MIN : start;
}

int64
source_bucket_end(const Source *s, int64 ts)
{
	int64		start = source_bucket_start(s, ts);
	int64		end;

	if (s->bucket == 0 || !timestamps_finite(s->ts_type, ts))
		return ts;
	if (pg_add_s64_overflow(start, s->bucket - 1, &end))
		return PG_INT64_MAX;
	return s->ts_type != INT8OID ? Min(end, END_TIMESTAMP - 1) : end;
}

int64
source_first_time(const Source *s, int64 ts)
{
	int64		start = source_bucket_start(s, ts);
	int64		next;

	if (start == ts)
		return ts;
	if (pg_add_s64_overflow(start, s->bucket, &next))
		return PG_INT64_MAX;
	return s->ts_type != INT8OID && !IS_VALID_TIMESTAMP(next) ? DT_NOEND : next;
}

/* Appends the start of the bucket of the time column, or the time itself. */
static void
append_bucket(StringInfo out, const Source *s, const char *ts)
{
	if (s->bucket == 0)
		appendStringInfoString(out, ts);
	else if (s->ts_column_type == DATEOID)
	{
		int64		days = s->bucket / USECS_PER_DAY;

		/* date_bin() would change the type, and has no place for infinite and late dates */
		appendStringInfo(out,
						 "CASE WHEN pg_catalog.isfinite(%s) THEN pg_catalog.date_mii(%s, "
						 "pg_catalog.mod(pg_catalog.int4pl(pg_catalog.mod(pg_catalog.date_mi(%s, "
						 "'" ORIGIN_TEXT "'::pg_catalog.date), " INT64_FORMAT "), " INT64_FORMAT
						 "), " INT64_FORMAT ")) ELSE %s END",
						 ts, ts, ts, days, days, days, ts);
	}
	else if (s->ts_type == INT8OID)
	{
		const char *rest =
			psprintf("pg_catalog.mod(pg_catalog.int8pl(pg_catalog.mod(%s, " INT64_FORMAT
					 "), " INT64_FORMAT "), " INT64_FORMAT ")",
					 ts, s->bucket, s->bucket, s->bucket);

		/* the first bucket may begin before the least number */
		appendStringInfo(out,
						 "CASE WHEN %s OPERATOR(pg_catalog.<) pg_catalog.int8pl('" INT64_FORMAT
						 "'::pg_catalog.int8, %s) THEN '" INT64_FORMAT
						 "'::pg_catalog.int8 ELSE pg_catalog.int8mi(%s, %s) END",
						 ts, PG_INT64_MIN, rest, PG_INT64_MIN, ts, rest);
	}
	else
		appendStringInfo(out,
						 "pg_catalog.date_bin('" INT64_FORMAT
						 ".%06d seconds'::pg_catalog.interval, "
						 "%s, '" ORIGIN_TEXT "%s'::pg_catalog.%s)",
						 s->bucket / USECS_PER_SEC, (int) (s->bucket % USECS_PER_SEC), ts,
						 s->ts_type == TIMESTAMPTZOID ? " 00:00:00+00" : "",
						 timestamps_type_name(s->ts_type));
}

/* ---- the query ------------------------------------------------------------------------------ */

/* Appends the metrics as an array of a type. */
static void
append_metric_array(StringInfo out, const Source *s, const char *type)
{
	for (int i = 0; i < s->spec.nfeatures; i++)
		appendStringInfo(out, "%s%s", i == 0 ? "ARRAY[" : ", ",
						 quote_literal_cstr(s->spec.features[i]));
	appendStringInfo(out, "]::%s[]", type);
}

void
source_append_metrics(StringInfo where, const Source *s)
{
	const Oid	type = getBaseType(s->metric_type);

	/* bpchar, not "character", which is character(1) */
	const char *name = format_type_extended(type, -1,
											FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);

	appendStringInfo(where, "%s%s", where->len > 0 ? " AND " : "",
					 quote_identifier(s->spec.metric_col));
	if (s->metric_type != type)
		appendStringInfo(where, "::%s", name);
	source_append_operator(where, lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr);
	appendStringInfoString(where, "ANY (");
	append_metric_array(where, s, name);
	appendStringInfoChar(where, ')');
}

/* The time column, cast. */
static char *
ts_column(const Source *s)
{
	return psprintf("%s::pg_catalog.%s", quote_identifier(s->spec.timestamp_col),
					source_ts_read_name(s));
}

/* Appends the source with conditions. */
static void
append_source(StringInfo out, const Source *s, const char *where)
{
	StringInfoData conditions;

	initStringInfo(&conditions);
	appendStringInfoString(&conditions, where);
	source_append_metrics(&conditions, s);
	appendStringInfo(out, " FROM %s WHERE %s", s->from, conditions.data);
}

/*
 * Appends the query for the groups.  The order and the number of groups belong to the query that
 * groups, so that the planner can end it early.  If most rows have a metric of the model, it takes
 * longer to filter them than to let the aggregate ignore the others.
 */
static void
append_groups(StringInfo out, const Source *s, const char *where, const char *order)
{
	const SourceSpec *spec = &s->spec;
	const char *ts = ts_column(s);
	const bool	all_rows = spec->all_metrics && spec->label_col == NULL;
	const char *schema = function_schema(spec->function);
	StringInfoData pivot;
	int			n;

	if (schema == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension amad was dropped")));

	/* the rows */
	appendStringInfoString(out, "SELECT c0");
	for (n = 1; n <= spec->nseries; n++)
		appendStringInfo(out, ", c%d", n);
	for (int i = 1; i <= spec->nfeatures; i++)
		appendStringInfo(out, ", p[%d] AS c%d", i, n++);
	if (spec->label_col)
		appendStringInfo(out, ", c%d", n);

	/* the groups, by series first, the order in which they are read and in which indexes have them */
	appendStringInfoString(out, " FROM (SELECT ");
	append_bucket(out, s, ts);
	appendStringInfoString(out, " AS c0");
	for (int i = 0; i < spec->nseries; i++)
		appendStringInfo(out, ", %s AS c%d", quote_identifier(spec->series_cols[i]), i + 1);
	initStringInfo(&pivot);
	appendStringInfo(&pivot, "%s.amad_pivot(%s::pg_catalog.text, %s, %s, ",
					 quote_identifier(schema), quote_identifier(spec->metric_col),
					 quote_identifier(spec->value_col), ts);
	append_metric_array(&pivot, s, "pg_catalog.text");
	appendStringInfo(&pivot, ", %s)", quote_literal_cstr(spec->aggregate));
	appendStringInfo(out, ", %s AS p", pivot.data);
	if (spec->label_col)
		appendStringInfo(out, ", pg_catalog.bool_or(%s%s) AS c%d",
						 quote_identifier(spec->label_col),
						 s->label_is_number ? " OPERATOR(pg_catalog.<>) 0" : "", n);
	if (all_rows)
		appendStringInfo(out, " FROM %s%s%s", s->from, where[0] == '\0' ? "" : " WHERE ", where);
	else
		append_source(out, s, where);
	appendStringInfoString(out, " GROUP BY ");
	for (int i = 0; i < spec->nseries; i++)
		appendStringInfo(out, "%d, ", i + 2);
	appendStringInfoChar(out, '1');
	if (all_rows)
		appendStringInfo(out, " HAVING %s IS NOT NULL", pivot.data);
	appendStringInfo(out, "%s) AS g", order);
}

void
source_append_narrow(StringInfo out, const Source *s, const char *where)
{
	append_groups(out, s, where, "");
}

void
source_append_keys(StringInfo out, const Source *s, const char *where)
{
	appendStringInfo(out, "SELECT %s AS c0", ts_column(s));
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(out, ", %s AS c%d", quote_identifier(s->spec.series_cols[i]), i + 1);
	append_source(out, s, where);
}

/* Appends the query for the label of the bucket of the newest row, or of the oldest one. */
static void
append_end_label(StringInfo out, const Source *s, const char *where, bool newest)
{
	appendStringInfoString(out, "SELECT ");
	append_bucket(out, s, ts_column(s));
	appendStringInfoString(out, " AS c0");
	append_source(out, s, where);
	appendStringInfo(out, " ORDER BY source.%s%s LIMIT 1", quote_identifier(s->spec.timestamp_col),
					 newest ? " DESC" : "");
}

/* A label `buckets` later than column c0, earlier if it is negative; the extreme if that is no time. */
static char *
shifted_label(const Source *s, int64 buckets)
{
	const bool	number = s->ts_type == INT8OID;
	const int64 most = PG_INT64_MAX / 4 / s->bucket;
	const int64 time = Max(-most, Min(most, buckets)) * s->bucket;
	const int64 distance = time < 0 ? -time : time;
	StringInfoData out;

	initStringInfo(&out);
	if (time < 0)
		source_append_bound(&out, s, "c0", ">=", (number ? PG_INT64_MIN : MIN_TIMESTAMP) - time);
	else
		source_append_bound(&out, s, "c0", "<", (number ? PG_INT64_MAX : END_TIMESTAMP - 1) - time);
	if (number)
		return psprintf("CASE WHEN %s THEN pg_catalog.int8pl(c0, " INT64_FORMAT
						") ELSE " INT64_FORMAT " END",
						out.data, time, time < 0 ? PG_INT64_MIN : PG_INT64_MAX);
	if (s->ts_column_type == DATEOID)
		return psprintf("CASE WHEN %s THEN pg_catalog.date_pli(c0, " INT64_FORMAT
						") ELSE '%sinfinity'::pg_catalog.date END",
						out.data, time / USECS_PER_DAY, time < 0 ? "-" : "");
	return psprintf("CASE WHEN %s THEN c0 OPERATOR(pg_catalog.%c) '" INT64_FORMAT
					".%06d seconds'::pg_catalog.interval ELSE '%sinfinity'::pg_catalog.%s END",
					out.data, time < 0 ? '-' : '+', distance / USECS_PER_SEC,
					(int) (distance % USECS_PER_SEC), time < 0 ? "-" : "",
					timestamps_type_name(s->ts_type));
}

/*
 * Without buckets, groups come from an index in order of time, and the query ends with the last
 * group.  The planner does not know that labels of buckets are in that order, too.  So the rows
 * of n consecutive buckets up to the newest are read ("recent").  As many buckets as are missing
 * among them are looked up in the index, each from the one after it ("steps"), and the rows
 * from the first of these on are read as well.
 */
void
source_append_newest(StringInfo out, const Source *s, const char *where, int64 n)
{
	const char *ts = quote_identifier(s->spec.timestamp_col);
	const char *begin = psprintf("%s%s", where, where[0] == '\0' ? "" : " AND ");
	const char *order = psprintf(" ORDER BY %s DESC LIMIT " INT64_FORMAT,
								 s->bucket == 0 ? "1" : "c0", n);

	if (s->bucket == 0)
	{
		append_groups(out, s, where, order);
		return;
	}
	appendStringInfo(out, "WITH RECURSIVE amad_first AS MATERIALIZED (SELECT %s AS c0 FROM (",
					 shifted_label(s, 1 - n));
	append_end_label(out, s, where, true);
	appendStringInfoString(out, ") AS newest), amad_recent AS MATERIALIZED (");
	append_groups(out, s,
				  psprintf("%s%s OPERATOR(pg_catalog.>=) (SELECT c0 FROM amad_first)", begin, ts),
				  "");
	appendStringInfoString(out,
						   "), amad_steps(c0, n) AS (SELECT c0, (SELECT pg_catalog.count(*) "
						   "FROM amad_recent) FROM amad_first UNION ALL SELECT earlier.c0, "
						   "steps.n OPERATOR(pg_catalog.+) 1 FROM amad_steps AS steps "
						   "CROSS JOIN LATERAL (");
	append_end_label(out, s, psprintf("%s%s OPERATOR(pg_catalog.<) steps.c0", begin, ts), true);
	appendStringInfo(out,
					 ") AS earlier WHERE steps.n OPERATOR(pg_catalog.<) " INT64_FORMAT
					 ") SELECT * FROM (SELECT * FROM amad_recent UNION ALL (",
					 n);
	append_groups(out, s,
				  psprintf("%s%s OPERATOR(pg_catalog.<) (SELECT c0 FROM amad_first) AND "
						   "%s OPERATOR(pg_catalog.>=) (SELECT pg_catalog.min(c0) FROM amad_steps)",
						   begin, ts, ts),
				  "");
	appendStringInfo(out, ")) AS g%s", order);
}

/* The same for the n oldest groups: every label is looked up, as n is small. */
void
source_append_oldest(StringInfo out, const Source *s, const char *where, int64 n)
{
	const char *ts = quote_identifier(s->spec.timestamp_col);
	const char *begin = psprintf("%s%s", where, where[0] == '\0' ? "" : " AND ");

	if (s->bucket == 0)
	{
		append_groups(out, s, where, psprintf(" ORDER BY 1 LIMIT " INT64_FORMAT, n));
		return;
	}
	appendStringInfoString(out, "WITH RECURSIVE amad_steps(c0, n) AS (SELECT c0, 1 FROM (");
	append_end_label(out, s, where, false);
	appendStringInfo(out,
					 ") AS oldest UNION ALL SELECT later.c0, ends.n OPERATOR(pg_catalog.+) 1 FROM "
					 "(SELECT %s AS c1, n FROM amad_steps) AS ends CROSS JOIN LATERAL (",
					 shifted_label(s, 1));
	append_end_label(out, s, psprintf("%s%s OPERATOR(pg_catalog.>=) ends.c1", begin, ts), false);
	appendStringInfo(out, ") AS later WHERE ends.n OPERATOR(pg_catalog.<) " INT64_FORMAT ") ", n);
	append_groups(out, s,
				  psprintf("%s%s OPERATOR(pg_catalog.<) (SELECT %s FROM (SELECT "
						   "pg_catalog.max(c0) AS c0 FROM amad_steps) AS m)",
						   begin, ts, shifted_label(s, 1)),
				  "");
}

/* ---- metrics -------------------------------------------------------------------------------- */

int64
source_repeated_rows(const Source *s, const SourceRange *range, int64 *rows)
{
	const char *ts = quote_identifier(s->spec.timestamp_col);
	SourceScope scope = source_enter(&s->spec);
	StringInfoData where;
	StringInfoData query;
	int64		counts[2];

	initStringInfo(&where);
	source_append_range(&where, s, range);
	appendStringInfo(&where, "%s%s IS NOT NULL", where.len > 0 ? " AND " : "", ts);
	initStringInfo(&query);
	appendStringInfo(&query, "WITH amad_newest AS MATERIALIZED (SELECT %s", ts);
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(&query, ", %s", quote_identifier(s->spec.series_cols[i]));
	appendStringInfo(&query, ", %s::pg_catalog.text", quote_identifier(s->spec.metric_col));
	append_source(&query, s, where.data);
	appendStringInfo(&query,
					 " ORDER BY source.%s DESC LIMIT %d) "
					 "SELECT (SELECT pg_catalog.count(*) FROM amad_newest), "
					 "(SELECT pg_catalog.count(*) FROM (SELECT DISTINCT * FROM amad_newest) AS d)",
					 ts, REPEATED_ROWS);
	SPI_connect();
	if (SPI_execute(query.data, true, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(SPI_result));
	for (int i = 0; i < 2; i++)
	{
		bool		isnull;

		counts[i] = DatumGetInt64(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull));
	}
	SPI_finish();
	source_leave(&scope);
	*rows = counts[0];
	return counts[0] - counts[1];
}

void
source_find_metrics(Source *s, const SourceRange *range)
{
	const char *metric = quote_identifier(s->spec.metric_col);
	MemoryContext caller = CurrentMemoryContext;
	SourceScope scope = source_enter(&s->spec);
	StringInfoData from;
	uint64		n;

	initStringInfo(&from);
	source_append_range(&from, s, range);
	appendStringInfo(&from, "%s%s IS NOT NULL", from.len > 0 ? " AND " : "", metric);
	SPI_connect();
	if (SPI_execute(psprintf("SELECT DISTINCT %s::pg_catalog.text COLLATE pg_catalog.\"C\""
							 " FROM %s WHERE %s ORDER BY 1",
							 metric, s->from, from.data),
					true, METRICS_MAX + 1) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(SPI_result));
	n = SPI_processed;
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 range->has_since || range->has_until
					 ? errmsg("%s has no rows in the range", source_label(s->spec.source))
					 : errmsg("%s has no rows", source_label(s->spec.source)),
				 source_errcontext(s->spec.source)));
	if (n > METRICS_MAX)
	{
		SPI_execute(psprintf("SELECT pg_catalog.count(DISTINCT %s::pg_catalog.text)"
							 " FROM %s WHERE %s",
							 metric, s->from, from.data),
					true, 0);
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("cannot use %s metrics as features, the limit is %d",
						SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), METRICS_MAX),
				 errhint("Name the metrics in feature_cols.")));
	}
	MemoryContextSwitchTo(caller);
	s->spec.features = palloc(sizeof(char *) * n);
	s->feature_types = palloc(sizeof(Oid) * n);
	for (uint64 i = 0; i < n; i++)
	{
		s->spec.features[i] = MemoryContextStrdup(caller,
												  SPI_getvalue(SPI_tuptable->vals[i],
															   SPI_tuptable->tupdesc, 1));
		s->feature_types[i] = FLOAT8OID;
	}
	s->spec.nfeatures = (int) n;
	s->spec.all_metrics = true;
	SPI_finish();
	source_leave(&scope);
}
