/*
 * operate/refresh_incidents.c
 *	  From the scores that a refresh has written to incidents with an identity.
 *
 * The rows of a series with a severity above min_severity form chains, in which each row is at most
 * merge_gap after the one before it.  A chain with min_rows rows or more that lasts min_duration
 * is an incident.  So whether a row belongs to an incident depends on the rows around it only,
 * and on none that is normal.
 *
 * When a range of a series has been scored, the incidents that it touches, and the chains from the
 * first to the last of these, are compared.  An incident is the first chain that it overlaps; of
 * several that overlap a chain, the oldest remains and the others are merged into it.  Those
 * without a chain are withdrawn.  Chains without an incident are new ones.
 *
 * Incidents in rows that were there when the watch began are not announced, nor are those that end
 * long before the newest row.  Others are announced in amad_outbox, once for each transition.
 *
 * An incident that begins within cooldown after another one of its series, with the same leading feature
 * and less than twice the severity that was announced for that one, is the same trouble again: it
 * has the leader of the other one and is not announced.  That does not hold if people have said that
 * the other one was no trouble.
 *
 * Verdicts (feedback.c) change that.  Rows at times that were expected are like normal ones, and an
 * incident with that verdict remains as it is.  Incidents like a false alarm are muted: nothing is
 * announced until the peak has grown beyond it.  If that happens to an incident that has been
 * closed for its receivers, it is announced as a peak, and can be closed for them once more.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "model/registry.h"
#include "operate/feedback.h"
#include "operate/refresh.h"
#include "pg/json.h"
#include "pg/timestamps.h"

#define FETCH_ROWS 1000			/* anomalous rows that are read at once */
#define EXPLAINED 256			/* chains of a range whose peaks are explained: the newest */
#define LATE INT64CONST(86400000000)	/* older incidents are not announced */

/* A chain of anomalous rows. */
typedef struct Chain
{
	int64		first;
	int64		last;
	int64		rows;
	int64		peak;
	double		peak_severity;
	int			version;		/* that scored the peak */
	Datum		contributions;	/* of the peak; 0: not known */
	Datum		expected;
	bool		taken;			/* by an incident */
} Chain;

/* An incident of the table. */
typedef struct Known
{
	int64		id;
	int64		first;
	int64		last;
	int64		rows;
	int64		peak;
	double		peak_severity;
	bool		muted;
	Chain	   *chain;
} Known;

/* What a range of a series needs. */
typedef struct Fold
{
	Refresh    *refresh;
	const Source *source;
	const char *target;
	int64		gap;			/* the rule, in units of the time column */
	int64		duration;
	int64		cooldown;
	SPIPlanPtr	read;			/* … for series with these nulls */
	const bool *read_nulls;
	MemoryContext context;		/* reset for every range */

	/* verdicts on the watch */
	List	   *verdicts;
	SeriesWindows *expected;	/* NULL: none */
	SeriesWindows *false_alarms;	/* NULL: none */
	int		   *false_alarm_numbers;	/* in the list */
	int			training_version;

	/* the range */
	const IncidentRange *range;
	Datum		id;				/* of the series: bytea */
	Known	   *known;
	int			nknown;
	Chain	   *chains;
	int			nchains;
	int			most_chains;
} Fold;

/* ---- the rule ---------------------------------------------------------------------------- */

static int64
later(int64 ts, int64 distance)
{
	int64		sum;

	if (pg_add_s64_overflow(ts, distance, &sum))
		return distance > 0 ? PG_INT64_MAX : PG_INT64_MIN;
	return sum;
}

int64
incidents_merge_gap(const Refresh *r, Oid ts_type)
{
	if (r->watch.merge_gap && ts_type != INT8OID)
		return watch_interval_units(r->watch.merge_gap);
	return watch_steps(&r->watch, MERGE_STEPS);
}

/* ---- chains ------------------------------------------------------------------------------ */

/* Prepares the query for the anomalous rows of a series; $4: their least severity, exclusive. */
static SPIPlanPtr
prepare_read(const Fold *f)
{
	const Source *s = f->source;
	const char *ts = quote_identifier(s->spec.timestamp_col);

	return refresh_prepare_series(s, f->range->nulls,
								  psprintf("SELECT %s::pg_catalog.%s, severity, model_version, "
										   "contributions, expected "
										   "FROM %s,",
										   ts, source_ts_read_name(s), f->target),
								  psprintf(" AND status IS NULL AND severity "
										   "OPERATOR(pg_catalog.>) $4 ORDER BY %s",
										   ts),
								  FLOAT8OID);
}

/* An object; 0: the value is null, or something else that anybody has written. */
static Datum
copy_object(HeapTuple row, TupleDesc desc, int number)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, desc, number, &isnull);
	Jsonb	   *copy;

	if (isnull || SPI_gettypeid(desc, number) != JSONBOID)
		return 0;
	copy = DatumGetJsonbPCopy(value);
	if (JB_ROOT_IS_OBJECT(copy))
		return JsonbPGetDatum(copy);
	pfree(copy);
	return 0;
}

static void
forget_explanation(Chain *chain)
{
	if (chain->contributions)
		pfree(DatumGetPointer(chain->contributions));
	if (chain->expected)
		pfree(DatumGetPointer(chain->expected));
	chain->contributions = chain->expected = 0;
}

/* Adds a row to the last chain, or begins one. */
static void
add_row(Fold *f, HeapTuple row, TupleDesc desc)
{
	const Oid	read_type = source_ts_read_type(f->source);
	bool		isnull[3];
	Datum		value = SPI_getbinval(row, desc, 1, &isnull[0]);
	double		severity = DatumGetFloat8(SPI_getbinval(row, desc, 2, &isnull[1]));
	int			version = DatumGetInt32(SPI_getbinval(row, desc, 3, &isnull[2]));
	Chain	   *chain = f->nchains > 0 ? &f->chains[f->nchains - 1] : NULL;
	int64		ts;

	if (isnull[0] || isnull[1] || SPI_gettypeid(desc, 1) != read_type ||
		!timestamps_value(read_type, value, &ts))
		return;
	if (f->expected && series_windows_cover(f->expected, ts))
		return;
	if (chain == NULL || ts > later(chain->last, f->gap))
	{
		if (f->nchains == f->most_chains)
		{
			f->most_chains = Max(64, f->most_chains * 2);
			f->chains = f->chains
				? repalloc_huge(f->chains, sizeof(Chain) * f->most_chains)
				: palloc_extended(sizeof(Chain) * f->most_chains, MCXT_ALLOC_HUGE);
		}
		/* the explanations of old ones are not kept, so that memory is bounded */
		if (f->nchains >= EXPLAINED)
			forget_explanation(&f->chains[f->nchains - EXPLAINED]);
		chain = &f->chains[f->nchains++];
		*chain = (Chain){.first = ts, .peak_severity = -1};
	}
	chain->last = ts;
	chain->rows++;
	if (severity <= chain->peak_severity)
		return;
	chain->peak = ts;
	chain->peak_severity = severity;
	chain->version = isnull[2] ? 0 : version;
	forget_explanation(chain);
	chain->contributions = copy_object(row, desc, 4);
	chain->expected = copy_object(row, desc, 5);
}

/* Reads the chains of the rows from first to last. */
static void
read_chains(Fold *f, int64 first, int64 last)
{
	const int	nseries = f->source->spec.nseries;
	Datum		values[] = {f->range->series, Int64GetDatum(first), Int64GetDatum(last),
					  Float8GetDatum(f->refresh->watch.min_severity)};
	Portal		portal;

	if (f->read == NULL || memcmp(f->read_nulls, f->range->nulls, sizeof(bool) * nseries) != 0)
	{
		f->read = prepare_read(f);
		f->read_nulls = f->range->nulls;
	}
	f->nchains = 0;
	portal = SPI_cursor_open(NULL, f->read, values, NULL, false);
	for (SPI_cursor_fetch(portal, true, FETCH_ROWS); SPI_processed > 0;
		 SPI_cursor_fetch(portal, true, FETCH_ROWS))
	{
		MemoryContext old = MemoryContextSwitchTo(f->context);

		for (uint64 i = 0; i < SPI_processed; i++)
			add_row(f, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		MemoryContextSwitchTo(old);
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
}

/*
 * Reads the chains that have rows from first to last, with all of their rows, and keeps those
 * that are incidents.
 */
static void
find_chains(Fold *f, int64 first, int64 last)
{
	int64		pad = Max(f->gap, 1);
	int64		from;
	int64		to;
	int			n = 0;

	for (;;)
	{
		from = later(first, -pad);
		to = later(last, pad);
		read_chains(f, from, to);
		/* a chain at an end may go on beyond it */
		if (f->nchains == 0 ||
			((from == PG_INT64_MIN || f->chains[0].first >= later(from, f->gap) ||
			  f->chains[0].last < first) &&
			 (to == PG_INT64_MAX || f->chains[f->nchains - 1].last <= later(to, -f->gap) ||
			  f->chains[f->nchains - 1].first > last)))
			break;
		pad = pad > PG_INT64_MAX / 8 ? PG_INT64_MAX : pad * 4;
	}
	for (int i = 0; i < f->nchains; i++)
	{
		const Chain *c = &f->chains[i];

		if (c->last >= first && c->first <= last && c->rows >= f->refresh->watch.min_rows &&
			later(c->first, f->duration) <= c->last)
			f->chains[n++] = *c;
	}
	f->nchains = n;
}

/* ---- incidents --------------------------------------------------------------------------- */

/*
 * Reads the incidents of each range, and those that its rows could extend.  The result has the
 * range's number, the identifier of its series, and an incident or nulls.
 */
static uint64
read_known(const Fold *f, const WatchTables *t, const IncidentRange *ranges, int n)
{
	const Oid	types[] = {UUIDOID, TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID};
	ArrayBuildState *arrays[] = {initArrayResult(TEXTOID, CurrentMemoryContext, false),
								 initArrayResult(INT8OID, CurrentMemoryContext, false),
								 initArrayResult(INT8OID, CurrentMemoryContext, false)};
	Datum		values[1 + lengthof(arrays)] = {UUIDPGetDatum(&f->refresh->watch.id)};

	for (int i = 0; i < n; i++)
	{
		const Datum row[] = {
			CStringGetTextDatum(OidOutputFunctionCall(F_ARRAY_OUT, ranges[i].series)),
			Int64GetDatum(later(ranges[i].first, -f->gap)),
			Int64GetDatum(later(ranges[i].last, f->gap)),
		};

		for (int a = 0; a < lengthof(arrays); a++)
			(void) accumArrayResult(arrays[a], row[a], false, a == 0 ? TEXTOID : INT8OID,
									CurrentMemoryContext);
	}
	for (int a = 0; a < lengthof(arrays); a++)
		values[1 + a] = makeArrayResult(arrays[a], CurrentMemoryContext);
	return watch_tables_execute(t,
								"SELECT u.n, u.id, i.id, i.first_ts, i.last_ts, i.rows, i.peak_ts, "
								"i.peak_severity, i.muted"
								" FROM (SELECT n, sha256(convert_to(s, 'UTF8')) AS id, a, b"
								"   FROM unnest($2, $3, $4) WITH ORDINALITY AS u(s, a, b, n)) AS u"
								" LEFT JOIN {incidents} AS i ON i.watch = $1 AND i.series_id = "
								"u.id AND i.kind = 'anomaly'"
								"   AND i.state IN ('open', 'closed') AND i.last_ts >= u.a AND "
								"i.first_ts <= u.b AND i.verdict IS DISTINCT FROM 'expected'"
								" ORDER BY u.n, i.first_ts, i.id",
								lengthof(types), types, values, NULL);
}

/* The incident in a row of that result; false if there is none. */
static bool
get_known(int row, Known *known)
{
	bool		isnull;
	bool		no_severity;
	Datum		id = watch_tables_value(row, 3, INT8OID, &isnull);
	Datum		peak;
	Datum		severity;

	if (isnull)
		return false;
	peak = watch_tables_value(row, 7, INT8OID, &isnull);
	severity = watch_tables_value(row, 8, FLOAT8OID, &no_severity);
	*known = (Known){
		.id = DatumGetInt64(id),
		.first = DatumGetInt64(watch_tables_value(row, 4, INT8OID, NULL)),
		.last = DatumGetInt64(watch_tables_value(row, 5, INT8OID, NULL)),
		.rows = DatumGetInt64(watch_tables_value(row, 6, INT8OID, NULL)),
		.peak = isnull ? 0 : DatumGetInt64(peak),
		.peak_severity = no_severity ? 0 : DatumGetFloat8(severity),
		.muted = DatumGetBool(watch_tables_value(row, 9, BOOLOID, NULL)),
	};
	return true;
}

/* Whether an incident that ends at a time is news. */
static bool
is_news(const Fold *f, int64 last)
{
	const Refresh *r = f->refresh;

	if (!r->had_newest)
		return false;
	return f->source->ts_type == INT8OID ? last >= r->newest_before
										 : last >= later(r->newest_before, -LATE);
}

/* A time for people; null for integers. */
static Datum
readable_time(const Fold *f, int64 ts, bool *isnull)
{
	*isnull = f->source->ts_type == INT8OID;
	return *isnull ? (Datum) 0
				   : detect_convert_bound(f->refresh->function, f->source->ts_type, TIMESTAMPTZOID,
										  Int64GetDatum(ts));
}

/* ---- false alarms ------------------------------------------------------------------------- */

/* Whether the feature of a false alarm contributed most to the peak of a chain. */
static bool
leads(const Chain *c, const char *feature)
{
	Jsonb	   *contributions = DatumGetJsonbP(c->contributions);
	JsonbIterator *it;
	JsonbValue	value;
	double		most;

	if (!JB_ROOT_IS_OBJECT(contributions))
		return false;
	most = json_number(json_get(&contributions->root, feature), 0);
	it = JsonbIteratorInit(&contributions->root);
	while (most > 0 && json_next_member(&it, &value) != NULL)
		if (json_number(&value, 0) > most)
			return false;
	return most > 0;
}

/* Whether a false alarm still mutes others. */
static bool
is_in_force(const Fold *f, const GivenVerdict *v)
{
	return v->feature != NULL &&
		(v->has_until ? f->refresh->as_of < v->until : f->training_version <= v->training_version);
}

/*
 * Whether a chain is like a false alarm of its series.  actual: the values at its peak; 0: they
 * have not been read.
 */
static bool
is_muted(const Fold *f, const Chain *c, Datum actual)
{
	int			n = 0;
	const int  *alarms = f->false_alarms ? series_windows_selected(f->false_alarms, &n) : NULL;

	if (!c->contributions || !c->expected)
		return false;
	for (int i = 0; i < n; i++)
	{
		const GivenVerdict *v = list_nth(f->verdicts, f->false_alarm_numbers[alarms[i]]);
		bool		above;

		CHECK_FOR_INTERRUPTS();
		if (!is_in_force(f, v) || !(c->peak_severity < MUTED_PEAKS * v->peak_severity) ||
			!leads(c, v->feature))
			continue;
		if (!actual)
			actual = feedback_actual_values(f->source, f->range->condition, c->peak);
		if (feedback_direction(c->expected, actual, v->feature, &above) && above == v->above)
			return true;
	}
	return false;
}

/* ---- writing ------------------------------------------------------------------------------ */

/*
 * The parameters that describe a chain: $1 watch, $2 series_id, $3 series, $4 incident, $5 to $7
 * first, last and peak, $8 to $10 the same for people, $11 severity, $12 rows, $13 version, $14
 * to $16 contributions, expected and actual values of the peak, $17 whether it is news, $18
 * as_of, $19 whether it is muted, $20 whether it was when the verdicts were read, $21 the time after
 * which an earlier incident of the same trouble has ended, $22 how long it lasts at most if that one was
 * shorter.
 */
static const Oid chain_types[] = {UUIDOID,		  BYTEAOID,		  JSONBOID,	 INT8OID,
								  INT8OID,		  INT8OID,		  INT8OID,	 TIMESTAMPTZOID,
								  TIMESTAMPTZOID, TIMESTAMPTZOID, FLOAT8OID, INT8OID,
								  INT4OID,		  JSONBOID,		  JSONBOID,	 JSONBOID,
								  BOOLOID,		  TIMESTAMPTZOID, BOOLOID,	 BOOLOID,
								  INT8OID,		  FLOAT8OID};

#define TOP_FEATURES \
	" (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('feature', key, 'share', value," \
	"   'expected', $15 -> key, 'actual', $16 -> key, 'direction'," \
	"   CASE WHEN jsonb_typeof($15 -> key) = 'number' AND jsonb_typeof($16 -> key) = 'number'" \
	"     THEN sign(($16 ->> key)::numeric - ($15 ->> key)::numeric) END)) ORDER BY number)" \
	"   FROM (SELECT key, value, row_number() OVER (ORDER BY value DESC, key) AS number" \
	"     FROM jsonb_each($14) WHERE value > '0') AS c WHERE number <= 3)"

/* Not one of which people have said that it was no trouble. */
#define IS_TROUBLE(incident) "coalesce(" incident ".verdict, '') NOT IN ('false_alarm', 'expected')"

/* The leader of the trouble that goes on with the chain; no row: it is a new one. */
#define SAME_TROUBLE \
	"p AS (SELECT coalesce(p.leader, p.id) AS leader FROM {incidents} AS p" \
	"   WHERE p.watch = $1 AND p.series_id = $2 AND p.kind = 'anomaly' AND p.state IN ('open', " \
	"'closed')" \
	"   AND p.last_ts >= $21 AND p.last_ts < $5 AND p.top_features -> 0 ->> 'feature' =" \
	"     (SELECT key FROM jsonb_each($14) WHERE value > '0' ORDER BY value DESC, key LIMIT 1)" \
	"   AND $6::float8 - $5 <= greatest(2 * (p.last_ts::float8 - p.first_ts), $22)" \
	"   AND " IS_TROUBLE("p") " AND $11 < 2 * coalesce(p.announced_severity," \
							  "     (SELECT l.announced_severity FROM {incidents} AS l WHERE " \
							  "l.id = p.leader AND l.watch = " \
							  "$1" \
							  "        AND l.state <> 'withdrawn' AND " IS_TROUBLE( \
								  "l") "))" \
									   "   ORDER BY p.last_ts DESC LIMIT 1)"

/*
 * Announces an incident: open, or peak if the severity that was announced has doubled or the
 * incident was muted (hushed).
 */
#define ANNOUNCE \
	" INSERT INTO {outbox} (incident, transition, number, watch, created, as_of)" \
	" SELECT id, CASE WHEN peaks = 0 THEN 'open' ELSE 'peak' END, peaks, $1, clock_timestamp(), " \
	"$18" \
	" FROM i WHERE announced_severity = peak_severity AND NOT muted" \
	" AND (hushed AND $17 OR was IS DISTINCT FROM announced_severity)" \
	" ON CONFLICT DO NOTHING"

#define INSERT_CHAIN \
	"WITH " SAME_TROUBLE \
	", i AS (INSERT INTO {incidents} (watch, series_id, series, kind, state, first_ts, " \
	"last_ts, " \
	"   peak_ts, started, ended, peak, peak_severity, rows, model_version, top_features, " \
	"opened_at, " \
	"   announced_severity, muted, leader)" \
	"   SELECT $1, $2, $3, 'anomaly', 'open', $5, $6, $7, $8, $9, $10, $11, $12, nullif($13, " \
	"0)," TOP_FEATURES ", $18, CASE WHEN $17 AND NOT $19 AND NOT EXISTS (SELECT FROM p) THEN $11 " \
	"END, $19, (SELECT leader FROM p)" \
	"   RETURNING id, peaks, announced_severity, peak_severity, muted, false AS hushed, " \
	"NULL::float8 AS was)" ANNOUNCE

/* A verdict that was given while the fold goes on mutes, too (hush). */
#define UPDATE_CHAIN \
	"WITH " SAME_TROUBLE ", o AS (SELECT id, announced_severity AS was, muted AND $20 AS hushed," \
	"   $19 OR muted AND NOT $20 AS hush FROM {incidents} WHERE id = $4 FOR UPDATE)," \
	" i AS (UPDATE {incidents} AS u SET state = CASE WHEN $6 > last_ts THEN 'open' ELSE state " \
	"END," \
	"   first_ts = $5, last_ts = $6, started = $8, ended = $9, rows = $12," \
	"   peak_ts = $7, peak = $10, peak_severity = $11, model_version = nullif($13, 0)," \
	"   top_features = CASE WHEN peak_ts = $7 AND $16 IS NULL THEN top_features ELSE" TOP_FEATURES \
	" END, ended_at = CASE WHEN $6 > last_ts THEN NULL ELSE ended_at END," \
	"   muted = hush," \
	"   peaks = peaks + (was IS NOT NULL AND NOT hush AND ($11 >= 2 * was OR hushed AND " \
	"$17))::int," \
	"   leader = CASE WHEN was IS NULL THEN (SELECT leader FROM p) ELSE u.leader END," \
	"   announced_severity = CASE WHEN hush OR was IS NULL AND EXISTS (SELECT FROM p) THEN was " \
	"WHEN (was IS NULL OR hushed) AND $17 OR $11 " \
	">= " \
	"2 * was THEN $11 ELSE was END" \
	"   FROM o WHERE u.id = o.id AND u.watch = $1 AND u.series_id = $2" \
	"   RETURNING u.id, u.peaks, u.announced_severity, u.peak_severity, u.muted, o.hushed, " \
	"o.was)," \
	" v AS (UPDATE {verdicts} SET first_ts = $5, last_ts = $6, started = $8, ended = $9 WHERE " \
	"incident = $4 AND watch = $1 AND verdict <> 'expected')," \
	" d AS (DELETE FROM {outbox} AS c USING i WHERE c.incident = i.id AND c.transition = " \
	"'closed' " \
	"AND i.hushed AND NOT i.muted AND $17)" ANNOUNCE

/* Writes a chain: to an incident, or as a new one (known NULL); and what is to be announced. */
static void
write_chain(Fold *f, const Known *known, const Chain *c)
{
	const bool	news = is_news(f, c->last);
	const bool	new_peak = known == NULL || known->peak != c->peak;
	Datum		actual = news && new_peak && c->contributions
		? feedback_actual_values(f->source, f->range->condition, c->peak)
		: (Datum) 0;
	Datum		values[] = {
		UUIDPGetDatum(&f->refresh->watch.id),
		f->id,
		JsonbPGetDatum(f->range->key),
		Int64GetDatum(known ? known->id : 0),
		Int64GetDatum(c->first),
		Int64GetDatum(c->last),
		Int64GetDatum(c->peak),
		0,
		0,
		0,
		Float8GetDatum(c->peak_severity),
		Int64GetDatum(c->rows),
		Int32GetDatum(c->version),
		c->contributions,
		c->expected,
		actual,
		BoolGetDatum(news),
		TimestampTzGetDatum(f->refresh->as_of),
		BoolGetDatum(is_muted(f, c, actual)),
		BoolGetDatum(known && known->muted),
		Int64GetDatum(later(c->first, -f->cooldown)),
		Float8GetDatum((double) f->gap),
	};
	char		nulls[] = "                      ";
	WatchTables t;

	nulls[2] = f->range->key ? ' ' : 'n';
	nulls[3] = known ? ' ' : 'n';
	for (int i = 0; i < 3; i++)
	{
		bool		isnull;

		values[7 + i] = readable_time(f, DatumGetInt64(values[4 + i]), &isnull);
		nulls[7 + i] = isnull ? 'n' : ' ';
	}
	for (int i = 13; i <= 15; i++)
		nulls[i] = values[i] ? ' ' : 'n';
	watch_tables_enter(&t, f->refresh->function);
	(void) watch_tables_execute(&t, known ? UPDATE_CHAIN : INSERT_CHAIN, lengthof(chain_types),
								chain_types, values, nulls);
	watch_tables_leave(&t);
}

/* Ends an incident: merged into another one (into not 0), or withdrawn. */
static void
end_incident(Fold *f, const Known *known, int64 into)
{
	const Oid	types[] = {INT8OID, UUIDOID, INT8OID, TIMESTAMPTZOID};
	const Datum values[] = {Int64GetDatum(known->id), UUIDPGetDatum(&f->refresh->watch.id),
							Int64GetDatum(into), TimestampTzGetDatum(f->refresh->as_of)};
	WatchTables t;

	watch_tables_enter(&t, f->refresh->function);
	(void) watch_tables_execute(&t,
								"WITH i AS (UPDATE {incidents} SET merged_into = nullif($3, 0),"
								"   state = CASE WHEN $3 = 0 THEN 'withdrawn' ELSE 'merged' END, "
								"ended_at = $4"
								"   WHERE id = $1 AND watch = $2 RETURNING id, state, "
								"announced_severity)"
								" INSERT INTO {outbox} (incident, transition, number, watch, "
								"created, as_of)"
								" SELECT id, CASE WHEN state = 'merged' THEN 'closed' ELSE state "
								"END, 0, $2,"
								"   clock_timestamp(), $4 FROM i WHERE announced_severity IS NOT "
								"NULL ON CONFLICT DO NOTHING",
								lengthof(types), types, values, NULL);
	watch_tables_leave(&t);
}

/* Whether an incident is as its chain says already. */
static bool
is_unchanged(const Known *k, const Chain *c)
{
	return k->first == c->first && k->last == c->last && k->rows == c->rows && k->peak == c->peak &&
		k->peak_severity == c->peak_severity;
}

/* Compares the incidents of a range with the chains, and writes what has changed. */
static void
fold_range(Fold *f)
{
	int64		first = f->range->first;
	int64		last = f->range->last;
	const int	n = f->nknown;
	Known	   *known = f->known;

	for (int i = 0; i < n; i++)
	{
		first = Min(first, known[i].first);
		last = Max(last, known[i].last);
	}
	if (f->expected)
		series_windows_select(f->expected, f->range->key);
	if (f->false_alarms)
		series_windows_select(f->false_alarms, f->range->key);
	find_chains(f, first, last);

	/* both are in the order of time */
	for (int i = 0, c = 0; i < n; i++)
	{
		while (c < f->nchains && f->chains[c].last < known[i].first)
			c++;
		if (c < f->nchains && f->chains[c].first <= known[i].last)
			known[i].chain = &f->chains[c];
	}
	for (int i = 0; i < n; i++)
	{
		const Known *oldest = NULL;

		CHECK_FOR_INTERRUPTS();
		/* those of a chain are neighbours */
		for (int j = i; known[i].chain && j >= 0 && known[j].chain == known[i].chain; j--)
			if (oldest == NULL || known[j].id < oldest->id)
				oldest = &known[j];
		for (int j = i + 1; known[i].chain && j < n && known[j].chain == known[i].chain; j++)
			if (known[j].id < oldest->id)
				oldest = &known[j];
		if (oldest == NULL)
			end_incident(f, &known[i], 0);
		else if (oldest != &known[i])
			end_incident(f, &known[i], oldest->id);
		else if (!is_unchanged(&known[i], known[i].chain))
			write_chain(f, &known[i], known[i].chain);
		if (known[i].chain)
			known[i].chain->taken = true;
	}
	for (int c = 0; c < f->nchains; c++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!f->chains[c].taken)
			write_chain(f, NULL, &f->chains[c]);
	}
}

/* Reads the verdicts, after the incidents: none is missing that has muted one of these. */
static void
read_verdicts(Fold *f)
{
	Refresh    *r = f->refresh;
	const SourceSpec *spec = &f->source->spec;
	const bool	integers = f->source->ts_type == INT8OID;

	PushActiveSnapshot(GetLatestSnapshot());
	f->verdicts = verdicts_of_watch(r->function, &r->watch.id,
									VERDICT_FALSE_ALARM | VERDICT_EXPECTED);
	PopActiveSnapshot();
	f->expected = series_windows_of_verdicts(f->verdicts, VERDICT_EXPECTED, spec->nseries,
											 spec->series_cols, integers, NULL);
	f->false_alarms = series_windows_of_verdicts(f->verdicts, VERDICT_FALSE_ALARM, spec->nseries,
												 spec->series_cols, integers,
												 &f->false_alarm_numbers);
	if (f->false_alarms)
	{
		RegistryEntry entry = registry_find(r->function, r->watch.model_name, r->version);

		f->training_version = registry_training(entry.version, registry_facts(r->function, &entry));
	}
}

void
incidents_fold(Refresh *r, const Source *source, const char *target, const IncidentRange *ranges,
			   int n)
{
	Fold		f = {
		.refresh = r,
		.source = source,
		.target = target,
		.gap = incidents_merge_gap(r, source->ts_type),
		.duration = source->ts_type == INT8OID ? 0 : watch_interval_units(&r->watch.min_duration),
		.cooldown = source->ts_type == INT8OID ? 0 : watch_interval_units(&r->watch.cooldown),
		.context = AllocSetContextCreate(CurrentMemoryContext, "amad incidents",
										 ALLOCSET_DEFAULT_SIZES),
	};
	Datum	   *ids = palloc0(sizeof(Datum) * n);
	int		   *nknown = palloc0(sizeof(int) * n);
	Known	   *known;
	WatchTables t;
	uint64		nrows;
	int			total = 0;

	watch_tables_enter(&t, r->function);
	nrows = read_known(&f, &t, ranges, n);
	known = MemoryContextAllocExtended(t.context, sizeof(Known) * Max(nrows, 1), MCXT_ALLOC_HUGE);
	for (uint64 i = 0; i < nrows; i++)
	{
		const int	number = (int) DatumGetInt64(watch_tables_value((int) i, 1, INT8OID, NULL)) - 1;

		if (!ids[number])
		{
			MemoryContext old = MemoryContextSwitchTo(t.context);

			ids[number] = PointerGetDatum(
				PG_DETOAST_DATUM_COPY(watch_tables_value((int) i, 2, BYTEAOID, NULL)));
			MemoryContextSwitchTo(old);
		}
		if (get_known((int) i, &known[total]))
		{
			total++;
			nknown[number]++;
		}
	}
	watch_tables_leave(&t);
	read_verdicts(&f);
	for (int i = 0; i < n; known += nknown[i], i++)
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (nknown[i] == 0 && !ranges[i].anomalous)
			continue;
		old = MemoryContextSwitchTo(f.context);
		f.range = &ranges[i];
		f.id = ids[i];
		f.known = known;
		f.nknown = nknown[i];
		f.chains = NULL;
		f.nchains = f.most_chains = 0;
		fold_range(&f);
		MemoryContextSwitchTo(old);
		MemoryContextReset(f.context);
	}
}
