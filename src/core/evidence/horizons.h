/*
 * core/evidence/horizons.h
 *	  From the raw scores of neighbouring rows to anomaly scores.
 */
#ifndef AMAD_CORE_EVIDENCE_HORIZONS_H
#define AMAD_CORE_EVIDENCE_HORIZONS_H

#include <stdint.h>
#include "core/evidence/raw_score.h"

#define NN_HORIZONS_MAX 16		/* most horizons a score can have */

extern int	nn_max_horizon(const nn_calibration *calibration);

/*
 * The last rows' raw scores, newest last; the caller gives max horizon doubles
 * of room to nn_horizons_open().
 *
 * The horizon h of a row spans h rows, of which the last is min(lookahead, h / 2) rows
 * after it, or the newest row, when that comes before.  So without lookahead a score
 * is of rows up to its own, with one, of rows around it.  The row asked for is the one
 * `back` rows (0 … lookahead) before the newest.
 */
typedef struct nn_horizons
{
	const nn_calibration *calibration;
	int			size;			/* max horizon */
	int64_t		count;			/* raw scores seen */
	double	   *ring;			/* (size) */
} nn_horizons;

extern void nn_horizons_open(nn_horizons *horizons, const nn_calibration *calibration, double *ring);
extern void nn_horizons_reset(nn_horizons *horizons);
extern void nn_horizons_add(nn_horizons *horizons, double raw);

/*
 * A_h of a row: mean of the raw scores of its horizon h, for each h, those that are
 * NN_NO_SCORE left out; NaN while fewer were seen, or when all are left out.
 */
extern void nn_horizons_means(const nn_horizons *horizons, int back, double *means);

/*
 * anomaly_score of a row: max over h, from short to long, of
 *		E_h = min(A_h / theta_h, release · E of the next shorter one)
 * NaN for a row that fewer than max horizon - 1 rows precede, and for one that has no
 * raw score itself.
 */
extern double nn_horizons_score(const nn_horizons *horizons, int back);

#endif							/* AMAD_CORE_EVIDENCE_HORIZONS_H */
