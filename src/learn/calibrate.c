/*
 * learn/calibrate.c
 *	  Calibration of a model, on its training rows (docs/model.md, Score) or on later
 *	  ones (docs/recalibrate.md).
 *
 * Figures are computed in this order, as each step needs those before it:
 *
 *	1. rho and mu: mean residuals and signals of the held-out rows
 *	2. season: weights from training rows, its scale from all rows (fit_season.c)
 *	3. raw scores of all rows, or of a sample of blocks when there are very many
 *	4. flatlines: limits of activity, and their evidence in the raw scores (fit_flatline.c)
 *	5. theta of each horizon and the threshold (threshold.c)
 *
 * A series of a fleet gets its own figures if it has enough rows, otherwise those of all
 * series together.  Recalibration runs the same steps on recorded rows; calibration_rows.h
 * decides which rows count and whether figures can fall.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"

#include "learn/calibrate.h"
#include "learn/fit_flatline.h"
#include "learn/fit_season.h"

/* With more rows, only evenly spread blocks and held-out rows get a raw score. */
#define ENOUGH_ROWS 262144
#define BLOCK_ROWS 2048

/* Sums over the held-out rows of one series, or of all. */
typedef struct ResidualSums
{
	double	   *residual;		/* (C) */
	int64	   *given;			/* (C) */
	double	   *signals;		/* (N) */
	int64		rows;
} ResidualSums;

typedef struct Calibration
{
	Model	   *model;
	const Dataset *dataset;
	ModelStats **stats;			/* (series) the figures of each series */
	bool	   *own;			/* (series) whether it has enough rows for its own figures */
	int64		stride;			/* one of `stride` blocks of rows gets raw scores */
	CalibrationRows rows;
	Recalibrated *result;		/* NULL: a training */
} Calibration;

Size
calibrate_bytes(const Model *m, int64 rows)
{
	return calibration_rows_bytes(m, rows) + fit_season_bytes(m) + fit_flatline_bytes(m);
}

Size
recalibrate_bytes(const Model *m, int64 rows)
{
	return 2 * sizeof(double) * rows + fit_flatline_bytes(m);
}

/* ---- which series have enough ------------------------------------------------------ */

/* The number of held-out rows of a run that have a score. */
static int64
count_scored_rows(const Calibration *c, const DatasetRun *run)
{
	int64		n = 0;

	for (int64 place =
			 Max(calibration_rows_warmup(&c->rows), calibration_rows_held_place(&c->rows, run));
		 place < run->rows; place++)
	{
		CHECK_FOR_INTERRUPTS();
		n += calibration_rows_use(&c->rows, run->first + place) != ROW_CONTEXT;
	}
	return n;
}

int64
calibrate_least_rows(const Options *o)
{
	return (int64) ceil(Max(2 * o->horizons[o->nhorizons - 1], 1 / o->contamination));
}

static void
report_too_few_scored(const Calibration *c, int64 scored)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("too few rows to recalibrate: " INT64_FORMAT, scored),
			 errdetail("At least " INT64_FORMAT
					   " rows with a score are needed. A row has a score if %d rows "
					   "precede it without a gap.",
					   calibrate_least_rows(&c->model->options), c->model->plan.warmup),
			 errhint("Specify an earlier since or a greater last_n.")));
}

/* Decides which series have enough rows for their own figures. */
static void
find_own_series(Calibration *c)
{
	const Options *o = &c->model->options;
	int64		least = calibrate_least_rows(o);
	int64	   *scored = palloc0(sizeof(int64) * c->dataset->nseries);
	int64		most = 0;
	int64		all = 0;

	for (int i = 0; i < c->dataset->nruns; i++)
	{
		scored[c->dataset->runs[i].series] += count_scored_rows(c, &c->dataset->runs[i]);
		all += count_scored_rows(c, &c->dataset->runs[i]);
	}
	for (int i = 0; i < c->dataset->nseries; i++)
	{
		c->own[i] = scored[i] >= least && c->stats[i] != NULL;
		most = Max(most, scored[i]);
	}
	if (c->rows.recorded && (calibration_rows_of_all(&c->rows) ? all : most) < least)
		report_too_few_scored(c, calibration_rows_of_all(&c->rows) ? all : most);
	if (all > 0)
		return;
	if (c->rows.use_all)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no gap-free run of training rows is long enough to be scored"),
				 errdetail("A row has a score if %d rows precede it without a gap.",
						   c->model->plan.warmup),
				 errhint(
					 "Choose a greater max_gap, or smaller values of the options window, layers "
					 "and horizons.")));
	c->rows.use_all = true;
	find_own_series(c);
}

/* Computes figures from runs into stats. */
typedef void (*calibrate_runs) (Calibration *c, RunRange runs, ModelStats *stats);

/* Does so for each series of a fleet that has enough rows. */
static void
calibrate_each_series(Calibration *c, calibrate_runs compute)
{
	const Dataset *d = c->dataset;

	if (c->model->nseries == 0)
		return;
	for (RunRange runs = dataset_series_runs(d, 0); runs.first < d->nruns;
		 runs = dataset_series_runs(d, runs.last))
	{
		int			series = d->runs[runs.first].series;

		if (c->own[series])
			compute(c, runs, c->stats[series]);
	}
}

/* ---- rho and mu ------------------------------------------------------------------------ */

static void
clear_sums(ResidualSums *sums, int features, int signals)
{
	memset(sums->residual, 0, sizeof(double) * features);
	memset(sums->given, 0, sizeof(int64) * features);
	memset(sums->signals, 0, sizeof(double) * Max(signals, 1));
	sums->rows = 0;
}

static void
open_sums(ResidualSums *sums, int features, int signals)
{
	sums->residual = palloc(sizeof(double) * features);
	sums->given = palloc(sizeof(int64) * features);
	sums->signals = palloc(sizeof(double) * Max(signals, 1));
	clear_sums(sums, features, signals);
}

/* Adds the residuals and signals of a row to sums. */
static void
add_residuals(const CalibrationRows *rows, int64 row, const float *expected, const float *signals,
			  void *arg)
{
	const int	C = rows->model->features;
	const float *values = rows->dataset->rows + row * C;
	const uint8 *imputed = dataset_imputed(rows->dataset, row);
	ResidualSums *sums = arg;

	if (calibration_rows_use(rows, row) != ROW_KEPT)
		return;
	sums->rows++;
	for (int i = 0; i < C; i++)
	{
		double		r = (double) expected[i] - nn_clipped(rows->model->options.clip, values[i]);

		if (NN_IMPUTED(imputed, i))
			continue;
		sums->residual[i] += r * r;
		sums->given[i]++;
	}
	for (int n = 0; n < rows->model->plan.signals; n++)
		sums->signals[n] += signals[n];
}

static void
add_sums(ResidualSums *to, const ResidualSums *from, int features, int signals)
{
	for (int i = 0; i < features; i++)
	{
		to->residual[i] += from->residual[i];
		to->given[i] += from->given[i];
	}
	for (int n = 0; n < signals; n++)
		to->signals[n] += from->signals[n];
	to->rows += from->rows;
}

/* Sets rho and mu.  A feature without values gets the mean of the others. */
static void
set_means(const Calibration *c, const ResidualSums *sums, ModelStats *stats)
{
	const Model *m = c->model;
	double	   *rho = palloc(sizeof(double) * m->features);
	double		mean = 0.0;
	double		floor;
	int			features = 0;

	for (int i = 0; i < m->features; i++)
		if (sums->given[i] > 0)
		{
			rho[i] = sums->residual[i] / sums->given[i];
			mean += rho[i];
			features++;
		}
	mean = features > 0 ? mean / features : 1.0;
	floor = Max(mean * m->options.residual_floor, CALIBRATE_LEAST);
	for (int i = 0; i < m->features; i++)
	{
		rho[i] = Max(sums->given[i] > 0 ? rho[i] : mean, floor);
		if (!calibration_rows_may_fall(&c->rows, stats))
			rho[i] = sums->given[i] > 0 ? Max(rho[i], stats->rho[i]) : stats->rho[i];
	}
	memcpy(stats->rho, rho, sizeof(double) * m->features);
	for (int n = 0; n < m->plan.signals; n++)
	{
		double		mu = Max(sums->signals[n] / Max(sums->rows, 1), CALIBRATE_LEAST);

		stats->mu[n] = calibration_rows_may_fall(&c->rows, stats) ? mu : Max(mu, stats->mu[n]);
	}
	pfree(rho);
}

static void
calibrate_means(Calibration *c)
{
	Model	   *m = c->model;
	const Dataset *d = c->dataset;
	const int	N = m->plan.signals;
	ResidualSums all;
	ResidualSums one;

	open_sums(&all, m->features, N);
	open_sums(&one, m->features, N);
	/* the runs of a series are consecutive */
	for (int i = 0; i < d->nruns; i++)
	{
		int			series = d->runs[i].series;

		calibration_rows_visit(&c->rows, &d->runs[i],
							   calibration_rows_held_place(&c->rows, &d->runs[i]), d->runs[i].rows,
							   add_residuals, &one);
		if (i + 1 < d->nruns && d->runs[i + 1].series == series)
			continue;
		if (c->own[series])
			set_means(c, &one, c->stats[series]);
		add_sums(&all, &one, m->features, N);
		clear_sums(&one, m->features, N);
	}
	if (calibration_rows_of_all(&c->rows))
		set_means(c, &all, &m->stats);
}

/* ---- season -------------------------------------------------------------------------------- */

/* A training computes the weights of the season; both measure how well it fits. */
static void
calibrate_season_runs(Calibration *c, RunRange runs, ModelStats *stats)
{
	ModelStats *all = &c->model->stats;

	if (c->rows.recorded == NULL)
		fit_season_weights(c->model, c->dataset, runs, stats == all ? NULL : all, stats);
	fit_season_spread(&c->rows, runs, stats);
}

static void
calibrate_season(Calibration *c)
{
	if (c->model->season.nperiods == 0)
		return;
	/* first that of all rows, which series with few rows take over */
	if (calibration_rows_of_all(&c->rows))
		calibrate_season_runs(c, dataset_all_runs(c->dataset), &c->model->stats);
	calibrate_each_series(c, calibrate_season_runs);
}

/* ---- raw scores -------------------------------------------------------------------------- */

/* The figures that a series is scored with. */
static const ModelStats *
scoring_stats(const Calibration *c, int series)
{
	return c->own[series] ? c->stats[series] : &c->model->stats;
}

/* Stores the raw score of a row, still without evidence of flatlines. */
static void
store_raw_score(const CalibrationRows *rows, int64 row, const float *expected, const float *signals,
				void *arg)
{
	nn_row		values = {
		.scaled = rows->dataset->rows + row * rows->model->features,
		.expected = expected,
		.signals = signals,
		.imputed = dataset_imputed(rows->dataset, row),
		.time = rows->dataset->ts[row],
	};

	rows->raw[row] = nn_raw_score(arg, &values, NULL);
}

/* Whether the row at a place of a run gets a raw score. */
static bool
is_chosen(const Calibration *c, const DatasetRun *run, int64 place)
{
	return (run->first + place) / BLOCK_ROWS % c->stride == 0 ||
		place >= calibration_rows_held_place(&c->rows, run) - calibration_rows_warmup(&c->rows);
}

/* The end of the rows from a place on that are all chosen, or all not. */
static int64
find_chosen_end(const Calibration *c, const DatasetRun *run, int64 place)
{
	int64		end = place + 1;

	for (; end < run->rows && is_chosen(c, run, end) == is_chosen(c, run, place); end++)
		CHECK_FOR_INTERRUPTS();
	return end;
}

static void
calibrate_raw(Calibration *c)
{
	for (int64 row = 0; row < c->dataset->nrows; row++)
	{
		CHECK_FOR_INTERRUPTS();
		c->rows.raw[row] = NAN;
	}
	for (int i = 0; i < c->dataset->nruns; i++)
	{
		const DatasetRun *run = &c->dataset->runs[i];
		nn_calibration calibration = model_calibration(c->model, scoring_stats(c, run->series));

		for (int64 place = 0, end; place < run->rows; place = end)
		{
			end = find_chosen_end(c, run, place);
			if (is_chosen(c, run, place))
				calibration_rows_visit(&c->rows, run, place, end, store_raw_score, &calibration);
		}
	}
}

/* ---- flatlines ----------------------------------------------------------------------------- */

static void
fit_flatline_runs(Calibration *c, RunRange runs, ModelStats *stats)
{
	fit_flatlines(&c->rows, runs, stats);
}

/* Computes the figures of flatlines, then adds their evidence to the raw scores. */
static void
calibrate_flatlines(Calibration *c)
{
	const Dataset *d = c->dataset;

	if (!c->model->plan.has_flatlines)
		return;
	if (!calibration_rows_threshold_only(&c->rows))
	{
		calibrate_each_series(c, fit_flatline_runs);
		if (calibration_rows_of_all(&c->rows))
			fit_flatline_runs(c, dataset_all_runs(d), &c->model->stats);
	}
	for (int i = 0; i < d->nruns; i++)
		add_flatline_evidence(&c->rows, &d->runs[i], scoring_stats(c, d->runs[i].series));
}

/* ---- series of a fleet ------------------------------------------------------------------------ */

/* Creates the series of the model, in order of their keys, with their scaling. */
static void
create_series(Model *m, const Dataset *d)
{
	if (d->series[0].key == NULL)
		return;
	model_create_series(m, d->nseries);
	for (int i = 0; i < d->nseries; i++)
	{
		ModelStats *s = &m->series[i].stats;

		CHECK_FOR_INTERRUPTS();
		m->series[i].key = pstrdup(d->series[i].key);
		memcpy(s->mean, d->series[i].mean, sizeof(double) * m->features);
		memcpy(s->std, d->series[i].std, sizeof(double) * m->features);
		s->step = d->series[i].step;
		s->max_gap = d->series[i].max_gap;
	}
	model_sort_series(m);
}

static void
fit_threshold_runs(Calibration *c, RunRange runs, ModelStats *stats)
{
	fit_threshold(&c->rows, runs, stats, c->result);
}

static Calibration
open_calibration(Model *m, const Dataset *d, const Recorded *recorded)
{
	Calibration c = {
		.model = m,
		.dataset = d,
		.own = palloc(sizeof(bool) * d->nseries),
		.stats = palloc(sizeof(ModelStats *) * d->nseries),
		.rows = calibration_rows_open(m, d, recorded),
	};

	for (int i = 0; i < d->nseries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		c.stats[i] = m->nseries > 0 ? (ModelStats *) model_series_stats(m, d->series[i].key)
									: &m->stats;
	}
	return c;
}

void
calibrate_model(Model *m, const Dataset *d)
{
	Calibration c;

	create_series(m, d);
	c = open_calibration(m, d, NULL);
	c.stride = (d->nrows + ENOUGH_ROWS - 1) / ENOUGH_ROWS;
	find_own_series(&c);
	calibrate_means(&c);
	calibrate_season(&c);
	calibrate_raw(&c);
	calibrate_flatlines(&c);
	calibrate_each_series(&c, fit_threshold_runs);
	fit_threshold(&c.rows, dataset_all_runs(d), &m->stats, NULL);
	for (int i = 0; i < m->nseries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!c.own[i])
			figures_copy_calibration(&m->sizes, &m->stats, c.stats[i]);
	}
}

void
recalibrate_model(Model *m, const Dataset *d, const Recorded *recorded, Recalibrated *result)
{
	Calibration c = open_calibration(m, d, recorded);

	memset(result, 0, sizeof(*result));
	c.result = result;
	c.stride = 1;
	find_own_series(&c);
	if (!calibration_rows_threshold_only(&c.rows))
	{
		calibrate_means(&c);
		calibrate_season(&c);
	}
	calibrate_raw(&c);
	calibrate_flatlines(&c);
	calibrate_each_series(&c, fit_threshold_runs);
	if (calibration_rows_of_all(&c.rows))
		fit_threshold(&c.rows, dataset_all_runs(d), &m->stats, m->nseries == 0 ? result : NULL);
	for (int i = 0; i < d->nseries; i++)
		result->series += c.own[i];
	result->kept = Max(m->nseries, 1) - result->series;
}
