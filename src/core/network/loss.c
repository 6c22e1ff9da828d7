/*
 * core/network/loss.c
 *	  Reconstruction and local-global contrast (docs/model.md, Losses).
 *
 * The third loss, the discrepancy, is computed with attention (attention.c).
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/network/layers.h"
#include "core/network/linear.h"
#include "core/memory.h"

#define SLICE 4194304			/* logits between two polls: a few milliseconds */
#define MIN_LENGTH 1e-12f		/* assumed of a shorter vector when it is normalised */

double
nn_reconstruction(nn_train *t, const nn_objective *objective, const nn_target *target,
				  int batch_chunks)
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
			int			other = i + objective->ahead;
			/* the last tap is the row that went in */
			const float *z = target
				? target[b].rows + (size_t) other * C
				: t->taps + ((row + objective->ahead) * NN_TAPS + NN_TAPS - 1) * C;

			const bool	counts = !target || !target[b].held_out || !target[b].held_out[other];

			for (int c = 0; c < C && counts; c++)
			{
				float		r = t->out[row * C + c] - z[c];

				sum += (double) r * r;
				t->dout[row * C + c] = scale * r;
			}
			if ((i + 1) % step == 0)
				nn_rest(t->poll);
		}
	return sum / terms;
}

/*
 * InfoNCE of one chunk, over rows and over columns.  With L = scale·x the logits and
 * E = exp(L), which cannot overflow as |L| ≤ 1/temperature,
 *		loss_i = ½·(log Σ_j E_ij + log Σ_j E_ji) - L_ii
 * x is t->logits (n, n).  Returns Σ_i loss_i and leaves ∂(weight·Σ_i loss_i)/∂x in x.
 */
static double
info_nce(nn_train *t, int n, float scale, float weight)
{
	const int	step = SLICE / n + 1;	/* rows */
	float	   *x = t->logits;
	double		sum = 0.0;

	for (int i = 0; i < n; i++)
		sum -= scale * x[(size_t) i * n + i];
	memset(t->col_sum, 0, sizeof(float) * n);
	for (int i = 0; i < n; i += step)
	{
		nn_kernels_get()->exp_sums(n - i < step ? n - i : step, n, scale, x + (size_t) i * n,
								   t->row_sum + i, t->col_sum);
		nn_rest(t->poll);
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
		nn_rest(t->poll);
	}
	for (int i = 0; i < n; i++)
		x[(size_t) i * n + i] -= scale * weight;
	return sum;
}

/* Sets the unit vectors (n, D) of vectors z, and their lengths. */
static void
normalise_rows(const nn_train *t, int n, const float *z, float *unit, float *length)
{
	const int	D = t->g.D;
	const int	step = nn_rows_between_polls(D);

	for (int i = 0; i < n; i++)
	{
		if (i % step == 0)
			nn_rest(t->poll);
		length[i] = nn_kernels_get()->normalise(D, z + (size_t) i * D, MIN_LENGTH,
												unit + (size_t) i * D);
	}
}

/* Sets dz (n, D) from t->dunit. */
static void
normalise_rows_backward(const nn_train *t, int n, const float *unit, const float *length, float *dz)
{
	const int	D = t->g.D;
	const int	step = nn_rows_between_polls(D);

	for (int i = 0; i < n; i++)
	{
		if (i % step == 0)
			nn_rest(t->poll);
		nn_kernels_get()->normalise_backward(D, unit + (size_t) i * D, length[i],
											 t->dunit + (size_t) i * D, dz + (size_t) i * D);
	}
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
		const size_t at = ((size_t) b * t->rows + objective->skip) * D;

		normalise_rows(t, rows, bands->zg + at, t->unit_g, t->norm_g);
		normalise_rows(t, rows, bands->za + at, t->unit_a, t->norm_a);
		nn_product_nt(t,
					  &(nn_product){
						  .rows = rows,
						  .n = rows,
						  .k = D,
						  .a = t->unit_g,
						  .lda = D,
						  .b = t->unit_a,
						  .ldb = D,
						  .y = t->logits,
						  .ldy = rows,
					  });
		sum += info_nce(t, rows, 1.0f / objective->temperature,
						(float) (objective->contrast / terms));

		nn_product_nn(t,
					  &(nn_product){
						  .rows = rows,
						  .n = D,
						  .k = rows,
						  .a = t->logits,
						  .lda = rows,
						  .b = t->unit_a,
						  .ldb = D,
						  .y = t->dunit,
						  .ldy = D,
					  });
		normalise_rows_backward(t, rows, t->unit_g, t->norm_g, t->dzg + at);
		nn_product_tn(t,
					  &(nn_product){
						  .rows = rows,
						  .n = D,
						  .k = rows,
						  .a = t->logits,
						  .lda = rows,
						  .b = t->unit_g,
						  .ldb = D,
						  .y = t->dunit,
						  .ldy = D,
					  });
		normalise_rows_backward(t, rows, t->unit_a, t->norm_a, t->dza + at);
	}
	return sum / terms;
}
