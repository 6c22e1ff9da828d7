/*
 * measure/metrics.c
 *	  Events, counts at a threshold, and metrics of the ranking (see metrics.h).
 *
 * Each function is one pass over the rows, in the order that metrics.h states.
 */
#include <math.h>

#include "measure/metrics.h"

/* ---- events -------------------------------------------------------------------------- */

int64_t
metrics_count_events(MetricsRows *rows)
{
	int64_t		events = 0;
	int			before = 0;

	rows->anomalies = 0;
	for (int64_t i = 0; i < rows->n; i++)
	{
		int			label = metrics_label(&rows->row[i]);

		metrics_breathe(rows, i);
		rows->anomalies += label;
		events += label & !before;
		before = label;
	}
	return events;
}

void
metrics_find_events(const MetricsRows *rows, MetricsEvent *events)
{
	MetricsEvent *event = events - 1;
	int			before = 0;

	for (int64_t i = 0; i < rows->n; i++)
	{
		const MetricsRow *row = &rows->row[i];
		int			label = metrics_label(row);

		metrics_breathe(rows, i);
		if (label && !before)
		{
			event++;
			event->start = i;
			event->peak = row->score;
		}
		if (label)
		{
			event->end = i + 1;
			event->peak = fmax(event->peak, row->score);
		}
		before = label;
	}
}

/* ---- at a threshold ------------------------------------------------------------------- */

/* Counts flagged rows and alarms (runs of flagged rows); false ones contain no anomalous row. */
static void
count_alarms(const MetricsRows *rows, double threshold, MetricsDetection *result)
{
	int			within = 0;		/* the row before is in an alarm */
	int			touches = 0;	/* which contains an anomalous row */

	for (int64_t i = 0; i < rows->n; i++)
	{
		const MetricsRow *row = &rows->row[i];
		int			flagged = row->score >= threshold;

		metrics_breathe(rows, i);
		if (flagged)
		{
			int			label = metrics_label(row);

			result->flagged++;
			result->hits += label;
			result->alarms += !within;
			touches = (within && touches) || label;
		}
		else
			result->false_alarms += within && !touches;
		within = flagged;
	}
	result->false_alarms += within && !touches;
}

void
metrics_detection(const MetricsRows *rows, const MetricsEvent *events, int64_t nevents,
				  double threshold, MetricsDetection *result, int64_t *delay_rows,
				  int64_t *delay_time)
{
	const MetricsDetection none = {0};

	*result = none;
	count_alarms(rows, threshold, result);
	for (int64_t e = 0; e < nevents; e++)
	{
		const MetricsEvent *event = &events[e];
		int64_t		i = event->start;

		metrics_breathe(rows, e);
		if (!(event->peak >= threshold))
			continue;
		for (; rows->row[i].score < threshold; i++)
			metrics_breathe(rows, i);
		delay_rows[result->detected] = i - event->start;
		delay_time[result->detected] = metrics_time(&rows->row[i]) -
			metrics_time(&rows->row[event->start]);
		result->detected++;
		result->adjusted += event->end - event->start;
	}
}

double
metrics_precision(int64_t hits, int64_t flagged)
{
	return flagged > 0 ? (double) hits / flagged : NAN;
}

double
metrics_recall(int64_t hits, int64_t anomalies)
{
	return anomalies > 0 ? (double) hits / anomalies : NAN;
}

/* The harmonic mean of precision and recall; 0 if nothing is flagged. */
double
metrics_f1(int64_t hits, int64_t flagged, int64_t anomalies)
{
	return anomalies > 0 ? 2.0 * hits / (flagged + anomalies) : NAN;
}

/* ---- of the ranking -------------------------------------------------------------------- */

void
metrics_number(MetricsRows *rows)
{
	for (int64_t i = 0; i < rows->n; i++)
	{
		metrics_breathe(rows, i);
		rows->row[i].place = metrics_place(i, metrics_label(&rows->row[i]));
	}
}

/*
 * Every distinct score is a threshold; rows of equal score are flagged together.  The area
 * under the ROC curve is the share of (anomalous, normal) pairs in the right order, where
 * ties count half.
 */
void
metrics_ranking(const MetricsRows *rows, const MetricsEvent *events, int64_t nevents,
				MetricsRanking *result)
{
	int64_t		normal = rows->n - rows->anomalies;
	int64_t		hits = 0;
	int64_t		adjusted = 0;
	int64_t		event = 0;
	double		precision = 0;	/* sum over anomalous rows */
	double		pairs = 0;		/* twice the pairs in the right order */
	const MetricsRanking undefined = {NAN, NAN, NAN, NAN, NAN};

	*result = undefined;
	if (rows->anomalies == 0)
		return;
	result->best_f1 = result->best_adjusted_f1 = -1;
	for (int64_t i = 0, next; i < rows->n; i = next)
	{
		double		score = rows->row[i].score;
		int64_t		above = hits;
		int64_t		tied;
		double		f1;

		for (next = i; next < rows->n && rows->row[next].score == score; next++)
		{
			metrics_breathe(rows, next);
			hits += metrics_label(&rows->row[next]);
		}
		tied = hits - above;
		precision += tied * ((double) hits / next);
		pairs += (double) (next - i - tied) * (above + hits);
		f1 = metrics_f1(hits, next, rows->anomalies);
		if (f1 > result->best_f1)
		{
			result->best_f1 = f1;
			result->best_f1_threshold = score;
		}
		for (; event < nevents && events[event].peak >= score; event++)
			adjusted += events[event].end - events[event].start;
		f1 = metrics_f1(adjusted, adjusted + next - hits, rows->anomalies);
		result->best_adjusted_f1 = fmax(result->best_adjusted_f1, f1);
	}
	result->auc_pr = precision / rows->anomalies;
	if (normal > 0)
		result->auc_roc = pairs / (2.0 * rows->anomalies * normal);
}
