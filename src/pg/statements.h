/*
 * pg/statements.h
 *	  Statements of our own, whose names need no schema.
 */
#ifndef AMAD_PG_STATEMENTS_H
#define AMAD_PG_STATEMENTS_H

/* What is restored afterwards; also after an ERROR, by PostgreSQL. */
typedef struct StatementScope
{
	Oid			user;
	int			security_context;
	int			guc_level;
} StatementScope;

/*
 * Connects to SPI with the search_path pg_catalog, pg_temp.  owner: the role that statements run
 * as, in a security-restricted operation; InvalidOid: the current one, without that.
 */
extern StatementScope statements_enter(Oid owner);
extern void statements_leave(const StatementScope *scope);

#endif							/* AMAD_PG_STATEMENTS_H */
