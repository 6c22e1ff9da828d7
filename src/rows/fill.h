/*
 * rows/fill.h
 *	  The rule for missing values, one feature and one row at a time.
 *
 * A missing value is replaced by the last observation of its feature in the same stretch of
 * rows, if that is at most `limit` rows back (option fill_limit); otherwise the feature's
 * mean, which is 0 after scaling, takes its place.  Training and scoring share this rule;
 * training may interpolate instead (rows/series.c), because it has the rows that follow.
 */
#ifndef AMAD_ROWS_FILL_H
#define AMAD_ROWS_FILL_H

#include <math.h>

#include "core/evidence/scaling.h"

/* The last observation of a feature. */
typedef struct FillLast
{
	int64		row;			/* -1: none yet */
	double		value;
} FillLast;

#define FILL_NONE ((FillLast){.row = -1})	/* at the beginning of a stretch */

/* The value of a feature in a row: as observed, carried forward, or NaN for the mean. */
static inline double
fill_value(FillLast *last, int64 row, int limit, double observed)
{
	if (!isnan(observed))
		*last = (FillLast){.row = row, .value = observed};
	return last->row >= 0 && row - last->row <= limit ? last->value : NAN;
}

/* The value scaled; 0, the mean, for NaN. */
static inline float
fill_scale(const nn_scaling *scaling, int c, double value)
{
	return isnan(value) ? 0.0f : nn_scale(scaling, c, value);
}

/* Sets the bit of a feature in a row's map of missing values (see NN_IMPUTED). */
static inline void
fill_mark(uint8 *map, int c)
{
	map[c / 8] |= 1 << c % 8;
}

#endif							/* AMAD_ROWS_FILL_H */
