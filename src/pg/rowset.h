/*
 * pg/rowset.h
 *	  The result of a set-returning function, in a tuplestore of work_mem.
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

/* Makes an empty set the result of the call.  ERROR if the caller does not accept a set. */
extern Rowset rowset_open(FunctionCallInfo fcinfo);
extern void rowset_add(Rowset *rowset, Datum *values, bool *nulls);

#endif							/* AMAD_PG_ROWSET_H */
