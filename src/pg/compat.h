/*
 * pg/compat.h
 *	  Differences between the supported versions of PostgreSQL, 15 to 19.
 *
 * Include it right after postgres.h.  The code is written for the newest API.
 */
#ifndef AMAD_PG_COMPAT_H
#define AMAD_PG_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "amad needs PostgreSQL 15 or later"
#endif

#include "fmgr.h"

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* PG_WAIT_EXTENSION */
#if PG_VERSION_NUM >= 180000
#include "utils/wait_classes.h"
#else
#include "utils/wait_event.h"
#endif

/* The status of the i-th backend, from 1. */
#if PG_VERSION_NUM < 160000
#define pgstat_get_local_beentry_by_index(i) pgstat_fetch_stat_local_beentry(i)
#endif

/* The process of a virtual transaction; for files that include storage/lock.h. */
#if PG_VERSION_NUM >= 170000
#include "storage/procarray.h"
#define vxid_process(vxid) ProcNumberGetProc((vxid)->procNumber)
#else
#include "storage/sinvaladt.h"
#define vxid_process(vxid) BackendIdGetProc((vxid)->backendId)
#endif

/* Before 19 no window function could be called with IGNORE NULLS. */
#if PG_VERSION_NUM < 190000
#define WinCheckAndInitializeNullTreatment(window, allowed, fcinfo) ((void) 0)
#endif

/* The next datum of a sort, as a copy; for files that include utils/tuplesort.h. */
#if PG_VERSION_NUM >= 160000
#define tuplesort_next_datum(sort, value, isnull) \
	tuplesort_getdatum(sort, true, true, value, isnull, NULL)
#else
#define tuplesort_next_datum(sort, value, isnull) \
	tuplesort_getdatum(sort, true, value, isnull, NULL)
#endif

/* Whether column i (from 0) is a virtual generated column, which stored rows do not have. */
#if PG_VERSION_NUM >= 180000
#define column_is_virtual(desc, i) \
	(TupleDescAttr(desc, i)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define column_is_virtual(desc, i) false
#endif

/* Renamed in 16. */
#if PG_VERSION_NUM < 160000
#define stat_live_tuples(entry) ((entry)->n_live_tuples)
#else
#define stat_live_tuples(entry) ((entry)->live_tuples)
#endif

/* Whether column i (from 0) cannot be null; a NOT NULL constraint may be invalid since 18. */
#if PG_VERSION_NUM >= 180000
#define column_is_not_null(desc, i) \
	(TupleDescCompactAttr(desc, i)->attnullability == ATTNULLABLE_VALID)
#else
#define column_is_not_null(desc, i) (TupleDescAttr(desc, i)->attnotnull)
#endif

/* declared by fmgr.h in some versions only; a repeated declaration is harmless */
extern PGDLLEXPORT void _PG_init(void);

/* A C function that SQL can call; other symbols of the library are hidden. */
#define SQL_FUNCTION(name) \
	PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

#endif							/* AMAD_PG_COMPAT_H */
