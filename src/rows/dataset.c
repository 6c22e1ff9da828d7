/*
 * rows/dataset.c
 *	  The rows of a training: series after series, sorted, filled and scaled.
 *
 * Rows come one series at a time.  Those of the open series are collected as doubles
 * (rows/series.c).  When it ends, they are sorted, split into runs at gaps, transformed,
 * filled and scaled by the series' own mean and standard deviation, and appended to one array of
 * floats.  dataset_finish() pools the moments of all series.
 *
 * If rows do not fit in maintenance_work_mem, a sample of them is read (dataset_sampling.c).
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "core/evidence/quantile.h"
#include "rows/choose_transform.h"
#include "rows/dataset.h"
#include "rows/dataset_private.h"

#define GAP_STEPS 10			/* default of max_gap, in median steps */
#define FIRST_ROOM 1024			/* rows */

/* ---- how much is needed ------------------------------------------------------------ */

/* The rows of a series to hold out: blocks that are long enough for every horizon. */
static HeldOut
plan_held_out(const Dataset *d, int64 rows)
{
	return held_out_plan(rows, d->options->validation_fraction, 2 * d->plan.max_horizon,
						 Max(d->plan.warmup, d->plan.chunk_rows) + d->transforms.lead);
}

int64
dataset_least_rows(const Dataset *d)
{
	int64		least = d->plan.chunk_rows + d->transforms.lead;

	while (plan_held_out(d, least).blocks == 0)
		least++;
	return least;
}

/* What to use so that fewer rows are enough, as the end of a hint. */
static char *
options_for_fewer_rows(const Dataset *d)
{
	Dataset		other = *d;
	Options		options = *d->options;
	int64		least;

	other.options = &options;
	options_shorten(&options);
	other.plan = plan_make(&options, d->features);
	other.transforms.mean_rows = transforms_make(&options, d->features).mean_rows;
	transforms_settle(&other.transforms);
	least = dataset_least_rows(&other);
	if (least >= dataset_least_rows(d) || options.lookahead > other.plan.max_horizon / 2)
		return d->plan.has_network
			? "smaller values of the options window, layers and horizons, or "
			  "\"method\": \"pca\", which needs fewer"
			: "smaller values of the option horizons";
	if (!d->plan.has_network)
		return psprintf("\"preset\": \"short\" without the option horizons: " INT64_FORMAT
						" rows are then enough",
						least);
	options.method = METHOD_PCA;
	other.plan = plan_make(&options, d->features);
	return psprintf("\"preset\": \"short\" without the options window, layers, horizons and "
					"chunk_length: " INT64_FORMAT " rows are then enough, or " INT64_FORMAT
					" with \"method\": \"pca\"",
					least, dataset_least_rows(&other));
}

static void
too_few_rows(const Dataset *d)
{
	if (d->level > 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too few rows to train a model fit in maintenance_work_mem (%d MB)",
						maintenance_work_mem / 1024),
				 errdetail("Blocks of rows were left out until the others fit: " INT64_FORMAT
						   " of " INT64_FORMAT " rows are left.",
						   d->nrows, d->facts.offered),
				 errhint("Raise maintenance_work_mem: %zu MB are enough for all rows.",
						 dataset_bytes(d, d->nseries, d->facts.offered, d->largest) /
								 (1024 * 1024) +
							 1)));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("too few rows to train a model: " INT64_FORMAT,
					d->transforms.lead > 0 ? d->facts.offered : d->facts.rows),
			 errdetail("These options need at least " INT64_FORMAT
					   " rows of a series without a gap: "
					   "%d to train on, and rows held out for the threshold.",
					   dataset_least_rows(d), d->plan.chunk_rows + d->transforms.lead),
			 d->facts.gaps > 0
				 ? errhint("There are " INT64_FORMAT
						   " gaps longer than max_gap: choose a greater one, or use %s.",
						   d->facts.gaps, options_for_fewer_rows(d))
				 : errhint("Give more rows, or use %s.", options_for_fewer_rows(d))));
}

/* ---- arrays -------------------------------------------------------------------------------- */

/* Makes room for one more element of an array of n, whose room is a power of two. */
static void *
enlarge_array(Dataset *d, void *array, int n, Size element)
{
	if (n == 0)
		return MemoryContextAlloc(d->context, element * 8);
	return n >= 8 && (n & (n - 1)) == 0 ? repalloc_huge(array, element * 2 * n) : array;
}

static void
append_run(Dataset *d, DatasetRun run)
{
	d->runs = enlarge_array(d, d->runs, d->nruns, sizeof(DatasetRun));
	d->runs[d->nruns++] = run;
}

static void
shrink(Dataset *d)
{
	const Size	row = sizeof(float) * d->features;
	const Size	map = d->imputed ? IMPUTED_BYTES(d->features) : 0;

	if (d->room == d->nrows)
		return;
	budget_release(&d->budget, (d->room - d->nrows) * (row + sizeof(int64) + map));
	d->room = d->nrows;
	d->rows = repalloc_huge(d->rows, Max(d->room * row, 1));
	d->ts = repalloc_huge(d->ts, Max(d->room * sizeof(int64), 1));
	if (d->imputed)
		d->imputed = repalloc_huge(d->imputed, Max(d->room * map, 1));
}

/* ---- collecting -------------------------------------------------------------------------- */

Dataset *
dataset_open(MemoryContext parent, const Options *options, int features, Oid ts_type)
{
	MemoryContext context = AllocSetContextCreate(parent, "amad dataset", ALLOCSET_DEFAULT_SIZES);
	Dataset    *d = MemoryContextAllocZero(context, sizeof(Dataset));

	d->context = context;
	d->options = options;
	d->features = features;
	d->plan = plan_make(options, features);
	d->ts_type = ts_type;
	budget_open(&d->budget, context, BUDGET_TRAINING);
	context = MemoryContextSwitchTo(context);
	d->transforms = transforms_make(options, features);
	MemoryContextSwitchTo(context);
	return d;
}

Dataset *
dataset_open_calibration(MemoryContext parent, const Model *m, int64 newest)
{
	Dataset    *d = dataset_open(parent, &m->options, m->features, m->ts_type);

	memcpy(d->transforms.kind, m->transforms.kind, sizeof(uint8) * m->features);
	transforms_settle(&d->transforms);
	d->decided = true;
	d->newest = newest;
	return d;
}

void
dataset_close(Dataset *d)
{
	MemoryContextDelete(d->context);
}

void
dataset_add(Dataset *d, int64 ts, const double *values)
{
	if (d->sampling && !dataset_take_row(d))
	{
		d->open_number++;
		return;
	}
	series_add(d->open, ts, d->open_number++, values);
	if (d->newest > 0)
		series_forget(d->open, d->newest);
}

void
dataset_skip(Dataset *d)
{
	if (d->sampling)
		(void) dataset_take_row(d);
	d->open_number++;
}

void
dataset_skip_to(Dataset *d, int64 number)
{
	d->open_number = Max(d->open_number, number);
}

/* ---- a series ends -------------------------------------------------------------------------- */

#define CLEAR_BYTES (2 * 1024 * 1024)	/* takes some milliseconds if they are new to the process */

static void
clear(uint8 *map, Size bytes)
{
	for (Size at = 0; at < bytes; at += CLEAR_BYTES)
	{
		CHECK_FOR_INTERRUPTS();
		memset(map + at, 0, Min(bytes - at, CLEAR_BYTES));
	}
}

/* Makes room for `more` scaled rows. */
static void
make_room(Dataset *d, int64 more)
{
	const Size	row = sizeof(float) * d->features;
	int64		room = d->nrows + more;

	if (room <= d->room)
		return;
	/* no more than the first series needs, because it may be the only one */
	if (d->room > 0)
		room = Max(room, d->room + d->room / 8);
	budget_claim(&d->budget, "scaled training rows", (room - d->room) * (row + sizeof(int64)));
	d->rows = budget_enlarge(d->context, d->rows, room * row);
	d->ts = budget_enlarge(d->context, d->ts, room * sizeof(int64));
	if (d->imputed)
	{
		const Size	map = IMPUTED_BYTES(d->features);

		budget_claim(&d->budget, "scaled training rows", (room - d->room) * map);
		d->imputed = repalloc_huge(d->imputed, room * map);
		clear(d->imputed + d->room * map, (room - d->room) * map);
	}
	d->room = room;
}

static void
make_imputed(Dataset *d)
{
	Size		bytes = d->room * IMPUTED_BYTES(d->features);

	if (d->imputed)
		return;
	budget_claim(&d->budget, "scaled training rows", bytes);
	d->imputed = MemoryContextAllocHuge(d->context, bytes);
	clear(d->imputed, bytes);
}

static void
scale_runs(Dataset *d, const DatasetSeries *s)
{
	nn_scaling	scaling = {
		.features = d->features,
		.mean = s->mean,
		.std = s->std,
		.clip = d->options->clip,
		.bound = d->plan.bound,
	};

	make_room(d, series_rows(d->open));
	if (!series_complete(d->open))
		make_imputed(d);
	for (int64 at = 0, next = 0; at < series_rows(d->open);)
	{
		SeriesRun	run = series_run(d->open, at, s->max_gap);
		int64		lead = Min(d->transforms.lead, run.rows);
		DatasetRun	to = {
			.series = d->nseries,
			.first = d->nrows,
			.rows = run.rows - lead,
			.number = run.number + lead,
		};

		/* where rows have been left out there is no gap */
		d->facts.gaps += at > 0 && (d->level == 0 || run.number == next);
		next = run.number + run.rows;
		at += run.rows;
		if (to.rows == 0)
			continue;
		/* like scoring, which does not see rows before all features have a value */
		run.first += lead;
		run.rows -= lead;
		run.number += lead;
		series_scale(d->open, &run, d->options, &scaling, d->rows + d->nrows * d->features,
					 d->imputed ? d->imputed + d->nrows * IMPUTED_BYTES(d->features) : NULL,
					 &d->facts.values);
		series_times(d->open, &run, d->ts + d->nrows);
		append_run(d, to);
		d->nrows += run.rows;
	}
}

static void
add_series(Dataset *d, DatasetSeries s)
{
	d->series = enlarge_array(d, d->series, d->nseries, sizeof(DatasetSeries));
	d->series[d->nseries++] = s;
}

double
dataset_max_gap(const Options *options, Oid ts_type, double step)
{
	double		unit = ts_type == INT8OID ? 1.0 : USECS_PER_SEC;

	return options->max_gap > 0 ? options->max_gap * unit : GAP_STEPS * step;
}

/*
 * Transforms the open series.  The first series in which a feature varies decides how it is
 * transformed in all series.
 */
static void
transform_series(Dataset *d, const DatasetSeries *s)
{
	const Size	bytes = sizeof(uint8) * d->features;
	Transforms *t = &d->transforms;
	uint8	   *before = palloc(bytes);

	for (int c = 0; c < d->features && d->nseries == 0 && !d->decided; c++)
		t->kind[c] = options_transform(d->options, c);
	memcpy(before, t->kind, bytes);
	if (!d->decided)
		choose_transforms(d->open, d->ts_type, s->max_gap, t);
	transforms_settle(t);
	/* a trend that nobody asked to remove must not leave too few rows */
	for (int c = 0; c < d->features && plan_held_out(d, s->rows).blocks == 0; c++)
		if (before[c] == TRANSFORM_AUTO && t->kind[c] == TRANSFORM_DETREND)
		{
			t->kind[c] = TRANSFORM_NONE;
			transforms_settle(t);
		}

	/* in the series before this one the feature is constant: 0 when it is transformed */
	for (int c = 0; c < d->features; c++)
		for (int i = 0; i < d->nseries && t->kind[c] != before[c]; i++)
			if (t->kind[c] != TRANSFORM_NONE)
				d->series[i].mean[c] = 0.0;

	if (t->any)
		series_transform(d->open, t, s->max_gap, s->step);
	pfree(before);
}

/* Scales the open series and appends it to the others, unless it is too short. */
void
dataset_end_series(Dataset *d)
{
	MemoryContext old;
	int64		offered = d->open_number;
	DatasetSeries s = {.rows = offered};

	if (!d->begun)
		return;
	d->begun = false;
	if (d->sampling)
		dataset_count_series(d);
	if (d->open == NULL)
		return;
	if (offered >= d->plan.chunk_rows)
	{
		old = MemoryContextSwitchTo(d->context);
		s.key = d->open_key;
		s.mean = palloc(sizeof(double) * d->features);
		s.std = palloc(sizeof(double) * d->features);
		s.known = palloc(sizeof(int64) * d->features);
		MemoryContextSwitchTo(old);
		series_sort(d->open);
		if (d->newest > 0)
			series_keep_newest(d->open, d->newest);
		s.step = series_step(d->open);
		s.max_gap = dataset_max_gap(d->options, d->ts_type, s.step);
		if (d->options->missing == MISSING_ERROR)
			series_refuse_missing(d->open, d->options);
		transform_series(d, &s);
		s.held = plan_held_out(d, offered);
		series_moments(d->open, s.mean, s.std, s.known);
		scale_runs(d, &s);
		add_series(d, s);
		d->kept += d->open_kept;
		d->facts.offered += offered;
		d->largest = Max(d->largest, offered);
	}
	else
		d->facts.short_series++;
	series_close(d->open);
	d->open = NULL;
}

void
dataset_begin(Dataset *d, const char *key)
{
	dataset_end_series(d);
	d->begun = true;
	d->open = d->full ? NULL : series_open(d->context, d->features, d->ts_type);
	d->open_key = key ? MemoryContextStrdup(d->context, key) : NULL;
	d->open_hash = dataset_series_hash(key);
	d->open_number = 0;
	d->open_kept = 0;
}

/* ---- scaled rows ------------------------------------------------------------------------------ */

#define SCALED_ROOM 1024		/* rows to make room for at once */

void
dataset_begin_scaled(Dataset *d, const char *key)
{
	DatasetSeries s = {.key = key ? MemoryContextStrdup(d->context, key) : NULL};

	add_series(d, s);
}

void
dataset_add_scaled(Dataset *d, bool begins, int64 ts, const float *scaled, const uint8 *imputed)
{
	DatasetSeries *s = &d->series[d->nseries - 1];
	DatasetRun	run = {.series = d->nseries - 1, .first = d->nrows, .number = s->rows};

	if (d->nrows == d->room)
		make_room(d, SCALED_ROOM);
	if (nn_any_imputed(imputed, d->features))
		make_imputed(d);
	memcpy(d->rows + d->nrows * d->features, scaled, sizeof(float) * d->features);
	d->ts[d->nrows] = ts;
	if (d->imputed)
		memcpy(d->imputed + d->nrows * IMPUTED_BYTES(d->features), imputed,
			   IMPUTED_BYTES(d->features));
	if (begins || s->rows == 0)
		append_run(d, run);
	d->runs[d->nruns - 1].rows++;
	d->nrows++;
	s->rows++;
}

/* ---- all series ------------------------------------------------------------------------------ */

/* A power of two by which the moments of a feature are at most about 1. */
static double
pool_scale(int n, const DatasetSeries *series, int feature)
{
	double		largest = 0.0;
	int			exponent;

	for (int i = 0; i < n; i++)
		largest = fmax(largest, fmax(fabs(series[i].mean[feature]), series[i].std[feature]));
	frexp(largest, &exponent);
	return ldexp(1.0, Min(-exponent, DBL_MAX_EXP - 1));
}

/*
 * Computes mean and standard deviation of a feature in all series from those of each, and
 * returns the number of its values.  They are scaled: squares of the largest doubles must
 * not overflow, and those of the smallest not vanish.
 */
static double
pool_scaled(int n, const DatasetSeries *series, int feature, double *mean, double *std)
{
	const double scale = pool_scale(n, series, feature);
	double		sum = 0.0;		/* of squares */
	double		known = 0.0;

	*mean = 0.0;
	for (int i = 0; i < n; i++)
	{
		const DatasetSeries *s = &series[i];
		double		rows = s->known[feature];
		double		deviation = scale * s->std[feature];
		double		distance = scale * s->mean[feature] - *mean;

		if (rows == 0)
			continue;
		sum += deviation * deviation * rows + distance * distance * known * rows / (known + rows);
		*mean += distance * rows / (known + rows);
		known += rows;
	}
	CHECK_FOR_INTERRUPTS();
	*mean /= scale;
	*std = known > 0 ? sqrt(sum / known) / scale : 0.0;
	return known;
}

/*
 * Pools the moments of the series (Chan et al. 1983).  A series without a value of a feature
 * is given those of all rows.
 */
static void
pool_moments(int n, DatasetSeries *series, int feature, ModelStats *stats)
{
	double		mean;
	double		std;
	double		known = pool_scaled(n, series, feature, &mean, &std);

	if (known > 0)
	{
		stats->mean[feature] = mean;
		stats->std[feature] = Min(std, DBL_MAX);
		if (nn_is_constant(mean, stats->std[feature]))
			stats->std[feature] = 0.0;
	}
	for (int i = 0; i < n; i++)
		if (series[i].known[feature] == 0)
		{
			series[i].mean[feature] = stats->mean[feature];
			series[i].std[feature] = stats->std[feature];
		}
}

void
dataset_pool(const Options *options, Oid ts_type, int features, int n, DatasetSeries *series,
			 ModelStats *stats)
{
	double	   *step = palloc_extended(sizeof(double) * n, MCXT_ALLOC_HUGE);
	int			steps = 0;

	for (int c = 0; c < features; c++)
		pool_moments(n, series, c, stats);
	for (int i = 0; i < n; i++)
		if (series[i].step > 0)
			step[steps++] = series[i].step;
	stats->step = steps > 0 ? nn_quantile(step, steps, 0.5) : 0.0;
	stats->max_gap = dataset_max_gap(options, ts_type, stats->step);
	pfree(step);
	/* sampling may have left fewer than two rows of every series */
	for (int i = 0; i < n; i++)
		if (series[i].step == 0)
		{
			series[i].step = stats->step;
			series[i].max_gap = stats->max_gap;
		}
	if (n > 1)
		return;
	/* exact, without sums of squares */
	memcpy(stats->mean, series[0].mean, sizeof(double) * features);
	memcpy(stats->std, series[0].std, sizeof(double) * features);
}

static void
refuse_unknown_feature(const Dataset *d)
{
	for (int c = 0; c < d->features; c++)
	{
		bool		known = false;

		for (int i = 0; i < d->nseries && !known; i++)
			known = d->series[i].known[c] > 0;
		if (!known)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("feature %s has no value in any training row",
							options_feature_name(d->options, c)),
					 errhint("Leave the column out.")));
	}
}

void
dataset_finish(Dataset *d, ModelStats *stats)
{
	int64		starts = 0;
	int64		only = d->open_number;

	dataset_end_series(d);
	for (int c = 0; c < d->features; c++)
		if (d->transforms.kind[c] == TRANSFORM_AUTO)
			d->transforms.kind[c] = TRANSFORM_NONE;
	shrink(d);
	d->facts.rows = d->nrows > 0 || d->nseries > 0 ? d->nrows : only;
	for (int i = 0; i < d->nruns; i++)
		starts += Max(d->runs[i].rows - d->plan.chunk_rows + 1, 0);
	if (starts == 0 || (d->nseries == 1 && d->series[0].held.blocks == 0))
		too_few_rows(d);
	refuse_unknown_feature(d);
	dataset_pool(d->options, d->ts_type, d->features, d->nseries, d->series, stats);
}

bool
dataset_finish_calibration(Dataset *d, const ModelStats *stats)
{
	DatasetSeries *s;

	dataset_end_series(d);
	shrink(d);
	d->facts.rows = d->nrows;
	if (d->nseries == 0)
		return false;
	s = &d->series[0];
	for (int c = 0; c < d->features; c++)
		if (s->known[c] == 0)
		{
			s->mean[c] = stats->mean[c];
			s->std[c] = stats->std[c];
		}
	if (s->step == 0)
	{
		s->step = stats->step;
		s->max_gap = stats->max_gap;
	}
	return true;
}

RunRange
dataset_all_runs(const Dataset *d)
{
	return (RunRange){0, d->nruns};
}

RunRange
dataset_series_runs(const Dataset *d, int first)
{
	RunRange	runs = {first, first + 1};

	while (runs.last < d->nruns && d->runs[runs.last].series == d->runs[first].series)
		runs.last++;
	return runs;
}

bool
dataset_held_out(const Dataset *d, const DatasetRun *run, int64 place, int64 *end)
{
	int64		rows;
	bool		held = held_out_stretch(&d->series[run->series].held, run->number + place, &rows);

	*end = Min(place + rows, run->rows);
	return held;
}

const uint8 *
dataset_imputed(const Dataset *d, int64 row)
{
	return d->imputed ? d->imputed + row * IMPUTED_BYTES(d->features) : NULL;
}
