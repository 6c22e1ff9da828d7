/*
 * model/owners.h
 *	  The owners of the rows of amad_models.
 */
#ifndef AMAD_MODEL_OWNERS_H
#define AMAD_MODEL_OWNERS_H

#include "model/models_table.h"

/* The owner of a row, as it is stored. */
typedef struct Owner
{
	NameData	name;
	bool		has_oid;		/* the oid and the cluster are not null */
	Oid			oid;
	int64		cluster;
} Owner;

/* The system identifier that rows of this cluster store. */
extern int64 owner_cluster(void);

/*
 * Whether new rows store the oid: not on a worker of Citus, where it is another one than on the
 * coordinator.
 */
extern bool owner_by_oid(const Access *a);

/* Whether the oid identifies the owner, because it is one of this cluster. */
extern bool owner_is_here(const Owner *owner);

/* Reads the arguments owner, owner_oid and owner_cluster; false if the first is null. */
extern bool owner_argument(FunctionCallInfo fcinfo, Owner *owner);

/* Sets the oid and its cluster from columns, unless one of them is null. */
extern void owner_set_oid(Owner *owner, Datum oid, bool no_oid, Datum cluster, bool no_cluster);

/* The role that an owner is now; InvalidOid if there is no such role. */
extern Oid	owner_role(const Owner *owner);

/* The owner in a row of a statement's result, whose first three columns it is. */
extern Owner owner_read(const Access *a, int row);

/* Runs a statement on the row with a key.  False if there is no such row. */
extern bool owner_change_row(const Access *a, Statement statement, const char *name,
							 const NameData *owner, int version, Datum fourth, Datum fifth,
							 Snapshot snapshot);

/*
 * Brings the stored names and oids up to date, once in each transaction that changes the
 * table.  Does nothing where a transaction has one snapshot: it would cause serialization
 * failures there, so it is left to the next transaction.  Nor does it on a worker of Citus.
 */
extern void owners_update(const Access *a);

#endif							/* AMAD_MODEL_OWNERS_H */
