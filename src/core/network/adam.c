/*
 * core/network/adam.c
 *	  Adam with a clip of the gradient's norm, and the one-cycle learning rate
 *	  (section 2.6).
 */
#include <math.h>

#include "core/kernels/kernels.h"
#include "core/network/network.h"

#define SLICE 1048576			/* weights between two polls */

static size_t
slice(size_t n, size_t at, nn_poll poll)
{
	if (at > 0 && poll)
		poll();
	return n - at < SLICE ? n - at : SLICE;
}

static double
norm_of(size_t n, const float *x, nn_poll poll)
{
	double		sum = 0.0;

	for (size_t at = 0; at < n; at += SLICE)
		sum += nn_kernels_get()->square_sum(slice(n, at, poll), x + at);
	return sqrt(sum);
}

double
nn_adam_step(const nn_adam *adam, int64_t step, double rate, size_t n,
			 float *params, const float *grads, float *moment1, float *moment2, nn_poll poll)
{
	double		norm = norm_of(n, grads, poll);
	double		correction1 = 1.0 - pow(adam->beta1, (double) step);
	double		correction2 = 1.0 - pow(adam->beta2, (double) step);
	float		clip = adam->clip > 0 && norm > adam->clip ? (float) (adam->clip / (norm + 1e-6)) : 1.0f;

	for (size_t at = 0; at < n; at += SLICE)
		nn_kernels_get()->adam(slice(n, at, poll), adam->beta1, adam->beta2,
							   (float) (rate / correction1), adam->epsilon,
							   (float) (1.0 / correction2), clip,
							   grads + at, moment1 + at, moment2 + at, params + at);
	return norm;
}

double
nn_one_cycle(int64_t step, int64_t steps, double peak, double pct_start,
			 double div, double final_div)
{
	double		first = peak / div;
	double		lowest = first / final_div;
	double		turn = pct_start * steps - 1.0;	/* the step at the peak */
	double		share;

	if (step < turn)
		return first + (peak - first) * step / turn;
	if (turn < 0.0)
		turn = 0.0;
	share = steps - 1 > turn ? (step - turn) / (steps - 1 - turn) : 0.0;
	return lowest + (peak - lowest) * 0.5 * (1.0 + cos(M_PI * share));
}
