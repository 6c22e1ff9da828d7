/*
 * core/evidence/band.h
 *	  The values of a feature that would not make a row anomalous (docs/model.md, Bands).
 */
#ifndef AMAD_CORE_EVIDENCE_BAND_H
#define AMAD_CORE_EVIDENCE_BAND_H

#include "core/evidence/raw_score.h"

/* What the bands of all rows of a series have in common. */
typedef struct nn_bands
{
	double		raw;			/* raw score that a row needs to be anomalous */
	double		far;			/* factor of residuals beyond the clip: states are far away */
	double	   *relation;		/* (C) the row's relation for a squared residual of 1; 0: none */
} nn_bands;

/* Fills in a struct whose array `relation` the caller has allocated. */
extern void nn_bands_begin(nn_bands *bands, const nn_calibration *calibration);

/*
 * Sets the least and the greatest scaled value (C) of each feature at which the row alone does
 * not reach the threshold in the shortest horizon, if the other features and the other rows
 * have the usual evidence.  Infinite: no value on this side reaches it.
 */
extern void nn_row_bands(const nn_bands *bands, const nn_calibration *calibration,
						 const nn_row *row, double *lower, double *upper);

#endif							/* AMAD_CORE_EVIDENCE_BAND_H */
