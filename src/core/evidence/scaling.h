/*
 * core/evidence/scaling.h
 *	  Scaling of features (docs/model.md, Scaling), and the map of imputed ones.
 */
#ifndef AMAD_CORE_EVIDENCE_SCALING_H
#define AMAD_CORE_EVIDENCE_SCALING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NN_BOUND 1e6			/* does not distort, and its square is still a float */

/*
 * Two limits apply to scaled values.  Rows that are kept are bounded at `bound`,
 * because the states need to see large values; the network's input is then
 * clipped at `clip`.
 */
typedef struct nn_scaling
{
	int			features;
	const double *mean;			/* (C) */
	const double *std;			/* (C) 0: a constant feature */
	double		clip;			/* of the network's input; a changed constant is beyond it */
	double		bound;			/* of all values, at least clip */
} nn_scaling;

/*
 * z = (value - mean) / std, bounded.  Another value of a constant is
 * ±clip · (1 + ln(1 + |value - mean| / |mean|))⁴, so that a large change is more than a small
 * one; if the mean is 0, it is compared with 1.
 */
extern float nn_scale(const nn_scaling *scaling, int feature, double value);

/* The inverse of nn_scale(), also for values beyond the bound. */
extern double nn_unscale(const nn_scaling *scaling, int feature, double z);

/* Whether a feature with this mean and deviation is constant but for rounding. */
extern bool nn_is_constant(double mean, double std);

/* Clips n scaled values for the network. */
extern void nn_clip(double clip, const float *z, size_t n, float *clipped);

static inline float
nn_clipped(double clip, float z)
{
	return z > clip ? (float) clip : z < -clip ? (float) -clip : z;
}

/* Bit c of a row's map of imputed features, which do not count in the score; NULL: none. */
#define NN_IMPUTED(map, c) ((map) != NULL && ((map)[(c) / 8] >> (c) % 8 & 1) != 0)

#define IMPUTED_BYTES(features) (((features) + 7) / 8)	/* size of such a map */

static inline bool
nn_any_imputed(const uint8_t *map, int features)
{
	for (int i = 0; map != NULL && i < IMPUTED_BYTES(features); i++)
		if (map[i] != 0)
			return true;
	return false;
}

#endif							/* AMAD_CORE_EVIDENCE_SCALING_H */
