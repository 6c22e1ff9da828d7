/*
 * pg/rowset.h
 *	  The rows that a set-returning function returns, in a tuplestore of work_mem.
 */
#ifndef AMAD_PG_ROWSET_H
#define AMAD_PG_ROWSET_H

#include "fmgr.h"
#include "utils/tuplestore.h"

typedef struct Rowset
{
	Tuplestorestate *store;
	TupleDesc	desc;
} Rowset;

/* An empty set as the result of the call.  ERROR where a set cannot be returned. */
extern Rowset rowset_open(FunctionCallInfo fcinfo);
extern void rowset_add(Rowset *rowset, Datum *values, bool *nulls);

#endif							/* AMAD_PG_ROWSET_H */
