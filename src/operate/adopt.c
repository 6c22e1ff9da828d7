/*
 * operate/adopt.c
 *	  The figures of a series that the model does not contain, until it is calibrated.
 *
 * Its mean and standard deviation are computed from its recent rows as in a training, except
 * that an incident is left out: values far from most of the others, all in one short stretch,
 * such as -9999 before a sensor works.  They would make everything else look constant.  They
 * are missing in the calibration, too.  Values as extreme that recur are part of what is
 * normal.
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

/* Extreme values are further from two quantiles than a multiple of their difference. */
#define EXTREME_SHARE 0.2		/* quantiles of this share, and of 1 minus it */
#define EXTREME_DISTANCE 10.0

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

/* The values of a feature between which it is not extreme; infinite if most are equal. */
static void
find_bounds(const LearningRows *rows, int feature, double *scratch, double *low, double *high)
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
	*low = nn_quantile_polled(scratch, n, EXTREME_SHARE, check_interrupts);
	*high = nn_quantile_polled(scratch, n, 1 - EXTREME_SHARE, check_interrupts);
	width = *high > *low ? EXTREME_DISTANCE * (*high - *low) : INFINITY;
	*low -= width;
	*high += width;
}

/* Makes the extreme values of a feature missing if they lie in a stretch of `most` rows. */
static void
remove_incident(LearningRows *rows, int feature, double most, double *scratch)
{
	int64		first = -1;
	int64		last = -1;
	double		low;
	double		high;

	find_bounds(rows, feature, scratch, &low, &high);
	for (int64 i = 0; i < rows->nrows; i++)
	{
		const LearningRow *row = learning_rows_get(rows, i);
		double		value = row->values[feature];

		CHECK_FOR_INTERRUPTS();
		if (!row->counts || !(value < low || value > high))
			continue;
		first = first < 0 ? i : first;
		last = i;
	}
	if (first < 0 || last - first + 1 > most)
		return;
	for (int64 i = first; i <= last; i++)
	{
		double	   *value = &learning_rows_get(rows, i)->values[feature];

		CHECK_FOR_INTERRUPTS();
		if (*value < low || *value > high)
			*value = NAN;
	}
}

ModelStats *
adopt_figures(const Model *m, LearningRows *rows, Oid ts_type, double trim, Budget *budget)
{
	ModelStats *stats;
	Series	   *series;
	int64	   *known;
	double	   *scratch;

	if (!are_enough(m, rows))
		return NULL;

	/* the calibration of all series, until the series is calibrated */
	budget_claim(budget, "series", sizeof(ModelStats) + figures_bytes(&m->sizes));
	stats = palloc0(sizeof(ModelStats));
	figures_create(stats, &m->sizes);
	figures_copy_calibration(&m->sizes, &m->stats, stats);
	stats->borrowed = true;

	budget_check(budget, "rows of a series", sizeof(double) * rows->counting);
	scratch = palloc_extended(sizeof(double) * rows->counting, MCXT_ALLOC_HUGE);
	for (int c = 0; c < m->features; c++)
		remove_incident(rows, c, trim * rows->counting, scratch);
	pfree(scratch);

	/* the scaling of its rows; of all series for a feature without values */
	series = series_open(CurrentMemoryContext, m->features, ts_type);
	for (int64 i = 0; i < rows->nrows; i++)
	{
		const LearningRow *row = learning_rows_get(rows, i);

		CHECK_FOR_INTERRUPTS();
		if (row->counts)
			series_add(series, row->ts, series_rows(series), row->values);
	}
	series_sort(series);
	stats->step = series_step(series);
	stats->max_gap = dataset_max_gap(&m->options, ts_type, stats->step);
	if (m->transforms.any)
		series_transform(series, &m->transforms, stats->max_gap, stats->step);
	known = palloc(sizeof(int64) * m->features);
	series_moments(series, stats->mean, stats->std, known);
	for (int c = 0; c < m->features; c++)
		if (known[c] == 0)
		{
			stats->mean[c] = m->stats.mean[c];
			stats->std[c] = m->stats.std[c];
		}
	series_close(series);
	pfree(known);
	return stats;
}
