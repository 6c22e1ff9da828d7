/*
 * core/evidence/season.h
 *	  Season: the values to expect from the time of a row alone.
 *
 * A feature is expected to be a weighted sum of the functions of a basis: 1, and
 * sine and cosine of each harmonic of each period (docs/model.md, Season).  The
 * weights are found by least squares with a small ridge: begin, add all rows, end.
 * That needs nn_season_bytes() of memory.
 */
#ifndef AMAD_CORE_EVIDENCE_SEASON_H
#define AMAD_CORE_EVIDENCE_SEASON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NN_SEASON_PERIODS 4		/* limit of periods of a season */
#define NN_SEASON_HARMONICS 24	/* limit of harmonics of a period */
#define NN_SEASON_BINS 672		/* limit of bins of a period: a week of quarter hours … */
#define NN_SEASON_FIRST_BINS 96 /* … and of the shortest one: a day of them */
#define NN_SEASON_TERMS (1 + 2 * NN_SEASON_PERIODS * NN_SEASON_HARMONICS)

typedef struct nn_season
{
	int			nperiods;		/* 0: no season */
	int64_t		period[NN_SEASON_PERIODS];	/* 2 … : in units of time, e.g. a day, a week */
	int			harmonics[NN_SEASON_PERIODS];	/* 1 … NN_SEASON_HARMONICS, of each period */
	/* for recurrence.h */
	int			bins[NN_SEASON_PERIODS];	/* 1 … NN_SEASON_BINS, of each period */
	int month_bins; /* 0 … NN_SEASON_FIRST_BINS, of the last and of the first day of a month;
								 * time is in microseconds then */
} nn_season;

/* Number of functions in the basis; 0 without a season. */
extern int	nn_season_terms(const nn_season *season);

/* Share of a period that has passed, 0 … 1; exact for any time, including negative ones. */
extern double nn_season_phase(int64_t time, int64_t period);

/* Sets basis (terms) to its values at a time: 1, then sin and cos of 2πk·time/period. */
extern void nn_season_basis(const nn_season *season, int64_t time, double *basis);

extern size_t nn_season_bytes(const nn_season *season, int features);
extern void nn_season_begin(void *memory, const nn_season *season, int features);

/* Adds a scaled row (C). */
extern void nn_season_add(void *memory, const nn_season *season, int features, int64_t time,
						  const float *row);

/* Sets weights (C, terms); returns false if LAPACK fails. */
extern bool nn_season_end(void *memory, const nn_season *season, int features, double *weights);

/* The scaled value to expect of a feature with these weights (terms). */
extern double nn_season_expected(int terms, const double *weights, const double *basis);

#endif							/* AMAD_CORE_EVIDENCE_SEASON_H */
