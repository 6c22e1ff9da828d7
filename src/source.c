/*
 * source.c
 *	  A relation or query that rows come from, with its columns bound by name.
 */
#include "postgres.h"
#include "compat.h"

#include <math.h>

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "json.h"
#include "relation.h"
#include "series_key.h"
#include "source.h"
#include "timestamps.h"

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

/* How a time column is read; InvalidOid: it is none. */
static Oid
time_type(Oid type)
{
	switch (getBaseType(type))
	{
		case TIMESTAMPTZOID:
		case DATEOID:
			return TIMESTAMPTZOID;
		case TIMESTAMPOID:
			return TIMESTAMPOID;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return INT8OID;
		default:
			return InvalidOid;
	}
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
bind(const Columns *c, const char *name, Difference *difference)
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

/* The time column by default: the only one of such a type, numbers aside. */
static void
default_timestamp_col(Source *s, const Columns *c)
{
	StringInfoData candidates;
	int			found = -1;

	initStringInfo(&candidates);
	for (int i = 0; i < c->desc->natts; i++)
	{
		Oid			type = time_type(column_type(c, i));

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

/* The features by default: numeric columns that serve nothing else. */
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
				 errmsg("source %s has no numeric column to serve as a feature", s->spec.source)));
}

/* A name may be asked for once. */
static void
check_uses(const SourceSpec *spec)
{
	for (int i = 0; i < spec->nfeatures; i++)
		if (strcmp(spec->features[i], spec->timestamp_col) == 0 ||
			is_among(spec->features[i], i, spec->features) ||
			is_among(spec->features[i], spec->nseries, spec->series_cols) ||
			(spec->label_col && strcmp(spec->features[i], spec->label_col) == 0))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("feature \"%s\" is named twice, or serves as another column",
							spec->features[i])));
	for (int i = 0; i < spec->nseries; i++)
		if (is_among(spec->series_cols[i], i, spec->series_cols))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" is named twice in series_cols", spec->series_cols[i])));
	if (spec->nfeatures > FEATURES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("%d features, the limit is %d", spec->nfeatures, FEATURES_MAX)));
}

static void
bind_columns(Source *s, const Columns *c)
{
	Difference	difference;
	FeatureType how;

	initStringInfo(&difference.missing);
	initStringInfo(&difference.ambiguous);
	initStringInfo(&difference.unfit);
	s->ts_column_type = bind(c, s->spec.timestamp_col, &difference);
	if (OidIsValid(s->ts_column_type))
	{
		s->ts_type = time_type(s->ts_column_type);
		if (!OidIsValid(s->ts_type))
			note_unfit(&difference, s->spec.timestamp_col, s->ts_column_type,
					   "a timestamp, date or integer");
		s->ts_column_type = getBaseType(s->ts_column_type);
	}
	s->series_types = palloc(sizeof(Oid) * Max(s->spec.nseries, 1));
	for (int i = 0; i < s->spec.nseries; i++)
		s->series_types[i] = bind(c, s->spec.series_cols[i], &difference);
	s->feature_types = palloc(sizeof(Oid) * Max(s->spec.nfeatures, 1));
	for (int i = 0; i < s->spec.nfeatures; i++)
	{
		s->feature_types[i] = bind(c, s->spec.features[i], &difference);
		if (OidIsValid(s->feature_types[i]) && !feature_type(s->feature_types[i], &how))
			note_unfit(&difference, s->spec.features[i], s->feature_types[i], "numeric");
	}
	if (s->spec.label_col)
	{
		s->label_type = bind(c, s->spec.label_col, &difference);
		if (OidIsValid(s->label_type) && getBaseType(s->label_type) != BOOLOID &&
			!feature_type(s->label_type, &how))
			note_unfit(&difference, s->spec.label_col, s->label_type, "boolean or numeric");
	}
	report_difference(s, c, &difference);
}

Source *
source_open(const SourceSpec *spec)
{
	Source	   *s = palloc0(sizeof(Source));
	RelationSource relation = relation_open_source(spec->source, "source");
	Columns		columns;

	s->spec = *spec;
	s->spec.source = relation.text;
	s->from = relation.from;
	columns.desc = relation_columns(&relation, "source");
	columns.key = palloc0(sizeof(bool) * Max(columns.desc->natts, 1));
	if (OidIsValid(relation.relation))
		mark_keys(&columns, relation.relation);
	if (s->spec.timestamp_col == NULL)
		default_timestamp_col(s, &columns);
	if (s->spec.nfeatures == 0)
		default_features(s, &columns);
	check_uses(&s->spec);
	bind_columns(s, &columns);
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

static void
append_bound(StringInfo out, const Source *s, const char *column, const char *operator, int64 ts)
{
	/* the bare column, so that indexes and partitions serve */
	appendStringInfo(out, "%s%s OPERATOR(pg_catalog.%s) %s::pg_catalog.%s",
					 out->len > 0 ? " AND " : "", column, operator,
					 quote_literal_cstr(timestamps_text(s->ts_type, ts)), literal_type(s));
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

		JsonbIteratorNext(&it, &value, true);
		if (!is_among(name, s->spec.nseries, s->spec.series_cols))
			unknown_series_column(s, name);
		appendStringInfo(where, "%s%s", where->len > 0 ? " AND " : "", quote_identifier(name));
		if (value.type == jbvNull)
		{
			appendStringInfoString(where, " IS NULL");
			continue;
		}
		text = value.type == jbvString ? pnstrdup(value.val.string.val, value.val.string.len)
			: JsonbToCString(NULL, &JsonbValueToJsonb(&value)->root, -1);
		appendStringInfo(where, " OPERATOR(pg_catalog.=) %s", quote_literal_cstr(text));
	}
}

/* Names c0 (ts), c1 … (series), … (features), … (label), as columns of the query. */
static void
append_columns(StringInfo out, const Source *s)
{
	int			n = 0;

	appendStringInfo(out, "%s::pg_catalog.%s AS c%d", quote_identifier(s->spec.timestamp_col),
					 literal_type(s), n++);
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

/* The newest rows of each series among those of a query, and all that are not before until. */
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
	return psprintf("SELECT * FROM (SELECT *, pg_catalog.row_number() OVER (%s%s ORDER BY c0 DESC NULLS LAST)"
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

/* Where the executor sends the query's rows. */
typedef struct Receiver
{
	DestReceiver pub;
	const Source *source;
	bool		numbered;		/* the last column is the number from the end */
	source_visit visit;
	void	   *arg;
	MemoryContext row_context;	/* of the row */
	MemoryContext series_context;	/* of the series */
	bool		any;			/* a row has come */
	FeatureType *how;			/* (nfeatures) */
	FeatureType label_how;
	bool		label_is_bool;
	int16	   *length;			/* (nseries) */
	bool	   *byval;			/* (nseries) */
	Datum	   *series;			/* (nseries) of the row before */
	bool	   *series_null;
	double	   *values;			/* (nfeatures) */
} Receiver;

static bool
same_series(const Receiver *r, const Datum *values, const bool *nulls)
{
	if (!r->any)
		return false;
	for (int i = 0; i < r->source->spec.nseries; i++)
		if (nulls[i] != r->series_null[i] ||
			(!nulls[i] && !datum_image_eq(values[i], r->series[i], r->byval[i], r->length[i])))
			return false;
	return true;
}

/* The key of the series that begins with a row; its values are kept. */
static const char *
begin_series(Receiver *r, const Datum *values, const bool *nulls)
{
	const SourceSpec *spec = &r->source->spec;
	MemoryContext old;
	const char *key = "";

	MemoryContextReset(r->series_context);
	old = MemoryContextSwitchTo(r->series_context);
	for (int i = 0; i < spec->nseries; i++)
	{
		r->series_null[i] = nulls[i];
		r->series[i] = nulls[i] ? (Datum) 0 : datumCopy(values[i], r->byval[i], r->length[i]);
	}
	if (spec->nseries > 0)
		key = series_key_of_row(spec->nseries, spec->series_cols, r->source->series_types,
								r->series, r->series_null);
	MemoryContextSwitchTo(old);
	r->any = true;
	return key;
}

static bool
is_bad(const Receiver *r, Datum value, bool isnull)
{
	double		x;

	if (isnull)
		return false;
	if (r->label_is_bool)
		return DatumGetBool(value);
	x = feature_value(r->label_how, value, false);
	return !(x == 0);			/* a label that is no number is no clean bill */
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
	row.ts = slot->tts_isnull[0] ? 0 : DatumGetInt64(slot->tts_values[0]);
	row.ts_valid = !slot->tts_isnull[0] && timestamps_finite(r->source->ts_type, row.ts);
	if (!same_series(r, slot->tts_values + at, slot->tts_isnull + at))
		row.new_series = begin_series(r, slot->tts_values + at, slot->tts_isnull + at);
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
	r->visit(&row, r->arg);
	MemoryContextSwitchTo(old);
	return true;
}

static void
start_rows(DestReceiver *self, int operation, TupleDesc desc)
{
	Receiver   *r = (Receiver *) self;

	for (int i = 0; i < r->source->spec.nseries; i++)
	{
		r->length[i] = TupleDescAttr(desc, i + 1)->attlen;
		r->byval[i] = TupleDescAttr(desc, i + 1)->attbyval;
	}
}

static void
end_rows(DestReceiver *self)
{
}

static void
open_receiver(Receiver *r, const Source *s)
{
	const SourceSpec *spec = &s->spec;

	r->pub.receiveSlot = receive_row;
	r->pub.rStartup = start_rows;
	r->pub.rShutdown = end_rows;
	r->pub.rDestroy = end_rows;
	r->pub.mydest = DestTuplestore; /* any that keeps rows: SPI has none of its own for this */
	r->source = s;
	r->row_context = AllocSetContextCreate(CurrentMemoryContext, "amad row", ALLOCSET_DEFAULT_SIZES);
	r->series_context = AllocSetContextCreate(CurrentMemoryContext, "amad series key",
											  ALLOCSET_SMALL_SIZES);
	r->how = palloc(sizeof(FeatureType) * spec->nfeatures);
	for (int i = 0; i < spec->nfeatures; i++)
		feature_type(s->feature_types[i], &r->how[i]);
	r->label_is_bool = spec->label_col && getBaseType(s->label_type) == BOOLOID;
	if (spec->label_col && !r->label_is_bool)
		feature_type(s->label_type, &r->label_how);
	r->length = palloc(sizeof(int16) * Max(spec->nseries, 1));
	r->byval = palloc(sizeof(bool) * Max(spec->nseries, 1));
	r->series = palloc0(sizeof(Datum) * Max(spec->nseries, 1));
	r->series_null = palloc0(sizeof(bool) * Max(spec->nseries, 1));
	r->values = palloc(sizeof(double) * spec->nfeatures);
}

void
source_scan(const Source *s, const SourceRange *range, bool read_only, source_visit visit,
			void *arg)
{
	char	   *query = source_query(s, range);
	SPIExecuteOptions options = {.read_only = read_only};
	Receiver	r = {.numbered = range->last_n > 0, .visit = visit, .arg = arg};
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
	SPI_finish();
}

/* ---- remembering ------------------------------------------------------------------------------- */

Jsonb *
source_to_jsonb(const SourceSpec *spec)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_key(&text, "source");
	json_string(&text, spec->source);
	json_key(&text, "timestamp_col");
	json_string(&text, spec->timestamp_col);
	json_key(&text, "feature_cols");
	json_strings(&text, spec->nfeatures, spec->features);
	json_key(&text, "series_cols");
	json_strings(&text, spec->nseries, spec->series_cols);
	if (spec->label_col)
	{
		json_key(&text, "label_col");
		json_string(&text, spec->label_col);
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

SourceSpec
source_from_jsonb(Jsonb *json)
{
	SourceSpec	spec = {
		.source = member(json, "source"),
		.timestamp_col = member(json, "timestamp_col"),
		.label_col = member(json, "label_col"),
	};

	spec.nfeatures = members(json, "feature_cols", &spec.features);
	spec.nseries = members(json, "series_cols", &spec.series_cols);
	if (spec.source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the model's source in amad_models is damaged")));
	return spec;
}
