/*
 * learn/calibrate.c
 *	  Calibration of a trained model on its training rows (docs/model.md, Score),
 *	  or on later ones (docs/recalibrate.md).
 *
 * Residuals and discrepancies of the held-out rows give rho and mu; raw scores
 * of all rows what flatlines are worth and, with their evidence, theta; anomaly scores
 * of both, each by themselves, the threshold.
 * In a fleet each series has these of its own, if it has enough rows.
 *
 * A recalibration does the same on later rows, of which the model's outputs were
 * recorded, and of which the suspicious do not count.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"

#include "learn/calibrate.h"
#include "learn/fit_flatline.h"
#include "score/predict.h"
#include "learn/fit_season.h"
#include "learn/threshold.h"

/*
 * Of more rows than these, only blocks evenly spread and those held out are passed
 * through the network for the scales of the horizons.
 */
#define ENOUGH_ROWS 262144
#define BLOCK_ROWS 2048

/* Sums over held-out rows, of a series or of all. */
typedef struct Sums
{
	double	   *residual;		/* (C) */
	int64	   *given;			/* (C) */
	double	   *signals;		/* (N) */
	int64		rows;
} Sums;

typedef struct Calibration
{
	Model	   *model;
	const Dataset *dataset;
	ModelStats **stats;			/* (series) where each one's figures go */
	bool	   *own;			/* (series) whether they are of its own rows */
	int			context;		/* rows that the model needs before a row; 0 when recorded */
	Prediction	prediction;
	float	   *expected;		/* (PREDICT_ROWS, C) */
	float	   *signals;		/* (PREDICT_ROWS, N) */
	int64		stride;			/* of so many blocks of rows one is calibrated on */
	RawScores	scores;			/* without recorded: the model is asked */
	Recalibrated *result;		/* NULL: a training */
} Calibration;

/* What to do with a row's outputs. */
typedef void (*visit_row) (Calibration *c, const DatasetRun *run, int64 row,
						   const float *expected, const float *signals, void *arg);

Size
calibrate_bytes(const Model *m, int64 rows)
{
	nn_shape	shape = model_shape(m);

	return predict_bytes(m) +
		(m->options.method == METHOD_AMAD ? nn_stream_bytes(&shape) : 0) +
		(options_states(&m->options) ? nn_state_stream_bytes(m->features) : 0) +
		PREDICT_ROWS * sizeof(float) * (2 * m->features + options_signals(&m->options)) +
		season_bytes(m) + flatline_bytes(m) +
		2 * sizeof(double) * rows;
}

/* Visits rows that the model need not be asked about. */
static void
visit_recorded(Calibration *c, const DatasetRun *run, int64 place, int64 end, visit_row visit,
			   void *arg)
{
	const int	C = c->model->features;
	const int	N = options_signals(&c->model->options);

	for (int64 row = run->first + place; row < run->first + end; row++)
	{
		CHECK_FOR_INTERRUPTS();
		visit(c, run, row, c->scores.recorded->expected + row * C,
			  N > 0 ? c->scores.recorded->signals + row * N : NULL, arg);
	}
}

/* Visits the rows of a run from place to end - 1 that have their whole context in it. */
static void
visit_run(Calibration *c, const DatasetRun *run, int64 place, int64 end, visit_row visit,
		  void *arg)
{
	const int	C = c->model->features;
	const int	N = options_signals(&c->model->options);
	int64		from = Max(0, place - c->context);

	if (c->scores.recorded)
	{
		visit_recorded(c, run, place, end, visit, arg);
		return;
	}
	predict_series_reset(&c->prediction);
	for (int64 at = from; at < end; at += PREDICT_ROWS)
	{
		int			n = (int) Min(end - at, PREDICT_ROWS);

		CHECK_FOR_INTERRUPTS();
		predict_push(&c->prediction, c->dataset->rows + (run->first + at) * C, n, c->expected,
					 c->signals);
		for (int i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (at + i >= place && at + i - from >= c->context)
				visit(c, run, run->first + at + i, c->expected + (size_t) i * C,
					  c->signals + (size_t) i * N, arg);
		}
	}
}

/* ---- which series have enough ------------------------------------------------------ */

/* Rows before a row that its score depends on. */
static int64
warmup(const Calibration *c)
{
	return c->context + options_max_horizon(&c->model->options) - 1;
}

/* Held-out rows of a run that have a score. */
static int64
scored_rows(const Calibration *c, const DatasetRun *run)
{
	int64		n = 0;

	for (int64 place = Max(warmup(c), threshold_held_place(&c->scores, run)); place < run->rows; place++)
	{
		CHECK_FOR_INTERRUPTS();
		n += threshold_use_of(&c->scores, run->first + place) != ROW_CONTEXT;
	}
	return n;
}

/* Rows with a score that figures need at least. */
static int64
least_rows(const Options *o)
{
	return (int64) ceil(Max(2 * options_max_horizon(o), 1 / o->contamination));
}

static void
too_few_scored(const Calibration *c, int64 scored)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("too few rows to recalibrate: " INT64_FORMAT, scored),
			 errdetail("At least " INT64_FORMAT " rows with a score are needed. A row has one when %d rows "
					   "precede it without a gap.", least_rows(&c->model->options),
					   options_warmup(&c->model->options, c->model->features)),
			 errhint("Give an earlier since or a greater last_n.")));
}

static void
find_own(Calibration *c)
{
	const Options *o = &c->model->options;
	int64		least = least_rows(o);
	int64	   *scored = palloc0(sizeof(int64) * c->dataset->nseries);
	int64		all = 0;

	for (int i = 0; i < c->dataset->nruns; i++)
	{
		scored[c->dataset->runs[i].series] += scored_rows(c, &c->dataset->runs[i]);
		all += scored_rows(c, &c->dataset->runs[i]);
	}
	for (int i = 0; i < c->dataset->nseries; i++)
		c->own[i] = scored[i] >= least && c->stats[i] != NULL;
	if (c->scores.recorded && all < least)
		too_few_scored(c, all);
	if (all > 0)
		return;
	if (c->scores.use_all)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no stretch of the training rows is long enough to be scored"),
				 errdetail("A row has a score when %d rows precede it without a gap.",
						   options_warmup(o, c->model->features)),
				 errhint("Choose a greater max_gap, or smaller values of the options window, layers "
						 "and horizons.")));
	c->scores.use_all = true;
	find_own(c);
}

/* What to do with the rows of runs first … last - 1, for the figures of whom they are. */
typedef void (*calibrate_runs) (Calibration *c, int first, int last, ModelStats *stats);

/* Does it for each series of a fleet that has figures of its own. */
static void
calibrate_own(Calibration *c, calibrate_runs runs)
{
	const Dataset *d = c->dataset;

	if (c->model->nseries == 0)
		return;
	for (int first = 0, last; first < d->nruns; first = last)
	{
		int			series = d->runs[first].series;

		last = dataset_series_end(d, first);
		if (c->own[series])
			runs(c, first, last, c->stats[series]);
	}
}

/* ---- rho and mu ------------------------------------------------------------------------ */

static void
clear(Sums *sums, int features, int signals)
{
	memset(sums->residual, 0, sizeof(double) * features);
	memset(sums->given, 0, sizeof(int64) * features);
	memset(sums->signals, 0, sizeof(double) * Max(signals, 1));
	sums->rows = 0;
}

static void
open_sums(Sums *sums, int features, int signals)
{
	sums->residual = palloc(sizeof(double) * features);
	sums->given = palloc(sizeof(int64) * features);
	sums->signals = palloc(sizeof(double) * Max(signals, 1));
	clear(sums, features, signals);
}

static void
add_row(Calibration *c, const DatasetRun *run, int64 row, const float *expected,
		const float *signals, void *arg)
{
	const int	C = c->model->features;
	const float *rows = c->dataset->rows + row * C;
	const uint8 *imputed = dataset_imputed(c->dataset, row);
	Sums	   *sums = arg;

	if (threshold_use_of(&c->scores, row) != ROW_KEPT)
		return;
	sums->rows++;
	for (int i = 0; i < C; i++)
	{
		double		r = (double) expected[i] - nn_clipped(c->model->options.clip, rows[i]);

		if (NN_IMPUTED(imputed, i))
			continue;
		sums->residual[i] += r * r;
		sums->given[i]++;
	}
	for (int n = 0; n < options_signals(&c->model->options); n++)
		sums->signals[n] += signals[n];
}

static void
add_sums(Sums *to, const Sums *from, int features, int signals)
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

/* A feature never given has the mean of the others. */
static void
set_means(const Calibration *c, const Sums *sums, ModelStats *stats)
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
		if (threshold_only_grows(&c->scores))
			rho[i] = sums->given[i] > 0 ? Max(rho[i], stats->rho[i]) : stats->rho[i];
	}
	memcpy(stats->rho, rho, sizeof(double) * m->features);
	for (int n = 0; n < options_signals(&m->options); n++)
	{
		double		mu = Max(sums->signals[n] / Max(sums->rows, 1), CALIBRATE_LEAST);

		stats->mu[n] = threshold_only_grows(&c->scores) ? Max(mu, stats->mu[n]) : mu;
	}
	pfree(rho);
}

static void
calibrate_means(Calibration *c)
{
	Model	   *m = c->model;
	const Dataset *d = c->dataset;
	const int	N = options_signals(&m->options);
	Sums		all;
	Sums		one;

	open_sums(&all, m->features, N);
	open_sums(&one, m->features, N);
	/* the runs of a series stand together */
	for (int i = 0; i < d->nruns; i++)
	{
		int			series = d->runs[i].series;

		visit_run(c, &d->runs[i], threshold_held_place(&c->scores, &d->runs[i]), d->runs[i].rows, add_row, &one);
		if (i + 1 < d->nruns && d->runs[i + 1].series == series)
			continue;
		if (c->own[series])
			set_means(c, &one, c->stats[series]);
		add_sums(&all, &one, m->features, N);
		clear(&one, m->features, N);
	}
	set_means(c, &all, &m->stats);
}

/* ---- season -------------------------------------------------------------------------------- */

/* Of the rows of runs; a training learns the season, too. */
static void
calibrate_season_of(Calibration *c, int first, int last, ModelStats *stats)
{
	ModelStats *all = &c->model->stats;

	if (c->scores.recorded == NULL)
		season_fit(c->model, c->dataset, first, last, stats == all ? NULL : all, stats);
	season_measure(c->model, c->dataset, first, last,
				   c->scores.recorded ? c->scores.recorded->use : NULL,
				   threshold_only_grows(&c->scores), stats);
}

static void
calibrate_season(Calibration *c)
{
	if (c->model->season.nperiods == 0)
		return;
	/* that of all first: series fall back on it */
	calibrate_season_of(c, 0, c->dataset->nruns, &c->model->stats);
	calibrate_own(c, calibrate_season_of);
}

/* ---- raw scores -------------------------------------------------------------------------- */

/* The figures that score a series. */
static const ModelStats *
stats_of(const Calibration *c, int series)
{
	return c->own[series] ? c->stats[series] : &c->model->stats;
}

static void
store_raw(Calibration *c, const DatasetRun *run, int64 row, const float *expected,
		  const float *signals, void *arg)
{
	nn_row		values = {
		.scaled = c->dataset->rows + row * c->model->features,
		.expected = expected,
		.signals = signals,
		.imputed = dataset_imputed(c->dataset, row),
		.time = c->dataset->ts[row],
	};

	c->scores.raw[row] = nn_raw_score(arg, &values, NULL);
}

/* Whether a row's block is among those that are calibrated on. */
static bool
chosen(const Calibration *c, const DatasetRun *run, int64 place)
{
	return (run->first + place) / BLOCK_ROWS % c->stride == 0 ||
		place >= threshold_held_place(&c->scores, run) - warmup(c);
}

/* End of the stretch of rows that begins at a place and is chosen, or is not, as the first is. */
static int64
stretch_end(const Calibration *c, const DatasetRun *run, int64 place)
{
	int64		end = place + 1;

	for (; end < run->rows && chosen(c, run, end) == chosen(c, run, place); end++)
		CHECK_FOR_INTERRUPTS();
	return end;
}

static void
calibrate_raw(Calibration *c)
{
	for (int64 row = 0; row < c->dataset->nrows; row++)
	{
		CHECK_FOR_INTERRUPTS();
		c->scores.raw[row] = NAN;
	}
	for (int i = 0; i < c->dataset->nruns; i++)
	{
		const DatasetRun *run = &c->dataset->runs[i];
		nn_calibration calibration = model_calibration(c->model, stats_of(c, run->series));

		for (int64 place = 0, end; place < run->rows; place = end)
		{
			end = stretch_end(c, run, place);
			if (chosen(c, run, place))
				visit_run(c, run, place, end, store_raw, &calibration);
		}
	}
}

/* ---- flatlines ----------------------------------------------------------------------------- */

static void
set_flatlines_of(Calibration *c, int first, int last, ModelStats *stats)
{
	flatline_set(&c->scores, first, last, stats);
}

/* Adds their evidence to the raw scores; unless they are to stay, sets the figures first. */
static void
calibrate_flatlines(Calibration *c)
{
	const Dataset *d = c->dataset;

	if (!options_flatline(&c->model->options))
		return;
	if (!threshold_alone(&c->scores))
	{
		calibrate_own(c, set_flatlines_of);
		set_flatlines_of(c, 0, d->nruns, &c->model->stats);
	}
	for (int i = 0; i < d->nruns; i++)
		flatline_add(&c->scores, &d->runs[i], stats_of(c, d->runs[i].series));
}

/* ---- series of a fleet ------------------------------------------------------------------------ */

static int
compare_keys(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();		/* qsort() is PostgreSQL's own: it may be left */
	return strcmp(((const ModelSeries *) a)->key, ((const ModelSeries *) b)->key);
}

/* Slots for the dataset's series in the model, in order of their keys. */
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
	qsort(m->series, m->nseries, sizeof(ModelSeries), compare_keys);
}

static void
copy_calibration(const Model *m, const ModelStats *from, ModelStats *to)
{
	const int	terms = nn_season_terms(&m->season);

	memcpy(to->rho, from->rho, sizeof(double) * m->features);
	memcpy(to->mu, from->mu, sizeof(double) * options_signals(&m->options));
	memcpy(to->theta, from->theta, sizeof(double) * m->options.nhorizons);
	to->flatline = from->flatline;
	memcpy(to->activity, from->activity, sizeof(double) * m->features);
	if (terms > 0)
	{
		memcpy(to->season, from->season, sizeof(double) * terms * m->features);
		memcpy(to->season_gain, from->season_gain, sizeof(double) * m->features);
		memcpy(to->season_spread, from->season_spread, sizeof(double) * m->features);
		memcpy(to->season_scale, from->season_scale, sizeof(double) * m->features);
	}
	to->threshold = from->threshold;
}

static void
set_threshold_of(Calibration *c, int first, int last, ModelStats *stats)
{
	threshold_set(&c->scores, first, last, stats, c->result);
}

/* Room for a calibration; the figures of series go to the model's. */
static Calibration
open_calibration(Model *m, const Dataset *d, const Recorded *recorded)
{
	Calibration c = {
		.model = m,
		.dataset = d,
		.own = palloc(sizeof(bool) * d->nseries),
		.stats = palloc(sizeof(ModelStats *) * d->nseries),
		.scores = {
			.model = m,
			.dataset = d,
			.recorded = recorded,
			.raw = palloc_extended(sizeof(double) * d->nrows, MCXT_ALLOC_HUGE),
			.scratch = palloc_extended(sizeof(double) * d->nrows, MCXT_ALLOC_HUGE),
		},
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
	c.context = options_context(&m->options, m->features);
	c.stride = (d->nrows + ENOUGH_ROWS - 1) / ENOUGH_ROWS;
	c.expected = palloc(sizeof(float) * PREDICT_ROWS * m->features);
	c.signals = palloc(sizeof(float) * PREDICT_ROWS * Max(options_signals(&m->options), 1));
	predict_series_open(&c.prediction, predict_open(m));
	find_own(&c);
	calibrate_means(&c);
	calibrate_season(&c);
	calibrate_raw(&c);
	calibrate_flatlines(&c);
	calibrate_own(&c, set_threshold_of);
	threshold_set(&c.scores, 0, d->nruns, &m->stats, NULL);
	for (int i = 0; i < m->nseries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!c.own[i])
			copy_calibration(m, &m->stats, c.stats[i]);
	}
}

void
calibrate_again(Model *m, const Dataset *d, const Recorded *recorded, Recalibrated *result)
{
	Calibration c = open_calibration(m, d, recorded);

	memset(result, 0, sizeof(*result));
	c.result = result;
	c.stride = 1;
	find_own(&c);
	if (!threshold_alone(&c.scores))
	{
		calibrate_means(&c);
		calibrate_season(&c);
	}
	calibrate_raw(&c);
	calibrate_flatlines(&c);
	calibrate_own(&c, set_threshold_of);
	threshold_set(&c.scores, 0, d->nruns, &m->stats, m->nseries == 0 ? result : NULL);
	for (int i = 0; i < d->nseries; i++)
		result->series += c.own[i];
	result->kept = Max(m->nseries, 1) - result->series;
}
