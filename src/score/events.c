/*
 * score/events.c
 *	  The functions amad_events and amad_events_bigint: the rows that amad_detect
 *	  flags, put together to intervals.
 *
 * They differ in the type of times and durations.  Rows come by series, then by
 * time, so that one event is kept at a time, and of the rows before it nothing but
 * the last n outcomes.  docs/events.md defines what an event is.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/int.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "score/detect_arguments.h"
#include "pg/json.h"
#include "score/maintenance.h"
#include "score/explanation.h"
#include "pg/rowset.h"
#include "pg/timestamps.h"

#define TOP_FEATURES 3
#define SHARE_UNITS 1e6			/* in 1: shares are rounded as contributions are */
#define N_MAX 65536
#define WEIGHT_MAX 1e100		/* of a row: sums stay finite, whatever its severity */

/* Arguments, in their order. */
enum
{
	ARG_MODEL_NAME,
	ARG_SINCE,
	ARG_UNTIL,
	ARG_MIN_DURATION,
	ARG_MERGE_GAP,
	ARG_COOLDOWN,
	ARG_MIN_SEVERITY,
	ARG_DIRECTION,
	ARG_K,
	ARG_N,
	ARG_MAINTENANCE,
	ARG_SERIES,
	ARG_SOURCE,
	ARG_TIMESTAMP_COL
};

/* Columns of the result, in their order. */
enum
{
	COL_SERIES,
	COL_START,
	COL_END,
	COL_PEAK,
	COL_PEAK_SEVERITY,
	COL_POINTS,
	COL_TOP_FEATURES,
	COL_OPEN,
	COLUMNS
};

/* An interval, or an int8 with a time column of integers. */
typedef struct Duration
{
	bool		given;
	Datum		value;
} Duration;

typedef struct Rules
{
	bool		integers;		/* durations are, as times are */
	Duration	min_duration;
	Duration	merge_gap;
	Duration	cooldown;
	double		min_severity;
	int			direction;		/* of the row's top feature: 1, -1; 0: any */
	int			k;				/* hits that there must be among the last n rows */
	int			n;
} Rules;

/* Times are in the source's units. */
typedef struct Event
{
	bool		going;			/* there is one */
	bool		interrupted;	/* by the rows after its last one */
	int64		start;
	int64		end;			/* its last row */
	int64		peak;
	double		peak_severity;
	int64		points;			/* flagged rows */
	double		weight;			/* their severities, added up */
	double	   *share;			/* (features) shares times severity, added up */
	double	   *balance;		/* (features) the same, negative for rows below what was expected */
} Event;

typedef struct Events
{
	Rules		rules;
	Detection  *detection;
	Maintenance *maintenance;	/* NULL: none */
	Rowset		rowset;
	double	   *row_share;		/* (features) of the row looked at */
	bool		has_shares;		/* it has such */

	/* the series */
	bool		any;			/* one has come */
	MemoryContext series_context;
	Datum		series;			/* jsonb in it */
	bool		series_null;
	bool		has_last;
	int64		last_ts;		/* of the last row */
	bool	   *hit;			/* (n) whether the last rows were hits, in a ring */
	int			next;			/* its place for the next row */
	int			hits;			/* in it */
	bool		reported;		/* an event was */
	int64		reported_end;
	Event		event;
} Events;

/* ---- time --------------------------------------------------------------------------- */

/* Times are in the source's units, so that no event depends on the session's time zone. */
static int64
later(const Rules *rules, int64 ts, const Duration *duration)
{
	int64		sum;

	if (!rules->integers)
		return timestamps_later(ts, DatumGetIntervalP(duration->value));
	return pg_add_s64_overflow(ts, DatumGetInt64(duration->value), &sum) ? PG_INT64_MAX : sum;
}

/* ---- arguments ------------------------------------------------------------------------ */

static void
invalid_argument(const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message)));
}

static Duration
duration_of(FunctionCallInfo fcinfo, int arg, const char *name)
{
	Duration	duration = {.given = !PG_ARGISNULL(arg)};
	Interval	zero = {0};

	if (!duration.given)
		return duration;
	duration.value = PG_GETARG_DATUM(arg);
	if (get_fn_expr_argtype(fcinfo->flinfo, arg) == INT8OID
		? DatumGetInt64(duration.value) < 0
		: DatumGetBool(DirectFunctionCall2(interval_lt, duration.value,
										   IntervalPGetDatum(&zero))))
		invalid_argument(psprintf("%s must not be negative", name));
	return duration;
}

static int
direction_of(FunctionCallInfo fcinfo)
{
	char	   *name;

	if (PG_ARGISNULL(ARG_DIRECTION))
		return 0;
	name = text_to_cstring(PG_GETARG_TEXT_PP(ARG_DIRECTION));
	if (strcmp(name, "up") != 0 && strcmp(name, "down") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized direction \"%s\"", name),
				 errhint("Valid are \"up\" and \"down\"; null is any.")));
	return strcmp(name, "up") == 0 ? 1 : -1;
}

static Rules
rules_of(FunctionCallInfo fcinfo)
{
	Rules		rules = {
		.integers = get_fn_expr_argtype(fcinfo->flinfo, ARG_SINCE) == INT8OID,
		.min_duration = duration_of(fcinfo, ARG_MIN_DURATION, "min_duration"),
		.merge_gap = duration_of(fcinfo, ARG_MERGE_GAP, "merge_gap"),
		.cooldown = duration_of(fcinfo, ARG_COOLDOWN, "cooldown"),
		.min_severity = PG_ARGISNULL(ARG_MIN_SEVERITY) ? 1.0 : PG_GETARG_FLOAT8(ARG_MIN_SEVERITY),
		.direction = direction_of(fcinfo),
		.k = PG_ARGISNULL(ARG_K) ? 1 : PG_GETARG_INT32(ARG_K),
		.n = PG_ARGISNULL(ARG_N) ? 1 : PG_GETARG_INT32(ARG_N),
	};

	/* NaN, too */
	if (!(rules.min_severity >= 0))
		invalid_argument("min_severity must not be negative");
	if (rules.k < 1)
		invalid_argument("k must be at least 1");
	if (rules.n > N_MAX)
		invalid_argument(psprintf("n must be at most %d", N_MAX));
	if (rules.k > rules.n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("k must be at most n"),
				 errdetail("k is %d, n is %d.", rules.k, rules.n)));
	return rules;
}

static DetectSpec
spec_of(FunctionCallInfo fcinfo)
{
	DetectSpec	spec = arguments_detect(fcinfo, ARG_SOURCE, ARG_TIMESTAMP_COL);

	if (!PG_ARGISNULL(ARG_SERIES))
		spec.series = PG_GETARG_JSONB_P(ARG_SERIES);
	return spec;
}

/* ---- reporting ------------------------------------------------------------------------- */

/* The feature with the greatest share that is not taken yet; -1: none has one. */
static int
next_feature(const Event *event, int features, const int *taken, int ntaken)
{
	int			best = -1;

	for (int c = 0; c < features; c++)
	{
		bool		is_taken = false;

		for (int i = 0; i < ntaken; i++)
			is_taken = is_taken || taken[i] == c;
		if (!is_taken && event->share[c] > (best < 0 ? 0.0 : event->share[best]))
			best = c;
	}
	return best;
}

/* [{"feature": "flow", "share": 0.7, "direction": 1}, …] */
static Datum
top_features(const Events *e)
{
	const Model *model = detect_model(e->detection)->model;
	const Event *event = &e->event;
	int			taken[TOP_FEATURES];
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '[');
	for (int i = 0; i < TOP_FEATURES; i++)
	{
		int			c = next_feature(event, model->features, taken, i);
		double		share = c < 0 ? 0.0
			: rint(event->share[c] / event->weight * SHARE_UNITS) / SHARE_UNITS;

		if (!(share > 0))
			break;
		taken[i] = c;
		appendStringInfoString(&text, i > 0 ? ", {" : "{");
		json_key(&text, "feature");
		json_string(&text, model_feature_name(model, c));
		json_key(&text, "share");
		json_double(&text, share);
		json_key(&text, "direction");
		json_int(&text, (event->balance[c] > 0) - (event->balance[c] < 0));
		appendStringInfoChar(&text, '}');
	}
	appendStringInfoChar(&text, ']');
	return JsonbPGetDatum(json_to_jsonb(text.data));
}

static bool
is_reported(const Events *e)
{
	const Rules *rules = &e->rules;
	const Event *event = &e->event;

	if (rules->min_duration.given &&
		later(rules, event->start, &rules->min_duration) > event->end)
		return false;
	return !rules->cooldown.given || !e->reported ||
		event->start >= later(rules, e->reported_end, &rules->cooldown);
}

/* The event is over, or the rows are. */
static void
close_event(Events *e, bool open)
{
	Event	   *event = &e->event;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	event->going = false;
	if (!is_reported(e))
		return;
	e->reported = true;
	e->reported_end = event->end;
	values[COL_SERIES] = e->series;
	nulls[COL_SERIES] = e->series_null;
	values[COL_START] = detect_timestamp(e->detection, event->start);
	values[COL_END] = detect_timestamp(e->detection, event->end);
	values[COL_PEAK] = detect_timestamp(e->detection, event->peak);
	values[COL_PEAK_SEVERITY] = Float8GetDatum(event->peak_severity);
	values[COL_POINTS] = Int64GetDatum(event->points);
	values[COL_TOP_FEATURES] = top_features(e);
	values[COL_OPEN] = BoolGetDatum(open);
	rowset_add(&e->rowset, values, nulls);
}

/* ---- an event ---------------------------------------------------------------------------- */

static bool
is_near(const Events *e, int64 ts)
{
	return e->rules.merge_gap.given &&
		ts <= later(&e->rules, e->event.end, &e->rules.merge_gap);
}

/* What came after the event's last row is no part of it, but a near row may be yet. */
static void
interrupt(Events *e)
{
	if (!e->event.going)
		return;
	e->event.interrupted = true;
	if (!e->rules.merge_gap.given)
		close_event(e, false);
}

static void
begin_event(Events *e, int64 ts)
{
	const Size	size = sizeof(double) * detect_model(e->detection)->model->features;
	Event	   *event = &e->event;

	event->going = true;
	event->start = ts;
	event->peak_severity = -1.0;
	event->points = 0;
	event->weight = 0.0;
	memset(event->share, 0, size);
	memset(event->balance, 0, size);
}

/* A flagged row. */
static void
extend_event(Events *e, const ScoredRow *row, double severity)
{
	const ModelStats *stats = scorer_stats(detect_scorer(e->detection));
	const int	features = detect_model(e->detection)->model->features;
	const double weight = Min(severity, WEIGHT_MAX);
	const int64 ts = row->ts;
	Event	   *event = &e->event;

	if (event->going && event->interrupted && !is_near(e, ts))
		close_event(e, false);
	if (!event->going)
		begin_event(e, ts);
	event->interrupted = false;
	event->end = ts;
	event->points++;
	if (severity > event->peak_severity)
	{
		event->peak = ts;
		event->peak_severity = severity;
	}
	if (!e->has_shares)
		return;
	event->weight += weight;
	for (int c = 0; c < features; c++)
	{
		event->share[c] += weight * e->row_share[c];
		event->balance[c] += weight * e->row_share[c] * result_direction(stats, row, c);
	}
}

/* ---- rows -------------------------------------------------------------------------------- */

static void
forget_hits(Events *e)
{
	memset(e->hit, false, sizeof(bool) * e->rules.n);
	e->hits = 0;
}

static void
end_series(Events *e)
{
	if (e->any && e->event.going)
		close_event(e, !e->event.interrupted || is_near(e, e->last_ts));
}

static void
begin_series(Events *e, const char *key)
{
	MemoryContext old;

	end_series(e);
	MemoryContextReset(e->series_context);
	old = MemoryContextSwitchTo(e->series_context);
	e->series_null = key == NULL;
	e->series = key ? JsonbPGetDatum(json_to_jsonb(key)) : (Datum) 0;
	MemoryContextSwitchTo(old);
	if (e->maintenance)
		maintenance_begin(e->maintenance, key);
	e->any = true;
	e->has_last = false;
	e->reported = false;
	forget_hits(e);
}

/* Whether a row stands in the series, by its timestamp. */
static bool
has_place(const ScoredRow *row)
{
	return row->status != SCORE_INVALID_TS && row->status != SCORE_DUPLICATE_TS &&
		row->status != SCORE_OUT_OF_ORDER;
}

/* After a gap a series begins anew: what was before it says nothing of what follows. */
static void
check_gap(Events *e, int64 ts)
{
	const double max_gap = scorer_stats(detect_scorer(e->detection))->max_gap;

	if (e->has_last && max_gap > 0 && timestamps_distance(e->last_ts, ts) > max_gap)
	{
		interrupt(e);
		forget_hits(e);
	}
	e->has_last = true;
	e->last_ts = ts;
}

/* Whether the feature that contributes most deviates in the direction asked for. */
static bool
direction_fits(const Events *e, const ScoredRow *row)
{
	const int	features = detect_model(e->detection)->model->features;
	int			top = 0;

	if (e->rules.direction == 0)
		return true;
	for (int c = 1; e->has_shares && c < features; c++)
		if (e->row_share[c] > e->row_share[top])
			top = c;
	return e->has_shares &&
		result_direction(scorer_stats(detect_scorer(e->detection)), row, top) == e->rules.direction;
}

/* Whether a row, taken by itself, is one of an event's. */
static bool
is_hit(Events *e, const ScoredRow *row, double severity)
{
	/* not with NaN, either */
	if (!(severity >= e->rules.min_severity))
		return false;
	e->has_shares = result_shares(detect_scorer(e->detection), detect_model(e->detection)->model,
								  row, e->row_share);
	return direction_fits(e, row);
}

/* Whether there are k hits among the last n rows, with this one. */
static bool
enough_hits(Events *e, bool hit)
{
	e->hits += (int) hit - (int) e->hit[e->next];
	e->hit[e->next] = hit;
	e->next = (e->next + 1) % e->rules.n;
	return e->hits >= e->rules.k;
}

static void
visit_row(const DetectedRow *detected, void *arg)
{
	const ScoredRow *row = &detected->row;
	Events	   *e = arg;
	double		severity;
	bool		suppressed;
	bool		hit;

	if (detected->new_series)
		begin_series(e, detected->series);
	if (!has_place(row))
		return;
	check_gap(e, row->ts);
	severity = result_severity(detect_scorer(e->detection), row);
	suppressed = e->maintenance && maintenance_covers(e->maintenance, row->ts);
	hit = !suppressed && is_hit(e, row, severity);
	if (enough_hits(e, hit) && hit)
		extend_event(e, row, severity);
	else if (suppressed || !isnan(row->score))
		interrupt(e);
}

/* ---- amad_events ------------------------------------------------------------------------- */

SQL_FUNCTION(amad_events);

/*
 * (model_name, since, until, min_duration, merge_gap, cooldown, min_severity,
 * direction, k, n, maintenance, series, source, timestamp_col) → the events
 */
Datum
amad_events(PG_FUNCTION_ARGS)
{
	Events		e = {.rules = rules_of(fcinfo)};
	DetectSpec	spec = spec_of(fcinfo);
	const Model *model;

	e.rowset = rowset_open(fcinfo);
	e.detection = detect_open(&spec);
	model = detect_model(e.detection)->model;
	if (!PG_ARGISNULL(ARG_MAINTENANCE))
		e.maintenance = maintenance_open(arguments_text(fcinfo, ARG_MAINTENANCE),
										 detect_ts_type(e.detection), model);
	e.hit = palloc(sizeof(bool) * e.rules.n);
	e.row_share = palloc(sizeof(double) * model->features);
	e.event.share = palloc(sizeof(double) * model->features);
	e.event.balance = palloc(sizeof(double) * model->features);
	e.series_context = AllocSetContextCreate(CurrentMemoryContext, "amad events of a series",
											 ALLOCSET_SMALL_SIZES);
	detect_run(e.detection, visit_row, &e);
	end_series(&e);
	return (Datum) 0;
}
