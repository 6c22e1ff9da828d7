/*
 * learn/threshold.c
 *	  Scales of the horizons and the threshold, from raw scores (docs/model.md, Score;
 *	  docs/recalibrate.md).
 *
 * Values are collected into scratch, of which a quantile is then taken.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>


#include "core/evidence/quantile.h"
#include "learn/threshold.h"
#include "pg/interrupts.h"

/* The threshold of a training, chosen on real data: docs/model.md, Score. */
#define SHARE 1.5				/* of training rows above it, times contamination: of new ones fewer are */
#define HELD_WEIGHT 0.4			/* of the held-out rows' quantile, in the logarithm */
#define LEAST_HELD 0.1			/* of all rows' quantile: held-out rows may all be alike */

/* That of a recalibration, chosen so, too: docs/recalibrate.md. */
#define FENCE 4.0
#define FENCE_QUANTILE 0.1
#define OLD_QUANTILE 0.95		/* where new scores are compared with old severities */
#define FEW 0.5					/* of trim: so few flagged rows are no drift */

int64
threshold_held_place(const RawScores *r, const DatasetRun *run)
{
	return r->use_all ? 0 : dataset_training_rows(r->dataset, run);
}

RowUse
threshold_use_of(const RawScores *r, int64 row)
{
	return r->recorded ? r->recorded->use[row] : ROW_KEPT;
}

bool
threshold_only_grows(const RawScores *r)
{
	return r->recorded != NULL && r->recorded->trim > 0;
}

bool
threshold_alone(const RawScores *r)
{
	return r->recorded != NULL && r->recorded->threshold_only;
}

/* Of the first n values in scratch. */
static double
quantile(RawScores *r, int64 n, double q)
{
	return nn_quantile_polled(r->scratch, n, q, check_interrupts);
}

/*
 * The values that a quantile is taken of, into scratch; their number.  They are of
 * the runs first … last - 1: the mean of h raw scores up to every row …
 */
static int64
collect_means(RawScores *r, int first, int last, int h)
{
	int64		n = 0;

	for (int i = first; i < last; i++)
	{
		const DatasetRun *run = &r->dataset->runs[i];
		int64		have = 0;	/* rows with a raw score up to this one */

		for (int64 row = run->first; row < run->first + run->rows; row++)
		{
			double		sum = 0.0;
			int			given = 0;

			CHECK_FOR_INTERRUPTS();
			have = isnan(r->raw[row]) ? 0 : have + 1;
			if (have < h || threshold_use_of(r, row) != ROW_KEPT)
				continue;
			for (int back = 0; back < h; back++)
				if (r->raw[row - back] != NN_NO_SCORE)
				{
					sum += r->raw[row - back];
					given++;
				}
			if (given > 0)
				r->scratch[n++] = sum / given;
		}
	}
	return n;
}

/*
 * Collects the anomaly score of every row of the runs first … last - 1, or of those held
 * out, into scratch; returns their number.  With lookahead a score comes when later rows
 * have been added or the stretch has ended, which a row without a raw score does.
 */
static int64
collect_scores(RawScores *r, int first, int last, const ModelStats *stats, bool held)
{
	nn_calibration calibration = model_calibration(r->model, stats);
	double	   *ring = palloc(sizeof(double) * nn_max_horizon(&calibration));
	nn_horizons horizons;
	int64		n = 0;

	nn_horizons_open(&horizons, &calibration, ring);
	for (int i = first; i < last; i++)
	{
		const DatasetRun *run = &r->dataset->runs[i];
		int64		least = held ? threshold_held_place(r, run) : 0;

		for (int64 place = 0; place <= run->rows; place++)
		{
			bool		end = place == run->rows || isnan(r->raw[run->first + place]);
			int64		newest = end ? place - 1 : place;

			CHECK_FOR_INTERRUPTS();
			if (!end)
				nn_horizons_add(&horizons, r->raw[run->first + place]);
			while (end ? horizons.waiting > 0 : nn_horizons_due(&horizons))
			{
				int			back = nn_horizons_release(&horizons);
				double		score;

				if (newest - back < least ||
					threshold_use_of(r, run->first + newest - back) == ROW_CONTEXT)
					continue;
				score = nn_horizons_score(&horizons, back);
				if (!isnan(score))
					r->scratch[n++] = score;
			}
			if (end)
				nn_horizons_reset(&horizons);
		}
	}
	pfree(ring);
	return n;
}

static void
set_theta(RawScores *r, int first, int last, ModelStats *stats)
{
	const Options *o = &r->model->options;

	for (int i = 0; i < o->nhorizons; i++)
	{
		int64		n = collect_means(r, first, last, o->horizons[i]);

		if (n == 0 && r->recorded)
			continue;			/* the old one is better than none */
		stats->theta[i] = n == 0 ? CALIBRATE_LEAST
			: Max(quantile(r, n, o->horizon_quantile), CALIBRATE_LEAST);
	}
}

/*
 * The threshold from the scores of the rows held out, of which n are in scratch, and
 * from those of all rows.  The first are as new ones are, but of one time, quiet or
 * not; the others are of all times, but most were learned.  What errs is a factor,
 * so it is a geometric mean of both.
 */
static double
threshold_of_training(RawScores *r, int first, int last, const ModelStats *stats, int64 n)
{
	double		share = r->model->options.contamination *
		(r->model->options.method == METHOD_AMAD ? SHARE : 1.0);
	double		held = quantile(r, n, 1.0 - share);
	double		all;

	n = collect_scores(r, first, last, stats, false);
	all = quantile(r, n, 1.0 - share);
	return pow(Max(held, LEAST_HELD * all), HELD_WEIGHT) * pow(all, 1.0 - HELD_WEIGHT);
}

/* The severities that the rows with a new score had, into scratch; their number. */
static int64
collect_severities(RawScores *r, int first, int last)
{
	int64		n = 0;

	for (int i = first; i < last; i++)
	{
		const DatasetRun *run = &r->dataset->runs[i];

		for (int64 place = options_max_horizon(&r->model->options) - 1; place < run->rows; place++)
		{
			int64		row = run->first + place;

			CHECK_FOR_INTERRUPTS();
			if (threshold_use_of(r, row) != ROW_CONTEXT && !isnan(r->recorded->severity[row]))
				r->scratch[n++] = r->recorded->severity[row];
		}
	}
	return n;
}

/* What these severities say. */
typedef struct Before
{
	double		severity;		/* their OLD_QUANTILE; 0: they do not matter */
	double		flagged;		/* share of those of 1 and more */
} Before;

static Before
judge_before(RawScores *r, int first, int last)
{
	Before		before = {0};
	int64		n = threshold_only_grows(r) && !r->recorded->new_contamination
		? collect_severities(r, first, last) : 0;

	if (n == 0)
		return before;
	for (int64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		before.flagged += r->scratch[i] >= 1.0;
	}
	before.flagged /= n;
	before.severity = quantile(r, n, OLD_QUANTILE);
	return before;
}

/*
 * The threshold from n recent scores in scratch.  Anomalies among them, trim of all at
 * most, must not raise it: it is not above a fence that the lower half sets,
 * m·(m / q)^FENCE with the median m and the 0.1 quantile q, unless more than trim
 * of the scores were.  Nor may it fall: it is not where rows had a severity below 1.
 * When few were flagged, nothing has drifted, and it stays there.
 */
static double
threshold_of_recent(RawScores *r, int64 n, const Before *before)
{
	double		trim = r->recorded->trim;
	double		share = r->model->options.contamination;
	double		threshold = quantile(r, n, 1.0 - share);

	if (trim > share)
	{
		double		median = quantile(r, n, 0.5);
		double		low = Max(quantile(r, n, FENCE_QUANTILE), CALIBRATE_LEAST);
		double		fence = median * pow(median / low, FENCE);

		threshold = Max(quantile(r, n, 1.0 - trim), Min(threshold, fence));
	}
	if (before->severity > 0)
	{
		double		same = quantile(r, n, OLD_QUANTILE) / before->severity;

		threshold = before->flagged <= FEW * trim ? same : Max(threshold, same);
	}
	return threshold;
}

/* Adds scores, those above the threshold, to what is told of a recalibration. */
static void
count_flagged(const RawScores *r, int64 n, double threshold, Recalibrated *result)
{
	result->rows += n;
	for (int64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		result->flagged += r->scratch[i] >= threshold;
	}
}

void
threshold_set(RawScores *r, int first, int last, ModelStats *stats, Recalibrated *result)
{
	Before		before = judge_before(r, first, last);
	int64		n;

	if (!threshold_alone(r))
		set_theta(r, first, last, stats);
	n = collect_scores(r, first, last, stats, true);
	stats->threshold = n == 0 ? 1.0
		: r->recorded ? threshold_of_recent(r, n, &before)
		: threshold_of_training(r, first, last, stats, n);
	stats->threshold = Max(stats->threshold, CALIBRATE_LEAST);
	if (result)
		count_flagged(r, n, stats->threshold, result);
}
