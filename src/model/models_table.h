/*
 * model/models_table.h
 *	  Access to the table amad_models: statements that run as its owner.
 *
 * models_table_enter() locks the table, becomes its owner in a security-restricted
 * operation and connects to SPI; statements with the table as their only relation
 * follow; models_table_leave() ends it.  Nothing that the owner attaches to the table
 * runs with the caller's rights.
 *
 * The table can be a reference table of Citus (distribute.c), which has a copy on each node.
 */
#ifndef AMAD_MODEL_MODELS_TABLE_H
#define AMAD_MODEL_MODELS_TABLE_H

#include "executor/spi.h"
#include "utils/reltrigger.h"
#include "utils/acl.h"

#include "pg/statements.h"

#define MODELS_TABLE "amad_models"

typedef enum Statement
{
	FIND,
	VALUE,
	FACTS,
	SOURCE,
	OPTIONS,
	INSERT,
	SET_DEPLOYED,
	DROP,
	TRAININGS,
	OWNERS,
	LOCK_ROWS,
	TAKEN,
	RENAME_OWNER,
	ADOPT,
	STATEMENTS					/* their number */
} Statement;

/* The table, while its owner is the current role. */
typedef struct Access
{
	Oid			table;
	Oid			table_owner;
	Oid			schema;
	bool		distributed;	/* the table is a reference table of Citus */
	Oid			relation;		/* of the statements: the table or, to read it, its local copy */
	char	   *name;			/* of that, qualified, quoted */
	Oid			caller;			/* whose models are changed: registry.c may set another owner */
	StatementScope scope;
} Access;

/*
 * Becomes the owner of the table, which stays locked to the end of the transaction: to read it,
 * with AccessShareLock, or to change it, with RowExclusiveLock.  A reference table that is to be
 * changed is locked on all nodes, so that transactions which change models wait for each other.
 * First checks that the caller has the needed privilege, besides SELECT.  An ERROR
 * needs no models_table_leave(): the abort of the transaction restores everything.
 */
extern void models_table_enter(Access *a, Oid function, LOCKMODE lock, AclMode needed);
extern void models_table_leave(const Access *a);

/*
 * ERROR if models cannot be changed here: in a query on a shard, or on a worker of Citus that has
 * models of its own.  `name` and `hint`: of shard_task_refuse().
 */
extern void models_table_check_node(FunctionCallInfo fcinfo, const char *name, const char *hint);

/* The first trigger that a change of rows would fire; NULL: none. */
extern const char *models_table_trigger(const TriggerDesc *triggers);

/*
 * Runs a statement and returns the number of rows.  Reads of a STABLE function see
 * the query's snapshot; `snapshot` replaces it when given.  ERROR if the columns of
 * the result have other types than the extension gave them.
 */
extern uint64 models_table_execute(const Access *a, Statement statement, Datum *values,
								   const char *nulls, Snapshot snapshot, bool read_only);

/* A value of the last result.  ERROR if it is null and isnull is NULL. */
extern Datum models_table_column(const Access *a, int row, int number, bool *isnull);

#endif							/* AMAD_MODEL_MODELS_TABLE_H */
