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

/* (model_name, version) → void */
Datum
amad_deploy(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("amad_deploy()");
	registry_deploy(fcinfo->flinfo->fn_oid, text_to_cstring(PG_GETARG_TEXT_PP(0)),
					registry_version(fcinfo, 1));
	PG_RETURN_VOID();
}

/* (model_name, version) → bigint, versions dropped; version NULL: all */
Datum
amad_drop(PG_FUNCTION_ARGS)
{
	int			version = registry_version(fcinfo, 1);

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PreventCommandIfReadOnly("amad_drop()");
	PG_RETURN_INT64(
		registry_drop(fcinfo->flinfo->fn_oid, text_to_cstring(PG_GETARG_TEXT_PP(0)), version));
}
