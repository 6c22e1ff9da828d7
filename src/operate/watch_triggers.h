/*
 * operate/watch_triggers.h
 *	  The triggers of a watch on its source, and the table that scores are written to.
 */
#ifndef AMAD_OPERATE_WATCH_TRIGGERS_H
#define AMAD_OPERATE_WATCH_TRIGGERS_H

#include "operate/watch_tables.h"
#include "rows/source.h"

/* The relation that a source is; InvalidOid: a query.  Locked until the transaction ends. */
extern Oid	watch_source_relation(const Source *source);

/*
 * Creates the triggers of a watch on a relation and its descendants where they are missing, and
 * logs the rows of those relations as changed: nobody knows what has happened to them.  Drops those
 * that the watch has on other relations.  Called as the watch's owner.  Remarks are appended to
 * notices.  ERROR if the relation cannot have such triggers.
 */
extern void watch_ensure_triggers(Oid function, const Watch *watch, const Source *source,
								  Oid relation, StringInfo notices);

/* Drops the triggers of a watch, except those on the relations of a list. */
extern void watch_drop_triggers(Oid function, const pg_uuid_t *id, List *except);

/*
 * Creates the table of scores for a source, as the current role; a hypertable if the source, which is
 * the relation or InvalidOid, is one.
 */
extern void watch_create_target(const char *target, const Source *source, Oid relation);

/*
 * Looks the table of scores up, locks it and checks its columns.  Returns its qualified name; NULL if
 * there is no such table and missing_ok.
 */
extern char *watch_open_target(const char *target, const Source *source, bool missing_ok);

#endif							/* AMAD_OPERATE_WATCH_TRIGGERS_H */
