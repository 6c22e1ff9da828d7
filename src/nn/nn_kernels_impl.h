/*
 * nn_kernels_impl.h
 *	  The inner loops, written once with the compiler's vector types.
 *
 * Include it in a file that has set the instruction set and defined NN_ISA, the
 * name of the table to define.  A vector is eight floats; where the machine has
 * shorter registers the compiler splits it.
 */
#include <math.h>
#include <string.h>

#include "nn_kernels.h"

typedef float v8 __attribute__((vector_size(32)));
typedef float v8u __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t i8 __attribute__((vector_size(32)));

#define INLINE static inline __attribute__((always_inline))

#define JS_EPSILON 1e-4f		/* inside the logarithms of section 2.5 */
#define NORM_EPSILON 1e-5f
#define TINY_SUM 1e-20f			/* below it a sum of weights has lost digits */

/* ---- vectors --------------------------------------------------------------- */

INLINE v8
splat(float x)
{
	return (v8) {x, x, x, x, x, x, x, x};
}

INLINE i8
isplat(int32_t x)
{
	return (i8) {x, x, x, x, x, x, x, x};
}

INLINE v8
load(const float *p)
{
	return *(const v8u *) p;
}

INLINE void
store(float *p, v8 x)
{
	*(v8u *) p = x;
}

/* Bits of x where mask is set, else of y. */
INLINE v8
choose(i8 mask, v8 x, v8 y)
{
	return (v8) ((mask & (i8) x) | (~mask & (i8) y));
}

INLINE v8
vmax(v8 x, v8 y)
{
	return choose((i8) (x > y), x, y);
}

INLINE v8
vmin(v8 x, v8 y)
{
	return choose((i8) (x < y), x, y);
}

INLINE float
sum8(v8 x)
{
	return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

INLINE float
max8(v8 x)
{
	float		m = x[0];

	for (int i = 1; i < NN_LANES; i++)
		m = x[i] > m ? x[i] : m;
	return m;
}

/* Lanes whose index is at least first: all ones, else 0. */
INLINE i8
lanes_from(int first)
{
	const i8	index = {0, 1, 2, 3, 4, 5, 6, 7};

	return (i8) (index >= isplat(first));
}

/*
 * exp(x): 2^n · e^r with |r| ≤ ln 2 / 2 and e^r by a polynomial of degree 6.
 * Relative error below 2e-7; arguments are clamped to [-87, 88].
 */
INLINE v8
vexp(v8 x)
{
	const v8	round = splat(12582912.0f);	/* 1.5·2^23 shifts the fraction out */
	v8			n,
				r,
				p;

	x = vmin(vmax(x, splat(-87.0f)), splat(88.0f));
	p = x * splat(1.44269504088896341f) + round;
	n = p - round;
	r = x - n * splat(0.693359375f);
	r = r + n * splat(2.12194440e-4f);
	p = splat(1.0f / 720) * r + splat(1.0f / 120);
	p = p * r + splat(1.0f / 24);
	p = p * r + splat(1.0f / 6);
	p = p * r + splat(0.5f);
	p = p * r + splat(1.0f);
	p = p * r + splat(1.0f);
	return p * (v8) ((__builtin_convertvector(n, i8) + isplat(127)) << 23);
}

/*
 * log(x) for normal x > 0: exponent + log of the mantissa in [√½, √2), by the
 * polynomial of Cephes' logf.  Error below 2e-7, absolute near 1, else relative.
 */
INLINE v8
vlog(v8 x)
{
	const i8	sqrt_half = isplat(0x3f3504f3);
	i8			bits = (i8) x;
	i8			e = (bits - sqrt_half) >> 23;
	v8			n = __builtin_convertvector(e, v8);
	v8			f = (v8) (bits - (e << 23)) - splat(1.0f);
	v8			f2 = f * f;
	v8			p;

	p = splat(7.0376836292e-2f) * f + splat(-1.1514610310e-1f);
	p = p * f + splat(1.1676998740e-1f);
	p = p * f + splat(-1.2420140846e-1f);
	p = p * f + splat(1.4249322787e-1f);
	p = p * f + splat(-1.6668057665e-1f);
	p = p * f + splat(2.0000714765e-1f);
	p = p * f + splat(-2.4999993993e-1f);
	p = p * f + splat(3.3333331174e-1f);
	p = p * f * f2;
	p = p + n * splat(-2.12194440e-4f);
	p = p - splat(0.5f) * f2;
	return f + p + n * splat(0.693359375f);
}

/*
 * erf(x), given e = exp(-x²): Abramowitz & Stegun 7.1.26, absolute error below
 * 5e-7 in float.
 */
INLINE v8
verf(v8 x, v8 e)
{
	i8			sign = (i8) x & isplat((int32_t) 0x80000000);
	v8			a = (v8) ((i8) x & isplat(0x7fffffff));
	v8			t = splat(1.0f) / (splat(1.0f) + splat(0.3275911f) * a);
	v8			p;

	p = splat(1.061405429f) * t + splat(-1.453152027f);
	p = p * t + splat(1.421413741f);
	p = p * t + splat(-0.284496736f);
	p = p * t + splat(0.254829592f);
	p = splat(1.0f) - p * t * e;
	return (v8) ((i8) p | sign);
}

/* ---- matrices ---------------------------------------------------------------- */

/* Rows of x by one panel: a tile of six rows and sixteen columns. */
INLINE void
gemm_tile(int k, const float *const *x, const float *w, v8 acc[6][2])
{
	for (int i = 0; i < k; i++)
	{
		v8			w0 = load(w + (size_t) i * NN_PANEL);
		v8			w1 = load(w + (size_t) i * NN_PANEL + NN_LANES);

#pragma GCC unroll 6
		for (int r = 0; r < 6; r++)
		{
			v8			xi = splat(x[r][i]);

			acc[r][0] += xi * w0;
			acc[r][1] += xi * w1;
		}
	}
}

/* Write the first n columns of a tile's row. */
INLINE void
gemm_store(float *y, int n, bool add, v8 y0, v8 y1)
{
	float		tail[NN_PANEL];

	if (n == NN_PANEL)
	{
		store(y, add ? load(y) + y0 : y0);
		store(y + NN_LANES, add ? load(y + NN_LANES) + y1 : y1);
		return;
	}
	store(tail, y0);
	store(tail + NN_LANES, y1);
	for (int c = 0; c < n; c++)
		y[c] = add ? y[c] + tail[c] : tail[c];
}

static void
gemm(int rows, int n, int k, const float *x, size_t ldx, const float *packed,
	 const float *bias, float *y, size_t ldy, bool add)
{
	for (int c = 0; c < n; c += NN_PANEL)
	{
		const float *panel = packed + (size_t) c * k;
		int			width = n - c < NN_PANEL ? n - c : NN_PANEL;
		v8			b0 = load(bias + c);
		v8			b1 = load(bias + c + NN_LANES);

		for (int r = 0; r < rows; r += 6)
		{
			const float *row[6];
			v8			acc[6][2];

#pragma GCC unroll 6
			for (int i = 0; i < 6; i++)
			{
				/* a short last tile computes its last row again */
				row[i] = x + (size_t) (r + i < rows ? r + i : rows - 1) * ldx;
				acc[i][0] = b0;
				acc[i][1] = b1;
			}
			gemm_tile(k, row, panel, acc);
#pragma GCC unroll 6
			for (int i = 0; i < 6; i++)
				if (r + i < rows)
					gemm_store(y + (size_t) (r + i) * ldy + c, width, add, acc[i][0], acc[i][1]);
		}
	}
}

static void
column_sums(int rows, int n, const float *x, float *sum)
{
	for (int r = 0; r < rows; r++)
		for (int c = 0; c < n; c++)
			sum[c] += x[(size_t) r * n + c];
}

/* ---- layer norm ---------------------------------------------------------------- */

INLINE float
row_sum(int d, const float *x)
{
	v8			s = splat(0.0f);
	float		tail = 0.0f;
	int			c = 0;

	for (; c + NN_LANES <= d; c += NN_LANES)
		s += load(x + c);
	for (; c < d; c++)
		tail += x[c];
	return sum8(s) + tail;
}

INLINE float
row_square_deviation(int d, const float *x, float mean)
{
	v8			s = splat(0.0f);
	float		tail = 0.0f;
	int			c = 0;

	for (; c + NN_LANES <= d; c += NN_LANES)
	{
		v8			y = load(x + c) - splat(mean);

		s += y * y;
	}
	for (; c < d; c++)
		tail += (x[c] - mean) * (x[c] - mean);
	return sum8(s) + tail;
}

static void
norm(int rows, int d, const float *x, const float *w, const float *b,
	 float *y, float *mean, float *rstd)
{
	for (int r = 0; r < rows; r++, x += d, y += d)
	{
		float		m = row_sum(d, x) / d;
		float		s = 1.0f / sqrtf(row_square_deviation(d, x, m) / d + NORM_EPSILON);
		int			c = 0;

		for (; c + NN_LANES <= d; c += NN_LANES)
			store(y + c, (load(x + c) - splat(m)) * splat(s) * load(w + c) + load(b + c));
		for (; c < d; c++)
			y[c] = (x[c] - m) * s * w[c] + b[c];
		if (mean)
		{
			mean[r] = m;
			rstd[r] = s;
		}
	}
}

/* With g = dy·w and n = (x - mean)·rstd: dx = rstd·(g - mean(g) - n·mean(g·n)). */
static void
norm_backward(int rows, int d, const float *x, const float *w, const float *mean,
			  const float *rstd, const float *dy, float *dx, float *dw, float *db)
{
	for (int r = 0; r < rows; r++, x += d, dy += d, dx += d)
	{
		float		m = mean[r];
		float		s = rstd[r];
		v8			vg = splat(0.0f);
		v8			vgn = splat(0.0f);
		float		g_mean = 0.0f;
		float		gn_mean = 0.0f;
		int			c = 0;

		for (; c + NN_LANES <= d; c += NN_LANES)
		{
			v8			n = (load(x + c) - splat(m)) * splat(s);
			v8			y = load(dy + c);
			v8			g = y * load(w + c);

			vg += g;
			vgn += g * n;
			store(dw + c, load(dw + c) + y * n);
			store(db + c, load(db + c) + y);
		}
		for (; c < d; c++)
		{
			float		n = (x[c] - m) * s;

			g_mean += dy[c] * w[c];
			gn_mean += dy[c] * w[c] * n;
			dw[c] += dy[c] * n;
			db[c] += dy[c];
		}
		g_mean = (g_mean + sum8(vg)) / d;
		gn_mean = (gn_mean + sum8(vgn)) / d;
		for (c = 0; c < d; c++)
			dx[c] += s * (dy[c] * w[c] - g_mean - (x[c] - m) * s * gn_mean);
	}
}

/* ---- gelu ------------------------------------------------------------------------ */

/* Φ(x), the normal distribution function; *e = exp(-x²/2). */
INLINE v8
normal_cdf(v8 x, v8 *e)
{
	*e = vexp(x * x * splat(-0.5f));
	return splat(0.5f) + splat(0.5f) * verf(x * splat(0.70710678118654752f), *e);
}

/* n is a multiple of NN_LANES: 2·D is. */
static void
gelu(size_t n, const float *x, float *y)
{
	for (size_t i = 0; i < n; i += NN_LANES)
	{
		v8			e;
		v8			xi = load(x + i);

		store(y + i, xi * normal_cdf(xi, &e));
	}
}

static void
gelu_backward(size_t n, const float *x, const float *dy, float *dx)
{
	const v8	inv_sqrt_2pi = splat(0.39894228040143268f);

	for (size_t i = 0; i < n; i += NN_LANES)
	{
		v8			e;
		v8			xi = load(x + i);
		v8			cdf = normal_cdf(xi, &e);

		store(dx + i, load(dy + i) * (cdf + xi * e * inv_sqrt_2pi));
	}
}

/* ---- bands ------------------------------------------------------------------------- */

/* `groups` vectors of out = Σ_i coef[i]·base[i·ld + …], from one place on. */
INLINE void
band_dot_groups(int groups, int n, const float *coef, const float *base, size_t ld, float *out)
{
	v8			acc[8];

#pragma GCC unroll 8
	for (int g = 0; g < groups; g++)
		acc[g] = splat(0.0f);
	for (int i = 0; i < n; i++)
	{
		v8			c = splat(coef[i]);

#pragma GCC unroll 8
		for (int g = 0; g < groups; g++)
			acc[g] += c * load(base + (size_t) i * ld + g * NN_LANES);
	}
#pragma GCC unroll 8
	for (int g = 0; g < groups; g++)
		store(out + g * NN_LANES, acc[g]);
}

/* A whole band of them, floats from … to. */
INLINE void
band_dot(int from, int to, int n, const float *coef, const float *base, size_t ld, float *out)
{
	int			w = from;

	for (; w + 8 * NN_LANES <= to; w += 8 * NN_LANES)
		band_dot_groups(8, n, coef, base + w, ld, out + w);
	for (; w + 4 * NN_LANES <= to; w += 4 * NN_LANES)
		band_dot_groups(4, n, coef, base + w, ld, out + w);
	for (; w < to; w += NN_LANES)
		band_dot_groups(1, n, coef, base + w, ld, out + w);
}

/* Vectors of out = Σ_w p[w]·rows[w·ld + …], four partial sums to hide latency. */
INLINE void
band_sum_vectors(int vectors, int from, int to, const float *p, const float *rows, size_t ld,
				 float *out)
{
	v8			acc[4][2];

#pragma GCC unroll 4
	for (int u = 0; u < 4; u++)
#pragma GCC unroll 2
		for (int i = 0; i < vectors; i++)
			acc[u][i] = splat(0.0f);
	for (int w = from; w < to; w += 4)
	{
#pragma GCC unroll 4
		for (int u = 0; u < 4; u++)
#pragma GCC unroll 2
			for (int i = 0; i < vectors; i++)
				acc[u][i] += splat(p[w + u]) * load(rows + (size_t) (w + u) * ld + i * NN_LANES);
	}
#pragma GCC unroll 2
	for (int i = 0; i < vectors; i++)
		store(out + i * NN_LANES, (acc[0][i] + acc[1][i]) + (acc[2][i] + acc[3][i]));
}

/* out (width) = Σ_w p[w]·rows[w]; width is a multiple of NN_LANES. */
INLINE void
band_sum(int width, int from, int to, const float *p, const float *rows, size_t ld, float *out)
{
	int			c = 0;

	for (; c + 2 * NN_LANES <= width; c += 2 * NN_LANES)
		band_sum_vectors(2, from, to, p, rows + c, ld, out + c);
	for (; c < width; c += NN_LANES)
		band_sum_vectors(1, from, to, p, rows + c, ld, out + c);
}

/* First valid place of row i's band, and the vector it lies in. */
INLINE int
band_first(const nn_geometry *g, const nn_segment *s, int i, int *from)
{
	int			pad = g->Wp - g->W;
	int			missing = g->Wp - 1 - i - s->history;
	int			first = missing > pad ? missing : pad;

	*from = first / NN_LANES * NN_LANES;
	return first;
}

/* x ← exp(x - max) over a band's valid places, 0 before; the sum. */
INLINE float
band_exp(int first, int from, int to, float *x)
{
	v8			top = splat(-3e38f);
	v8			total = splat(0.0f);
	float		max;

	for (int w = from; w < to; w += NN_LANES)
		top = vmax(top, choose(lanes_from(first - w), load(x + w), splat(-3e38f)));
	max = max8(top);
	for (int w = from; w < to; w += NN_LANES)
	{
		v8			e = vexp(load(x + w) - splat(max));

		e = (v8) ((i8) e & lanes_from(first - w));
		store(x + w, e);
		total += e;
	}
	return sum8(total);
}

/*
 * Local weights when e^S·σ(M) underflows: softmax(S + log σ(M)) with a maximum
 * of its own.  x: S on input.
 */
static float
band_local_careful(int first, int from, int to, const float *mask, float *x)
{
	for (int w = from; w < to; w += NN_LANES)
	{
		v8			m = load(mask + w);
		v8			a = (v8) ((i8) m & isplat(0x7fffffff));
		v8			softplus = vlog(splat(1.0f) + vexp(-a));

		store(x + w, load(x + w) + vmin(m, splat(0.0f)) - softplus);
	}
	return band_exp(first, from, to, x);
}

/*
 * Both associations of one row and head.  score: Q·K / sqrt(d); mask: M.
 * Leaves G, A and σ(M); since softmax(S + log σ(M)) ∝ e^S·σ(M), no logarithm is
 * needed.  global may be score's place, sigma may be mask's.
 */
INLINE void
band_softmax(int first, int from, int to, const float *score, const float *mask,
			 float *global, float *local, float *sigma)
{
	v8			local_sum = splat(0.0f);
	v8			inv_global,
				inv_local;
	float		sum;

	/* local first holds S, for the careful way */
	for (int w = from; w < to; w += NN_LANES)
	{
		v8			x = load(score + w);

		store(local + w, x);
		store(global + w, x);
	}
	inv_global = splat(1.0f / band_exp(first, from, to, global));
	for (int w = from; w < to; w += NN_LANES)
	{
		v8			s = splat(1.0f) / (splat(1.0f) + vexp(-load(mask + w)));

		local_sum += load(global + w) * s;
	}
	sum = sum8(local_sum);
	if (sum < TINY_SUM)
	{
		inv_local = splat(1.0f / band_local_careful(first, from, to, mask, local));
		for (int w = from; w < to; w += NN_LANES)
			store(local + w, load(local + w) * inv_local);
	}
	for (int w = from; w < to; w += NN_LANES)
	{
		v8			s = splat(1.0f) / (splat(1.0f) + vexp(-load(mask + w)));
		v8			e = load(global + w);

		if (sum >= TINY_SUM)
			store(local + w, e * s * splat(1.0f / sum));
		store(global + w, e * inv_global);
		store(sigma + w, s);
	}
}

/*
 * JS(A, G) of one row and head.  With x = (A - G) / (A + G + 2ε) the ratios
 * (A + ε)/(m + ε) and (G + ε)/(m + ε) are 1 + x and 1 - x: two logarithms and
 * one division, and no cancellation between large logarithms.
 */
INLINE float
band_divergence(int from, int to, const float *global, const float *local)
{
	v8			sum = splat(0.0f);

	for (int w = from; w < to; w += NN_LANES)
	{
		v8			a = load(local + w);
		v8			g = load(global + w);
		v8			x = (a - g) / (a + g + splat(2 * JS_EPSILON));

		sum += a * vlog(splat(1.0f) + x) + g * vlog(splat(1.0f) - x);
	}
	return 0.5f * sum8(sum);
}

INLINE float
logistic(float x)
{
	v8			y = splat(1.0f) / (splat(1.0f) + vexp(splat(-x)));

	return y[0];
}

/* Scores and mask of row i and head h into s and m. */
INLINE int
band_open(const nn_geometry *g, const nn_segment *s, int i, int h, float *score, float *mask,
		  int *from)
{
	const float *row = s->proj + (size_t) i * g->P;
	int			first = band_first(g, s, i, from);
	v8			scale = splat(1.0f / sqrtf((float) g->d));

	band_dot(*from, g->Wp, g->d, row + g->q_col + h * g->d,
			 s->kt + (size_t) h * g->d * s->ldk + i + 1, s->ldk, score);
	for (int w = *from; w < g->Wp; w += NN_LANES)
		store(score + w, load(score + w) * scale);
	band_dot(*from, g->Wp, NN_BASIS, row + g->a_col + h * NN_BASIS, s->phi, g->Wp, mask);
	return first;
}

static void
attend(const nn_geometry *g, const nn_segment *s, float *scratch, float *z, float *js)
{
	float	   *score = scratch;
	float	   *mask = score + g->Wp;
	float	   *local = mask + g->Wp;
	float	   *out = local + g->Wp;
	size_t		ldv = (size_t) g->H * g->dp;

	for (int i = 0; i < s->rows; i++)
	{
		js[i] = 0.0f;
		for (int h = 0; h < g->H; h++)
		{
			int			from;
			int			first = band_open(g, s, i, h, score, mask, &from);
			float		gate = logistic(s->proj[(size_t) i * g->P + g->g_col + h]);

			band_softmax(first, from, g->Wp, score, mask, score, local, mask);
			js[i] += band_divergence(from, g->Wp, score, local);

			/* the mixture of the associations, then one sum over the values */
			for (int w = from; w < g->Wp; w += NN_LANES)
				store(score + w, splat(gate) * load(score + w) +
					  splat(1.0f - gate) * load(local + w));
			band_sum(g->dp, from, g->Wp, score, s->v + (size_t) (i + 1) * ldv + h * g->dp, ldv, out);
			memcpy(z + (size_t) i * g->D + h * g->d, out, sizeof(float) * g->d);
		}
		js[i] /= g->H;
	}
}

static void
attend_forward(const nn_geometry *g, const nn_segment *s, const nn_bands *bands, float *scratch,
			   float *z)
{
	float	   *score = scratch;
	float	   *mask = score + g->Wp;
	float	   *zg = mask + g->Wp;
	float	   *za = zg + g->dp;
	size_t		ldv = (size_t) g->H * g->dp;

	for (int i = 0; i < s->rows; i++)
		for (int h = 0; h < g->H; h++)
		{
			size_t		band = ((size_t) i * g->H + h) * g->Wp;
			size_t		at = (size_t) i * g->D + h * g->d;
			const float *v = s->v + (size_t) (i + 1) * ldv + h * g->dp;
			int			from;
			int			first = band_open(g, s, i, h, score, mask, &from);
			float		gate = logistic(s->proj[(size_t) i * g->P + g->g_col + h]);

			band_softmax(first, from, g->Wp, score, mask,
						 bands->G + band, bands->A + band, bands->S + band);
			band_sum(g->dp, from, g->Wp, bands->G + band, v, ldv, zg);
			band_sum(g->dp, from, g->Wp, bands->A + band, v, ldv, za);
			memcpy(bands->zg + at, zg, sizeof(float) * g->d);
			memcpy(bands->za + at, za, sizeof(float) * g->d);
			bands->gate[(size_t) i * g->H + h] = gate;
			for (int c = 0; c < g->d; c++)
				z[at + c] = gate * zg[c] + (1.0f - gate) * za[c];
		}
}

/*
 * Adds the gradients of the discrepancy's two phases to dA and dG:
 * ∂JS/∂A = ½·(log((A+ε)/(m+ε)) + A/(A+ε) - m/(m+ε)), and the same for G; the min
 * phase descends in A, the max phase ascends in G.  Returns JS.
 */
INLINE float
band_divergence_backward(int first, int from, int to, const float *global, const float *local,
						 float weight, float *dglobal, float *dlocal)
{
	const v8	eps = splat(JS_EPSILON);
	v8			sum = splat(0.0f);
	v8			half = splat(0.5f * weight);

	for (int w = from; w < to; w += NN_LANES)
	{
		v8			a = load(local + w);
		v8			g = load(global + w);
		v8			m2 = a + g;
		v8			inv = splat(1.0f) / (m2 + eps + eps);
		v8			x = (a - g) * inv;
		v8			la = vlog(splat(1.0f) + x);
		v8			lg = vlog(splat(1.0f) - x);
		v8			share = m2 * inv;
		v8			da = half * (la + a / (a + eps) - share);
		v8			dg = half * (lg + g / (g + eps) - share);
		i8			valid = lanes_from(first - w);

		sum += a * la + g * lg;
		store(dlocal + w, load(dlocal + w) + (v8) ((i8) da & valid));
		store(dglobal + w, load(dglobal + w) - (v8) ((i8) dg & valid));
	}
	return 0.5f * sum8(sum);
}

/* Gradients of the scores (into bands->S) and of the mask (into dmask). */
INLINE void
band_softmax_backward(int from, int to, const float *global, const float *local, float *sigma,
					  const float *dglobal, const float *dlocal, float *dmask)
{
	v8			sum_g = splat(0.0f);
	v8			sum_a = splat(0.0f);

	for (int w = from; w < to; w += NN_LANES)
	{
		sum_g += load(global + w) * load(dglobal + w);
		sum_a += load(local + w) * load(dlocal + w);
	}
	sum_g = splat(sum8(sum_g));
	sum_a = splat(sum8(sum_a));
	for (int w = from; w < to; w += NN_LANES)
	{
		v8			da = load(local + w) * (load(dlocal + w) - sum_a);
		v8			dg = load(global + w) * (load(dglobal + w) - sum_g);

		store(dmask + w, da * (splat(1.0f) - load(sigma + w)));
		store(sigma + w, da + dg);
	}
}

/* One row and head: everything but the gradients of keys and values. */
INLINE void
attend_backward_row(const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
					const nn_band_grads *grads, int i, int h)
{
	size_t		band = ((size_t) i * g->H + h) * g->Wp;
	size_t		at = (size_t) i * g->D + h * g->d;
	size_t		padded = ((size_t) i * g->H + h) * g->dp;
	size_t		ldk = (size_t) g->H * g->dp;
	float	   *dproj = grads->dproj + (size_t) i * g->P;
	float	   *dglobal = grads->scratch;
	float	   *dlocal = dglobal + g->Wp;
	float	   *dmask = dlocal + g->Wp;
	float	   *dq = dmask + g->Wp;
	const float *vt = grads->vt + (size_t) h * g->d * s->ldk + i + 1;
	float		gate = bands->gate[(size_t) i * g->H + h];
	float		dgate = 0.0f;
	int			from;
	int			first = band_first(g, s, i, &from);

	for (int c = 0; c < g->d; c++)
	{
		float		dz = grads->dz[at + c];

		grads->dzg[padded + c] = gate * dz + grads->dzg_extra[at + c];
		grads->dza[padded + c] = (1.0f - gate) * dz + grads->dza_extra[at + c];
		dgate += dz * (bands->zg[at + c] - bands->za[at + c]);
	}
	dproj[g->g_col + h] = dgate * gate * (1.0f - gate);

	band_dot(from, g->Wp, g->d, grads->dzg + padded, vt, s->ldk, dglobal);
	band_dot(from, g->Wp, g->d, grads->dza + padded, vt, s->ldk, dlocal);
	if (i >= grads->skip)
		*grads->js += band_divergence_backward(first, from, g->Wp, bands->G + band, bands->A + band,
											   grads->weight, dglobal, dlocal);
	band_softmax_backward(from, g->Wp, bands->G + band, bands->A + band, bands->S + band,
						  dglobal, dlocal, dmask);

	for (int k = 0; k < NN_BASIS; k++)
	{
		v8			sum = splat(0.0f);

		for (int w = from; w < g->Wp; w += NN_LANES)
			sum += load(dmask + w) * load(s->phi + (size_t) k * g->Wp + w);
		dproj[g->a_col + h * NN_BASIS + k] = sum8(sum);
	}
	band_sum(g->dp, from, g->Wp, bands->S + band, grads->k + (size_t) (i + 1) * ldk + h * g->dp,
			 ldk, dq);
	for (int c = 0; c < g->d; c++)
		dproj[g->q_col + h * g->d + c] = dq[c] / sqrtf((float) g->d);
}

/*
 * Gradients of `vectors` vectors of the key and value of row j: sums over the
 * rows that see it, at place Wp - 1 of row j's band, Wp - 2 of the next row's …
 */
INLINE void
attend_backward_key(int vectors, const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
					const nn_band_grads *grads, int j, int h, int c, float *dk, float *dv)
{
	size_t		ld = (size_t) g->H * g->dp;
	size_t		band = ((size_t) j * g->H + h) * g->Wp + g->Wp - 1;
	size_t		step = (size_t) g->H * g->Wp - 1;
	size_t		at = ((size_t) j * g->H + h) * g->dp + c;
	int			seen = s->rows - j < g->W ? s->rows - j : g->W;
	v8			sk[2][2];
	v8			sg[2][2];

#pragma GCC unroll 2
	for (int u = 0; u < 2; u++)
#pragma GCC unroll 2
		for (int i = 0; i < vectors; i++)
			sk[u][i] = sg[u][i] = splat(0.0f);
	for (int n = 0; n < seen; n++, band += step, at += ld)
	{
		v8			ds = splat(bands->S[band]);
		v8			wg = splat(bands->G[band]);
		v8			wa = splat(bands->A[band]);

#pragma GCC unroll 2
		for (int i = 0; i < vectors; i++)
		{
			sk[0][i] += ds * load(grads->q + at + i * NN_LANES);
			sg[0][i] += wg * load(grads->dzg + at + i * NN_LANES);
			sg[1][i] += wa * load(grads->dza + at + i * NN_LANES);
		}
	}
#pragma GCC unroll 2
	for (int i = 0; i < vectors; i++)
	{
		store(dk + c + i * NN_LANES, sk[0][i]);
		store(dv + c + i * NN_LANES, sg[0][i] + sg[1][i]);
	}
}

static void
attend_backward(const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
				const nn_band_grads *grads)
{
	float	   *dk = grads->scratch;
	float	   *dv = dk + g->dp;

	for (int i = 0; i < s->rows; i++)
		for (int h = 0; h < g->H; h++)
			attend_backward_row(g, s, bands, grads, i, h);

	for (int j = 0; j < s->rows; j++)
		for (int h = 0; h < g->H; h++)
		{
			float	   *dproj = grads->dproj + (size_t) j * g->P + h * g->d;
			int			c = 0;

			for (; c + 2 * NN_LANES <= g->dp; c += 2 * NN_LANES)
				attend_backward_key(2, g, s, bands, grads, j, h, c, dk, dv);
			for (; c < g->dp; c += NN_LANES)
				attend_backward_key(1, g, s, bands, grads, j, h, c, dk, dv);
			memcpy(dproj + g->k_col, dk, sizeof(float) * g->d);
			memcpy(dproj + g->v_col, dv, sizeof(float) * g->d);
		}
}

/* ---- contrast ------------------------------------------------------------------------ */

static void
exp_sums(int n, float *x, float *row_sum, float *col_sum)
{
	memset(col_sum, 0, sizeof(float) * n);
	for (int i = 0; i < n; i++)
	{
		float	   *row = x + (size_t) i * n;
		v8			sum = splat(0.0f);
		float		tail = 0.0f;
		int			j = 0;

		for (; j + NN_LANES <= n; j += NN_LANES)
		{
			v8			e = vexp(load(row + j));

			store(row + j, e);
			store(col_sum + j, load(col_sum + j) + e);
			sum += e;
		}
		for (; j < n; j++)
		{
			v8			e = vexp(splat(row[j]));

			row[j] = e[0];
			col_sum[j] += e[0];
			tail += e[0];
		}
		row_sum[i] = sum8(sum) + tail;
	}
}

static void
scale_rows_cols(int n, float *x, const float *row, const float *col)
{
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			x[(size_t) i * n + j] *= row[i] + col[j];
}

/* ---- optimiser ------------------------------------------------------------------------- */

static void
adam(size_t n, float beta1, float beta2, float rate, float epsilon, float scale2,
	 const float *grad, float *moment1, float *moment2, float *param)
{
	for (size_t i = 0; i < n; i++)
	{
		moment1[i] = beta1 * moment1[i] + (1.0f - beta1) * grad[i];
		moment2[i] = beta2 * moment2[i] + (1.0f - beta2) * grad[i] * grad[i];
		param[i] -= rate * moment1[i] / (sqrtf(moment2[i] * scale2) + epsilon);
	}
}

/* ---- approximations, for their tests ---------------------------------------------------- */

#define ELEMENTWISE(name, expression) \
static void \
name(size_t n, const float *x, float *y) \
{ \
	for (size_t i = 0; i < n; i++) \
	{ \
		v8			a = splat(x[i]); \
		v8			b = (expression); \
\
		y[i] = b[0]; \
	} \
}

ELEMENTWISE(each_exp, vexp(a))
ELEMENTWISE(each_log, vlog(a))
ELEMENTWISE(each_erf, verf(a, vexp(-a * a)))

const nn_kernels NN_ISA = {
	.name = NN_ISA_NAME,
	.gemm = gemm,
	.norm = norm,
	.norm_backward = norm_backward,
	.gelu = gelu,
	.gelu_backward = gelu_backward,
	.attend = attend,
	.attend_forward = attend_forward,
	.attend_backward = attend_backward,
	.exp_sums = exp_sums,
	.scale_rows_cols = scale_rows_cols,
	.column_sums = column_sums,
	.adam = adam,
	.exp = each_exp,
	.log = each_log,
	.erf = each_erf,
};
