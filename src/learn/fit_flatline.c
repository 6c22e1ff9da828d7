/*
 * learn/fit_flatline.c
 *	  How little the features of a training move (docs/model.md, Flatlines).
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>


#include "core/evidence/quantile.h"
#include "learn/fit_flatline.h"
#include "pg/interrupts.h"

#define QUANTILE 0.01			/* of the activity of a feature: less is hardly ever */

Size
flatline_bytes(const Model *m)
{
	return !options_flatline(&m->options) ? 0
		: model_activity_bytes(m, m->features) + sizeof(float) * m->features;
}

/* Whether a row's raw score counts for figures. */
static bool
counts(const RawScores *r, int64 row)
{
	/* false for NaN, too */
	return r->raw[row] >= 0 && threshold_use_of(r, row) == ROW_KEPT;
}

/* ---- rows and their activities ------------------------------------------------------- */

/* What to do with a row's activities. */
typedef void (*visit_row) (RawScores *r, int64 row, const float *activity, void *arg);

/* First row from some row on that has a raw score, or the end. */
static int64
next_scored(const RawScores *r, int64 row, int64 end)
{
	for (; row < end && isnan(r->raw[row]); row++)
		CHECK_FOR_INTERRUPTS();
	return row;
}

/*
 * Visits the rows of a run that have a raw score with the activities of some of the
 * features.  Of many rows only some blocks have one: those between are left out.
 */
static void
visit_run(RawScores *r, const DatasetRun *run, int feature, int features, visit_row visit, void *arg)
{
	const Dataset *d = r->dataset;
	const int	rows = options_activity_rows(&r->model->options, d->features);
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

/* Rows of a run before which too few stand for their activity to be whole. */
typedef struct Collection
{
	int64		whole;			/* first row whose activity is of all steps */
	int64		n;
} Collection;

static void
collect_row(RawScores *r, int64 row, const float *activity, void *arg)
{
	Collection *c = arg;

	if (row >= c->whole && counts(r, row) && !isnan(*activity))
		r->scratch[c->n++] = *activity;
}

/* The known activities of a feature, into scratch; their number. */
static int64
collect_activity(RawScores *r, int first, int last, int feature)
{
	Collection	c = {.n = 0};

	for (int i = first; i < last; i++)
	{
		const DatasetRun *run = &r->dataset->runs[i];

		/* a recalibration has no rows before those with a score */
		c.whole = run->first + options_activity_rows(&r->model->options, r->model->features);
		visit_run(r, run, feature, 1, collect_row, &c);
	}
	return c.n;
}

/* Mean raw score; NaN: no row has one. */
static double
mean_raw(const RawScores *r, int first, int last)
{
	const Dataset *d = r->dataset;
	double		sum = 0.0;
	int64		n = 0;

	for (int i = first; i < last; i++)
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

void
flatline_set(RawScores *r, int first, int last, ModelStats *stats)
{
	const Model *m = r->model;
	double		mean = mean_raw(r, first, last);

	for (int c = 0; c < m->features; c++)
	{
		int64		n = collect_activity(r, first, last, c);
		double		least;

		if (n == 0)
			continue;
		least = nn_quantile_polled(r->scratch, n, QUANTILE, check_interrupts);
		stats->activity[c] = threshold_only_grows(r) ? Min(least, stats->activity[c]) : least;
	}
	/* without the suspicious rows the mean is too low */
	if (!isnan(mean) && !threshold_only_grows(r))
		stats->flatline = m->options.flatline_weight * mean / QUANTILE;
}

/* ---- evidence ------------------------------------------------------------------------ */

static void
add_row(RawScores *r, int64 row, const float *activity, void *arg)
{
	if (r->raw[row] >= 0)
		r->raw[row] += nn_flatline_evidence(arg, activity, dataset_imputed(r->dataset, row));
}

void
flatline_add(RawScores *r, const DatasetRun *run, const ModelStats *stats)
{
	nn_calibration calibration = model_calibration(r->model, stats);

	visit_run(r, run, 0, r->model->features, add_row, &calibration);
}
