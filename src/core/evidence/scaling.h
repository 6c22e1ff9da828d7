/*
 * core/evidence/scaling.h
 *	  Scaling of features, and the map of imputed ones.
 */
#ifndef AMAD_CORE_EVIDENCE_SCALING_H
#define AMAD_CORE_EVIDENCE_SCALING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Scaling of section 2.1; std 0 marks a constant feature.  What a network is given is
 * clipped, at `clip`; rows that are kept may reach further, to `bound`.
 */
typedef struct nn_scaling
{
	int			features;
	const double *mean;
	const double *std;
	double		clip;			/* of the network; what a constant that has changed becomes */
	double		bound;			/* of values, at least clip */
} nn_scaling;

#define NN_BOUND 1e6			/* a bound that does not distort, and whose square is a float */

/* z = (value - mean) / std, bounded; and n such values clipped, for the network. */
extern float nn_scale(const nn_scaling *scaling, int feature, double value);
extern bool nn_is_constant(double mean, double std);
extern void nn_clip(double clip, const float *z, size_t n, float *clipped);

static inline float
nn_clipped(double clip, float z)
{
	return z > clip ? (float) clip : z < -clip ? (float) -clip : z;
}

/* Bit c of a row's map of imputed features: they take no part in the score. */
#define NN_IMPUTED(map, c) ((map) != NULL && ((map)[(c) / 8] >> (c) % 8 & 1) != 0)

#define IMPUTED_BYTES(features) (((features) + 7) / 8)	/* of such a map */

#endif							/* AMAD_CORE_EVIDENCE_SCALING_H */
