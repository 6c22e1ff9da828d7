/*
 * core/network/attention.c
 *	  AutoMask attention in training (docs/model.md, Block), chunk by chunk.
 *
 * The kernels need keys and values in two orders: transposed for products along the
 * band, head by head for sums over it.  Forward passes need keys in the first order
 * and values in the second, backward passes the reverse.
 */
#include "core/network/layers.h"

/* Writes D columns of proj, transposed, after Wp columns of history: (D, ldk). */
static void
transpose_columns(const nn_train *t, const float *proj, int from, float *to)
{
	const int	step = nn_rows_between_polls(t->g.D);

	for (int r = 0; r < t->rows; r += step)
	{
		nn_kernels_get()->transpose(t->rows - r < step ? t->rows - r : step, t->g.D,
									proj + (size_t) r * t->g.P + from, t->g.P, to + t->g.Wp + r,
									t->ldk);
		nn_rest(t->poll);
	}
}

/* Writes D columns of proj, head by head, after Wp rows of history: (H, Wp + T, dp). */
static void
split_heads(const nn_train *t, const float *proj, int from, float *to)
{
	const int	step = nn_rows_between_polls(t->g.d);

	for (int h = 0; h < t->g.H; h++)
	{
		float	   *head = to + ((size_t) h * (t->g.Wp + t->rows) + t->g.Wp) * t->g.dp;

		for (int i = 0; i < t->rows; i++)
		{
			for (int c = 0; c < t->g.d; c++)
				head[(size_t) i * t->g.dp + c] = proj[(size_t) i * t->g.P + from + h * t->g.d + c];
			if ((i + 1) % step == 0)
				nn_rest(t->poll);
		}
	}
}

/* The part of a block's bands that belongs to chunk b. */
static nn_bands
chunk_bands(const nn_train *t, int n, int b)
{
	const nn_bands *all = &t->block[n].bands;
	size_t		row = (size_t) b * t->rows;
	size_t		band = row * t->g.H * t->g.Wp;

	return (nn_bands){
		.G = all->G + band,
		.A = all->A + band,
		.S = all->S + band,
		.zg = all->zg + row * t->g.D,
		.za = all->za + row * t->g.D,
		.gate = all->gate + row * t->g.H,
	};
}

static nn_segment
chunk_segment(const nn_train *t, int n, int b)
{
	return (nn_segment){
		.rows = t->rows,
		.history = 0,
		.proj = t->block[n].proj + (size_t) b * t->rows * t->g.P,
		.kt = t->kt,
		.ldk = t->ldk,
		.v = t->v,
		.ldv = (size_t) (t->g.Wp + t->rows) * t->g.dp,
		.phi = t->phi,
		.poll = t->poll,
	};
}

void
nn_attention(nn_train *t, int n)
{
	for (int b = 0; b < t->active; b++)
	{
		nn_segment	s = chunk_segment(t, n, b);
		nn_bands	bands = chunk_bands(t, n, b);

		transpose_columns(t, s.proj, t->g.k_col, t->kt);
		split_heads(t, s.proj, t->g.v_col, t->v);
		nn_kernels_get()->attend_forward(&t->g, &s, &bands, t->scratch,
										 t->block[n].z + (size_t) b * t->rows * t->g.D);
	}
}

double
nn_attention_backward(nn_train *t, int n, const nn_objective *objective, int batch_chunks)
{
	const double terms = (double) batch_chunks * (t->rows - objective->skip) * t->g.H * t->g.N;
	double		js = 0.0;

	for (int b = 0; b < t->active; b++)
	{
		size_t		row = (size_t) b * t->rows;
		nn_segment	s = chunk_segment(t, n, b);
		nn_bands	bands = chunk_bands(t, n, b);
		nn_band_grads grads = {
			.skip = objective->skip,
			.weight = (float) (objective->maxmin / terms),
			.vt = t->vt,
			.k = t->k,
			.dz = t->dz + row * t->g.D,
			.dzg_extra = t->dzg + row * t->g.D,
			.dza_extra = t->dza + row * t->g.D,
			.dzg = t->dzg_pad,
			.dza = t->dza_pad,
			.scratch = t->scratch,
			.dproj = t->dproj + row * t->g.P,
			.js = &js,
		};

		transpose_columns(t, s.proj, t->g.v_col, t->vt);
		split_heads(t, s.proj, t->g.k_col, t->k);
		nn_kernels_get()->attend_backward(&t->g, &s, &bands, &grads);
	}
	return js / terms;
}
