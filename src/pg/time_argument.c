/*
 * pg/time_argument.c
 *	  The argument ts of a function that is declared with "any" there.
 *
 * PostgreSQL passes such an argument as it is: integers are not widened, domains are kept,
 * and an untyped literal has the type unknown.  So the type is looked up in the call.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "pg/time_argument.h"
#include "pg/timestamps.h"

Oid
time_argument_type(FmgrInfo *flinfo, int number, const char *function, const char *syntax)
{
	const Oid	type = get_fn_expr_argtype(flinfo, number);

	if (!OidIsValid(timestamps_scored_type(type)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("argument ts of %s must have type timestamptz, timestamp, date, or an integer "
						"type, not %s", function, format_type_be(type)),
				 type == UNKNOWNOID
				 ? errhint("Cast the literal, for example to timestamptz.")
				 : errhint("The arguments are (%s).", syntax)));
	return getBaseType(type);
}
