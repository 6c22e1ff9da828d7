/*
 * learn/fit_season.c
 *	  Seasonality: the periods of a model, and their figures (docs/model.md, Season).
 *
 * The weights are fitted by least squares to the rows that are not held out.  The held-out
 * rows give the gain of each feature: the share of its variance that the season explains.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "learn/fit_season.h"

#define AUTO_REPEATS 3			/* the rows must span three periods for one to be chosen */
#define GIVEN_REPEATS 2			/* … and two for one that was specified */
#define MONTHS_SPAN (3.0 * 31 * USECS_PER_DAY)	/* contains three ends of months */
#define LEAST 1e-12				/* of a number that divides */

/* ---- periods ----------------------------------------------------------------------- */

/* The time from the first to the last row of runs. */
static double
training_span(const Dataset *d, RunRange runs)
{
	const DatasetRun *last = &d->runs[runs.last - 1];

	return (double) d->ts[last->first + last->rows - 1] - d->ts[d->runs[runs.first].first];
}

static double
longest_span(const Dataset *d)
{
	double		span = 0.0;

	for (RunRange runs = dataset_series_runs(d, 0); runs.first < d->nruns;
		 runs = dataset_series_runs(d, runs.last))
		span = Max(span, training_span(d, runs));
	return span;
}

/* The number of harmonics that rows `step` apart can distinguish, within the option. */
static int
limit_harmonics(const Options *o, double period, double step)
{
	double		most = step > 0 ? (period / step - 1) / 2 : 0.0;

	return (int) Min(most, o->season_harmonics);
}

/* The bins of a period, each as long as a bin of the shortest period and as a row. */
static int
count_bins(double shortest, double period, double step)
{
	double		bins = period / Max(step, shortest / NN_SEASON_FIRST_BINS);

	return (int) Min(Max(bins, 1.0), period == shortest ? NN_SEASON_FIRST_BINS : NN_SEASON_BINS);
}

static void
report_refused_period(double period, double span, double step, bool seconds)
{
	double		unit = seconds ? USECS_PER_SEC : 1.0;
	const char *name = seconds ? " seconds" : "";

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the training rows do not show a period of %.12g%s", period / unit, name),
			 errdetail("They span %.12g%s and are %.12g%s apart. A period must be repeated and "
					   "contain three rows.",
					   span / unit, name, step / unit, name),
			 errhint("Train on more rows, or leave the period out of the option \"season\".")));
}

nn_season
fit_season_periods(const Options *o, const Dataset *d, double step)
{
	static const double automatic[SEASON_AUTO_PERIODS] = {SECS_PER_DAY, 7 * SECS_PER_DAY};
	const bool	given = o->season == SEASON_GIVEN;
	const bool	seconds = d->ts_type != INT8OID;
	double		unit = seconds ? USECS_PER_SEC : 1.0;
	double		span = longest_span(d);
	nn_season	season = {0};
	/* integers have no days */
	int			n = given || seconds ? plan_largest_season(o).nperiods : 0;

	for (int i = 0; i < n; i++)
	{
		double		period = rint((given ? o->periods[i] : automatic[i]) * unit);
		int			harmonics = limit_harmonics(o, period, step);

		int bins = count_bins(season.nperiods > 0 ? (double) season.period[0] : period, period,
							  step);

		if (harmonics >= 1 && span >= period * (given ? GIVEN_REPEATS : AUTO_REPEATS))
		{
			season.period[season.nperiods] = (int64) period;
			season.bins[season.nperiods] = bins;
			season.harmonics[season.nperiods++] = harmonics;
		}
		else if (given)
			report_refused_period(period, span, step, seconds);
	}
	/* weeks of daily rows are a season, too */
	if (!given && season.nperiods > 0 && step <= USECS_PER_DAY && span >= MONTHS_SPAN)
		season.month_bins = count_bins(USECS_PER_DAY, USECS_PER_DAY, step);
	return season;
}

/* ---- figures ------------------------------------------------------------------------- */

Size
fit_season_bytes(const Model *m)
{
	int			terms = nn_season_terms(&m->season);

	/* the model's own figures, the regression, sums */
	return terms == 0 ? 0
					  : sizeof(double) * (terms + 3) * m->features +
			nn_season_bytes(&m->season, m->features) + sizeof(double) * (terms + 3 * m->features);
}

static void
learn_weights(const Model *m, const Dataset *d, RunRange runs, double *weights)
{
	void	   *memory = palloc_extended(nn_season_bytes(&m->season, m->features), MCXT_ALLOC_HUGE);
	float	   *clipped = palloc(sizeof(float) * m->features);

	nn_season_begin(memory, &m->season, m->features);
	for (int i = runs.first; i < runs.last; i++)
		for (int64 place = 0, end = 0; place < d->runs[i].rows; place++)
		{
			int64		row = d->runs[i].first + place;

			CHECK_FOR_INTERRUPTS();
			if (dataset_held_out(d, &d->runs[i], place, &end))
				continue;
			nn_clip(m->options.clip, d->rows + row * m->features, m->features, clipped);
			nn_season_add(memory, &m->season, m->features, model_calendar_time(m, d->ts[row]),
						  clipped);
		}
	if (!nn_season_end(memory, &m->season, m->features, weights))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("the season could not be computed")));
	pfree(memory);
	pfree(clipped);
}

/* Sums over rows, for each feature. */
typedef struct SeasonSums
{
	double	   *deviation;		/* squared, from the season */
	double	   *value;			/* squared: the deviation from the mean */
	double	   *given;			/* rows with a value */
	double	   *basis;			/* (terms) */
} SeasonSums;

static SeasonSums
open_season_sums(const Model *m)
{
	SeasonSums	s = {
		.deviation = palloc0(sizeof(double) * m->features),
		.value = palloc0(sizeof(double) * m->features),
		.given = palloc0(sizeof(double) * m->features),
		.basis = palloc(sizeof(double) * nn_season_terms(&m->season)),
	};

	return s;
}

static void
close_season_sums(SeasonSums *s)
{
	pfree(s->deviation);
	pfree(s->value);
	pfree(s->given);
	pfree(s->basis);
}

static void
add_deviations(SeasonSums *s, const Model *m, const Dataset *d, int64 row, const double *weights)
{
	const int	terms = nn_season_terms(&m->season);
	const uint8 *imputed = dataset_imputed(d, row);

	nn_season_basis(&m->season, model_calendar_time(m, d->ts[row]), s->basis);
	for (int c = 0; c < m->features; c++)
	{
		double		z = nn_clipped(m->options.clip, d->rows[row * m->features + c]);
		double		e = nn_season_expected(terms, weights + (size_t) c * terms, s->basis) - z;

		if (NN_IMPUTED(imputed, c))
			continue;
		s->deviation[c] += e * e;
		s->value[c] += z * z;
		s->given[c]++;
	}
}

/* Adds the rows of runs that are held out. */
static void
add_held_out(SeasonSums *s, const Model *m, const Dataset *d, RunRange runs, const double *weights)
{
	for (int i = runs.first; i < runs.last; i++)
		for (int64 place = 0, end = 0; place < d->runs[i].rows; place++)
		{
			CHECK_FOR_INTERRUPTS();
			if (dataset_held_out(d, &d->runs[i], place, &end))
				add_deviations(s, m, d, d->runs[i].first + place, weights);
		}
}

/* The share of the held-out rows' squares that the season explains; 0 without such rows. */
static void
set_gain(const Model *m, const double *deviation, const double *value, ModelStats *stats)
{
	for (int c = 0; c < m->features; c++)
		stats->season_gain[c] = value[c] < LEAST ? 0.0 : Max(1.0 - deviation[c] / value[c], 0.0);
}

bool
fit_season_spans(const Model *m, const Dataset *d, RunRange runs)
{
	/* periods ascend */
	return training_span(d, runs) >=
		AUTO_REPEATS * (double) m->season.period[m->season.nperiods - 1];
}

void
fit_season_weights(const Model *m, const Dataset *d, RunRange runs, const ModelStats *others,
				   ModelStats *stats)
{
	const nn_season *season = &m->season;
	SeasonSums	s = open_season_sums(m);

	if (others == NULL || fit_season_spans(m, d, runs))
		learn_weights(m, d, runs, stats->season);
	else
		memcpy(stats->season, others->season,
			   sizeof(double) * nn_season_terms(season) * m->features);
	add_held_out(&s, m, d, runs, stats->season);
	set_gain(m, s.deviation, s.value, stats);
	close_season_sums(&s);
}

/*
 * The floor keeps a feature that almost never deviates from outweighing all others (option
 * residual_floor).  Without values the spread stays, or becomes the least.
 */
static void
set_spread(const Model *m, const SeasonSums *s, bool may_fall, ModelStats *stats)
{
	double	   *spread = palloc(sizeof(double) * m->features);
	double		mean = 0.0;
	int			features = 0;

	for (int c = 0; c < m->features; c++)
		if (s->given[c] > 0)
		{
			spread[c] = s->deviation[c] / s->given[c];
			mean += spread[c];
			features++;
		}
	mean /= Max(features, 1);
	for (int c = 0; c < m->features; c++)
	{
		double		old = stats->season_spread[c];

		if (s->given[c] == 0)
			spread[c] = old > 0 ? old : mean;
		spread[c] = Max(spread[c], Max(mean * m->options.residual_floor, LEAST));
		stats->season_spread[c] = may_fall ? spread[c] : Max(spread[c], old);
	}
	pfree(spread);
}

/* Adds the rows of runs that count. */
static void
add_kept(SeasonSums *s, const CalibrationRows *rows, RunRange runs, const double *weights)
{
	const Dataset *d = rows->dataset;

	for (int i = runs.first; i < runs.last; i++)
		for (int64 row = d->runs[i].first; row < d->runs[i].first + d->runs[i].rows; row++)
		{
			CHECK_FOR_INTERRUPTS();
			if (calibration_rows_use(rows, row) == ROW_KEPT)
				add_deviations(s, rows->model, d, row, weights);
		}
}

void
fit_season_spread(const CalibrationRows *rows, RunRange runs, ModelStats *stats)
{
	const Model *m = rows->model;
	SeasonSums	s = open_season_sums(m);

	add_kept(&s, rows, runs, stats->season);
	set_spread(m, &s, calibration_rows_may_fall(rows, stats), stats);
	model_scale_season(m, stats);
	close_season_sums(&s);
}

void
fit_season_summarize(const CalibrationRows *rows, RunRange runs, SeriesSummary *summary)
{
	const Model *m = rows->model;
	SeasonSums	held = open_season_sums(m);
	SeasonSums	all = open_season_sums(m);

	add_held_out(&held, m, rows->dataset, runs, m->stats.season);
	add_kept(&all, rows, runs, m->stats.season);
	for (int c = 0; c < m->features; c++)
	{
		summary->sums[SUMMARY_SEASON_HELD_OUT][c] += held.deviation[c];
		summary->sums[SUMMARY_SQUARE_HELD_OUT][c] += held.value[c];
		summary->sums[SUMMARY_SEASON][c] += all.deviation[c];
		summary->given[SUMMARY_GIVEN_SEASON][c] += (int64) all.given[c];
	}
	close_season_sums(&held);
	close_season_sums(&all);
}

void
fit_season_merged(Model *m, const SeriesSummary *summary)
{
	SeasonSums	s = open_season_sums(m);

	for (int c = 0; c < m->features; c++)
	{
		s.deviation[c] = summary->sums[SUMMARY_SEASON][c];
		s.given[c] = summary->given[SUMMARY_GIVEN_SEASON][c];
	}
	set_gain(m, summary->sums[SUMMARY_SEASON_HELD_OUT], summary->sums[SUMMARY_SQUARE_HELD_OUT],
			 &m->stats);
	set_spread(m, &s, true, &m->stats);
	model_scale_season(m, &m->stats);
	close_season_sums(&s);
}
