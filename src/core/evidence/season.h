/*
 * core/evidence/season.h
 *	  Seasons: what the time of a row makes one expect.
 */
#ifndef AMAD_CORE_EVIDENCE_SEASON_H
#define AMAD_CORE_EVIDENCE_SEASON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NN_SEASON_PERIODS 4		/* most periods of a season */
#define NN_SEASON_HARMONICS 24	/* most harmonics of a period */
#define NN_SEASON_TERMS (1 + 2 * NN_SEASON_PERIODS * NN_SEASON_HARMONICS)

/* Periods after which values are alike, in units of time: a day, a week … */
typedef struct nn_season
{
	int			nperiods;		/* 0: there is no season */
	int64_t		period[NN_SEASON_PERIODS];	/* 2 … */
	int			harmonics[NN_SEASON_PERIODS];	/* 1 … NN_SEASON_HARMONICS, of each period */
} nn_season;

/* Functions in the basis: 1 and two for each harmonic; 0 without a season. */
extern int	nn_season_terms(const nn_season *season);

/* Values of the basis at a time (terms): 1, then sin and cos of 2πk·time/period. */
extern void nn_season_basis(const nn_season *season, int64_t time, double *basis);

/*
 * Least squares, with a small ridge: begin, add all rows (C), scaled, end.  The last
 * call sets weights (C, terms); false when LAPACK fails.  memory: nn_season_bytes().
 */
extern size_t nn_season_bytes(const nn_season *season, int features);
extern void nn_season_begin(void *memory, const nn_season *season, int features);
extern void nn_season_add(void *memory, const nn_season *season, int features, int64_t time,
						  const float *row);
extern bool nn_season_end(void *memory, const nn_season *season, int features, double *weights);

/* What the season makes one expect of a feature, by its weights (terms): scaled. */
extern double nn_season_expected(int terms, const double *weights, const double *basis);

#endif							/* AMAD_CORE_EVIDENCE_SEASON_H */
