/*
 * rows/source_series.c
 *	  The conditions of a query that reads some of the series of a source.
 *
 * The argument `series` is an object of series columns and their values, or an array of such
 * objects: a row has to match one of them.  A value is a scalar, null, or an array of scalars
 * and nulls, of which the row has to have one.  An empty array matches no row.
 *
 * Each value is converted by the input function of its column's type before it is written
 * into the query, so that an error can name the column.  It is written as a text that does not
 * depend on the session's settings, because plans are kept, and because other nodes read it.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "pg/json.h"
#include "rows/series_key.h"
#include "rows/source.h"
#include "rows/source_private.h"

static void
refuse_series_column(const Source *s, const char *name)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < s->spec.nseries; i++)
		source_append_name(&list, s->spec.series_cols[i]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("column \"%s\" is not a series column of the model", name),
			 s->spec.nseries > 0 ? errhint("The series columns are %s.", list.data)
								 : errhint("The model was not trained with series columns.")));
}

/* Position of a series column in series_cols. */
static int
find_series_column(const Source *s, const char *name)
{
	for (int i = 0; i < s->spec.nseries; i++)
		if (strcmp(s->spec.series_cols[i], name) == 0)
			return i;
	refuse_series_column(s, name);
	return -1;					/* not reached */
}

/* A value as its type writes it; ERROR, in terms of the column, if it does not accept the text. */
static char *
convert_series_value(const Source *s, int number, Oid type, char *text)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum value = 0;
	Oid			input;
	Oid			parameter;

	getTypeInputInfo(type, &input, &parameter);
	PG_TRY();
	{
		value = OidInputFunctionCall(input, text, parameter, -1);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(error->sqlerrcode),
				 errmsg("value \"%s\" does not fit series column \"%s\"", text,
						s->spec.series_cols[number]),
				 errdetail("The type of the column is %s: %s.", format_type_be(type),
						   error->message)));
	}
	PG_END_TRY();
	return series_output_text(type, value);
}

/* Appends a value of a series column as a literal of its type; false if it is null. */
static bool
append_series_value(StringInfo out, const Source *s, int number, JsonbValue *value)
{
	const Oid	type = getBaseType(s->series_types[number]);
	char	   *text;

	CHECK_FOR_INTERRUPTS();
	if (value->type == jbvNull)
		return false;
	text = convert_series_value(s, number, type, json_scalar_text(value));
	/* bpchar, not "character", which is character(1) */
	appendStringInfo(out, "%s::%s", quote_literal_cstr(text),
					 format_type_extended(type, -1,
										  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	return true;
}

/* A series column and the equality operator of its type. */
static char *
column_equals(const Source *s, int number)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "%s%s", quote_identifier(s->spec.series_cols[number]),
					 source_cast(s, number));
	source_append_operator(&out,
						   lookup_type_cache(s->series_types[number], TYPECACHE_EQ_OPR)->eq_opr);
	return out.data;
}

/* Appends the condition that a series column has one of the values of an array. */
static void
append_any_value(StringInfo out, const Source *s, int number, JsonbContainer *array)
{
	const Oid	type = getBaseType(s->series_types[number]);
	const char *column = quote_identifier(s->spec.series_cols[number]);
	const char *equal = column_equals(s, number);

	/* of several arrays, ANY would compare the elements */
	const bool	one_by_one = type_is_array(type) || !OidIsValid(get_array_type(type));
	StringInfoData list;
	bool		null = false;

	initStringInfo(&list);
	for (int i = 0; i < JsonContainerSize(array); i++)
	{
		const int	before = list.len;

		if (before > 0)
			appendStringInfoString(&list, one_by_one ? psprintf(" OR %s", equal) : ", ");
		if (append_series_value(&list, s, number, getIthJsonbValueFromContainer(array, i)))
			continue;
		null = true;
		list.len = before;
		list.data[before] = '\0';
	}
	if (list.len == 0)
		appendStringInfo(out, "%s", null ? psprintf("%s IS NULL", column) : "false");
	else
		appendStringInfo(out, one_by_one ? "(%s%s%s)" : "(%sANY (ARRAY[%s])%s)", equal, list.data,
						 null ? psprintf(" OR %s IS NULL", column) : "");
}

/* Appends the conditions for an object of series columns and their values. */
static void
append_series_object(StringInfo out, const Source *s, JsonbContainer *object)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue	value;
	char	   *name;

	if (JsonContainerSize(object) == 0)
		appendStringInfoString(out, "true");
	for (int n = 0; (name = json_next_member(&it, &value)) != NULL; n++)
	{
		const int	number = find_series_column(s, name);
		StringInfoData literal;

		if (n > 0)
			appendStringInfoString(out, " AND ");
		if (value.type == jbvBinary && JsonContainerIsArray(value.val.binary.data))
		{
			append_any_value(out, s, number, value.val.binary.data);
			continue;
		}
		initStringInfo(&literal);
		if (append_series_value(&literal, s, number, &value))
			appendStringInfo(out, "%s%s", column_equals(s, number), literal.data);
		else
			appendStringInfo(out, "%s IS NULL", quote_identifier(name));
	}
}

static void
refuse_series_argument(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("series must be a JSON object or an array of JSON objects"),
			 errhint("For example '{\"device\": \"a\"}' or '{\"device\": [\"a\", \"b\"]}'.")));
}

void
source_append_series(StringInfo where, const Source *s, Jsonb *series)
{
	/* input functions can run code of the source's owner */
	SourceScope scope = source_enter(&s->spec);

	if (where->len > 0)
		appendStringInfoString(where, " AND ");
	if (JB_ROOT_IS_OBJECT(series))
		append_series_object(where, s, &series->root);
	else if (!JB_ROOT_IS_ARRAY(series) || JB_ROOT_IS_SCALAR(series))
		refuse_series_argument();
	else if (JB_ROOT_COUNT(series) == 0)
		appendStringInfoString(where, "false");
	else
	{
		appendStringInfoChar(where, '(');
		for (int i = 0; i < JB_ROOT_COUNT(series); i++)
		{
			JsonbValue *element = getIthJsonbValueFromContainer(&series->root, i);

			if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
				refuse_series_argument();
			appendStringInfoString(where, i > 0 ? " OR (" : "(");
			append_series_object(where, s, element->val.binary.data);
			appendStringInfoChar(where, ')');
		}
		appendStringInfoChar(where, ')');
	}
	source_leave(&scope);
}

char *
source_series_value(const Source *s, int number, const char *column)
{
	switch (getBaseType(s->series_types[number]))
	{
		case BPCHAROID:
			return psprintf("%s::pg_catalog.text", column);
		case NUMERICOID:
			return psprintf("pg_catalog.trim_scale(%s)", column);
		case BYTEAOID:
			return psprintf("'\\x' OPERATOR(pg_catalog.||) pg_catalog.encode(%s, 'hex')", column);
		case TIMESTAMPOID:
			return psprintf("pg_catalog.to_jsonb(%s) OPERATOR(pg_catalog.#>>) '{}'", column);
		case TIMESTAMPTZOID:
			return psprintf("CASE WHEN pg_catalog.isfinite(%s) THEN pg_catalog.concat("
							"pg_catalog.to_jsonb(pg_catalog.timezone('UTC', %s)) "
							"OPERATOR(pg_catalog.#>>) '{}', '+00:00') ELSE %s::pg_catalog.text END",
							column, column, column);
		default:
			return pstrdup(column);
	}
}
