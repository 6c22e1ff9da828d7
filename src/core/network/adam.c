/*
 * core/network/adam.c
 *	  Adam with a clip of the gradient's norm, and the one-cycle learning rate
 *	  (docs/model.md, Training).
 *
 * Both passes over the weights, for the norm and for the step, run in slices with a
 * poll before each but the first.
 */
#include <math.h>

#include "core/kernels/kernels.h"
#include "core/network/network.h"

#define SLICE 1048576			/* weights between two polls */

static size_t
begin_slice(size_t n, size_t at, nn_poll poll)
{
	if (at > 0)
		nn_rest(poll);
	return n - at < SLICE ? n - at : SLICE;
}

double
nn_adam_step(const nn_adam *adam, int64_t step, double rate, size_t n, float *params,
			 const float *grads, float *moment1, float *moment2, nn_poll poll)
{
	nn_adam_rates rates = {
		.beta1 = adam->beta1,
		.beta2 = adam->beta2,
		.rate = (float) (rate / (1.0 - pow(adam->beta1, (double) step))),
		.scale2 = (float) (1.0 / (1.0 - pow(adam->beta2, (double) step))),
		.epsilon = adam->epsilon,
		.clip = 1.0f,
	};
	double		squares = 0.0;
	double		norm;

	for (size_t at = 0; at < n; at += SLICE)
		squares += nn_kernels_get()->square_sum(begin_slice(n, at, poll), grads + at);
	norm = sqrt(squares);
	if (adam->clip > 0 && norm > adam->clip)
		rates.clip = (float) (adam->clip / (norm + 1e-6));

	for (size_t at = 0; at < n; at += SLICE)
		nn_kernels_get()->adam(begin_slice(n, at, poll), &rates, grads + at, moment1 + at,
							   moment2 + at, params + at);
	return norm;
}

double
nn_one_cycle(int64_t step, int64_t steps, double peak, double pct_start, double div,
			 double final_div)
{
	double		first = peak / div;
	double		lowest = first / final_div;
	double		turn = pct_start * steps - 1.0; /* the step with the peak rate */
	double		share;

	if (step < turn)
		return first + (peak - first) * step / turn;
	if (turn < 0.0)
		turn = 0.0;
	share = steps - 1 > turn ? (step - turn) / (steps - 1 - turn) : 0.0;
	return lowest + (peak - lowest) * 0.5 * (1.0 + cos(M_PI * share));
}
