/*
 * operate/announcements.h
 *	  The outbox: entries for transitions of incidents, and their leaders.
 */
#ifndef AMAD_OPERATE_ANNOUNCEMENTS_H
#define AMAD_OPERATE_ANNOUNCEMENTS_H

#include "operate/watch_tables.h"

/*
 * The end of a statement that announces what its CTE i has opened, or c has ended; $1 watch, $2 as_of.  The
 * CTE returns id and announced_severity, which is null for what is not to be announced.
 */
#define ANNOUNCE_OPENED \
	" INSERT INTO {outbox} (incident, transition, number, watch, created, as_of)" \
	" SELECT id, 'open', 0, $1, clock_timestamp(), $2 FROM i WHERE announced_severity IS NOT " \
	"NULL ON CONFLICT DO NOTHING"
#define ANNOUNCE_CLOSED \
	" INSERT INTO {outbox} (incident, transition, number, watch, created, as_of)" \
	" SELECT id, 'closed', 0, $1, clock_timestamp(), $2 FROM c WHERE announced_severity IS NOT " \
	"NULL ON CONFLICT DO NOTHING"

/* Gives the entries that have none a leader: many incidents of a kind have one; and sends them. */
extern void announcements_lead(const WatchTables *t, const Watch *watch, TimestampTz as_of);

/* Sends entries without looking for such a leader; only_silences: those of silences. */
extern void announcements_send(const WatchTables *t, const pg_uuid_t *watch, bool only_silences);

#endif							/* AMAD_OPERATE_ANNOUNCEMENTS_H */
