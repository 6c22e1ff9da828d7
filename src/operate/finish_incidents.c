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

#include "operate/announcements.h"
#include "operate/find_silences.h"
#include "operate/refresh.h"

/* Closes incidents that no later row can extend; $3 merge_gap. */
#define CLOSE_ANOMALIES \
	"WITH c AS (UPDATE {incidents} AS i SET state = 'closed', ended_at = $2" \
	"   WHERE watch = $1 AND state = 'open' AND kind = 'anomaly'" \
	"   AND NOT EXISTS (SELECT FROM {series} AS s WHERE s.watch = $1 AND s.id = i.series_id" \
	"     AND s.newest_ts::float8 - i.last_ts::float8 <= $3)" \
	"   RETURNING id, announced_severity)" ANNOUNCE_CLOSED

#define DELIVERED_DAYS "7"

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
	announcements_lead(&t, &r->watch, r->as_of);
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
