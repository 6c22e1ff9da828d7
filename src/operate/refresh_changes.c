/*
 * operate/refresh_changes.c
 *	  The first step of a refresh: from the change log to ranges of series that are to be scored.
 *
 * Entries for all series are replaced by one for each series that the source or the target has in
 * their range.  Then the entries of each series are merged where the ranges meet, or are so close
 * that scoring the first range would score the second, and move to amad_pending with what is left
 * there from a run that did not finish.
 *
 * Log entries become visible with the rows they describe.  So each row whose entry is taken here is
 * seen by the later statements that read the source.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "model/owners.h"
#include "model/registry.h"
#include "operate/refresh.h"
#include "operate/watch_triggers.h"
#include "pg/timestamps.h"

#define FETCH_ROWS 1000			/* series that are listed at once */

/* Without a bound, in statements. */
#define LEAST "'-9223372036854775808'::int8"
#define MOST "'9223372036854775807'::int8"

/*
 * Continues a WITH clause whose query e has series, as a text, a and b: r has the merged ranges.
 * $2: distance at which ranges are merged.  A series with more than 16 ranges gets a single one.
 */
#define MERGED_RANGES \
	" m AS (SELECT series, a, b, max(b) OVER (PARTITION BY series ORDER BY a, b" \
	"   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached FROM e)," \
	" i AS (SELECT series, a, b, count(*) FILTER (WHERE a::float8 - reached::float8 > $2)" \
	"   OVER (PARTITION BY series ORDER BY a, b ROWS UNBOUNDED PRECEDING) AS island FROM m)," \
	" g AS (SELECT series, island, min(a) AS a, max(b) AS b," \
	"   count(*) OVER (PARTITION BY series) AS islands FROM i GROUP BY series, island)," \
	" r AS (SELECT series, min(a) AS a, max(b) AS b FROM g" \
	"   GROUP BY series, CASE WHEN islands > 16 THEN -1 ELSE island END)"

/* A range of time, with the ends of int64 instead of missing bounds. */
typedef struct TimeRange
{
	int64		first;
	int64		last;
} TimeRange;

int64
refresh_horizon(const Refresh *r, const Source *source)
{
	const Oid	ts_type = source->ts_type;
	int64		horizon;
	Datum		as_of;

	if (ts_type == INT8OID)
		return PG_INT64_MAX;
	as_of = DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(r->as_of),
								IntervalPGetDatum(&r->watch.delay));
	horizon = DatumGetInt64(detect_convert_bound(r->function, TIMESTAMPTZOID, ts_type, as_of));
	if (source->bucket > 0 && timestamps_finite(ts_type, horizon))
		horizon = source_bucket_start(source, Max(horizon - source->bucket, MIN_TIMESTAMP));
	/* scores that are there already are kept up to date */
	return r->watch.has_newest ? Max(horizon, r->watch.newest) : horizon;
}

/* Logs what the call asks for, and the time that is polled. */
static void
log_ranges(const Refresh *r, const WatchTables *t, const Source *source)
{
	const Oid	ts_type = source->ts_type;
	const int64 horizon = refresh_horizon(r, source);
	int64		first = 0;
	int64		last = 0;

	if ((r->has_since || r->has_until) && ts_type == INT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("since and until need a time column that is not an integer")));
	if (r->has_since)
		first = DatumGetInt64(detect_convert_bound(r->function, TIMESTAMPTZOID, ts_type,
												   TimestampTzGetDatum(r->since)));
	if (r->has_until)
		last = DatumGetInt64(detect_convert_bound(r->function, TIMESTAMPTZOID, ts_type,
												  TimestampTzGetDatum(r->until)));
	if (r->has_until && last > PG_INT64_MIN)
		last--;
	if (r->has_since || r->has_until)
		watch_log_range(t, &r->watch.id, 0, r->has_since ? &first : NULL,
						r->has_until && last < PG_INT64_MAX - 1 ? &last : NULL);

	if (r->watch.late && ts_type != INT8OID)
	{
		const Oid	types[] = {UUIDOID, INT8OID};
		const Datum values[] = {UUIDPGetDatum(&r->watch.id), Int64GetDatum(horizon)};
		int64		from = horizon;

		/* the first time, what was added since triggers were dropped is to be scored, too */
		if (r->watch.has_polled)
			from = Min(r->watch.polled_until, horizon);
		/* or after a refresh without a bound */
		if (r->watch.has_newest && (!r->watch.has_polled || !timestamps_finite(ts_type, from)))
			from = r->watch.newest;

		first = DatumGetInt64(DirectFunctionCall2(timestamp_mi_interval, Int64GetDatum(from),
												  IntervalPGetDatum(r->watch.late)));
		watch_log_range(t, &r->watch.id, 0, &first, horizon < PG_INT64_MAX ? &horizon : NULL);
		(void) watch_tables_execute(t, "UPDATE {watches} SET polled_until = $2 WHERE watch = $1", 2,
									types, values, NULL);
	}
}

/*
 * Logs everything if changes were not logged because the log was full.  The row that says so
 * remains while transactions are open that rely on it.
 */
static void
log_overflow(Refresh *r, const WatchTables *t)
{
	const Oid	types[] = {UUIDOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id)};
	const bool	locked = watch_lock(r->watches, &r->watch.id, WATCH_OVERFLOW, ExclusiveLock, false,
								   false);

	if (watch_tables_execute(t,
							 locked ? "DELETE FROM {overflow} WHERE watch = $1"
									: "SELECT FROM {overflow} WHERE watch = $1",
							 1, types, values, NULL) == 0)
		return;
	watch_log_range(t, &r->watch.id, 0, NULL, NULL);
	refresh_add_notice(r, "everything is scored again, because the change log was full");
}

/* Stores what the watch must remember of the model and of the source. */
static void
update_watch(Refresh *r, const WatchTables *t, const Model *model, const Source *source,
			 Oid relation)
{
	const Oid	types[] = {UUIDOID, INT4OID, INT4OID, OIDOID,	 NAMEOID,
						 OIDOID,  INT8OID, TEXTOID, INT8OID, INT4OID};
	const int64 step = (int64) Min(Max(model->stats.step, 1.0), 1e17);
	NameData	owner;
	Datum		values[] = {UUIDPGetDatum(&r->watch.id),
					  0,
					  0,
					  ObjectIdGetDatum(relation),
					  NameGetDatum(&owner),
					  ObjectIdGetDatum(r->watch.role),
					  Int64GetDatum(owner_cluster()),
					  CStringGetTextDatum(timestamps_type_name(source->ts_type)),
					  Int64GetDatum(step),
					  Int32GetDatum(Max(r->version, r->watch.newest_version))};
	const int	depth = Max(r->watch.depth, scorer_depth(model, true));
	const int	lookahead = Max(r->watch.lookahead, model->options.lookahead);

	if (depth == r->watch.depth && lookahead == r->watch.lookahead && r->watch.same_cluster &&
		relation == r->watch.source && step == r->watch.step &&
		r->version <= r->watch.newest_version)
		return;
	values[1] = Int32GetDatum(r->watch.depth = depth);
	values[2] = Int32GetDatum(r->watch.lookahead = lookahead);
	r->watch.step = step;
	namestrcpy(&owner, GetUserNameFromId(r->watch.role, false));
	(void) watch_tables_execute(t,
								"UPDATE {watches} SET depth = $2, lookahead = $3, source_oid = "
								"nullif($4, 0::oid),"
								" owner = $5, owner_oid = $6, owner_cluster = $7, time_type = $8,"
								" step = $9, newest_version = $10 "
								"WHERE watch = $1",
								lengthof(values), types, values, NULL);
}

/*
 * Logs everything if the deployed version does not read what the last refresh read: rows that were
 * counted in the other source can be elsewhere now.  The features make a difference only if they are
 * metrics, each of which can add rows.
 */
static void
log_other_source(Refresh *r, const WatchTables *t, Jsonb *source)
{
	const Oid	types[] = {UUIDOID, JSONBOID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), JsonbPGetDatum(source)};
	bool		isnull;

	if (watch_tables_execute(t,
							 "WITH s AS (SELECT CASE WHEN $2 ? 'metric_col' THEN $2 ELSE $2 - "
							 "'feature_cols' END - "
							 "ARRAY['label_col','value_col','aggregate','all_metrics'] AS source),"
							 " w AS (SELECT watch, source FROM {watches} WHERE watch = $1)"
							 " UPDATE {watches} AS u SET source = s.source FROM s, w WHERE u.watch "
							 "= w.watch"
							 " AND w.source IS DISTINCT FROM s.source RETURNING w.source IS NOT "
							 "NULL",
							 2, types, values, NULL) != 1 ||
		!DatumGetBool(watch_tables_value(0, 1, BOOLOID, &isnull)))
		return;
	watch_log_range(t, &r->watch.id, 0, NULL, NULL);
	refresh_add_notice(r,
					   "everything is scored again, because the deployed version reads another "
					   "source");
}

/* ---- entries for all series -------------------------------------------------------------- */

/* Takes the entries for all series out of the log, merged; their number. */
static int
take_ranges(Refresh *r, const WatchTables *t, double tolerance, TimeRange **ranges)
{
	const Oid	types[] = {UUIDOID, FLOAT8OID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), Float8GetDatum(tolerance)};
	int			n = (int)
		watch_tables_execute(t,
							 "WITH c AS (DELETE FROM {changes} WHERE watch = $1 AND series IS NULL"
							 "   RETURNING first_ts, last_ts),"
							 " e AS (SELECT NULL::text AS series, coalesce(first_ts, " LEAST
							 ") AS a,"
							 "   coalesce(last_ts, " MOST ") AS b FROM c)," MERGED_RANGES
							 " SELECT a, b, (SELECT count(*) FROM c) FROM r",
							 2, types, values, NULL);

	*ranges = MemoryContextAlloc(t->context, sizeof(TimeRange) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		(*ranges)[i].first = DatumGetInt64(watch_tables_value(i, 1, INT8OID, NULL));
		(*ranges)[i].last = DatumGetInt64(watch_tables_value(i, 2, INT8OID, NULL));
		if (i == 0)
			r->sums.changes += DatumGetInt64(watch_tables_value(i, 3, INT8OID, NULL));
	}
	return n;
}

/* Logs a range for each series of an array of text, whose elements are arrays as text. */
static void
log_series(const Refresh *r, ArrayBuildState *series, const TimeRange *range)
{
	const Oid	types[] = {UUIDOID, TEXTARRAYOID, INT8OID, INT8OID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id),
							makeArrayResult(series, CurrentMemoryContext),
							Int64GetDatum(range->first), Int64GetDatum(range->last)};
	WatchTables t;

	watch_tables_enter(&t, r->function);
	(void) watch_tables_execute(&t,
								"INSERT INTO {changes} SELECT $1, s::text[], nullif($3, " LEAST "),"
								" nullif($4, " MOST "), now() FROM unnest($2) AS s",
								4, types, values, NULL);
	watch_tables_leave(&t);
}

/*
 * Logs a range for each series that a relation (the source or the target) has in it.  The texts of
 * their values must be readable in any session, and those of a series the same (change_log.c).
 */
static void
log_series_of(const Refresh *r, const Source *s, const char *from, const TimeRange *range)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"}, {"IntervalStyle", "postgres"}, {"extra_float_digits", "1"},
		{"bytea_output", "hex"},   {"lc_monetary", "C"},
	};
	StringInfoData columns;
	StringInfoData texts;
	StringInfoData where;
	SPIPlanPtr	plan;
	Portal		portal;
	int			level;

	initStringInfo(&columns);
	initStringInfo(&texts);
	initStringInfo(&where);
	for (int i = 0; i < s->spec.nseries; i++)
	{
		appendStringInfo(&columns, "%s%s AS c%d", i > 0 ? ", " : "",
						 quote_identifier(s->spec.series_cols[i]), i);
		appendStringInfo(&texts, "%s(%s)::pg_catalog.text", i > 0 ? ", " : "",
						 source_series_value(s, i, psprintf("c%d", i)));
	}
	source_append_times(&where, s, range->first, range->last);

	SPI_connect();
	level = NewGUCNestLevel();
	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	plan = SPI_prepare(psprintf("SELECT (ARRAY[%s]::pg_catalog.text[])::pg_catalog.text FROM "
								"(SELECT DISTINCT %s FROM %s%s%s) AS s",
								texts.data, columns.data, from, where.len > 0 ? " WHERE " : "",
								where.data),
					   0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	for (;;)
	{
		ArrayBuildState *series = initArrayResult(TEXTOID, CurrentMemoryContext, true);

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			Datum value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

			(void) accumArrayResult(series, value, isnull, TEXTOID, CurrentMemoryContext);
		}
		SPI_freetuptable(SPI_tuptable);
		log_series(r, series, range);
	}
	SPI_cursor_close(portal);
	AtEOXact_GUC(false, level);
	SPI_finish();
}

/* Replaces the entries for all series by entries for each series. */
static void
expand_ranges(Refresh *r, const Source *s, const char *target, double tolerance)
{
	TimeRange  *ranges;
	WatchTables t;
	int			n;

	watch_tables_enter(&t, r->function);
	n = take_ranges(r, &t, tolerance, &ranges);
	watch_tables_leave(&t);
	for (int i = 0; i < n; i++)
	{
		SourceScope scope;

		if (s->spec.nseries == 0)
		{
			ArrayBuildState *only = initArrayResult(TEXTOID, CurrentMemoryContext, true);

			(void) accumArrayResult(only, CStringGetTextDatum("{}"), false, TEXTOID,
									CurrentMemoryContext);
			log_series(r, only, &ranges[i]);
			continue;
		}
		/* a snapshot that is newer than that of the entries */
		PushActiveSnapshot(GetTransactionSnapshot());
		scope = source_enter(&s->spec);
		/* whole buckets, which the target has at their start */
		ranges[i].first = source_bucket_start(s, ranges[i].first);
		if (ranges[i].last < PG_INT64_MAX)
			ranges[i].last = source_bucket_end(s, ranges[i].last);
		log_series_of(r, s, s->from, &ranges[i]);
		source_leave(&scope);
		log_series_of(r, s, target, &ranges[i]);
		PopActiveSnapshot();
	}
}

/* ---- all entries ------------------------------------------------------------------------- */

/* Moves the entries of the log to amad_pending. */
static void
merge_entries(Refresh *r, double tolerance)
{
	const Oid	types[] = {UUIDOID, FLOAT8OID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), Float8GetDatum(tolerance)};
	WatchTables t;

	watch_tables_enter(&t, r->function);
	if (watch_tables_execute(&t,
							 "WITH c AS (DELETE FROM {changes} WHERE watch = $1 AND series IS NOT "
							 "NULL"
							 "   RETURNING series, first_ts, last_ts),"
							 " p AS (DELETE FROM {pending} WHERE watch = $1 RETURNING series, "
							 "first_ts, last_ts),"
							 " e AS (SELECT series::text COLLATE \"C\" AS series, "
							 "coalesce(first_ts, " LEAST ") AS a, coalesce(last_ts, " MOST ") AS b"
							 "   FROM (TABLE c UNION ALL TABLE p) AS u)," MERGED_RANGES
							 ", n AS (INSERT INTO {pending} (watch, number, series, first_ts, "
							 "last_ts)"
							 "   SELECT $1, coalesce((SELECT max(number) FROM {pending} WHERE "
							 "watch = $1), 0)"
							 "     + row_number() OVER (ORDER BY series, a), series::text[],"
							 "     nullif(a, " LEAST "), nullif(b, " MOST ") FROM r)"
							 " SELECT count(*) FROM c",
							 2, types, values, NULL) == 1)
		r->sums.changes += DatumGetInt64(watch_tables_value(0, 1, INT8OID, NULL));
	watch_tables_leave(&t);
}

bool
refresh_take_changes(Refresh *r)
{
	Detection  *detection = refresh_open_detection(r, false);
	const LoadedModel *loaded = detect_model(detection);
	const Source *source = detect_source(detection);
	char	   *target = watch_open_target(r->watch.target, source, false);
	Oid			relation = r->watch.late ? InvalidOid : watch_source_relation(source);
	RegistryEntry entry = registry_find(r->function, r->watch.model_name, loaded->version);
	Jsonb	   *stored = registry_source(r->function, &entry);
	double		tolerance;
	WatchTables t;

	r->version = loaded->version;
	r->ts_type = source->ts_type;
	r->had_newest = r->watch.has_newest;
	r->newest_before = r->watch.newest;
	if (r->watch.late == NULL)
	{
		if (!OidIsValid(relation))
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("changes of the source of model \"%s\" cannot be logged",
							r->watch.model_name),
					 errdetail("The deployed version was trained on a query."),
					 errhint("Set late, the time that each refresh is to score again, by "
							 "amad_watch().")));
		watch_ensure_triggers(r->function, &r->watch, source, relation, &r->notices);
	}
	watch_tables_enter(&t, r->function);
	update_watch(r, &t, loaded->model, source, relation);
	if (stored)
		log_other_source(r, &t, stored);
	log_overflow(r, &t);
	log_ranges(r, &t, source);
	watch_tables_leave(&t);

	tolerance = loaded->model->stats.step * r->watch.depth;
	expand_ranges(r, source, target, tolerance);
	merge_entries(r, tolerance);
	return true;
}
