/*
 * pg/shard_task.h
 *	  Parts of a statement that Citus executes on a shard, in which nothing may be stored.
 */
#ifndef AMAD_PG_SHARD_TASK_H
#define AMAD_PG_SHARD_TASK_H

#include "fmgr.h"

/*
 * ERROR if Citus executes the call of a function in a task, a part of a distributed statement.
 * fcinfo: of an aggregate, otherwise it can be NULL; hint: what to do instead, a sentence; NULL: the
 * usual one.
 */
extern void shard_task_refuse(FunctionCallInfo fcinfo, const char *function, const char *hint);

/* Whether this process executes a task for another one. */
extern bool shard_task_running(void);

/*
 * Whether this process executes a task, and the client's transaction has locked a table against
 * changes on another connection to this node: what it has changed there cannot be seen here.
 */
extern bool shard_task_misses_changes(Oid table);

#endif							/* AMAD_PG_SHARD_TASK_H */
