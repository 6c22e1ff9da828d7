/*
 * model/registry.h
 *	  The table amad_models: versions of models, by name and owner.
 *
 * `function` is the oid of the SQL function that asks: the table is in its schema.
 * All statements run as the table's owner in a security-restricted operation, so
 * nothing that this owner attaches to the table runs with the caller's rights.
 * What the caller may see is decided here, by the rule of the table's policies.
 */
#ifndef AMAD_MODEL_REGISTRY_H
#define AMAD_MODEL_REGISTRY_H

#include "model/model.h"
#include "storage/itemptr.h"

/* What identifies a stored model, and shows whether its row has changed. */
typedef struct RegistryEntry
{
	/* the key of the row */
	const char *model_name;
	NameData	owner;			/* as stored: perhaps no longer the role's name */
	int			version;

	/* the owner */
	NameData	role;			/* its name now */
	bool		own;			/* it is the current role */

	/* the table and the row in it */
	Oid			table;
	Oid			table_owner;
	ItemPointerData tid;
	TransactionId xmin;
	CommandId	cmin;			/* differs among rows that one transaction stored */
} RegistryEntry;

/*
 * Stores a model as the next version under the name and deploys it.  training: facts of
 * its training, a JSON object; source: where its rows came from (rows/source.h), NULL if
 * not known.  Returns the version.
 * Concurrent callers get different versions, in any isolation level.
 */
extern int	registry_store(Oid function, const char *name, const Model *model,
						   Jsonb *training, Jsonb *source);

/*
 * The version of a model in use, or the given one (0: in use).  A caller's own
 * model goes before one it sees by membership in the owner's role.
 * ERRORs: no such model, or several owners have one.
 */
extern RegistryEntry registry_find(Oid function, const char *name, int version);

/* The value of an entry, its facts, source (NULL: none) and options, in the current context. */
extern struct varlena *registry_value(Oid function, const RegistryEntry *entry);
extern Jsonb *registry_facts(Oid function, const RegistryEntry *entry);
extern Jsonb *registry_source(Oid function, const RegistryEntry *entry);
extern Jsonb *registry_options(Oid function, const RegistryEntry *entry);

/* Decodes the value of an entry.  The ERROR of a damaged one names it. */
extern Model *registry_decode(const RegistryEntry *entry, struct varlena *value);

/* registry_value() and registry_decode() */
extern Model *registry_model(Oid function, const RegistryEntry *entry);

/*
 * The stored source of a model.  ERROR when it has none, or belongs to another
 * role: what that role wrote as a query is not to run with the caller's rights
 * unasked.  Also ERROR for a superuser if the table's owner is not a superuser.
 */
extern Jsonb *registry_trusted_source(Oid function, const RegistryEntry *entry,
									  const char *name);

/* Makes a version of an own model the one in use.  ERROR when there is none. */
extern void registry_deploy(Oid function, const char *name, int version);

/*
 * Drops a version of an own model, or all (0).  Returns their number.  ERROR when
 * there is none, or it is in use and not the only one.
 */
extern int64 registry_drop(Oid function, const char *name, int version);

#endif							/* AMAD_MODEL_REGISTRY_H */
