/*
 * operate/finish_incidents.c
 *	  What happens to the incidents of a watch at the end of a run.
 *
 * Incidents to which no row can be added any more are closed, series that have stopped are looked for,
 * incidents of many series are announced as one, and what is old is deleted.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "operate/refresh.h"

#define SILENT_STEPS 20			/* without a row: silent; as in the view amad_status */

/* Announces what a CTE c has ended; $1 watch, $2 as_of. */
#define ANNOUNCE_CLOSED \
	" INSERT INTO {outbox} (incident, transition, number, watch, created, as_of)" \
	" SELECT id, 'closed', 0, $1, clock_timestamp(), $2 FROM c WHERE announced_severity IS NOT " \
	"NULL" \
	" ON CONFLICT DO NOTHING"

/* Closes incidents that no later row can extend; $3 merge_gap. */
#define CLOSE_ANOMALIES \
	"WITH c AS (UPDATE {incidents} AS i SET state = 'closed', ended_at = $2" \
	"   WHERE watch = $1 AND state = 'open' AND kind = 'anomaly'" \
	"   AND NOT EXISTS (SELECT FROM {series} AS s WHERE s.watch = $1 AND s.id = i.series_id" \
	"     AND s.newest_ts::float8 - i.last_ts::float8 <= $3)" \
	"   RETURNING id, announced_severity)" ANNOUNCE_CLOSED

/* Closes silences after which there is a row, or whose series is gone. */
#define CLOSE_SILENCES \
	"WITH n AS (SELECT id, newest, newest_ts FROM {series} WHERE watch = $1" \
	"   UNION ALL SELECT sha256(''), max(newest), max(newest_ts) FROM {series} WHERE watch = $1)," \
	" c AS (UPDATE {incidents} AS i SET state = 'closed', ended_at = $2," \
	"     ended = (SELECT newest FROM n WHERE n.id = i.series_id)," \
	"     last_ts = coalesce((SELECT newest_ts FROM n WHERE n.id = i.series_id), last_ts)" \
	"   WHERE watch = $1 AND state = 'open' AND kind = 'silent'" \
	"   AND NOT EXISTS (SELECT FROM n WHERE n.id = i.series_id AND n.newest_ts <= i.first_ts)" \
	"   RETURNING id, announced_severity)" ANNOUNCE_CLOSED

/* Opens silences of series, or of the source if all are silent; $3 time, $4 whether to announce them. */
#define OPEN_SILENCES \
	"WITH s AS (SELECT id, key, newest, newest_ts, newest < $3 AS silent FROM {series} WHERE " \
	"watch = $1)," \
	" a AS (SELECT count(*) > 1 AND bool_and(silent) AS silent FROM s)," \
	" n AS (SELECT id, key, newest, newest_ts FROM s WHERE silent AND NOT (SELECT silent FROM a)" \
	"   UNION ALL SELECT sha256(''), NULL, max(newest), max(newest_ts) FROM s HAVING (SELECT " \
	"silent FROM a))," \
	" i AS (INSERT INTO {incidents} (watch, series_id, series, kind, state, started, first_ts, " \
	"last_ts," \
	"     opened_at, announced_severity)" \
	"   SELECT $1, n.id, n.key, 'silent', 'open', newest, newest_ts, newest_ts, $2, CASE WHEN $4 " \
	"THEN 0 END FROM n" \
	"   WHERE NOT EXISTS (SELECT FROM {incidents} AS o WHERE o.watch = $1 AND o.series_id IN " \
	"(n.id, sha256(''))" \
	"     AND o.kind = 'silent' AND o.state = 'open') RETURNING id)" \
	" INSERT INTO {outbox} (incident, transition, number, watch, created, as_of)" \
	" SELECT id, 'open', 0, $1, clock_timestamp(), $2 FROM i WHERE $4 ON CONFLICT DO NOTHING"

/*
 * Gives the entries of the outbox that have none a leader.  More than ALONE_SERIES incidents of a kind that were
 * opened within minutes, or by neighbouring refreshes, have one, which is announced for all.  $3
 * ALONE_SERIES, $4 the time between refreshes.
 */
#define LEAD \
	"WITH n AS (SELECT i.id, i.kind FROM {outbox} AS o JOIN {incidents} AS i ON i.id = o.incident" \
	"   WHERE o.watch = $1 AND o.leader IS NULL AND o.transition = 'open')," \
	" r AS (SELECT i.kind, i.leader FROM {incidents} AS i WHERE i.watch = $1 AND i.leader = i.id" \
	"   AND i.opened_at BETWEEN $2 - greatest(interval '10 minutes', 2 * $4) AND $2)," \
	" l AS (SELECT kind, coalesce((SELECT max(r.leader) FROM r WHERE r.kind = n.kind), min(id)) " \
	"AS leader" \
	"   FROM n GROUP BY kind HAVING count(*) > $3 OR EXISTS (SELECT FROM r WHERE r.kind = " \
	"n.kind))" \
	" UPDATE {incidents} AS i SET leader = l.leader FROM n JOIN l USING (kind) WHERE i.id = n.id"
#define SEND \
	"UPDATE {outbox} AS o SET leader = coalesce(i.leader, i.id)," \
	"   delivered = CASE WHEN i.leader <> i.id THEN clock_timestamp() END" \
	" FROM {incidents} AS i WHERE i.id = o.incident AND o.watch = $1 AND o.leader IS NULL"

#define DELIVERED_DAYS "7"

void
incidents_announce(const Refresh *r, const WatchTables *t)
{
	const Oid	types[] = {UUIDOID, TIMESTAMPTZOID, INT4OID, INTERVALOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), TimestampTzGetDatum(r->as_of),
							Int32GetDatum(ALONE_SERIES), IntervalPGetDatum(r->watch.every)};

	(void) watch_tables_execute(t, LEAD, 4, types, values, r->watch.every ? NULL : "   n");
	(void) watch_tables_execute(t, SEND, 1, types, values, NULL);
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
	{
		const Interval steps = {.time = watch_steps(&r->watch, SILENT_STEPS)};
		Datum		silent = DirectFunctionCall2(timestamptz_mi_interval, values[1],
										   IntervalPGetDatum(&r->watch.delay));

		silent = DirectFunctionCall2(timestamptz_mi_interval, silent,
									 IntervalPGetDatum(r->watch.silence ? r->watch.silence
																		: &steps));
		(void) watch_tables_execute(&t, CLOSE_SILENCES, 2, types, values, NULL);
		(void) watch_tables_execute(&t, OPEN_SILENCES, 4,
									(const Oid[]){UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID},
									(const Datum[]){values[0], values[1], silent,
													BoolGetDatum(r->had_newest)},
									NULL);
	}
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
