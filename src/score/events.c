/*
 * score/events.c
 *	  The functions amad_events and amad_events_bigint: join anomalous rows into events.
 *	  docs/events.md defines what an event is.
 *
 * The two differ in the type of times and durations.  Rows arrive by series, then by time.
 * A row is a hit if its severity, direction and time (maintenance) qualify, and flagged if it
 * is a hit and k of the last n rows are hits.  Rows of series that the model does not contain
 * are hits only with the argument learning.  A flagged row begins an event or extends the
 * current one.  A scored row that is not flagged, a row in maintenance and a gap interrupt
 * the event.  That closes it, unless merge_gap is given: then the next flagged row
 * closes it if it is too far away.  An event that is closed is reported if it is long enough and
 * the cooldown since the last reported one has passed.  With the argument silence, series
 * and columns that stop are events of another kind (silence.c).
 *
 * So one event and the last n outcomes are all that is kept in memory.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "model/registry.h"
#include "pg/call_arguments.h"
#include "pg/json.h"
#include "pg/progress.h"
#include "pg/rowset.h"
#include "pg/timestamps.h"
#include "score/detect_arguments.h"
#include "score/explanation.h"
#include "score/maintenance.h"
#include "score/shard_call.h"
#include "score/silence.h"

#define TOP_FEATURES 3
#define SHARE_UNITS 1e6			/* shares are rounded like contributions, to 6 decimal places */
#define N_MAX 65536
#define WEIGHT_MAX 1e100		/* limit of a row's weight, to keep sums finite */

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
	ARG_TIMESTAMP_COL,
	ARG_LEARNING,
	ARG_SILENCE,
	ARG_VERSION,
	ARGS
};

/* Columns of the result, in their order. */
enum
{
	COL_SERIES,
	COL_KIND,
	COL_START,
	COL_END,
	COL_PEAK,
	COL_PEAK_SEVERITY,
	COL_POINTS,
	COL_TOP_FEATURES,
	COL_OPEN,
	COL_STATUS,
	COLUMNS
};

/* An interval; int8 if the time column has an integer type. */
typedef struct Duration
{
	bool		given;
	Datum		value;
} Duration;

typedef struct Rules
{
	/* a hit */
	double		min_severity;
	int			direction;		/* of the row's top feature: 1, -1; 0: any */
	bool		learning;		/* rows of series that the model does not contain, too */

	/* a flagged row: a hit, with k hits in the last n rows */
	int			k;
	int			n;

	/* a silence; 0: none */
	double		silence;

	/* an event */
	bool		integers;		/* times and durations are integers */
	Duration	min_duration;
	Duration	merge_gap;
	Duration	cooldown;
} Rules;

/* The current event, with times in the source's units. */
typedef struct Event
{
	bool		active;			/* there is one */
	bool		interrupted;	/* by the rows after its last one */
	ScoreStatus status;			/* of its rows */
	int64		start;
	int64		end;			/* timestamp of its last row */
	int64		peak;
	double		peak_severity;
	int64		points;			/* flagged rows */

	/* sums over them, weighted by severity */
	double		weight;
	double	   *share;			/* (features) */
	double	   *balance;		/* (features) shares; negative for values below expectation */
} Event;

typedef struct Events
{
	/* settings */
	Rules		rules;
	Detection  *detection;
	Maintenance *maintenance;	/* NULL: none */
	Silence    *silence;		/* NULL: not asked for */
	bool		on_shard;		/* of several */

	/* the current row */
	double	   *row_share;		/* (features) */
	bool		has_shares;

	/* the current series */
	bool		any;			/* there is one */
	MemoryContext series_context;
	Datum		series;			/* jsonb in series_context */
	bool		series_null;
	bool		known;			/* the model contains it */
	bool		listens;		/* its silences are asked for */
	bool		has_last;
	int64		last_ts;
	bool	   *hit;			/* (n) ring: whether the last rows were hits */
	int			next;			/* index of the next row in it */
	int			hits;			/* number of hits in it */
	Event		event;

	/* output */
	Rowset		rowset;
	bool		reported;		/* an event of the series has been reported */
	int64		reported_end;
} Events;

/* ---- time --------------------------------------------------------------------------- */

/* Adds a duration in the source's units: no event depends on the session's time zone. */
static int64
add_duration(const Rules *rules, int64 ts, const Duration *duration)
{
	int64		sum;

	if (!rules->integers)
		return timestamps_later(ts, DatumGetIntervalP(duration->value));
	return pg_add_s64_overflow(ts, DatumGetInt64(duration->value), &sum) ? PG_INT64_MAX : sum;
}

/* ---- arguments ------------------------------------------------------------------------ */

static void
refuse_argument(const char *message)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message)));
}

static Duration
get_duration(FunctionCallInfo fcinfo, int arg, const char *name)
{
	Duration	duration = {.given = !PG_ARGISNULL(arg)};
	Interval	zero = {0};

	if (!duration.given)
		return duration;
	duration.value = PG_GETARG_DATUM(arg);
	if (get_fn_expr_argtype(fcinfo->flinfo, arg) == INT8OID
			? DatumGetInt64(duration.value) < 0
			: DatumGetBool(
				  DirectFunctionCall2(interval_lt, duration.value, IntervalPGetDatum(&zero))))
		refuse_argument(psprintf("%s must not be negative", name));
	return duration;
}

/* The length of a silence in the source's units, with months of 30 days; 0: not asked for. */
static double
get_silence(FunctionCallInfo fcinfo)
{
	double		length = 0.0;

	if (PG_ARGISNULL(ARG_SILENCE))
		return 0.0;
	if (get_fn_expr_argtype(fcinfo->flinfo, ARG_SILENCE) == INT8OID)
		length = (double) PG_GETARG_INT64(ARG_SILENCE);
	else
	{
		const Interval *interval = PG_GETARG_INTERVAL_P(ARG_SILENCE);

		length = ((double) interval->month * DAYS_PER_MONTH + interval->day) * USECS_PER_DAY +
			interval->time;
	}
	if (length <= 0)
		refuse_argument("silence must be positive");
	return length;
}

static int
get_direction(FunctionCallInfo fcinfo)
{
	char	   *name;

	if (PG_ARGISNULL(ARG_DIRECTION))
		return 0;
	name = text_to_cstring(PG_GETARG_TEXT_PP(ARG_DIRECTION));
	if (strcmp(name, "up") != 0 && strcmp(name, "down") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized direction \"%s\"", name),
				 errhint("Valid values are \"up\" and \"down\"; null means any direction.")));
	return strcmp(name, "up") == 0 ? 1 : -1;
}

static Rules
get_rules(FunctionCallInfo fcinfo)
{
	Rules		rules = {
		.integers = get_fn_expr_argtype(fcinfo->flinfo, ARG_SINCE) == INT8OID,
		.min_duration = get_duration(fcinfo, ARG_MIN_DURATION, "min_duration"),
		.merge_gap = get_duration(fcinfo, ARG_MERGE_GAP, "merge_gap"),
		.cooldown = get_duration(fcinfo, ARG_COOLDOWN, "cooldown"),
		.min_severity = PG_ARGISNULL(ARG_MIN_SEVERITY) ? 1.0 : PG_GETARG_FLOAT8(ARG_MIN_SEVERITY),
		.direction = get_direction(fcinfo),
		.k = PG_ARGISNULL(ARG_K) ? 1 : PG_GETARG_INT32(ARG_K),
		.n = PG_ARGISNULL(ARG_N) ? 1 : PG_GETARG_INT32(ARG_N),
		.learning = !PG_ARGISNULL(ARG_LEARNING) && PG_GETARG_BOOL(ARG_LEARNING),
		.silence = get_silence(fcinfo),
	};

	/* or NaN */
	if (!(rules.min_severity >= 0))
		refuse_argument("min_severity must not be negative");
	if (rules.k < 1)
		refuse_argument("k must be at least 1");
	if (rules.n > N_MAX)
		refuse_argument(psprintf("n must be at most %d", N_MAX));
	if (rules.k > rules.n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("k must be at most n"),
				 errdetail("k is %d, n is %d.", rules.k, rules.n)));
	return rules;
}

/* ---- reporting ------------------------------------------------------------------------- */

/* The feature with the greatest share that has not been taken yet; -1: no share is left. */
static int
find_top_feature(const Event *event, int features, const int *taken, int ntaken)
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

static void
write_top_feature(const Model *model, int c, double share, int direction, StringInfo out)
{
	appendStringInfoChar(out, '{');
	json_put_string(out, "feature", options_feature_name(&model->options, c));
	json_put_double(out, "share", share);
	json_put_int(out, "direction", direction);
	appendStringInfoChar(out, '}');
}

/* [{"feature": "flow", "share": 0.7, "direction": 1}, …] */
static Datum
top_features_jsonb(const Events *e)
{
	const Model *model = detect_model(e->detection)->model;
	const Event *event = &e->event;
	int			taken[TOP_FEATURES];
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '[');
	for (int i = 0; i < TOP_FEATURES; i++)
	{
		int			c = find_top_feature(event, model->features, taken, i);
		double		share = c < 0 ? 0.0
							 : rint(event->share[c] / event->weight * SHARE_UNITS) / SHARE_UNITS;

		if (!(share > 0))
			break;
		taken[i] = c;
		if (i > 0)
			appendStringInfoString(&text, ", ");
		write_top_feature(model, c, share, (event->balance[c] > 0) - (event->balance[c] < 0),
						  &text);
	}
	appendStringInfoChar(&text, ']');
	return JsonbPGetDatum(json_to_jsonb(text.data));
}

/* Closes the event, and reports it if it is long enough and the cooldown has passed. */
static void
close_event(Events *e, bool open)
{
	const Rules *rules = &e->rules;
	Event	   *event = &e->event;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	event->active = false;
	if (rules->min_duration.given &&
		add_duration(rules, event->start, &rules->min_duration) > event->end)
		return;
	if (rules->cooldown.given && e->reported &&
		event->start < add_duration(rules, e->reported_end, &rules->cooldown))
		return;
	e->reported = true;
	e->reported_end = event->end;
	values[COL_SERIES] = e->series;
	nulls[COL_SERIES] = e->series_null;
	values[COL_KIND] = CStringGetTextDatum("anomaly");
	values[COL_START] = detect_timestamp(e->detection, event->start);
	values[COL_END] = detect_timestamp(e->detection, event->end);
	values[COL_PEAK] = detect_timestamp(e->detection, event->peak);
	values[COL_PEAK_SEVERITY] = Float8GetDatum(event->peak_severity);
	values[COL_POINTS] = Int64GetDatum(event->points);
	values[COL_TOP_FEATURES] = top_features_jsonb(e);
	values[COL_OPEN] = BoolGetDatum(open);
	nulls[COL_STATUS] = event->status == SCORE_FINE;
	if (!nulls[COL_STATUS])
		values[COL_STATUS] = CStringGetTextDatum(scorer_status_text(event->status));
	rowset_add(&e->rowset, values, nulls);
}

/* A silence of the current series. */
static void
report_silence(const SilentEvent *event, void *arg)
{
	Events	   *e = arg;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '[');
	if (event->feature >= 0)
		write_top_feature(detect_model(e->detection)->model, event->feature, 1.0, 0, &text);
	appendStringInfoChar(&text, ']');
	values[COL_SERIES] = e->series;
	nulls[COL_SERIES] = e->series_null;
	values[COL_KIND] = CStringGetTextDatum("silent");
	values[COL_START] = detect_timestamp(e->detection, event->start);
	values[COL_END] = detect_timestamp(e->detection, event->end);
	nulls[COL_PEAK] = nulls[COL_PEAK_SEVERITY] = true;
	values[COL_POINTS] = Int64GetDatum(event->rows);
	values[COL_TOP_FEATURES] = JsonbPGetDatum(json_to_jsonb(text.data));
	values[COL_OPEN] = BoolGetDatum(event->open);
	nulls[COL_STATUS] = e->known;
	if (!e->known)
		values[COL_STATUS] = CStringGetTextDatum(scorer_status_text(SCORE_LEARNING));
	rowset_add(&e->rowset, values, nulls);
}

/*
 * On a shard, tells the caller that a series has rows: a row without a kind, whose status is the key of
 * the series.
 */
static void
report_series(Events *e, const char *key)
{
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS];

	memset(nulls, true, sizeof(nulls));
	nulls[COL_STATUS] = key == NULL;
	if (key)
		values[COL_STATUS] = CStringGetTextDatum(key);
	rowset_add(&e->rowset, values, nulls);
}

/* Takes a row from a shard. */
static void
take_shard_row(Datum *values, bool *nulls, void *arg)
{
	Events	   *e = arg;
	const char *key;

	if (!nulls[COL_KIND])
		rowset_add(&e->rowset, values, nulls);
	else if (e->silence)
	{
		key = nulls[COL_STATUS] ? NULL : TextDatumGetCString(values[COL_STATUS]);
		silence_begin_series(e->silence, model_known_stats(detect_model(e->detection)->model, key));
	}
}

/* ---- an event ---------------------------------------------------------------------------- */

/* Whether a row can extend the event although other rows have interrupted it. */
static bool
within_merge_gap(const Events *e, int64 ts)
{
	return e->rules.merge_gap.given &&
		ts <= add_duration(&e->rules, e->event.end, &e->rules.merge_gap);
}

/* A row that does not belong to the event: with merge_gap, a later flagged row may extend it. */
static void
interrupt_event(Events *e)
{
	if (!e->event.active)
		return;
	e->event.interrupted = true;
	if (!e->rules.merge_gap.given)
		close_event(e, false);
}

static void
begin_event(Events *e, const ScoredRow *row)
{
	const Size	size = sizeof(double) * detect_model(e->detection)->model->features;
	Event	   *event = &e->event;

	event->active = true;
	event->status = row->status;
	event->start = row->ts;
	event->peak_severity = -1.0;
	event->points = 0;
	event->weight = 0.0;
	memset(event->share, 0, size);
	memset(event->balance, 0, size);
}

/* Adds a flagged row to the event, or begins one with it. */
static void
extend_event(Events *e, const ScoredRow *row, double severity)
{
	const ModelStats *stats = scorer_stats(detect_scorer(e->detection));
	const int	features = detect_model(e->detection)->model->features;
	const double weight = Min(severity, WEIGHT_MAX);
	const int64 ts = row->ts;
	Event	   *event = &e->event;

	if (event->active && event->interrupted && !within_merge_gap(e, ts))
		close_event(e, false);
	if (!event->active)
		begin_event(e, row);
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
		event->balance[c] += weight * e->row_share[c] * explanation_direction(stats, row, c);
	}
}

/* ---- rows -------------------------------------------------------------------------------- */

static void
clear_hits(Events *e)
{
	memset(e->hit, false, sizeof(bool) * e->rules.n);
	e->hits = 0;
}

/* An event is open if rows after the last one could still extend it. */
static void
end_event_series(Events *e)
{
	if (e->any && e->event.active)
		close_event(e, !e->event.interrupted || within_merge_gap(e, e->last_ts));
	if (e->any && e->listens)
		silence_end_series(e->silence);
	e->any = false;
}

static void
begin_event_series(Events *e, const char *key)
{
	const Model *model = detect_model(e->detection)->model;
	const ModelStats *stats = model_known_stats(model, key);
	MemoryContext old;

	end_event_series(e);
	MemoryContextReset(e->series_context);
	old = MemoryContextSwitchTo(e->series_context);
	e->series_null = key == NULL;
	e->series = key ? JsonbPGetDatum(json_to_jsonb(key)) : (Datum) 0;
	MemoryContextSwitchTo(old);
	if (e->maintenance)
		maintenance_select_series(e->maintenance, key);
	e->known = stats != NULL;
	e->listens = e->silence && (e->known || e->rules.learning);
	if (e->listens)
		silence_begin_series(e->silence, stats);
	e->any = true;
	e->has_last = false;
	e->reported = false;
	clear_hits(e);
	if (e->on_shard && e->silence)
		report_series(e, key);
}

/* Series of the model without a row in the range, in the order of their keys. */
static void
report_absent_series(Events *e, Jsonb *filter)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "amad absent series",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	const char *key;

	while ((key = silence_absent_series(e->silence, filter)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		begin_event_series(e, key[0] ? key : NULL);
		end_event_series(e);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
}

/*
 * Whether a row is a hit, maintenance aside.  Sets row_share: the feature that contributes
 * most must deviate in the direction asked for.
 */
static bool
is_hit(Events *e, const ScoredRow *row, double severity)
{
	const Scorer *scorer = detect_scorer(e->detection);
	const Model *model = detect_model(e->detection)->model;
	int			top = 0;

	if (!(severity > e->rules.min_severity) ||	/* or NaN */
		(!score_is_judged(row->status) && !(row->status == SCORE_LEARNING && e->rules.learning)))
		return false;
	e->has_shares = explanation_shares(scorer, model, row, e->row_share);
	if (e->rules.direction == 0)
		return true;
	if (!e->has_shares)
		return false;
	for (int c = 1; c < model->features; c++)
		if (e->row_share[c] > e->row_share[top])
			top = c;
	return explanation_direction(scorer_stats(scorer), row, top) == e->rules.direction;
}

static void
visit_detected_row(const DetectedRow *detected, void *arg)
{
	const ScoredRow *row = &detected->row;
	Events	   *e = arg;
	double		max_gap;
	double		severity;
	bool		in_maintenance;
	bool		hit;

	if (detected->new_series)
		begin_event_series(e, detected->series);

	/* rows without a place in the series do not count */
	if (!score_has_place(row->status))
		return;

	/* a gap separates what is before it from what follows */
	max_gap = scorer_stats(detect_scorer(e->detection))->max_gap;
	if (e->has_last && max_gap > 0 && timestamps_distance(e->last_ts, row->ts) > max_gap)
	{
		interrupt_event(e);
		clear_hits(e);
	}
	e->has_last = true;
	e->last_ts = row->ts;
	if (e->listens)
		silence_add_row(e->silence, row->ts, row->empty);

	/* count the hits in the last n rows */
	severity = explanation_severity(detect_scorer(e->detection), row);
	in_maintenance = e->maintenance && maintenance_covers(e->maintenance, row->ts);
	hit = !in_maintenance && is_hit(e, row, severity);
	e->hits += (int) hit - (int) e->hit[e->next];
	e->hit[e->next] = hit;
	e->next = (e->next + 1) % e->rules.n;

	if (hit && e->hits >= e->rules.k)
		extend_event(e, row, severity);
	else if (in_maintenance || !isnan(row->score))
		interrupt_event(e);
}

/* ---- amad_events ------------------------------------------------------------------------- */

SQL_FUNCTION(amad_events);

/*
 * (model_name, since, until, min_duration, merge_gap, cooldown, min_severity,
 * direction, k, n, maintenance, series, source, timestamp_col, learning, silence,
 * version) → the events
 */
Datum
amad_events(PG_FUNCTION_ARGS)
{
	Events		e = {.rules = get_rules(fcinfo)};
	DetectSpec	spec = read_detect_arguments(fcinfo, ARG_SINCE, ARG_SOURCE, ARG_TIMESTAMP_COL);
	ShardCall  *shard = shard_call_read(fcinfo, ARGS);
	const bool	begun = progress_begin(PROGRESS_EVENTS);
	ShardQuery *shards;
	const Model *model;

	spec.version = registry_version(fcinfo, ARG_VERSION);
	if (!PG_ARGISNULL(ARG_SERIES))
		spec.series = PG_GETARG_JSONB_P(ARG_SERIES);
	spec.shard = shard;
	e.on_shard = shard != NULL;
	e.rowset = rowset_open(fcinfo);
	e.detection = detect_open(&spec);
	model = detect_model(e.detection)->model;
	if (!PG_ARGISNULL(ARG_MAINTENANCE))
		e.maintenance = maintenance_open(text_argument(fcinfo, ARG_MAINTENANCE),
										 detect_ts_type(e.detection), model);
	e.hit = palloc(sizeof(bool) * e.rules.n);
	e.row_share = palloc(sizeof(double) * model->features);
	e.event.share = palloc(sizeof(double) * model->features);
	e.event.balance = palloc(sizeof(double) * model->features);
	e.series_context = AllocSetContextCreate(CurrentMemoryContext, "amad events of a series",
											 ALLOCSET_SMALL_SIZES);
	if (e.rules.silence > 0)
	{
		DetectSpan	span = detect_span(e.detection);

		e.silence = silence_open(model, e.rules.silence, &span, e.maintenance, report_silence, &e);
	}
	shards = shard_query_open(fcinfo, ARGS, e.detection, e.silence != NULL);
	if (shards)
	{
		if (e.maintenance)
			shards->values[ARG_MAINTENANCE] = CStringGetTextDatum(maintenance_query(e.maintenance));
		shard_query_run(shards, e.rowset.desc, "", take_shard_row, &e);
	}
	else
	{
		detect_run(e.detection, visit_detected_row, &e);
		end_event_series(&e);
	}
	if (e.silence && !e.on_shard)
		report_absent_series(&e, spec.series);
	shard_call_end(shard);
	progress_end(begun);
	return (Datum) 0;
}
