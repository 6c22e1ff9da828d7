/*
 * model/registry.h
 *	  The table amad_models: versions of models, by name and owner.
 *
 * `function` is the oid of the calling SQL function; the table is in its schema.  All
 * statements run as the owner of the table in a security-restricted operation, so code
 * that this owner attaches to the table does not run with the caller's privileges.  Which
 * rows the caller can see is decided here, by the rule of the table's policies.
 */
#ifndef AMAD_MODEL_REGISTRY_H
#define AMAD_MODEL_REGISTRY_H

#include "fmgr.h"
#include "storage/itemptr.h"

#include "model/grants.h"
#include "model/model.h"

/* What identifies a stored model, and shows whether its row has changed. */
typedef struct RegistryEntry
{
	/* the key of the row */
	const char *model_name;
	NameData	owner;			/* as stored; the role can have another name now */
	int			version;

	/* the owner */
	Oid			role_oid;		/* InvalidOid: dropped */
	NameData	role;			/* its name now */
	bool		own;			/* it is the current role */

	/* the table and the row in it */
	Oid			table;			/* or the copy of a reference table on this node */
	Oid			table_owner;
	ItemPointerData tid;
	TransactionId xmin;
	CommandId	cmin;			/* differs among rows that one transaction stored */
} RegistryEntry;

/* What to do with a model besides storing it. */
typedef struct StoreRule
{
	bool		deploy;
	int			from_version;	/* deploy only if this version still is deployed; 0: in any case */
	int			keep;			/* newest trainings to keep; 0: all */
} StoreRule;

typedef struct StoredVersion
{
	int			version;
	bool		deployed;
	int			ndropped;
	int		   *dropped;		/* versions that StoreRule.keep does not keep */
} StoredVersion;

/*
 * Stores a model as the next version under the name.  training: facts of its training, a JSON
 * object; source: where its rows came from (rows/source.h), NULL if not known.
 * Concurrent callers get different versions, in any isolation level.
 *
 * With rule->keep, drops versions: all but the newest `keep` trainings, the last two recalibrations
 * of each of them, the deployed version and the new one.
 */
extern StoredVersion registry_store(Oid function, const char *name, const Model *model,
									Jsonb	   *training, Jsonb *source, const StoreRule *rule);

/*
 * ERROR if models cannot be stored or changed here, for a check before a training: in a query on a
 * shard, or on a worker of Citus that has models of its own.  name: what is called, NULL: the
 * function; hint: what to do instead on a shard, NULL: the usual hint.
 */
extern void registry_check_change(FunctionCallInfo fcinfo, const char *name, const char *hint);

/* The same for watches, whose tables are those of the coordinator. */
extern void registry_check_coordinator(FunctionCallInfo fcinfo);

/* ERROR unless the caller may drop versions of its models. */
extern void registry_check_drop(Oid function);

/*
 * The version of a training that a version comes from: itself or, if it is a recalibration with
 * these facts, the one in them.
 */
extern int	registry_training_version(int version, const char *training_version);

/* The same by the facts of the version. */
extern int	registry_training(int version, Jsonb *facts);

/* The argument version of a function, 0 if it is null.  ERROR if it is less than 1. */
extern int	registry_version(FunctionCallInfo fcinfo, int number);

/*
 * The deployed version of a model (version 0) or the given one.  The caller's own model
 * takes precedence over those that it can use as a member of another role, and these over those
 * that it has been granted.  ERROR if there is no such model, or if several other roles have one.
 */
extern RegistryEntry registry_find(Oid function, const char *name, int version);

/* The deployed version of the caller's own model; false if no version is deployed. */
extern bool registry_find_own(Oid function, const char *name, RegistryEntry *entry);

/* The value of an entry, its facts, source (NULL: none) and options, in the current context. */
extern struct varlena *registry_value(Oid function, const RegistryEntry *entry);
extern Jsonb *registry_facts(Oid function, const RegistryEntry *entry);
extern Jsonb *registry_source(Oid function, const RegistryEntry *entry);
extern Jsonb *registry_options(Oid function, const RegistryEntry *entry);

/* A query for the value of an entry, by its key. */
extern char *registry_value_query(Oid function, const RegistryEntry *entry);

/* Decodes the value of an entry.  The ERROR of a damaged one names it. */
extern Model *registry_decode(const RegistryEntry *entry, struct varlena *value);

/* registry_value() and registry_decode() */
extern Model *registry_model(Oid function, const RegistryEntry *entry);

/*
 * The stored source of a model, for execution with the caller's privileges.  ERROR if
 * there is none, if the model belongs to another role, or if the caller is a superuser and
 * the owner of the table is not.
 */
extern Jsonb *registry_trusted_source(Oid function, const RegistryEntry *entry, const char *name);

/*
 * The stored source of a model, and the role as which to read it: the model's owner, which is the
 * caller or has granted it GRANT_READ.  ERROR as above; also, if that role is not the caller,
 * unless the owner of the table, which can forge rows, is a superuser or has the privileges of that
 * role.
 */
extern Jsonb *registry_readable_source(Oid function, const RegistryEntry *entry, const char *name,
									   Oid *role);

/*
 * ERROR unless the owner of the extension's tables, which can forge rows, is a superuser or has the
 * privileges of a role that acts by these rows for another one.
 */
extern void registry_check_forgery(Oid table_owner, Oid role);

/*
 * Deploys a version of one of the caller's own models or, if it has none of that name, of one that
 * it has been granted GRANT_OPERATE on.  ERROR if there is no such version.
 */
extern void registry_deploy(Oid function, const char *name, int version);

/*
 * Drops a version of one of the caller's own models, or all versions (0).  Returns their
 * number; *any_left: whether the model has others.  ERROR if there is no such version, or if it is
 * deployed and not the only one.
 */
extern int64 registry_drop(Oid function, const char *name, int version, bool *any_left);

/*
 * Grants a role ("public": all roles) a privilege on one of the caller's own models, or revokes it
 * and those that include it; false if the role did not have it.
 */
extern void registry_grant(Oid function, const char *name, const char *role,
						   GrantPrivilege privilege);
extern bool registry_revoke(Oid function, const char *name, const char *role,
							GrantPrivilege privilege);

#endif							/* AMAD_MODEL_REGISTRY_H */
