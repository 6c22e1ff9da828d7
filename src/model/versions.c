/*
 * model/versions.c
 *	  Versions of a model: amad_deploy and amad_drop.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "model/registry.h"

SQL_FUNCTION(amad_deploy);
SQL_FUNCTION(amad_drop);

static int
version_argument(FunctionCallInfo fcinfo, int number)
{
	int			version = PG_GETARG_INT32(number);

	if (version < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("version must be at least 1")));
	return version;
}

/* (model_name, version) → void */
Datum
amad_deploy(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("amad_deploy()");
	registry_deploy(fcinfo->flinfo->fn_oid, text_to_cstring(PG_GETARG_TEXT_PP(0)),
					version_argument(fcinfo, 1));
	PG_RETURN_VOID();
}

/* (model_name, version) → bigint, versions dropped; version NULL: all */
Datum
amad_drop(PG_FUNCTION_ARGS)
{
	int			version = PG_ARGISNULL(1) ? 0 : version_argument(fcinfo, 1);

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PreventCommandIfReadOnly("amad_drop()");
	PG_RETURN_INT64(
		registry_drop(fcinfo->flinfo->fn_oid, text_to_cstring(PG_GETARG_TEXT_PP(0)), version));
}
