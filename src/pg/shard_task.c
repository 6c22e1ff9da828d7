/*
 * pg/shard_task.c
 *	  Parts of a statement that Citus executes on a shard, in which nothing may be stored.
 *
 * Citus divides a statement on a distributed table into tasks, one for each shard, and sends each
 * as a statement of its own to the node of the shard, or to the node itself on another connection.
 * What a task stores would be in the tables of that node, and in a transaction that does not end
 * with that of the client.  The name of the application of such a connection says what it is
 * ("citus_internal gpid=…").  Citus itself decides by it what a task may do.
 *
 * If a shard is on the node of the client, its task can run in the client's own process.  Then an
 * aggregate is in a plan that reads the shard; other functions do not know their plan.  They write
 * in the client's transaction, and Citus refuses writes to its own tables there.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
#include "utils/guc.h"

#include "pg/citus.h"
#include "pg/shard_task.h"

#define INTERNAL_CONNECTION "citus_internal gpid="

/* Whether the plan of an aggregate reads shards of a distributed table. */
static bool
reads_shards(FunctionCallInfo fcinfo)
{
	const Node *context = fcinfo ? fcinfo->context : NULL;
	ListCell   *cell;

	if (context == NULL || !(IsA(context, AggState) || IsA(context, WindowAggState)))
		return false;
	foreach(cell, ((const PlanState *) context)->state->es_range_table)
	{
		const RangeTblEntry *entry = lfirst(cell);
		Oid			table = entry->rtekind == RTE_RELATION ? citus_table_of_shard(entry->relid)
														   : InvalidOid;

		if (OidIsValid(table) && citus_table(table) == CITUS_DISTRIBUTED)
			return true;
	}
	return false;
}

void
shard_task_refuse(FunctionCallInfo fcinfo, const char *function, const char *hint)
{
	const bool	internal = application_name != NULL &&
		strncmp(application_name, INTERNAL_CONNECTION, strlen(INTERNAL_CONNECTION)) == 0;

	if (!citus_installed() || !(internal || reads_shards(fcinfo)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s cannot be called in a query on a shard", function),
			 errdetail("Citus executes this part of the statement on the node of the shard, where "
					   "nothing can be stored for all nodes."),
			 errhint("%s", hint ? hint : "Call it in a statement that reads no distributed table.")));
}
