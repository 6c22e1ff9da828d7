/*
 * rows/source_columns.c
 *	  Which columns of a source are read: finds, chooses and checks them.
 *
 * First the columns that the caller has not named are chosen: the time column and the
 * label under the names that the model's source used, then the only column of a timestamp
 * type as the time column, and as features every numeric or boolean column that is not
 * a key and has no other use.  Then each name is looked up and its type is checked.  All that
 * is wrong with the columns is collected first, to be reported in one message.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "pg/timestamps.h"
#include "rows/relation.h"
#include "rows/source.h"
#include "rows/source_private.h"

#define SERIES_COLS_MAX 32		/* as for columns of an index */

static Oid
column_type(TupleDesc desc, int i)
{
	return TupleDescAttr(desc, i)->atttypid;
}

static char *
column_name(TupleDesc desc, int i)
{
	return NameStr(TupleDescAttr(desc, i)->attname);
}

/* Position of a column; -1 if there is none, -2 if there are several. */
static int
find_column(TupleDesc desc, const char *name)
{
	int			found = -1;

	for (int i = 0; i < desc->natts; i++)
		if (strcmp(column_name(desc, i), name) == 0)
			found = found == -1 ? i : -2;
	return found;
}

void
source_append_name(StringInfo list, const char *name)
{
	appendStringInfo(list, "%s\"%s\"", list->len > 0 ? ", " : "", name);
}

/* ---- columns that are not specified ----------------------------------------------------- */

/* Uses the column names of the model's source where the source has such columns. */
static void
choose_usual_columns(SourceSpec *spec, TupleDesc desc)
{
	FeatureType how;
	int			i;

	if (spec->timestamp_col == NULL && spec->usual_timestamp_col &&
		(i = find_column(desc, spec->usual_timestamp_col)) >= 0 &&
		OidIsValid(timestamps_scored_type(column_type(desc, i))))
		spec->timestamp_col = spec->usual_timestamp_col;
	if (spec->label_col == NULL && spec->usual_label_col &&
		(i = find_column(desc, spec->usual_label_col)) >= 0 &&
		features_type(column_type(desc, i), &how))
		spec->label_col = spec->usual_label_col;
	if (spec->metric_col && spec->usual_shape && find_column(desc, spec->metric_col) == -1 &&
		find_column(desc, spec->value_col) == -1)
		spec->metric_col = spec->value_col = spec->bucket = spec->aggregate = NULL;
}

/* Chooses the only column of a timestamp type or date as the time column. */
static void
choose_timestamp_col(SourceSpec *spec, TupleDesc desc)
{
	StringInfoData candidates;
	int			found = -1;

	initStringInfo(&candidates);
	for (int i = 0; i < desc->natts; i++)
	{
		Oid			type = timestamps_scored_type(column_type(desc, i));

		if (type != TIMESTAMPTZOID && type != TIMESTAMPOID)
			continue;
		source_append_name(&candidates, column_name(desc, i));
		found = found == -1 ? i : -2;
	}
	if (found < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timestamp_col must be specified for %s", source_label(spec->source)),
				 found == -1
					 ? errdetail("The source has no column of type timestamp with or without "
								 "time zone, or date.")
					 : errdetail("The candidates are %s.", candidates.data),
				 source_errcontext(spec->source)));
	spec->timestamp_col = pstrdup(column_name(desc, found));
}

static bool
is_among(const char *name, int n, char **names)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* Whether a column is the time column, a series column or the label. */
static bool
has_other_use(const SourceSpec *spec, const char *name)
{
	return strcmp(name, spec->timestamp_col) == 0 ||
		is_among(name, spec->nseries, spec->series_cols) ||
		(spec->label_col && strcmp(name, spec->label_col) == 0);
}

/*
 * Whether a column is part of the relation's primary key, or an identity.  It is found
 * by name, because positions count dropped columns.
 */
static bool
is_key(Relation rel, const Bitmapset *keys, const char *name)
{
	AttrNumber	number = get_attnum(RelationGetRelid(rel), name);

	return number > 0 &&
		(bms_is_member(number - FirstLowInvalidHeapAttributeNumber, keys) ||
		 TupleDescAttr(RelationGetDescr(rel), number - 1)->attidentity != '\0');
}

/* Chooses as features all numeric and boolean columns that are no keys and have no other use. */
static void
choose_features(SourceSpec *spec, TupleDesc desc, Oid relation)
{
	Relation	rel = OidIsValid(relation) ? relation_open(relation, AccessShareLock) : NULL;
	Bitmapset  *keys = rel ? RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY) : NULL;

	spec->features = palloc(sizeof(char *) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		char	   *name = column_name(desc, i);
		FeatureType how;

		if (features_type(column_type(desc, i), &how) && how != FEATURE_NULL &&
			!has_other_use(spec, name) && !(rel && is_key(rel, keys, name)))
			spec->features[spec->nfeatures++] = pstrdup(name);
	}
	if (rel)
		relation_close(rel, AccessShareLock);
	if (spec->nfeatures == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has no numeric or boolean column to use as a feature",
						source_label(spec->source)),
				 source_errcontext(spec->source)));
}

/* ---- checks ----------------------------------------------------------------------------- */

static void
check_count(const char *what, int n, int most)
{
	if (n > most)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("cannot use %d %s, the limit is %d", n, what, most)));
}

/* Refuses too many columns, and columns with two uses. */
static void
check_uses(const SourceSpec *spec)
{
	const char *name;

	check_count("features", spec->nfeatures, spec->metric_col ? METRICS_MAX : FEATURES_MAX);
	check_count("series columns", spec->nseries, SERIES_COLS_MAX);
	name = feature_names_repeated(spec->nfeatures, spec->features);
	if (name)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("%s \"%s\" appears twice in feature_cols",
						spec->metric_col ? "metric" : "column", name)));
	if (spec->metric_col &&
		(has_other_use(spec, spec->metric_col) || has_other_use(spec, spec->value_col) ||
		 strcmp(spec->metric_col, spec->value_col) == 0))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("metric_col and value_col must differ from each other and from the time "
						"column, the series columns and the label")));
	for (int i = 0; spec->metric_col == NULL && i < spec->nfeatures; i++)
		if (has_other_use(spec, spec->features[i]))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" cannot be a feature and also the time column, a series "
							"column or the label",
							spec->features[i])));
	name = feature_names_repeated(spec->nseries, spec->series_cols);
	if (name)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("column \"%s\" appears twice in series_cols", name)));
}

/* Lists, for a message, of columns that cannot be used. */
typedef struct Difference
{
	StringInfoData missing;
	StringInfoData ambiguous;
	StringInfoData wrong_type;
} Difference;

/* The type of a column; InvalidOid, and an entry in the difference, if it is not found. */
static Oid
bind_column(TupleDesc desc, const char *name, Difference *difference)
{
	int			i = find_column(desc, name);

	if (i >= 0)
		return column_type(desc, i);
	source_append_name(i == -1 ? &difference->missing : &difference->ambiguous, name);
	return InvalidOid;
}

static void
note_wrong_type(Difference *difference, const char *name, Oid type, const char *wanted)
{
	appendStringInfo(&difference->wrong_type, "%s\"%s\" is %s, not %s",
					 difference->wrong_type.len > 0 ? ", " : "", name, format_type_be(type),
					 wanted);
}

/* The type of a column that must be numeric or boolean. */
static Oid
bind_number(TupleDesc desc, const char *name, const char *wanted, Difference *difference)
{
	Oid			type = bind_column(desc, name, difference);
	FeatureType how;

	if (OidIsValid(type) && !features_type(type, &how))
		note_wrong_type(difference, name, type, wanted);
	return type;
}

/* Finds a series column, whose type must be one that rows can be sorted and grouped by. */
static void
bind_series_column(Source *s, TupleDesc desc, int number, Difference *difference)
{
	const char *name = s->spec.series_cols[number];
	Oid			type = bind_column(desc, name, difference);
	TypeCacheEntry *cache;

	s->series_types[number] = type;
	if (!OidIsValid(type))
		return;
	s->series_collations[number] = TupleDescAttr(desc, find_column(desc, name))->attcollation;
	cache = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR | TYPECACHE_CMP_PROC);
	if (type == RECORDOID)
		note_wrong_type(difference, name, type, "a named type");
	else if (!OidIsValid(cache->eq_opr) || !OidIsValid(cache->lt_opr) ||
			 !OidIsValid(cache->cmp_proc))
		note_wrong_type(difference, name, type, "a type that can be sorted");
}

/* Finds the column of a metric, which must have an equality and an array type. */
static void
bind_metric_column(Source *s, TupleDesc desc, Difference *difference)
{
	Oid			base;

	s->metric_type = bind_column(desc, s->spec.metric_col, difference);
	base = OidIsValid(s->metric_type) ? getBaseType(s->metric_type) : InvalidOid;
	if (OidIsValid(base) &&
		(!OidIsValid(lookup_type_cache(base, TYPECACHE_EQ_OPR)->eq_opr) ||
		 !OidIsValid(get_array_type(base))))
		note_wrong_type(difference, s->spec.metric_col, s->metric_type,
						"a type that can be compared");
}

/* Appends a part of the detail, such as: Missing: "a", "b". */
static void
append_part(StringInfo detail, const char *what, const StringInfo part)
{
	if (part->len > 0)
		appendStringInfo(detail, "%s%s: %s.", detail->len > 0 ? " " : "", what, part->data);
}

static void
report_difference(const Source *s, TupleDesc desc, Difference *difference)
{
	StringInfoData detail;
	StringInfoData has;

	initStringInfo(&detail);
	append_part(&detail, "Missing", &difference->missing);
	append_part(&detail, "Ambiguous", &difference->ambiguous);
	append_part(&detail, "Wrong type", &difference->wrong_type);
	if (detail.len == 0)
		return;
	initStringInfo(&has);
	for (int i = 0; i < desc->natts; i++)
		source_append_name(&has, column_name(desc, i));
	ereport(ERROR,
			(errcode(difference->missing.len > 0		 ? ERRCODE_UNDEFINED_COLUMN
						 : difference->ambiguous.len > 0 ? ERRCODE_AMBIGUOUS_COLUMN
														 : ERRCODE_DATATYPE_MISMATCH),
			 errmsg("%s does not have all required columns", source_label(s->spec.source)),
			 errdetail("%s", detail.data), errhint("The columns of the source are %s.", has.data),
			 source_errcontext(s->spec.source)));
}

void
source_bind_columns(Source *s, TupleDesc desc, Oid relation)
{
	SourceSpec *spec = &s->spec;
	Difference	difference;

	choose_usual_columns(spec, desc);
	if (spec->timestamp_col == NULL)
		choose_timestamp_col(spec, desc);
	if (spec->nfeatures == 0 && spec->metric_col == NULL)
		choose_features(spec, desc, relation);
	check_uses(spec);

	initStringInfo(&difference.missing);
	initStringInfo(&difference.ambiguous);
	initStringInfo(&difference.wrong_type);
	s->ts_column_type = bind_column(desc, spec->timestamp_col, &difference);
	if (OidIsValid(s->ts_column_type))
	{
		s->ts_type = timestamps_scored_type(s->ts_column_type);
		if (!OidIsValid(s->ts_type))
			note_wrong_type(&difference, spec->timestamp_col, s->ts_column_type,
							"a timestamp, date or integer");
		s->ts_column_type = getBaseType(s->ts_column_type);
	}
	s->series_types = palloc0(sizeof(Oid) * Max(spec->nseries, 1));
	s->series_collations = palloc0(sizeof(Oid) * Max(spec->nseries, 1));
	for (int i = 0; i < spec->nseries; i++)
		bind_series_column(s, desc, i, &difference);
	s->feature_types = palloc(sizeof(Oid) * Max(spec->nfeatures, 1));
	for (int i = 0; i < spec->nfeatures; i++)
		s->feature_types[i] = spec->metric_col
			? FLOAT8OID
			: bind_number(desc, spec->features[i], "numeric or boolean", &difference);
	if (spec->metric_col)
	{
		bind_metric_column(s, desc, &difference);
		(void) bind_number(desc, spec->value_col, "numeric or boolean", &difference);
	}
	if (spec->label_col)
		s->label_type = bind_number(desc, spec->label_col, "boolean or numeric", &difference);
	report_difference(s, desc, &difference);
	if (spec->metric_col)
		source_bind_narrow(s);
}
