/*
 * operate/recent.c
 *	  Recent rows of a source with their reconstructions.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/evidence/quantile.h"
#include "operate/adopt.h"
#include "operate/levels.h"
#include "operate/recent.h"
#include "pg/call_arguments.h"
#include "score/detect_arguments.h"
#include "score/explanation.h"

#define DEFAULT_LAST_N 10000	/* newest rows of each series, without since and last_n */
#define LEAST_ROOM 1024			/* rows that memory is allocated for at once */

/* ---- arguments ------------------------------------------------------------------------ */

DetectSpec
recent_spec(FunctionCallInfo fcinfo)
{
	DetectSpec	spec = read_detect_arguments(fcinfo, RECENT_SINCE, RECENT_SOURCE,
											RECENT_TIMESTAMP_COL);

	spec.labels = true;
	spec.scores_only = true;
	spec.label_col = text_argument(fcinfo, RECENT_LABEL_COL);
	spec.last_n = read_last_n_argument(fcinfo, RECENT_LAST_N, &spec);
	if (spec.last_n == 0 && !spec.has_since)
		spec.last_n = DEFAULT_LAST_N;
	if (!PG_ARGISNULL(RECENT_SERIES))
		spec.series = PG_GETARG_JSONB_P(RECENT_SERIES);
	return spec;
}

/* ---- reading --------------------------------------------------------------------------- */

static void
reserve_recent_rows(Recent *r)
{
	const Size	C = r->dataset->features;
	const Size	N = Max(r->dataset->plan.signals, 1);
	int64		room = r->room + Max(LEAST_ROOM, r->room / 8);
	Size		row = sizeof(float) * (C + N) + sizeof(double) + sizeof(uint8);

	budget_claim(&r->budget, "recent rows", (room - r->room) * row);
	r->expected = budget_enlarge(r->context, r->expected, room * C * sizeof(float));
	r->signals = budget_enlarge(r->context, r->signals, room * N * sizeof(float));
	r->severity = budget_enlarge(r->context, r->severity, room * sizeof(double));
	r->use = budget_enlarge(r->context, r->use, room * sizeof(uint8));
	r->room = room;
}

/* Whether a row has a finite reconstruction. */
static bool
is_usable(const Recent *r, const ScoredRow *row)
{
	if (row->expected == NULL)
		return false;
	for (int c = 0; c < r->dataset->features; c++)
		if (!isfinite(row->expected[c]))
			return false;
	return true;
}

static void
add_recent_row(Recent *r, const DetectedRow *detected)
{
	const ScoredRow *row = &detected->row;
	const int	C = r->dataset->features;
	const int	N = r->dataset->plan.signals;
	int64		at = r->dataset->nrows;

	if (at == r->room)
		reserve_recent_rows(r);
	dataset_add_scaled(r->dataset, r->broken, row->ts, row->scaled, row->missing);
	r->broken = false;
	memcpy(r->expected + at * C, row->expected, sizeof(float) * C);
	if (N > 0)
		memcpy(r->signals + at * N, row->signals, sizeof(float) * N);
	r->severity[at] = detected->bad ? NAN : explanation_severity(detect_scorer(r->detection), row);
}

/* Begins a series, and notes its figures if they are not those of the model. */
static void
begin_recent_series(Recent *r, const char *key)
{
	const Model *m = detect_model(r->detection)->model;
	const ModelStats *used = scorer_stats(detect_scorer(r->detection));
	bool		given = used != &m->stats && used != model_series_stats(m, key);
	MemoryContext old = MemoryContextSwitchTo(r->context);

	dataset_begin_scaled(r->dataset, key);
	r->figures = lappend(r->figures, given ? unconstify(ModelStats *, used) : NULL);
	r->broken = true;
	MemoryContextSwitchTo(old);
}

static void
read_recent_row(const DetectedRow *detected, void *arg)
{
	Recent	   *r = arg;

	if (detected->new_series)
		begin_recent_series(r, detected->series);
	r->labelled += detected->bad;
	/* a row that the model did not see is left out */
	if (detected->row.scaled == NULL)
		return;
	if (detected->row.begins)
		r->broken = true;
	if (is_usable(r, &detected->row))
		add_recent_row(r, detected);
	else
		r->broken = true;
}

/* ---- which rows are suspicious ------------------------------------------------------------ */

/* Copies the severities of a series to values; returns their number. */
static int64
collect_known_severities(const Recent *r, const RecentSeries *s, double *values)
{
	int64		n = 0;

	for (int64 row = s->first; row < s->first + s->rows; row++)
		if (!isnan(r->severity[row]))
			values[n++] = r->severity[row];
	return n;
}

static void
judge_series(Recent *r, RecentSeries *s, double *values)
{
	double		limit = 0;

	s->scored = collect_known_severities(r, s, values);
	if (s->scored > 0)
	{
		s->fit = threshold_row_fit(values, s->scored);
		limit = nn_quantile(values, s->scored, 1.0 - r->trim);
	}
	for (int64 row = s->first; row < s->first + s->rows; row++)
	{
		double		severity = r->severity[row];

		r->use[row] = isnan(severity) ? ROW_CONTEXT : severity <= limit ? ROW_KEPT : ROW_SCORED;
		s->flagged += severity > 1.0;
	}
}

/* Decides what each row counts for. */
static void
judge_recent_rows(Recent *r)
{
	const Model *m = detect_model(r->detection)->model;
	double *values = palloc_extended(sizeof(double) * Max(r->dataset->nrows, 1), MCXT_ALLOC_HUGE);
	bool	   *moved = palloc(sizeof(bool) * m->features);
	Levels		levels;
	int64		first = 0;
	int64		scored = 0;
	int64		flagged = 0;

	r->series = palloc0(sizeof(RecentSeries) * Max(r->dataset->nseries, 1));
	for (int i = 0; i < r->dataset->nseries; i++)
	{
		r->series[i].first = first;
		r->series[i].rows = r->dataset->series[i].rows;
		r->series[i].learning = model_known_stats(m, r->dataset->series[i].key) == NULL;
		r->series[i].figures = list_nth(r->figures, i);
		first += r->series[i].rows;
		CHECK_FOR_INTERRUPTS();
		judge_series(r, &r->series[i], values);
		levels = levels_find(m, r->dataset, r->series[i].first, r->series[i].rows, r->use,
							 r->series[i].fit.drifted, values, moved);
		r->series[i].shifted = levels.any_shifted;
		if (levels.any_moved)
		{
			r->series[i].moved = moved;
			moved = palloc(sizeof(bool) * m->features);
		}
		if (r->series[i].learning)
			continue;
		scored += r->series[i].scored;
		flagged += r->series[i].flagged;
	}
	r->scored_before = scored;
	r->flagged_before = flagged;
	pfree(values);
}

/* ---- series with figures of their own ------------------------------------------------------ */

/* Whether a series is to be scored by figures of its own: a new one, or with a moved level. */
static bool
wants_figures(const char *key, const ModelStats *stats, void *arg)
{
	Recent	   *r = arg;

	/* both passes have the series in the same order, unless rows have come in between */
	r->moved = NULL;
	for (int i = 0; i < r->nlevels && stats != NULL && r->moved == NULL; i++)
	{
		const MovedLevels *l = &r->levels[r->next_level++ % r->nlevels];

		if (key == NULL || strcmp(key, l->series) == 0)
			r->moved = l->moved;
	}
	return stats == NULL || r->moved != NULL;
}

static const ModelStats *
find_figures(LearningRows *rows, void *arg)
{
	Recent	   *r = arg;
	const Model *m = detect_model(r->detection)->model;
	const ModelStats *stats = model_known_stats(m, rows->key);
	MemoryContext old = MemoryContextSwitchTo(r->context);
	ModelStats *figures;

	figures = stats != NULL
		? levels_rescale(m, stats, rows, r->moved, &r->budget)
		: adopt_figures(m, rows, detect_ts_type(r->detection), r->trim, &r->budget);
	MemoryContextSwitchTo(old);
	return figures;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Reads the rows in a context of their own. */
static Recent *
read_pass(const DetectSpec *asked, double trim, RecentPurpose purpose, int nlevels,
		  MovedLevels *levels)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "amad recent rows",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	DetectSpec	spec = *asked;
	Recent	   *r = palloc0(sizeof(Recent));
	const Model *m;

	r->context = context;
	r->trim = trim;
	r->nlevels = nlevels;
	r->levels = levels;
	budget_open(&r->budget, r->context, "Raise maintenance_work_mem, or read fewer rows.");
	if (purpose != RECENT_DRIFT)
	{
		spec.collect = wants_figures;
		spec.adopt = find_figures;
		spec.adopt_arg = r;
	}
	r->detection = detect_open(&spec);
	m = detect_model(r->detection)->model;
	r->dataset = dataset_open(r->context, &m->options, m->features, m->ts_type);
	detect_run(r->detection, read_recent_row, r);
	judge_recent_rows(r);
	MemoryContextSwitchTo(old);
	return r;
}

Recent *
recent_read(const DetectSpec *spec, double trim, RecentPurpose purpose)
{
	Recent	   *r = read_pass(spec, trim, purpose, 0, NULL);
	const int64 scored_before = r->scored_before;
	const int64 flagged_before = r->flagged_before;
	const Model *m = detect_model(r->detection)->model;
	const int64 least = calibrate_least_rows(&m->options);
	const Size	bytes = sizeof(bool) * m->features;
	MovedLevels *levels;
	int			n = 0;

	if (purpose != RECENT_RESCALE)
		return r;
	levels = palloc_extended(sizeof(MovedLevels) * Max(r->dataset->nseries, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < r->dataset->nseries; i++)
	{
		const char *key = r->dataset->series[i].key;

		if (r->series[i].moved == NULL || r->series[i].learning || r->series[i].scored < least)
			continue;
		levels[n].series = key ? pstrdup(key) : NULL;
		levels[n++].moved = memcpy(palloc(bytes), r->series[i].moved, bytes);
	}
	if (n == 0)
		return r;
	/* not before the memory of the first pass is free again */
	MemoryContextDelete(r->context);
	r = read_pass(spec, trim, purpose, n, levels);
	r->scored_before = scored_before;
	r->flagged_before = flagged_before;
	return r;
}
