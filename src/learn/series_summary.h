/*
 * learn/series_summary.h
 *	  What the figures of all series of a model are computed from, of the rows of one series
 *	  or of several: counts, sums, and counts of values for quantiles.
 *
 * Summaries are added up.  Sums depend on the order of additions in their last bits, so series
 * are added in the order of their keys.
 */
#ifndef AMAD_LEARN_SERIES_SUMMARY_H
#define AMAD_LEARN_SERIES_SUMMARY_H

#include "core/evidence/sketch.h"
#include "model/model.h"

/* Numbers of rows. */
typedef enum SummaryCount
{
	SUMMARY_OFFERED,			/* rows of the series, including those that are not used */
	SUMMARY_ROWS,				/* used */
	SUMMARY_HELD_OUT,			/* of those */
	SUMMARY_GAPS,
	SUMMARY_IMPUTED,			/* values */
	SUMMARY_IMPUTED_ROWS,
	SUMMARY_DUPLICATES,
	SUMMARY_WITHOUT_TS,
	SUMMARY_LABELLED,
	SUMMARY_PREDICTED,			/* with a reconstruction: rho, mu */
	SUMMARY_PREDICTED_HELD_OUT,
	SUMMARY_INCOMPLETE,			/* the same without some features */
	SUMMARY_RAW,				/* with a raw score */
	SUMMARY_COUNTS				/* their number */
} SummaryCount;

/* Numbers of values of each feature. */
typedef enum SummaryGiven
{
	SUMMARY_KNOWN,				/* all rows */
	SUMMARY_GIVEN,				/* predicted rows */
	SUMMARY_GIVEN_HELD_OUT,
	SUMMARY_GIVEN_INCOMPLETE,
	SUMMARY_GIVEN_RELATION,
	SUMMARY_GIVEN_SEASON,
	SUMMARY_GIVENS
} SummaryGiven;

/* Sums over rows, for each feature. */
typedef enum SummarySum
{
	SUMMARY_RESIDUAL,			/* squared */
	SUMMARY_RESIDUAL_HELD_OUT,
	SUMMARY_RESIDUAL_INCOMPLETE,
	SUMMARY_RELATION,			/* terms of the relation */
	SUMMARY_SEASON,				/* squared deviations from the season of all series */
	SUMMARY_SEASON_HELD_OUT,
	SUMMARY_SQUARE_HELD_OUT,	/* squared values of the same rows */
	SUMMARY_SUMS
} SummarySum;

/* Values whose quantiles are needed. */
typedef enum SummarySketch
{
	SUMMARY_ROW_RELATION,
	SUMMARY_SCORE,				/* anomaly scores, with theta of all series */
	SUMMARY_SCORE_HELD_OUT,
	SUMMARY_SKETCHES
} SummarySketch;

typedef struct SeriesSummary
{
	int			features;
	int			signals;
	int64		counts[SUMMARY_COUNTS];
	int64	   *given[SUMMARY_GIVENS];	/* (features) */
	double	   *sums[SUMMARY_SUMS]; /* (features) */
	double	   *signal;			/* (signals) sums over predicted rows … */
	double	   *signal_held_out;	/* … and over those held out */
	double		raw;			/* sum of raw scores, without evidence of flatlines and relations */
	double		raw_relation;	/* … without that of relations */
	double		level;			/* the highest */
	nn_sketch  *sketches[SUMMARY_SKETCHES];
} SeriesSummary;

/* Zeroed, in the current context. */
extern SeriesSummary *summary_open(int features, int signals);

/* Adds a summary of the same size.  ERROR if a count overflows, as in a forged value. */
extern void summary_add(SeriesSummary *to, const SeriesSummary *from);

#endif							/* AMAD_LEARN_SERIES_SUMMARY_H */
