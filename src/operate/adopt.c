/*
 * operate/adopt.c
 *	  The figures of a series that the model does not contain, until it is calibrated.
 *
 * Its mean and standard deviation are computed from its recent rows as in a training, except
 * that values far from most of the others are left out: nobody has said that the rows are
 * normal, and a short incident far above them would make everything else look constant.
 * The fence is so wide that ordinary spikes remain.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"

#include "core/evidence/quantile.h"
#include "learn/calibrate.h"
#include "operate/adopt.h"
#include "pg/interrupts.h"

#define LEAST_FACTOR 2			/* rows needed, relative to those of a series of the model */

#define FENCE_SHARE 0.2 /* quantiles that the fence depends on: of this share, and 1 minus it */
#define FENCE_WIDTH 5.0			/* its distance from them, in units of their difference */

/* The time that the rows that count cover, with one mean distance after the last one. */
static double
measure_span(const LearningRows *rows)
{
	int64		first = 0;
	int64		last = 0;
	bool		any = false;

	for (int64 i = 0; i < rows->nrows; i++)
	{
		const LearningRow *row = learning_rows_get(rows, i);

		CHECK_FOR_INTERRUPTS();
		if (!row->counts)
			continue;
		if (!any)
			first = row->ts;
		last = row->ts;
		any = true;
	}
	return ((double) last - (double) first) * rows->counting / Max(rows->counting - 1, 1);
}

int64
adopt_least_rows(const Options *o)
{
	return LEAST_FACTOR * calibrate_least_rows(o);
}

/* Whether the rows are enough for figures; periods of the season ascend. */
static bool
are_enough(const Model *m, const LearningRows *rows)
{
	return rows->counting >= adopt_least_rows(&m->options) &&
		(m->season.nperiods == 0 ||
		 measure_span(rows) >= ADOPT_PERIODS * (double) m->season.period[0]);
}

/* Sets the bounds of a feature's values; without an ordinary range they are infinite. */
static void
set_fence(const LearningRows *rows, int feature, double *scratch, double *low, double *high)
{
	int64		n = 0;
	double		width;

	*low = -INFINITY;
	*high = INFINITY;
	for (int64 i = 0; i < rows->nrows; i++)
	{
		const LearningRow *row = learning_rows_get(rows, i);

		CHECK_FOR_INTERRUPTS();
		if (row->counts && !isnan(row->values[feature]))
			scratch[n++] = row->values[feature];
	}
	if (n == 0)
		return;
	*low = nn_quantile_polled(scratch, n, FENCE_SHARE, check_interrupts);
	*high = nn_quantile_polled(scratch, n, 1 - FENCE_SHARE, check_interrupts);
	width = *high > *low ? FENCE_WIDTH * (*high - *low) : INFINITY;
	*low -= width;
	*high += width;
}

/* The rows that count, as a series, without the values outside the fences. */
static Series *
collect_series(const LearningRows *rows, Oid ts_type, bool fence)
{
	const int	C = rows->features;
	Series	   *series = series_open(CurrentMemoryContext, C, ts_type);
	double	   *low = palloc(sizeof(double) * C);
	double	   *high = palloc(sizeof(double) * C);
	double	   *values = palloc(sizeof(double) * C);
	double	   *scratch = palloc_extended(sizeof(double) * rows->counting, MCXT_ALLOC_HUGE);

	for (int c = 0; fence && c < C; c++)
		set_fence(rows, c, scratch, &low[c], &high[c]);
	for (int64 i = 0; i < rows->nrows; i++)
	{
		const LearningRow *row = learning_rows_get(rows, i);

		CHECK_FOR_INTERRUPTS();
		if (!row->counts)
			continue;
		for (int c = 0; c < C; c++)
			values[c] = fence && !(row->values[c] >= low[c] && row->values[c] <= high[c])
				? NAN
				: row->values[c];
		series_add(series, row->ts, series_rows(series), values);
	}
	series_sort(series);
	pfree(low);
	pfree(high);
	pfree(values);
	pfree(scratch);
	return series;
}

ModelStats *
adopt_figures(const Model *m, const LearningRows *rows, Oid ts_type, bool fence, Budget *budget)
{
	const Size	scratch = sizeof(double) * rows->counting;
	ModelStats *stats;
	Series	   *series;
	int64	   *known;

	if (!are_enough(m, rows))
		return NULL;
	budget_claim(budget, "series", sizeof(ModelStats) + figures_bytes(&m->sizes));
	stats = palloc0(sizeof(ModelStats));
	figures_create(stats, &m->sizes);
	figures_copy_calibration(&m->sizes, &m->stats, stats);
	stats->borrowed = true;
	budget_check(budget, "rows of a new series", scratch);
	series = collect_series(rows, ts_type, fence);
	known = palloc(sizeof(int64) * m->features);
	series_moments(series, stats->mean, stats->std, known);
	for (int c = 0; c < m->features; c++)
		if (known[c] == 0)
		{
			stats->mean[c] = m->stats.mean[c];
			stats->std[c] = m->stats.std[c];
		}
	stats->step = series_step(series);
	stats->max_gap = dataset_max_gap(&m->options, ts_type, stats->step);
	series_close(series);
	pfree(known);
	return stats;
}
