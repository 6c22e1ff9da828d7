/*
 * score/detect.c
 *	  Detection: a model's source, read and scored.
 *
 * A score depends on a fixed number of rows before it, and none of them is
 * further from the next than max_gap, or a new stretch would begin.  So reading
 * from (that number · max_gap) before the range is enough, whatever the series.  The
 * same goes for the rows after it, with the option lookahead.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "score/detect.h"
#include "model/registry.h"
#include "rows/series_key.h"
#include "pg/timestamps.h"

#define VISIT_BYTES (64 * 1024) /* what a visit allocates is seldom more */

/* Marks of the rows that are scored. */
#define MARK_SHOWN 1			/* it is of the range, not only of its history */
#define MARK_BAD 2				/* it is so labelled */

/* The newest rows before the range, of one series. */
typedef struct History
{
	int			room;			/* scorer_depth() */
	int64		count;			/* rows that came */
	int64	   *ts;				/* (room) */
	double	   *values;			/* (room, features) */
} History;

struct Detection
{
	DetectSpec	spec;
	LoadedModel *loaded;
	MemoryContextCallback release;
	Source	   *source;
	SeriesFinder *finder;		/* NULL: the model has no series of its own */
	int64		since;			/* in the source's units, as */
	SourceRange range;			/* what is read */
	int			lookahead;		/* rows that are read after the range, with until */
	Scorer	   *scorer;
	int			workers;		/* to ask for, when enough rows have come */
	int64		rows;			/* that came */
	History		history;
	bool		inside;			/* a row of the series was in the range */
	int			after;			/* rows of the series that came after it */
	bool		shown;			/* a row of the series being shown was */
	MemoryContext visit_context;	/* of the row being shown */
	detect_visit visit;
	void	   *arg;
};

/* ---- time --------------------------------------------------------------------------- */

/* The variant of a function for the other kind of time column: "amad_detect_bigint" for amad_detect. */
static char *
sibling(Oid function)
{
	static const char suffix[] = "_bigint";
	char	   *name = get_func_name(function);
	int			at;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u was dropped at the same time", function)));
	at = strlen(name) - strlen(suffix);
	if (at <= 0 || strcmp(name + at, suffix) != 0)
		return psprintf("%s%s", name, suffix);
	name[at] = '\0';
	return name;
}

/* A time as a value of another type of the three; beyond its range it is infinite. */
static Datum
convert(const Detection *d, Oid from, Oid to, Datum ts)
{
	if (from == to)
		return ts;
	if (from == INT8OID || to == INT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the time column is of another type than %s", format_type_be(to)),
				 errhint("Use %s().", sibling(d->spec.function))));
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
	return convert(d, d->source->ts_type, d->spec.bound_type, Int64GetDatum(ts));
}

/* ---- opening -------------------------------------------------------------------------- */

static void
release_model(void *arg)
{
	cache_release(((Detection *) arg)->loaded);
}

static void
load_model(Detection *d)
{
	d->loaded = cache_by_name(d->spec.function, d->spec.model_name);
	d->release.func = release_model;
	d->release.arg = d;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &d->release);
}

/* Columns of another source are likely to have the names of the remembered one's. */
static void
use_names_of_stored(const Detection *d, SourceSpec *spec)
{
	RegistryEntry entry = registry_find(d->spec.function, d->spec.model_name, d->loaded->version);
	Jsonb	   *json = registry_source(d->spec.function, &entry);

	if (json != NULL)
		source_take_names(spec, json, d->spec.labels);
}

/* The remembered source, or the given one with the model's columns. */
static SourceSpec
find_source(const Detection *d)
{
	const Model *m = d->loaded->model;
	SourceSpec	spec = {0};

	if (d->spec.source == NULL)
	{
		RegistryEntry entry = registry_find(d->spec.function, d->spec.model_name,
											d->loaded->version);

		spec = source_from_jsonb(registry_trusted_source(d->spec.function, &entry,
														 d->spec.model_name));
	}
	else
	{
		use_names_of_stored(d, &spec);
		spec.source = pstrdup(d->spec.source);
	}
	if (m->options.nnames == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" does not know the names of its features",
						d->spec.model_name),
				 errhint("Give them in the option \"features\" when training, or use amad_score().")));
	/* those of the model, not what a row of the table says */
	spec.nfeatures = m->features;
	spec.features = m->options.names;
	spec.nseries = m->nseries_cols;
	spec.series_cols = m->series_cols;
	if (d->spec.timestamp_col)
		spec.timestamp_col = pstrdup(d->spec.timestamp_col);
	if (!d->spec.labels)
		spec.label_col = NULL;
	else if (d->spec.label_col)
		spec.label_col = pstrdup(d->spec.label_col);
	return spec;
}

static double
longest_gap(const Model *m)
{
	double		gap = m->stats.max_gap;

	for (int i = 0; i < m->nseries; i++)
		gap = Max(gap, m->series[i].stats.max_gap);
	return gap;
}

/* The greatest distance between a row of a series and the row `rows` rows later, without a gap. */
static int64
reach(const Model *m, int rows)
{
	double		distance = ceil(longest_gap(m) * rows);

	return distance < (double) (PG_INT64_MAX / 2) ? (int64) distance : PG_INT64_MAX / 2;
}

/* The first timestamp that has to be read for scores from since on. */
static void
reach_back(Detection *d)
{
	const Model *m = d->loaded->model;
	const Oid	type = d->source->ts_type;
	int64		distance = reach(m, scorer_depth(m));
	int64		least = type == INT8OID ? PG_INT64_MIN : MIN_TIMESTAMP;

	if (!timestamps_finite(type, d->since) && !TIMESTAMP_IS_NOBEGIN(d->since))
		d->range.since = d->since;	/* no row with a score is so late */
	/* a bound that no timestamp can be before is none */
	else if (distance == 0 || pg_sub_s64_overflow(d->since, distance, &d->range.since) ||
			 d->range.since <= least)
		d->range.has_since = false;
}

/* The first timestamp that has not to be read for scores of rows before until. */
static void
reach_forward(Detection *d)
{
	const Model *m = d->loaded->model;
	const Oid	type = d->source->ts_type;
	int64		distance = reach(m, m->options.lookahead);
	int64		most = type == INT8OID ? PG_INT64_MAX : END_TIMESTAMP - 1;

	d->lookahead = m->options.lookahead;
	if (d->lookahead == 0 || !timestamps_finite(type, d->range.until))
		d->range.read_until = d->range.until;
	else if (distance == 0 ||
			 pg_add_s64_overflow(d->range.until, distance, &d->range.read_until) ||
			 d->range.read_until > most)
		d->range.read_until = most;
}

static void
set_range(Detection *d)
{
	const DetectSpec *spec = &d->spec;

	d->range.has_since = spec->has_since;
	d->range.has_until = spec->has_until;
	d->range.series = spec->series;
	if (spec->has_since)
	{
		d->since = DatumGetInt64(convert(d, spec->bound_type, d->source->ts_type, spec->since));
		reach_back(d);
	}
	if (spec->has_until)
	{
		d->range.until = DatumGetInt64(convert(d, spec->bound_type, d->source->ts_type, spec->until));
		reach_forward(d);
	}
	if (spec->last_n > 0)
		d->range.last_n = Min(spec->last_n, PG_INT64_MAX / 2) + scorer_depth(d->loaded->model);
}

Detection *
detect_open(const DetectSpec *spec)
{
	Detection  *d = palloc0(sizeof(Detection));
	SourceSpec	source;
	Size		rows;

	d->spec = *spec;
	load_model(d);
	source = find_source(d);
	d->source = source_open(&source);
	timestamps_check_model(d->loaded->model->ts_type, d->source->ts_type);
	(void) detect_timestamp(d, 0);	/* fails now or never */
	if (d->loaded->model->nseries > 0)
		d->finder = series_finder_open(d->loaded->model, d->source->series_types,
									   d->source->series_collations);
	set_range(d);
	d->scorer = scorer_open(d->loaded, SCORER_ROWS);
	d->history.room = scorer_depth(d->loaded->model);
	rows = d->history.room;
	d->history.ts = palloc_extended(sizeof(int64) * rows, MCXT_ALLOC_HUGE);
	d->history.values = palloc_extended(sizeof(double) * rows * d->loaded->model->features,
										MCXT_ALLOC_HUGE);
	/* one block of memory, used again for each row, is faster than a block of rows together */
	d->visit_context = AllocSetContextCreate(CurrentMemoryContext, "amad detected row",
											 VISIT_BYTES, VISIT_BYTES, ALLOCSET_DEFAULT_MAXSIZE);
	return d;
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

char *
detect_query(const Detection *d)
{
	return source_query(d->source, &d->range);
}

/* ---- reading and scoring ------------------------------------------------------------------ */

static void
show_block(Detection *d)
{
	MemoryContext old = MemoryContextSwitchTo(d->visit_context);

	if (scorer_new_series(d->scorer))
		d->shown = false;
	for (int i = 0; i < scorer_scored(d->scorer); i++)
	{
		DetectedRow row = {
			.series = scorer_series(d->scorer),
			.new_series = !d->shown,
			.row = scorer_row(d->scorer, i),
		};

		if ((row.row.mark & MARK_SHOWN) == 0)
			continue;
		row.bad = (row.row.mark & MARK_BAD) != 0;
		d->shown = true;
		d->visit(&row, d->arg);
		MemoryContextReset(d->visit_context);
	}
	MemoryContextSwitchTo(old);
}

/* Submits the rows that were added, and shows what is scored by now, or all. */
static void
score_block(Detection *d, bool all)
{
	CHECK_FOR_INTERRUPTS();
	scorer_submit(d->scorer);
	while (scorer_collect(d->scorer, all))
		show_block(d);
}

/* Asks for workers, once, when the range has proved to be large. */
static void
consider_workers(Detection *d)
{
	if (d->workers == 0 || d->rows < scorer_patience(d->scorer) || scorer_rows(d->scorer) > 0)
		return;
	if (source_parallel_mode_ok(d->source, &d->range))
		scorer_parallel(d->scorer, d->workers);
	d->workers = 0;
}

static void
add(Detection *d, const SourceRow *row, int mark)
{
	if (row->duplicate)
		scorer_add_duplicate(d->scorer, row->ts, mark);
	else
		scorer_add(d->scorer, row->ts, row->ts_valid, row->values, mark);
	d->rows++;
	if (scorer_full(d->scorer))
		score_block(d, false);
}

static void
remember(Detection *d, const SourceRow *row)
{
	const int	C = d->loaded->model->features;
	const int	room = d->history.room;
	int			at = (int) (d->history.count++ % room);

	d->history.ts[at] = row->ts;
	memcpy(d->history.values + (size_t) at * C, row->values, sizeof(double) * C);
}

/* The range begins: the rows before it go first. */
static void
recall(Detection *d)
{
	History    *h = &d->history;
	int64		first = Max(h->count - h->room, 0);

	for (int64 i = first; i < h->count; i++)
	{
		SourceRow	row = {
			.ts = h->ts[i % h->room],
			.ts_valid = true,
			.values = h->values + (size_t) (i % h->room) * d->loaded->model->features,
		};

		add(d, &row, 0);
	}
	h->count = 0;
}

/* The model's own key of the series that begins, where it has one. */
static const char *
find_known_key(Detection *d, const SourceRow *row)
{
	const char *key = row->new_series;
	const char *known = NULL;

	if (d->source->spec.nseries == 0)
		return NULL;
	if (d->finder && model_series_stats(d->loaded->model, key) == NULL)
		known = series_finder_find(d->finder, key, row->series);
	return known ? known : key;
}

static void
begin_series(Detection *d, const SourceRow *row)
{
	score_block(d, false);
	d->history.count = 0;
	d->inside = false;
	d->after = 0;
	scorer_begin(d->scorer, find_known_key(d, row));
}

static bool
is_before_range(const Detection *d, const SourceRow *row)
{
	if (d->spec.has_since && row->ts_valid && row->ts < d->since)
		return true;
	return row->number_from_end > d->spec.last_n && d->spec.last_n > 0;
}

/* A row that scores of the range may see. */
static void
add_after(Detection *d, const SourceRow *row)
{
	if (!d->inside || d->after == d->lookahead)
		return;
	d->after++;
	add(d, row, 0);
}

static void
read_row(const SourceRow *row, void *arg)
{
	Detection  *d = arg;
	const bool	placed = row->ts_valid && !row->duplicate;

	if (row->new_series)
		begin_series(d, row);
	if (d->lookahead > 0 && row->ts_valid && row->ts >= d->range.until)
	{
		if (placed)
			add_after(d, row);
		return;
	}
	if (is_before_range(d, row))
	{
		if (placed)
			remember(d, row);
		return;
	}
	d->inside = true;
	consider_workers(d);
	recall(d);
	add(d, row, MARK_SHOWN | (row->bad ? MARK_BAD : 0));
}

void
detect_run(Detection *d, detect_visit visit, void *arg)
{
	d->visit = visit;
	d->arg = arg;
	d->workers = d->spec.parallel ? scorer_workers(d->scorer) : 0;
	source_scan(d->source, &d->range, true, read_row, d);
	scorer_end(d->scorer);
	score_block(d, true);
	scorer_finish(d->scorer);
}
