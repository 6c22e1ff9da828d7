/*
 * registry.h
 *	  The table amad_models: versions of models under names, by owner.
 *
 * All access is SQL with the caller's rights, so row-level security decides what
 * is seen.  `function` is the oid of the SQL function on whose behalf it is: the
 * table stands in its schema.
 */
#ifndef AMAD_REGISTRY_H
#define AMAD_REGISTRY_H

#include "model.h"
#include "storage/itemptr.h"
#include "train.h"

/* What identifies a stored model, and tells whether its row has changed. */
typedef struct RegistryEntry
{
	int64		id;
	int			version;
	ItemPointerData tid;
	TransactionId xmin;
	CommandId	cmin;			/* tells rows apart that stood there in one transaction */
} RegistryEntry;

/*
 * Stores a model as the next version under the name and deploys it.  Returns the
 * version.  Concurrent callers get different versions, in any isolation level.
 */
extern int	registry_store(Oid function, const char *name, const Model *model,
						   const TrainFacts *facts);

/*
 * The version of a model in use, or the given one (0: in use).  A caller's own
 * model goes before one it sees by membership in the owner's role.
 * ERRORs: no such model, or several owners have one.
 */
extern RegistryEntry registry_find(Oid function, const char *name, int version);

/* The value of an entry, and its facts (jsonb), in the current context. */
extern struct varlena *registry_value(Oid function, int64 id);
extern Jsonb *registry_facts(Oid function, int64 id);

#endif							/* AMAD_REGISTRY_H */
