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
 *
 * All connections of a client have the same name, with the number of its session.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/backend_status.h"
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

	if (context == NULL || !IsA(context, AggState))
		return false;
	foreach(cell, ((const AggState *) context)->ss.ps.state->es_range_table)
	{
		const RangeTblEntry *entry = lfirst(cell);
		Oid			table = entry->rtekind == RTE_RELATION ? citus_table_of_shard(entry->relid)
												   : InvalidOid;

		if (OidIsValid(table) && citus_table(table) == CITUS_DISTRIBUTED)
			return true;
	}
	return false;
}

static bool
is_internal_connection(void)
{
	return application_name != NULL &&
		strncmp(application_name, INTERNAL_CONNECTION, strlen(INTERNAL_CONNECTION)) == 0;
}

bool
shard_task_running(void)
{
	return citus_installed() && is_internal_connection();
}

void
shard_task_refuse(FunctionCallInfo fcinfo, const char *function, const char *hint)
{
	if (!shard_task_running() && !(citus_installed() && reads_shards(fcinfo)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s cannot be called in a query on a shard", function),
			 errdetail("Citus executes this part of the statement on the node of the shard, where "
					   "nothing can be stored for all nodes."),
			 errhint("%s",
					 hint ? hint : "Call it in a statement that reads no distributed table.")));
}

/* Whether another process is of the same client as this one. */
static bool
has_same_client(int pid)
{
	bool		same = false;

	pgstat_clear_backend_activity_snapshot();
	for (int i = 1; i <= pgstat_fetch_stat_numbackends() && !same; i++)
	{
		const PgBackendStatus *backend = &pgstat_get_local_beentry_by_index(i)->backendStatus;

		same = backend->st_procpid == pid && strcmp(backend->st_appname, application_name) == 0;
	}
	return same;
}

bool
shard_task_misses_changes(Oid table)
{
	LOCKTAG		tag;
	VirtualTransactionId *holder;
	int			n;
	bool		misses = false;

	if (!is_internal_connection())
		return false;
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, table);
	holder = GetLockConflicts(&tag, RowExclusiveLock, &n);
	for (int i = 0; i < n && !misses; i++)
	{
		PGPROC	   *process = vxid_process(&holder[i]);

		misses = process != NULL && has_same_client(process->pid);
	}
	pfree(holder);
	return misses;
}
