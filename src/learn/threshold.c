/*
 * learn/threshold.c
 *	  Scales of the horizons (theta) and the threshold, from raw scores (docs/model.md,
 *	  Score; docs/recalibrate.md).
 *
 * theta of a horizon is a quantile of the means of that many raw scores.  The threshold of
 * a training is a quantile of the anomaly scores of all rows, most of which were learned,
 * raised by what rows that were not learned have more, and by a margin for the rows that
 * there are too few of.  That of a recalibration is a quantile of recent scores.  It is
 * limited relative to the old threshold, as far as old severities show that the model no
 * longer fits, so that anomalies do not raise it.  Values are collected in scratch, where the
 * quantile is selected.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "core/evidence/quantile.h"
#include "core/evidence/severity.h"
#include "learn/threshold.h"
#include "pg/interrupts.h"

/* Threshold of a training, chosen on real data: docs/model.md, Score. */
#define SHARE 1.5 /* contamination is multiplied by it; fewer of new rows exceed the result */
#define FEW_ROWS 2000			/* with fewer rows the quantile is much closer to the maximum … */
#define MARGIN 30.0				/* … and 1 + MARGIN / √rows is the factor for the others */
const double threshold_gap_quantiles[THRESHOLD_GAPS] = {0.5, 0.75, 0.9};

/* Threshold of a recalibration, also chosen on real data: docs/recalibrate.md. */
#define FENCE 4.0
#define FENCE_QUANTILE 0.1
#define OLD_QUANTILE 0.95		/* quantile at which new scores are compared with old severities */
#define DRIFTED_MEDIAN 0.5		/* median of old severities of rows that the model no longer fits */
#define LEAST_MEDIAN 0.05		/* what new scales leave of it at least */
#define PARTS 9					/* of the rows, in order of time … */
#define PART_FLAGGED 0.15		/* … most of which have this share of flagged rows: no incident */
#define LASTING_RATIO 3.0		/* most that the threshold rises by if the scales do not change */

/* Collects the weighted means of h raw scores that end with each row of runs. */
static int64
collect_means(CalibrationRows *r, RunRange runs, int h)
{
	const int	reach = nn_horizon_reach(h, r->model->options.lookahead);
	const double fade = r->model->options.fade;
	int64		n = 0;

	for (int i = runs.first; i < runs.last; i++)
	{
		const DatasetRun *run = &r->dataset->runs[i];
		int64		have = 0;	/* consecutive rows with a raw score */

		for (int64 row = run->first; row < run->first + run->rows; row++)
		{
			double		sum = 0.0;
			double		weights = 0.0;

			CHECK_FOR_INTERRUPTS();
			have = isnan(r->raw[row]) ? 0 : have + 1;
			if (have < h || calibration_rows_use(r, row) != ROW_KEPT)
				continue;
			for (int back = 0; back < h; back++)
				if (r->raw[row - back] != NN_NO_SCORE)
				{
					double		weight = nn_horizon_weight(fade, h, back - reach);

					sum += weight * r->raw[row - back];
					weights += weight;
				}
			if (weights > 0)
				r->scratch[n++] = sum / weights;
		}
	}
	return n;
}

/*
 * With lookahead a score is known when later rows have been added, or when the stretch ends at
 * a row without a raw score.
 */
int64
threshold_collect_scores(CalibrationRows *r, RunRange runs, const ModelStats *stats, bool held)
{
	nn_calibration calibration = model_calibration(r->model, stats);
	double	   *ring = palloc(sizeof(double) * nn_max_horizon(&calibration));
	nn_horizons horizons;
	int64		n = 0;

	nn_horizons_open(&horizons, &calibration, ring);
	for (int i = runs.first; i < runs.last; i++)
	{
		const DatasetRun *run = &r->dataset->runs[i];
		int64		unused;

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

				if (calibration_rows_use(r, run->first + newest - back) == ROW_CONTEXT ||
					(held && !calibration_rows_held_out(r, run, newest - back, &unused)))
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
set_theta(CalibrationRows *r, RunRange runs, ModelStats *stats)
{
	const Options *o = &r->model->options;

	for (int i = 0; i < o->nhorizons; i++)
	{
		int64		n = collect_means(r, runs, o->horizons[i]);

		if (n == 0 && r->recorded)
			continue;			/* the old one stays */
		stats->theta[i] = n == 0
			? CALIBRATE_LEAST
			: Max(calibration_rows_quantile(r, n, o->horizon_quantile), CALIBRATE_LEAST);
	}
}

/*
 * New rows exceed the scores of n rows more often the fewer they are, because neighbouring
 * rows are alike: what is rare has not been seen.  It keeps equal scores below the
 * threshold, too.
 */
static double
margin_for_rows(int64 n)
{
	return 1.0 + MARGIN / sqrt((double) n);
}

double
threshold_share(const Model *m, int64 n)
{
	double		share = m->options.contamination * (m->plan.has_network ? SHARE : 1.0);

	return share * ((double) n / (n + FEW_ROWS));
}

/*
 * Held-out rows are like new rows, but too few for a high quantile.  So that is taken from all
 * rows, and multiplied by the ratio of lower quantiles.
 */
double
threshold_of_quantiles(const double *held, const double *all, double high, int64 n)
{
	double		gap = 0.0;		/* in the logarithm */

	for (int i = 0; i < THRESHOLD_GAPS; i++)
		gap += log(Max(held[i], CALIBRATE_LEAST)) - log(Max(all[i], CALIBRATE_LEAST));
	return high * exp(Max(gap / THRESHOLD_GAPS, 0.0)) * margin_for_rows(n);
}

/* The threshold from the scores of held-out rows, n of which are in scratch, and of all rows. */
static double
threshold_of_training(CalibrationRows *r, RunRange runs, const ModelStats *stats, int64 n)
{
	double		held[THRESHOLD_GAPS];
	double		all[THRESHOLD_GAPS];

	for (int i = 0; i < THRESHOLD_GAPS; i++)
		held[i] = calibration_rows_quantile(r, n, threshold_gap_quantiles[i]);
	n = threshold_collect_scores(r, runs, stats, false);
	for (int i = 0; i < THRESHOLD_GAPS; i++)
		all[i] = calibration_rows_quantile(r, n, threshold_gap_quantiles[i]);
	return threshold_of_quantiles(held, all,
								  calibration_rows_quantile(r, n,
															1.0 - threshold_share(r->model, n)),
								  n);
}

/* Collects the old severities of the rows that have a new score. */
static int64
collect_severities(CalibrationRows *r, RunRange runs)
{
	int64		n = 0;

	for (int i = runs.first; i < runs.last; i++)
	{
		const DatasetRun *run = &r->dataset->runs[i];

		for (int64 place = r->model->plan.max_horizon - 1; place < run->rows; place++)
		{
			int64		row = run->first + place;

			CHECK_FOR_INTERRUPTS();
			if (calibration_rows_use(r, row) != ROW_CONTEXT && !isnan(r->recorded->severity[row]))
				r->scratch[n++] = r->recorded->severity[row];
		}
	}
	return n;
}

RowFit
threshold_row_fit(double *severities, int64 n)
{
	double		flagged[PARTS];
	RowFit		fit = {0};
	bool		any = false;

	if (n == 0)
		return fit;
	for (int i = 0; i < PARTS; i++)
	{
		int64		first = n * i / PARTS;
		int64		rows = n * (i + 1) / PARTS - first;

		flagged[i] = 0;
		for (int64 row = first; row < first + rows; row++)
		{
			CHECK_FOR_INTERRUPTS();
			flagged[i] += severities[row] > 1.0;
		}
		any = any || flagged[i] > 0;
		flagged[i] /= Max(rows, 1);
	}
	fit.lasting = nn_quantile(flagged, PARTS, 0.5) >= PART_FLAGGED;
	fit.median = nn_quantile_polled(severities, n, 0.5, check_interrupts);
	/* equal scores, as of an idle device, have a high median without any drift */
	fit.drifted = fit.lasting || (any && fit.median >= DRIFTED_MEDIAN);
	return fit;
}

/*
 * The threshold from n recent scores in scratch.  Anomalies, at most the share trim of the
 * scores, must not raise it.  So it does not exceed the fence m·(m / q)^FENCE, with the
 * median m and the 0.1 quantile q, unless more than trim of the scores do.
 */
static double
threshold_of_recent(CalibrationRows *r, int64 n)
{
	double		trim = r->recorded->trim;
	double		share = r->model->options.contamination;
	double		threshold = calibration_rows_quantile(r, n, 1.0 - share);

	if (trim > share)
	{
		double		median = calibration_rows_quantile(r, n, 0.5);
		double		low = Max(calibration_rows_quantile(r, n, FENCE_QUANTILE), CALIBRATE_LEAST);
		double		fence = median * pow(median / low, FENCE);

		return Max(calibration_rows_quantile(r, n, 1.0 - trim), Min(threshold, fence));
	}
	return threshold * margin_for_rows(n);
}

/* Limits the ratio of a recent threshold to the one that corresponds to the old threshold. */
static double
limit_ratio(const CalibrationRows *r, RunRange runs, double ratio, const RowFit *before)
{
	double		most = before->drifted ? LASTING_RATIO : 1.0;

	if (before->median >= DRIFTED_MEDIAN && calibration_rows_refit(r, runs))
		most = Max(most, nn_severity_ratio(before->median) / LEAST_MEDIAN);
	return Max(1.0, Min(ratio, most));
}

/* Adds n scores in scratch, and those above the threshold, to a result. */
static void
count_flagged(const CalibrationRows *r, int64 n, double threshold, Recalibrated *result)
{
	result->rows += n;
	for (int64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		result->flagged += r->scratch[i] > threshold;
	}
}

void
fit_threshold(CalibrationRows *r, RunRange runs, ModelStats *stats, Recalibrated *result)
{
	int64		n = r->recorded ? collect_severities(r, runs) : 0;
	RowFit		before = threshold_row_fit(r->scratch, n);
	double		high = nn_severity_ratio(calibration_rows_quantile(r, n, OLD_QUANTILE));

	if (calibration_rows_refit(r, runs))
		set_theta(r, runs, stats);
	n = threshold_collect_scores(r, runs, stats, true);
	stats->threshold = n == 0 ? 1.0
		: r->recorded		  ? threshold_of_recent(r, n)
							  : threshold_of_training(r, runs, stats, n);
	if (high > 0 && n > 0)
	{
		/* a score that corresponds to the old threshold, and the new one relative to it */
		double		same = calibration_rows_quantile(r, n, OLD_QUANTILE) / high;
		double		ratio = stats->threshold / Max(same, CALIBRATE_LEAST);

		if (!calibration_rows_may_fall(r, stats) && !r->recorded->new_contamination)
		{
			ratio = limit_ratio(r, runs, ratio, &before);
			stats->threshold = same * ratio;
		}
		if (result)
			result->threshold_ratio = Max(result->threshold_ratio, ratio);
	}
	stats->threshold = Max(stats->threshold, CALIBRATE_LEAST);
	if (result)
		count_flagged(r, n, stats->threshold, result);
}
