/*
 * rows/source.c
 *	  A relation or query that rows come from, with its columns bound by name.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/clauses.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "pg/json.h"
#include "rows/relation.h"
#include "rows/series_key.h"
#include "rows/source.h"
#include "pg/timestamps.h"

#define SERIES_COLS_MAX 32		/* as many as columns of an index */

/* ---- columns -------------------------------------------------------------------------------- */

/* The source's columns, and which of them are keys. */
typedef struct Columns
{
	TupleDesc	desc;
	bool	   *key;			/* (natts) part of the primary key, or an identity */
} Columns;

/* The key columns of a relation have positions of their own: found by name. */
static void
mark_keys(Columns *c, Oid relation)
{
	Relation	rel = relation_open(relation, AccessShareLock);
	Bitmapset  *keys = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);

	for (int i = 0; i < c->desc->natts; i++)
	{
		AttrNumber	number = get_attnum(relation, NameStr(TupleDescAttr(c->desc, i)->attname));

		c->key[i] = number > 0 &&
			(bms_is_member(number - FirstLowInvalidHeapAttributeNumber, keys) ||
			 TupleDescAttr(RelationGetDescr(rel), number - 1)->attidentity != '\0');
	}
	relation_close(rel, AccessShareLock);
}

/* Position of a column, -1: there is none; -2: several. */
static int
find_column(const Columns *c, const char *name)
{
	int			found = -1;

	for (int i = 0; i < c->desc->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(c->desc, i)->attname), name) == 0)
			found = found == -1 ? i : -2;
	return found;
}

static Oid
column_type(const Columns *c, int i)
{
	return TupleDescAttr(c->desc, i)->atttypid;
}

static void
append_name(StringInfo list, const char *name)
{
	appendStringInfo(list, "%s\"%s\"", list->len > 0 ? ", " : "", name);
}

/* What is wrong with the columns asked for. */
typedef struct Difference
{
	StringInfoData missing;
	StringInfoData ambiguous;
	StringInfoData unfit;
} Difference;

/* The type of a column asked for; notes what is wrong, and is InvalidOid then. */
static Oid
bind_column(const Columns *c, const char *name, Difference *difference)
{
	int			i = find_column(c, name);

	if (i >= 0)
		return column_type(c, i);
	append_name(i == -1 ? &difference->missing : &difference->ambiguous, name);
	return InvalidOid;
}

static void
note_unfit(Difference *difference, const char *name, Oid type, const char *wanted)
{
	appendStringInfo(&difference->unfit, "%s\"%s\" is %s, not %s",
					 difference->unfit.len > 0 ? ", " : "", name, format_type_be(type), wanted);
}

/* " Missing: "a", "b"." */
static void
append_part(StringInfo detail, const char *what, const StringInfo part)
{
	if (part->len > 0)
		appendStringInfo(detail, "%s%s: %s.", detail->len > 0 ? " " : "", what, part->data);
}

static void
report_difference(const Source *s, const Columns *c, Difference *difference)
{
	StringInfoData detail;
	StringInfoData has;

	initStringInfo(&detail);
	append_part(&detail, "Missing", &difference->missing);
	append_part(&detail, "Several of the name", &difference->ambiguous);
	append_part(&detail, "Of an unfit type", &difference->unfit);
	if (detail.len == 0)
		return;
	initStringInfo(&has);
	for (int i = 0; i < c->desc->natts; i++)
		append_name(&has, NameStr(TupleDescAttr(c->desc, i)->attname));
	ereport(ERROR,
			(errcode(difference->missing.len > 0 ? ERRCODE_UNDEFINED_COLUMN
					 : difference->ambiguous.len > 0 ? ERRCODE_AMBIGUOUS_COLUMN
					 : ERRCODE_DATATYPE_MISMATCH),
			 errmsg("source %s has not the columns asked for", s->spec.source),
			 errdetail("%s", detail.data),
			 errhint("It has the columns %s.", has.data)));
}

/* The usual names of columns, where none were given and the source has them. */
static void
use_usual_columns(Source *s, const Columns *c)
{
	SourceSpec *spec = &s->spec;
	FeatureType how;
	int			i;

	if (spec->timestamp_col == NULL && spec->usual_timestamp_col &&
		(i = find_column(c, spec->usual_timestamp_col)) >= 0 &&
		OidIsValid(timestamps_scored_type(column_type(c, i))))
		spec->timestamp_col = spec->usual_timestamp_col;
	if (spec->label_col == NULL && spec->usual_label_col &&
		(i = find_column(c, spec->usual_label_col)) >= 0 &&
		feature_type(column_type(c, i), &how))
		spec->label_col = spec->usual_label_col;
}

/* The time column by default: the only one of such a type, numbers aside. */
static void
default_timestamp_col(Source *s, const Columns *c)
{
	StringInfoData candidates;
	int			found = -1;

	initStringInfo(&candidates);
	for (int i = 0; i < c->desc->natts; i++)
	{
		Oid			type = timestamps_scored_type(column_type(c, i));

		if (type != TIMESTAMPTZOID && type != TIMESTAMPOID)
			continue;
		append_name(&candidates, NameStr(TupleDescAttr(c->desc, i)->attname));
		found = found == -1 ? i : -2;
	}
	if (found < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timestamp_col of source %s must be named", s->spec.source),
				 found == -1
				 ? errdetail("It has no column of type timestamp with or without time zone, or date.")
				 : errdetail("It could be any of %s.", candidates.data)));
	s->spec.timestamp_col = pstrdup(NameStr(TupleDescAttr(c->desc, found)->attname));
}

static bool
is_among(const char *name, int n, char **names)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* The features by default: numeric and boolean columns that serve nothing else. */
static void
default_features(Source *s, const Columns *c)
{
	s->spec.features = palloc(sizeof(char *) * Max(c->desc->natts, 1));
	for (int i = 0; i < c->desc->natts; i++)
	{
		char	   *name = NameStr(TupleDescAttr(c->desc, i)->attname);
		FeatureType how;

		if (c->key[i] || !feature_type(column_type(c, i), &how) || how == FEATURE_NULL ||
			strcmp(name, s->spec.timestamp_col) == 0 ||
			is_among(name, s->spec.nseries, s->spec.series_cols) ||
			(s->spec.label_col && strcmp(name, s->spec.label_col) == 0))
			continue;
		s->spec.features[s->spec.nfeatures++] = pstrdup(name);
	}
	if (s->spec.nfeatures == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source %s has no numeric or boolean column to serve as a feature",
						s->spec.source)));
}

static void
check_count(const char *what, int n, int most)
{
	if (n > most)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("%d %s, the limit is %d", n, what, most)));
}

/* Refuses too many names, and names that occur twice. */
static void
check_uses(const SourceSpec *spec)
{
	const char *name;

	check_count("features", spec->nfeatures, FEATURES_MAX);
	check_count("series columns", spec->nseries, SERIES_COLS_MAX);
	name = feature_names_repeated(spec->nfeatures, spec->features);
	for (int i = 0; i < spec->nfeatures && name == NULL; i++)
		if (strcmp(spec->features[i], spec->timestamp_col) == 0 ||
			is_among(spec->features[i], spec->nseries, spec->series_cols) ||
			(spec->label_col && strcmp(spec->features[i], spec->label_col) == 0))
			name = spec->features[i];
	if (name)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("feature \"%s\" is named twice, or serves as another column", name)));
	name = feature_names_repeated(spec->nseries, spec->series_cols);
	if (name)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("column \"%s\" is named twice in series_cols", name)));
}

/* A series column: of a type that rows can be sorted and grouped by. */
static void
bind_series_column(Source *s, const Columns *c, int number, Difference *difference)
{
	const char *name = s->spec.series_cols[number];
	Oid			type = bind_column(c, name, difference);
	TypeCacheEntry *cache;

	s->series_types[number] = type;
	if (!OidIsValid(type))
		return;
	s->series_collations[number] = TupleDescAttr(c->desc, find_column(c, name))->attcollation;
	cache = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR | TYPECACHE_CMP_PROC);
	if (type == RECORDOID)
		note_unfit(difference, name, type, "a type with a name");
	else if (!OidIsValid(cache->eq_opr) || !OidIsValid(cache->lt_opr) || !OidIsValid(cache->cmp_proc))
		note_unfit(difference, name, type, "a type that can be sorted");
}

static void
bind_columns(Source *s, const Columns *c)
{
	Difference	difference;
	FeatureType how;

	initStringInfo(&difference.missing);
	initStringInfo(&difference.ambiguous);
	initStringInfo(&difference.unfit);
	s->ts_column_type = bind_column(c, s->spec.timestamp_col, &difference);
	if (OidIsValid(s->ts_column_type))
	{
		s->ts_type = timestamps_scored_type(s->ts_column_type);
		if (!OidIsValid(s->ts_type))
			note_unfit(&difference, s->spec.timestamp_col, s->ts_column_type,
					   "a timestamp, date or integer");
		s->ts_column_type = getBaseType(s->ts_column_type);
	}
	s->series_types = palloc0(sizeof(Oid) * Max(s->spec.nseries, 1));
	s->series_collations = palloc0(sizeof(Oid) * Max(s->spec.nseries, 1));
	for (int i = 0; i < s->spec.nseries; i++)
		bind_series_column(s, c, i, &difference);
	s->feature_types = palloc(sizeof(Oid) * Max(s->spec.nfeatures, 1));
	for (int i = 0; i < s->spec.nfeatures; i++)
	{
		s->feature_types[i] = bind_column(c, s->spec.features[i], &difference);
		if (OidIsValid(s->feature_types[i]) && !feature_type(s->feature_types[i], &how))
			note_unfit(&difference, s->spec.features[i], s->feature_types[i], "numeric or boolean");
	}
	if (s->spec.label_col)
	{
		s->label_type = bind_column(c, s->spec.label_col, &difference);
		if (OidIsValid(s->label_type) && !feature_type(s->label_type, &how))
			note_unfit(&difference, s->spec.label_col, s->label_type, "boolean or numeric");
	}
	report_difference(s, c, &difference);
}

/* What is in force while a source is looked at or read. */
typedef struct SourceScope
{
	bool		stored;
	int			guc_level;
	Oid			user;
	int			security_context;
} SourceScope;

/*
 * Begins to look at a source, until leave_source() or an ERROR: with the search_path that
 * its query was named with, and as a security-restricted operation when it was stored.
 */
static SourceScope
enter_source(const SourceSpec *spec)
{
	SourceScope scope = {.stored = spec->stored};

	GetUserIdAndSecContext(&scope.user, &scope.security_context);
	if (spec->stored)
		SetUserIdAndSecContext(scope.user, scope.security_context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	scope.guc_level = NewGUCNestLevel();
	if (spec->search_path)
		(void) set_config_option("search_path", spec->search_path, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return scope;
}

static void
leave_source(const SourceScope *scope)
{
	AtEOXact_GUC(!scope->stored, scope->guc_level);
	SetUserIdAndSecContext(scope->user, scope->security_context);
}

/*
 * The search_path to remember with a query: where it reads no temporary relation, none
 * that is created later may come before what it reads.
 */
static char *
remembered_search_path(const RelationSource *relation)
{
	const char *path = namespace_search_path;

	if (relation->temporary || strstr(path, "pg_temp") != NULL)
		return pstrdup(path);
	return psprintf("%s%spg_temp", path, path[strspn(path, " ")] == '\0' ? "" : ", ");
}

Source *
source_open(const SourceSpec *spec)
{
	Source	   *s = palloc0(sizeof(Source));
	SourceScope scope = enter_source(spec);
	RelationSource relation = relation_open_source(spec->source, "source");
	Columns		columns;

	s->spec = *spec;
	s->spec.source = relation.text;
	s->from = relation.from;
	columns.desc = relation_columns(&relation, "source");
	if (OidIsValid(relation.relation))
		s->spec.search_path = NULL;	/* its name is qualified */
	else if (s->spec.search_path == NULL)
		s->spec.search_path = remembered_search_path(&relation);
	columns.key = palloc0(sizeof(bool) * Max(columns.desc->natts, 1));
	if (OidIsValid(relation.relation))
		mark_keys(&columns, relation.relation);
	use_usual_columns(s, &columns);
	if (s->spec.timestamp_col == NULL)
		default_timestamp_col(s, &columns);
	if (s->spec.nfeatures == 0)
		default_features(s, &columns);
	check_uses(&s->spec);
	bind_columns(s, &columns);
	leave_source(&scope);
	return s;
}

/* ---- the query -------------------------------------------------------------------------------- */

/* The type of literals to compare the time column with. */
static const char *
literal_type(const Source *s)
{
	return s->ts_type == TIMESTAMPTZOID ? "timestamptz"
		: s->ts_type == TIMESTAMPOID ? "timestamp" : "int8";
}

/* The type by which the time column is read; dates are converted here, not by a cast. */
static Oid
ts_read_type(const Source *s)
{
	return s->ts_column_type == DATEOID ? DATEOID : s->ts_type;
}

static void
append_bound(StringInfo out, const Source *s, const char *column, const char *operator, int64 ts)
{
	/* the bare column, so that indexes and partitions serve */
	appendStringInfo(out, "%s%s OPERATOR(pg_catalog.%s) %s::pg_catalog.%s",
					 out->len > 0 ? " AND " : "", column, operator,
					 quote_literal_cstr(timestamps_literal(s->ts_type, ts)), literal_type(s));
}

static void
unknown_series_column(const Source *s, const char *name)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < s->spec.nseries; i++)
		append_name(&list, s->spec.series_cols[i]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is no column that tells series apart", name),
			 s->spec.nseries > 0 ? errhint("These are %s.", list.data)
			 : errhint("The model knows no series.")));
}

/* Equality of a series column's type, and the type, as text for queries. */
static void
append_equal(StringInfo where, const Source *s, int number, const char *text)
{
	Oid			operator = lookup_type_cache(s->series_types[number], TYPECACHE_EQ_OPR)->eq_opr;
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	char	   *schema = HeapTupleIsValid(tuple)
		? get_namespace_name(((Form_pg_operator) GETSTRUCT(tuple))->oprnamespace) : NULL;

	if (schema == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("operator with OID %u was dropped at the same time", operator)));
	appendStringInfo(where, " OPERATOR(%s.%s) %s::%s", quote_identifier(schema),
					 NameStr(((Form_pg_operator) GETSTRUCT(tuple))->oprname),
					 quote_literal_cstr(text),
					 format_type_extended(getBaseType(s->series_types[number]), -1,
										  FORMAT_TYPE_FORCE_QUALIFY));
	ReleaseSysCache(tuple);
}

/* Number of a series column, by its name. */
static int
find_series_column(const Source *s, const char *name)
{
	for (int i = 0; i < s->spec.nseries; i++)
		if (strcmp(s->spec.series_cols[i], name) == 0)
			return i;
	unknown_series_column(s, name);
	return -1;					/* not reached */
}

/* The conditions that an object of values of series columns makes. */
static void
append_series(StringInfo where, const Source *s, Jsonb *series)
{
	JsonbIterator *it;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(series))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("series must be a JSON object"),
				 errhint("For example '{\"device\": \"a\"}'.")));
	it = JsonbIteratorInit(&series->root);
	JsonbIteratorNext(&it, &value, true);	/* the object's beginning */
	while (JsonbIteratorNext(&it, &value, true) == WJB_KEY)
	{
		char	   *name = pnstrdup(value.val.string.val, value.val.string.len);
		char	   *text;
		int			number;

		JsonbIteratorNext(&it, &value, true);
		number = find_series_column(s, name);
		appendStringInfo(where, "%s%s", where->len > 0 ? " AND " : "", quote_identifier(name));
		if (value.type == jbvNull)
		{
			appendStringInfoString(where, " IS NULL");
			continue;
		}
		text = value.type == jbvString ? pnstrdup(value.val.string.val, value.val.string.len)
			: JsonbToCString(NULL, &JsonbValueToJsonb(&value)->root, -1);
		append_equal(where, s, number, text);
	}
}

/* Names c0 (ts), c1 … (series), … (features), … (label), as columns of the query. */
static void
append_columns(StringInfo out, const Source *s)
{
	int			n = 0;

	appendStringInfo(out, "%s::pg_catalog.%s AS c%d", quote_identifier(s->spec.timestamp_col),
					 ts_read_type(s) == DATEOID ? "date" : literal_type(s), n++);
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(out, ", %s AS c%d", quote_identifier(s->spec.series_cols[i]), n++);
	for (int i = 0; i < s->spec.nfeatures; i++)
		appendStringInfo(out, ", %s AS c%d", quote_identifier(s->spec.features[i]), n++);
	if (s->spec.label_col)
		appendStringInfo(out, ", %s AS c%d", quote_identifier(s->spec.label_col), n++);
}

/* "c1, c2, " of the series columns */
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
 * The rows of the newest timestamps of each series among those of a query, and all that
 * are not before until.
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
		append_bound(&after, s, "c0", ">=", range->until);
	appendStringInfo(&partition, "%s%s", series, after.data);
	if (after.len == 0 && partition.len > 0)
		partition.data[partition.len - 2] = '\0';	/* the last comma */
	return psprintf("SELECT * FROM (SELECT *, pg_catalog.dense_rank() OVER (%s%s ORDER BY c0 DESC NULLS LAST)"
					" AS number FROM (%s) AS r) AS n WHERE number OPERATOR(pg_catalog.<=) "
					INT64_FORMAT "%s%s ORDER BY %sc0",
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
		append_bound(&where, s, ts, ">=", range->since);
	if (range->has_until)
		append_bound(&where, s, ts, "<", range->read_until);
	if (range->series)
		append_series(&where, s, range->series);
	initStringInfo(&rows);
	appendStringInfoString(&rows, "SELECT ");
	append_columns(&rows, s);
	appendStringInfo(&rows, " FROM %s%s%s", s->from, where.len > 0 ? " WHERE " : "", where.data);
	if (range->last_n > 0)
		return newest_rows(s, range, rows.data);
	appendStringInfo(&rows, " ORDER BY %sc0", series_list(s));
	return rows.data;
}

/* ---- reading -------------------------------------------------------------------------------------- */

/* The row that has its place in the series, of those of one timestamp that have come. */
typedef struct HeldRow
{
	bool		any;
	SourceRow	row;			/* its values are (nfeatures) of its own */
	double	   *values;
} HeldRow;

/* Where the executor sends the query's rows. */
typedef struct Receiver
{
	DestReceiver pub;
	const Source *source;
	bool		numbered;		/* the last column is the number from the end */
	source_visit visit;
	void	   *arg;
	MemoryContext context;		/* of the receiver */
	MemoryContext row_context;	/* of the row */
	FeatureType *how;			/* (nfeatures) */
	FeatureType label_how;
	double	   *values;			/* (nfeatures) of the row */
	HeldRow		held;

	/* the series */
	MemoryContext series_context;
	bool		any;			/* a row has come */
	FmgrInfo   *equal;			/* (nseries) */
	int16	   *length;			/* (nseries) */
	bool	   *byval;			/* (nseries) */
	Datum	   *series;			/* (nseries) of the row before */
	bool	   *series_null;
	const char *new_series;		/* its key, until its first row is visited */
} Receiver;

static bool
same_series(Receiver *r, const Datum *values, const bool *nulls)
{
	const Source *s = r->source;

	if (!r->any)
		return false;
	for (int i = 0; i < s->spec.nseries; i++)
		if (nulls[i] != r->series_null[i] ||
			(!nulls[i] &&
			 !datum_image_eq(values[i], r->series[i], r->byval[i], r->length[i]) &&
			 !DatumGetBool(FunctionCall2Coll(&r->equal[i], s->series_collations[i], values[i],
											 r->series[i]))))
			return false;
	return true;
}

/* Keeps the values of the series that begins with a row, and its key. */
static void
begin_series(Receiver *r, const Datum *values, const bool *nulls)
{
	const SourceSpec *spec = &r->source->spec;
	MemoryContext old;

	MemoryContextReset(r->series_context);
	old = MemoryContextSwitchTo(r->series_context);
	for (int i = 0; i < spec->nseries; i++)
	{
		r->series_null[i] = nulls[i];
		r->series[i] = nulls[i] ? (Datum) 0 : datumCopy(values[i], r->byval[i], r->length[i]);
	}
	r->new_series = spec->nseries == 0 ? ""
		: series_key_of_row(spec->nseries, spec->series_cols, r->source->series_types,
							r->series, r->series_null);
	MemoryContextSwitchTo(old);
	r->any = true;
}

static bool
is_bad(const Receiver *r, Datum value, bool isnull)
{
	/* a label that is no number is no clean bill */
	return !isnull && !(feature_value(r->label_how, value, false) == 0);
}

static void
visit_row(Receiver *r, SourceRow *row)
{
	row->new_series = r->new_series;
	row->series = r->series;
	r->new_series = NULL;
	r->visit(row, r->arg);
}

static void
visit_held(Receiver *r)
{
	if (r->held.any)
		visit_row(r, &r->held.row);
	r->held.any = false;
}

static void
hold_row(Receiver *r, const SourceRow *row)
{
	double	   *values = r->held.values;

	r->held.any = true;
	r->held.row = *row;
	r->held.row.values = r->values;
	r->held.values = r->values;
	r->values = values;
}

/* Whether a row has its place rather than the one held, which has the same timestamp. */
static bool
goes_first(const Receiver *r, const SourceRow *row)
{
	int			order = feature_compare(r->source->spec.nfeatures, row->values, r->held.row.values);

	return order < 0 || (order == 0 && !row->bad && r->held.row.bad);
}

/* Takes a row with a finite timestamp: the next of the series, or another of the same time. */
static void
take_row(Receiver *r, SourceRow *row)
{
	if (!r->held.any || r->held.row.ts != row->ts)
	{
		visit_held(r);
		hold_row(r, row);
	}
	else if (goes_first(r, row))
	{
		r->held.row.duplicate = true;
		visit_held(r);
		hold_row(r, row);
	}
	else
	{
		row->duplicate = true;
		visit_row(r, row);
	}
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver   *r = (Receiver *) self;
	const SourceSpec *spec = &r->source->spec;
	MemoryContext old;
	SourceRow	row = {.values = r->values};
	int			at = 1;

	MemoryContextReset(r->row_context);
	old = MemoryContextSwitchTo(r->row_context);
	slot_getallattrs(slot);
	row.ts_valid = !slot->tts_isnull[0] &&
		timestamps_value(ts_read_type(r->source), slot->tts_values[0], &row.ts);
	if (!same_series(r, slot->tts_values + at, slot->tts_isnull + at))
	{
		visit_held(r);
		begin_series(r, slot->tts_values + at, slot->tts_isnull + at);
	}
	at += spec->nseries;
	for (int i = 0; i < spec->nfeatures; i++, at++)
		r->values[i] = feature_value(r->how[i], slot->tts_values[at], slot->tts_isnull[at]);
	if (spec->label_col)
	{
		row.bad = is_bad(r, slot->tts_values[at], slot->tts_isnull[at]);
		at++;
	}
	if (r->numbered)
		row.number_from_end = DatumGetInt64(slot->tts_values[at]);
	if (row.ts_valid)
		take_row(r, &row);
	else
	{
		visit_held(r);
		visit_row(r, &row);
	}
	MemoryContextSwitchTo(old);
	return true;
}

static void
check_type(const Source *s, TupleDesc desc, int at, Oid type, Oid collation)
{
	if (at < desc->natts && TupleDescAttr(desc, at)->atttypid == type &&
		(!OidIsValid(collation) || TupleDescAttr(desc, at)->attcollation == collation))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("source %s was changed while it was in use", s->spec.source),
			 errdetail("The type of a column is not what it was when the columns were looked up."),
			 errhint("Repeat the command.")));
}

/*
 * Compares the types of the rows with those that were bound: statements that ran since
 * may have changed the source.
 */
static void
start_rows(DestReceiver *self, int operation, TupleDesc desc)
{
	Receiver   *r = (Receiver *) self;
	const Source *s = r->source;
	int			at = 0;

	check_type(s, desc, at++, ts_read_type(s), InvalidOid);
	for (int i = 0; i < s->spec.nseries; i++, at++)
	{
		check_type(s, desc, at, s->series_types[i], s->series_collations[i]);
		r->length[i] = TupleDescAttr(desc, at)->attlen;
		r->byval[i] = TupleDescAttr(desc, at)->attbyval;
		fmgr_info_cxt(lookup_type_cache(s->series_types[i], TYPECACHE_EQ_OPR_FINFO)->eq_opr_finfo.fn_oid,
					  &r->equal[i], r->context);
	}
	for (int i = 0; i < s->spec.nfeatures; i++)
		check_type(s, desc, at++, s->feature_types[i], InvalidOid);
	if (s->spec.label_col)
		check_type(s, desc, at++, s->label_type, InvalidOid);
	if (r->numbered)
		check_type(s, desc, at, INT8OID, InvalidOid);
}

static void
end_rows(DestReceiver *self)
{
}

static void
open_receiver(Receiver *r, const Source *s)
{
	const SourceSpec *spec = &s->spec;
	const int	nseries = Max(spec->nseries, 1);

	r->pub.receiveSlot = receive_row;
	r->pub.rStartup = start_rows;
	r->pub.rShutdown = end_rows;
	r->pub.rDestroy = end_rows;
	r->pub.mydest = DestTuplestore; /* any that keeps rows: SPI has none of its own for this */
	r->source = s;
	r->context = CurrentMemoryContext;
	r->row_context = AllocSetContextCreate(CurrentMemoryContext, "amad row", ALLOCSET_DEFAULT_SIZES);
	r->series_context = AllocSetContextCreate(CurrentMemoryContext, "amad series key",
											  ALLOCSET_SMALL_SIZES);
	r->how = palloc(sizeof(FeatureType) * spec->nfeatures);
	for (int i = 0; i < spec->nfeatures; i++)
		feature_type(s->feature_types[i], &r->how[i]);
	if (spec->label_col)
		feature_type(s->label_type, &r->label_how);
	r->equal = palloc0(sizeof(FmgrInfo) * nseries);
	r->length = palloc(sizeof(int16) * nseries);
	r->byval = palloc(sizeof(bool) * nseries);
	r->series = palloc0(sizeof(Datum) * nseries);
	r->series_null = palloc0(sizeof(bool) * nseries);
	r->values = palloc(sizeof(double) * spec->nfeatures);
	r->held.values = palloc(sizeof(double) * spec->nfeatures);
}

void
source_scan(const Source *s, const SourceRange *range, bool read_only, source_visit visit,
			void *arg)
{
	char	   *query = source_query(s, range);
	SPIExecuteOptions options = {.read_only = read_only};
	Receiver	r = {.numbered = range->last_n > 0, .visit = visit, .arg = arg};
	SourceScope scope = enter_source(&s->spec);
	SPIPlanPtr	plan;
	int			rc;

	ereport(DEBUG1, (errmsg_internal("amad reads its source by: %s", query)));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	open_receiver(&r, s);
	options.dest = &r.pub;
	plan = SPI_prepare_cursor(query, 0, NULL, CURSOR_OPT_PARALLEL_OK);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	rc = SPI_execute_plan_extended(plan, &options);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	visit_held(&r);
	SPI_finish();
	leave_source(&scope);
}

bool
source_parallel_mode_ok(const Source *s, const SourceRange *range)
{
	SourceScope scope = enter_source(&s->spec);
	SPIPlanPtr	plan;
	bool		ok = true;
	ListCell   *i;
	ListCell   *j;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	plan = SPI_prepare(source_query(s, range), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	foreach(i, SPI_plan_get_plan_sources(plan))
		foreach(j, ((CachedPlanSource *) lfirst(i))->query_list)
			if (max_parallel_hazard(lfirst_node(Query, j)) == PROPARALLEL_UNSAFE)
				ok = false;
	SPI_finish();
	leave_source(&scope);
	return ok;
}

/* ---- remembering ------------------------------------------------------------------------------- */

Jsonb *
source_to_jsonb(const SourceSpec *spec)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_put_string(&text, "source", spec->source);
	json_put_string(&text, "timestamp_col", spec->timestamp_col);
	json_put_strings(&text, "feature_cols", spec->nfeatures, spec->features);
	json_put_strings(&text, "series_cols", spec->nseries, spec->series_cols);
	if (spec->label_col)
	{
		json_put_string(&text, "label_col", spec->label_col);
	}
	if (spec->search_path)
	{
		json_put_string(&text, "search_path", spec->search_path);
	}
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}

static char *
member(Jsonb *json, const char *key)
{
	JsonbValue *value = json_get(&json->root, key);

	return value == NULL || value->type != jbvString ? NULL
		: pnstrdup(value->val.string.val, value->val.string.len);
}

static int
members(Jsonb *json, const char *key, char ***names)
{
	JsonbValue *value = json_get(&json->root, key);
	int			n = 0;

	*names = NULL;
	if (value == NULL || value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		return 0;
	*names = palloc(sizeof(char *) * Max(JsonContainerSize(value->val.binary.data), 1));
	for (int i = 0; i < JsonContainerSize(value->val.binary.data); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(value->val.binary.data, i);

		if (element->type == jbvString)
			(*names)[n++] = pnstrdup(element->val.string.val, element->val.string.len);
	}
	return n;
}

void
source_take_names(SourceSpec *spec, Jsonb *json, bool label)
{
	spec->usual_timestamp_col = member(json, "timestamp_col");
	spec->usual_label_col = label ? member(json, "label_col") : NULL;
}

SourceSpec
source_from_jsonb(Jsonb *json)
{
	SourceSpec	spec = {
		.source = member(json, "source"),
		.timestamp_col = member(json, "timestamp_col"),
		.label_col = member(json, "label_col"),
		.search_path = member(json, "search_path"),
		.stored = true,
	};

	spec.nfeatures = members(json, "feature_cols", &spec.features);
	spec.nseries = members(json, "series_cols", &spec.series_cols);
	if (spec.source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the model's source in amad_models is damaged")));
	return spec;
}
