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
#define POLL_FLOATS 262144		/* a few milliseconds of attention */
#define MAX_EXPONENT 60.0f		/* above it a sum of exponentials might overflow */

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

/* The greater and the lesser; y where x is NaN. */
INLINE v8
vmax(v8 x, v8 y)
{
#ifdef __AVX__
	return __builtin_ia32_maxps256(x, y);
#else
	return choose((i8) (x > y), x, y);
#endif
}

INLINE v8
vmin(v8 x, v8 y)
{
#ifdef __AVX__
	return __builtin_ia32_minps256(x, y);
#else
	return choose((i8) (x < y), x, y);
#endif
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
 * Relative error below 3e-7; arguments are clamped to [-87, 88].
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
		for (c = 0; c + NN_LANES <= d; c += NN_LANES)
		{
			v8			n = (load(x + c) - splat(m)) * splat(s);
			v8			g = load(dy + c) * load(w + c);

			store(dx + c, load(dx + c) + splat(s) * (g - splat(g_mean) - n * splat(gn_mean)));
		}
		for (; c < d; c++)
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

/* The same for two rows of coefficients, which share the loads of base. */
INLINE void
band_dot2_groups(int groups, int n, const float *coef1, const float *coef2, const float *base,
				 size_t ld, float *out1, float *out2)
{
	v8			acc1[4];
	v8			acc2[4];

#pragma GCC unroll 4
	for (int g = 0; g < groups; g++)
		acc1[g] = acc2[g] = splat(0.0f);
	for (int i = 0; i < n; i++)
	{
		v8			c1 = splat(coef1[i]);
		v8			c2 = splat(coef2[i]);

#pragma GCC unroll 4
		for (int g = 0; g < groups; g++)
		{
			v8			x = load(base + (size_t) i * ld + g * NN_LANES);

			acc1[g] += c1 * x;
			acc2[g] += c2 * x;
		}
	}
#pragma GCC unroll 4
	for (int g = 0; g < groups; g++)
	{
		store(out1 + g * NN_LANES, acc1[g]);
		store(out2 + g * NN_LANES, acc2[g]);
	}
}

INLINE void
band_dot2(int from, int to, int n, const float *coef1, const float *coef2, const float *base,
		  size_t ld, float *out1, float *out2)
{
	int			w = from;

	for (; w + 4 * NN_LANES <= to; w += 4 * NN_LANES)
		band_dot2_groups(4, n, coef1, coef2, base + w, ld, out1 + w, out2 + w);
	for (; w < to; w += NN_LANES)
		band_dot2_groups(1, n, coef1, coef2, base + w, ld, out1 + w, out2 + w);
}

/*
 * Vectors of out = Σ_w p[w]·rows[w·dp + …], and of out2 with p2 unless that is
 * NULL.  Partial sums hide the latency of the additions.
 */
INLINE void
band_sum_vectors(int vectors, int from, int to, const float *p, const float *p2,
				 const float *rows, size_t dp, float *out, float *out2)
{
	v8			acc[4][2];
	v8			acc2[4][2];

#pragma GCC unroll 4
	for (int u = 0; u < 4; u++)
#pragma GCC unroll 2
		for (int i = 0; i < vectors; i++)
			acc[u][i] = acc2[u][i] = splat(0.0f);
	for (int w = from; w < to; w += 4)
	{
#pragma GCC unroll 4
		for (int u = 0; u < 4; u++)
#pragma GCC unroll 2
			for (int i = 0; i < vectors; i++)
			{
				v8			x = load(rows + (size_t) (w + u) * dp + i * NN_LANES);

				/* two outputs have twice the chains already */
				acc[u][i] += splat(p[w + u]) * x;
				if (p2)
					acc2[u][i] += splat(p2[w + u]) * x;
			}
	}
#pragma GCC unroll 2
	for (int i = 0; i < vectors; i++)
	{
		store(out + i * NN_LANES, (acc[0][i] + acc[1][i]) + (acc[2][i] + acc[3][i]));
		if (p2)
			store(out2 + i * NN_LANES, (acc2[0][i] + acc2[1][i]) + (acc2[2][i] + acc2[3][i]));
	}
}

/* out (dp) = Σ_w p[w]·rows[w], dp floats a row; dp is a multiple of NN_LANES. */
INLINE void
band_sum(int dp, int from, int to, const float *p, const float *rows, float *out)
{
	int			c = 0;

	for (; c + 2 * NN_LANES <= dp; c += 2 * NN_LANES)
		band_sum_vectors(2, from, to, p, NULL, rows + c, dp, out + c, NULL);
	for (; c < dp; c += NN_LANES)
		band_sum_vectors(1, from, to, p, NULL, rows + c, dp, out + c, NULL);
}

INLINE void
band_sum2(int dp, int from, int to, const float *p, const float *p2, const float *rows,
		  float *out, float *out2)
{
	for (int c = 0; c < dp; c += NN_LANES)
		band_sum_vectors(1, from, to, p, p2, rows + c, dp, out + c, out2 + c);
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
static float
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
 * band_weights() when exponentials over- or underflow: softmax(S) and
 * softmax(S + log σ(M)), each with its maximum taken off before.
 */
static void
band_weights_careful(int first, int from, int to, float scale, const float *score,
					 const float *mask, float *global, float *local,
					 float *global_sum, float *local_sum)
{
	for (int w = from; w < to; w += NN_LANES)
	{
		v8			s = load(score + w) * splat(scale);
		v8			m = load(mask + w);
		v8			magnitude = (v8) ((i8) m & isplat(0x7fffffff));
		v8			softplus = vlog(splat(1.0f) + vexp(-magnitude));

		store(global + w, s);
		store(local + w, s + vmin(m, splat(0.0f)) - softplus);
	}
	*global_sum = band_exp(first, from, to, global);
	*local_sum = band_exp(first, from, to, local);
}

/*
 * Both associations of one row and head, not yet divided by their sums.  scale ·
 * score: S; mask: M; leaves σ(M) in sigma, if given.  softmax(S + log σ(M)) is
 * proportional to e^S·σ(M), so no logarithm is needed; and no maximum is taken
 * off before, unless it turns out to be needed: one pass has no waiting for a
 * reduction in it.
 */
INLINE void
band_weights(int first, int from, int to, float scale, const float *score, const float *mask,
			 float *global, float *local, float *sigma, float *global_sum, float *local_sum)
{
	v8			gsum = splat(0.0f);
	v8			lsum = splat(0.0f);
	v8			top = splat(-3e38f);
	i8			valid = lanes_from(first - from);

	for (int w = from; w < to; w += NN_LANES)
	{
		v8			s = load(score + w) * splat(scale);
		v8			e = vexp(s);
		v8			sig = splat(1.0f) / (splat(1.0f) + vexp(-load(mask + w)));
		v8			l;

		/* all places but those of the first vector are valid */
		if (w == from)
		{
			e = (v8) ((i8) e & valid);
			s = (v8) ((i8) s & valid);
		}
		l = e * sig;
		top = vmax(top, s);
		gsum += e;
		lsum += l;
		store(global + w, e);
		store(local + w, l);
		if (sigma)
			store(sigma + w, sig);
	}
	*global_sum = sum8(gsum);
	*local_sum = sum8(lsum);
	if (max8(top) > MAX_EXPONENT || *global_sum < TINY_SUM || *local_sum < TINY_SUM)
		band_weights_careful(first, from, to, scale, score, mask, global, local,
							 global_sum, local_sum);
}

/*
 * Twice JS(A, G), lane by lane.  With x = (A - G) / (A + G + 2ε) the ratios
 * (A + ε)/(m + ε) and (G + ε)/(m + ε) are 1 + x and 1 - x: two logarithms and
 * one division, and no cancellation between large logarithms.
 */
INLINE v8
divergence(v8 global, v8 local)
{
	v8			x = (local - global) / (local + global + splat(2 * JS_EPSILON));

	return local * vlog(splat(1.0f) + x) + global * vlog(splat(1.0f) - x);
}

INLINE float
logistic(float x)
{
	v8			y = splat(1.0f) / (splat(1.0f) + vexp(splat(-x)));

	return y[0];
}

/* Gives the caller a chance to stop, every so many floats of bands. */
INLINE void
rest(const nn_geometry *g, const nn_segment *s, int i)
{
	if (s->poll && i % (POLL_FLOATS / g->Wp + 1) == 0)
		s->poll();
}

/* Q·K and mask of row i and head h. */
INLINE int
band_open(const nn_geometry *g, const nn_segment *s, int i, int h, float *score, float *mask,
		  int *from)
{
	const float *row = s->proj + (size_t) i * g->P;
	int			first = band_first(g, s, i, from);

	band_dot(*from, g->Wp, g->d, row + g->q_col + h * g->d,
			 s->kt + (size_t) h * g->d * s->ldk + i + 1, s->ldk, score);
	band_dot(*from, g->Wp, NN_BASIS, row + g->a_col + h * NN_BASIS, s->phi, g->Wp, mask);
	return first;
}

/* Values that row i's band of head h meets. */
INLINE const float *
band_values(const nn_geometry *g, const nn_segment *s, int i, int h)
{
	return s->v + h * s->ldv + (size_t) (i + 1) * g->dp;
}

/*
 * The mixture of the associations into mixed (which may be global), and JS(A, G):
 * one sum over the values is left to do.
 */
INLINE float
band_mix(int from, int to, float gate, float global_sum, float local_sum,
		 const float *global, const float *local, float *mixed)
{
	v8			sum = splat(0.0f);
	v8			inv_g = splat(1.0f / global_sum);
	v8			inv_a = splat(1.0f / local_sum);

	for (int w = from; w < to; w += NN_LANES)
	{
		v8			g = load(global + w) * inv_g;
		v8			a = load(local + w) * inv_a;

		sum += divergence(g, a);
		store(mixed + w, splat(gate) * g + splat(1.0f - gate) * a);
	}
	return 0.5f * sum8(sum);
}

static void
attend(const nn_geometry *g, const nn_segment *s, float *scratch, float *z, float *js)
{
	float	   *score = scratch;
	float	   *mask = score + g->Wp;
	float	   *global = mask + g->Wp;
	float	   *local = global + g->Wp;
	float	   *out = local + g->Wp;
	const float scale = 1.0f / sqrtf((float) g->d);

	memset(js, 0, sizeof(float) * s->rows);
	for (int h = 0; h < g->H; h++)
		for (int i = 0; i < s->rows; i++)
		{
			int			from;
			int			first = band_open(g, s, i, h, score, mask, &from);
			float		gate = logistic(s->proj[(size_t) i * g->P + g->g_col + h]);
			float		global_sum;
			float		local_sum;

			rest(g, s, i);
			band_weights(first, from, g->Wp, scale, score, mask, global, local, NULL,
						 &global_sum, &local_sum);
			js[i] += band_mix(from, g->Wp, gate, global_sum, local_sum, global, local, global);
			band_sum(g->dp, from, g->Wp, global, band_values(g, s, i, h), out);
			memcpy(z + (size_t) i * g->D + h * g->d, out, sizeof(float) * g->d);
		}
	for (int i = 0; i < s->rows; i++)
		js[i] /= g->H;
}

static void
attend_forward(const nn_geometry *g, const nn_segment *s, const nn_bands *bands, float *scratch,
			   float *z)
{
	float	   *score = scratch;
	float	   *mask = score + g->Wp;
	float	   *zg = mask + g->Wp;
	float	   *za = zg + g->dp;
	const float scale = 1.0f / sqrtf((float) g->d);

	for (int h = 0; h < g->H; h++)
		for (int i = 0; i < s->rows; i++)
		{
			size_t		band = ((size_t) h * s->rows + i) * g->Wp;
			size_t		at = (size_t) i * g->D + h * g->d;
			float	   *global = bands->G + band;
			float	   *local = bands->A + band;
			int			from;
			int			first = band_open(g, s, i, h, score, mask, &from);
			float		gate = logistic(s->proj[(size_t) i * g->P + g->g_col + h]);
			float		global_sum;
			float		local_sum;

			rest(g, s, i);
			band_weights(first, from, g->Wp, scale, score, mask, global, local, bands->S + band,
						 &global_sum, &local_sum);
			for (int w = from; w < g->Wp; w += NN_LANES)
			{
				store(global + w, load(global + w) * splat(1.0f / global_sum));
				store(local + w, load(local + w) * splat(1.0f / local_sum));
			}
			band_sum2(g->dp, from, g->Wp, global, local, band_values(g, s, i, h), zg, za);
			memcpy(bands->zg + at, zg, sizeof(float) * g->d);
			memcpy(bands->za + at, za, sizeof(float) * g->d);
			bands->gate[(size_t) i * g->H + h] = gate;
			for (int c = 0; c < g->dp; c += NN_LANES)
				store(zg + c, splat(gate) * load(zg + c) + splat(1.0f - gate) * load(za + c));
			memcpy(z + at, zg, sizeof(float) * g->d);
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

/* Gradients of the scores (into sigma's place) and of the mask (into dmask). */
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

/* Eight sums over the band, one a basis function: da = dM·φᵀ. */
INLINE void
band_mask_backward(int from, int to, const float *dmask, const float *phi, float *da)
{
	v8			sum[NN_BASIS];

#pragma GCC unroll 8
	for (int k = 0; k < NN_BASIS; k++)
		sum[k] = splat(0.0f);
	for (int w = from; w < to; w += NN_LANES)
	{
		v8			x = load(dmask + w);

#pragma GCC unroll 8
		for (int k = 0; k < NN_BASIS; k++)
			sum[k] += x * load(phi + (size_t) k * to + w);
	}
#pragma GCC unroll 8
	for (int k = 0; k < NN_BASIS; k++)
		da[k] = sum8(sum[k]);
}

/*
 * Gradients of G·V and A·V of the row and head at `at`; returns that of the gate.
 */
INLINE float
mixture_backward(const nn_geometry *g, const nn_bands *bands, const nn_band_grads *grads,
				 size_t at, float gate, float *dzg, float *dza)
{
	v8			sum = splat(0.0f);
	float		tail = 0.0f;
	int			c = 0;

	for (; c + NN_LANES <= g->d; c += NN_LANES)
	{
		v8			dz = load(grads->dz + at + c);

		store(dzg + c, splat(gate) * dz + load(grads->dzg_extra + at + c));
		store(dza + c, splat(1.0f - gate) * dz + load(grads->dza_extra + at + c));
		sum += dz * (load(bands->zg + at + c) - load(bands->za + at + c));
	}
	for (; c < g->d; c++)
	{
		float		dz = grads->dz[at + c];

		dzg[c] = gate * dz + grads->dzg_extra[at + c];
		dza[c] = (1.0f - gate) * dz + grads->dza_extra[at + c];
		tail += dz * (bands->zg[at + c] - bands->za[at + c]);
	}
	return sum8(sum) + tail;
}

/* One row and head: everything but the gradients of keys and values. */
INLINE void
attend_backward_row(const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
					const nn_band_grads *grads, int i, int h)
{
	size_t		band = ((size_t) h * s->rows + i) * g->Wp;
	size_t		at = (size_t) i * g->D + h * g->d;
	float	   *dproj = grads->dproj + (size_t) i * g->P;
	float	   *dzg = grads->dzg + ((size_t) h * s->rows + i) * g->dp;
	float	   *dza = grads->dza + ((size_t) h * s->rows + i) * g->dp;
	float	   *dglobal = grads->scratch;
	float	   *dlocal = dglobal + g->Wp;
	float	   *dmask = dlocal + g->Wp;
	float	   *dq = dmask + g->Wp;
	float		gate = bands->gate[(size_t) i * g->H + h];
	float		dgate;
	float		scale = 1.0f / sqrtf((float) g->d);
	int			from;
	int			first = band_first(g, s, i, &from);

	dgate = mixture_backward(g, bands, grads, at, gate, dzg, dza);
	dproj[g->g_col + h] = dgate * gate * (1.0f - gate);

	band_dot2(from, g->Wp, g->d, dzg, dza, grads->vt + (size_t) h * g->d * s->ldk + i + 1,
			  s->ldk, dglobal, dlocal);
	if (i >= grads->skip)
		*grads->js += band_divergence_backward(first, from, g->Wp, bands->G + band, bands->A + band,
											   grads->weight, dglobal, dlocal);
	band_softmax_backward(from, g->Wp, bands->G + band, bands->A + band, bands->S + band,
						  dglobal, dlocal, dmask);
	band_mask_backward(from, g->Wp, dmask, s->phi, dproj + g->a_col + h * NN_BASIS);
	band_sum(g->dp, from, g->Wp, bands->S + band,
			 grads->k + h * s->ldv + (size_t) (i + 1) * g->dp, dq);
	for (int c = 0; c < g->d; c++)
		dproj[g->q_col + h * g->d + c] = dq[c] * scale;
}

/*
 * Gradients of `vectors` vectors of the key and value of row j: sums over the
 * rows that see it, at place Wp - 1 of row j's band, Wp - 2 of the next row's …
 */
INLINE void
attend_backward_key(int vectors, const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
					const nn_band_grads *grads, int j, int h, int c, float *dk, float *dv)
{
	size_t		row = (size_t) h * s->rows + j;
	size_t		at = row * g->dp + c;
	const float *ds = bands->S + (row + 1) * g->Wp - 1;
	const float *global = bands->G + (row + 1) * g->Wp - 1;
	const float *local = bands->A + (row + 1) * g->Wp - 1;
	int			seen = s->rows - j < g->W ? s->rows - j : g->W;
	v8			sk[2];
	v8			sg[2];
	v8			sa[2];

#pragma GCC unroll 2
	for (int i = 0; i < vectors; i++)
		sk[i] = sg[i] = sa[i] = splat(0.0f);
	for (int n = 0; n < seen; n++, at += g->dp)
	{
		size_t		place = (size_t) n * (g->Wp - 1);

#pragma GCC unroll 2
		for (int i = 0; i < vectors; i++)
		{
			sk[i] += splat(ds[place]) * load(grads->q + at + i * NN_LANES);
			sg[i] += splat(global[place]) * load(grads->dzg + at + i * NN_LANES);
			sa[i] += splat(local[place]) * load(grads->dza + at + i * NN_LANES);
		}
	}
#pragma GCC unroll 2
	for (int i = 0; i < vectors; i++)
	{
		store(dk + c + i * NN_LANES, sk[i]);
		store(dv + c + i * NN_LANES, sg[i] + sa[i]);
	}
}

static void
attend_backward(const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
				const nn_band_grads *grads)
{
	float	   *dk = grads->scratch;
	float	   *dv = dk + g->dp;

	for (int h = 0; h < g->H; h++)
	{
		for (int i = 0; i < s->rows; i++)
		{
			rest(g, s, i);
			attend_backward_row(g, s, bands, grads, i, h);
		}
		for (int j = 0; j < s->rows; j++)
		{
			float	   *dproj = grads->dproj + (size_t) j * g->P + h * g->d;
			int			c = 0;

			rest(g, s, j);
			for (; c + 2 * NN_LANES <= g->dp; c += 2 * NN_LANES)
				attend_backward_key(2, g, s, bands, grads, j, h, c, dk, dv);
			for (; c < g->dp; c += NN_LANES)
				attend_backward_key(1, g, s, bands, grads, j, h, c, dk, dv);
			memcpy(dproj + g->k_col, dk, sizeof(float) * g->d);
			memcpy(dproj + g->v_col, dv, sizeof(float) * g->d);
		}
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

/* Eight sums side by side, for a single one would wait for each addition. */
static double
square_sum(size_t n, const float *x)
{
	double		sum[NN_LANES] = {0};
	double		tail = 0.0;
	size_t		i = 0;

	for (; i + NN_LANES <= n; i += NN_LANES)
		for (int l = 0; l < NN_LANES; l++)
			sum[l] += (double) x[i + l] * x[i + l];
	for (; i < n; i++)
		tail += (double) x[i] * x[i];
	for (int l = 0; l < NN_LANES; l++)
		tail += sum[l];
	return tail;
}

static void
adam(size_t n, float beta1, float beta2, float rate, float epsilon, float scale2, float clip,
	 const float *restrict grad, float *restrict moment1, float *restrict moment2,
	 float *restrict param)
{
	for (size_t i = 0; i < n; i++)
	{
		float		g = clip * grad[i];

		moment1[i] = beta1 * moment1[i] + (1.0f - beta1) * g;
		moment2[i] = beta2 * moment2[i] + (1.0f - beta2) * g * g;
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
	.square_sum = square_sum,
	.adam = adam,
	.exp = each_exp,
	.log = each_log,
	.erf = each_erf,
};
