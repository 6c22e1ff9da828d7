/*
 * core/evidence/horizons.h
 *	  From the raw scores of neighbouring rows to anomaly scores (docs/model.md, Score).
 */
#ifndef AMAD_CORE_EVIDENCE_HORIZONS_H
#define AMAD_CORE_EVIDENCE_HORIZONS_H

#include <stdint.h>

#include "core/evidence/raw_score.h"

#define NN_HORIZONS_MAX 16		/* limit of horizons of a score */

extern int	nn_max_horizon(const nn_calibration *calibration);

/*
 * The raw scores of the last rows.
 *
 * A row's horizon h spans h rows.  The last of them is min(lookahead, h / 2) rows after
 * the row, or the newest row if that comes first.  So without lookahead a score depends
 * on rows up to its own, and with lookahead on rows around it.  `back` below selects
 * the row that lies that number of rows (0 … lookahead) before the newest.
 */
typedef struct nn_horizons
{
	const nn_calibration *calibration;
	int			size;			/* max horizon */
	int64_t		count;			/* raw scores seen */
	double	   *ring;			/* (size) the caller's memory */
} nn_horizons;

extern void nn_horizons_open(nn_horizons *horizons, const nn_calibration *calibration,
							 double *ring);
extern void nn_horizons_reset(nn_horizons *horizons);
extern void nn_horizons_add(nn_horizons *horizons, double raw);

/*
 * Sets means (nhorizons) to A_h of a row: the mean raw score over each horizon h,
 * without those that are NN_NO_SCORE; NaN if fewer rows were seen or none is left.
 */
extern void nn_horizons_means(const nn_horizons *horizons, int back, double *means);

/*
 * anomaly_score of a row: max over h, from short to long, of
 *		E_h = min(A_h / theta_h, release · E of the next shorter horizon)
 * NaN if fewer than max horizon - 1 rows precede it, or if its raw score is NN_NO_SCORE.
 */
extern double nn_horizons_score(const nn_horizons *horizons, int back);

#endif							/* AMAD_CORE_EVIDENCE_HORIZONS_H */
