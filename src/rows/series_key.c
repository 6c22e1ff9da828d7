/*
 * rows/series_key.c
 *	  The key of a series: a JSON object of its series columns.
 *
 * A model stores one key per series it was trained on.  A row usually has an identical
 * key, because write_value() writes equal values of most types alike.  Where that
 * is impossible (nondeterministic collations, composite and extension types) or the type of
 * a column has changed, a SeriesFinder reads the values back from the stored keys, sorts
 * them by the columns' comparison functions, and searches by bisection.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/transam.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "pg/json.h"
#include "pg/subtransaction.h"
#include "rows/series_key.h"

/* ---- keys -------------------------------------------------------------------------------- */

/*
 * Writes a number without trailing zeros after the point (1.50 as 1.5) and without the
 * sign of zero; quoted if JSON has no such number.
 */
static void
write_number(StringInfo out, const char *text)
{
	int			length = strlen(text);

	if (text[strspn(text, "0123456789+-.eE")] != '\0')
	{
		json_string(out, text);
		return;
	}
	if (strchr(text, '.') && !strpbrk(text, "eE"))
	{
		while (text[length - 1] == '0')
			length--;
		if (text[length - 1] == '.')
			length--;
	}
	if (length == 2 && memcmp(text, "-0", 2) == 0)
	{
		text++;
		length--;
	}
	appendBinaryStringInfo(out, text, length);
}

char *
series_output_text(Oid type, Datum value)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"TimeZone", "UTC"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"lc_monetary", "C"},
		{"search_path", "pg_catalog, pg_temp"},
	};
	int			level = NewGUCNestLevel();
	Oid			output;
	bool		varlena;
	char	   *text;

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	getTypeOutputInfo(type, &output, &varlena);
	text = OidOutputFunctionCall(output, value);
	AtEOXact_GUC(true, level);
	return text;
}

/*
 * The text of an interval as days and time.  Intervals are equal if they have the same
 * length, counting a day as 24 hours and a month as 30 days.
 */
static char *
interval_text(const Interval *interval)
{
	int64		days = interval->time / USECS_PER_DAY + (int64) interval->month * DAYS_PER_MONTH +
		interval->day;
	Interval	plain = {.time = interval->time % USECS_PER_DAY};

	if (days > 0 && plain.time < 0)
	{
		days--;
		plain.time += USECS_PER_DAY;
	}
	else if (days < 0 && plain.time > 0)
	{
		days++;
		plain.time -= USECS_PER_DAY;
	}
	plain.day = (int32) days;
	return series_output_text(INTERVALOID,
							  IntervalPGetDatum(plain.day == days ? &plain : interval));
}

static void
write_value(StringInfo out, Oid type, Datum value)
{
	const int	utc = 0;
	char		buffer[MAXDATELEN + 1];
	char	   *blanks;

	type = getBaseType(type);
	switch (type)
	{
		case BOOLOID:
			appendStringInfoString(out, DatumGetBool(value) ? "true" : "false");
			break;
		case DATEOID:
		case TIMESTAMPOID:
			/* not by the output function, which depends on DateStyle */
			json_string(out, JsonEncodeDateTime(buffer, value, type, NULL));
			break;
		case TIMESTAMPTZOID:
			json_string(out, JsonEncodeDateTime(buffer, value, type, &utc));
			break;
		case INTERVALOID:
			json_string(out, interval_text(DatumGetIntervalP(value)));
			break;
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			write_number(out, series_output_text(type, value));
			break;
		case TEXTOID:
		case VARCHAROID:
			json_string(out, TextDatumGetCString(value));
			break;
		case BPCHAROID:
			/* trailing blanks are insignificant */
			blanks = TextDatumGetCString(value);
			blanks[bpchartruelen(blanks, strlen(blanks))] = '\0';
			json_string(out, blanks);
			break;
		default:
			json_string(out, series_output_text(type, value));
	}
}

char *
series_key_of_row(int ncols, char **cols, const Oid *types, const Datum *values, const bool *nulls)
{
	StringInfoData key;

	initStringInfo(&key);
	appendStringInfoChar(&key, '{');
	for (int i = 0; i < ncols; i++)
	{
		json_key(&key, cols[i]);
		if (nulls[i])
			appendStringInfoString(&key, "null");
		else
			write_value(&key, types[i], values[i]);
	}
	appendStringInfoChar(&key, '}');
	return key.data;
}

char *
series_value_text(const JsonbValue *value)
{
	switch (value ? value->type : jbvNull)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return numeric_normalize(value->val.numeric);
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

static void
write_jsonb_value(StringInfo out, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			appendStringInfoString(out, "null");
			break;
		case jbvBool:
			appendStringInfoString(out, value->val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			write_number(out,
						 DatumGetCString(DirectFunctionCall1(numeric_out,
															 NumericGetDatum(value->val.numeric))));
			break;
		case jbvString:
			json_string(out, pnstrdup(value->val.string.val, value->val.string.len));
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("values of series columns must be numbers, strings, "
							"booleans or nulls")));
	}
}

static void
refuse_series(const Model *m)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < m->nseries_cols; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", m->series_cols[i]);
	if (m->nseries_cols == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the model was not trained with series columns"),
				 errhint("Omit the argument, or train with series_cols.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a series of this model is identified by %s", list.data),
			 errhint("Specify a JSON object with exactly these members, or omit the argument.")));
}

char *
series_key_of_jsonb(const Model *m, Jsonb *json)
{
	JsonbContainer *root = &json->root;
	StringInfoData key;

	if (m->nseries_cols == 0 || JsonContainerSize(root) != m->nseries_cols)
		refuse_series(m);
	initStringInfo(&key);
	appendStringInfoChar(&key, '{');
	for (int i = 0; i < m->nseries_cols; i++)
	{
		/* a scalar is an array of one */
		JsonbValue *value = JsonContainerIsObject(root) ? json_get(root, m->series_cols[i])
														: getIthJsonbValueFromContainer(root, i);

		if (value == NULL)
			refuse_series(m);
		json_key(&key, m->series_cols[i]);
		write_jsonb_value(&key, value);
	}
	appendStringInfoChar(&key, '}');
	return key.data;
}

/* ---- finding ----------------------------------------------------------------------------- */

/* A value of a series column: its text in the key, and the value if it is compared by value. */
typedef struct FinderValue
{
	char	   *text;			/* NULL: null */
	Datum		value;
} FinderValue;

typedef struct FinderEntry
{
	const char *key;			/* the model's */
	FinderValue *values;		/* (ncols) */
} FinderEntry;

typedef struct FinderColumn
{
	bool		by_value;		/* equal values may have different texts: compare values */
	Oid			type;
	Oid			collation;
	FmgrInfo	compare;
} FinderColumn;

struct SeriesFinder
{
	const Model *model;
	int			ncols;
	FinderColumn *columns;		/* (ncols) */
	MemoryContext context;		/* for all that follows */
	bool		prepared;
	int			nentries;
	FinderEntry *entries;		/* (nentries) sorted by values */
	MemoryContext scratch;		/* for one search */
};

/*
 * Whether equal values can have different texts in keys: because of the collation, of types
 * inside the type, or, for types of extensions, because nothing is known about them.
 * write_value() writes equal values of all other types alike.
 */
static bool
needs_values(Oid type, Oid collation)
{
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		return true;
	type = getBaseType(type);
	return type == JSONBOID || type_is_array(type) || type_is_rowtype(type) ||
		type_is_range(type) || type_is_multirange(type) ||
		(type >= FirstNormalObjectId && !type_is_enum(type));
}

static int
compare_values(const FinderColumn *column, const FinderValue *a, const FinderValue *b)
{
	if (a->text == NULL || b->text == NULL)
		return (a->text == NULL) - (b->text == NULL);
	if (!column->by_value)
		return strcmp(a->text, b->text);
	return DatumGetInt32(FunctionCall2Coll(unconstify(FmgrInfo *, &column->compare),
										   column->collation, a->value, b->value));
}

static int
compare_entries(const void *a, const void *b, void *arg)
{
	const SeriesFinder *f = arg;
	int			order = 0;

	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < f->ncols && order == 0; i++)
		order = compare_values(&f->columns[i], &((const FinderEntry *) a)->values[i],
							   &((const FinderEntry *) b)->values[i]);
	return order;
}

/* Reads the texts of the members of a key. */
static void
split_key(const SeriesFinder *f, const char *key, FinderValue *values)
{
	Jsonb	   *json = json_to_jsonb(key);

	for (int i = 0; i < f->ncols; i++)
		values[i].text = series_value_text(json_get(&json->root, f->model->series_cols[i]));
}

/* Reads values from the texts of a key, where they are compared by value. */
static void
read_values(const SeriesFinder *f, FinderValue *values)
{
	for (int i = 0; i < f->ncols; i++)
	{
		Oid			input;
		Oid			element;

		if (!f->columns[i].by_value || values[i].text == NULL)
			continue;
		getTypeInputInfo(f->columns[i].type, &input, &element);
		values[i].value = OidInputFunctionCall(input, values[i].text, element, -1);
	}
}

/* Whether the input function of a type accepts every text. */
static bool
reads_any_text(Oid type)
{
	type = getBaseType(type);
	return type == TEXTOID || type == VARCHAROID || type == BPCHAROID;
}

/* The arguments of read_values(). */
typedef struct ReadCall
{
	const SeriesFinder *finder;
	FinderValue *values;
} ReadCall;

static void
call_read_values(void *arg)
{
	const ReadCall *call = arg;

	read_values(call->finder, call->values);
}

/* read_values(); false if an input function does not accept a text. */
static bool
try_read_values(const SeriesFinder *f, FinderValue *values)
{
	ReadCall	call = {f, values};
	ErrorData  *error = subtransaction_run(call_read_values, &call);

	if (error == NULL)
		return true;
	/* errors about the text are expected, a cancel or a lack of memory is not */
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES)
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}

/*
 * Reads the values of all entries, and removes entries whose texts the type of a column
 * does not accept: the column had another type in training.
 */
static void
read_entries(SeriesFinder *f)
{
	bool		guarded = false;
	int			n = 0;

	for (int i = 0; i < f->ncols; i++)
		guarded = guarded || (f->columns[i].by_value && !reads_any_text(f->columns[i].type));
	for (int i = 0; i < f->nentries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!guarded)
			read_values(f, f->entries[i].values);
		else if (!try_read_values(f, f->entries[i].values))
			continue;
		f->entries[n++] = f->entries[i];
	}
	f->nentries = n;
}

/* Makes the sorted list of the model's series. */
static void
prepare_finder(SeriesFinder *f)
{
	const Model *m = f->model;
	MemoryContext old = MemoryContextSwitchTo(f->context);

	f->prepared = true;
	f->nentries = m->nseries;
	f->entries = palloc_extended(sizeof(FinderEntry) * Max((Size) m->nseries, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < m->nseries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		f->entries[i].key = m->series[i].key;
		f->entries[i].values = palloc0(sizeof(FinderValue) * f->ncols);
		split_key(f, m->series[i].key, f->entries[i].values);
	}
	read_entries(f);
	qsort_arg(f->entries, f->nentries, sizeof(FinderEntry), compare_entries, f);
	MemoryContextSwitchTo(old);
}

SeriesFinder *
series_finder_open(const Model *m, const Oid *types, const Oid *collations)
{
	SeriesFinder *f = palloc0(sizeof(SeriesFinder));
	bool		any_by_value = false;

	f->model = m;
	f->context = CurrentMemoryContext;
	f->ncols = m->nseries_cols;
	f->columns = palloc0(sizeof(FinderColumn) * Max(f->ncols, 1));
	for (int i = 0; i < f->ncols; i++)
	{
		FinderColumn *column = &f->columns[i];

		if (types == NULL)
			continue;			/* compare texts */
		column->type = getBaseType(types[i]);
		column->collation = collations[i];
		column->by_value = needs_values(types[i], collations[i]);
		if (column->by_value)
			fmgr_info(lookup_type_cache(types[i], TYPECACHE_CMP_PROC)->cmp_proc, &column->compare);
		any_by_value = any_by_value || column->by_value;
	}
	f->scratch = AllocSetContextCreate(CurrentMemoryContext, "amad series finder",
									   ALLOCSET_SMALL_SIZES);
	/* now, because reading values may need a subtransaction, not allowed in parallel mode */
	if (any_by_value)
		prepare_finder(f);
	return f;
}

const char *
series_finder_find(SeriesFinder *f, const char *key, const Datum *values)
{
	FinderEntry wanted = {0};
	FinderEntry *found;
	MemoryContext old;

	if (!f->prepared)
		prepare_finder(f);
	old = MemoryContextSwitchTo(f->scratch);
	wanted.values = palloc0(sizeof(FinderValue) * f->ncols);
	split_key(f, key, wanted.values);
	for (int i = 0; i < f->ncols && values; i++)
		wanted.values[i].value = values[i];
	found = bsearch_arg(&wanted, f->entries, f->nentries, sizeof(FinderEntry), compare_entries, f);
	MemoryContextSwitchTo(old);
	MemoryContextReset(f->scratch);
	return found ? found->key : NULL;
}
