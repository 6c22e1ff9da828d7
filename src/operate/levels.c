/*
 * operate/levels.c
 *	  Features whose level has moved since the training, and their new scaling.
 *
 * The network gets clipped values.  If the level of a feature has moved so far that most values
 * are clipped, the network cannot distinguish them, and expects wrong values of the other
 * features as well.  A smaller move can be harmless, as the network may follow it; it counts if the
 * severities have drifted, too.  Such a feature gets a new mean: the median of recent rows, which anomalies
 * among them hardly affect.
 *
 * The level is computed from the newest half of the rows, so it has lasted for some time.  It
 * moved at the row that best separates rows nearer to the old level from rows nearer to the new
 * one.  Only the rows from there on are used for the median.  Those before are shifted by the
 * difference of the levels, so that the network gets one level in all rows.  The expectation of
 * the model's season is subtracted from values.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"

#include "core/evidence/quantile.h"
#include "operate/levels.h"
#include "pg/interrupts.h"

#define MOST 0.55				/* share of the values of a level that has moved */
#define MOVED 3.0				/* standard deviations of a level that the model does not follow */
#define SHIFTED 2.0 /* standard deviations of a level or a spread; half a sine is at 1 */
#define QUIET 0.25				/* distance from the level of a feature that moves little … */
#define MOST_QUIET 0.95			/* … of this share of its values; most features must */
#define MAD_STD 1.4826			/* standard deviation of a normal distribution / its MAD */
#define MOST_SPREAD 3.0			/* a greater spread, relative to the old one, is a new one */

static double
median(double *values, int64 n)
{
	return nn_quantile_polled(values, n, 0.5, check_interrupts);
}

/* The median of the newest half of n values. */
static double
newest_level(double *values, int64 n)
{
	return median(values + n / 2, n - n / 2);
}

/* Replaces values by their distances from a level. */
static void
take_distances(double *values, int64 n, double level)
{
	for (int64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		values[i] = fabs(values[i] - level);
	}
}

/* Whether most of the newest half of n scaled values are beyond a limit on the same side. */
static bool
is_moved(double *values, int64 n, double limit)
{
	const int64 newest = n - n / 2;

	values += n / 2;
	return nn_quantile_polled(values, newest, 1 - MOST, check_interrupts) >= limit ||
		nn_quantile_polled(values, newest, MOST, check_interrupts) <= -limit;
}

/*
 * Whether the newest half of n scaled values has another level or a greater spread; it changes
 * them.  quiet: they hardly move.
 */
static bool
is_shifted(double *values, int64 n, bool *quiet)
{
	double		level = newest_level(values, n);
	double		spread;

	take_distances(values + n / 2, n - n / 2, level);
	*quiet = nn_quantile_polled(values + n / 2, n - n / 2, MOST_QUIET, check_interrupts) <= QUIET;
	spread = MAD_STD * newest_level(values, n);
	return fabs(level) >= SHIFTED || spread >= SHIFTED;
}

Levels
levels_find(const Model *m, const Dataset *d, int64 first, int64 rows, const uint8 *use,
			bool		drifted, double *scratch, bool *moved)
{
	const int	C = m->features;
	const double limit = drifted ? Min(m->options.clip, MOVED) : m->options.clip;
	Levels		result = {false};
	int			given = 0;
	int			quiet = 0;

	for (int c = 0; c < C; c++)
	{
		int64		n = 0;
		bool		is_quiet;

		for (int64 row = first; row < first + rows; row++)
		{
			CHECK_FOR_INTERRUPTS();
			if (use[row] != ROW_CONTEXT && !NN_IMPUTED(dataset_imputed(d, row), c))
				scratch[n++] = d->rows[row * C + c];
		}
		/* values cannot be shifted so that their transformed values have another level */
		moved[c] = n > 0 && m->transforms.kind[c] == TRANSFORM_NONE && is_moved(scratch, n, limit);
		if (n == 0)
			continue;
		result.any_moved = result.any_moved || moved[c];
		result.any_shifted = is_shifted(scratch, n, &is_quiet) || result.any_shifted;
		given++;
		quiet += is_quiet;
	}
	result.any_shifted = result.any_shifted || 2 * quiet > given;
	return result;
}

/* A feature of the rows of a series. */
typedef struct FeatureRows
{
	const Model *model;
	const ModelStats *stats;	/* before */
	LearningRows *rows;
	int			feature;
} FeatureRows;

/* The value in a row minus the expectation of its season: rows may cover a part of a day only. */
static double
seasonless_value(const FeatureRows *f, int64 number)
{
	const LearningRow *row = learning_rows_get(f->rows, number);
	const nn_season *season = &f->model->season;
	const int	terms = season->nperiods > 0 ? nn_season_terms(season) : 0;
	const double std = f->stats->std[f->feature];
	double		value = row->values[f->feature];
	double		basis[NN_SEASON_TERMS];

	CHECK_FOR_INTERRUPTS();
	if (terms == 0 || std == 0 || !row->ts_valid || f->stats->season_gain[f->feature] <= 0)
		return value;
	nn_season_basis(season, model_calendar_time(f->model, row->ts), basis);
	return value -
		std * nn_season_expected(terms, f->stats->season + (Size) f->feature * terms, basis);
}

/* Collects the values of the counting rows, from row `first` on; returns their number. */
static int64
collect_values(const FeatureRows *f, int64 first, double *values)
{
	int64		n = 0;

	for (int64 i = first; i < f->rows->nrows; i++)
	{
		double		value = seasonless_value(f, i);

		if (learning_rows_get(f->rows, i)->counts && !isnan(value))
			values[n++] = value;
	}
	return n;
}

/* The row at which the level moved from one value to another. */
static int64
find_move(const FeatureRows *f, double from, double to)
{
	int64		first = 0;
	int64		nearer = 0; /* rows after it that are nearer to the new level, minus the others */
	int64		most = 0;

	for (int64 i = f->rows->nrows - 1; i >= 0; i--)
	{
		double		value = seasonless_value(f, i);

		if (isnan(value))
			continue;
		nearer += fabs(value - to) < fabs(value - from) ? 1 : -1;
		if (nearer >= most)
		{
			most = nearer;
			first = i;
		}
	}
	return first;
}

/* Sets the mean of a feature, and its deviation if the values spread much more than before. */
static void
rescale_feature(const FeatureRows *f, ModelStats *stats, double *scratch)
{
	const int	c = f->feature;
	const double mean = f->stats->mean[c];
	const double std = f->stats->std[c];
	int64		n = collect_values(f, 0, scratch);
	int64		first;
	double		level;
	double		spread;

	if (n == 0)
		return;
	first = find_move(f, mean, newest_level(scratch, n));
	n = collect_values(f, first, scratch);
	if (n == 0)
		return;
	level = median(scratch, n);
	take_distances(scratch, n, level);
	spread = MAD_STD * median(scratch, n);
	stats->mean[c] = level;
	if (spread > MOST_SPREAD * std)
		stats->std[c] = spread;
	for (int64 i = 0; i < first; i++)
	{
		double	   *value = &learning_rows_get(f->rows, i)->values[c];

		CHECK_FOR_INTERRUPTS();
		*value = std > 0 ? level + (*value - mean) * (stats->std[c] / std) : *value - mean + level;
	}
}

ModelStats *
levels_rescale(const Model *m, const ModelStats *from, LearningRows *rows, const bool *moved,
			   Budget *budget)
{
	const Size	bytes = sizeof(double) * m->features;
	ModelStats *stats;
	double	   *scratch;

	budget_claim(budget, "series", sizeof(ModelStats) + 2 * bytes);
	stats = palloc(sizeof(ModelStats));
	*stats = *from;
	stats->mean = memcpy(palloc(bytes), from->mean, bytes);
	stats->std = memcpy(palloc(bytes), from->std, bytes);
	budget_check(budget, "rows of a series", sizeof(double) * rows->counting);
	scratch = palloc_extended(sizeof(double) * Max(rows->counting, 1), MCXT_ALLOC_HUGE);
	for (int c = 0; c < m->features; c++)
		if (moved[c])
			rescale_feature(&(FeatureRows){m, from, rows, c}, stats, scratch);
	pfree(scratch);
	return stats;
}
