/*
 * operate/announcements.c
 *	  The outbox: entries for transitions of incidents, and their leaders.
 *
 * Entries are written by the statements that change incidents.  An entry is sent when it has a leader, the
 * incident that is announced: usually the same, but one for many incidents of a kind.  Entries
 * of the others count as delivered then.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "operate/announcements.h"

/*
 * Gives the entries of the outbox that have none a leader.  More than ALONE_SERIES incidents of a kind that were
 * opened within minutes, or by neighbouring refreshes, have one, which is announced for all.  $3
 * ALONE_SERIES, $4 the time between refreshes.
 */
#define LEAD \
	"WITH n AS (SELECT i.id, i.kind FROM {outbox} AS o JOIN {incidents} AS i ON i.id = o.incident" \
	"   WHERE o.watch = $1 AND o.leader IS NULL AND o.transition = 'open')," \
	" r AS (SELECT i.kind, i.leader FROM {incidents} AS i WHERE i.watch = $1 AND i.leader = i.id" \
	"   AND i.opened_at BETWEEN $2 - greatest(interval '10 minutes'," \
	"     CASE WHEN $4 < interval '1 year' THEN 2 * $4 END) AND $2)," \
	" l AS (SELECT kind, coalesce((SELECT max(r.leader) FROM r WHERE r.kind = n.kind), min(id)) " \
	"AS leader" \
	"   FROM n GROUP BY kind HAVING count(*) > $3 OR EXISTS (SELECT FROM r WHERE r.kind = " \
	"n.kind))" \
	" UPDATE {incidents} AS i SET leader = l.leader FROM n JOIN l USING (kind) WHERE i.id = n.id"

void
announcements_lead(const WatchTables *t, const Watch *watch, TimestampTz as_of)
{
	const Oid	types[] = {UUIDOID, TIMESTAMPTZOID, INT4OID, INTERVALOID};
	const Datum values[] = {UUIDPGetDatum(&watch->id), TimestampTzGetDatum(as_of),
							Int32GetDatum(ALONE_SERIES), IntervalPGetDatum(watch->every)};

	(void) watch_tables_execute(t, LEAD, 4, types, values, watch->every ? NULL : "   n");
	announcements_send(t, &watch->id, false);
}

void
announcements_send(const WatchTables *t, const pg_uuid_t *watch, bool only_silences)
{
	(void) watch_tables_execute(t,
								"UPDATE {outbox} AS o SET leader = coalesce(i.leader, i.id),"
								"   delivered = CASE WHEN i.leader <> i.id THEN clock_timestamp() "
								"END"
								" FROM {incidents} AS i WHERE i.id = o.incident AND o.watch = $1 "
								"AND o.leader IS NULL AND (i.kind = 'silent' OR NOT $2)",
								2, (const Oid[]){UUIDOID, BOOLOID},
								(const Datum[]){UUIDPGetDatum(watch), BoolGetDatum(only_silences)},
								NULL);
}
