/*
 * rows/choose_transform.c
 *	  Which features of a series are counters or trends (docs/model.md, Transforms).
 *
 * A counter rises or does not change, and every fall is a reset, to less than half.  Its
 * increments are irregular or all equal, unlike those of a smooth curve that happens to rise
 * during a short training.  Its values are replaced by rates.
 *
 * A trend rises, or falls, through the whole series at about the same pace.  The series is
 * divided into parts of equal length, of whole days or weeks; the means of the parts must be
 * near a straight line, whose slope is about the same in both halves.  Growth that is small
 * compared with the variation within a part is harmless and is not a trend.
 *
 * Both rules are strict, because a feature that is transformed unnecessarily loses its level.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "pg/timestamps.h"
#include "rows/choose_transform.h"
#include "rows/transform.h"

#define PARTS 8					/* of a series, about */
#define MOST_PARTS (2 * PARTS)
#define LEAST_PERIODS 6			/* days or weeks needed to divide a series into them */

/* A counter */
#define COUNTER_RISES 32		/* at least */
#define COUNTER_SHARE 0.01		/* of the steps rise, at least */
#define COUNTER_FALLS 0.01		/* of the changes fall, at most */
#define COUNTER_PARTS 6			/* parts with a rise, at least */
#define COUNTER_BENDS 4.0		/* way of the increments, at least, relative to their range */
#define COUNTER_EQUAL 1e-6		/* range of equal increments, at most, relative to their mean */

/* A trend */
#define TREND_ROWS 5			/* values needed, relative to the rows of a mean */
#define TREND_PART 0.25			/* values needed in each part, likewise */
#define TREND_LOSS 0.25			/* share of the rows, at most, that are left out after gaps */
#define TREND_RISE 0.75			/* from the first part to the last, in deviations within a part */
#define TREND_LINE 0.97			/* share of the variance of the means that a line explains */
#define TREND_PACE 0.6			/* least ratio of the slopes of a half and of the whole */

/* The values of a feature, scaled to 0 … 1, in a part of the series. */
typedef struct Part
{
	int64		known;
	double		mean;
	double		squares;		/* sum of squared deviations from the mean */
} Part;

typedef struct Shape
{
	/* range */
	int64		known;
	double		least;
	double		most;

	/* steps from one known value of a run to the next */
	double		last;			/* NaN: none */
	int64		steps;
	int64		rises;
	int64		falls;
	bool		resets;			/* all falls are resets */
	double		grown;			/* sum of the increments, which are those without falls */
	double		increment;		/* the last one; NaN: none */
	double		least_increment;
	double		most_increment;
	double		way;			/* sum of the differences between neighbouring increments */
	bool		rising[PARTS];	/* it rises in this eighth of the rows */

	Part		part[MOST_PARTS];
} Shape;

/* Parts of a series of equal length. */
typedef struct Parts
{
	int			n;				/* 0: too short to distinguish a trend from a daily cycle */
	double		first;			/* distance of the first part from the first row */
	double		length;
} Parts;

/* Divides a series into parts of whole weeks or days, the last ones of it, or into eighths. */
static Parts
divide_series(Oid ts_type, double span)
{
	double		periods = 0;
	double		period = 7.0 * USECS_PER_DAY;
	int			each;

	if (ts_type == INT8OID)
		return (Parts){.n = PARTS, .length = span / PARTS};
	if (span < LEAST_PERIODS * period)
		period = USECS_PER_DAY;
	periods = floor(span / period);
	if (periods < LEAST_PERIODS)
		return (Parts){.n = 0, .length = span / PARTS};
	each = Max((int) (periods / PARTS), 1);
	periods = floor(periods / each);
	return (Parts){
		.n = (int) periods,
		.first = span - periods * each * period,
		.length = each * period,
	};
}

static void
see_step(Shape *s, double value, int eighth)
{
	double		before = s->last;
	double		increment = value - before;

	s->last = value;
	if (isnan(before))
		return;
	s->steps++;
	if (value < before)
	{
		s->falls++;
		s->resets = s->resets && transform_is_reset(before, value);
		s->increment = NAN;
		return;
	}
	s->rises += increment > 0;
	s->rising[eighth] = s->rising[eighth] || increment > 0;
	s->grown += increment;
	s->least_increment = fmin(s->least_increment, increment);
	s->most_increment = fmax(s->most_increment, increment);
	if (!isnan(s->increment))
		s->way += fabs(increment - s->increment);
	s->increment = increment;
}

/* Welford's update */
static void
see_value(Part *part, double value)
{
	double		distance = value - part->mean;

	part->mean += distance / ++part->known;
	part->squares += distance * (value - part->mean);
}

static bool
is_counter(const Shape *s)
{
	const double range = s->most_increment - s->least_increment;
	int			rising = 0;

	for (int i = 0; i < PARTS; i++)
		rising += s->rising[i];
	/* a smooth curve that is still rising may fall later */
	if (range > COUNTER_EQUAL * s->grown / s->steps && s->way < COUNTER_BENDS * range)
		return false;
	return s->resets && s->rises >= COUNTER_RISES && s->rises >= COUNTER_SHARE * s->steps &&
		s->falls <= COUNTER_FALLS * (s->rises + s->falls) && rising >= COUNTER_PARTS;
}

/* The slope of a line through the means of n parts; *line: its share of their variance. */
static double
fit_line(const Part *part, int n, double *line)
{
	double		mean = 0;
	double		product = 0;
	double		squares = 0;
	double		places = 0;

	for (int i = 0; i < n; i++)
		mean += part[i].mean / n;
	for (int i = 0; i < n; i++)
	{
		double		place = i - (n - 1) / 2.0;

		product += place * (part[i].mean - mean);
		squares += (part[i].mean - mean) * (part[i].mean - mean);
		places += place * place;
	}
	*line = squares > 0 ? product * product / (squares * places) : 0.0;
	return product / places;
}

static bool
is_trend(const Part *part, int n, double least_known)
{
	const int	half = (n + 1) / 2;
	double		within = 0;
	int64		known = 0;
	double		slope;
	double		line;
	double		unused;

	for (int i = 0; i < n; i++)
	{
		if (part[i].known < least_known)
			return false;
		known += part[i].known;
		within += part[i].squares;
	}
	if (n == 0 || fabs(part[n - 1].mean - part[0].mean) < TREND_RISE * sqrt(within / known))
		return false;
	slope = fit_line(part, n, &line);
	if (line < TREND_LINE)
		return false;
	for (int i = 0; i < 2; i++)
	{
		double		pace = fit_line(i == 0 ? part : part + n - half, half, &unused) / slope;

		if (!(pace >= TREND_PACE && pace <= 1 / TREND_PACE))
			return false;
	}
	return true;
}

void
choose_transforms(const Series *series, Oid ts_type, double max_gap, Transforms *t)
{
	const int64 rows = series_rows(series);
	int		   *feature = palloc(sizeof(int) * t->features);
	Shape	   *shape;
	Parts		parts;
	int64		first;
	int64		last;
	int64		runs = 0;
	int			n = 0;

	for (int c = 0; c < t->features; c++)
		if (t->kind[c] == TRANSFORM_AUTO)
			feature[n++] = c;
	if (n == 0 || rows < 2)
		return;
	shape = palloc0(sizeof(Shape) * n);
	for (int i = 0; i < n; i++)
	{
		shape[i].resets = true;
		shape[i].least_increment = INFINITY;
		shape[i].most_increment = -INFINITY;
	}
	(void) series_values(series, 0, &first);
	(void) series_values(series, rows - 1, &last);
	parts = divide_series(ts_type, timestamps_distance(first, last));

	/* the range of each feature */
	for (int64 row = 0; row < rows; row++)
	{
		int64		ts;
		const double *values = series_values(series, row, &ts);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			double		value = values[feature[i]];

			if (isnan(value))
				continue;
			shape[i].least = shape[i].known == 0 ? value : Min(shape[i].least, value);
			shape[i].most = shape[i].known == 0 ? value : Max(shape[i].most, value);
			shape[i].known++;
		}
	}

	/* steps and parts, run by run */
	for (int64 at = 0; at < rows;)
	{
		SeriesRun	run = series_run(series, at, max_gap);

		runs++;
		for (int i = 0; i < n; i++)
			shape[i].last = shape[i].increment = NAN;
		for (; at < run.first + run.rows; at++)
		{
			int64		ts;
			const double *values = series_values(series, at, &ts);
			double		place = timestamps_distance(first, ts) - parts.first;
			int			part = place < 0 ? -1 : Min((int) (place / parts.length), parts.n - 1);
			int			eighth = (int) (at * PARTS / rows);

			CHECK_FOR_INTERRUPTS();
			for (int i = 0; i < n; i++)
			{
				Shape	   *s = &shape[i];
				double		value = values[feature[i]];

				if (isnan(value))
					continue;
				see_step(s, value, eighth);
				if (part >= 0)
					see_value(&s->part[part], (value - s->least) / (s->most - s->least));
			}
		}
	}

	for (int i = 0; i < n; i++)
	{
		const Shape *s = &shape[i];
		const double range = s->most - s->least;

		if (!(range > 0))
			continue;			/* another series decides */
		t->kind[feature[i]] = is_counter(s) ? TRANSFORM_RATE
			: isfinite(range) && s->known >= TREND_ROWS * t->mean_rows &&
				runs * t->mean_rows <= TREND_LOSS * rows &&
				is_trend(s->part, parts.n, TREND_PART * t->mean_rows)
			? TRANSFORM_DETREND
			: TRANSFORM_NONE;
	}
	pfree(feature);
	pfree(shape);
}
