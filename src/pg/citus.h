/*
 * pg/citus.h
 *	  What Citus knows of this node and its tables.
 */
#ifndef AMAD_PG_CITUS_H
#define AMAD_PG_CITUS_H

typedef enum CitusTable
{
	CITUS_NONE,					/* a table that Citus does not know */
	CITUS_LOCAL,				/* on the coordinator only, but known on all nodes */
	CITUS_REFERENCE,			/* a copy on each node */
	CITUS_DISTRIBUTED
} CitusTable;

/* Whether the database has the extension. */
extern bool citus_installed(void);

/* Whether this node is a worker of a cluster. */
extern bool citus_on_worker(void);

extern CitusTable citus_table(Oid table);

/* The copy of a reference table on this node; InvalidOid if the node has none. */
extern Oid	citus_local_copy(Oid table);

/* The table of which a relation is a shard, on any node; InvalidOid if it is not one. */
extern Oid	citus_table_of_shard(Oid relation);

#endif							/* AMAD_PG_CITUS_H */
