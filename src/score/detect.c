/*
 * score/detect.c
 *	  Reads a model's source and scores its rows.
 *
 * The source returns the rows by series, then by time.  Its query covers more than the
 * range: a row depends on up to scorer_depth() rows before it, and with the option lookahead
 * on `lookahead` rows after it.  If an index helps, the query reads these rows of each
 * series (rows/source_form.c), and the few rows that only the status of a row can depend on
 * are read when they are needed (earlier_rows.c).
 *
 * Otherwise the query reads all rows near the range once.  Neighbours among the rows that a
 * row depends on are at most max_gap apart, otherwise a new stretch would begin.  The rows that
 * only the level of a row depends on are also limited by time.  So it is enough to read
 * longest_context() before the range, for any series, and lookahead · max_gap after it.  A
 * series that has too few rows in these times has had a gap or has just begun
 * (outside_rows.c).
 *
 * The newest rows before the range are kept in a ring.  When the first row of a series in the
 * range arrives, they are added to the scorer before it.  Rows come out of the scorer with their
 * mark, and those of the range are visited.
 *
 * The rows of a series can be collected until it ends, so that the caller of detect_run()
 * can give figures of its own to score them with.
 *
 * When the range has proved to be large, the scorer may start workers.  From then on the
 * session is in parallel mode, so the visit must not write.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "core/evidence/level.h"
#include "model/registry.h"
#include "model/verdicts.h"
#include "pg/progress.h"
#include "pg/shard_task.h"
#include "pg/timestamps.h"
#include "rows/series_key.h"
#include "score/detect.h"
#include "score/earlier_rows.h"
#include "score/outside_rows.h"

#define VISIT_BYTES (64 * 1024) /* a visit seldom allocates more */

/* Marks of rows in the scorer */
#define MARK_IN_RANGE 1
#define MARK_BAD 2				/* labelled as bad */

/* The newest rows of a series before the range. */
typedef struct History
{
	int			room;			/* range.before */
	int64		rows;			/* read, including duplicates */
	int64		count;			/* added */
	int64	   *ts;				/* (room) */
	double	   *values;			/* (room, features) */
} History;

struct Detection
{
	/* settings */
	DetectSpec	spec;
	MemoryContext context;
	LoadedModel *loaded;
	MemoryContextCallback release;
	Oid			owner;			/* of the model */
	char	   *query;			/* for its value; NULL: on a shard */
	Source	   *source;
	List	   *incidents;		/* confirmed ones */
	SeriesFinder *finder;		/* NULL: the model has no series of its own */
	SourceRange range;			/* what is read */
	EarlierRows *earlier;		/* NULL: all rows are read that a status depends on */
	OutsideRows *outside;		/* NULL: rows are not limited by time */
	int64		since;			/* the bound asked for, in the source's units */
	int			lookahead;		/* rows to read after the range; 0 without until */
	detect_visit visit;
	void	   *arg;

	/* the series being read */
	char	   *key;			/* as in SourceRow, if `outside` is used */
	History		history;
	bool		inside;			/* a row of the range has arrived */
	int			after;			/* rows read after the range */
	LearningRows *learning;		/* NULL: rows are not collected */
	bool		collecting;		/* they are, for the current series */

	/* scoring */
	Scorer	   *scorer;
	bool		visited;		/* a row of the series being visited was */
	MemoryContext visit_context;	/* reset after each visit */
};

/* A scan of the source: of all series, or of one of them. */
typedef struct RangeReading
{
	Detection  *detection;
	bool		one_series;		/* which has begun already */
	bool		skip;			/* the rows of the series have been read by another scan */
} RangeReading;

/* ---- time --------------------------------------------------------------------------- */

/* The name of the function for the other kind of time column: "amad_detect_bigint" for amad_detect. */
static char *
function_for_type(Oid function)
{
	static const char suffix[] = "_bigint";
	char	   *name = get_func_name(function);
	int			at;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u was concurrently dropped", function)));
	at = strlen(name) - strlen(suffix);
	if (at <= 0 || strcmp(name + at, suffix) != 0)
		return psprintf("%s%s", name, suffix);
	name[at] = '\0';
	return name;
}

Datum
detect_convert_bound(Oid function, Oid from, Oid to, Datum ts)
{
	if (from == to)
		return ts;
	if (from == INT8OID || to == INT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the time column does not have type %s", format_type_be(to)),
				 errhint("Use %s().", function_for_type(function))));
	return Int64GetDatum(timestamps_convert(from, to, DatumGetInt64(ts)));
}

Oid
detect_ts_type(const Detection *d)
{
	return d->source->ts_type;
}

Datum
detect_timestamp(const Detection *d, int64 ts)
{
	return detect_convert_bound(d->spec.function, d->source->ts_type, d->spec.bound_type,
								Int64GetDatum(ts));
}

/* ---- opening -------------------------------------------------------------------------- */

static void
release_detected_model(void *arg)
{
	cache_release(((Detection *) arg)->loaded);
}

/* The stored source, or the given one with the model's columns. */
static SourceSpec
find_source(Detection *d)
{
	const DetectSpec *asked = &d->spec;
	const int	version = asked->value ? asked->version : d->loaded->version;
	RegistryEntry entry = registry_find(asked->function, asked->model_name, version);
	SourceSpec	spec = {0};

	d->owner = entry.role_oid;
	d->query = registry_value_query(asked->function, &entry);
	if (asked->given)
		spec = *asked->given;
	else if (asked->source == NULL)
	{
		Oid			owner;

		spec = source_from_jsonb(
			registry_readable_source(asked->function, &entry, asked->model_name, &owner));
		/* the columns that the owner has named are granted, and no others */
		if (!entry.own && (asked->timestamp_col || asked->label_col))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("%s cannot be specified for the stored source of role \"%s\"",
							asked->timestamp_col ? "timestamp_col" : "label_col",
							NameStr(entry.role)),
					 errhint("Specify the source, too, or use SET ROLE to become the owner.")));
		if (entry.own && asked->for_other)
			registry_check_forgery(entry.table_owner, owner);
		if (!entry.own || asked->for_other)
			source_read_as(&spec, owner);
	}
	else
	{
		Jsonb	   *json = registry_source(asked->function, &entry);

		/* the columns of another source probably have the names of those of the stored one */
		if (json != NULL)
			source_take_names(&spec, json, asked->labels);
		spec.source = pstrdup(asked->source);
	}
	return spec;
}

/* The columns of a source: those of the model, and those asked for. */
static void
set_columns(const Detection *d, SourceSpec *spec)
{
	const DetectSpec *asked = &d->spec;
	const Model *m = d->loaded->model;

	if (m->options.nnames == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has no feature names", asked->model_name),
				 errhint(
					 "Give them in the option \"features\" when training, or use amad_score().")));
	/* from the model, not from the row of amad_models */
	spec->nfeatures = m->features;
	spec->features = m->options.names;
	spec->nseries = m->nseries_cols;
	spec->series_cols = m->series_cols;
	spec->function = asked->function;
	if (asked->timestamp_col)
		spec->timestamp_col = pstrdup(asked->timestamp_col);
	if (!asked->labels)
		spec->label_col = NULL;
	else if (asked->label_col)
		spec->label_col = pstrdup(asked->label_col);
}

/* The longest time that `rows` rows of a series can take without a gap; 0: any. */
static int64
longest_time(const Model *m, int rows)
{
	double		gap = m->stats.max_gap;

	for (int i = 0; i < m->nseries; i++)
		gap = Max(gap, m->series[i].stats.max_gap);
	return (int64) Min(ceil(gap * rows), (double) (PG_INT64_MAX / 2));
}

/*
 * The longest time before a row that its score and its status can depend on; 0: any.  The
 * level of a row is limited by time, not only by rows.
 */
static int64
longest_context(const Model *m)
{
	double		step = m->stats.step;
	int64 rows = m->plan.context + m->options.fill_limit + transforms_longest_reach(&m->transforms);
	int64		horizon = longest_time(m, rows + m->plan.max_horizon - 1);
	int64		level = longest_time(m, rows);

	for (int i = 0; i < m->nseries; i++)
		step = Max(step, m->series[i].stats.step);
	if (m->plan.has_levels && level > 0)
		level = (int64) Min(level + NN_LEVEL_STEPS * step, (double) (PG_INT64_MAX / 2));
	return Max(horizon, level);
}

/* Sets the range to be read from the bounds asked for. */
static void
set_range(Detection *d)
{
	const DetectSpec *spec = &d->spec;
	const Model *m = d->loaded->model;
	const Oid	type = d->source->ts_type;
	SourceRange *range = &d->range;
	bool		finite = true;

	range->around = true;
	range->has_since = spec->has_since;
	range->has_until = spec->has_until;
	range->series = spec->series;
	range->last_n = spec->last_n;
	if (spec->has_since)
	{
		int64		time = longest_context(m);
		int64		least = type == INT8OID ? PG_INT64_MIN : MIN_TIMESTAMP;

		range->since = d->since = DatumGetInt64(
			detect_convert_bound(spec->function, spec->bound_type, type, spec->since));
		finite = timestamps_finite(type, d->since);
		if (!finite)
		{
			/* all rows, or none with a score */
			range->has_since = !TIMESTAMP_IS_NOBEGIN(d->since);
			range->read_since = d->since;
		}
		/* without a bound if no timestamp can be before it */
		else if (time == 0 || pg_sub_s64_overflow(d->since, time, &range->read_since) ||
				 range->read_since <= least)
			range->read_since = PG_INT64_MIN;
	}
	if (spec->has_until)
	{
		int64		time = longest_time(m, m->options.lookahead);
		int64		most = type == INT8OID ? PG_INT64_MAX : END_TIMESTAMP - 1;

		range->until = DatumGetInt64(
			detect_convert_bound(spec->function, spec->bound_type, type, spec->until));
		d->lookahead = m->options.lookahead;
		if (d->lookahead == 0 || !timestamps_finite(type, range->until))
			range->read_until = range->until;
		else
		{
			range->after = d->lookahead;
			if (time == 0 || pg_add_s64_overflow(range->until, time, &range->read_until) ||
				range->read_until > most)
				range->read_until = most;
		}
	}
	range->before = scorer_depth(m, false);
	if (finite)
		range->form = source_choose_form(d->source, range);
	if (finite && range->form == SOURCE_ONCE)
		d->outside = outside_rows_open(d->source, range);
	if (!m->plan.has_levels || (spec->scores_only && range->form != SOURCE_ONCE))
		return;
	/* with lookahead, the level of each row is computed when the row is added */
	if (range->form == SOURCE_ONCE || m->options.lookahead > 0)
		range->before = scorer_depth(m, true);
	else if (d->earlier == NULL)
		d->earlier = earlier_rows_open(d->loaded, d->source);
}

/* Makes room for the rows before the range, and lets the scorer read others if it needs them. */
static void
prepare_history(Detection *d)
{
	const Model *m = d->loaded->model;
	const Size	rows = d->range.before;
	const bool	reads = rows < scorer_depth(m, true);

	scorer_set_earlier(d->scorer, earlier_rows_level, reads ? d->earlier : NULL);
	if (d->history.room >= d->range.before)
		return;
	d->history.room = d->range.before;
	d->history.ts = palloc_extended(sizeof(int64) * rows, MCXT_ALLOC_HUGE);
	d->history.values = palloc_extended(sizeof(double) * rows * m->features, MCXT_ALLOC_HUGE);
}

/* ERROR if the source would be read on each node, as in UPDATE … FROM amad_detect(). */
static void
refuse_task(Oid function)
{
	char	   *name;

	if (!shard_task_running())
		return;
	name = get_func_name(function);
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s() cannot be called in a query on a shard", name ? name : "this function"),
			 errdetail("Citus executes this part of the statement for each shard, but the function "
					   "reads all rows of its source."),
			 errhint("Call it in WITH ... AS MATERIALIZED, or use the query that amad_detect_sql() "
					 "returns.")));
}

Detection *
detect_open(const DetectSpec *spec)
{
	Detection  *d = palloc0(sizeof(Detection));
	SourceSpec	source;
	SourceScope scope;

	d->context = CurrentMemoryContext;
	d->spec = *spec;
	if (spec->shard)
	{
		d->loaded = cache_by_value(spec->shard->model);
		d->loaded->version = spec->shard->version;
	}
	else
	{
		refuse_task(spec->function);
		d->loaded = spec->value ? cache_by_value(spec->value)
								: cache_by_name(spec->function, spec->model_name, spec->version);
	}
	d->release.func = release_detected_model;
	d->release.arg = d;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &d->release);
	source = spec->shard ? spec->shard->source : find_source(d);
	set_columns(d, &source);
	d->source = source_open(&source);
	d->source->serial = spec->writes;
	if (spec->labels)
	{
		d->incidents = spec->shard
			? spec->shard->incidents
			: verdicts_of_model(spec->function, d->owner, spec->model_name, VERDICT_INCIDENT);
		source_leave_out_incidents(d->source, d->incidents);
	}
	timestamps_check_model(d->loaded->model->ts_type, d->source->ts_type);
	if (!OidIsValid(d->spec.bound_type))
		d->spec.bound_type = d->source->ts_type;
	(void) detect_timestamp(d, 0);	/* fails here if it fails at all */
	scope = source_enter(&d->source->spec);
	if (d->loaded->model->nseries > 0)
		d->finder = series_finder_open(d->loaded->model, d->source->series_types,
									   d->source->series_collations);
	source_leave(&scope);
	set_range(d);
	d->scorer = scorer_open(d->loaded, spec->parallel);
	if (spec->collect)
		d->learning = learning_rows_open(d->loaded->model->features);
	prepare_history(d);
	/* a block of memory used again for each row is faster than one for all rows of a block */
	d->visit_context = AllocSetContextCreate(CurrentMemoryContext, "amad detected row", VISIT_BYTES,
											 VISIT_BYTES, ALLOCSET_DEFAULT_MAXSIZE);
	return d;
}

void
detect_set_range(Detection *d, const int64 *since, const int64 *until, Jsonb *series)
{
	MemoryContext old = MemoryContextSwitchTo(d->context);
	DetectSpec *spec = &d->spec;

	spec->bound_type = d->source->ts_type;
	spec->has_since = since != NULL;
	spec->since = Int64GetDatum(since ? *since : 0);
	spec->has_until = until != NULL;
	spec->until = Int64GetDatum(until ? *until : 0);
	spec->series = series;
	memset(&d->range, 0, sizeof(SourceRange));
	d->since = 0;
	d->lookahead = 0;
	d->outside = NULL;
	set_range(d);
	prepare_history(d);
	MemoryContextSwitchTo(old);
}

const SourceRange *
detect_range(const Detection *d)
{
	return &d->range;
}

List *
detect_incidents(const Detection *d)
{
	return d->incidents;
}

char *
detect_model_query(const Detection *d)
{
	return d->query;
}

const Source *
detect_source(const Detection *d)
{
	return d->source;
}

Oid
detect_owner(const Detection *d)
{
	return d->owner;
}

const LoadedModel *
detect_model(const Detection *d)
{
	return d->loaded;
}

const Scorer *
detect_scorer(const Detection *d)
{
	return d->scorer;
}

bool
detect_has_labels(const Detection *d)
{
	return d->source->spec.label_col != NULL || d->source->bad != NULL;
}

char *
detect_query(const Detection *d)
{
	return source_query(d->source, &d->range);
}

DetectSpan
detect_span(const Detection *d)
{
	const Oid	type = d->source->ts_type;
	SourceRange range = {
		.has_since = d->spec.has_since,
		.since = d->since,
		.has_until = d->spec.has_until,
		.until = d->range.until,
	};
	DetectSpan	span = {
		.since = d->spec.has_since && timestamps_finite(type, d->since),
		.begin = d->since,
		.end = d->range.until,
	};
	int64		first;
	int64		last;

	if (d->spec.shard)
		return d->spec.shard->span;
	/* integers have no present, so no bound is in the future */
	span.has_begin = span.since;
	span.has_end = d->spec.has_until && timestamps_finite(type, span.end) &&
		(type == INT8OID ||
		 DatumGetTimestampTz(d->spec.until) <= GetCurrentTransactionStartTimestamp());
	if ((span.has_begin && span.has_end) || !source_span(d->source, &range, &first, &last))
		return span;
	if (!span.has_begin)
		span.begin = first;
	if (!span.has_end)
		span.end = last;
	span.has_begin = span.has_end = true;
	return span;
}

/* ---- reading and scoring ------------------------------------------------------------------ */

/* Visits the rows of the range that have come out of the scorer. */
static void
visit_scored_rows(Detection *d)
{
	DetectedRow row;

	CHECK_FOR_INTERRUPTS();
	while (scorer_next(d->scorer, &row.row))
	{
		MemoryContext old;

		if (row.row.new_series)
			d->visited = false;
		if ((row.row.mark & MARK_IN_RANGE) == 0)
			continue;
		row.series = scorer_series(d->scorer);
		row.new_series = !d->visited;
		row.bad = (row.row.mark & MARK_BAD) != 0;
		d->visited = true;
		old = MemoryContextSwitchTo(d->visit_context);
		d->visit(&row, d->arg);
		MemoryContextReset(d->visit_context);
		MemoryContextSwitchTo(old);
	}
}

static void
score_source_row(Detection *d, const SourceRow *row, int mark)
{
	if (d->collecting)
	{
		learning_rows_add(d->learning, row, mark,
						  mark == MARK_IN_RANGE && row->ts_valid && !row->duplicate);
		return;
	}
	if (row->duplicate)
		scorer_add_duplicate(d->scorer, row->ts, mark);
	else
		scorer_add(d->scorer, row->ts, row->ts_valid, row->values, mark);
	if (scorer_full(d->scorer))
		visit_scored_rows(d);
}

/* Keeps a row before the range: the history is a ring. */
static void
remember_row(Detection *d, const SourceRow *row)
{
	const int	C = d->loaded->model->features;
	int			at;

	if (d->history.room == 0)
		return;
	at = (int) (d->history.count++ % d->history.room);
	d->history.ts[at] = row->ts;
	memcpy(d->history.values + (size_t) at * C, row->values, sizeof(double) * C);
}

/*
 * If a series has had fewer rows before or after the range than scores depend on, adds the next
 * row, without its values: there is a gap in between.
 */
static void
score_outside_row(Detection *d, bool before)
{
	const Model *m = d->loaded->model;
	SourceRow	row = {.ts_valid = true};
	double	   *values;

	if (d->outside == NULL ||
		(before ? !d->range.has_since || d->range.read_since == PG_INT64_MIN ||
				 d->history.count >= scorer_depth(m, false)
				: d->range.after == 0 || !d->inside || d->after >= d->lookahead) ||
		!outside_rows_find(d->outside, d->key, before, &row.ts))
		return;
	values = palloc(sizeof(double) * m->features);
	for (int c = 0; c < m->features; c++)
		values[c] = NAN;
	row.values = values;
	score_source_row(d, &row, 0);
	pfree(values);
}

/* Remembers a row that a scan of one series before the range returns. */
static void
read_history_row(const SourceRow *row, void *arg)
{
	if (row->ts_valid && !row->duplicate)
		remember_row(arg, row);
}

/* Scores the rows before the range, when its first row of a series has come. */
static void
score_history(Detection *d, const SourceRow *first)
{
	History    *h = &d->history;

	/* duplicates have taken the place of other rows */
	if (d->range.form != SOURCE_ONCE && d->range.last_n == 0 && h->rows > d->range.before &&
		h->count <= d->range.before)
	{
		h->count = 0;
		source_scan_before(d->source, first->series, first->series_nulls, d->since, d->range.before,
						   read_history_row, d);
	}
	if (d->earlier && h->count >= d->range.before)
		scorer_cut_series(d->scorer, earlier_rows_origin(d->earlier, first));
	score_outside_row(d, true);
	for (int64 i = Max(h->count - h->room, 0); i < h->count; i++)
	{
		SourceRow	row = {
			.ts = h->ts[i % h->room],
			.ts_valid = true,
			.values = h->values + (size_t) (i % h->room) * d->loaded->model->features,
		};

		score_source_row(d, &row, 0);
	}
	h->count = h->rows = 0;
}

/* Scores the rows that have been collected, when their series has ended. */
static void
score_learning_rows(Detection *d)
{
	LearningRows *rows = d->learning;

	if (!d->collecting)
		return;
	d->collecting = false;
	scorer_begin(d->scorer, rows->key, d->spec.adopt(rows, d->spec.adopt_arg));
	visit_scored_rows(d);
	for (int64 i = 0; i < rows->nrows; i++)
	{
		const LearningRow *from = learning_rows_get(rows, i);
		SourceRow	row = {
			.ts = from->ts,
			.ts_valid = from->ts_valid,
			.duplicate = from->duplicate,
			.values = from->values,
		};

		score_source_row(d, &row, from->mark);
	}
}

/* Ends the series being read. */
static void
finish_read_series(Detection *d)
{
	score_outside_row(d, false);
	score_learning_rows(d);
	d->history.count = d->history.rows = 0;
	d->inside = false;
	d->after = 0;
}

/* Begins a series, by the model's own key for it if there is one: '1' may be the series 1. */
static void
begin_detected_series(Detection *d, const SourceRow *row)
{
	const Model *m = d->loaded->model;
	const char *key = d->source->spec.nseries > 0 ? row->new_series : NULL;
	const char *known = key;

	finish_read_series(d);
	if (d->outside)
	{
		if (d->key)
			pfree(d->key);
		d->key = MemoryContextStrdup(d->context, row->new_series);
	}
	if (key && d->finder && model_series_stats(m, key) == NULL)
		known = series_finder_find(d->finder, key, row->series);
	known = known ? known : key;
	if (d->learning && d->spec.collect(known, model_known_stats(m, known), d->spec.adopt_arg))
	{
		d->collecting = true;
		learning_rows_begin(d->learning, known);
	}
	else
	{
		scorer_begin(d->scorer, known, NULL);
		visit_scored_rows(d);
	}
}

static void read_source_row(const SourceRow *row, void *arg);

/*
 * Scans one series, because the scan of all series does not have its rows, or does not have
 * enough of them before `until`.
 */
static void
read_one_series(Detection *d, const SourceRow *row)
{
	RangeReading reading = {.detection = d, .one_series = true};
	SourceRange range = d->range;

	range.series = NULL;
	range.series_values = row->series;
	range.series_nulls = row->series_nulls;
	range.form = row->unread ? SOURCE_SINGLE : SOURCE_ONCE;
	if (!row->unread)
		range.read_until = range.until;
	source_scan(d->source, &range, true, read_source_row, &reading);
}

/* Takes a row of the source: before the range, in it, or after it. */
static void
read_source_row(const SourceRow *row, void *arg)
{
	RangeReading *reading = arg;
	Detection  *d = reading->detection;
	const DetectSpec *spec = &d->spec;
	const bool	placed = row->ts_valid && !row->duplicate;
	const bool	after = d->lookahead > 0 && row->ts_valid && row->ts >= d->range.until;

	source_report_row(d->source, &d->range);
	if (row->new_series)
	{
		if (!reading->one_series)
			begin_detected_series(d, row);
		reading->skip = row->unread || row->cut;
		if (reading->skip)
			read_one_series(d, row);
	}
	if (reading->skip && !after)
		return;

	/* after: scores of the range may see `lookahead` rows */
	if (after)
	{
		if (placed && d->inside && d->after < d->lookahead)
		{
			d->after++;
			score_source_row(d, row, 0);
		}
		return;
	}

	/* before; by index, rows at -infinity may be among them */
	if (spec->has_since && d->range.form != SOURCE_ONCE && !row->ts_valid &&
		TIMESTAMP_IS_NOBEGIN(row->ts))
		return;
	if ((spec->has_since && row->ts_valid && row->ts < d->since) ||
		(spec->last_n > 0 && row->number_from_end > spec->last_n))
	{
		d->history.rows++;
		if (placed)
			remember_row(d, row);
		return;
	}

	/* inside; a range that has proved to be large is worth the start of workers */
	if (spec->parallel && scorer_wants_workers(d->scorer))
	{
		d->spec.parallel = false;	/* ask once */
		if (source_parallel_mode_ok(d->source, &d->range))
			scorer_start_workers(d->scorer);
	}
	if (!d->inside || d->history.rows > 0)
		score_history(d, row);
	d->inside = true;
	score_source_row(d, row, MARK_IN_RANGE | (row->bad ? MARK_BAD : 0));
}

void
detect_run(Detection *d, detect_visit visit, void *arg)
{
	RangeReading reading = {.detection = d};

	d->visit = visit;
	d->arg = arg;
	progress_phase(PROGRESS_SCORING, 0, 0);
	source_scan(d->source, &d->range, true, read_source_row, &reading);
	finish_read_series(d);
	scorer_end(d->scorer);
	visit_scored_rows(d);
}
