/*
 * core/evidence/level.h
 *	  Level: how much evidence the rows of a series had some time ago.
 *
 * The level of a row is the median of the raw scores of the rows NN_LEVEL_FROM + 1 to
 * NN_LEVEL_TO before it, as far as they are at most NN_LEVEL_STEPS median steps of the
 * series earlier.  A short incident does not affect it; a lasting change does
 * (docs/model.md, Levels).
 */
#ifndef AMAD_CORE_EVIDENCE_LEVEL_H
#define AMAD_CORE_EVIDENCE_LEVEL_H

#include <stdbool.h>
#include <stdint.h>

#define NN_LEVEL_FROM 64		/* rows before a row */
#define NN_LEVEL_TO 172
#define NN_LEVEL_ROWS (NN_LEVEL_TO + 1)
#define NN_LEVEL_STEPS 258.0	/* 1.5 · NN_LEVEL_TO */

typedef struct nn_level
{
	/* of the last rows, in a ring */
	double		raw[NN_LEVEL_ROWS];
	int64_t		time[NN_LEVEL_ROWS];
	int			rows;			/* at most NN_LEVEL_ROWS */
	int			at;				/* index of the next one */
} nn_level;

/* Begins a new series. */
extern void nn_level_reset(nn_level *level);

/* Adds the raw score of a row, which may be NN_NO_SCORE. */
extern void nn_level_add(nn_level *level, int64_t time, double raw);

/*
 * The level of the row added last; 0 if fewer than half of the raw scores are known.  step:
 * median step of the series.
 */
extern double nn_level_of_last(const nn_level *level, double step);

/* Puts the rows of an earlier stretch of the same series before those of this one. */
extern void nn_level_prepend(nn_level *level, const nn_level *earlier);

/* Time of the first row that is kept. */
extern int64_t nn_level_begin(const nn_level *level);

/* Whether the level of the row added last does not depend on rows before the first one. */
extern bool nn_level_complete(const nn_level *level, double step);

/* Does both. */
extern double nn_level_push(nn_level *level, int64_t time, double raw, double step);

/* The ratio of a level to its limit, at least 1; 1 if the limit is 0. */
extern double nn_level_beyond(double level, double limit);

#endif							/* AMAD_CORE_EVIDENCE_LEVEL_H */
