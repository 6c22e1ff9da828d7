/*
 * series_key.c
 *	  The name of a series: a JSON object of the columns that tell series apart.
 */
#include "postgres.h"
#include "compat.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "json.h"
#include "series_key.h"

/*
 * A number's text, without zeros behind the point that say nothing (1.50 is 1.5);
 * quoted when JSON has no such number.
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
	appendBinaryStringInfo(out, text, length);
}

static void
write_value(StringInfo out, Oid type, Datum value)
{
	char		buffer[MAXDATELEN + 1];
	Oid			output;
	bool		varlena;

	type = getBaseType(type);
	switch (type)
	{
		case BOOLOID:
			appendStringInfoString(out, DatumGetBool(value) ? "true" : "false");
			return;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			/* not the output function, which obeys DateStyle */
			json_string(out, JsonEncodeDateTime(buffer, value, type, NULL));
			return;
	}
	getTypeOutputInfo(type, &output, &varlena);
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			write_number(out, OidOutputFunctionCall(output, value));
			break;
		default:
			json_string(out, OidOutputFunctionCall(output, value));
	}
}

char *
series_key_of_row(int ncols, char **cols, const Oid *types, const Datum *values,
				  const bool *nulls)
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
			write_number(out, DatumGetCString(DirectFunctionCall1(
				numeric_out, NumericGetDatum(value->val.numeric))));
			break;
		case jbvString:
			json_string(out, pnstrdup(value->val.string.val, value->val.string.len));
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a series is named by numbers, strings, booleans and nulls")));
	}
}

static void
wrong_series(const Model *m)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < m->nseries_cols; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", m->series_cols[i]);
	if (m->nseries_cols == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the model knows no series"),
				 errhint("Leave the argument out, or train with series_cols.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a series of this model is named by %s", list.data),
			 errhint("Give a JSON object with exactly these members, or leave the argument out.")));
}

char *
series_key_of_jsonb(const Model *m, Jsonb *json)
{
	JsonbContainer *root = &json->root;
	StringInfoData key;

	if (m->nseries_cols == 0 || JsonContainerSize(root) != m->nseries_cols)
		wrong_series(m);
	initStringInfo(&key);
	appendStringInfoChar(&key, '{');
	for (int i = 0; i < m->nseries_cols; i++)
	{
		/* a scalar is an array of one */
		JsonbValue *value = JsonContainerIsObject(root) ? json_get(root, m->series_cols[i])
			: getIthJsonbValueFromContainer(root, i);

		if (value == NULL)
			wrong_series(m);
		json_key(&key, m->series_cols[i]);
		write_jsonb_value(&key, value);
	}
	appendStringInfoChar(&key, '}');
	return key.data;
}
