/*
 * pg/json.c
 *	  Writing JSON text, number by number; reading values of jsonb.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "pg/json.h"

void
json_key(StringInfo out, const char *key)
{
	if (out->len > 0 && out->data[out->len - 1] != '{')
		appendStringInfoString(out, ", ");
	escape_json(out, key);
	appendStringInfoString(out, ": ");
}

void
json_string(StringInfo out, const char *value)
{
	escape_json(out, value);
}

void
json_double(StringInfo out, double value)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (!isfinite(value))
	{
		appendStringInfoString(out, "null");
		return;
	}
	double_to_shortest_decimal_buf(value, text);
	appendStringInfoString(out, text);
}

void
json_doubles(StringInfo out, int n, const double *values)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		json_double(out, values[i]);
	}
	appendStringInfoChar(out, ']');
}

void
json_int(StringInfo out, int64 value)
{
	appendStringInfo(out, INT64_FORMAT, value);
}

void
json_ints(StringInfo out, int n, const int *values)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		json_int(out, values[i]);
	}
	appendStringInfoChar(out, ']');
}

void
json_strings(StringInfo out, int n, char **values)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		json_string(out, values[i]);
	}
	appendStringInfoChar(out, ']');
}

void
json_reopen(StringInfo out, Jsonb *object)
{
	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the JSON value is not an object")));
	JsonbToCString(out, &object->root, -1);
	out->data[--out->len] = '\0';
}

Jsonb *
json_to_jsonb(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

JsonbValue *
json_get(JsonbContainer *object, const char *key)
{
	if (!JsonContainerIsObject(object))
		return NULL;
	return getKeyJsonValueFromContainer(object, key, strlen(key), NULL);
}

double
json_number(const JsonbValue *value, double otherwise)
{
	if (value == NULL || value->type != jbvNumeric)
		return otherwise;
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											  NumericGetDatum(value->val.numeric)));
}
