/*
 * model/versions.c
 *	  The function amad_deploy.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "model/registry.h"

SQL_FUNCTION(amad_deploy);

/* (model_name, version) → void */
Datum
amad_deploy(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("amad_deploy()");
	registry_deploy(fcinfo->flinfo->fn_oid, text_to_cstring(PG_GETARG_TEXT_PP(0)),
					registry_version(fcinfo, 1));
	PG_RETURN_VOID();
}
