/*
 * rows/source_series.c
 *	  The conditions of a query that reads some of the series of a source.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "pg/json.h"
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

/* Appends "= value" with the equality operator of a series column's type, and that type. */
static void
append_equal(StringInfo where, const Source *s, int number, const char *text)
{
	Oid operator= lookup_type_cache(s->series_types[number], TYPECACHE_EQ_OPR)->eq_opr;
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	char	   *schema = HeapTupleIsValid(tuple)
		? get_namespace_name(((Form_pg_operator) GETSTRUCT(tuple))->oprnamespace)
		: NULL;

	if (schema == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("operator with OID %u was concurrently dropped", operator)));
	appendStringInfo(where, " OPERATOR(%s.%s) %s::%s", quote_identifier(schema),
					 NameStr(((Form_pg_operator) GETSTRUCT(tuple))->oprname),
					 quote_literal_cstr(text),
					 format_type_extended(getBaseType(s->series_types[number]), -1,
										  FORMAT_TYPE_FORCE_QUALIFY));
	ReleaseSysCache(tuple);
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

/* Appends the conditions for a JSON object of series columns and their values. */
void
source_append_series(StringInfo where, const Source *s, Jsonb *series)
{
	JsonbIterator *it;
	JsonbValue	value;
	char	   *name;

	if (!JB_ROOT_IS_OBJECT(series))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("series must be a JSON object"),
				 errhint("For example '{\"device\": \"a\"}'.")));
	it = JsonbIteratorInit(&series->root);
	while ((name = json_next_member(&it, &value)) != NULL)
	{
		char	   *text;
		int			number;

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
