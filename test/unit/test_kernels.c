/*
 * test_kernels.c
 *	  Each inner loop against double precision.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "core/kernels/kernels.h"

#define SAMPLES 200000

/* ---- approximations: the bounds stated in kernels_vector.h ---------------------------- */

static void
test_exp(const nn_kernels *kernels)
{
	const float ends[] = {-88.0f, -1000.0f, -INFINITY, 89.0f, 1000.0f, INFINITY};
	float		y[6];
	double		worst = 0;

	for (int i = 0; i <= SAMPLES; i++)
	{
		float		x = (float) (-87.0 + 175.0 * i / SAMPLES);
		float		e;

		kernels->exp(1, &x, &e);
		worst = fmax(worst, fabs(e / exp(x) - 1));
	}
	ok_close(worst, 3e-7, "%s: exp within its limits", kernels->name);
	kernels->exp(6, ends, y);
	for (int i = 0; i < 6; i++)
		y[i] = (float) fabs(y[i] / exp(i < 3 ? -87.0 : 88.0) - 1);
	ok_close(fmaxf(fmaxf(fmaxf(y[0], y[1]), fmaxf(y[2], y[3])), fmaxf(y[4], y[5])), 3e-7,
			 "%s: exp outside its limits", kernels->name);
}

static double
log_error(const nn_kernels *kernels, float x)
{
	double		want = log(x);
	float		y;

	kernels->log(1, &x, &y);
	return fabs(y - want) / fmax(1, fabs(want));
}

static void
test_exp2(const nn_kernels *kernels)
{
	const float low[] = {-127.5f, -1000.0f};
	const float high[] = {127.99f, 1000.0f};
	float		y[2];
	double		worst = 0;

	for (int i = 0; i <= SAMPLES; i++)
	{
		float		x = (float) (-126.0 + 253.0 * i / SAMPLES);
		float		e;

		kernels->exp2(1, &x, &e);
		worst = fmax(worst, fabs(e / exp2(x) - 1));
	}
	ok_close(worst, 2.5e-7, "%s: exp2 within its limits", kernels->name);
	kernels->exp2(2, low, y);
	worst = fmax(y[0], y[1]);
	kernels->exp2(2, high, y);
	ok(worst < 1.2e-38 && y[0] > 1.7e38f && y[1] > 1.7e38f, "%s: exp2 outside its limits",
	   kernels->name);
}

static void
test_log(const nn_kernels *kernels)
{
	double		worst = 0;

	/* all magnitudes, from the smallest normal number to the largest */
	for (int i = 0; i <= SAMPLES; i++)
		worst = fmax(worst, log_error(kernels, (float) exp2(-126 + 253.99 * i / SAMPLES)));
	worst = fmax(worst, log_error(kernels, FLT_MIN));
	worst = fmax(worst, log_error(kernels, FLT_MAX));
	ok_close(worst, 2e-7, "%s: log of normal numbers", kernels->name);

	/* near 1, and at the ends of the mantissa's range */
	worst = 0;
	for (int i = -SAMPLES; i <= SAMPLES; i++)
	{
		worst = fmax(worst, log_error(kernels, 1 + i * 1e-6f));
		worst = fmax(worst, log_error(kernels, (float) sqrt(0.5) + i * 1e-7f));
	}
	ok_close(worst, 2e-7, "%s: log near 1 and the square root of 1/2", kernels->name);
}

static void
test_log1p(const nn_kernels *kernels)
{
	double		worst = 0;

	for (int i = 1; i <= SAMPLES; i++)
	{
		float		x = (float) i / SAMPLES;
		float		tiny = (float) exp2(-126.0 * i / SAMPLES);
		float		y;

		kernels->log1p(1, &x, &y);
		worst = fmax(worst, fabs(y / log1p(x) - 1));
		kernels->log1p(1, &tiny, &y);
		worst = fmax(worst, fabs(y / log1p(tiny) - 1));
	}
	ok_close(worst, 3.5e-7, "%s: log of 1 to 2", kernels->name);
}

static void
test_erf(const nn_kernels *kernels)
{
	double		worst = 0;

	for (int i = -SAMPLES; i <= SAMPLES; i++)
	{
		float		x = 10.0f * i / SAMPLES;
		float		y;

		kernels->erf(1, &x, &y);
		worst = fmax(worst, fabs(y - erf(x)));
	}
	ok_close(worst, 5e-7, "%s: erf", kernels->name);
}

/* ---- gelu -------------------------------------------------------------------------- */

static void
test_gelu(const nn_kernels *kernels)
{
	enum
	{
		N = 8000
	};
	float	   *x = dirty(N * sizeof(float));
	float	   *y = dirty(N * sizeof(float));
	float	   *dx = dirty(N * sizeof(float));
	double		worst = 0;
	double		slope = 0;

	for (int i = 0; i < N; i++)
	{
		x[i] = 40.0f * i / N - 20.0f;
		dx[i] = 2.0f;
	}
	kernels->gelu(N, x, y);
	kernels->gelu_backward(N, x, dx, dx);
	for (int i = 0; i < N; i++)
	{
		double		cdf = 0.5 * erfc(-x[i] / sqrt(2));
		double		density = exp(-0.5 * x[i] * (double) x[i]) / sqrt(2 * M_PI);

		/* the absolute error of erf is multiplied by x */
		worst = fmax(worst, fabs(y[i] - x[i] * cdf) / fmax(1, fabs(x[i])));
		slope = fmax(slope, fabs(dx[i] - 2 * (cdf + x[i] * density)));
	}
	ok_close(worst, 5e-7, "%s: gelu", kernels->name);
	ok_close(slope, 2e-6, "%s: gelu's derivative, in place", kernels->name);
	free(x);
	free(y);
	free(dx);
}

/* ---- matrices ------------------------------------------------------------------------ */

/* Sizes of a product; `add` adds it to y. */
typedef struct sizes
{
	int			rows, n, k;
	size_t		lda, ldy;
	bool		add;
} sizes;

static float *
random_floats(size_t n, uint64_t seed)
{
	float	   *x = dirty(n * sizeof(float));
	nn_rng		rng;

	nn_rng_seed(&rng, seed, 3);
	for (size_t i = 0; i < n; i++)
		x[i] = (float) random_between(&rng, -1, 1);
	return x;
}

/* Weights (n, k) in panels of NN_PANEL outputs, padded with 0, as gemm() needs them. */
static float *
pack_panels(int n, int k, const float *w)
{
	size_t		padded = nn_round_up(n, NN_PANEL);
	float	   *packed = calloc(padded * k, sizeof(float));

	for (int o = 0; o < n; o++)
		for (int i = 0; i < k; i++)
			packed[((size_t) (o / NN_PANEL) * k + i) * NN_PANEL + o % NN_PANEL] = w[o * k + i];
	return packed;
}

/* Error of gemm(); infinite if it wrote outside its columns. */
static double
product_error(const nn_kernels *kernels, const sizes *p)
{
	size_t		nx = (p->rows - 1) * p->lda + p->k;
	size_t		ny = p->rows * p->ldy;
	float	   *x = random_floats(nx, 1);
	float	   *w = random_floats((size_t) p->n * p->k, 2);
	float	   *b = random_floats(nn_round_up(p->n, NN_PANEL), 3);
	float	   *y = random_floats(ny, 4);
	float	   *before = random_floats(ny, 4);
	float	   *packed = pack_panels(p->n, p->k, w);
	double		worst = 0;

	kernels->gemm(&(nn_product){
		.rows = p->rows,
		.n = p->n,
		.k = p->k,
		.a = x,
		.lda = p->lda,
		.b = packed,
		.bias = b,
		.plus = p->add ? y : NULL,
		.y = y,
		.ldy = p->ldy,
	});
	for (size_t i = 0; i < ny; i++)
	{
		int			r = (int) (i / p->ldy);
		int			o = (int) (i % p->ldy);
		double		want = o < p->n && !p->add ? 0 : before[i];

		if (o >= p->n)
		{
			worst = y[i] != before[i] ? INFINITY : worst;
			continue;
		}
		want += b[o];
		for (int c = 0; c < p->k; c++)
			want += (double) x[r * p->lda + c] * w[(size_t) o * p->k + c];
		worst = fmax(worst, fabs(y[i] - want) / sqrt(p->k));
	}
	free(x);
	free(w);
	free(b);
	free(y);
	free(before);
	free(packed);
	return worst;
}

static void
test_gemm(const nn_kernels *kernels)
{
	static const int all[] = {1, 2, 5, 6, 7, 15, 16, 17, 33, 64};
	const int	n = sizeof(all) / sizeof(all[0]);
	double		plain = 0;
	double		overlap = 0;

	for (int i = 0; i < n * n * n; i++)
	{
		sizes		p = {all[i % n], all[i / n % n], all[i / n / n], 0, 0, i % 2 == 1};

		p.ldy = p.n + i % 3;
		p.lda = p.k + i % 4;
		plain = fmax(plain, product_error(kernels, &p));
		p.lda = (p.k + 2) / 3;
		overlap = fmax(overlap, product_error(kernels, &p));
	}
	ok_close(plain, 1e-6, "%s: matrix products of all sizes", kernels->name);
	ok_close(overlap, 1e-6, "%s: matrix products of overlapping rows", kernels->name);
}

/* A row's product does not depend on its position in a block. */
static void
test_gemm_place(const nn_kernels *kernels)
{
	enum
	{
		ROWS = 20,
		N = 37,
		K = 29
	};
	float	   *x = random_floats(ROWS * K, 1);
	float	   *w = random_floats(N * K, 2);
	float	   *b = random_floats(nn_round_up(N, NN_PANEL), 3);
	float	   *packed = pack_panels(N, K, w);
	float		y[ROWS * N];
	float		alone[ROWS * N];
	bool		equal = true;
	nn_product	p = {
		.rows = ROWS,
		.n = N,
		.k = K,
		.a = x,
		.lda = K,
		.b = packed,
		.bias = b,
		.y = y,
		.ldy = N,
	};

	kernels->gemm(&p);
	p.y = alone;
	for (int from = 0; from < ROWS; from++)
		for (int to = from + 1; to <= ROWS; to++)
		{
			p.rows = to - from;
			p.a = x + from * K;
			kernels->gemm(&p);
			equal = equal && memcmp(alone, y + from * N, sizeof(float) * N * (to - from)) == 0;
		}
	ok(equal, "%s: matrix products do not depend on a row's position", kernels->name);
	free(x);
	free(w);
	free(b);
	free(packed);
}

/* Error of gemm_nn() or gemm_tn(), as in product_error(). */
static double
plain_product_error(const nn_kernels *kernels, const sizes *p, bool transposed)
{
	const size_t lda = (transposed ? p->rows : p->k) + 3;
	const size_t ldb = p->n + 5;
	float	   *a = random_floats(transposed ? p->k * lda : p->rows * lda, 1);
	float	   *b = random_floats((p->k - 1) * ldb + p->n, 2);
	float	   *y = random_floats(p->rows * p->ldy, 4);
	float	   *before = random_floats(p->rows * p->ldy, 4);
	double		worst = 0;
	const nn_product product = {
		.rows = p->rows,
		.n = p->n,
		.k = p->k,
		.a = a,
		.lda = lda,
		.b = b,
		.ldb = ldb,
		.plus = transposed && p->add ? y : NULL,
		.y = y,
		.ldy = p->ldy,
	};

	if (transposed)
		kernels->gemm_tn(&product);
	else
		kernels->gemm_nn(&product);
	for (size_t i = 0; i < p->rows * p->ldy; i++)
	{
		size_t		r = i / p->ldy;
		size_t		o = i % p->ldy;
		double		want = transposed && p->add ? before[i] : 0;

		if (o >= (size_t) p->n)
		{
			worst = y[i] != before[i] ? INFINITY : worst;
			continue;
		}
		for (int c = 0; c < p->k; c++)
			want += (double) (transposed ? a[c * lda + r] : a[r * lda + c]) * b[c * ldb + o];
		worst = fmax(worst, fabs(y[i] - want) / sqrt(p->k));
	}
	free(a);
	free(b);
	free(y);
	free(before);
	return worst;
}

static void
test_plain_products(const nn_kernels *kernels)
{
	static const int all[] = {1, 3, 5, 8, 12, 13, 16, 17, 31, 33, 48, 130};
	const int	n = sizeof(all) / sizeof(all[0]);
	double		worst_nn = 0;
	double		worst_tn = 0;

	for (int i = 0; i < n * n * n; i++)
	{
		sizes		p = {all[i % n], all[i / n % n], all[i / n / n], 0, 0, i % 2 == 1};

		p.ldy = p.n + i % 3;
		worst_nn = fmax(worst_nn, plain_product_error(kernels, &p, false));
		worst_tn = fmax(worst_tn, plain_product_error(kernels, &p, true));
	}
	ok_close(worst_nn, 1e-6, "%s: plain products of all sizes", kernels->name);
	ok_close(worst_tn, 1e-6, "%s: products of a transposed matrix", kernels->name);
}

/* Transposing and packing set the right elements and no others. */
static void
test_order(const nn_kernels *kernels)
{
	static const int sizes[] = {1, 4, 15, 16, 17, 32, 50};
	const int	n = sizeof(sizes) / sizeof(sizes[0]);
	bool		transposed = true;
	bool		packed = true;

	for (int i = 0; i < n * n; i++)
	{
		const int	rows = sizes[i % n];
		const int	cols = sizes[i / n];
		const size_t ldx = cols + 2;
		const size_t ldy = rows + 3;
		const size_t panels = nn_round_up(rows, NN_PANEL) * cols;
		float	   *x = random_floats(rows * ldx, 1);
		float	   *y = random_floats(cols * ldy, 2);
		float	   *before = random_floats(cols * ldy, 2);
		float	   *p = dirty(panels * sizeof(float));

		kernels->transpose(rows, cols, x, ldx, y, ldy);
		for (size_t j = 0; j < cols * ldy; j++)
			transposed = transposed &&
				y[j] == ((int) (j % ldy) < rows ? x[j % ldy * ldx + j / ldy] : before[j]);
		kernels->pack(rows, cols, x, ldx, p);
		for (size_t j = 0; j < panels; j++)
		{
			size_t		row = j / (NN_PANEL * cols) * NN_PANEL + j % NN_PANEL;
			size_t		col = j / NN_PANEL % cols;

			packed = packed && p[j] == ((int) row < rows ? x[row * ldx + col] : 0);
		}
		free(x);
		free(y);
		free(before);
		free(p);
	}
	ok(transposed, "%s: transposed matrices of all sizes", kernels->name);
	ok(packed, "%s: packed matrices of all sizes", kernels->name);
}

/* ---- layer norm ------------------------------------------------------------------------ */

static double
norm_error(const nn_kernels *kernels, int d, float offset)
{
	enum
	{
		ROWS = 5
	};
	float	   *x = random_floats((size_t) ROWS * d, 1);
	float	   *w = random_floats(d, 2);
	float	   *b = random_floats(d, 3);
	float	   *y = dirty((size_t) ROWS * d * sizeof(float));
	float		mean[ROWS], rstd[ROWS];
	double		worst = 0;

	for (int i = 0; i < ROWS * d; i++)
		x[i] += offset;
	kernels->norm(ROWS, d, x, w, b, y, mean, rstd);
	for (int r = 0; r < ROWS; r++)
	{
		double		m = 0;
		double		v = 0;

		for (int c = 0; c < d; c++)
			m += x[r * d + c] / (double) d;
		for (int c = 0; c < d; c++)
			v += (x[r * d + c] - m) * (x[r * d + c] - m) / d;
		worst = fmax(worst, fabs(mean[r] - m) / (1 + fabs(offset)));
		worst = fmax(worst, fabs(rstd[r] * sqrt(v + 1e-5) - 1));
		for (int c = 0; c < d; c++)
			worst = fmax(worst,
						 fabs(y[r * d + c] - ((x[r * d + c] - m) / sqrt(v + 1e-5) * w[c] + b[c])) /
							 (1 + fabs(offset)));
	}
	free(x);
	free(w);
	free(b);
	free(y);
	return worst;
}

static void
test_norm(const nn_kernels *kernels)
{
	double		worst = 0;

	for (int d = 4; d <= 68; d += 4)
		worst = fmax(worst, fmax(norm_error(kernels, d, 0), norm_error(kernels, d, 50)));
	ok_close(worst, 2e-6, "%s: layer norm", kernels->name);
}

/* ---- contrast ------------------------------------------------------------------------------ */

/* Exponentials of a matrix, their sums over rows and columns, and scaling by both. */
static void
test_exp_sums(const nn_kernels *kernels)
{
	double		worst = 0;

	for (int n = 1; n <= 37; n++)
	{
		float	   *x = random_floats((size_t) n * n, 1);
		float	   *e = random_floats((size_t) n * n, 1);
		float	   *row = dirty(n * sizeof(float));
		float	   *col = calloc(n, sizeof(float));

		kernels->exp_sums(n, n, 10.0f, e, row, col);
		for (int i = 0; i < n; i++)
		{
			double		by_row = 0;
			double		by_col = 0;

			for (int j = 0; j < n; j++)
			{
				double		want = exp(10.0 * x[i * n + j]);

				worst = fmax(worst, fabs(e[i * n + j] / want - 1));
				by_row += want;
				by_col += exp(10.0 * x[j * n + i]);
			}
			worst = fmax(worst, fmax(fabs(row[i] / by_row - 1), fabs(col[i] / by_col - 1)));
		}
		memcpy(x, e, sizeof(float) * n * n);
		kernels->scale_rows_cols(n, n, e, row, col);
		for (int i = 0; i < n * n; i++)
			worst = fmax(worst, fabs(e[i] / (x[i] * ((double) row[i / n] + col[i % n])) - 1));
		free(x);
		free(e);
		free(row);
		free(col);
	}
	/* the argument's rounding is 10·2^-24 */
	ok_close(worst, 2e-6, "%s: exponentials of logits and their sums", kernels->name);
}

/* ---- extreme associations ---------------------------------------------------------------- */

/* One head that sees WINDOW rows, with scores and masks chosen directly. */
enum
{
	WINDOW = 21,
	ROWS = 40,
	BAND = 32
};

typedef struct extreme
{
	const char *name;
	float		query;			/* of every row; keys are from -1 to 1 */
	float		mask[NN_BASIS]; /* coefficients of every row */
} extreme;

typedef struct bands
{
	float		G[ROWS * BAND];
	float		A[ROWS * BAND];
	float		S[ROWS * BAND];
	float		zg[ROWS * 4];
	float		za[ROWS * 4];
	float		gate[ROWS];
	float		z[ROWS * 4];
	float		js[ROWS];
} bands;

static float
key_of(int row)
{
	return (float) sin(row * 1.7);
}

/* Runs attention, in training and in inference, on a shape with one head of 4. */
static void
run_attention(const nn_kernels *kernels, const nn_geometry *g, const extreme *e, bands *out)
{
	const size_t ldk = BAND + nn_round_up(ROWS, NN_UNIT);
	float	   *proj = calloc((size_t) ROWS * g->P, sizeof(float));
	float	   *kt = calloc(g->D * ldk, sizeof(float));
	float	   *v = calloc((size_t) (BAND + ROWS) * g->dp, sizeof(float));
	float	   *phi = dirty(NN_BASIS * NN_NEAR * sizeof(float));
	float	   *scratch = dirty(nn_attend_scratch(g) * sizeof(float));
	nn_segment	segment = {.rows = ROWS, .proj = proj, .kt = kt, .ldk = ldk, .v = v, .phi = phi};
	nn_bands	bands = {out->G, out->A, out->S, out->zg, out->za, out->gate};

	memset(out, 0, sizeof(*out));
	nn_basis(phi);
	for (int i = 0; i < ROWS; i++)
	{
		proj[i * g->P + g->q_col] = e->query;
		memcpy(proj + i * g->P + g->a_col, e->mask, sizeof(e->mask));
		kt[BAND + i] = key_of(i);
		v[(BAND + i) * g->dp] = 1;
	}
	kernels->attend_forward(g, &segment, &bands, scratch, out->z);
	kernels->attend(g, &segment, scratch, out->zg, out->js);
	free(proj);
	free(kt);
	free(v);
	free(phi);
	free(scratch);
}

/* Row i's local weights in double: softmax of q·k/sqrt(4) + log σ(M). */
static void
local_weights(const extreme *e, const float *phi, int i, double *weight)
{
	double		max = -INFINITY;
	double		sum = 0;

	for (int w = 0; w < BAND; w++)
	{
		int			j = i - (BAND - 1 - w);
		double		m = 0;

		weight[w] = -INFINITY;
		if (j < 0 || w < BAND - WINDOW)
			continue;
		for (int k = 0; k < NN_BASIS; k++)
			m += e->mask[k] * phi[k * NN_NEAR + NN_NEAR - BAND + w];
		weight[w] = e->query * key_of(j) / 2 + (m < 0 ? m - log1p(exp(m)) : -log1p(exp(-m)));
		max = fmax(max, weight[w]);
	}
	for (int w = 0; w < BAND; w++)
		sum += weight[w] = exp(weight[w] - max);
	for (int w = 0; w < BAND; w++)
		weight[w] /= sum;
}

static void
test_extreme(const nn_kernels *kernels, const extreme *e)
{
	const nn_shape shape = {1, WINDOW, 4, 1, 1};
	const nn_geometry g = nn_geometry_of(&shape);
	static bands out;
	float		phi[NN_BASIS * NN_NEAR];
	double		worst = 0;
	bool		finite = true;

	nn_basis(phi);
	run_attention(kernels, &g, e, &out);
	for (int i = 0; i < ROWS; i++)
	{
		double		want[BAND];
		double		global = 0;
		double		local = 0;

		local_weights(e, phi, i, want);
		for (int w = 0; w < BAND; w++)
		{
			global += out.G[i * BAND + w];
			local += out.A[i * BAND + w];
			worst = fmax(worst, fabs(out.A[i * BAND + w] - want[w]));
		}
		worst = fmax(worst, fmax(fabs(global - 1), fabs(local - 1)));
		/* all values are 1, so their means must be 1 */
		worst = fmax(worst, fmax(fabs(out.z[i * 4] - 1), fabs(out.zg[i * 4] - 1)));
		finite = finite && isfinite(out.js[i]) && out.js[i] > -1e-6f && out.js[i] < 0.6932f;
		for (int w = 0; w < BAND; w++)
			finite = finite && isfinite(out.G[i * BAND + w]) && isfinite(out.S[i * BAND + w]);
	}
	ok(finite, "%s: %s: finite, divergences between 0 and ln 2", kernels->name, e->name);
	/* the rounding errors of scores of several hundred are 1e-5 */
	ok_close(worst, 5e-5, "%s: %s: associations", kernels->name, e->name);
}

static void
test_attention(const nn_kernels *kernels)
{
	const extreme trials[] = {
		{"no score, no mask", 0, {0}},
		{"usual masks", 1, {0.5f, 1, -1, 1, 0.3f, -0.3f, 0.2f, 0.5f}},
		{"masks of -60", 2, {-60}}, /* e^S·σ(M) is below 1e-20: band_weights_careful() */
		{"masks of -500", 2, {-500}},	/* σ(M) underflows */
		{"masks of +500", 2, {500}},
		{"masks from -500 to 500", 2, {0, 0, 0, 0, 0, 0, 0, 500}},
		{"masks that hide all but distant rows", 2, {-40, 0, 0, 0, 0, 0, -40, -40}},
		{"scores from -300 to 300", 600, {0}},
		{"scores against masks", 200, {-50, -100, 0, 0, 0, 0, 0, 200}},
	};

	for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++)
		test_extreme(kernels, &trials[i]);
}

int
main(void)
{
	for (int k = 0; k < KERNELS; k++)
	{
		const nn_kernels *kernels;

		if (!use_kernel(k))
			continue;
		kernels = nn_kernels_get();
		test_exp(kernels);
		test_exp2(kernels);
		test_log(kernels);
		test_log1p(kernels);
		test_erf(kernels);
		test_gelu(kernels);
		test_gemm(kernels);
		test_gemm_place(kernels);
		test_plain_products(kernels);
		test_order(kernels);
		test_norm(kernels);
		test_exp_sums(kernels);
		test_attention(kernels);
	}
	return done();
}
