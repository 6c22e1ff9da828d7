/*
 * core/evidence/scaling.c
 *	  Scaling of features, in double precision.
 */
#include <float.h>
#include <math.h>

#include "core/evidence/scaling.h"

#define CONSTANT_ROUNDINGS 16	/* of a double: what a few additions in another order change */

/* How far a value may be from the mean and still count as the same constant. */
static double
constant_tolerance(double mean)
{
	return CONSTANT_ROUNDINGS * DBL_EPSILON * fmax(fabs(mean), DBL_MIN);
}

bool
nn_is_constant(double mean, double std)
{
	return std <= constant_tolerance(mean);
}

float
nn_scale(const nn_scaling *s, int feature, double value)
{
	double		mean = s->mean[feature];
	double		std = s->std[feature];
	double		z;

	if (std > 0)
		z = (value - mean) / std;
	else if (fabs(value - mean) <= constant_tolerance(mean))
		z = 0.0;
	else
	{
		double		size = 1.0 + log1p(fabs(value - mean) / (mean != 0 ? fabs(mean) : 1.0));

		z = s->clip * size * size * size * size;
		if (value < mean)
			z = -z;
	}
	if (z > s->bound)
		z = s->bound;
	if (z < -s->bound)
		z = -s->bound;
	return (float) z;
}

void
nn_clip(double clip, const float *z, size_t n, float *clipped)
{
	for (size_t i = 0; i < n; i++)
		clipped[i] = nn_clipped(clip, z[i]);
}
