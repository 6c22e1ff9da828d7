/*
 * nn_loss.c
 *	  Losses of section 2.5 that are not part of attention: reconstruction and
 *	  local-global contrast.
 */
#include <math.h>
#include <string.h>

#include <cblas.h>

#include "nn_train.h"

#define MIN_LENGTH 1e-12f		/* of a vector that is normalised */

double
nn_reconstruction(nn_train *t, const nn_objective *objective, int batch_chunks)
{
	const int	C = t->g.C;
	const double terms = (double) batch_chunks * (t->rows - objective->skip - objective->ahead) * C;
	const float scale = (float) (4.0 / terms);	/* the total has 2R, R a mean of squares */
	double		sum = 0.0;

	memset(t->dout, 0, sizeof(float) * t->active * t->rows * C);
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
		}
	return sum / terms;
}

/* Rows of z (n, D) divided by their lengths. */
static void
normalise(int n, int D, const float *z, float *unit, float *length)
{
	for (int i = 0; i < n; i++, z += D, unit += D)
	{
		float		sum = cblas_sdot(D, z, 1, z, 1);

		length[i] = sqrtf(sum) > MIN_LENGTH ? sqrtf(sum) : MIN_LENGTH;
		for (int c = 0; c < D; c++)
			unit[c] = z[c] / length[i];
	}
}

/* dz = (dunit - unit·(unit·dunit)) / length */
static void
normalise_backward(int n, int D, const float *unit, const float *length, const float *dunit,
				   float *dz)
{
	for (int i = 0; i < n; i++, unit += D, dunit += D, dz += D)
	{
		float		along = cblas_sdot(D, unit, 1, dunit, 1);

		for (int c = 0; c < D; c++)
			dz[c] = (dunit[c] - along * unit[c]) / length[i];
	}
}

/*
 * InfoNCE of one chunk, both ways: with L the logits and E = exp(L) (no overflow:
 * |L| ≤ 1/temperature), loss_i = ½·(log Σ_j E_ij + log Σ_j E_ji) - L_ii.  Leaves
 * ∂(weight·Σ_i loss_i)/∂L in logits; returns Σ_i loss_i.
 */
static double
info_nce(nn_train *t, int n, float weight)
{
	double		sum = 0.0;

	for (int i = 0; i < n; i++)
		sum -= t->logits[(size_t) i * n + i];
	nn_kernels_get()->exp_sums(n, t->logits, t->row_sum, t->col_sum);
	for (int i = 0; i < n; i++)
	{
		sum += 0.5 * (log(t->row_sum[i]) + log(t->col_sum[i]));
		t->row_sum[i] = 0.5f * weight / t->row_sum[i];
		t->col_sum[i] = 0.5f * weight / t->col_sum[i];
	}
	nn_rest(t);
	nn_kernels_get()->scale_rows_cols(n, t->logits, t->row_sum, t->col_sum);
	for (int i = 0; i < n; i++)
		t->logits[(size_t) i * n + i] -= weight;
	return sum;
}

double
nn_contrast(nn_train *t, int n, const nn_objective *objective, int batch_chunks)
{
	const int	D = t->g.D;
	const int	rows = t->rows - objective->skip;
	const double terms = (double) batch_chunks * rows * t->g.N;
	const float scale = 1.0f / objective->temperature;
	double		sum = 0.0;

	memset(t->dzg, 0, sizeof(float) * t->active * t->rows * D);
	memset(t->dza, 0, sizeof(float) * t->active * t->rows * D);
	if (objective->contrast == 0)
		return 0.0;
	for (int b = 0; b < t->active; b++)
	{
		size_t		at = ((size_t) b * t->rows + objective->skip) * D;

		nn_rest(t);
		normalise(rows, D, t->block[n].bands.zg + at, t->unit_g, t->norm_g);
		normalise(rows, D, t->block[n].bands.za + at, t->unit_a, t->norm_a);
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, rows, D,
					scale, t->unit_g, D, t->unit_a, D, 0.0f, t->logits, rows);
		nn_rest(t);
		sum += info_nce(t, rows, (float) (objective->contrast / terms));
		nn_rest(t);
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, D, rows,
					scale, t->logits, rows, t->unit_a, D, 0.0f, t->dunit, D);
		normalise_backward(rows, D, t->unit_g, t->norm_g, t->dunit, t->dzg + at);
		nn_rest(t);
		cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, D, rows,
					scale, t->logits, rows, t->unit_g, D, 0.0f, t->dunit, D);
		normalise_backward(rows, D, t->unit_a, t->norm_a, t->dunit, t->dza + at);
	}
	return sum / terms;
}
