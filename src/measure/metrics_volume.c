/*
 * measure/metrics_volume.c
 *	  Volume under the surface: VUS-PR and VUS-ROC (see metrics.h).
 *
 * For a buffer w, a normal row at a distance of d ≤ w/2 (whole rows) from an event counts as
 * anomalous with weight √(1 − d/w).  The weights of several events add up, to at most 1.
 * Each weight is at least √½, so two events within reach always make 1: the distances d1 ≤ d2
 * to the two nearest events determine the weight of a normal row for every w.
 *
 * At a threshold, let `flagged` rows be flagged, of which `hits` are anomalous and the others
 * have the total weight `extra`.  With n rows, P of them anomalous,
 *
 *	TP = hits + extra			positives = P + extra/2
 *	recall = min(1, TP / positives) · share of the widened events with a flagged row
 *	fall-out = (flagged − TP) / (n − positives)		precision = TP / flagged
 *
 * For each w, these give a curve over METRICS_LEVELS thresholds and the area under it; the
 * volume is the mean area over all w.  Rows far from events cost nothing: their weights are 0.
 */
#include <math.h>
#include <string.h>

#include "measure/metrics.h"

/* Tables in volume->work. */
typedef struct Tables
{
	int			widths;			/* window + 1 */
	int			reach;			/* distance reached by the widest buffer: window / 2 */
	double	   *root;			/* (reach + 1, widths): √(1 − d/w), 0 out of reach */
	double	   *single;			/* (reach + 1, LEVELS): rows by d1 and first level */
	double	   *extra;			/* (LEVELS, widths) */
} Tables;

size_t
metrics_volume_bytes(int window)
{
	size_t		widths = window + 1;
	size_t		distances = window / 2 + 1;

	return sizeof(double) *
		(distances * widths + distances * METRICS_LEVELS + METRICS_LEVELS * widths);
}

static Tables
tables_open(const MetricsVolume *volume)
{
	Tables		t;

	t.widths = volume->window + 1;
	t.reach = volume->window / 2;
	t.root = volume->work;
	t.single = t.root + (size_t) (t.reach + 1) * t.widths;
	t.extra = t.single + (size_t) (t.reach + 1) * METRICS_LEVELS;
	memset(volume->work, 0, metrics_volume_bytes(volume->window));
	for (int d = 1; d <= t.reach; d++)
		for (int w = 2 * d; w < t.widths; w++)
			t.root[d * t.widths + w] = sqrt(1 - (double) d / w);
	return t;
}

/* ---- thresholds ------------------------------------------------------------------------- */

/*
 * The thresholds are the scores at evenly spaced ranks, first and last included.  Ranks are
 * rounded down, as in the reference implementation.
 */
void
metrics_volume_levels(const MetricsRows *rows, MetricsVolume *volume)
{
	double		step = (double) (rows->n - 1) / (METRICS_LEVELS - 1);
	int			k = 0;

	for (int j = 0; j < METRICS_LEVELS; j++)
	{
		int64_t		rank = j < METRICS_LEVELS - 1 ? (int64_t) (j * step) : rows->n - 1;

		volume->level[j] = rows->row[rank].score;
	}
	memset(volume->flagged, 0, sizeof(volume->flagged));
	memset(volume->hits, 0, sizeof(volume->hits));
	for (int64_t i = 0; i < rows->n; i++)
	{
		metrics_breathe(rows, i);
		while (rows->row[i].score < volume->level[k])
			k++;
		volume->flagged[k]++;
		volume->hits[k] += metrics_label(&rows->row[i]);
	}
	for (int j = 1; j < METRICS_LEVELS; j++)
	{
		volume->flagged[j] += volume->flagged[j - 1];
		volume->hits[j] += volume->hits[j - 1];
	}
}

/* The first level that flags a score; the last level flags all. */
static int
first_level(const MetricsVolume *volume, double score)
{
	int			low = 0;
	int			high = METRICS_LEVELS - 1;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (score >= volume->level[middle])
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* ---- weights of normal rows near events --------------------------------------------------- */

/* Distances from a row between events e - 1 and e to the two nearest events. */
static void
nearest_two(const MetricsEvent *events, int64_t nevents, int64_t e, int64_t i, int64_t *d1,
			int64_t *d2)
{
	int64_t		left = e > 0 ? i - (events[e - 1].end - 1) : INT64_MAX;
	int64_t		right = e < nevents ? events[e].start - i : INT64_MAX;
	int64_t		second = left > right ? left : right;

	*d1 = left < right ? left : right;
	if (e > 1 && i - (events[e - 2].end - 1) < second)
		second = i - (events[e - 2].end - 1);
	if (e + 1 < nevents && events[e + 1].start - i < second)
		second = events[e + 1].start - i;
	*d2 = second;
}

/* Counts a row by the distance of its nearest event, and adds the weight of a second one. */
static void
weigh_normal_row(Tables *t, int level, int64_t d1, int64_t d2)
{
	double	   *extra = t->extra + (size_t) level * t->widths;
	const double *root = t->root + d1 * t->widths;

	t->single[d1 * METRICS_LEVELS + level]++;
	if (d2 <= t->reach)
		for (int w = 2 * (int) d2; w < t->widths; w++)
			extra[w] += 1 - root[w];
}

/* Weighs the normal rows before event e; e = nevents: after the last event. */
static void
weigh_gap(const MetricsRows *rows, const MetricsEvent *events, int64_t nevents, int64_t e,
		  const MetricsVolume *volume, Tables *t)
{
	int64_t		start = e > 0 ? events[e - 1].end : 0;
	int64_t		end = e < nevents ? events[e].start : rows->n;

	for (int64_t i = start; i < end; i++)
	{
		int64_t		d1, d2;

		rows->check();
		nearest_two(events, nevents, e, i, &d1, &d2);
		if (d1 > t->reach)
		{
			/* skip to the rows within reach of the next event */
			if (e == nevents)
				break;
			i = events[e].start - t->reach - 1;
			continue;
		}
		weigh_normal_row(t, first_level(volume, rows->row[i].score), d1, d2);
	}
}

/* Sets extra[level][w], the weight of the normal rows flagged at the level. */
static void
weigh_rows(const MetricsRows *rows, const MetricsEvent *events, int64_t nevents,
		   const MetricsVolume *volume, Tables *t)
{
	if (t->reach == 0)
		return;
	for (int64_t e = 0; e <= nevents; e++)
		weigh_gap(rows, events, nevents, e, volume, t);
	for (int level = 0; level < METRICS_LEVELS; level++)
	{
		double	   *extra = t->extra + (size_t) level * t->widths;

		rows->check();
		for (int d = 1; d <= t->reach; d++)
		{
			double		count = t->single[d * METRICS_LEVELS + level];
			const double *root = t->root + d * t->widths;

			for (int w = 2 * d; count > 0 && w < t->widths; w++)
				extra[w] += count * root[w];
		}
		for (int w = 0; level > 0 && w < t->widths; w++)
			extra[w] += extra[w - t->widths];
	}
}

/* ---- widened events ------------------------------------------------------------------------ */

/* Widens each event by one row on either side, and merges events that then overlap. */
static int64_t
widen(const MetricsRows *rows, MetricsEvent *events, int64_t nevents)
{
	int64_t		kept = 0;

	for (int64_t e = 0; e < nevents; e++)
	{
		MetricsEvent event = events[e];

		metrics_breathe(rows, e);
		if (event.start > 0)
			event.peak = fmax(event.peak, rows->row[--event.start].score);
		if (event.end < rows->n)
			event.peak = fmax(event.peak, rows->row[event.end++].score);
		if (kept > 0 && events[kept - 1].end > event.start)
		{
			events[kept - 1].end = event.end;
			events[kept - 1].peak = fmax(events[kept - 1].peak, event.peak);
		}
		else
			events[kept++] = event;
	}
	return kept;
}

/* Sets found[level], the share of events with a row flagged at the level. */
static void
share_found(const MetricsRows *rows, const MetricsEvent *events, int64_t nevents,
			const MetricsVolume *volume, double *found)
{
	int64_t		count[METRICS_LEVELS] = {0};
	int64_t		sum = 0;

	for (int64_t e = 0; e < nevents; e++)
	{
		metrics_breathe(rows, e);
		count[first_level(volume, events[e].peak)]++;
	}
	for (int level = 0; level < METRICS_LEVELS; level++)
	{
		sum += count[level];
		found[level] = (double) sum / nevents;
	}
}

/* ---- areas ---------------------------------------------------------------------------------- */

/* Adds the areas under the curves of buffer w to pr and roc. */
static void
add_areas(const MetricsRows *rows, const MetricsVolume *volume, const Tables *t, int w,
		  const double *found, double *pr, double *roc)
{
	double		recall = 0;
	double		fallout = 0;

	for (int k = 0; k < METRICS_LEVELS; k++)
	{
		double		extra = t->extra[(size_t) k * t->widths + w];
		double		hits = volume->hits[k] + extra;
		double		positives = rows->anomalies + extra / 2;
		double		r = fmin(1, hits / positives) * found[k];
		double		normal = rows->n - positives;
		double		f = normal > 0 ? (volume->flagged[k] - hits) / normal : 0;

		*pr += (r - recall) * (hits / volume->flagged[k]);
		*roc += (f - fallout) * (r + recall) / 2;
		recall = r;
		fallout = f;
	}
	*roc += (1 - fallout) * (1 + recall) / 2;
}

void
metrics_volume(const MetricsRows *rows, MetricsEvent *events, int64_t nevents,
			   MetricsVolume *volume, double *vus_pr, double *vus_roc)
{
	Tables		t;
	double		found[METRICS_LEVELS];
	double		pr = 0;
	double		roc = 0;

	*vus_pr = *vus_roc = NAN;
	if (nevents == 0)
		return;
	t = tables_open(volume);
	weigh_rows(rows, events, nevents, volume, &t);
	for (int w = 0; w < t.widths; w++)
	{
		/* buffers 2h and 2h + 1 have the same reach */
		if (w % 2 == 0)
		{
			if (w > 0)
				nevents = widen(rows, events, nevents);
			share_found(rows, events, nevents, volume, found);
		}
		rows->check();
		add_areas(rows, volume, &t, w, found, &pr, &roc);
	}
	*vus_pr = pr / t.widths;
	if (rows->anomalies < rows->n)	/* otherwise fall-out is undefined */
		*vus_roc = roc / t.widths;
}
