/*
 * operate/find_silences.h
 *	  Silences: series and features that have stopped, as incidents.
 */
#ifndef AMAD_OPERATE_FIND_SILENCES_H
#define AMAD_OPERATE_FIND_SILENCES_H

#include "operate/watch_tables.h"

extern PGDLLEXPORT Datum amad_retire(PG_FUNCTION_ARGS);

/* Announces what a CTE c has ended, for statements; $1 watch, $2 as_of. */
#define ANNOUNCE_CLOSED \
	" INSERT INTO {outbox} (incident, transition, number, watch, created, as_of)" \
	" SELECT id, 'closed', 0, $1, clock_timestamp(), $2 FROM c WHERE announced_severity IS NOT " \
	"NULL" \
	" ON CONFLICT DO NOTHING"

/*
 * Closes silences that have ended, and opens those that have begun; announce: the latter are to be
 * announced.  The time column is not an integer.
 */
extern void silences_find(const WatchTables *t, const Watch *watch, Oid ts_type, TimestampTz as_of,
						  bool announce);

/* Gives entries of the outbox their leader, which sends them; only_silences: those of silences. */
extern void announcements_send(const WatchTables *t, const pg_uuid_t *watch, bool only_silences);

#endif							/* AMAD_OPERATE_FIND_SILENCES_H */
