/*
 * pg/json.c
 *	  Writing JSON text member by member, and reading values of jsonb.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "pg/json.h"

#define MAX_VALUE_TEXT 60		/* bytes of an invalid value shown in a message */

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

static void
put_double(StringInfo out, double value)
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
json_ints(StringInfo out, int n, const int *values)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
		appendStringInfo(out, "%s%d", i > 0 ? ", " : "", values[i]);
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
json_put_json(StringInfo out, const char *key, const char *json)
{
	json_key(out, key);
	appendStringInfoString(out, json);
}

void
json_put_string(StringInfo out, const char *key, const char *value)
{
	json_key(out, key);
	if (value != NULL)
		json_string(out, value);
	else
		appendStringInfoString(out, "null");
}

void
json_put_strings(StringInfo out, const char *key, int n, char **values)
{
	json_key(out, key);
	json_strings(out, n, values);
}

void
json_put_int(StringInfo out, const char *key, int64 value)
{
	json_key(out, key);
	appendStringInfo(out, INT64_FORMAT, value);
}

void
json_put_exact(StringInfo out, const char *key, int64 value)
{
	json_put_string(out, key, psprintf(INT64_FORMAT, value));
}

void
json_put_ints(StringInfo out, const char *key, int n, const int *values)
{
	json_key(out, key);
	json_ints(out, n, values);
}

void
json_put_double(StringInfo out, const char *key, double value)
{
	json_key(out, key);
	put_double(out, value);
}

void
json_put_doubles(StringInfo out, const char *key, int n, const double *values)
{
	json_key(out, key);
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		put_double(out, values[i]);
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

char *
json_next_member(JsonbIterator **iterator, JsonbValue *value)
{
	JsonbIteratorToken token;
	char	   *key;

	do
		token = JsonbIteratorNext(iterator, value, true);
	while (token == WJB_BEGIN_OBJECT);
	if (token != WJB_KEY)
		return NULL;
	key = pnstrdup(value->val.string.val, value->val.string.len);
	JsonbIteratorNext(iterator, value, true);
	return key;
}

char *
json_string_text(const JsonbValue *value)
{
	return value != NULL && value->type == jbvString
		? pnstrdup(value->val.string.val, value->val.string.len)
		: NULL;
}

char *
json_scalar_text(JsonbValue *value)
{
	char	   *text = json_string_text(value);

	return text ? text : JsonbToCString(NULL, &JsonbValueToJsonb(value)->root, -1);
}

char *
json_value_text(JsonbValue *value)
{
	char	   *text = JsonbToCString(NULL, &JsonbValueToJsonb(value)->root, -1);
	int			length = strlen(text);

	CHECK_FOR_INTERRUPTS();		/* the value may be long */
	if (length <= MAX_VALUE_TEXT)
		return text;
	text[pg_mbcliplen(text, length, MAX_VALUE_TEXT)] = '\0';
	return psprintf("%s...", text);
}

void
json_refuse_option(const char *key, JsonbValue *value, const char *must_be)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": %s", key, json_value_text(value)),
			 errdetail("It must be %s.", must_be)));
}

double
json_number(const JsonbValue *value, double otherwise)
{
	if (value == NULL || value->type != jbvNumeric)
		return otherwise;
	return DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
}

bool
json_exact(JsonbContainer *object, const char *key, int64 *value)
{
	char	   *text = json_string_text(json_get(object, key));

	if (text == NULL)
		return false;
	*value = DatumGetInt64(DirectFunctionCall1(int8in, CStringGetDatum(text)));
	return true;
}
