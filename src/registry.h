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
#include "source.h"
#include "storage/itemptr.h"
#include "train.h"

/* What identifies a stored model, and tells whether its row has changed. */
typedef struct RegistryEntry
{
	int64		id;
	int			version;
	bool		own;			/* its owner is the current role */
	NameData	owner;
	ItemPointerData tid;
	TransactionId xmin;
	CommandId	cmin;			/* tells rows apart that stood there in one transaction */
} RegistryEntry;

/*
 * Stores a model as the next version under the name and deploys it.  source: where
 * its rows came from (source.h), NULL if not known.  Returns the version.
 * Concurrent callers get different versions, in any isolation level.
 */
extern int	registry_store(Oid function, const char *name, const Model *model,
						   const TrainFacts *facts, Jsonb *source);

/*
 * The version of a model in use, or the given one (0: in use).  A caller's own
 * model goes before one it sees by membership in the owner's role.
 * ERRORs: no such model, or several owners have one.
 */
extern RegistryEntry registry_find(Oid function, const char *name, int version);

/* The value of an entry, its facts, source (NULL: none) and options, in the current context. */
extern struct varlena *registry_value(Oid function, int64 id);
extern Jsonb *registry_facts(Oid function, int64 id);
extern Jsonb *registry_source(Oid function, int64 id);
extern Jsonb *registry_options(Oid function, int64 id);

/*
 * The source that a model remembers.  ERROR when it has none, or belongs to another
 * role: what that role wrote as a query is not to run with the caller's rights
 * unasked.
 */
extern SourceSpec registry_source_spec(Oid function, const RegistryEntry *entry,
									   const char *name);

/* Makes a version of an own model the one in use.  ERROR when there is none. */
extern void registry_deploy(Oid function, const char *name, int version);

/*
 * Drops a version of an own model, or all (0).  Returns their number.  ERROR when
 * there is none, or it is in use and not the only one.
 */
extern int64 registry_drop(Oid function, const char *name, int version);

#endif							/* AMAD_REGISTRY_H */
