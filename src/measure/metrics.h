/*
 * measure/metrics.h
 *	  How well anomaly scores separate labelled anomalies from normal rows.
 *
 * Pure C without PostgreSQL.  Allocating and sorting is left to evaluate.c.
 * docs/evaluate.md gives the definitions in words.
 *
 * Rows are in order of time.  Scores are not NaN, but may be infinite.  A row is flagged at
 * a threshold if its score is at least the threshold.  An event is a run of anomalous rows.
 * Undefined results are NaN.
 *
 * The order of calls, with the rows in order of time unless stated otherwise:
 *
 *	metrics_count_events, metrics_find_events
 *	metrics_detection, metrics_affiliation
 *	metrics_number			replaces times by row numbers
 *		rows by descending score:
 *	metrics_ranking			with the events by descending peak
 *	metrics_volume_levels
 *		rows by place:
 *	metrics_volume			with the events in order of time, which it changes
 */
#ifndef AMAD_MEASURE_METRICS_H
#define AMAD_MEASURE_METRICS_H

#include <stddef.h>
#include <stdint.h>

typedef struct MetricsRow
{
	double		score;
	int64_t		place;			/* 2·time + label */
} MetricsRow;

/* |time| must be below this */
#define METRICS_MAX_TIME ((int64_t) 1 << 62)

static inline int64_t
metrics_place(int64_t time, int label)
{
	return time * 2 + label;
}

static inline int
metrics_label(const MetricsRow *row)
{
	return (int) (row->place & 1);
}

static inline int64_t
metrics_time(const MetricsRow *row)
{
	return (row->place - (row->place & 1)) / 2;
}

typedef struct MetricsRows
{
	MetricsRow *row;
	int64_t		n;
	int64_t		anomalies;		/* rows labelled 1 */
	void		(*check) (void);	/* checks for interrupts; called every few ms */
} MetricsRows;

/* Rows start … end - 1. */
typedef struct MetricsEvent
{
	int64_t		start;
	int64_t		end;
	double		peak;			/* highest score */
} MetricsEvent;

/* Counts the events, and sets rows->anomalies. */
extern int64_t metrics_count_events(MetricsRows *rows);
extern void metrics_find_events(const MetricsRows *rows, MetricsEvent *events);

/* ---- at a threshold ---------------------------------------------------------------- */

typedef struct MetricsDetection
{
	int64_t		flagged;		/* rows */
	int64_t		hits;			/* flagged rows that are anomalous */
	int64_t		adjusted;		/* rows of events with a flagged row */
	int64_t		detected;		/* events with a flagged row */
	int64_t		alarms;			/* runs of flagged rows */
	int64_t		false_alarms;	/* alarms without an anomalous row */
} MetricsDetection;

/*
 * delay_rows and delay_time (nevents) receive, for each detected event in order, the rows
 * and the time from its first row to its first flagged row.
 */
extern void metrics_detection(const MetricsRows *rows, const MetricsEvent *events, int64_t nevents,
							  double threshold, MetricsDetection *result, int64_t *delay_rows,
							  int64_t *delay_time);

/* Precision, recall and F1 of `hits` hits among `flagged` flagged rows. */
extern double metrics_precision(int64_t hits, int64_t flagged);
extern double metrics_recall(int64_t hits, int64_t anomalies);
extern double metrics_f1(int64_t hits, int64_t flagged, int64_t anomalies);

/*
 * Affiliation precision and recall: Huet, Navarro, Rossi, "Local evaluation of time
 * series anomaly detection algorithms", KDD 2022.  Row i is the interval [i, i + 1).
 */
extern void metrics_affiliation(const MetricsRows *rows, const MetricsEvent *events,
								int64_t		nevents, double threshold, double *precision,
								double *recall);

/* ---- of the ranking ----------------------------------------------------------------- */

typedef struct MetricsRanking
{
	double		auc_pr;			/* average precision */
	double		auc_roc;
	double		best_f1;
	double		best_f1_threshold;	/* the highest that reaches it */
	double		best_adjusted_f1;
} MetricsRanking;

/* Replaces each time by the row's number, so that sorting by place restores the order. */
extern void metrics_number(MetricsRows *rows);

/* rows by descending score, events by descending peak */
extern void metrics_ranking(const MetricsRows *rows, const MetricsEvent *events, int64_t nevents,
							MetricsRanking *result);

/* ---- volume under the surface -------------------------------------------------------- */

#define METRICS_LEVELS 250
#define METRICS_MAX_WINDOW 1000

typedef struct MetricsVolume
{
	int			window;			/* widest buffer, 0 … METRICS_MAX_WINDOW */
	double		level[METRICS_LEVELS];	/* thresholds, descending */
	int64_t		flagged[METRICS_LEVELS];	/* flagged rows at each */
	int64_t		hits[METRICS_LEVELS];	/* anomalous rows at each */
	double	   *work;			/* metrics_volume_bytes(window) */
} MetricsVolume;

extern size_t metrics_volume_bytes(int window);

/* Sets level, flagged and hits; rows by descending score. */
extern void metrics_volume_levels(const MetricsRows *rows, MetricsVolume *volume);

/*
 * VUS-PR and VUS-ROC: Paparrizos et al., "Volume under the surface", PVLDB 15(11),
 * 2022, for buffers 0 … window.  Takes O(rows · log events + window² · METRICS_LEVELS) where
 * events are sparse, O(rows · window) where they are dense.
 */
extern void metrics_volume(const MetricsRows *rows, MetricsEvent *events, int64_t nevents,
						   MetricsVolume *volume, double *vus_pr, double *vus_roc);

/* Checks for interrupts now and then; called for each row of a loop. */
static inline void
metrics_breathe(const MetricsRows *rows, int64_t i)
{
	if ((i & 0xffff) == 0)
		rows->check();
}

#endif							/* AMAD_MEASURE_METRICS_H */
