/*
 * learn/fit_flatline.c
 *	  Flatlines: how little the features move in training (docs/model.md, Flatlines).
 *
 * The limit of a feature is a low quantile of its activity.  The evidence of a flatline is
 * scaled so that it is comparable with the mean raw score.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "learn/fit_flatline.h"
#include "pg/interrupts.h"

#define QUANTILE 0.01			/* of the activity of a feature: its limit */

Size
fit_flatline_bytes(const Model *m)
{
	return !m->plan.has_flatlines
		? 0
		: model_activity_bytes(m, m->features) + sizeof(float) * m->features;
}

/* Whether a row's raw score counts for figures. */
static bool
counts(const CalibrationRows *r, int64 row)
{
	/* false for NaN, too */
	return r->raw[row] >= 0 && calibration_rows_use(r, row) == ROW_KEPT;
}

/* ---- rows and their activities ------------------------------------------------------- */

/* What to do with the activities of a row. */
typedef void (*visit_row) (CalibrationRows *r, int64 row, const float *activity, void *arg);

/* The first row from `row` on with a raw score; `end` if there is none. */
static int64
next_scored(const CalibrationRows *r, int64 row, int64 end)
{
	for (; row < end && isnan(r->raw[row]); row++)
		CHECK_FOR_INTERRUPTS();
	return row;
}

/*
 * Visits the rows of a run that have a raw score, with the activities of `features` features
 * from `feature` on.
 */
static void
visit_activities(CalibrationRows *r, const DatasetRun *run, int feature, int features,
				 visit_row visit, void *arg)
{
	const Dataset *d = r->dataset;
	const int	rows = r->model->plan.activity_rows;
	const int64 end = run->first + run->rows;
	void	   *memory = palloc_extended(model_activity_bytes(r->model, features), MCXT_ALLOC_HUGE);
	float	   *activity = palloc(sizeof(float) * features);
	nn_activity *moved = model_activity_open(r->model, features, memory);

	for (int64 scored = next_scored(r, run->first, end); scored < end;)
	{
		int64		row = Max(run->first, scored - rows);

		nn_activity_reset(moved);
		for (; row < end && (row < scored || !isnan(r->raw[row])); row++)
		{
			uint8		one = NN_IMPUTED(dataset_imputed(d, row), feature);

			CHECK_FOR_INTERRUPTS();
			nn_activity_push(moved, d->rows + row * d->features + feature,
							 features == 1 ? &one : dataset_imputed(d, row), activity);
			if (row >= scored)
				visit(r, row, activity, arg);
		}
		scored = next_scored(r, row, end);
	}
	pfree(activity);
	pfree(memory);
}

/* ---- figures ------------------------------------------------------------------------- */

/* State of collect_activity(). */
typedef struct Collection
{
	int64		whole;			/* first row of the run whose activity covers all steps */
	int64		n;
} Collection;

static void
collect_row_activity(CalibrationRows *r, int64 row, const float *activity, void *arg)
{
	Collection *c = arg;

	if (row >= c->whole && counts(r, row) && !isnan(*activity))
		r->scratch[c->n++] = *activity;
}

/* Collects the activities of a feature in scratch; returns their number. */
static int64
collect_activity(CalibrationRows *r, RunRange runs, int feature)
{
	Collection	c = {.n = 0};

	for (int i = runs.first; i < runs.last; i++)
	{
		const DatasetRun *run = &r->dataset->runs[i];

		c.whole = run->first + r->model->plan.activity_rows;
		visit_activities(r, run, feature, 1, collect_row_activity, &c);
	}
	return c.n;
}

/* The mean raw score; NaN if no row has one. */
static double
mean_raw(const CalibrationRows *r, RunRange runs)
{
	const Dataset *d = r->dataset;
	double		sum = 0.0;
	int64		n = 0;

	for (int i = runs.first; i < runs.last; i++)
		for (int64 row = d->runs[i].first; row < d->runs[i].first + d->runs[i].rows; row++)
		{
			CHECK_FOR_INTERRUPTS();
			if (counts(r, row))
			{
				sum += r->raw[row];
				n++;
			}
		}
	return sum / n;
}

double
flatline_of_mean(const Model *m, double mean)
{
	return m->options.flatline_weight * mean / QUANTILE;
}

void
fit_flatlines(CalibrationRows *r, RunRange runs, ModelStats *stats)
{
	const Model *m = r->model;
	double		mean = mean_raw(r, runs);

	for (int c = 0; c < m->features; c++)
	{
		int64		n = collect_activity(r, runs, c);
		double		least;

		if (n == 0)
			continue;
		least = calibration_rows_quantile(r, n, QUANTILE);
		stats->activity[c] = calibration_rows_may_fall(r, stats) ? least
																 : Min(least, stats->activity[c]);
	}
	/* without the suspicious rows of a recalibration the mean is too low */
	if (!isnan(mean) && calibration_rows_may_fall(r, stats))
		stats->flatline = flatline_of_mean(m, mean);
}

/* ---- evidence ------------------------------------------------------------------------ */

static void
add_row_evidence(CalibrationRows *r, int64 row, const float *activity, void *arg)
{
	if (r->raw[row] >= 0)
		r->raw[row] += nn_flatline_evidence(arg, activity, dataset_imputed(r->dataset, row));
}

void
add_flatline_evidence(CalibrationRows *r, const DatasetRun *run, const ModelStats *stats)
{
	nn_calibration calibration = model_calibration(r->model, stats);

	visit_activities(r, run, 0, r->model->features, add_row_evidence, &calibration);
}
