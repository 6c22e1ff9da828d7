/*
 * core/evidence/quantile.c
 *	  Quantiles by selection.
 */
#include "core/evidence/quantile.h"
#include "core/rng.h"

#define POLL_SWAPS 65536		/* between two polls */

/*
 * Quickselect (Hoare): puts the k-th smallest value in its place, with no greater
 * value before it and no smaller one after it, and returns it.  Pivots are random
 * (with a fixed seed): with a pivot from a fixed place, some orders of the values
 * would take quadratic time.
 */
static double
select_kth(double *x, size_t n, size_t k, nn_poll poll)
{
	size_t		low = 0;
	size_t		high = n - 1;
	size_t		swaps = 0;
	nn_rng		rng;

	nn_rng_seed(&rng, n, k);
	while (low < high)
	{
		double		pivot = x[low + nn_rng_next(&rng) % (high - low)];
		size_t		i = low - 1;
		size_t		j = high + 1;

		if (high - low >= POLL_SWAPS)
			nn_rest(poll);
		for (;;)
		{
			double		t;

			if (++swaps % POLL_SWAPS == 0)
				nn_rest(poll);
			while (x[++i] < pivot)
				;
			while (x[--j] > pivot)
				;
			if (i >= j)
				break;
			t = x[i];
			x[i] = x[j];
			x[j] = t;
		}
		/* now x[low … j] ≤ pivot ≤ x[j + 1 … high] */
		if (k <= j)
			high = j;
		else
			low = j + 1;
	}
	return x[k];
}

double
nn_quantile(double *values, size_t n, double q)
{
	return nn_quantile_polled(values, n, q, NULL);
}

double
nn_quantile_polled(double *values, size_t n, double q, nn_poll poll)
{
	double		at = q * (n - 1);
	size_t		k = (size_t) at;
	double		low, high;

	if (n == 0)
		return 0.0;
	if (k + 1 >= n)
		return select_kth(values, n, n - 1, poll);
	low = select_kth(values, n, k, poll);
	high = values[k + 1];
	for (size_t i = k + 2; i < n; i++)
		if (values[i] < high)
			high = values[i];
	return low + (at - k) * (high - low);
}
