/*
 * pg/rowset.c
 *	  The result of a set-returning function, in a tuplestore of work_mem.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "funcapi.h"
#include "miscadmin.h"

#include "pg/rowset.h"

Rowset
rowset_open(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	Rowset		rowset;

	if (info == NULL || !IsA(info, ReturnSetInfo) || !(info->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &rowset.desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rowset.desc = BlessTupleDesc(rowset.desc);
	rowset.store = tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0, false,
										 work_mem);
	info->returnMode = SFRM_Materialize;
	info->setResult = rowset.store;
	info->setDesc = rowset.desc;
	MemoryContextSwitchTo(old);
	return rowset;
}

void
rowset_add(Rowset *rowset, Datum *values, bool *nulls)
{
	tuplestore_putvalues(rowset->store, rowset->desc, values, nulls);
}
