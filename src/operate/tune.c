/*
 * operate/tune.c
 *	  The rule for incidents of a watch that keeps to a number of alarms a day: amad_tune().
 *
 * The stored severities are read once, by series and time.  Each rule of a grid keeps its own
 * chain of anomalous rows, as refresh_incidents.c does, and the times at which it would have
 * opened an incident.  Afterwards these are counted; those of many series within minutes are one
 * alarm, and so are those of a series that are the same trouble (cooldown).  Nothing is scored.
 *
 * Rows at times with the verdict false_alarm or expected (model/verdicts.h) are like normal ones.
 * An incident that was confirmed is kept by a rule if an incident of the rule overlaps it.
 *
 * The rule is chosen that comes closest to the number of alarms asked for without exceeding it,
 * neither in the whole time nor, but for chance, in the last RECENT_DAYS, of those that keep the most
 * confirmed incidents.  A longer merge_gap makes one incident of
 * several, which overlaps confirmed ones by chance, so it is the last resort.  Of several rules,
 * the one with fewer rows is quicker, so it is preferred, then the one with the lower severity.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "operate/tune.h"
#include "operate/watch_triggers.h"
#include "pg/call_arguments.h"
#include "pg/json.h"
#include "pg/rowset.h"
#include "pg/timestamps.h"
#include "rows/series_key.h"
#include "score/detect.h"

#define FETCH_ROWS 1000
/* Incidents of several series within this time are one alarm */
#define GROUP_TIME (10 * USECS_PER_MINUTE)
#define RECENT_DAYS 3
#define KEPT_FACTOR 2			/* a rule with more alarms by this factor replaces one that fits */
#define SEEN 4					/* troubles of a series that can go on */
#define MOST_TIMES 200 /* incidents that are counted, times the number asked for; in work_mem */

static const double severities[] = {1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 6, 10};
static const int row_numbers[] = {1, 2, 3, 5};
static const int gap_factors[] = {1, 6};

#define RULES (lengthof(severities) * lengthof(row_numbers) * lengthof(gap_factors))

SQL_FUNCTION(amad_tune);

/* The last incident of a trouble. */
typedef struct SeenTrouble
{
	int32		lead;			/* hash of the leading feature */
	int64		last;
	double		length;			/* from its first row */
	double		severity;		/* that was announced */
} SeenTrouble;

/* A rule while rows are read. */
typedef struct Replay
{
	TunedRule	rule;
	int64		first;			/* row of the chain */
	int64		last;
	int64		rows;			/* 0: there is no chain */
	int64		opening;		/* the row that made it an incident */
	double		peak;			/* severity */
	int32		lead;			/* at the peak */
	int			nseen;
	SeenTrouble seen[SEEN];		/* in the series, the oldest first */
	bool	   *kept;			/* (verdicts) confirmed incidents that it keeps */
	int64	   *opened;			/* times, one for each incident */
	int64		nopened;
	int64		room;
} Replay;

/* The verdicts on the watch, for the series whose rows are being replayed. */
typedef struct Judgement
{
	const List *verdicts;
	SeriesWindows *ignored;		/* NULL: none */
	SeriesWindows *confirmed;	/* NULL: none */
	int		   *numbers;		/* of the confirmed ones, in the list */
	int64		cooldown;
	int64		most;			/* incidents that are counted */
} Judgement;

static void
open_incident(Replay *r, int64 ts, int64 most)
{
	if (r->nopened >= most)
	{
		r->rule.at_least = true;
		return;
	}
	if (r->nopened == r->room)
	{
		r->room = Min(Max(64, r->room * 2), most);
		r->opened = r->opened ? repalloc_huge(r->opened, sizeof(int64) * r->room)
							  : palloc_extended(sizeof(int64) * r->room, MCXT_ALLOC_HUGE);
	}
	r->opened[r->nopened++] = ts;
}

/* Whether the chain is a trouble that goes on; notes its end. */
static bool
is_seen(Replay *r, int64 cooldown)
{
	SeenTrouble trouble = {
		.lead = r->lead,
		.last = r->last,
		.length = timestamps_distance(r->first, r->last),
		.severity = r->peak,
	};
	bool		seen = false;

	for (int i = 0; i < r->nseen; i++)
	{
		if (r->seen[i].lead != r->lead)
			continue;
		seen = cooldown > 0 &&
			timestamps_distance(r->seen[i].last, r->first) <= (double) cooldown &&
			trouble.length <= Max(2 * r->seen[i].length, (double) r->rule.merge_gap) &&
			r->peak < 2 * r->seen[i].severity;
		if (seen)
			trouble.severity = r->seen[i].severity;
		memmove(&r->seen[i], &r->seen[i + 1], sizeof(SeenTrouble) * (--r->nseen - i));
		break;
	}
	if (r->nseen == SEEN)
		memmove(&r->seen[0], &r->seen[1], sizeof(SeenTrouble) * --r->nseen);
	r->seen[r->nseen++] = trouble;
	return seen;
}

/* Ends the chain of a rule: counts it, and notes which confirmed incidents it overlaps. */
static void
end_chain(Replay *r, const Judgement *j)
{
	int			n = 0;
	const int  *selected = j->confirmed && r->rows >= r->rule.min_rows
		? series_windows_selected(j->confirmed, &n)
		: NULL;

	if (r->rows >= r->rule.min_rows && !is_seen(r, j->cooldown))
		open_incident(r, r->opening, j->most);
	r->rows = 0;
	for (int i = 0; i < n; i++)
	{
		const int	number = j->numbers[selected[i]];
		const GivenVerdict *v = list_nth(j->verdicts, number);

		/* in the order of their begin */
		if (v->first > r->last)
			break;
		if (v->last < r->first || r->kept[number])
			continue;
		r->kept[number] = true;
		r->rule.incidents++;
	}
}

static void
replay_row(Replay *r, const Judgement *j, int64 ts, double severity, int32 lead)
{
	if (!(severity > r->rule.min_severity))
		return;
	if (r->rows > 0 && timestamps_distance(r->last, ts) > (double) r->rule.merge_gap)
		end_chain(r, j);
	if (r->rows == 0)
	{
		r->first = ts;
		r->peak = 0;
	}
	r->last = ts;
	if (++r->rows == r->rule.min_rows)
		r->opening = ts;
	if (severity > r->peak)
	{
		r->peak = severity;
		r->lead = lead;
	}
}

static int
compare_times(const void *a, const void *b)
{
	const int64 x = *(const int64 *) a;
	const int64 y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/*
 * Counts the alarms, and those from a time on: more than ALONE_SERIES incidents within GROUP_TIME are
 * one.
 */
static void
count_alarms(Replay *r, int64 recent)
{
	qsort(r->opened, r->nopened, sizeof(int64), compare_times);
	for (int64 i = 0; i < r->nopened;)
	{
		const int64 time = r->opened[i];
		int64		end = i;

		while (end < r->nopened && r->opened[end] - time <= GROUP_TIME)
			end++;
		if (end - i > ALONE_SERIES)
			i = end;
		else
			i++;
		r->rule.alarms++;
		r->rule.recent += time >= recent;
	}
}

/*
 * The query for the anomalous rows: time, severity, whether it is the first of its series, a hash
 * of the leading feature, and the series columns.
 */
static char *
anomalies_query(const Source *s, const char *target, const int64 *since)
{
	const char *ts = quote_identifier(s->spec.timestamp_col);
	StringInfoData columns;
	StringInfoData where;

	initStringInfo(&columns);
	initStringInfo(&where);
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(&columns, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(s->spec.series_cols[i]));
	appendStringInfoString(&where, "status IS NULL AND severity OPERATOR(pg_catalog.>) 1");
	if (since)
		source_append_bound(&where, s, ts, ">=", *since);
	return psprintf("SELECT %s::pg_catalog.%s, severity, pg_catalog.row_number() OVER (%s%s ORDER "
					"BY %s) "
					"OPERATOR(pg_catalog.=) 1, (SELECT pg_catalog.hashtext(c.key) FROM "
					"pg_catalog.jsonb_each(CASE WHEN pg_catalog.jsonb_typeof(contributions) "
					"OPERATOR(pg_catalog.=) 'object' THEN contributions END) AS c WHERE c.value "
					"OPERATOR(pg_catalog.>) "
					"'0'::pg_catalog.jsonb ORDER BY c.value DESC, c.key LIMIT 1)"
					"%s%s FROM %s WHERE %s ORDER BY %s%s%s",
					ts, source_ts_read_name(s), columns.len > 0 ? "PARTITION BY " : "",
					columns.data, ts, columns.len > 0 ? ", " : "", columns.data, target, where.data,
					columns.data, columns.len > 0 ? ", " : "", ts);
}

/* Days from the first to the last row of the table of scores, and the last one; 0: no rows. */
static double
scored_days(const Source *s, const char *target, const int64 *since, int64 *last)
{
	StringInfoData where;
	int64		first;

	initStringInfo(&where);
	if (since)
		source_append_bound(&where, s, quote_identifier(s->spec.timestamp_col), ">=", *since);
	if (SPI_execute(source_span_query(s, target, &where), true, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(SPI_result));
	if (!source_read_span(s, &first, last))
		return 0;
	return timestamps_distance(first, *last) / USECS_PER_DAY;
}

/* Selects the verdicts on the series of a row; called in a context that is reset afterwards. */
static void
begin_replayed_series(const Judgement *j, const Source *s, HeapTuple row, TupleDesc desc)
{
	const int	nseries = s->spec.nseries;
	Datum	   *values = palloc(sizeof(Datum) * Max(nseries, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(nseries, 1));
	Jsonb	   *key = NULL;

	if (j->ignored == NULL && j->confirmed == NULL)
		return;
	for (int i = 0; i < nseries; i++)
	{
		if (getBaseType(SPI_gettypeid(desc, 5 + i)) != getBaseType(s->series_types[i]))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of the table of scores does not have type %s",
							s->spec.series_cols[i], format_type_be(s->series_types[i]))));
		values[i] = SPI_getbinval(row, desc, 5 + i, &nulls[i]);
	}
	if (nseries > 0)
		key = json_to_jsonb(
			series_key_of_row(nseries, s->spec.series_cols, s->series_types, values, nulls));
	if (j->ignored)
		series_windows_select(j->ignored, key);
	if (j->confirmed)
		series_windows_select(j->confirmed, key);
}

static void
replay_rows(Replay *replay, const Judgement *j, const Source *s, const char *target,
			const int64 *since)
{
	const Oid	type = source_ts_read_type(s);
	SPIPlanPtr	plan = SPI_prepare(anomalies_query(s, target, since), 0, NULL);
	MemoryContext context = CurrentMemoryContext;
	MemoryContext series_context = AllocSetContextCreate(context, "amad replayed series",
														 ALLOCSET_DEFAULT_SIZES);
	Portal		portal;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	for (SPI_cursor_fetch(portal, true, FETCH_ROWS); SPI_processed > 0;
		 SPI_cursor_fetch(portal, true, FETCH_ROWS))
	{
		TupleDesc	desc = SPI_tuptable->tupdesc;
		MemoryContext old = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTuple	row = SPI_tuptable->vals[i];
			bool		isnull[4];
			Datum		value = SPI_getbinval(row, desc, 1, &isnull[0]);
			double		severity = DatumGetFloat8(SPI_getbinval(row, desc, 2, &isnull[1]));
			bool		first = DatumGetBool(SPI_getbinval(row, desc, 3, &isnull[2]));
			Datum		lead = SPI_getbinval(row, desc, 4, &isnull[3]);
			int64		ts;

			if (isnull[0] || isnull[1] || SPI_gettypeid(desc, 1) != type ||
				!timestamps_value(type, value, &ts))
				ts = PG_INT64_MIN;
			if (first)
			{
				for (int c = 0; c < RULES; c++)
				{
					end_chain(&replay[c], j);
					replay[c].nseen = 0;
				}
				MemoryContextReset(series_context);
				MemoryContextSwitchTo(series_context);
				begin_replayed_series(j, s, row, desc);
				MemoryContextSwitchTo(context);
			}
			if (ts == PG_INT64_MIN || (j->ignored && series_windows_cover(j->ignored, ts)))
				continue;
			for (int c = 0; c < RULES; c++)
				replay_row(&replay[c], j, ts, severity, isnull[3] ? 0 : DatumGetInt32(lead));
		}
		MemoryContextSwitchTo(old);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	for (int c = 0; c < RULES; c++)
		end_chain(&replay[c], j);
}

/* Reads the verdicts on a watch. */
static Judgement
read_judgement(const Watch *watch, const Source *s)
{
	const SourceSpec *spec = &s->spec;
	const bool	integers = s->ts_type == INT8OID;
	Judgement	j = {
		.verdicts = verdicts_of_watch(spec->function, &watch->id,
									  VERDICT_INCIDENT | VERDICT_FALSE_ALARM | VERDICT_EXPECTED)};

	j.ignored = series_windows_of_verdicts(j.verdicts, VERDICT_FALSE_ALARM | VERDICT_EXPECTED,
										   spec->nseries, spec->series_cols, integers, NULL);
	j.confirmed = series_windows_of_verdicts(j.verdicts, VERDICT_INCIDENT, spec->nseries,
											 spec->series_cols, integers, &j.numbers);
	return j;
}

/*
 * Whether a rule has few enough alarms, in the whole time and in the last days: not more there than the
 * mean and two standard deviations of a Poisson distribution.
 */
static bool
fits(const TunedRule *rule, double per_day)
{
	const double recent = per_day * RECENT_DAYS;

	return rule->alarms_per_day <= per_day && !rule->at_least &&
		rule->recent <= recent + 2 * sqrt(recent);
}

/* Whether rule a is to be preferred to rule b. */
static bool
is_better(const TunedRule *a, const TunedRule *b, double per_day)
{
	const bool	a_fits = fits(a, per_day);

	if (a_fits != fits(b, per_day))
		return a_fits;
	if (a_fits && a->merge_gap != b->merge_gap)
		return a->merge_gap < b->merge_gap;
	if (a_fits && a->incidents != b->incidents)
		return a->incidents > b->incidents;
	if (a->alarms != b->alarms)
		return a_fits ? a->alarms > b->alarms : a->alarms < b->alarms;
	if (a->min_rows != b->min_rows)
		return a->min_rows < b->min_rows;
	return a->min_severity < b->min_severity;
}

/* Whether the rule of the watch is one of these, and still good enough not to change it for the other. */
static bool
is_kept(const Watch *watch, const TunedRule *rule, const TunedRule *other, double per_day)
{
	return watch->tuned_version > 0 && rule->min_severity == watch->min_severity &&
		rule->min_rows == watch->min_rows && watch->merge_gap &&
		rule->merge_gap == watch->merge_gap->time && watch->merge_gap->day == 0 &&
		watch->merge_gap->month == 0 && fits(rule, per_day) &&
		rule->incidents >= other->incidents && rule->alarms * KEPT_FACTOR >= other->alarms;
}

TunedRule *
tune_rules(const Watch *watch, const Source *s, const char *target, const int64 *since,
		   double per_day, bool keep, int *n, int *chosen)
{
	const int64 gap = Max(1, watch_steps(watch, MERGE_STEPS));
	MemoryContext caller = CurrentMemoryContext;
	TunedRule  *rules = palloc0(sizeof(TunedRule) * RULES);
	Replay	   *replay;
	Judgement	judgement;
	double		days;
	int64		last = 0;
	int64		most = 0;
	int			c = 0;

	*n = RULES;
	*chosen = -1;
	SPI_connect();
	replay = palloc0(sizeof(Replay) * RULES);
	for (int g = 0; g < lengthof(gap_factors); g++)
		for (int r = 0; r < lengthof(row_numbers); r++)
			for (int v = 0; v < lengthof(severities); v++)
				replay[c++].rule = (TunedRule){
					.min_severity = severities[v],
					.min_rows = row_numbers[r],
					.merge_gap = gap * gap_factors[g],
				};
	judgement = read_judgement(watch, s);
	for (int i = 0; i < RULES; i++)
		replay[i].kept = palloc_extended(Max((Size) list_length(judgement.verdicts), 1),
										 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	days = scored_days(s, target, since, &last);
	judgement.cooldown = watch_interval_units(&watch->cooldown);
	judgement.most = (int64) Min((double) work_mem * 1024 / sizeof(int64) / RULES,
								 (per_day * Max(days, 1) + 10) * MOST_TIMES);
	replay_rows(replay, &judgement, s, target, since);
	for (int i = 0; i < RULES; i++)
	{
		count_alarms(&replay[i], last - RECENT_DAYS * USECS_PER_DAY);
		rules[i] = replay[i].rule;
		rules[i].alarms_per_day = days > 0 ? rules[i].alarms / days : 0;
		most = Max(most, rules[i].incidents);
		if (days >= 1 && (*chosen < 0 || is_better(&rules[i], &rules[*chosen], per_day)))
			*chosen = i;
	}
	for (int i = 0; i < RULES && keep && *chosen >= 0; i++)
		if (is_kept(watch, &rules[i], &rules[*chosen], per_day))
		{
			*chosen = i;
			break;
		}
	SPI_finish();
	MemoryContextSwitchTo(caller);
	if (*chosen >= 0 && rules[*chosen].incidents < most)
		ereport(NOTICE,
				(errmsg("the chosen rule keeps " INT64_FORMAT " of " INT64_FORMAT
						" confirmed incidents",
						rules[*chosen].incidents, most),
				 errhint("amad_tune() lists what each rule keeps.")));
	return rules;
}

void
tune_store(Oid function, const Watch *watch, const TunedRule *rule, double per_day, int version,
		   TimestampTz as_of)
{
	const Oid	types[] = {UUIDOID,	FLOAT8OID, INT4OID,		  INTERVALOID,
						 FLOAT8OID, INT4OID,   TIMESTAMPTZOID};
	Interval	gap = {.time = rule->merge_gap};
	const Datum values[] = {UUIDPGetDatum(&watch->id),	   Float8GetDatum(rule->min_severity),
							Int32GetDatum(rule->min_rows), IntervalPGetDatum(&gap),
							Float8GetDatum(per_day),	   Int32GetDatum(version),
							TimestampTzGetDatum(as_of)};
	WatchTables t;

	watch_tables_enter(&t, function);
	(void)
		watch_tables_execute(&t,
							 "UPDATE {watches} SET min_severity = $2, min_rows = $3, merge_gap = "
							 "$4, min_duration = '0', alerts_per_day = $5, tuned_version = $6, "
							 "tuned_at = $7 "
							 "WHERE watch = $1",
							 lengthof(types), types, values, NULL);
	watch_tables_leave(&t);
}

/* (model_name, per_day, since) → the rules */
Datum
amad_tune(PG_FUNCTION_ARGS)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	char	   *model_name = text_argument(fcinfo, 0);
	DetectSpec	spec = {.function = function, .model_name = model_name};
	Rowset		rowset = rowset_open(fcinfo);
	double		per_day;
	const Source *source;
	Detection  *detection;
	TunedRule  *rules;
	Watch		watch;
	WatchTables t;
	char	   *target;
	int64		since;
	int			chosen;
	int			n;

	if (model_name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("model_name must not be null")));
	PreventCommandIfReadOnly("amad_tune()");
	watch_tables_enter(&t, function);
	watch_require(&t, model_name, true, &watch);
	watch_tables_leave(&t);
	per_day = PG_ARGISNULL(1) ? watch.alerts_per_day : PG_GETARG_FLOAT8(1);
	/* or NaN */
	if (!(per_day > 0) || isinf(per_day))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("per_day must be a number greater than 0")));
	(void) watch_lock(t.watches, &watch.id, WATCH_REFRESH, ExclusiveLock, false, true);
	detection = detect_open(&spec);
	source = detect_source(detection);
	if (source->ts_type == INT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("amad_tune needs a time column that is not an integer")));
	target = watch_open_target(watch.target, source, false);
	if (!PG_ARGISNULL(2))
		since = DatumGetInt64(
			detect_convert_bound(function, TIMESTAMPTZOID, source->ts_type, PG_GETARG_DATUM(2)));
	rules = tune_rules(&watch, source, target, PG_ARGISNULL(2) ? NULL : &since, per_day, false, &n,
					   &chosen);
	if (chosen < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s has less than a day of scores", target),
				 errhint("Refresh the watch, or specify an earlier since.")));
	if (rules[chosen].alarms_per_day > per_day || rules[chosen].at_least)
		ereport(NOTICE,
				(errmsg("no rule has at most %g alarms a day; the one with the fewest was chosen",
						per_day)));
	tune_store(function, &watch, &rules[chosen], per_day, detect_model(detection)->version,
			   GetCurrentTransactionStartTimestamp());
	for (int i = 0; i < n; i++)
	{
		Interval	gap = {.time = rules[i].merge_gap};
		Datum		values[] = {Float8GetDatum(rules[i].min_severity),
						  Int32GetDatum(rules[i].min_rows),
						  IntervalPGetDatum(&gap),
						  Int64GetDatum(rules[i].alarms),
						  Float8GetDatum(rules[i].alarms_per_day),
						  Int64GetDatum(rules[i].incidents),
						  BoolGetDatum(i == chosen)};
		bool		nulls[lengthof(values)] = {false};

		rowset_add(&rowset, values, nulls);
	}
	return (Datum) 0;
}
