/*
 * learn/calibrate.c
 *	  Calibration of a model, on its training rows (docs/model.md, Score) or on later
 *	  ones (docs/recalibrate.md).
 *
 * Figures are computed in this order, as each step needs those before it:
 *
 *	1. rho and mu: mean residuals and signals, and rho while features are missing
 *	2. relations between features: their matrix and means (fit_relations.c)
 *	3. season: weights from training rows, its scale from all rows (fit_season.c)
 *	4. raw scores
 *	5. flatlines: limits of activity, and their evidence in the raw scores (fit_flatline.c)
 *	6. the limit of relations, and their evidence in the raw scores
 *	7. the evidence that recurs at a time of day or week, by which raw scores are divided
 *	   (fit_recurrence.c), and their highest level (fit_level.c)
 *	8. theta of each horizon and the threshold (threshold.c)
 *
 * When there are very many rows, a sample of blocks and the held-out rows are used.
 * A series of a fleet gets its own figures if it has enough rows, otherwise those of all
 * series together.
 *
 * When the rows of all series do not fit in memory, or are in different places, series are
 * calibrated one by one, each on its own rows (calibrate_series()).  Then the figures of all
 * series are computed from a summary of each (calibrate_merged()).
 *
 * Recalibration runs the same steps on recorded rows; calibration_rows.h
 * decides which rows count and whether figures can fall.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"

#include "core/evidence/relations.h"
#include "core/rng.h"
#include "learn/calibrate.h"
#include "learn/corrupt_chunk.h"
#include "learn/fit_flatline.h"
#include "learn/fit_level.h"
#include "learn/fit_recurrence.h"
#include "learn/fit_relations.h"
#include "learn/fit_season.h"
#include "pg/progress.h"

/* With more rows, only evenly spread blocks and held-out rows are used. */
#define ENOUGH_ROWS 262144
#define BLOCK_ROWS 2048

/* Sums over rows. */
typedef struct ResidualSums
{
	double	   *residual;		/* (C) */
	int64	   *given;			/* (C) */
	double	   *signals;		/* (N) */
	int64		rows;
} ResidualSums;

/* Sums over the rows of one series, or of all. */
typedef struct MeanSums
{
	const DatasetRun *run;		/* whose rows are being added */
	ResidualSums all;
	ResidualSums held_out;		/* rows that were not learned */
} MeanSums;

typedef struct Calibration
{
	Model	   *model;
	const Dataset *dataset;
	ModelStats **stats;			/* (series) the figures of each series */
	bool	   *own;			/* (series) whether it has enough rows for its own figures */
	int64		stride;			/* one of `stride` blocks of rows is used */
	int64		profiles;		/* of recurrence that series were found to have */
	CalibrationRows rows;
	SeriesSummary *summary;		/* of a single series; NULL: figures of all rows are computed */
	Recalibrated *result;		/* NULL: a training */
} Calibration;

Size
calibrate_bytes(const Model *m, int64 rows)
{
	return calibration_rows_bytes(m, rows) + fit_season_bytes(m) + fit_flatline_bytes(m) +
		fit_relations_bytes(m, rows);
}

Size
recalibrate_bytes(const Model *m, int64 rows)
{
	return 2 * sizeof(double) * rows + fit_flatline_bytes(m) + fit_relations_bytes(m, rows);
}

/* ---- which series have enough ------------------------------------------------------ */

/* Rows that have a score. */
typedef struct ScoredRows
{
	int64		all;
	int64		held_out;		/* those that were not learned */
} ScoredRows;

/* Adds those of a run. */
static void
count_scored_rows(const Calibration *c, const DatasetRun *run, ScoredRows *scored)
{
	for (int64 place = calibration_rows_warmup(&c->rows), end; place < run->rows; place = end)
	{
		bool		held_out = calibration_rows_held_out(&c->rows, run, place, &end);

		for (int64 row = run->first + place; row < run->first + end; row++)
		{
			CHECK_FOR_INTERRUPTS();
			if (calibration_rows_use(&c->rows, row) == ROW_CONTEXT)
				continue;
			scored->all++;
			scored->held_out += held_out;
		}
	}
}

int64
calibrate_least_rows(const Options *o)
{
	return (int64) ceil(Max(2 * o->horizons[o->nhorizons - 1], 1 / o->contamination));
}

void
calibrate_check_scored(const Model *m, int64 scored)
{
	if (scored >= calibrate_least_rows(&m->options))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("too few rows to recalibrate: " INT64_FORMAT, scored),
			 errdetail("At least " INT64_FORMAT
					   " rows with a score are needed. A row has a score if %d rows "
					   "precede it without a gap.",
					   calibrate_least_rows(&m->options), model_warmup(m)),
			 errhint("Specify an earlier since or a greater last_n.")));
}

/* Decides which series have enough rows for their own figures. */
static void
find_own_series(Calibration *c)
{
	const Options *o = &c->model->options;
	int64		least = calibrate_least_rows(o);
	ScoredRows *scored = palloc0(sizeof(ScoredRows) * c->dataset->nseries);
	ScoredRows	sum = {.all = 0};
	int64		most = 0;

	for (int i = 0; i < c->dataset->nruns; i++)
		count_scored_rows(c, &c->dataset->runs[i], &scored[c->dataset->runs[i].series]);
	for (int i = 0; i < c->dataset->nseries; i++)
	{
		c->own[i] = scored[i].all >= least && scored[i].held_out > 0 && c->stats[i] != NULL;
		sum.all += scored[i].all;
		sum.held_out += scored[i].held_out;
		most = Max(most, scored[i].all);
	}
	if (c->result)
	{
		c->result->most = calibration_rows_of_all(&c->rows) ? sum.all : most;
		if (c->result->most < least && c->rows.recorded->part)
			return;
		calibrate_check_scored(c->model, c->result->most);
	}
	if (sum.held_out > 0 || c->summary)
		return;
	if (c->rows.use_all)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no gap-free run of training rows is long enough to be scored"),
				 errdetail("A row has a score if %d rows precede it without a gap.",
						   model_warmup(c->model)),
				 errhint(
					 "Choose a greater max_gap, or smaller values of the options window, layers "
					 "and horizons.")));
	c->rows.use_all = true;
	find_own_series(c);
}

/* Computes figures from runs into stats. */
typedef void (*calibrate_runs) (Calibration *c, RunRange runs, ModelStats *stats);

/* Does so for each series with enough rows; all: even if only its threshold changes. */
static void
calibrate_each_series(Calibration *c, calibrate_runs compute, bool all)
{
	const Dataset *d = c->dataset;

	if (c->model->nseries == 0 && c->summary == NULL)
		return;
	for (RunRange runs = dataset_series_runs(d, 0); runs.first < d->nruns;
		 runs = dataset_series_runs(d, runs.last))
	{
		int			series = d->runs[runs.first].series;

		if (c->own[series] && (all || calibration_rows_refit(&c->rows, runs)))
			compute(c, runs, c->stats[series]);
	}
}

/* Whether figures of all rows other than the threshold are computed. */
static bool
refits_all(const Calibration *c)
{
	return c->summary == NULL && calibration_rows_of_all(&c->rows) &&
		calibration_rows_refit(&c->rows, dataset_all_runs(c->dataset));
}

/* The same for figures other than the threshold, then for all rows together. */
static void
calibrate_scales(Calibration *c, calibrate_runs compute)
{
	calibrate_each_series(c, compute, false);
	if (refits_all(c))
		compute(c, dataset_all_runs(c->dataset), &c->model->stats);
}

/* The figures that a series is scored with. */
static const ModelStats *
scoring_stats(const Calibration *c, int series)
{
	return c->own[series] ? c->stats[series] : &c->model->stats;
}

/* ---- rows to visit ------------------------------------------------------------------ */

/* Whether the row at a place of a run is used: held-out rows and those that their scores need are. */
static bool
is_chosen(const Calibration *c, const DatasetRun *run, int64 place)
{
	int64		end;

	return (run->first + place) / BLOCK_ROWS % c->stride == 0 ||
		calibration_rows_held_out(&c->rows, run, place, &end) ||
		(end < run->rows && end - place <= calibration_rows_warmup(&c->rows));
}

/* Visits the rows of a run that are used, of those that have their context. */
static void
visit_chosen_rows(Calibration *c, const DatasetRun *run, calibration_visit visit, void *arg)
{
	for (int64 place = 0, end; place < run->rows; place = end)
	{
		bool		chosen = is_chosen(c, run, place);

		for (end = place + 1; end < run->rows && is_chosen(c, run, end) == chosen; end++)
			CHECK_FOR_INTERRUPTS();
		if (chosen)
			calibration_rows_visit(&c->rows, run, place, end, visit, arg);
	}
}

/* Visits the rows of a run that were not learned. */
static void
visit_held_out_rows(Calibration *c, const DatasetRun *run, calibration_visit visit, void *arg)
{
	for (int64 place = 0, end; place < run->rows; place = end)
		if (calibration_rows_held_out(&c->rows, run, place, &end))
			calibration_rows_visit(&c->rows, run, place, end, visit, arg);
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

static void
open_mean_sums(MeanSums *sums, int features, int signals)
{
	sums->run = NULL;
	open_sums(&sums->all, features, signals);
	open_sums(&sums->held_out, features, signals);
}

/* Adds the residuals and signals of a row to sums. */
static void
add_residuals(const CalibrationRows *rows, int64 row, const float *expected, const float *signals,
			  void *arg)
{
	const int	C = rows->model->features;
	const float *values = rows->dataset->rows + row * C;
	ResidualSums *sums = arg;

	sums->rows++;
	for (int i = 0; i < C; i++)
	{
		double		r = (double) expected[i] - nn_clipped(rows->model->options.clip, values[i]);

		if (NN_IMPUTED(rows->imputed, i))
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

/* The greater of the means over all rows and over those that were not learned. */
static double
greater_mean(double all, int64 nall, double held_out, int64 nheld_out)
{
	return Max(all / Max(nall, 1), held_out / Max(nheld_out, 1));
}

/*
 * Sets rho and mu.  Rows that were not learned have greater residuals, as new rows will
 * have, but they are few, and what is rare may not occur among them.  A feature without
 * values gets the mean of the others.
 */
static void
set_means(const Calibration *c, const MeanSums *sums, ModelStats *stats)
{
	const Model *m = c->model;
	double	   *rho = palloc(sizeof(double) * m->features);
	double		mean = 0.0;
	double		floor;
	int			features = 0;

	for (int i = 0; i < m->features; i++)
		if (sums->all.given[i] > 0)
		{
			rho[i] = greater_mean(sums->all.residual[i], sums->all.given[i],
								  sums->held_out.residual[i], sums->held_out.given[i]);
			mean += rho[i];
			features++;
		}
	mean = features > 0 ? mean / features : 1.0;
	floor = Max(mean * m->options.residual_floor, CALIBRATE_LEAST);
	for (int i = 0; i < m->features; i++)
	{
		bool		given = sums->all.given[i] > 0;

		rho[i] = Max(given ? rho[i] : mean, floor);
		if (!calibration_rows_may_fall(&c->rows, stats))
			rho[i] = given ? Max(rho[i], stats->rho[i]) : stats->rho[i];
	}
	memcpy(stats->rho, rho, sizeof(double) * m->features);
	for (int i = 0; i < m->features; i++)
		stats->rho_incomplete[i] = Max(rho[i], stats->rho_incomplete[i]);
	for (int n = 0; n < m->plan.signals; n++)
	{
		double mu = greater_mean(sums->all.signals[n], sums->all.rows, sums->held_out.signals[n],
								 sums->held_out.rows);

		mu = Max(mu, CALIBRATE_LEAST);
		stats->mu[n] = calibration_rows_may_fall(&c->rows, stats) ? mu : Max(mu, stats->mu[n]);
	}
	pfree(rho);
}

/* Adds the residuals and signals of a row to those of its series. */
static void
add_mean_row(const CalibrationRows *rows, int64 row, const float *expected, const float *signals,
			 void *arg)
{
	MeanSums   *sums = arg;
	int64		end;

	if (calibration_rows_use(rows, row) != ROW_KEPT)
		return;
	add_residuals(rows, row, expected, signals, &sums->all);
	if (calibration_rows_held_out(rows, sums->run, row - sums->run->first, &end))
		add_residuals(rows, row, expected, signals, &sums->held_out);
}

static void
summarize_residuals(const ResidualSums *sums, SummaryCount rows, SummaryGiven given,
					SummarySum	residual, SeriesSummary *summary)
{
	summary->counts[rows] = sums->rows;
	memcpy(summary->given[given], sums->given, sizeof(int64) * summary->features);
	memcpy(summary->sums[residual], sums->residual, sizeof(double) * summary->features);
}

static void
summarize_means(const MeanSums *sums, SeriesSummary *summary)
{
	summarize_residuals(&sums->all, SUMMARY_PREDICTED, SUMMARY_GIVEN, SUMMARY_RESIDUAL, summary);
	summarize_residuals(&sums->held_out, SUMMARY_PREDICTED_HELD_OUT, SUMMARY_GIVEN_HELD_OUT,
						SUMMARY_RESIDUAL_HELD_OUT, summary);
	memcpy(summary->signal, sums->all.signals, sizeof(double) * summary->signals);
	memcpy(summary->signal_held_out, sums->held_out.signals, sizeof(double) * summary->signals);
}

/* The sums of a summary. */
static ResidualSums
residual_sums(const SeriesSummary *s, SummaryCount rows, SummaryGiven given, SummarySum residual,
			  double *signals)
{
	return (ResidualSums){
		.residual = s->sums[residual],
		.given = s->given[given],
		.signals = signals,
		.rows = s->counts[rows],
	};
}

static void
calibrate_means(Calibration *c)
{
	Model	   *m = c->model;
	const Dataset *d = c->dataset;
	const int	N = m->plan.signals;
	MeanSums	all;
	MeanSums	one;

	open_mean_sums(&all, m->features, N);
	open_mean_sums(&one, m->features, N);
	/* the runs of a series are consecutive */
	for (int i = 0; i < d->nruns; i++)
	{
		int			series = d->runs[i].series;

		one.run = &d->runs[i];
		visit_chosen_rows(c, &d->runs[i], add_mean_row, &one);
		if (i + 1 < d->nruns && d->runs[i + 1].series == series)
			continue;
		if (c->own[series] && calibration_rows_refit(&c->rows, (RunRange){i, i + 1}))
			set_means(c, &one, c->stats[series]);
		add_sums(&all.all, &one.all, m->features, N);
		add_sums(&all.held_out, &one.held_out, m->features, N);
		clear_sums(&one.all, m->features, N);
		clear_sums(&one.held_out, m->features, N);
	}
	if (refits_all(c))
		set_means(c, &all, &m->stats);
	if (c->summary)
		summarize_means(&all, c->summary);
}

/* ---- rho while features are missing ---------------------------------------------------- */

#define RNG_DROPPED 3			/* stream of random numbers for the features that are dropped */
#define DROPS 3					/* times that held-out rows lose features */

/* Raises rho_incomplete to the mean residuals in sums. */
static void
set_rho_incomplete(const Model *m, const ResidualSums *sums, ModelStats *stats)
{
	for (int i = 0; i < m->features; i++)
		if (sums->given[i] > 0)
			stats->rho_incomplete[i] = Max(stats->rho_incomplete[i],
										   sums->residual[i] / sums->given[i]);
}

/*
 * Takes random features away from the rows that were not learned, and measures the residuals
 * of the others.
 */
static void
calibrate_incomplete(Calibration *c)
{
	Model	   *m = c->model;
	const Dataset *d = c->dataset;
	const int	ndropped = Min(CORRUPT_FEATURES, m->features - 1);
	int			dropped[CORRUPT_FEATURES];
	ResidualSums all;
	ResidualSums one;
	nn_rng		rng;

	/* what the z-score expects of a feature does not depend on the others */
	if (m->features == 1 || m->options.method == METHOD_ZSCORE)
		return;
	open_sums(&one, m->features, m->plan.signals);
	open_sums(&all, m->features, m->plan.signals);
	nn_rng_seed(&rng, m->options.seed, RNG_DROPPED);
	c->rows.dropped = dropped;
	for (int i = 0; i < d->nruns; i++)
	{
		const DatasetRun *run = &d->runs[i];

		for (int64 place = 0, end; place < run->rows; place = end)
		{
			if (!calibration_rows_held_out(&c->rows, run, place, &end))
				continue;
			for (int drop = 0; drop < DROPS; drop++)
			{
				for (int k = 0; k < ndropped; k++)
					dropped[k] = (int) nn_rng_below(&rng, m->features);
				c->rows.ndropped = ndropped;
				calibration_rows_visit(&c->rows, run, place, end, add_residuals, &one);
			}
		}
		if (i + 1 < d->nruns && d->runs[i + 1].series == run->series)
			continue;
		if (c->own[run->series])
			set_rho_incomplete(m, &one, c->stats[run->series]);
		add_sums(&all, &one, m->features, m->plan.signals);
		clear_sums(&one, m->features, m->plan.signals);
	}
	if (c->summary)
		summarize_residuals(&all, SUMMARY_INCOMPLETE, SUMMARY_GIVEN_INCOMPLETE,
							SUMMARY_RESIDUAL_INCOMPLETE, c->summary);
	else
		set_rho_incomplete(m, &all, &m->stats);
	c->rows.ndropped = 0;
}

/* ---- relations ---------------------------------------------------------------------------- */

static void
calibrate_relation_means(Calibration *c, RunRange runs, ModelStats *stats)
{
	RelationFit fit = open_relation_means(c->model);

	for (int i = runs.first; i < runs.last; i++)
	{
		const DatasetRun *run = &c->dataset->runs[i];

		fit.calibration = model_calibration(c->model, scoring_stats(c, run->series));
		visit_held_out_rows(c, run, add_relation_terms, &fit);
	}
	if (c->summary)
	{
		memcpy(c->summary->given[SUMMARY_GIVEN_RELATION], fit.given,
			   sizeof(int64) * c->model->features);
		memcpy(c->summary->sums[SUMMARY_RELATION], fit.mean, sizeof(double) * c->model->features);
	}
	close_relation_means(&fit, &c->rows, stats);
}

/* A training fits the matrix, and both compute the means of the terms. */
static void
calibrate_relations(Calibration *c)
{
	const Dataset *d = c->dataset;
	RelationFit fit;

	if (!c->model->plan.has_relations)
		return;
	if (c->summary)
	{
		/* computed for the summary in any case */
		ModelStats	unused = {.relation_mean = palloc0(sizeof(double) * c->model->features)};

		calibrate_relation_means(c, dataset_all_runs(d), c->own[0] ? c->stats[0] : &unused);
		return;
	}
	if (c->rows.recorded == NULL)
	{
		fit = open_relation_matrix(c->model);
		for (int i = 0; i < d->nruns; i++)
		{
			fit.calibration = model_calibration(c->model, scoring_stats(c, d->runs[i].series));
			fit.std = c->stats[d->runs[i].series]->std;
			visit_held_out_rows(c, &d->runs[i], add_relation_residuals, &fit);
		}
		close_relation_matrix(&fit, c->model);
	}
	calibrate_scales(c, calibrate_relation_means);
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
	if (refits_all(c))
		calibrate_season_runs(c, dataset_all_runs(c->dataset), &c->model->stats);
	if (c->summary)
		fit_season_summarize(&c->rows, dataset_all_runs(c->dataset), c->summary);
	calibrate_each_series(c, calibrate_season_runs, false);
}

/* ---- raw scores -------------------------------------------------------------------------- */

/* Stores the raw score of a row, still without evidence of flatlines and relations. */
static void
store_raw_score(const CalibrationRows *rows, int64 row, const float *expected, const float *signals,
				void *arg)
{
	nn_row		values = {
		.scaled = rows->dataset->rows + row * rows->model->features,
		.expected = expected,
		.signals = signals,
		.imputed = rows->imputed,
		.incomplete = rows->incomplete,
		.time = model_calendar_time(rows->model, rows->dataset->ts[row]),
	};
	float		terms[NN_RELATION_FEATURES];

	rows->raw[row] = nn_raw_score(arg, &values, NULL);
	if (rows->relation)
		rows->relation[row] = nn_row_relation(arg, &values, terms);
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

		calibration.relation = 0;
		calibration.recurrence = NULL;
		visit_chosen_rows(c, run, store_raw_score, &calibration);
	}
}

/* ---- evidence added to the raw scores ----------------------------------------------------- */

static void
fit_flatline_runs(Calibration *c, RunRange runs, ModelStats *stats)
{
	fit_flatlines(&c->rows, runs, stats);
}

static void
fit_relation_limit_runs(Calibration *c, RunRange runs, ModelStats *stats)
{
	fit_relation_limit(&c->rows, runs, stats);
}

/* Adds evidence to the raw scores of a run. */
typedef void (*add_run_evidence) (CalibrationRows *rows, const DatasetRun *run,
								 const ModelStats *stats);

/* Computes the figures of a kind of evidence, then adds it to the raw scores. */
static void
calibrate_evidence(Calibration *c, calibrate_runs fit, add_run_evidence add)
{
	const Dataset *d = c->dataset;

	calibrate_scales(c, fit);
	for (int i = 0; i < d->nruns; i++)
		add(&c->rows, &d->runs[i], scoring_stats(c, d->runs[i].series));
}

/* Adds the raw scores so far to the summary; relation: and the relations of the same rows. */
static void
summarize_raw(const Calibration *c, double *sum, bool relation)
{
	int64		n = 0;

	for (int64 row = 0; c->summary && row < c->dataset->nrows; row++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!(c->rows.raw[row] >= 0))
			continue;
		*sum += c->rows.raw[row];
		n++;
		if (relation)
			nn_sketch_add(c->summary->sketches[SUMMARY_ROW_RELATION], c->rows.relation[row]);
	}
	if (c->summary)
		c->summary->counts[SUMMARY_RAW] = n;
}

static void
calibrate_added_evidence(Calibration *c)
{
	if (c->summary)
		summarize_raw(c, &c->summary->raw, false);
	if (c->model->plan.has_flatlines)
		calibrate_evidence(c, fit_flatline_runs, add_flatline_evidence);
	if (c->summary && c->model->plan.has_relations)
		summarize_raw(c, &c->summary->raw_relation, true);
	if (c->model->plan.has_relations)
		calibrate_evidence(c, fit_relation_limit_runs, add_relation_evidence);
}

/* ---- recurrence and levels ----------------------------------------------------------------------- */

static void
fit_recurrence_runs(Calibration *c, RunRange runs, ModelStats *stats)
{
	const ModelStats *all = &c->model->stats;

	fit_recurrence(&c->rows, runs, stats == all ? NULL : all, stats);
	if (stats != all && stats->profile == PROFILE_OWN &&
		++c->profiles > figures_most_profiles(&c->model->sizes))
		take_recurrence(all, stats);
}

static void
report_profiles(const Calibration *c)
{
	const int64 most = figures_most_profiles(&c->model->sizes);

	if (c->profiles > most)
		ereport(NOTICE,
				(errmsg("what recurs was learned for " INT64_FORMAT " of the " INT64_FORMAT
						" series in which something recurs",
						most, c->profiles),
				 errdetail("The others have what recurs in all rows."),
				 errhint("Raise maintenance_work_mem to learn it for more series.")));
}

/* The profile is that of the training: recent rows are too few for one. */
static void
calibrate_recurrence(Calibration *c)
{
	const Dataset *d = c->dataset;

	if (c->model->sizes.count[FIGURE_RECURRENCE_BINS] == 0)
		return;
	if (c->rows.recorded == NULL)
	{
		/* first that of all rows, which short series take over */
		if (c->summary == NULL)
			fit_recurrence_runs(c, dataset_all_runs(d), &c->model->stats);
		calibrate_each_series(c, fit_recurrence_runs, true);
		report_profiles(c);
	}
	for (int i = 0; i < d->nruns; i++)
		apply_recurrence(&c->rows, &d->runs[i], scoring_stats(c, d->runs[i].series));
}

static void
fit_level_runs(Calibration *c, RunRange runs, ModelStats *stats)
{
	fit_level(&c->rows, runs, stats);
}

static void
calibrate_levels(Calibration *c)
{
	if (c->model->plan.has_levels && c->rows.recorded == NULL)
		calibrate_scales(c, fit_level_runs);
	if (c->model->plan.has_levels && c->summary)
	{
		ModelStats	level = {.level = c->stats[0]->level};

		if (!c->own[0])
			fit_level(&c->rows, dataset_all_runs(c->dataset), &level);
		c->summary->level = level.level;
	}
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
		c.stats[i] = (ModelStats *) model_known_stats(m, d->series[i].key);
	}
	return c;
}

double
calibrate_passed_rows(const Model *m, const Dataset *d, double scale)
{
	const double rows = scale * d->nrows;
	const double stride = Max(ceil(rows / ENOUGH_ROWS), 1);
	double		held_out = 0;
	double		all;

	for (int i = 0; i < d->nruns; i++)
		for (int64 place = 0, end; place < d->runs[i].rows; place = end)
			if (dataset_held_out(d, &d->runs[i], place, &end))
				held_out += end - place + m->plan.context;
	held_out *= scale;
	all = rows / stride + (stride > 1 ? held_out : 0);
	return 2 * all +			/* means, raw scores */
		(m->features > 1 && m->options.method != METHOD_ZSCORE ? DROPS * held_out : 0) +
		(m->plan.has_relations ? (d->series[0].key ? 3 : 2) * held_out : 0);
}

/* The steps of a training, but for the threshold of all rows. */
static void
calibrate_training(Calibration *c)
{
	find_own_series(c);
	calibrate_means(c);
	calibrate_incomplete(c);
	calibrate_relations(c);
	calibrate_season(c);
	calibrate_raw(c);
	calibrate_added_evidence(c);
	calibrate_recurrence(c);
	calibrate_levels(c);
	calibrate_each_series(c, fit_threshold_runs, true);
}

void
calibrate_model(Model *m, const Dataset *d)
{
	Calibration c;

	progress_phase(PROGRESS_CALIBRATING, calibrate_passed_rows(m, d, 1), 0);
	create_series(m, d);
	c = open_calibration(m, d, NULL);
	c.stride = (d->nrows + ENOUGH_ROWS - 1) / ENOUGH_ROWS;
	calibrate_training(&c);
	fit_threshold(&c.rows, dataset_all_runs(d), &m->stats, NULL);
	for (int i = 0; i < m->nseries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!c.own[i])
			figures_copy_calibration(&m->sizes, &m->stats, c.stats[i]);
	}
}

/* ---- one series after another -------------------------------------------------------------- */

/* Counts the anomaly scores of the rows with theta of all series. */
static void
summarize_scores(Calibration *c, SummarySketch number, bool held_out)
{
	int64 n = threshold_collect_scores(&c->rows, dataset_all_runs(c->dataset), &c->model->stats,
									   held_out);

	for (int64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		nn_sketch_add(c->summary->sketches[number], c->rows.scratch[i]);
	}
}

bool
calibrate_series(Model *m, const Dataset *d, ModelStats *stats, SeriesSummary *summary)
{
	Calibration c = open_calibration(m, d, NULL);

	c.stride = Max((d->nrows + ENOUGH_ROWS - 1) / ENOUGH_ROWS, 1);
	c.stats[0] = stats;
	c.summary = summary;
	calibrate_training(&c);
	summarize_scores(&c, SUMMARY_SCORE, false);
	summarize_scores(&c, SUMMARY_SCORE_HELD_OUT, true);
	return c.own[0];
}

static void
merge_means(const Calibration *c, const SeriesSummary *s)
{
	Model	   *m = c->model;
	const MeanSums sums = {
		.all = residual_sums(s, SUMMARY_PREDICTED, SUMMARY_GIVEN, SUMMARY_RESIDUAL, s->signal),
		.held_out = residual_sums(s, SUMMARY_PREDICTED_HELD_OUT, SUMMARY_GIVEN_HELD_OUT,
								  SUMMARY_RESIDUAL_HELD_OUT, s->signal_held_out),
	};
	const ResidualSums incomplete = residual_sums(s, SUMMARY_INCOMPLETE, SUMMARY_GIVEN_INCOMPLETE,
												  SUMMARY_RESIDUAL_INCOMPLETE, NULL);

	memset(m->stats.rho_incomplete, 0, sizeof(double) * m->features);
	set_means(c, &sums, &m->stats);
	set_rho_incomplete(m, &incomplete, &m->stats);
}

static void
merge_added_evidence(const Calibration *c, const SeriesSummary *s)
{
	Model	   *m = c->model;
	const double rows = s->counts[SUMMARY_RAW];

	if (m->plan.has_flatlines)
		m->stats.flatline = flatline_of_mean(m, s->raw / rows);
	if (m->plan.has_relations)
	{
		RelationFit fit = open_relation_means(m);

		memcpy(fit.mean, s->sums[SUMMARY_RELATION], sizeof(double) * m->features);
		memcpy(fit.given, s->given[SUMMARY_GIVEN_RELATION], sizeof(int64) * m->features);
		close_relation_means(&fit, &c->rows, &m->stats);
		m->stats.relation = m->options.relation_weight * s->raw_relation / rows;
		m->stats.relation_limit = relation_limit_of_quantile(
			nn_sketch_quantile(s->sketches[SUMMARY_ROW_RELATION], relation_quantile));
	}
}

static void
merge_threshold(Model *m, const SeriesSummary *s)
{
	const nn_sketch *scores = s->sketches[SUMMARY_SCORE];
	const int64 n = (int64) Min(scores->n, PG_INT64_MAX);
	double		held[THRESHOLD_GAPS];
	double		all[THRESHOLD_GAPS];
	double		high = nn_sketch_quantile(scores, 1.0 - threshold_share(m, n));

	for (int i = 0; i < THRESHOLD_GAPS; i++)
	{
		held[i] = nn_sketch_quantile(s->sketches[SUMMARY_SCORE_HELD_OUT],
									 threshold_gap_quantiles[i]);
		all[i] = nn_sketch_quantile(scores, threshold_gap_quantiles[i]);
	}
	m->stats.threshold = Max(threshold_of_quantiles(held, all, high, n), CALIBRATE_LEAST);
}

void
calibrate_merged(Model *m, const SeriesSummary *s)
{
	/* it has no rows: figures are those of a training, which may fall */
	const Calibration c = {.model = m, .rows = {.model = m}};

	if (s->counts[SUMMARY_PREDICTED_HELD_OUT] == 0 || s->counts[SUMMARY_RAW] == 0 ||
		s->sketches[SUMMARY_SCORE_HELD_OUT]->n == 0)
		return;
	merge_means(&c, s);
	if (m->season.nperiods > 0)
		fit_season_merged(m, s);
	merge_added_evidence(&c, s);
	if (m->plan.has_levels)
		m->stats.level = s->level;
	merge_threshold(m, s);
}

void
recalibrate_model(Model *m, const Dataset *d, const Recorded *recorded, Recalibrated *result)
{
	Calibration c = open_calibration(m, d, recorded);

	progress_phase(PROGRESS_CALIBRATING, 0, 0);
	memset(result, 0, sizeof(*result));
	c.result = result;
	c.stride = 1;
	find_own_series(&c);
	calibrate_means(&c);
	calibrate_relations(&c);
	calibrate_season(&c);
	calibrate_raw(&c);
	calibrate_added_evidence(&c);
	calibrate_recurrence(&c);
	calibrate_each_series(&c, fit_threshold_runs, true);
	if (calibration_rows_of_all(&c.rows))
		fit_threshold(&c.rows, dataset_all_runs(d), &m->stats, m->nseries == 0 ? result : NULL);
	for (int i = 0; i < d->nseries; i++)
		result->series += c.own[i];
	result->kept = Max(m->nseries, 1) - result->series;
}
