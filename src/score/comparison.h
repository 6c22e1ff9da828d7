/*
 * score/comparison.h
 *	  What two versions of a model make of the same rows.
 */
#ifndef AMAD_SCORE_COMPARISON_H
#define AMAD_SCORE_COMPARISON_H

#include "score/detect.h"

typedef struct Comparison Comparison;

/* What one of the versions makes of the rows. */
typedef struct ComparedVersion
{
	int64		rows;
	int64		scored;			/* with a severity */
	int64		flagged;		/* is_anomaly */
	int64		learning;		/* by their status */
	int64		drift;
	int64		events;			/* as amad_events() reports them by default */
	int64		kept;			/* those that an event of the other version overlaps */
	int64		incidents;		/* labelled stretches with a flagged row */
	double		median;			/* severity; NaN if no row has one */
} ComparedVersion;

typedef struct Compared
{
	ComparedVersion version[2];
	int64		flagged_both;
	int64		incidents;		/* labelled stretches */
	int64		incidents_both;
	double		days; /* from the first row to the last; NaN with an integer time column */
} Compared;

/* In the current context; it needs work_mem. */
extern Comparison *comparison_open(void);

/* Begins the rows of the first (0) or second (1) version; then adds them, in their order. */
extern void comparison_begin(Comparison *comparison, int which, const Detection *detection);

/* counted: the row is to be compared.  If it is labelled, it only counts as part of an incident. */
extern void comparison_add(Comparison *comparison, const DetectedRow *row, bool counted);

/* No more rows of the version follow. */
extern void comparison_end(Comparison *comparison);

/* Compares the two, after the rows of both. */
extern Compared comparison_result(Comparison *comparison);

#endif							/* AMAD_SCORE_COMPARISON_H */
