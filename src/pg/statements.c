/*
 * pg/statements.c
 *	  Statements of our own, whose names need no schema.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "pg/statements.h"

StatementScope
statements_enter(Oid owner)
{
	StatementScope scope;

	GetUserIdAndSecContext(&scope.user, &scope.security_context);
	if (OidIsValid(owner))
		SetUserIdAndSecContext(owner,
							   scope.security_context | SECURITY_LOCAL_USERID_CHANGE |
								   SECURITY_RESTRICTED_OPERATION);
	scope.guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	return scope;
}

void
statements_leave(const StatementScope *scope)
{
	SPI_finish();
	AtEOXact_GUC(false, scope->guc_level);
	SetUserIdAndSecContext(scope->user, scope->security_context);
}
