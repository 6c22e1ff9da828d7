/*
 * core/network/train.c
 *	  The network in training: forward and backward passes of a shard.
 *
 * Forward: embedding, blocks, layer norm, output layer, each keeping its inputs.
 * Backward: the same parts in reverse order.  t->dh holds the gradient of the residual
 * stream throughout: each part adds what its inputs contribute to it.
 */
#include <string.h>

#include "core/memory.h"
#include "core/network/layers.h"
#include "core/network/linear.h"

#define GELU_SLICE 262144		/* floats between two polls: a few milliseconds */

static void
lay_out_block(nn_arena *arena, const nn_geometry *g, size_t R, nn_block *block)
{
	size_t		band = R * g->H * g->Wp;

	block->x1 = nn_take_floats(arena, R * g->D);
	block->mean1 = nn_take_floats(arena, R);
	block->rstd1 = nn_take_floats(arena, R);
	block->proj = nn_take_floats(arena, R * g->P);
	block->bands.G = nn_take_floats(arena, band);
	block->bands.A = nn_take_floats(arena, band);
	block->bands.S = nn_take_floats(arena, band);
	block->bands.zg = nn_take_floats(arena, R * g->D);
	block->bands.za = nn_take_floats(arena, R * g->D);
	block->bands.gate = nn_take_floats(arena, R * g->H);
	block->z = nn_take_floats(arena, R * g->D);
	block->mid = nn_take_floats(arena, R * g->D);
	block->x2 = nn_take_floats(arena, R * g->D);
	block->mean2 = nn_take_floats(arena, R);
	block->rstd2 = nn_take_floats(arena, R);
	block->u = nn_take_floats(arena, R * g->F);
	block->act = nn_take_floats(arena, R * g->F);
	block->h = nn_take_floats(arena, R * g->D);
}

static void
lay_out_chunk(nn_arena *arena, const nn_geometry *g, size_t T, nn_train *t)
{
	size_t		wide = (size_t) g->H * g->dp;

	t->ldk = g->Wp + nn_round_up(T, NN_UNIT);
	t->kt = nn_take_floats(arena, g->D * t->ldk);
	t->vt = nn_take_floats(arena, g->D * t->ldk);
	t->k = nn_take_floats(arena, (g->Wp + T) * wide);
	t->v = nn_take_floats(arena, (g->Wp + T) * wide);
	t->dzg_pad = nn_take_floats(arena, T * wide);
	t->dza_pad = nn_take_floats(arena, T * wide);
	t->scratch = nn_take_floats(arena, nn_attend_scratch(g));
	t->unit_g = nn_take_floats(arena, T * g->D);
	t->unit_a = nn_take_floats(arena, T * g->D);
	t->norm_g = nn_take_floats(arena, T);
	t->norm_a = nn_take_floats(arena, T);
	t->dunit = nn_take_floats(arena, T * g->D);
	t->logits = nn_take_floats(arena, T * T);
	t->row_sum = nn_take_floats(arena, T);
	t->col_sum = nn_take_floats(arena, T);
}

/* Floats of the largest packed matrix. */
static size_t
largest_packed(const nn_geometry *g, int T)
{
	const size_t sizes[] = {
		nn_packed_floats(g->E, NN_TAPS * g->C),
		nn_packed_floats(g->P, g->D),
		nn_packed_floats(g->F, g->D),
		nn_packed_floats(g->D, g->F),
		nn_packed_floats(g->C, g->D),
		nn_packed_floats(T, g->D),	/* the contrast's vectors */
	};
	size_t		largest = 0;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		largest = sizes[i] > largest ? sizes[i] : largest;
	return largest;
}

static void
lay_out_shard(nn_arena *arena, const nn_shape *shape, int chunks, int rows, nn_train *t)
{
	nn_block	unused;
	nn_geometry g = nn_geometry_of(shape);
	size_t		R = (size_t) chunks * rows;

	t->block = nn_take(arena, sizeof(nn_block) * g.N);
	t->taps = nn_take_floats(arena, R * NN_TAPS * g.C);
	for (int s = 0; s < NN_SCALES; s++)
		t->conv_w[s] = nn_take_floats(arena, (size_t) g.E * nn_scale_width[s] * g.C);
	t->conv_dw = nn_take_floats(arena, (size_t) g.E * NN_TAPS * g.C);
	t->phi = nn_take_floats(arena, NN_BASIS * NN_NEAR);
	t->packed = nn_take_floats(arena, largest_packed(&g, rows));
	for (int n = 0; n < g.N; n++)
		lay_out_block(arena, &g, R, t->block ? &t->block[n] : &unused);
	t->h = nn_take_floats(arena, R * g.D);
	t->x = nn_take_floats(arena, R * g.D);
	t->mean = nn_take_floats(arena, R);
	t->rstd = nn_take_floats(arena, R);
	t->out = nn_take_floats(arena, R * g.C);
	t->dh = nn_take_floats(arena, R * g.D);
	t->dx = nn_take_floats(arena, R * g.D);
	t->dz = nn_take_floats(arena, R * g.D);
	t->dzg = nn_take_floats(arena, R * g.D);
	t->dza = nn_take_floats(arena, R * g.D);
	t->dproj = nn_take_floats(arena, R * g.P);
	t->du = nn_take_floats(arena, R * g.F);
	t->dout = nn_take_floats(arena, R * g.C);
	lay_out_chunk(arena, &g, rows, t);
}

size_t
nn_train_bytes(const nn_shape *shape, int chunks, int rows)
{
	nn_arena	arena = {0};
	nn_train	unused;

	nn_take(&arena, sizeof(nn_train));
	lay_out_shard(&arena, shape, chunks, rows, &unused);
	return nn_arena_bytes(arena.used);
}

nn_train *
nn_train_open(void *memory, const nn_shape *shape, int chunks, int rows, nn_poll poll)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	nn_train   *t = nn_take(&arena, sizeof(nn_train));

	/* history and padding are read, so they must be finite */
	nn_zero(memory, nn_train_bytes(shape, chunks, rows), poll);
	lay_out_shard(&arena, shape, chunks, rows, t);
	t->g = nn_geometry_of(shape);
	t->at = nn_layout_of(shape);
	t->nparams = nn_params_size(shape);
	t->poll = poll;
	t->chunks = chunks;
	t->rows = rows;
	nn_basis(t->phi);
	for (int n = 0; n < t->g.N; n++)
		t->block[n].at = nn_block_layout_of(shape, n);
	return t;
}

/* Layer norm of all rows. */
static void
norm_rows(nn_train *t, const float *x, const float *w, const float *b, float *y, float *mean,
		  float *rstd)
{
	const int	R = t->active * t->rows;
	const int	D = t->g.D;
	const int	step = nn_rows_between_polls(D);

	for (int r = 0; r < R; r += step)
	{
		size_t		at = (size_t) r * D;

		nn_kernels_get()->norm(R - r < step ? R - r : step, D, x + at, w, b, y + at, mean + r,
							   rstd + r);
		nn_rest(t->poll);
	}
}

/* Adds the gradient of x, which follows from t->dx, to t->dh. */
static void
norm_rows_backward(nn_train *t, const float *x, const float *w, const float *mean,
				   const float *rstd, float *dw, float *db)
{
	const int	R = t->active * t->rows;
	const int	D = t->g.D;
	const int	step = nn_rows_between_polls(D);

	for (int r = 0; r < R; r += step)
	{
		size_t		at = (size_t) r * D;

		nn_kernels_get()->norm_backward(&(nn_norm_grads){
			.rows = R - r < step ? R - r : step,
			.d = D,
			.x = x + at,
			.w = w,
			.mean = mean + r,
			.rstd = rstd + r,
			.dy = t->dx + at,
			.dx = t->dh + at,
			.dw = dw,
			.db = db,
		});
		nn_rest(t->poll);
	}
}

/* gelu of u, or if dact is not NULL, its gradient. */
static void
gelu_rows(nn_train *t, size_t n, const float *u, const float *dact, float *y)
{
	for (size_t at = 0; at < n; at += GELU_SLICE)
	{
		size_t		m = n - at < GELU_SLICE ? n - at : GELU_SLICE;

		if (dact)
			nn_kernels_get()->gelu_backward(m, u + at, dact + at, y + at);
		else
			nn_kernels_get()->gelu(m, u + at, y + at);
		nn_rest(t->poll);
	}
}

/* ---- a block ------------------------------------------------------------------------ */

typedef struct block_layers
{
	nn_linear	proj, o, w1, w2;
} block_layers;

static block_layers
block_layers_of(const nn_train *t, int n, const float *params)
{
	const nn_geometry *g = &t->g;
	const int	R = t->active * t->rows;
	const nn_block *b = &t->block[n];
	const nn_block_layout *at = &b->at;

	/* rows, in, out, x, ldx, ldy, w, b */
	return (block_layers){
		.proj = {R, g->D, g->P, b->x1, g->D, g->P, params + at->proj_w, params + at->proj_b},
		.o = {R, g->D, g->D, b->z, g->D, g->D, params + at->o_w, params + at->o_b},
		.w1 = {R, g->D, g->F, b->x2, g->D, g->F, params + at->w1_w, params + at->w1_b},
		.w2 = {R, g->F, g->D, b->act, g->F, g->D, params + at->w2_w, params + at->w2_b},
	};
}

static void
block_forward(nn_train *t, int n, const float *params, float *h_out)
{
	const block_layers layers = block_layers_of(t, n, params);
	nn_block   *b = &t->block[n];

	norm_rows(t, b->h, params + b->at.ln1_w, params + b->at.ln1_b, b->x1, b->mean1, b->rstd1);
	nn_linear_forward(t, &layers.proj, NULL, b->proj);
	nn_rest(t->poll);
	nn_attention(t, n);
	nn_rest(t->poll);
	nn_linear_forward(t, &layers.o, b->h, b->mid);

	norm_rows(t, b->mid, params + b->at.ln2_w, params + b->at.ln2_b, b->x2, b->mean2, b->rstd2);
	nn_linear_forward(t, &layers.w1, NULL, b->u);
	gelu_rows(t, (size_t) layers.w1.rows * t->g.F, b->u, NULL, b->act);
	nn_linear_forward(t, &layers.w2, b->mid, h_out);
	nn_rest(t->poll);
}

/* Turns t->dh at the block's end into t->dh at its beginning. */
static void
block_backward(nn_train *t, int n, const float *params, const nn_objective *objective,
			   int batch_chunks, float *grads, nn_losses *losses)
{
	const block_layers layers = block_layers_of(t, n, params);
	nn_block   *b = &t->block[n];

	nn_linear_backward(t, &layers.w2, t->dh, t->du, grads + b->at.w2_w, grads + b->at.w2_b);
	gelu_rows(t, (size_t) layers.w1.rows * t->g.F, b->u, t->du, t->du);
	nn_linear_backward(t, &layers.w1, t->du, t->dx, grads + b->at.w1_w, grads + b->at.w1_b);
	norm_rows_backward(t, b->mid, params + b->at.ln2_w, b->mean2, b->rstd2, grads + b->at.ln2_w,
					   grads + b->at.ln2_b);

	nn_linear_backward(t, &layers.o, t->dh, t->dz, grads + b->at.o_w, grads + b->at.o_b);
	losses->contrast += nn_contrast(t, n, objective, batch_chunks);
	nn_rest(t->poll);
	losses->discrepancy += nn_attention_backward(t, n, objective, batch_chunks);
	nn_rest(t->poll);
	nn_linear_backward(t, &layers.proj, t->dproj, t->dx, grads + b->at.proj_w,
					   grads + b->at.proj_b);
	norm_rows_backward(t, b->h, params + b->at.ln1_w, b->mean1, b->rstd1, grads + b->at.ln1_w,
					   grads + b->at.ln1_b);
}

/* ---- the network -------------------------------------------------------------------- */

static nn_linear
output_layer(const nn_train *t, const float *params)
{
	return (nn_linear){
		.rows = t->active * t->rows,
		.in = t->g.D,
		.out = t->g.C,
		.x = t->x,
		.ldx = t->g.D,
		.ldy = t->g.C,
		.w = params + t->at.out_w,
		.b = params + t->at.out_b,
	};
}

void
nn_forward(nn_train *t, const float *params, const float *const *chunk, int nchunks)
{
	nn_linear	output;

	t->active = nchunks;
	nn_embed(t, params, chunk);
	nn_rest(t->poll);
	for (int n = 0; n < t->g.N; n++)
		block_forward(t, n, params, n + 1 < t->g.N ? t->block[n + 1].h : t->h);
	norm_rows(t, t->h, params + t->at.ln_w, params + t->at.ln_b, t->x, t->mean, t->rstd);
	output = output_layer(t, params);
	nn_linear_forward(t, &output, NULL, t->out);
}

void
nn_backward(nn_train *t, const float *params, const nn_objective *objective,
			const nn_target *target, int batch_chunks, float *grads, nn_losses *losses)
{
	const nn_linear output = output_layer(t, params);

	nn_zero(grads, sizeof(float) * t->nparams, t->poll);
	memset(losses, 0, sizeof(*losses));

	losses->reconstruction = nn_reconstruction(t, objective, target, batch_chunks);
	nn_linear_backward(t, &output, t->dout, t->dx, grads + t->at.out_w, grads + t->at.out_b);
	nn_zero(t->dh, sizeof(float) * output.rows * t->g.D, t->poll);
	norm_rows_backward(t, t->h, params + t->at.ln_w, t->mean, t->rstd, grads + t->at.ln_w,
					   grads + t->at.ln_b);
	for (int n = t->g.N - 1; n >= 0; n--)
		block_backward(t, n, params, objective, batch_chunks, grads, losses);
	nn_embed_backward(t, grads);
	/* the discrepancies of the two phases cancel: same value, opposite signs */
	losses->total = 2 * losses->reconstruction + objective->contrast * losses->contrast;
}

/* ---- for tests ----------------------------------------------------------------------- */

const float *
nn_train_output(const nn_train *t)
{
	return t->out;
}

void
nn_train_association(const nn_train *t, int block, int b, int head, int row, char which,
					 float *weights)
{
	const nn_geometry *g = &t->g;
	const nn_bands *bands = &t->block[block].bands;
	const float *all = which == 'G' ? bands->G : bands->A;
	const float *band = all + (((size_t) b * g->H + head) * t->rows + row) * g->Wp;

	for (int w = 0; w < g->W; w++)
		weights[w] = w >= g->W - 1 - row ? band[g->Wp - g->W + w] : 0.0f;
}
