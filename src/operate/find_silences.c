/*
 * operate/find_silences.c
 *	  Silences: series and features that have stopped, as incidents.
 *
 * A series is silent when its newest row with a value is older than amad_silent_after(), by its own step unless
 * the watch has a setting.  If all series are silent, the source is, and there is one incident.
 *
 * A feature is silent when its last value is that much older than the newest row of its series, so that a series
 * that stops is not a silence of its features, too.  After a silence of the series it has that time
 * again.  A feature that usually has values further apart is silent after twice that distance.
 *
 * amad_series has what is needed (series_ends.c).  Retired series have no silences, nor do series at
 * times with the verdict that they are expected (feedback.c).
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "operate/announcements.h"
#include "operate/find_silences.h"
#include "pg/call_arguments.h"

SQL_FUNCTION(amad_retire);

/* A member of a value v of amad_series.features, as a number; null if it is not one. */
#define MEMBER(name) \
	"CASE WHEN jsonb_typeof(v -> '" name "') = 'number' AND (v -> '" name "')::numeric BETWEEN " \
	"-9e18 AND 9e18 THEN (v -> '" name "')::float8 END"

/* The time of the last value of a feature of the series n; null: none. */
#define LAST_VALUE \
	"(SELECT CASE WHEN v ? 'last' THEN " MEMBER( \
		"last") " ELSE n.heard_ts END" \
				"   FROM (SELECT n.features -> i.feature AS v) AS f)"

/* Closes silences after which there is a row or value, or whose series is gone or retired. */
#define CLOSE_SILENCES \
	"WITH n AS (SELECT id, heard, heard_ts, features FROM {series} WHERE watch = $1 AND retired " \
	"IS NULL" \
	"   UNION ALL SELECT sha256(''), max(heard), max(heard_ts), NULL FROM {series} WHERE watch = " \
	"$1 AND retired IS NULL)," \
	" c AS (UPDATE {incidents} AS i SET state = 'closed', ended_at = $2," \
	"     ended = coalesce((SELECT heard FROM n WHERE n.id = i.series_id), $2)," \
	"     last_ts = coalesce((SELECT heard_ts FROM n WHERE n.id = i.series_id), last_ts)" \
	"   WHERE watch = $1 AND state = 'open' AND kind = 'silent'" \
	"   AND NOT EXISTS (SELECT FROM n WHERE n.id = i.series_id" \
	"     AND CASE WHEN i.feature IS NULL THEN n.heard_ts ELSE " LAST_VALUE " END <= i.first_ts)" \
	"   RETURNING id, announced_severity)" ANNOUNCE_CLOSED

/*
 * Opens silences: $3 whether to announce them, $4 delay, $5 the setting silence, $6 step of the model, $7
 * whether times are without time zone.
 */
#define OPEN_SILENCES \
	"WITH s AS (SELECT id, key, heard, heard_ts, features, coalesce(heard < $2 - " \
	"{silent_after}($4, $5, coalesce(step, $6)), false) AS silent," \
	"     extract(epoch FROM {silent_after}('0', $5, coalesce(step, $6)))::float8 * 1e6 AS " \
	"silence" \
	"   FROM {series} WHERE watch = $1 AND retired IS NULL)," \
	" a AS (SELECT count(*) > 1 AND bool_and(silent) AS silent FROM s)," \
	" f AS (SELECT s.*, name," MEMBER("last") " AS last," MEMBER( \
		"usual") " AS usual" \
				 "   FROM s, jsonb_each(CASE WHEN jsonb_typeof(features) = 'object' THEN " \
				 "features END) AS j(" \
				 "name, v) WHERE NOT silent)," \
				 " n AS (SELECT id, key, NULL AS feature, heard AS started, heard_ts AS first_ts " \
				 "FROM s WHERE " \
				 "silent AND NOT (SELECT silent FROM a)" \
				 "   UNION ALL SELECT sha256(''), NULL, NULL, max(heard), max(heard_ts) FROM s " \
				 "HAVING (SELECT " \
				 "silent FROM a)" \
				 "   UNION ALL SELECT id, key, name, CASE WHEN $7 THEN (timestamp '2000-01-01' + " \
				 "last * " \
				 "interval '1 microsecond')::timestamptz" \
				 "     ELSE timestamptz '2000-01-01 00:00+00' + last * interval '1 microsecond' " \
				 "END, last::int8" \
				 "   FROM f WHERE heard_ts - last > greatest(silence, 2 * usual) AND NOT EXISTS " \
				 "(SELECT FROM " \
				 "{incidents} AS o" \
				 "     WHERE o.watch = $1 AND o.series_id IN (f.id, sha256('')) AND o.kind = " \
				 "'silent' AND " \
				 "o.feature IS NULL" \
				 "     AND o.last_ts > f.heard_ts - f.silence AND o.first_ts < o.last_ts))," \
				 " i AS (INSERT INTO {incidents} (watch, series_id, series, kind, state, " \
				 "started, first_ts, " \
				 "last_ts, opened_at, announced_severity, feature)" \
				 "   SELECT $1, id, key, 'silent', 'open', started, first_ts, first_ts, $2, CASE " \
				 "WHEN $3 THEN " \
				 "0 END, feature FROM n" \
				 "   WHERE first_ts IS NOT NULL AND NOT EXISTS (SELECT FROM {incidents} AS o " \
				 "WHERE o.watch = $1 " \
				 "AND o.kind = 'silent' AND o.state = 'open'" \
				 "     AND o.feature IS NOT DISTINCT FROM n.feature AND o.series_id IN (n.id, " \
				 "CASE WHEN " \
				 "n.feature IS NULL THEN sha256('') END))" \
				 "   AND NOT EXISTS (SELECT FROM {verdicts} AS v WHERE v.watch = $1 AND " \
				 "v.verdict " \
				 "= 'expected'" \
				 "     AND $2 >= v.started AND $2 < v.ended AND (v.series IS NULL OR n.key @> " \
				 "v.series)) ORDER BY first_ts, id, feature RETURNING id, " \
				 "announced_severity)" ANNOUNCE_OPENED

/* Whether there are open silences, and whether there can be others, which is rare: the statements above are large. */
#define LOOK \
	"SELECT EXISTS (SELECT FROM {incidents} WHERE watch = $1 AND state = 'open' AND kind = " \
	"'silent')," \
	" EXISTS (SELECT FROM {series} WHERE watch = $1 AND retired IS NULL" \
	"   AND (heard < $2 - {silent_after}($4, $5, coalesce(step, $6)) OR features IS NOT NULL" \
	"     AND jsonb_path_exists(features, '$.*.last ? (@ < $limit)', jsonb_build_object('limit', " \
	"heard_ts - extract(epoch FROM {silent_after}('0', $5, coalesce(step, $6))) * 1000000), " \
	"true)))"

static void
close_silences(const WatchTables *t, const pg_uuid_t *watch, TimestampTz as_of)
{
	(void) watch_tables_execute(t, CLOSE_SILENCES, 2, (const Oid[]){UUIDOID, TIMESTAMPTZOID},
								(const Datum[]){UUIDPGetDatum(watch), TimestampTzGetDatum(as_of)},
								NULL);
}

void
silences_find(const WatchTables *t, const Watch *w, Oid ts_type, TimestampTz as_of, bool announce)
{
	const Oid	types[] = {UUIDOID,	  TIMESTAMPTZOID, BOOLOID, INTERVALOID,
						 INTERVALOID, INT8OID,		  BOOLOID};
	const Datum values[] = {UUIDPGetDatum(&w->id),
							TimestampTzGetDatum(as_of),
							BoolGetDatum(announce),
							IntervalPGetDatum(&w->delay),
							IntervalPGetDatum(w->silence),
							Int64GetDatum(w->step),
							BoolGetDatum(ts_type == TIMESTAMPOID)};

	const char *nulls = w->silence ? NULL : "    n  ";
	bool		any_open;
	bool		any_other;

	(void) watch_tables_execute(t, LOOK, lengthof(types), types, values, nulls);
	any_open = DatumGetBool(watch_tables_value(0, 1, BOOLOID, NULL));
	any_other = DatumGetBool(watch_tables_value(0, 2, BOOLOID, NULL));
	if (any_open)
		close_silences(t, &w->id, as_of);
	if (any_other)
		(void) watch_tables_execute(t, OPEN_SILENCES, lengthof(types), types, values, nulls);
}

/* (model_name, series) → bigint, series retired */
Datum
amad_retire(PG_FUNCTION_ARGS)
{
	const char *model_name = text_argument(fcinfo, 0);
	const Oid	types[] = {UUIDOID, JSONBOID, TIMESTAMPTZOID};
	const TimestampTz now = GetCurrentTimestamp();
	Jsonb	   *series = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	WatchTables t;
	Watch		watch;
	Datum		values[3];
	uint64		n;

	PreventCommandIfReadOnly("amad_retire()");
	if (model_name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("model_name must not be null")));
	if (series == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("series must not be null")));
	if (!JB_ROOT_IS_OBJECT(series))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("series must be a JSON object"),
				 errhint("For example '{\"device\": 7}'; '{}' stands for all series.")));
	watch_tables_enter(&t, fcinfo->flinfo->fn_oid);
	watch_require(&t, model_name, false, &watch);
	values[0] = UUIDPGetDatum(&watch.id);
	values[1] = JsonbPGetDatum(series);
	values[2] = TimestampTzGetDatum(now);
	/* values are compared as text, as amad_detect() does */
	n = watch_tables_execute(&t,
							 "UPDATE {series} SET retired = $3 WHERE watch = $1 AND retired IS NULL"
							 " AND NOT EXISTS (SELECT FROM jsonb_each($2) AS m(name, value)"
							 "   WHERE NOT coalesce(key ? name, false) OR NOT EXISTS (SELECT FROM"
							 "     jsonb_array_elements_text(CASE jsonb_typeof(value) WHEN "
							 "'array' THEN value ELSE jsonb_build_array(value) END) AS v(text)"
							 "     WHERE key ->> name IS NOT DISTINCT FROM v.text))",
							 lengthof(types), types, values, NULL);
	if (n > 0)
	{
		close_silences(&t, &watch.id, now);
		announcements_send(&t, &watch.id, true);
	}
	watch_tables_leave(&t);
	PG_RETURN_INT64((int64) n);
}
