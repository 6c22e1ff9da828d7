/*
 * compat.h
 *	  The only place that knows PostgreSQL's versions: 14 to 18.
 *
 * Include it right after postgres.h.  The code is written for the newest API.
 */
#ifndef AMAD_COMPAT_H
#define AMAD_COMPAT_H

#if PG_VERSION_NUM < 140000
#error "amad needs PostgreSQL 14 or later"
#endif

#include "fmgr.h"

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* declared by fmgr.h in some versions; the same again does no harm */
extern PGDLLEXPORT void _PG_init(void);

/* A C function that SQL can call: the only symbols the library shows. */
#define SQL_FUNCTION(name) \
	PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

#endif							/* AMAD_COMPAT_H */
