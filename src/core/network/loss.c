/*
 * core/network/loss.c
 *	  Losses of section 2.5 that are not part of attention: reconstruction and
 *	  local-global contrast.
 */
#include <math.h>
#include <string.h>

#include "core/network/layers.h"
#include "core/network/linear.h"
#include "core/memory.h"

#define SLICE 4194304			/* logits between two polls: a few milliseconds */
#define MIN_LENGTH 1e-12f		/* of a vector that is normalised */

double
nn_reconstruction(nn_train *t, const nn_objective *objective, int batch_chunks)
{
	const int	C = t->g.C;
	const double terms = (double) batch_chunks * (t->rows - objective->skip - objective->ahead) * C;
	const float scale = (float) (4.0 / terms);	/* the total has 2R, R a mean of squares */
	const int	step = nn_rows_between_polls(C);
	double		sum = 0.0;

	nn_zero(t->dout, sizeof(float) * t->active * t->rows * C, t->poll);
	for (int b = 0; b < t->active; b++)
		for (int i = objective->skip; i < t->rows - objective->ahead; i++)
		{
			size_t		row = (size_t) b * t->rows + i;
			const float *z = t->taps + ((row + objective->ahead) * NN_TAPS + NN_TAPS - 1) * C;

			for (int c = 0; c < C; c++)
			{
				float		r = t->out[row * C + c] - z[c];

				sum += (double) r * r;
				t->dout[row * C + c] = scale * r;
			}
			if ((i + 1) % step == 0)
				nn_rest(t);
		}
	return sum / terms;
}

/* Rows of an (n, n) matrix that pass between two polls. */
static int
rows_at_once(int n)
{
	return SLICE / n + 1;
}

/*
 * InfoNCE of one chunk, both ways: with L = scale·x the logits and E = exp(L) (no
 * overflow: |L| ≤ 1/temperature), loss_i = ½·(log Σ_j E_ij + log Σ_j E_ji) - L_ii.
 * Leaves ∂(weight·Σ_i loss_i)/∂x in x, which is t->logits; returns Σ_i loss_i.
 */
static double
info_nce(nn_train *t, int n, float scale, float weight)
{
	const int	step = rows_at_once(n);
	float	   *x = t->logits;
	double		sum = 0.0;

	for (int i = 0; i < n; i++)
		sum -= scale * x[(size_t) i * n + i];
	memset(t->col_sum, 0, sizeof(float) * n);
	for (int i = 0; i < n; i += step)
	{
		nn_kernels_get()->exp_sums(n - i < step ? n - i : step, n, scale, x + (size_t) i * n,
								   t->row_sum + i, t->col_sum);
		nn_rest(t);
	}
	for (int i = 0; i < n; i++)
	{
		sum += 0.5 * (log(t->row_sum[i]) + log(t->col_sum[i]));
		t->row_sum[i] = 0.5f * scale * weight / t->row_sum[i];
		t->col_sum[i] = 0.5f * scale * weight / t->col_sum[i];
	}
	for (int i = 0; i < n; i += step)
	{
		nn_kernels_get()->scale_rows_cols(n - i < step ? n - i : step, n, x + (size_t) i * n,
										  t->row_sum + i, t->col_sum);
		nn_rest(t);
	}
	for (int i = 0; i < n; i++)
		x[(size_t) i * n + i] -= scale * weight;
	return sum;
}

/* The contrast of the rows of z_G and z_A (n, D), and its gradients. */
static double
contrast(nn_train *t, int n, const float *zg, const float *za, float scale, float weight,
		 float *dzg, float *dza)
{
	const nn_kernels *kernels = nn_kernels_get();
	const int	D = t->g.D;
	const int	step = nn_rows_between_polls(D);
	double		sum;

	for (int i = 0; i < n; i++)
	{
		if (i % step == 0)
			nn_rest(t);
		t->norm_g[i] = kernels->normalise(D, zg + (size_t) i * D, MIN_LENGTH, t->unit_g + (size_t) i * D);
		t->norm_a[i] = kernels->normalise(D, za + (size_t) i * D, MIN_LENGTH, t->unit_a + (size_t) i * D);
	}
	nn_product_nt(t, n, n, D, t->unit_g, D, t->unit_a, NULL, NULL, t->logits, n);
	sum = info_nce(t, n, scale, weight);
	nn_product_nn(t, n, D, n, t->logits, n, t->unit_a, t->dunit, D);
	for (int i = 0; i < n; i++)
	{
		if (i % step == 0)
			nn_rest(t);
		kernels->normalise_backward(D, t->unit_g + (size_t) i * D, t->norm_g[i],
									t->dunit + (size_t) i * D, dzg + (size_t) i * D);
	}
	nn_product_tn(t, n, D, n, t->logits, n, t->unit_g, D, false, t->dunit);
	for (int i = 0; i < n; i++)
	{
		if (i % step == 0)
			nn_rest(t);
		kernels->normalise_backward(D, t->unit_a + (size_t) i * D, t->norm_a[i],
									t->dunit + (size_t) i * D, dza + (size_t) i * D);
	}
	return sum;
}

double
nn_contrast(nn_train *t, int n, const nn_objective *objective, int batch_chunks)
{
	const int	D = t->g.D;
	const int	rows = t->rows - objective->skip;
	const double terms = (double) batch_chunks * rows * t->g.N;
	const nn_bands *bands = &t->block[n].bands;
	double		sum = 0.0;

	nn_zero(t->dzg, sizeof(float) * t->active * t->rows * D, t->poll);
	nn_zero(t->dza, sizeof(float) * t->active * t->rows * D, t->poll);
	if (objective->contrast == 0)
		return 0.0;
	for (int b = 0; b < t->active; b++)
	{
		size_t		at = ((size_t) b * t->rows + objective->skip) * D;

		sum += contrast(t, rows, bands->zg + at, bands->za + at, 1.0f / objective->temperature,
						(float) (objective->contrast / terms), t->dzg + at, t->dza + at);
	}
	return sum / terms;
}
