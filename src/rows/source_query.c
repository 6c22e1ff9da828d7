/*
 * rows/source_query.c
 *	  The query that reads a source.
 *
 * Its parts select rows of the source: the time column as c0, the series columns, the features
 * and the label.  There are four forms (source_form.c chooses):
 *
 * SOURCE_ONCE reads all rows between two times, sorted by series and time, or numbers them from
 * the newest.  SOURCE_SINGLE combines up to three parts with the rows of one series:
 *
 *		the rows before the range, newest first, as many as needed
 *		the rows in the range
 *		the rows after it, up to the last timestamp needed
 *
 * The other two do so for each of the series, by CROSS JOIN LATERAL.  The series are those of the
 * rows in the range, or they are found by steps, each of which looks the next series up in the
 * index.  The equality operator does not find series with null in a series column.  So a
 * branch of its own reads some rows of these series, for which the visitor scans each of them.
 *
 * WITH gives a query names that a source which is a query would see, too.  So they begin with
 * amad_.
 *
 * A part that ends with LIMIT asks for one row more than needed: without duplicates, the last
 * row is the only one that may have duplicates that were not read.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "pg/call_arguments.h"
#include "pg/json.h"
#include "pg/timestamps.h"
#include "rows/source.h"
#include "rows/source_groups.h"
#include "rows/source_private.h"

#define FIRST_LATE_DATE "294277-01-01"	/* later dates are not times, either */

/* What the parts of a query have in common. */
typedef struct Writing
{
	const Source *source;
	const SourceRange *range;
	bool		literals;		/* for EXPLAIN: no parameters */
	bool		single;			/* the conditions on series leave one */
	bool		nulls;			/* a series column may be null */
	const char *series;			/* conditions that select series */
} Writing;

/* ---- columns ------------------------------------------------------------------------------ */

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

/* Whether a table and all that inherit from it declare a column NOT NULL. */
bool
source_not_null(const Source *s, const char *column)
{
	List	   *tables;
	ListCell   *cell;
	bool		result = OidIsValid(s->relation);

	if (!result)
		return false;
	tables = has_subclass(s->relation) && get_rel_relkind(s->relation) == RELKIND_RELATION
		? find_all_inheritors(s->relation, AccessShareLock, NULL)
		: list_make1_oid(s->relation);
	foreach(cell, tables)
	{
		Relation	table = relation_open(lfirst_oid(cell), AccessShareLock);
		AttrNumber	number = get_attnum(RelationGetRelid(table), column);

		result = result && number > 0 && column_is_not_null(RelationGetDescr(table), number - 1);
		relation_close(table, NoLock);
	}
	return result;
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

/* The names of the series columns in a list, for example "c1, c2, ". */
static char *
list_series_columns(const Source *s, const char *prefix)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(&list, "%s%d, ", prefix, i + 1);
	return list.data;
}

/* The same without the comma at the end. */
static char *
join_series(const Source *s, const char *prefix)
{
	char	   *list = list_series_columns(s, prefix);

	list[strlen(list) - 2] = '\0';
	return list;
}

/* ---- conditions --------------------------------------------------------------------------- */

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

void
source_append_range(StringInfo out, const Source *s, const SourceRange *range)
{
	const char *ts = quote_identifier(s->spec.timestamp_col);

	if (range->has_since)
		source_append_bound(out, s, ts, ">=", source_first_time(s, range->since));
	if (range->has_until)
		source_append_bound(out, s, ts, "<", source_first_time(s, range->until));
}

void
source_append_times(StringInfo out, const Source *s, int64 first, int64 last)
{
	const char *ts = quote_identifier(s->spec.timestamp_col);

	if (first > PG_INT64_MIN)
		source_append_bound(out, s, ts, ">=", first);
	if (last < PG_INT64_MAX)
		source_append_bound(out, s, ts, "<=", last);
}


/* Appends a condition that compares the time column with a bound of the range. */
static void
append_range_bound(StringInfo where, const Writing *q, const char *operator, int number)
{
	const char *ts = quote_identifier(q->source->spec.timestamp_col);

	if (q->literals)
		source_append_bound(where, q->source, ts, operator,
							source_first_time(q->source,
											  number == PARAM_SINCE ? q->range->since
																	: q->range->until));
	else
		appendStringInfo(where, "%s%s OPERATOR(pg_catalog.%s) $%d", where->len > 0 ? " AND " : "",
						 ts, operator, number);
}

/* Appends a condition for all rows with a finite time on one side. */
static void
append_finite(StringInfo where, const Writing *q, const char *operator, int64 infinity)
{
	if (q->source->ts_type != INT8OID)
		source_append_bound(where, q->source,
							quote_identifier(q->source->spec.timestamp_col), operator, infinity);
}

void
source_append_operator(StringInfo out, Oid operator)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	char	   *schema = HeapTupleIsValid(tuple)
		? get_namespace_name(((Form_pg_operator) GETSTRUCT(tuple))->oprnamespace)
		: NULL;

	if (schema == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("operator with OID %u was concurrently dropped", operator)));
	appendStringInfo(out, " OPERATOR(%s.%s) ", quote_identifier(schema),
					 NameStr(((Form_pg_operator) GETSTRUCT(tuple))->oprname));
	ReleaseSysCache(tuple);
}

char *
source_cast(const Source *s, int number)
{
	const Oid	type = s->series_types[number];
	const Oid	base = getBaseType(type);
	Oid			left;
	Oid			right;

	if (type == base)
		return "";
	op_input_types(lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr, &left, &right);
	return IsPolymorphicType(left) ? psprintf("::%s", format_type_be_qualified(base)) : "";
}

void
source_append_equalities(StringInfo where, const Source *s, const char *prefix, int first,
						 const bool *nulls)
{
	for (int i = 0; i < s->spec.nseries; i++)
	{
		const char *cast = source_cast(s, i);

		appendStringInfo(where, "%s%s", where->len > 0 ? " AND " : "",
						 quote_identifier(s->spec.series_cols[i]));
		if (nulls && nulls[i])
		{
			appendStringInfoString(where, " IS NULL");
			continue;
		}
		appendStringInfoString(where, cast);
		source_append_operator(where,
							   lookup_type_cache(s->series_types[i], TYPECACHE_EQ_OPR)->eq_opr);
		appendStringInfo(where, "%s%d%s", prefix, first + i, cast);
	}
}

/* Appends a condition that no series column is null, or that one is. */
static void
append_null_condition(StringInfo where, const Writing *q, bool null)
{
	const SourceSpec *spec = &q->source->spec;

	if (!q->nulls)
		return;
	appendStringInfo(where, "%s(", where->len > 0 ? " AND " : "");
	for (int i = 0; i < spec->nseries; i++)
		appendStringInfo(where, "%s%s %s",
						 i == 0		? ""
							 : null ? " OR "
									: " AND ",
						 quote_identifier(spec->series_cols[i]), null ? "IS NULL" : "IS NOT NULL");
	appendStringInfoChar(where, ')');
}

bool
source_single_series(const Source *s, const SourceRange *range, Datum *values, bool *nulls)
{
	int			n = 0;

	if (range->series_values)
	{
		memcpy(values, range->series_values, sizeof(Datum) * s->spec.nseries);
		memcpy(nulls, range->series_nulls, sizeof(bool) * s->spec.nseries);
		return true;
	}
	if (range->series == NULL || !JB_ROOT_IS_OBJECT(range->series) ||
		JB_ROOT_COUNT(range->series) != s->spec.nseries)
		return s->spec.nseries == 0;
	for (int i = 0; i < s->spec.nseries; i++)
	{
		JsonbValue *value = json_get(&range->series->root, s->spec.series_cols[i]);
		Oid			input;
		Oid			element;

		if (value == NULL || value->type == jbvBinary)
			break;
		n++;
		nulls[i] = value->type == jbvNull;
		if (nulls[i])
			continue;
		getTypeInputInfo(getBaseType(s->series_types[i]), &input, &element);
		values[i] = OidInputFunctionCall(input, json_scalar_text(value), element, -1);
	}
	return n == s->spec.nseries;
}

/* ---- parts -------------------------------------------------------------------------------- */

/*
 * Appends the query for the rows of the source that meet conditions on its own columns.  All
 * forms of the query consist of such parts, which end with a WHERE clause or with the source.
 */
static void
append_source_rows(StringInfo out, const Source *s, const char *conditions)
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

/* The same for queries that need the time and the series columns only, as they are. */
static void
append_keys(StringInfo out, const Source *s, const char *conditions)
{
	if (s->spec.metric_col)
		source_append_keys(out, s, conditions);
	else
		append_source_rows(out, s, conditions);
}

/* The time column in ORDER BY, where c0 is not the column itself if it was cast. */
static char *
ts_order(const Source *s)
{
	return psprintf("source.%s", quote_identifier(s->spec.timestamp_col));
}

/* Appends the query for the `n` newest rows that meet conditions. */
static void
append_newest(StringInfo out, const Source *s, const char *conditions, int64 n)
{
	if (s->spec.metric_col)
	{
		source_append_newest(out, s, conditions, n);
		return;
	}
	append_source_rows(out, s, conditions);
	appendStringInfo(out, " ORDER BY %s DESC LIMIT " INT64_FORMAT, ts_order(s), n);
}

/* Conditions for the part of the rows of one series that a condition begins. */
static StringInfoData
begin_part(const char *equalities)
{
	StringInfoData where;

	initStringInfo(&where);
	appendStringInfoString(&where, equalities);
	return where;
}

/* Conditions for the part of one series that is in the range. */
static StringInfoData
begin_range_part(const Writing *q, const char *equalities)
{
	StringInfoData where = begin_part(equalities);

	if (q->range->has_since)
		append_range_bound(&where, q, ">=", PARAM_SINCE);
	if (q->range->has_until)
		append_range_bound(&where, q, "<", PARAM_UNTIL);
	return where;
}

static void
append_range_part(StringInfo out, const Writing *q, const char *equalities)
{
	append_source_rows(out, q->source, begin_range_part(q, equalities).data);
}

/*
 * Appends the part after the range, which ends with the last timestamp needed.  There may be
 * duplicates, so the timestamps are counted first.
 */
static void
append_part_after(StringInfo out, const Writing *q, const char *equalities, const char *numbers)
{
	const char *ts = quote_identifier(q->source->spec.timestamp_col);
	StringInfoData where = begin_part(equalities);
	StringInfoData last;

	if (q->range->after == 0 || !q->range->has_until)
		return;
	append_range_bound(&where, q, ">=", PARAM_UNTIL);
	append_finite(&where, q, "<", DT_NOEND);
	initStringInfo(&last);
	if (q->source->spec.metric_col)
	{
		/* no duplicates */
		source_append_oldest(&last, q->source, where.data, q->range->after);
		appendStringInfo(out, " UNION ALL (SELECT r.*%s FROM (%s) AS r)", numbers, last.data);
		return;
	}
	append_source_rows(&last, q->source, where.data);
	appendStringInfo(&where,
					 " AND %s OPERATOR(pg_catalog.<=) (SELECT pg_catalog.max(c0) FROM "
					 "(SELECT DISTINCT c0 FROM (%s) AS r ORDER BY c0 LIMIT %d) AS m)",
					 ts, last.data, q->range->after);
	resetStringInfo(&last);
	append_source_rows(&last, q->source, where.data);
	appendStringInfo(out, " UNION ALL (SELECT r.*%s FROM (%s) AS r)", numbers, last.data);
}

/* The query for the rows of one series from since on, and around the range. */
static char *
series_since(const Writing *q, const char *equalities)
{
	const char *ts = q->source->spec.metric_col ? "c0" : ts_order(q->source);
	StringInfoData out;
	StringInfoData where = begin_part(equalities);

	initStringInfo(&out);
	if (q->range->before > 0)
	{
		append_range_bound(&where, q, "<", PARAM_SINCE);
		appendStringInfoString(&out, "(SELECT * FROM (");
		append_newest(&out, q->source, where.data, q->range->before + 1);
		appendStringInfo(&out, ") AS r%s) UNION ALL ", q->single ? " ORDER BY c0" : "");
	}
	appendStringInfoChar(&out, '(');
	append_range_part(&out, q, equalities);
	/* for one series, the parts are merged instead of sorted */
	appendStringInfo(&out, "%s%s)", q->single ? " ORDER BY " : "", q->single ? ts : "");
	append_part_after(&out, q, equalities, "");
	return out.data;
}

/*
 * The query for the last_n newest timestamps of one series and the rows around them.  number
 * counts timestamps from the newest, place counts rows.
 */
static char *
series_last(const Writing *q, const char *equalities)
{
	const char *ts = quote_identifier(q->source->spec.timestamp_col);
	StringInfoData out;
	StringInfoData where = begin_part(equalities);
	bool nulls = !q->range->has_until && !source_not_null(q->source, q->source->spec.timestamp_col);

	if (q->range->has_until)
		append_range_bound(&where, q, "<", PARAM_UNTIL);
	else if (nulls)
		appendStringInfo(&where, "%s%s IS NOT NULL", where.len > 0 ? " AND " : "", ts);
	initStringInfo(&out);
	appendStringInfoString(&out,
						   "(SELECT r.*, pg_catalog.dense_rank() OVER w AS number, "
						   "pg_catalog.row_number() OVER w AS place FROM ((");
	append_newest(&out, q->source, where.data, q->range->last_n + q->range->before + 1);
	appendStringInfoChar(&out, ')');
	if (nulls)
	{
		where = begin_part(equalities);
		appendStringInfo(&where, "%s%s IS NULL", where.len > 0 ? " AND " : "", ts);
		appendStringInfoString(&out, " UNION ALL (");
		append_source_rows(&out, q->source, where.data);
		appendStringInfoChar(&out, ')');
	}
	appendStringInfo(&out, ") AS r WINDOW w AS (ORDER BY c0 DESC%s))", nulls ? " NULLS LAST" : "");
	append_part_after(&out, q, equalities, ", 0::pg_catalog.int8, 0::pg_catalog.int8");
	return out.data;
}

/* ---- SOURCE_ONCE -------------------------------------------------------------------------- */

/*
 * The query for the rows with the newest timestamps of each series among the rows of a query,
 * plus all rows from until on.
 */
static char *
newest_rows(const Writing *q, const char *rows, int64 timestamps)
{
	const SourceRange *range = q->range;
	const char *series = q->single ? "" : list_series_columns(q->source, "c");
	StringInfoData partition;
	StringInfoData after;

	initStringInfo(&partition);
	initStringInfo(&after);
	if (range->has_until && range->around && range->read_until != range->until)
		source_append_bound(&after, q->source, "c0", ">=", range->until);
	appendStringInfo(&partition, "%s%s", series, after.data);
	if (after.len == 0 && partition.len > 0)
		partition.data[partition.len - 2] = '\0';	/* the last comma */
	return psprintf("SELECT * FROM (SELECT *, pg_catalog.dense_rank() OVER "
					"(%s%s ORDER BY c0 DESC%s) AS number FROM (%s) AS r) AS n "
					"WHERE number OPERATOR(pg_catalog.<=) " INT64_FORMAT "%s%s",
					partition.len > 0 ? "PARTITION BY " : "", partition.data,
					range->has_until ? "" : " NULLS LAST", rows, timestamps,
					after.len > 0 ? " OR " : "", after.data);
}

/* The query that reads all series at once; conditions: on series. */
static char *
read_once(const Writing *q)
{
	const SourceRange *range = q->range;
	const char *ts = quote_identifier(q->source->spec.timestamp_col);
	const char *series = q->single ? "" : list_series_columns(q->source, "c");
	StringInfoData where = begin_part("");
	StringInfoData rows;

	if (range->has_since && !range->around)
		append_range_bound(&where, q, ">=", PARAM_SINCE);
	else if (range->has_since && range->read_since > PG_INT64_MIN)
		source_append_bound(&where, q->source, ts,
							">=", source_first_time(q->source, range->read_since));
	if (range->has_until && !range->around)
		append_range_bound(&where, q, "<", PARAM_UNTIL);
	else if (range->has_until)
		source_append_bound(&where, q->source, ts, "<",
							source_first_time(q->source, range->read_until));
	if (q->series[0] != '\0')
		appendStringInfo(&where, "%s%s", where.len > 0 ? " AND " : "", q->series);
	initStringInfo(&rows);
	append_source_rows(&rows, q->source, where.data);
	return psprintf("%s ORDER BY %sc0",
					range->last_n > 0 ? newest_rows(q, rows.data, range->last_n + range->before)
									  : rows.data,
					series);
}

/* ---- by index ----------------------------------------------------------------------------- */

/* The query for the series of the rows in the range. */
static char *
series_in_range(const Writing *q)
{
	StringInfoData where = begin_part(q->series);
	StringInfoData out;

	append_null_condition(&where, q, false);
	initStringInfo(&out);
	appendStringInfo(&out, "SELECT DISTINCT %s FROM (", join_series(q->source, "c"));
	append_keys(&out, q->source, begin_range_part(q, where.data).data);
	appendStringInfo(&out, ") AS r ORDER BY %s", join_series(q->source, "c"));
	return out.data;
}

/* Appends the series after that of $n or k.k1 …, in the order of the index. */
static bool
append_next_series(StringInfo out, const Writing *q, const char *conditions, const char *prefix,
				   int first)
{
	const Source *s = q->source;
	const char *columns = join_series(s, "c");
	StringInfoData row;

	appendStringInfo(out, "SELECT %s FROM (", columns);
	append_keys(out, s, conditions);
	appendStringInfo(out, ") AS r WHERE ROW(%s)", columns);
	/* a comparison of rows is written with one operator for all columns */
	for (int i = 0; i < s->spec.nseries; i++)
	{
		Oid operator= lookup_type_cache(s->series_types[i], TYPECACHE_GT_OPR)->gt_opr;

		if (!OidIsValid(operator) || source_cast(s, i)[0] != '\0')
			return false;
		initStringInfo(&row);
		source_append_operator(&row, operator);
		if (s->spec.nseries > 1 && strcmp(row.data, " OPERATOR(pg_catalog.>) ") != 0)
			return false;
	}
	appendStringInfoString(out, row.data);
	appendStringInfoString(out, "ROW(");
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(out, "%s%s%d", i > 0 ? ", " : "", prefix, first + i);
	appendStringInfo(out, ") ORDER BY %s LIMIT 1", columns);
	return true;
}

/* The query for all series, by steps; of those that have rows in the range. */
static char *
series_by_steps(const Writing *q)
{
	const Source *s = q->source;
	const char *keys = join_series(s, "k");
	StringInfoData where = begin_part(q->series);
	StringInfoData equalities = begin_part("");
	StringInfoData out;

	append_null_condition(&where, q, false);
	initStringInfo(&out);
	appendStringInfo(&out, "WITH RECURSIVE amad_series(%s) AS ((SELECT %s FROM (", keys,
					 join_series(s, "c"));
	append_keys(&out, s, where.data);
	appendStringInfo(&out,
					 ") AS r ORDER BY %s LIMIT 1) UNION ALL SELECT n.* FROM amad_series AS k "
					 "CROSS JOIN LATERAL (",
					 join_series(s, "c"));
	(void) append_next_series(&out, q, where.data, "k.k", 1);
	appendStringInfoString(&out, ") AS n) SELECT k.* FROM amad_series AS k");
	if (q->range->has_since)
	{
		source_append_equalities(&equalities, s, "k.k", 1, NULL);
		appendStringInfoString(&out, " CROSS JOIN LATERAL (SELECT FROM (");
		append_keys(&out, s, begin_range_part(q, equalities.data).data);
		appendStringInfoString(&out, ") AS r LIMIT 1) AS e");
	}
	appendStringInfo(&out, " ORDER BY %s", keys);
	return out.data;
}

/* The query that combines the parts of each series. */
static char *
read_by_series(const Writing *q)
{
	const Source *s = q->source;
	const SourceRange *range = q->range;
	const char *keys = list_series_columns(s, "k.k");
	const char *order = range->last_n > 0 ? ", place DESC" : "";
	StringInfoData equalities = begin_part("");
	StringInfoData where = begin_part(q->series);
	StringInfoData columns;
	Writing		null = *q;
	char	   *parts;

	source_append_equalities(&equalities, s, "k.k", 1, NULL);
	parts = psprintf("FROM (%s) AS k(%s) CROSS JOIN LATERAL (%s) AS h ORDER BY %sh.c0%s",
					 range->form == SOURCE_STEPS ? series_by_steps(q) : series_in_range(q),
					 join_series(s, "k"),
					 range->last_n > 0 ? series_last(q, equalities.data)
									   : series_since(q, equalities.data),
					 keys, order);
	if (!q->nulls)
		return psprintf("SELECT h.* %s", parts);

	/* rows of each series with nulls, so that the visitor learns of it */
	append_null_condition(&where, q, true);
	null.series = where.data;
	initStringInfo(&columns);
	for (int i = 0; i < 1 + s->spec.nseries + s->spec.nfeatures + (s->spec.label_col != NULL); i++)
		appendStringInfo(&columns, "%sc%d", i > 0 ? ", " : "", i);
	if (range->last_n > 0)
		appendStringInfoString(&columns, ", number, place");
	initStringInfo(&where);
	append_range_part(&where, &null, null.series);
	if (range->last_n > 0)
	{
		SourceRange newest = *range;

		newest.around = false;
		null.range = &newest;
		parts =
			psprintf("%s) UNION ALL (SELECT %s, n.*, 0::pg_catalog.int8 AS place FROM (%s) AS n",
					 parts, join_series(s, "n.c"), newest_rows(&null, where.data, 1));
	}
	else
		parts = psprintf("%s) UNION ALL (SELECT %s, n.* FROM (%s) AS n", parts,
						 join_series(s, "n.c"), where.data);
	return psprintf("SELECT %s FROM ((SELECT k.*, h.* %s ORDER BY %sn.c0)) AS u ORDER BY %sc0%s",
					columns.data, parts, list_series_columns(s, "n.c"), list_series_columns(s, "k"),
					order);
}

/* ---- the whole ---------------------------------------------------------------------------- */

void
source_append_finite(StringInfo out, const Source *s)
{
	const char *type = source_ts_read_name(s);

	if (s->ts_type == INT8OID)
		appendStringInfoString(out, "c0 IS NOT NULL");
	else
		appendStringInfo(out,
						 "c0 OPERATOR(pg_catalog.>) '-infinity'::pg_catalog.%s AND "
						 "c0 OPERATOR(pg_catalog.<) '%s'::pg_catalog.%s",
						 type, source_ts_read_type(s) == DATEOID ? FIRST_LATE_DATE : "infinity",
						 type);
}

/*
 * The query for the rows of a sample, with their places.  Times are ranked, so rows with the same one
 * are in the same block.
 */
static char *
read_sample(const Source *s, const SourceSample *sample, const char *rows)
{
	const char *series = join_series(s, "c");
	const char *schema = function_schema(s->spec.function);
	StringInfoData out;

	if (schema == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension amad was dropped")));
	initStringInfo(&out);
	appendStringInfo(&out,
					 "SELECT * FROM (SELECT *, pg_catalog.dense_rank() OVER (PARTITION BY %s "
					 "ORDER BY c0) OPERATOR(pg_catalog.-) 1 AS place FROM (%s) AS r WHERE ",
					 series, rows);
	source_append_finite(&out, s);
	appendStringInfo(&out, ") AS p WHERE %s.amad_in_sample(%d, " INT64_FORMAT ", place, ARRAY[",
					 quote_identifier(schema), sample->level, sample->block_rows);
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(&out, "%s%s", i > 0 ? ", " : "",
						 quote_literal_cstr(s->spec.series_cols[i]));
	appendStringInfo(&out, "]::pg_catalog.text[], %s) ORDER BY %s, c0", series, series);
	return out.data;
}

static char *
write_query(const Source *s, const SourceRange *range, bool literals)
{
	Writing		q = {.source = s, .range = range, .literals = literals};
	Datum	   *values = palloc(sizeof(Datum) * Max(s->spec.nseries, 1));
	bool	   *nulls = palloc0(sizeof(bool) * Max(s->spec.nseries, 1));
	StringInfoData series;
	SourceScope scope;

	/* the conditions on series are checked here, whether they are used or not */
	initStringInfo(&series);
	if (range->series)
		source_append_series(&series, s, range->series);
	scope = source_enter(&s->spec);
	q.single = (range->form == SOURCE_SINGLE || range->series_values) &&
		source_single_series(s, range, values, nulls);
	source_leave(&scope);
	if (q.single && !literals)
	{
		resetStringInfo(&series);
		source_append_equalities(&series, s, "$", PARAM_SERIES, nulls);
	}
	q.series = series.data;
	switch (range->form)
	{
		case SOURCE_ONCE:
			return range->sample ? read_sample(s, range->sample, read_once(&q)) : read_once(&q);
		case SOURCE_SINGLE:
			return psprintf("SELECT * FROM (%s) AS h ORDER BY c0%s",
							range->last_n > 0 ? series_last(&q, q.series)
											  : series_since(&q, q.series),
							range->last_n > 0 ? ", place DESC" : "");
		default:
			for (int i = 0; i < s->spec.nseries; i++)
				q.nulls = q.nulls || !source_not_null(s, s->spec.series_cols[i]);
			return read_by_series(&q);
	}
}

char *
source_query(const Source *s, const SourceRange *range)
{
	return write_query(s, range, true);
}

char *
source_parameter_query(const Source *s, const SourceRange *range)
{
	return write_query(s, range, false);
}

char *
source_outside_query(const Source *s, const SourceRange *range, bool before)
{
	Writing		q = {.source = s, .range = range, .literals = true};
	const char *ts = quote_identifier(s->spec.timestamp_col);
	StringInfoData where = begin_part("");
	StringInfoData out;

	source_append_bound(&where, s, ts, before ? "<" : ">=",
						source_first_time(s, before ? range->read_since : range->read_until));
	append_finite(&where, &q, before ? ">" : "<", before ? DT_NOBEGIN : DT_NOEND);
	if (range->series)
		source_append_series(&where, s, range->series);
	initStringInfo(&out);
	appendStringInfo(&out, "SELECT pg_catalog.%s(c0)", before ? "max" : "min");
	if (s->spec.nseries > 0)
		appendStringInfo(&out, ", %s", join_series(s, "c"));
	appendStringInfoString(&out, " FROM (");
	append_keys(&out, s, where.data);
	appendStringInfoString(&out, ") AS r");
	if (s->spec.nseries > 0)
		appendStringInfo(&out, " GROUP BY %s", join_series(s, "c"));
	return out.data;
}

char *
source_nth_query(const Source *s, const SourceRange *range, bool after, int64 n)
{
	Writing		q = {.source = s, .range = range, .single = true};
	const char *ts = quote_identifier(s->spec.timestamp_col);
	Datum	   *values = palloc(sizeof(Datum) * Max(s->spec.nseries, 1));
	bool	   *nulls = palloc0(sizeof(bool) * Max(s->spec.nseries, 1));
	StringInfoData where = begin_part("");
	SourceScope scope = source_enter(&s->spec);
	StringInfoData rows;

	(void) source_single_series(s, range, values, nulls);
	source_leave(&scope);
	source_append_equalities(&where, s, "$", PARAM_SERIES, nulls);
	append_range_bound(&where, &q, after ? ">=" : "<", PARAM_SINCE);
	append_finite(&where, &q, after ? "<" : ">", after ? DT_NOEND : DT_NOBEGIN);
	if (s->bucket > 0)
	{
		initStringInfo(&rows);
		if (after)
			source_append_oldest(&rows, s, where.data, n);
		else
			source_append_newest(&rows, s, where.data, n);
		return psprintf("SELECT pg_catalog.%s(c0) FROM (%s) AS r HAVING pg_catalog.count(*) "
						"OPERATOR(pg_catalog.=) " INT64_FORMAT,
						after ? "max" : "min", rows.data, n);
	}
	if (s->spec.metric_col)
		source_append_metrics(&where, s);
	/* the sort is by the bare column, for indexes */
	return psprintf("SELECT t::pg_catalog.%s FROM (SELECT DISTINCT %s AS t FROM %s WHERE %s ORDER "
					"BY t %s LIMIT " INT64_FORMAT ") AS r OFFSET " INT64_FORMAT,
					source_ts_read_name(s), ts, s->from, where.data, after ? "ASC" : "DESC", n,
					n - 1);
}

/* ---- queries whose plans are looked at ---------------------------------------------------- */

char *
source_history_query(const Source *s, int rows)
{
	Writing		q = {.source = s};
	StringInfoData where = begin_part("");
	StringInfoData out;

	source_append_equalities(&where, s, "$", PARAM_SERIES, NULL);
	append_range_bound(&where, &q, "<", PARAM_SINCE);
	initStringInfo(&out);
	append_keys(&out, s, where.data);
	appendStringInfo(&out, " ORDER BY %s DESC LIMIT %d", ts_order(s), rows);
	return out.data;
}

char *
source_series_query(const Source *s)
{
	SourceRange range = {.has_since = true};
	Writing		q = {.source = s, .range = &range};
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "SELECT %s FROM (", join_series(s, "c"));
	append_keys(&out, s, begin_range_part(&q, "").data);
	appendStringInfoString(&out, ") AS r");
	return out.data;
}

char *
source_step_query(const Source *s)
{
	Writing		q = {.source = s};
	StringInfoData out;

	/* null in a column that is not the first is not found by a step */
	for (int i = 1; i < s->spec.nseries; i++)
		if (!source_not_null(s, s->spec.series_cols[i]))
			return NULL;
	initStringInfo(&out);
	return append_next_series(&out, &q, "", "$", PARAM_SERIES) ? out.data : NULL;
}
