/*
 * rows/source_private.h
 *	  What the files of a source share: its context, and its columns.
 */
#ifndef AMAD_ROWS_SOURCE_PRIVATE_H
#define AMAD_ROWS_SOURCE_PRIVATE_H

#include "access/tupdesc.h"
#include "lib/stringinfo.h"

struct Source;
struct SourceSpec;				/* rows/source.h */

/* What is restored when a source is left. */
typedef struct SourceScope
{
	bool		stored;
	int			guc_level;
	Oid			user;
	int			security_context;
} SourceScope;

/*
 * Sets up what a source is looked up and read with, until source_leave() or an ERROR: the
 * search_path stored with its query, and a security-restricted operation if the source
 * itself was stored.
 */
extern SourceScope source_enter(const struct SourceSpec *spec);
extern void source_leave(const SourceScope *scope);

/*
 * Chooses the columns that are not specified, and finds the types of all; desc: the source's
 * row type, relation: InvalidOid for a query.
 */
extern void source_bind_columns(struct Source *source, TupleDesc desc, Oid relation);

/* Appends a name to a list for a message: "a", "b". */
extern void source_append_name(StringInfo list, const char *name);

#endif							/* AMAD_ROWS_SOURCE_PRIVATE_H */
