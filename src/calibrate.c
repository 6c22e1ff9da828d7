/*
 * calibrate.c
 *	  Calibration of a trained model on its training rows (docs/model.md, Score),
 *	  or on later ones (docs/recalibrate.md).
 *
 * Residuals and discrepancies of the held-out rows give rho and mu; raw scores
 * of all rows give theta; anomaly scores of both, each by themselves, the threshold.
 * In a fleet each series has these of its own, if it has enough rows.
 *
 * A recalibration does the same on later rows, of which the model's outputs were
 * recorded, and of which the suspicious do not count.
 */
#include "postgres.h"
#include "compat.h"

#include <math.h>

#include "miscadmin.h"

#include "calibrate.h"
#include "predict.h"
#include "season.h"

#define LEAST 1e-12				/* of a number that divides */

/*
 * Of more rows than these, only blocks evenly spread and those held out are passed
 * through the network for the scales of the horizons.
 */
#define ENOUGH_ROWS 262144
#define BLOCK_ROWS 2048

/* The fence of scores in a recalibration, chosen on real data: docs/recalibrate.md. */
#define FENCE 5.0
#define FENCE_QUANTILE 0.1
#define OLD_QUANTILE 0.95		/* where new scores are compared with old severities */

/* The threshold of a training, chosen on real data, too: docs/model.md, Score. */
#define HELD_WEIGHT 0.4			/* of the held-out rows' quantile, in the logarithm */
#define LEAST_HELD 0.1			/* of all rows' quantile: held-out rows may all be alike */

/* Sums over held-out rows, of a series or of all. */
typedef struct Sums
{
	double	   *residual;		/* (C) */
	int64	   *given;			/* (C) */
	double	   *discrepancy;	/* (N) */
	int64		rows;
} Sums;

typedef struct Calibration
{
	Model	   *model;
	const Dataset *dataset;
	ModelStats **stats;			/* (series) where each one's figures go */
	bool	   *own;			/* (series) whether they are of its own rows */
	bool		use_all;		/* no held-out row has a score: all rows count */
	const Recorded *recorded;	/* NULL: the model is asked, every row is ROW_KEPT */
	int			context;		/* rows that the model needs before a row; 0 when recorded */
	Prediction	prediction;
	float	   *expected;		/* (PREDICT_ROWS, C) */
	float	   *discrepancy;	/* (PREDICT_ROWS, N) */
	int64		stride;			/* of so many blocks of rows one is calibrated on */
	double	   *raw;			/* (rows) NaN: none */
	double	   *scratch;		/* (rows) */
	Recalibrated *result;		/* NULL: a training */
} Calibration;

/* What to do with a row's outputs. */
typedef void (*visit_row) (Calibration *c, const DatasetRun *run, int64 row,
						   const float *expected, const float *discrepancy, void *arg);

Size
calibrate_bytes(const Model *m, int64 rows)
{
	nn_shape	shape = model_shape(m);

	return predict_bytes(m) +
		(m->options.method == METHOD_AMAD ? nn_stream_bytes(&shape) : 0) +
		PREDICT_ROWS * sizeof(float) * (m->features + options_blocks(&m->options)) +
		season_bytes(m) +
		2 * sizeof(double) * rows;
}

/* Place in a run of its first row that is held out. */
static int64
held_place(const Calibration *c, const DatasetRun *run)
{
	return c->use_all ? 0 : dataset_training_rows(c->dataset, run);
}

static RowUse
use_of(const Calibration *c, int64 row)
{
	return c->recorded ? c->recorded->use[row] : ROW_KEPT;
}

/* Visits rows that the model need not be asked about. */
static void
visit_recorded(Calibration *c, const DatasetRun *run, int64 place, int64 end, visit_row visit,
			   void *arg)
{
	const int	C = c->model->features;
	const int	N = options_blocks(&c->model->options);

	for (int64 row = run->first + place; row < run->first + end; row++)
		visit(c, run, row, c->recorded->expected + row * C,
			  N > 0 ? c->recorded->discrepancy + row * N : NULL, arg);
	CHECK_FOR_INTERRUPTS();
}

/* Visits the rows of a run from place to end - 1 that have their whole context in it. */
static void
visit_run(Calibration *c, const DatasetRun *run, int64 place, int64 end, visit_row visit,
		  void *arg)
{
	const int	C = c->model->features;
	const int	N = options_blocks(&c->model->options);
	int64		from = Max(0, place - c->context);

	if (c->recorded)
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
					 c->discrepancy);
		for (int i = 0; i < n; i++)
			if (at + i >= place && at + i - from >= c->context)
				visit(c, run, run->first + at + i, c->expected + (size_t) i * C,
					  c->discrepancy + (size_t) i * N, arg);
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

	for (int64 place = Max(warmup(c), held_place(c, run)); place < run->rows; place++)
		n += use_of(c, run->first + place) != ROW_CONTEXT;
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
	if (c->recorded && all < least)
		too_few_scored(c, all);
	if (all > 0)
		return;
	if (c->use_all)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no stretch of the training rows is long enough to be scored"),
				 errdetail("A row has a score when %d rows precede it without a gap.",
						   options_warmup(o, c->model->features)),
				 errhint("Choose a greater max_gap, or smaller values of the options window, layers "
						 "and horizons.")));
	c->use_all = true;
	find_own(c);
}

/* ---- rho and mu ------------------------------------------------------------------------ */

static void
clear(Sums *sums, int features, int blocks)
{
	memset(sums->residual, 0, sizeof(double) * features);
	memset(sums->given, 0, sizeof(int64) * features);
	memset(sums->discrepancy, 0, sizeof(double) * Max(blocks, 1));
	sums->rows = 0;
}

static void
open_sums(Sums *sums, int features, int blocks)
{
	sums->residual = palloc(sizeof(double) * features);
	sums->given = palloc(sizeof(int64) * features);
	sums->discrepancy = palloc(sizeof(double) * Max(blocks, 1));
	clear(sums, features, blocks);
}

static void
add_row(Calibration *c, const DatasetRun *run, int64 row, const float *expected,
		const float *discrepancy, void *arg)
{
	const int	C = c->model->features;
	const float *scaled = c->dataset->rows + row * C;
	const uint8 *imputed = dataset_imputed(c->dataset, row);
	Sums	   *sums = arg;

	if (use_of(c, row) != ROW_KEPT)
		return;
	sums->rows++;
	for (int i = 0; i < C; i++)
	{
		double		r = (double) expected[i] - scaled[i];

		if (NN_IMPUTED(imputed, i))
			continue;
		sums->residual[i] += r * r;
		sums->given[i]++;
	}
	for (int n = 0; n < options_blocks(&c->model->options); n++)
		sums->discrepancy[n] += discrepancy[n];
}

static void
add_sums(Sums *to, const Sums *from, int features, int blocks)
{
	for (int i = 0; i < features; i++)
	{
		to->residual[i] += from->residual[i];
		to->given[i] += from->given[i];
	}
	for (int n = 0; n < blocks; n++)
		to->discrepancy[n] += from->discrepancy[n];
	to->rows += from->rows;
}

/*
 * Figures of recent rows do not fall below those they had: a short quiet time, its
 * suspicious rows left out, knows less than the training of how far values go.
 */
static bool
only_grows(const Calibration *c)
{
	return c->recorded != NULL && c->recorded->trim > 0;
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
	floor = Max(mean * m->options.residual_floor, LEAST);
	for (int i = 0; i < m->features; i++)
	{
		rho[i] = Max(sums->given[i] > 0 ? rho[i] : mean, floor);
		if (only_grows(c))
			rho[i] = sums->given[i] > 0 ? Max(rho[i], stats->rho[i]) : stats->rho[i];
	}
	memcpy(stats->rho, rho, sizeof(double) * m->features);
	for (int n = 0; n < options_blocks(&m->options); n++)
	{
		double		mu = Max(sums->discrepancy[n] / Max(sums->rows, 1), LEAST);

		stats->mu[n] = only_grows(c) ? Max(mu, stats->mu[n]) : mu;
	}
	pfree(rho);
}

static void
calibrate_means(Calibration *c)
{
	Model	   *m = c->model;
	const Dataset *d = c->dataset;
	const int	N = options_blocks(&m->options);
	Sums		all;
	Sums		one;

	open_sums(&all, m->features, N);
	open_sums(&one, m->features, N);
	/* the runs of a series stand together */
	for (int i = 0; i < d->nruns; i++)
	{
		int			series = d->runs[i].series;

		visit_run(c, &d->runs[i], held_place(c, &d->runs[i]), d->runs[i].rows, add_row, &one);
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
calibrate_season_of(Calibration *c, int first, int last, const ModelStats *others,
					ModelStats *stats)
{
	if (c->recorded == NULL)
		season_fit(c->model, c->dataset, first, last, others, stats);
	season_measure(c->model, c->dataset, first, last, c->recorded ? c->recorded->use : NULL,
				   only_grows(c), stats);
}

static void
calibrate_season(Calibration *c)
{
	const Dataset *d = c->dataset;
	ModelStats *all = &c->model->stats;

	if (c->model->season.nperiods == 0)
		return;
	calibrate_season_of(c, 0, d->nruns, NULL, all);
	if (c->model->nseries == 0)
		return;
	for (int first = 0, last; first < d->nruns; first = last)
	{
		int			series = d->runs[first].series;

		last = dataset_series_end(d, first);
		if (c->own[series])
			calibrate_season_of(c, first, last, all, c->stats[series]);
	}
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
		  const float *discrepancy, void *arg)
{
	c->raw[row] = nn_raw_score(arg, c->dataset->rows + row * c->model->features, expected,
							   discrepancy, dataset_imputed(c->dataset, row), c->dataset->ts[row],
							   NULL);
}

/* Whether a row's block is among those that are calibrated on. */
static bool
chosen(const Calibration *c, const DatasetRun *run, int64 place)
{
	return (run->first + place) / BLOCK_ROWS % c->stride == 0 ||
		place >= held_place(c, run) - warmup(c);
}

/* End of the stretch of rows that begins at a place and is chosen, or is not, as the first is. */
static int64
stretch_end(const Calibration *c, const DatasetRun *run, int64 place)
{
	int64		end = place + 1;

	while (end < run->rows && chosen(c, run, end) == chosen(c, run, place))
		end++;
	return end;
}

static void
calibrate_raw(Calibration *c)
{
	for (int64 row = 0; row < c->dataset->nrows; row++)
		c->raw[row] = NAN;
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

/* ---- theta and threshold -------------------------------------------------------------------- */

/*
 * The values that a quantile is taken of, into scratch; their number.  They are of
 * the runs first … last - 1: the mean of h raw scores up to every row …
 */
static int64
collect_means(Calibration *c, int first, int last, int h)
{
	int64		n = 0;

	for (int i = first; i < last; i++)
	{
		const DatasetRun *run = &c->dataset->runs[i];
		int64		have = 0;	/* rows with a raw score up to this one */

		for (int64 row = run->first; row < run->first + run->rows; row++)
		{
			double		sum = 0.0;
			int			given = 0;

			CHECK_FOR_INTERRUPTS();
			have = isnan(c->raw[row]) ? 0 : have + 1;
			if (have < h || use_of(c, row) != ROW_KEPT)
				continue;
			for (int back = 0; back < h; back++)
				if (c->raw[row - back] != NN_NO_SCORE)
				{
					sum += c->raw[row - back];
					given++;
				}
			if (given > 0)
				c->scratch[n++] = sum / given;
		}
	}
	return n;
}

/* … or the anomaly score of every row, or of those held out. */
typedef struct Scores
{
	Calibration *c;
	const DatasetRun *run;
	bool		held;
	nn_horizons horizons;
	int			waiting;		/* newest rows of the stretch that have no score yet */
	int64		n;
} Scores;

/* The score of a row so many rows before the newest, if it counts. */
static void
collect_score(Scores *s, int64 place, int back)
{
	double		score;

	if ((s->held && place < held_place(s->c, s->run)) ||
		use_of(s->c, s->run->first + place) == ROW_CONTEXT)
		return;
	score = nn_horizons_score(&s->horizons, back);
	if (!isnan(score))
		s->c->scratch[s->n++] = score;
}

/* The stretch ends before a place: the rows that wait for others have their scores, too. */
static void
end_stretch(Scores *s, int64 place)
{
	for (; s->waiting > 0; s->waiting--)
		collect_score(s, place - s->waiting, s->waiting - 1);
	nn_horizons_reset(&s->horizons);
}

static int64
collect_scores(Calibration *c, int first, int last, const ModelStats *stats, bool held)
{
	const int	lookahead = c->model->options.lookahead;
	nn_calibration calibration = model_calibration(c->model, stats);
	double	   *ring = palloc(sizeof(double) * nn_max_horizon(&calibration));
	Scores		s = {.c = c, .held = held};

	nn_horizons_open(&s.horizons, &calibration, ring);
	for (int i = first; i < last; i++)
	{
		s.run = &c->dataset->runs[i];
		for (int64 place = 0; place < s.run->rows; place++)
		{
			double		raw = c->raw[s.run->first + place];

			CHECK_FOR_INTERRUPTS();
			if (isnan(raw))
			{
				end_stretch(&s, place);
				continue;
			}
			nn_horizons_add(&s.horizons, raw);
			if (s.waiting == lookahead)
				collect_score(&s, place - lookahead, lookahead);
			else
				s.waiting++;
		}
		end_stretch(&s, s.run->rows);
	}
	pfree(ring);
	return s.n;
}

static void
set_theta(Calibration *c, int first, int last, ModelStats *stats)
{
	const Options *o = &c->model->options;

	for (int i = 0; i < o->nhorizons; i++)
	{
		int64		n = collect_means(c, first, last, o->horizons[i]);

		if (n == 0 && c->recorded)
			continue;			/* the old one is better than none */
		stats->theta[i] = n == 0 ? LEAST
			: Max(nn_quantile(c->scratch, n, o->horizon_quantile), LEAST);
	}
}

/*
 * The threshold from the scores of the rows held out, of which n are in scratch, and
 * from those of all rows.  The first are as new ones are, but of one time, quiet or
 * not; the others are of all times, but most were learned.  What errs is a factor,
 * so it is a geometric mean of both.
 */
static double
threshold_of_training(Calibration *c, int first, int last, const ModelStats *stats, int64 n)
{
	double		share = c->model->options.contamination;
	double		held = nn_quantile(c->scratch, n, 1.0 - share);
	double		all;

	n = collect_scores(c, first, last, stats, false);
	all = nn_quantile(c->scratch, n, 1.0 - share);
	return pow(Max(held, LEAST_HELD * all), HELD_WEIGHT) * pow(all, 1.0 - HELD_WEIGHT);
}

/* The severities that the rows with a new score had, into scratch; their number. */
static int64
collect_severities(Calibration *c, int first, int last)
{
	int64		n = 0;

	for (int i = first; i < last; i++)
	{
		const DatasetRun *run = &c->dataset->runs[i];

		for (int64 place = options_max_horizon(&c->model->options) - 1; place < run->rows; place++)
		{
			int64		row = run->first + place;

			if (use_of(c, row) != ROW_CONTEXT && !isnan(c->recorded->severity[row]))
				c->scratch[n++] = c->recorded->severity[row];
		}
	}
	return n;
}

/* A quantile of these severities, to compare scores with; 0: the threshold may fall. */
static double
old_severity(Calibration *c, int first, int last)
{
	int64		n = only_grows(c) && !c->recorded->new_contamination
		? collect_severities(c, first, last) : 0;

	return n == 0 ? 0.0 : nn_quantile(c->scratch, n, OLD_QUANTILE);
}

/*
 * The threshold from n recent scores in scratch.  Anomalies among them, trim of all at
 * most, must not raise it: it is not above a fence that the lower half sets,
 * m·(m / q)^FENCE with the median m and the 0.1 quantile q, unless more than trim
 * of the scores were.
 */
static double
threshold_of_recent(Calibration *c, int64 n, double severity)
{
	double		share = c->model->options.contamination;
	double		threshold = nn_quantile(c->scratch, n, 1.0 - share);

	if (c->recorded->trim > share)
	{
		double		median = nn_quantile(c->scratch, n, 0.5);
		double		low = Max(nn_quantile(c->scratch, n, FENCE_QUANTILE), LEAST);
		double		fence = median * pow(median / low, FENCE);

		threshold = Max(nn_quantile(c->scratch, n, 1.0 - c->recorded->trim),
						Min(threshold, fence));
	}
	/* nor is it where the rows had a severity below 1 */
	if (severity > 0)
		threshold = Max(threshold, nn_quantile(c->scratch, n, OLD_QUANTILE) / severity);
	return threshold;
}

/* Adds scores, those above the threshold, to what is told of a recalibration. */
static void
count_flagged(const Calibration *c, int64 n, double threshold)
{
	c->result->rows += n;
	for (int64 i = 0; i < n; i++)
		c->result->flagged += c->scratch[i] >= threshold;
}

/* counted: the scores are those told of */
static void
calibrate_scores(Calibration *c, int first, int last, ModelStats *stats, bool counted)
{
	double		severity = old_severity(c, first, last);
	int64		n;

	if (c->recorded == NULL || !c->recorded->threshold_only)
		set_theta(c, first, last, stats);
	n = collect_scores(c, first, last, stats, true);
	stats->threshold = n == 0 ? 1.0
		: c->recorded ? threshold_of_recent(c, n, severity)
		: threshold_of_training(c, first, last, stats, n);
	stats->threshold = Max(stats->threshold, LEAST);
	if (counted && c->result)
		count_flagged(c, n, stats->threshold);
}

/* ---- series of a fleet ------------------------------------------------------------------------ */

static int
compare_keys(const void *a, const void *b)
{
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
	memcpy(to->mu, from->mu, sizeof(double) * options_blocks(&m->options));
	memcpy(to->theta, from->theta, sizeof(double) * m->options.nhorizons);
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
calibrate_series(Calibration *c)
{
	const Dataset *d = c->dataset;

	for (int first = 0, last; first < d->nruns; first = last)
	{
		int			series = d->runs[first].series;

		last = dataset_series_end(d, first);
		if (c->own[series])
			calibrate_scores(c, first, last, c->stats[series], true);
	}
}

/* Room for a calibration; the figures of series go to the model's. */
static Calibration
open_calibration(Model *m, const Dataset *d)
{
	Calibration c = {
		.model = m,
		.dataset = d,
		.own = palloc(sizeof(bool) * d->nseries),
		.stats = palloc(sizeof(ModelStats *) * d->nseries),
		.raw = palloc_extended(sizeof(double) * d->nrows, MCXT_ALLOC_HUGE),
		.scratch = palloc_extended(sizeof(double) * d->nrows, MCXT_ALLOC_HUGE),
	};

	for (int i = 0; i < d->nseries; i++)
		c.stats[i] = m->nseries > 0 ? (ModelStats *) model_series_stats(m, d->series[i].key)
			: &m->stats;
	return c;
}

void
calibrate_model(Model *m, const Dataset *d)
{
	Calibration c;

	create_series(m, d);
	c = open_calibration(m, d);
	c.context = options_context(&m->options, m->features);
	c.stride = (d->nrows + ENOUGH_ROWS - 1) / ENOUGH_ROWS;
	c.expected = palloc(sizeof(float) * PREDICT_ROWS * m->features);
	c.discrepancy = palloc(sizeof(float) * PREDICT_ROWS * Max(options_blocks(&m->options), 1));
	predict_series_open(&c.prediction, predict_open(m));
	find_own(&c);
	calibrate_means(&c);
	calibrate_season(&c);
	calibrate_raw(&c);
	if (m->nseries > 0)
		calibrate_series(&c);
	calibrate_scores(&c, 0, d->nruns, &m->stats, true);
	for (int i = 0; i < m->nseries; i++)
		if (!c.own[i])
			copy_calibration(m, &m->stats, c.stats[i]);
}

void
calibrate_again(Model *m, const Dataset *d, const Recorded *recorded, Recalibrated *result)
{
	Calibration c = open_calibration(m, d);

	memset(result, 0, sizeof(*result));
	c.recorded = recorded;
	c.result = result;
	c.stride = 1;
	find_own(&c);
	if (!recorded->threshold_only)
	{
		calibrate_means(&c);
		calibrate_season(&c);
	}
	calibrate_raw(&c);
	if (m->nseries > 0)
		calibrate_series(&c);
	calibrate_scores(&c, 0, d->nruns, &m->stats, m->nseries == 0);
	for (int i = 0; i < d->nseries; i++)
		result->series += c.own[i];
	result->kept = Max(m->nseries, 1) - result->series;
}
