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

/* The unit of the changes of a constant. */
static double
constant_unit(double mean)
{
	return mean != 0 ? fabs(mean) : 1.0;
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
		double		size = 1.0 + log1p(fabs(value - mean) / constant_unit(mean));

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

double
nn_unscale(const nn_scaling *s, int feature, double z)
{
	double		mean = s->mean[feature];
	double		size;

	if (s->std[feature] > 0)
		return mean + z * s->std[feature];
	/* all other values of a constant are beyond the clip */
	if (fabs(z) <= s->clip)
		return mean;
	size = expm1(sqrt(sqrt(fabs(z) / s->clip)) - 1.0) * constant_unit(mean);
	return z > 0 ? mean + size : mean - size;
}

void
nn_clip(double clip, const float *z, size_t n, float *clipped)
{
	for (size_t i = 0; i < n; i++)
		clipped[i] = nn_clipped(clip, z[i]);
}
