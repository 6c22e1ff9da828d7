/*
 * core/network/stream.c
 *	  Inference: each row passes through the network once.
 *
 * The network is causal and banded, so a block needs only the keys and values of the
 * last W rows besides the new ones: they are kept as history before the new rows, and
 * after each push the last Wp columns become the history of the next.  Nothing here
 * depends on a row's position within a push: every row passes the same kernels with
 * the same sizes (core/kernels/kernels.h).
 */
#include <string.h>

#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "core/network/network.h"
#include "core/network/params.h"

#define HISTORY (NN_TAPS - 1)	/* rows before a row that its convolutions see */
#define POLL_WORK 134217728.0	/* multiplications of a product between two polls */
#define POLL_FLOATS 1048576		/* weights packed between two polls */
#define SLICE_UNIT (2 * NN_PANEL)	/* outputs of the widest tile of a product */

/* A linear layer, its weights as nn_kernels.pack() lays them out. */
typedef struct packed_linear
{
	int			in, out;
	float	   *w;
	float	   *b;				/* padded with zeros to whole panels */
} packed_linear;

typedef struct packed_norm
{
	float	   *w;
	float	   *b;
} packed_norm;

typedef struct packed_block
{
	packed_norm ln1, ln2;
	packed_linear proj, o, w1, w2;
} packed_block;

struct nn_packed
{
	nn_shape	shape;
	nn_geometry g;
	float	   *phi;
	packed_linear conv[NN_SCALES];	/* inputs (width, C), in the order of rows in memory */
	packed_block *block;		/* (N) */
	packed_norm ln;
	packed_linear out;
};

/* Keys and values of a block, after Wp columns (of v: rows) of history. */
typedef struct stream_block
{
	float	   *kt;				/* (H·d, ldk) */
	float	   *v;				/* (H, Wp + NN_STREAM_ROWS, dp) */
} stream_block;

struct nn_stream
{
	/* settings */
	const nn_packed *packed;
	nn_poll		poll;
	size_t		ldk;			/* floats from row to row of kt */
	size_t		ldv;			/* floats from head to head of v */

	/* state */
	int64_t		count;			/* rows of this series so far */
	float	   *taps;			/* (HISTORY + NN_STREAM_ROWS, C) scaled rows */
	stream_block *block;		/* (N) */

	/* activations of a push */
	float	   *h;				/* (rows, D) */
	float	   *x;				/* (rows, D) */
	float	   *proj;			/* (rows, P) */
	float	   *z;				/* (rows, D) */
	float	   *u;				/* (rows, F) */
	float	   *js;				/* (rows) */
	float	   *scratch;
};

/* ---- packed weights ------------------------------------------------------------------ */

static packed_linear
take_linear(nn_arena *arena, int in, int out)
{
	size_t		padded = nn_round_up(out, NN_PANEL);
	packed_linear l = {.in = in, .out = out};

	l.w = nn_take_floats(arena, padded * in);
	l.b = nn_take_floats(arena, padded);
	return l;
}

static packed_norm
take_norm(nn_arena *arena, int d)
{
	packed_norm n;

	n.w = nn_take_floats(arena, d);
	n.b = nn_take_floats(arena, d);
	return n;
}

static void
lay_out_packed(nn_arena *arena, const nn_geometry *g, nn_packed *p)
{
	packed_block unused;

	p->block = nn_take(arena, sizeof(packed_block) * g->N);
	p->phi = nn_take_floats(arena, NN_BASIS * NN_NEAR);
	for (int s = 0; s < NN_SCALES; s++)
		p->conv[s] = take_linear(arena, nn_scale_width[s] * g->C, g->E);
	for (int n = 0; n < g->N; n++)
	{
		packed_block *b = p->block ? &p->block[n] : &unused;

		b->ln1 = take_norm(arena, g->D);
		b->proj = take_linear(arena, g->D, g->P);
		b->o = take_linear(arena, g->D, g->D);
		b->ln2 = take_norm(arena, g->D);
		b->w1 = take_linear(arena, g->D, g->F);
		b->w2 = take_linear(arena, g->F, g->D);
	}
	p->ln = take_norm(arena, g->D);
	p->out = take_linear(arena, g->D, g->C);
}

size_t
nn_packed_bytes(const nn_shape *shape)
{
	nn_geometry g = nn_geometry_of(shape);
	nn_arena	arena = {0};
	nn_packed	unused;

	nn_take(&arena, sizeof(nn_packed));
	lay_out_packed(&arena, &g, &unused);
	return nn_arena_bytes(arena.used);
}

static void
pack_linear(const packed_linear *l, const float *w, const float *b, nn_poll poll)
{
	const int	step = (POLL_FLOATS / (NN_PANEL * l->in) + 1) * NN_PANEL;

	for (int o = 0; o < l->out; o += step)
	{
		nn_kernels_get()->pack(l->out - o < step ? l->out - o : step, l->in, w + (size_t) o * l->in,
							   l->in, l->w + (size_t) o * l->in);
		nn_rest(poll);
	}
	memcpy(l->b, b, sizeof(float) * l->out);
}

/* Packs weights (E, C, width) with inputs (width, C). */
static void
pack_convolution(const packed_linear *l, int C, int width, const float *w, const float *b,
				 nn_poll poll)
{
	for (int e = 0; e < l->out; e++)
	{
		float	   *panel = l->w + (size_t) (e / NN_PANEL) * NN_PANEL * l->in + e % NN_PANEL;

		for (int c = 0; c < C; c++)
			for (int tap = 0; tap < width; tap++)
				panel[((size_t) tap * C + c) * NN_PANEL] = w[((size_t) e * C + c) * width + tap];
		l->b[e] = b[e];
		if ((e + 1) % (POLL_FLOATS / (width * C) + 1) == 0)
			nn_rest(poll);
	}
}

static void
copy_norm(const packed_norm *n, int d, const float *w, const float *b)
{
	memcpy(n->w, w, sizeof(float) * d);
	memcpy(n->b, b, sizeof(float) * d);
}

nn_packed *
nn_pack(void *memory, const nn_shape *shape, const float *params, nn_poll poll)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	nn_packed  *p = nn_take(&arena, sizeof(nn_packed));
	nn_layout	at = nn_layout_of(shape);

	nn_zero(memory, nn_packed_bytes(shape), poll);	/* padding of panels */
	p->shape = *shape;
	p->g = nn_geometry_of(shape);
	lay_out_packed(&arena, &p->g, p);
	nn_basis(p->phi);
	for (int s = 0; s < NN_SCALES; s++)
		pack_convolution(&p->conv[s], p->g.C, nn_scale_width[s], params + at.conv_w[s],
						 params + at.conv_b[s], poll);
	for (int n = 0; n < p->g.N; n++)
	{
		nn_block_layout b = nn_block_layout_of(shape, n);

		copy_norm(&p->block[n].ln1, p->g.D, params + b.ln1_w, params + b.ln1_b);
		pack_linear(&p->block[n].proj, params + b.proj_w, params + b.proj_b, poll);
		pack_linear(&p->block[n].o, params + b.o_w, params + b.o_b, poll);
		copy_norm(&p->block[n].ln2, p->g.D, params + b.ln2_w, params + b.ln2_b);
		pack_linear(&p->block[n].w1, params + b.w1_w, params + b.w1_b, poll);
		pack_linear(&p->block[n].w2, params + b.w2_w, params + b.w2_b, poll);
	}
	copy_norm(&p->ln, p->g.D, params + at.ln_w, params + at.ln_b);
	pack_linear(&p->out, params + at.out_w, params + at.out_b, poll);
	return p;
}

nn_packed *
nn_packed_copy(void *memory, const nn_shape *shape, const void *from, nn_poll poll)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	nn_packed  *p = nn_take(&arena, sizeof(nn_packed));

	nn_copy(p, from, nn_packed_bytes(shape) - nn_arena_bytes(0), poll);
	lay_out_packed(&arena, &p->g, p);	/* sets the pointers; the arrays are already there */
	return p;
}

/* ---- the stream ---------------------------------------------------------------------- */

static void
lay_out_stream(nn_arena *arena, const nn_geometry *g, nn_stream *s)
{
	stream_block unused;

	s->ldk = g->Wp + nn_round_up(NN_STREAM_ROWS, NN_UNIT);
	s->ldv = (size_t) (g->Wp + NN_STREAM_ROWS) * g->dp;
	s->block = nn_take(arena, sizeof(stream_block) * g->N);
	s->taps = nn_take_floats(arena, (size_t) (HISTORY + NN_STREAM_ROWS) * g->C);
	for (int n = 0; n < g->N; n++)
	{
		stream_block *b = s->block ? &s->block[n] : &unused;

		b->kt = nn_take_floats(arena, g->D * s->ldk);
		b->v = nn_take_floats(arena, g->H * s->ldv);
	}
	s->h = nn_take_floats(arena, (size_t) NN_STREAM_ROWS * g->D);
	s->x = nn_take_floats(arena, (size_t) NN_STREAM_ROWS * g->D);
	s->proj = nn_take_floats(arena, (size_t) NN_STREAM_ROWS * g->P);
	s->z = nn_take_floats(arena, (size_t) NN_STREAM_ROWS * g->D);
	s->u = nn_take_floats(arena, (size_t) NN_STREAM_ROWS * g->F);
	s->js = nn_take_floats(arena, NN_STREAM_ROWS);
	s->scratch = nn_take_floats(arena, nn_attend_scratch(g));
}

size_t
nn_stream_bytes(const nn_shape *shape)
{
	nn_geometry g = nn_geometry_of(shape);
	nn_arena	arena = {0};
	nn_stream	unused;

	nn_take(&arena, sizeof(nn_stream));
	lay_out_stream(&arena, &g, &unused);
	return nn_arena_bytes(arena.used);
}

nn_stream *
nn_stream_open(void *memory, const nn_packed *packed, nn_poll poll)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	nn_stream  *s = nn_take(&arena, sizeof(nn_stream));

	/* history and padding are read, so they must be finite */
	nn_zero(memory, nn_stream_bytes(&packed->shape), poll);
	lay_out_stream(&arena, &packed->g, s);
	s->packed = packed;
	s->poll = poll;
	return s;
}

void
nn_stream_reset(nn_stream *s)
{
	const nn_geometry *g = &s->packed->g;

	s->count = 0;
	/* old history has weight 0, but 0·NaN is NaN: a bad series must not spoil the next one */
	for (int n = 0; n < g->N; n++)
	{
		for (int c = 0; c < g->D; c++)
			memset(s->block[n].kt + c * s->ldk, 0, sizeof(float) * g->Wp);
		for (int h = 0; h < g->H; h++)
			memset(s->block[n].v + h * s->ldv, 0, sizeof(float) * g->Wp * g->dp);
		nn_rest(s->poll);
	}
}

/* Applies a linear layer in slices of outputs; how they are cut does not change any bit. */
static void
apply_linear(const nn_stream *s, const packed_linear *l, int rows, const float *x, size_t ldx,
			 float *y, size_t ldy, bool add)
{
	const double panel = (double) rows * l->in * SLICE_UNIT;
	const int	step = panel * l->out / SLICE_UNIT <= POLL_WORK
		? l->out
		: (int) (POLL_WORK / panel + 1) * SLICE_UNIT;
	nn_product	p = {.rows = rows, .k = l->in, .a = x, .lda = ldx, .ldy = ldy};

	for (int o = 0; o < l->out; o += step)
	{
		p.n = l->out - o < step ? l->out - o : step;
		p.b = l->w + (size_t) o * l->in;
		p.bias = l->b + o;
		p.y = y + o;
		p.plus = add ? p.y : NULL;
		nn_kernels_get()->gemm(&p);
		nn_rest(s->poll);
	}
}

/* Multi-scale embedding of n new rows into h. */
static void
embed_rows(nn_stream *s, const float *rows, int n)
{
	const nn_geometry *g = &s->packed->g;
	float	   *newest = s->taps + (size_t) HISTORY * g->C;

	if (s->count == 0)
		for (int i = 0; i < HISTORY; i++)
			memcpy(s->taps + (size_t) i * g->C, rows, sizeof(float) * g->C);
	memcpy(newest, rows, sizeof(float) * n * g->C);

	/* rows are contiguous, so a row and those before it are one long row */
	for (int k = 0; k < NN_SCALES; k++)
		apply_linear(s, &s->packed->conv[k], n, newest - (size_t) (nn_scale_width[k] - 1) * g->C,
					 g->C, s->h + k * g->E, g->D, false);
	memmove(s->taps, s->taps + (size_t) n * g->C, sizeof(float) * HISTORY * g->C);
}

/* Copies keys and values of n rows from proj to after the history. */
static void
append_keys_values(nn_stream *s, stream_block *b, int n)
{
	const nn_geometry *g = &s->packed->g;

	nn_kernels_get()->transpose(n, g->D, s->proj + g->k_col, g->P, b->kt + g->Wp, s->ldk);
	for (int i = 0; i < n; i++)
	{
		const float *row = s->proj + (size_t) i * g->P;
		float	   *v = b->v + (size_t) (g->Wp + i) * g->dp;

		for (int h = 0; h < g->H; h++)
			memcpy(v + h * s->ldv, row + g->v_col + h * g->d, sizeof(float) * g->d);
	}
}

/* Makes the last Wp rows the history of the next push. */
static void
shift_history(nn_stream *s, stream_block *b, int n)
{
	const nn_geometry *g = &s->packed->g;

	for (int c = 0; c < g->D; c++)
		memmove(b->kt + c * s->ldk, b->kt + c * s->ldk + n, sizeof(float) * g->Wp);
	for (int h = 0; h < g->H; h++)
		memmove(b->v + h * s->ldv, b->v + h * s->ldv + (size_t) n * g->dp,
				sizeof(float) * g->Wp * g->dp);
}

static void
pass_block(nn_stream *s, int index, int n, int stride, float *discrepancy)
{
	const nn_kernels *kernels = nn_kernels_get();
	const nn_geometry *g = &s->packed->g;
	const packed_block *p = &s->packed->block[index];
	stream_block *b = &s->block[index];
	nn_segment	segment = {
		.rows = n,
		.history = s->count < g->Wp ? (int) s->count : g->Wp,
		.proj = s->proj,
		.kt = b->kt,
		.ldk = s->ldk,
		.v = b->v,
		.ldv = s->ldv,
		.phi = s->packed->phi,
		.poll = s->poll,
	};

	kernels->norm(n, g->D, s->h, p->ln1.w, p->ln1.b, s->x, NULL, NULL);
	apply_linear(s, &p->proj, n, s->x, g->D, s->proj, g->P, false);
	append_keys_values(s, b, n);
	nn_rest(s->poll);
	kernels->attend(g, &segment, s->scratch, s->z, s->js);
	for (int i = 0; i < n; i++)
		discrepancy[(size_t) i * stride + index] = s->js[i];
	shift_history(s, b, n);
	nn_rest(s->poll);
	apply_linear(s, &p->o, n, s->z, g->D, s->h, g->D, true);

	kernels->norm(n, g->D, s->h, p->ln2.w, p->ln2.b, s->x, NULL, NULL);
	apply_linear(s, &p->w1, n, s->x, g->D, s->u, g->F, false);
	kernels->gelu((size_t) n * g->F, s->u, s->u);
	apply_linear(s, &p->w2, n, s->u, g->F, s->h, g->D, true);
}

void
nn_stream_push(nn_stream *s, const float *rows, int n, float *expected, int stride,
			   float *discrepancy)
{
	const nn_geometry *g = &s->packed->g;

	embed_rows(s, rows, n);
	for (int i = 0; i < g->N; i++)
		pass_block(s, i, n, stride, discrepancy);
	nn_kernels_get()->norm(n, g->D, s->h, s->packed->ln.w, s->packed->ln.b, s->x, NULL, NULL);
	apply_linear(s, &s->packed->out, n, s->x, g->D, expected, g->C, false);
	s->count += n;
}
