/*
 * core/evidence/horizons.h
 *	  From the raw scores of neighbouring rows to anomaly scores.
 *
 * The mean for horizon h of a row spans h rows.  The last of them is min(lookahead, h / 2)
 * rows after the row, or the newest row if that comes first.  With `fade`, rows have less
 * weight the farther they are from the row, so that a single bad row has the greatest score
 * itself; `burst` keeps it from raising the longer horizons for as long as they last.  Without lookahead a score
 * therefore depends on the row and rows before it, with lookahead on rows around it.
 *
 * With lookahead a row waits for its score.  After each nn_horizons_add(), while
 * nn_horizons_due(), and at the end of a stretch while any row waits, the caller
 *
 *		back = nn_horizons_release(horizons);
 *		score = nn_horizons_score(horizons, back);
 *
 * for the row that is `back` rows before the newest.
 */
#ifndef AMAD_CORE_EVIDENCE_HORIZONS_H
#define AMAD_CORE_EVIDENCE_HORIZONS_H

#include <stdint.h>

#include "core/evidence/raw_score.h"

#define NN_HORIZONS_MAX 16		/* maximum number of horizons */

extern int	nn_max_horizon(const nn_calibration *calibration);

/* Rows after a row that horizon h reaches, with this lookahead. */
static inline int
nn_horizon_reach(int horizon, int lookahead)
{
	return horizon / 2 < lookahead ? horizon / 2 : lookahead;
}

/* The weight in horizon h of the row at a distance from the scored row. */
static inline double
nn_horizon_weight(double fade, int horizon, int distance)
{
	return 1.0 - fade * (distance < 0 ? -distance : distance) / horizon;
}

/* The last raw scores of a stretch, newest last. */
typedef struct nn_horizons
{
	const nn_calibration *calibration;
	int			size;			/* max horizon */
	int64_t		count;			/* raw scores added */
	int			waiting;		/* newest rows that were not released */
	double	   *ring;			/* (size) */
} nn_horizons;

/* ring: room for max horizon values, which must outlive the struct. */
extern void nn_horizons_open(nn_horizons *horizons, const nn_calibration *calibration,
							 double *ring);

/* Begins a stretch; no row waits. */
extern void nn_horizons_reset(nn_horizons *horizons);

/* Adds the raw score of the next row, which waits for its score. */
extern void nn_horizons_add(nn_horizons *horizons, double raw);

/* Whether all rows have arrived that the score of the oldest waiting row may use. */
static inline bool
nn_horizons_due(const nn_horizons *horizons)
{
	return horizons->waiting > horizons->calibration->lookahead;
}

/* Ends the wait of the oldest waiting row: it is the row this many rows before the newest. */
static inline int
nn_horizons_release(nn_horizons *horizons)
{
	return --horizons->waiting;
}

/*
 * A_h of the row `back` (0 … lookahead) rows before the newest: weighted mean of the raw
 * scores of horizon h, for each h, without those that are NN_NO_SCORE; NaN if there are fewer than h
 * rows, or all are left out.
 */
extern void nn_horizons_means(const nn_horizons *horizons, int back, double *means);

/*
 * Anomaly score of that row: the maximum over h, from short to long, of
 *		E_h = min(A_h / theta_h, release · E of the next shorter horizon)
 * NaN if fewer than max horizon - 1 rows precede the row, or it has no raw score.
 */
extern double nn_horizons_score(const nn_horizons *horizons, int back);

#endif							/* AMAD_CORE_EVIDENCE_HORIZONS_H */
