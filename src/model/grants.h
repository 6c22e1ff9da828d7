/*
 * model/grants.h
 *	  Grants: what the owner of a model allows other roles to do with it.
 *
 * The table amad_grants has a row for each model, role and privilege.  It is read without SQL, so
 * that nothing attached to it runs, and counts only while it belongs to the owner of amad_models.
 */
#ifndef AMAD_MODEL_GRANTS_H
#define AMAD_MODEL_GRANTS_H

#include "model/models_table.h"

/* Each privilege includes those before it. */
typedef enum GrantPrivilege
{
	GRANT_READ,					/* see the model, and score by it */
	GRANT_OPERATE				/* deploy versions; refresh, pause and schedule its watch */
} GrantPrivilege;

/* The privilege of a name.  ERROR if there is no such privilege. */
extern GrantPrivilege grant_privilege(const char *name);

/*
 * Whether a role, a role that it is a member of, or PUBLIC has been granted a privilege on the
 * model of an owner.  schema: that of the extension; owner: InvalidOid if the role was dropped.
 */
extern bool grants_allow(Oid schema, Oid role, Oid owner, const char *model_name,
						 GrantPrivilege privilege);

/*
 * Changes of the grants on a model of access->caller, under the lock of its name (registry.c).
 * grants_remove() removes a privilege and those that include it, of one role, or all grants (role
 * NULL); it returns their number.
 */
extern void grants_add(const Access *access, const char *model_name, const char *role,
					   GrantPrivilege privilege);
extern int	grants_remove(const Access *access, const char *model_name, const char *role,
						 GrantPrivilege privilege);

/*
 * Brings the names and oids of all grants up to date, and removes those of dropped roles, if the
 * table is a reference table of Citus; not on its workers.
 */
extern void grants_update(const Access *access);

#endif							/* AMAD_MODEL_GRANTS_H */
