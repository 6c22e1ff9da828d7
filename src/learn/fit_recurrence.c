/*
 * learn/fit_recurrence.c
 *	  Recurrence: the evidence that rows usually have at their time of day or week
 *	  (docs/model.md, Recurrence).
 *
 * A cell consists of the rows of one bin in one cycle of a period, for example from 2:00 to
 * 2:15 on one day, or on the last day of one month; its value is their greatest raw score.  The evidence of a bin is the median
 * of its cells, so that a single incident has no effect.  If it is several times that of the
 * other bins, something recurs.  The network has learned most of these cells; new ones have
 * more evidence.  How much more is measured on held-out rows.
 *
 * To find a job that is absent or unusual, the mean of each feature and its mean squared
 * deviation are stored for the bins with the most evidence.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"

#include "core/evidence/quantile.h"
#include "core/evidence/recurrence.h"
#include "learn/fit_recurrence.h"
#include "learn/fit_season.h"

#define FEWEST_CELLS 3			/* of a bin, for its median to count */
#define HIGH_QUANTILE 0.95		/* of raw scores */
#define UNUSUAL 4.0				/* least evidence that recurs, in units of this quantile … */
#define FEW_CELLS 4.0			/* … and 1 + FEW_CELLS / cells is the factor for few cells */
#define LEAST_GAP 2.0			/* least and greatest ratio of new cells to learned ones */
#define MOST_GAP 10.0
#define LEAST_MONTH_GAP 5.0		/* months have few cells, and hardly any new ones */
#define ROUNDS 3				/* of finding bins: the first ones conceal weaker ones */
#define LEAST_SPREAD 1e-4		/* of scaled values, squared */
#define WEIGHT 0.3 /* of usual deviations from the usual values, in units of the quantile */

/* ---- cells ---------------------------------------------------------------------------- */

typedef struct Cell
{
	int			bin;			/* index in the profile */
	double		evidence;		/* the greatest of its rows */
	bool		held_out;		/* all of them are */
} Cell;

/* What to do with a cell. */
typedef void (*visit_cell) (const Cell *cell, void *arg);

/* The raw score of a row, divided by the profile so far; negative if the row does not count. */
static double
evidence_of_row(const CalibrationRows *r, int64 row, int64 time, const ModelStats *stats)
{
	/* false for NaN, too */
	if (!(r->raw[row] >= 0) || calibration_rows_use(r, row) != ROW_KEPT)
		return -1.0;
	return r->raw[row] / nn_recurrence_divisor(&r->model->season, stats->recurrence, time);
}

/* Visits the cells of a period that have rows with a raw score. */
static void
visit_cells(CalibrationRows *r, RunRange runs, int period, const ModelStats *stats,
			visit_cell	visit, void *arg)
{
	const nn_season *season = &r->model->season;

	for (int i = runs.first; i < runs.last; i++)
	{
		const DatasetRun *run = &r->dataset->runs[i];
		Cell		cell = {.bin = -1};
		int64		cycle = 0;
		int64		end = 0;

		for (int64 place = 0; place < run->rows; place++)
		{
			int64		row = run->first + place;
			int64		time = model_calendar_time(r->model, r->dataset->ts[row]);
			double		evidence = evidence_of_row(r, row, time, stats);
			int			bin;
			bool		held_out;

			CHECK_FOR_INTERRUPTS();
			if (evidence < 0)
				continue;
			bin = nn_recurrence_bin(season, period, time);
			held_out = calibration_rows_held_out(r, run, place, &end);
			if (bin != cell.bin || nn_recurrence_cycle(season, period, time) != cycle)
			{
				if (cell.bin >= 0)
					visit(&cell, arg);
				cycle = nn_recurrence_cycle(season, period, time);
				cell = (Cell){.bin = bin, .held_out = true};
			}
			cell.evidence = Max(cell.evidence, evidence);
			cell.held_out = cell.held_out && held_out;
		}
		if (cell.bin >= 0)
			visit(&cell, arg);
	}
}

/* ---- the profile ---------------------------------------------------------------------- */

typedef struct Profile
{
	int			first;			/* index of the first bin of the period */
	int			bins;
	int64	   *cells;			/* (bins) */
	int64	   *next;			/* (bins) index of the next cell's evidence */
	double	   *evidence;		/* of all cells, in the order of the bins */
	double	   *usual;			/* (bins) median, in units of that of all bins; 1: nothing recurs */
	double		typical;		/* the unit */
	double		high;			/* HIGH_QUANTILE of the raw scores */
	double		gap;			/* sum over held-out cells of the logarithm of new / usual */
	int64		held_out;		/* number of such cells */
} Profile;

static void
count_cell(const Cell *cell, void *arg)
{
	Profile    *p = arg;

	p->cells[cell->bin - p->first]++;
}

static void
store_cell(const Cell *cell, void *arg)
{
	Profile    *p = arg;

	p->evidence[p->next[cell->bin - p->first]++] = cell->evidence;
}

static void
compare_held_out_cell(const Cell *cell, void *arg)
{
	Profile    *p = arg;
	double		usual = p->usual[cell->bin - p->first];

	if (!cell->held_out || usual == 1.0)
		return;
	p->gap += log(Max(cell->evidence, CALIBRATE_LEAST) / (usual * p->typical));
	p->held_out++;
}

/* Sets usual to the medians of the bins, in units of their own median; 1 if nothing recurs. */
static void
set_usual(Profile *p)
{
	double	   *medians = palloc(sizeof(double) * p->bins);
	int			n = 0;
	int64		first = 0;

	for (int b = 0; b < p->bins; b++)
	{
		int64		cells = p->cells[b];

		/* the lower one of two medians */
		p->usual[b] = cells < FEWEST_CELLS
			? 0.0
			: nn_quantile(p->evidence + first, cells, (double) ((cells - 1) / 2) / (cells - 1));
		if (cells >= FEWEST_CELLS)
			medians[n++] = p->usual[b];
		first += cells;
	}
	p->typical = Max(nn_quantile(medians, n, 0.5), CALIBRATE_LEAST);
	for (int b = 0; b < p->bins; b++)
	{
		p->usual[b] /= p->typical;
		if (p->usual[b] * p->typical < UNUSUAL * p->high * (1.0 + FEW_CELLS / Max(p->cells[b], 1)))
			p->usual[b] = 1.0;
	}
	pfree(medians);
}

/* ---- usual values --------------------------------------------------------------------- */

static bool
has_slot(const double *slots, int bin)
{
	for (int i = 0; i < NN_RECURRENCE_SLOTS; i++)
		if (slots[i] == bin + 1)
			return true;
	return false;
}

/* Chooses the bins with the greatest usual evidence: sets slots, of all periods, and usual. */
static void
choose_slots(const Profile *p, double *slots, double *usual)
{
	for (int b = 0; b < p->bins; b++)
	{
		int			at = NN_RECURRENCE_SLOTS;

		if (p->usual[b] == 1.0 || has_slot(slots, p->first + b))
			continue;
		for (; at > 0 && p->usual[b] > usual[at - 1]; at--)
			if (at < NN_RECURRENCE_SLOTS)
			{
				usual[at] = usual[at - 1];
				slots[at] = slots[at - 1];
			}
		if (at == NN_RECURRENCE_SLOTS)
			continue;
		usual[at] = p->usual[b];
		slots[at] = p->first + b + 1;
	}
}

/*
 * Sets the mean and the scale of each feature in each slot; high: the quantile of the evidence
 * relative to the profile.
 */
static void
fit_usual_values(const CalibrationRows *r, RunRange runs, double high, ModelStats *stats)
{
	const Model *m = r->model;
	const Dataset *d = r->dataset;
	const int	C = m->features;
	double	   *given = palloc0(sizeof(double) * NN_RECURRENCE_SLOTS * C);
	double	   *mean = stats->recurrence_mean;
	double	   *squares = stats->recurrence_scale;

	memset(mean, 0, sizeof(double) * NN_RECURRENCE_SLOTS * C);
	memset(squares, 0, sizeof(double) * NN_RECURRENCE_SLOTS * C);
	for (int i = runs.first; i < runs.last; i++)
		for (int64 row = d->runs[i].first; row < d->runs[i].first + d->runs[i].rows; row++)
		{
			int			slot = nn_recurrence_slot(&m->season, stats->recurrence_slots,
										  model_calendar_time(m, d->ts[row]));

			CHECK_FOR_INTERRUPTS();
			for (int c = 0; slot >= 0 && c < C; c++)
			{
				double		z = d->rows[row * C + c];
				size_t		at = (size_t) slot * C + c;
				double		before = mean[at];

				if (NN_IMPUTED(dataset_imputed(d, row), c))
					continue;
				mean[at] += (z - before) / ++given[at]; /* Welford */
				squares[at] += (z - before) * (z - mean[at]);
			}
		}
	for (int slot = 0; slot < NN_RECURRENCE_SLOTS; slot++)
	{
		const double *n = given + (size_t) slot * C;
		double	   *spread = squares + (size_t) slot * C;
		double		sum = 0.0;

		/* what is to be expected of a new value, which differs from the mean of n others */
		for (int c = 0; c < C; c++)
			sum += spread[c] *= (n[c] + 1.0) / Max(n[c] * (n[c] - 1.0), 1.0);
		/* the floor keeps a feature that hardly varies from outweighing all others */
		for (int c = 0; c < C; c++)
			spread[c] = n[c] == 0 ? 0.0
								  : WEIGHT * high /
					Max(spread[c], Max(sum / C * m->options.residual_floor, LEAST_SPREAD));
	}
	pfree(given);
}

/* ---- the whole ------------------------------------------------------------------------- */

/* Fits one period; slot_usual: the usual evidence of each slot.  False if nothing recurs. */
static bool
fit_period(CalibrationRows *r, RunRange runs, int period, int first, double high, ModelStats *stats,
		   double *slot_usual)
{
	const nn_season *season = &r->model->season;
	const int	bins = nn_recurrence_bins(season, period);
	double	   *profile = stats->recurrence + first;
	Profile		p = {
		.first = first,
		.bins = bins,
		.high = high,
		.cells = palloc0(sizeof(int64) * bins),
		.next = palloc(sizeof(int64) * bins),
		.evidence = r->scratch,
		.usual = palloc(sizeof(double) * bins),
	};
	int64		sum = 0;
	bool		recurs = false;
	double		gap;

	visit_cells(r, runs, period, stats, count_cell, &p);
	for (int b = 0; b < bins; b++)
	{
		p.next[b] = sum;
		sum += p.cells[b];
	}
	visit_cells(r, runs, period, stats, store_cell, &p);
	set_usual(&p);
	visit_cells(r, runs, period, stats, compare_held_out_cell, &p);
	gap = p.held_out > 0 ? exp(p.gap / p.held_out) : 1.0;
	gap = Min(Max(gap, period < season->nperiods ? LEAST_GAP : LEAST_MONTH_GAP), MOST_GAP);
	/* a job can begin a little earlier or later; the two days of months are not a circle */
	for (int b = 0; b < bins; b++)
	{
		const bool	circle = period < season->nperiods;
		double		before = b > 0 || circle ? p.usual[(b + bins - 1) % bins] : 1.0;
		double		after = b < bins - 1 || circle ? p.usual[(b + 1) % bins] : 1.0;
		double		most = Max(p.usual[b], Max(before, after));

		recurs = recurs || most > 1.0;
		if (most > 1.0)
			profile[b] *= pow(most * gap, r->model->options.recurrence);
	}
	choose_slots(&p, stats->recurrence_slots, slot_usual);
	pfree(p.cells);
	pfree(p.next);
	pfree(p.usual);
	return recurs;
}

/* A high quantile of the evidence of rows. */
static double
high_evidence(CalibrationRows *r, RunRange runs, const ModelStats *stats)
{
	const Dataset *d = r->dataset;
	int64		n = 0;

	for (int i = runs.first; i < runs.last; i++)
		for (int64 row = d->runs[i].first; row < d->runs[i].first + d->runs[i].rows; row++)
		{
			double evidence = evidence_of_row(r, row, model_calendar_time(r->model, d->ts[row]),
											  stats);

			CHECK_FOR_INTERRUPTS();
			if (evidence >= 0)
				r->scratch[n++] = evidence;
		}
	return calibration_rows_quantile(r, n, HIGH_QUANTILE);
}

void
take_recurrence(const ModelStats *all, ModelStats *series)
{
	if (series->profile == PROFILE_OWN)
		figures_drop_profile(series);
	series->profile = all->profile == PROFILE_OWN ? PROFILE_ALL : PROFILE_NONE;
}

void
fit_recurrence(CalibrationRows *r, RunRange runs, const ModelStats *others, ModelStats *stats)
{
	const Model *m = r->model;
	double		usual[NN_RECURRENCE_SLOTS] = {0};
	bool		recurs = true;
	bool		any = false;

	if (others != NULL && !fit_season_spans(m, r->dataset, runs))
	{
		take_recurrence(others, stats);
		return;
	}
	figures_create_profile(stats, &m->sizes);
	for (int b = 0; b < m->sizes.count[FIGURE_RECURRENCE_BINS]; b++)
		stats->recurrence[b] = 1.0;
	for (int round = 0; round < ROUNDS && recurs; round++)
	{
		int			first = 0;
		double		high = high_evidence(r, runs, stats);

		recurs = false;
		for (int i = 0; i < nn_recurrence_periods(&m->season); i++)
		{
			recurs = fit_period(r, runs, i, first, high, stats, usual) || recurs;
			first += nn_recurrence_bins(&m->season, i);
		}
		any = any || recurs;
	}
	if (any)
		fit_usual_values(r, runs, high_evidence(r, runs, stats), stats);
	else
		figures_drop_profile(stats);
}

void
apply_recurrence(CalibrationRows *r, const DatasetRun *run, const ModelStats *stats)
{
	const Dataset *d = r->dataset;
	nn_calibration calibration = model_calibration(r->model, stats);

	for (int64 row = run->first; row < run->first + run->rows; row++)
	{
		const nn_row values = {
			.scaled = d->rows + row * d->features,
			.imputed = dataset_imputed(d, row),
			.time = model_calendar_time(r->model, d->ts[row]),
		};

		CHECK_FOR_INTERRUPTS();
		if (r->raw[row] >= 0)
			r->raw[row] = nn_recurrence_score(&calibration, &values, r->raw[row]);
	}
}
