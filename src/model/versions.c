/*
 * model/versions.c
 *	  The functions amad_deploy, amad_grant and amad_revoke.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "model/registry.h"

SQL_FUNCTION(amad_deploy);
SQL_FUNCTION(amad_grant);
SQL_FUNCTION(amad_revoke);

/* (model_name, version) → void */
Datum
amad_deploy(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("amad_deploy()");
	registry_deploy(fcinfo->flinfo->fn_oid, text_to_cstring(PG_GETARG_TEXT_PP(0)),
					registry_version(fcinfo, 1));
	PG_RETURN_VOID();
}

/* (model_name, role, privilege) → void */
Datum
amad_grant(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("amad_grant()");
	registry_grant(fcinfo->flinfo->fn_oid, text_to_cstring(PG_GETARG_TEXT_PP(0)),
				   NameStr(*PG_GETARG_NAME(1)),
				   grant_privilege(text_to_cstring(PG_GETARG_TEXT_PP(2))));
	PG_RETURN_VOID();
}

/* (model_name, role, privilege) → boolean, whether the role had it; privilege NULL: all */
Datum
amad_revoke(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	PreventCommandIfReadOnly("amad_revoke()");
	PG_RETURN_BOOL(registry_revoke(fcinfo->flinfo->fn_oid, text_to_cstring(PG_GETARG_TEXT_PP(0)),
								   NameStr(*PG_GETARG_NAME(1)),
								   PG_ARGISNULL(2)
									   ? GRANT_READ
									   : grant_privilege(text_to_cstring(PG_GETARG_TEXT_PP(2)))));
}
