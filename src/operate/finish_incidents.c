/*
 * operate/finish_incidents.c
 *	  What happens to the incidents of a watch at the end of a run.
 *
 * Incidents to which no row can be added any more are closed, silences are looked for (find_silences.c),
 * incidents of many series are announced as one, and what is old is deleted.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "operate/find_silences.h"
#include "operate/refresh.h"

/* Closes incidents that no later row can extend; $3 merge_gap. */
#define CLOSE_ANOMALIES \
	"WITH c AS (UPDATE {incidents} AS i SET state = 'closed', ended_at = $2" \
	"   WHERE watch = $1 AND state = 'open' AND kind = 'anomaly'" \
	"   AND NOT EXISTS (SELECT FROM {series} AS s WHERE s.watch = $1 AND s.id = i.series_id" \
	"     AND s.newest_ts::float8 - i.last_ts::float8 <= $3)" \
	"   RETURNING id, announced_severity)" ANNOUNCE_CLOSED

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
#define DELIVERED_DAYS "7"

void
incidents_announce(const Refresh *r, const WatchTables *t)
{
	const Oid	types[] = {UUIDOID, TIMESTAMPTZOID, INT4OID, INTERVALOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), TimestampTzGetDatum(r->as_of),
							Int32GetDatum(ALONE_SERIES), IntervalPGetDatum(r->watch.every)};

	(void) watch_tables_execute(t, LEAD, 4, types, values, r->watch.every ? NULL : "   n");
	announcements_send(t, &r->watch.id, false);
}

void
incidents_finish(Refresh *r)
{
	const Oid	types[] = {UUIDOID, TIMESTAMPTZOID, FLOAT8OID};
	Datum		values[] = {UUIDPGetDatum(&r->watch.id), TimestampTzGetDatum(r->as_of),
					  Float8GetDatum((double) incidents_merge_gap(r, r->ts_type))};
	WatchTables t;

	watch_tables_enter(&t, r->function);
	(void) watch_tables_execute(&t, CLOSE_ANOMALIES, 3, types, values, NULL);
	if (r->ts_type != INT8OID)
		silences_find(&t, &r->watch, r->ts_type, r->as_of, r->had_newest);
	incidents_announce(r, &t);
	(void) watch_tables_execute(&t,
								"DELETE FROM {outbox} WHERE watch = $1 AND delivered < "
								"clock_timestamp() - interval '" DELIVERED_DAYS " days'",
								1, types, values, NULL);
	if (r->watch.retain)
		(void) watch_tables_execute(&t,
									"DELETE FROM {incidents} AS i WHERE watch = $1 AND state <> "
									"'open' AND ended < $2 - $3"
									" AND NOT EXISTS (SELECT FROM {outbox} WHERE incident = i.id "
									"AND delivered IS NULL)",
									3, (const Oid[]){UUIDOID, TIMESTAMPTZOID, INTERVALOID},
									(const Datum[]){values[0], values[1],
													IntervalPGetDatum(r->watch.retain)},
									NULL);
	watch_tables_leave(&t);
}
