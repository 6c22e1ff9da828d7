/*
 * operate/report_trouble.c
 *	  Incidents that are not found in scores: runs that fail, and series that have drifted.
 *
 * A job that fails may succeed when it is called again, so refreshes have to fail FAILED_REFRESHES times
 * without a success between them.  A drift is an incident if it remains after a recalibration, and is
 * announced when the next check finds it again.
 *
 * Incidents are also written by a refresh, which holds a lock meanwhile.  Others take it until their
 * transaction ends, so that an announcement has one leader.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "operate/announcements.h"
#include "operate/refresh.h"

#define FAILED_REFRESHES 2

void
trouble_lock(const Refresh *r)
{
	if (r->lock != WATCH_REFRESH)
		(void) watch_lock(r->watches, &r->watch.id, WATCH_REFRESH, ExclusiveLock, false, true);
}

static void
enter_to_report(const Refresh *r, WatchTables *t)
{
	trouble_lock(r);
	watch_tables_enter(t, r->function);
}

/* ---- jobs -------------------------------------------------------------------------------- */

void
trouble_report_failure(Refresh *r, const char *message)
{
	const Oid	types[] = {UUIDOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, INT8OID, INT8OID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id),
							TimestampTzGetDatum(r->as_of),
							CStringGetTextDatum(r->kind),
							CStringGetTextDatum(message ? message : "unknown error"),
							Int64GetDatum(r->as_of),
							Int64GetDatum(r->lock == WATCH_REFRESH ? FAILED_REFRESHES : 1)};
	WatchTables t;

	enter_to_report(r, &t);
	(void) watch_tables_execute(&t,
								"WITH u AS (UPDATE {incidents} SET detail = $3 || ' failed: ' || "
								"$4 WHERE watch = $1 AND "
								"kind = 'job'"
								"   AND series_id = sha256(convert_to($3, 'UTF8')) AND state = "
								"'open' RETURNING id),"
								" f AS (SELECT count(*) AS failures FROM {runs} WHERE watch = $1 "
								"AND kind = $3"
								"   AND state IN ('failed', 'killed') AND run > coalesce((SELECT "
								"max(run) FROM {runs}"
								"     WHERE watch = $1 AND kind = $3 AND state = 'done'), 0)),"
								" i AS (INSERT INTO {incidents} (watch, series_id, kind, state, "
								"started, first_ts, last_ts, "
								"opened_at, announced_severity, detail)"
								"   SELECT $1, sha256(convert_to($3, 'UTF8')), 'job', 'open', $2, "
								"$5, $5, $2, 0, $3 || ' "
								"failed: ' || $4"
								"   FROM f WHERE failures >= $6 AND NOT EXISTS (SELECT FROM u) "
								"RETURNING id, announced_severity)" ANNOUNCE_OPENED,
								lengthof(types), types, values, NULL);
	announcements_lead(&t, &r->watch, r->as_of);
	watch_tables_leave(&t);
}

void
trouble_report_success(Refresh *r)
{
	const Oid	types[] = {UUIDOID, TIMESTAMPTZOID, TEXTOID, INT8OID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), TimestampTzGetDatum(r->as_of),
							CStringGetTextDatum(r->kind), Int64GetDatum(r->as_of)};
	WatchTables t;

	enter_to_report(r, &t);
	(void) watch_tables_execute(&t,
								"WITH c AS (UPDATE {incidents} SET state = 'closed', ended_at = "
								"$2, ended = $2, last_ts = $4"
								"   WHERE watch = $1 AND kind = 'job' AND series_id = "
								"sha256(convert_to($3, 'UTF8')) AND "
								"state = 'open' RETURNING id, announced_severity)" ANNOUNCE_CLOSED,
								lengthof(types), types, values, NULL);
	announcements_lead(&t, &r->watch, r->as_of);
	watch_tables_leave(&t);
}

/* ---- drift ------------------------------------------------------------------------------- */

void
trouble_close_drifts(Refresh *r, TimestampTz since)
{
	const Oid	types[] = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), TimestampTzGetDatum(r->as_of),
							TimestampTzGetDatum(since), Int64GetDatum(r->as_of)};
	WatchTables t;

	enter_to_report(r, &t);
	(void) watch_tables_execute(&t,
								"WITH c AS (UPDATE {incidents} AS i SET state = 'closed', ended_at "
								"= $2,"
								" ended = $2, last_ts = $4"
								"   WHERE watch = $1 AND kind = 'drift' AND state = 'open' AND NOT "
								"EXISTS"
								"     (SELECT FROM {series} AS s WHERE s.watch = $1 AND s.id = "
								"i.series_id"
								"       AND s.retired IS NULL AND s.newest >= $3)"
								"   RETURNING id, announced_severity)" ANNOUNCE_CLOSED,
								lengthof(types), types, values, NULL);
	announcements_lead(&t, &r->watch, r->as_of);
	watch_tables_leave(&t);
}

void
trouble_report_drift(Refresh *r, const CheckedSeries *series, int n)
{
	const Oid	types[] = {UUIDOID,		TIMESTAMPTZOID, BYTEAARRAYOID,
						 JSONBARRAYOID, TEXTARRAYOID,	INT8OID};
	MemoryContext context = CurrentMemoryContext;
	ArrayBuildState *ids = initArrayResult(BYTEAOID, context, false);
	ArrayBuildState *keys = initArrayResult(JSONBOID, context, false);
	ArrayBuildState *drifts = initArrayResult(TEXTOID, context, false);
	Datum values[lengthof(types)] = {UUIDPGetDatum(&r->watch.id), TimestampTzGetDatum(r->as_of)};
	WatchTables t;

	for (int i = 0; i < n; i++)
	{
		const CheckedSeries *s = &series[i];

		(void) accumArrayResult(ids, s->id, false, BYTEAOID, context);
		(void) accumArrayResult(keys, JsonbPGetDatum(s->key), s->key == NULL, JSONBOID, context);
		(void) accumArrayResult(drifts, s->drift ? CStringGetTextDatum(s->drift) : (Datum) 0,
								s->drift == NULL, TEXTOID, context);
	}
	values[2] = makeArrayResult(ids, context);
	values[3] = makeArrayResult(keys, context);
	values[4] = makeArrayResult(drifts, context);
	values[5] = Int64GetDatum(r->as_of);
	enter_to_report(r, &t);
	(void) watch_tables_execute(&t,
								"WITH c AS (UPDATE {incidents} AS i SET state = 'closed', ended_at "
								"= $2, ended = $2, last_ts "
								"= $6"
								"   FROM unnest($3, $5) AS s(id, drift) WHERE i.watch = $1 AND "
								"i.kind = 'drift' AND "
								"i.series_id = s.id"
								"   AND i.state = 'open' AND s.drift IS NULL RETURNING i.id, "
								"announced_severity)" ANNOUNCE_CLOSED,
								lengthof(types), types, values, NULL);
	(void) watch_tables_execute(&t,
								"WITH i AS (UPDATE {incidents} AS i SET announced_severity = 0, "
								"detail = s.drift"
								"   FROM unnest($3, $5) AS s(id, drift) WHERE i.watch = $1 AND "
								"i.kind = 'drift' AND "
								"i.series_id = s.id"
								"   AND i.state = 'open' AND i.announced_severity IS NULL AND "
								"NOT i.muted AND s.drift IS NOT NULL "
								"RETURNING i.id, i.announced_severity)" ANNOUNCE_OPENED,
								lengthof(types), types, values, NULL);
	(void)
		watch_tables_execute(&t,
							 "INSERT INTO {incidents} (watch, series_id, series, kind, state, "
							 "started, first_ts, last_ts, "
							 "opened_at, detail)"
							 "   SELECT $1, s.id, s.key, 'drift', 'open', $2, $6, $6, $2, s.drift"
							 "   FROM unnest($3, $4, $5) AS s(id, key, drift) WHERE s.drift IS NOT "
							 "NULL"
							 "   AND NOT EXISTS (SELECT FROM {incidents} AS o WHERE o.watch = $1 "
							 "AND o.kind = 'drift'"
							 "     AND o.series_id = s.id AND o.state = 'open')",
							 lengthof(types), types, values, NULL);
	announcements_lead(&t, &r->watch, r->as_of);
	watch_tables_leave(&t);
}
