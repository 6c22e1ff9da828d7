/*
 * pg/call_arguments.c
 *	  Arguments of SQL functions: what several of them need.
 *
 * PostgreSQL passes an argument that is declared "any" as it is: integers are not widened,
 * domains are kept, and an untyped literal has the type unknown.  So its type is looked up
 * in the call's expression.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "pg/call_arguments.h"
#include "pg/timestamps.h"

bool
argument_is_null(FunctionCallInfo fcinfo, int number)
{
	return number >= PG_NARGS() || PG_ARGISNULL(number);
}

char *
function_schema(Oid function)
{
	char	   *schema = get_namespace_name(get_func_namespace(function));

	if (schema == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u was concurrently dropped", function)));
	return schema;
}

char *
text_argument(FunctionCallInfo fcinfo, int number)
{
	return argument_is_null(fcinfo, number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

char *
required_text_argument(FunctionCallInfo fcinfo, int number, const char *name)
{
	char	   *text = text_argument(fcinfo, number);

	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
	if (text[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be empty", name)));
	return text;
}

int
names_argument(FunctionCallInfo fcinfo, int number, const char *name, int most, char ***names)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	*names = NULL;
	if (PG_ARGISNULL(number))
		return 0;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(number), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	if (n > most)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("%s has %d names, the limit is %d", name, n, most)));
	*names = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain nulls", name)));
		(*names)[i] = TextDatumGetCString(elements[i]);
	}
	return n;
}

Oid
time_argument_type(FmgrInfo *flinfo, int number, const char *function, const char *arguments)
{
	const Oid	type = get_fn_expr_argtype(flinfo, number);

	if (!OidIsValid(timestamps_scored_type(type)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("argument ts of %s must have type timestamptz, timestamp, date, or an "
						"integer type, not %s",
						function, format_type_be(type)),
				 type == UNKNOWNOID ? errhint("Cast the literal, for example to timestamptz.")
									: errhint("The arguments are (%s).", arguments)));
	return getBaseType(type);
}

bool
jsonb_argument_changed(FunctionCallInfo fcinfo, int number, Jsonb *first)
{
	Jsonb	   *json;

	if (get_fn_expr_arg_stable(fcinfo->flinfo, number))
		return false;
	json = PG_ARGISNULL(number) ? NULL : PG_GETARG_JSONB_P(number);
	if (json == NULL || first == NULL)
		return json != first;
	return compareJsonbContainers(&json->root, &first->root) != 0;
}

MemoryContext
aggregate_group_context(FunctionCallInfo fcinfo, const char *function)
{
	MemoryContext context;

	/* FINALFUNC_MODIFY = READ_WRITE keeps it from being used as a window function */
	if (AggCheckCallContext(fcinfo, &context) != AGG_CONTEXT_AGGREGATE)
		elog(ERROR, "%s called in non-aggregate context", function);
	return context;
}
