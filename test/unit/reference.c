/*
 * reference.c
 *	  The network in double precision and plain loops, formula by formula.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "reference.h"

static double
basis(int k, int delta)
{
	static const double width[] = {1, 2, 4};
	static const double period[] = {2, 4, 8, 16};

	if (k == 0)
		return 1;
	if (k <= 3)
		return exp(-(double) delta * delta / (2 * width[k - 1] * width[k - 1]));
	return cos(2 * acos(-1.0) * delta / period[k - 4]);
}

/* The oldest row that row i sees. */
static int
first_seen(const reference *r, int i)
{
	return i >= r->shape.window ? i - r->shape.window + 1 : 0;
}

reference
reference_open(const nn_shape *shape, int rows)
{
	const size_t D = shape->d_model;
	const size_t bands = (size_t) shape->layers * shape->heads * rows * rows;
	const size_t mixed = shape->layers * rows * D;
	reference	r = {.shape = *shape, .rows = rows};

	r.out = dirty(rows * shape->features * sizeof(double));
	r.G = dirty(bands * sizeof(double));
	r.A = dirty(bands * sizeof(double));
	r.zg = dirty(mixed * sizeof(double));
	r.za = dirty(mixed * sizeof(double));
	r.tensors = nn_param_count(shape);
	r.tensor = dirty(r.tensors * sizeof(nn_param));
	for (int i = 0; i < r.tensors; i++)
		r.tensor[i] = nn_param_at(shape, i);
	r.phi = dirty(NN_BASIS * rows * sizeof(double));
	for (int k = 0; k < NN_BASIS; k++)
		for (int delta = 0; delta < rows; delta++)
			r.phi[k * rows + delta] = basis(k, delta);
	/* h, x, y, q, k, v, z; u of width 2D; mask coefficients; gates */
	r.scratch = dirty(rows * (9 * D + shape->heads * (NN_BASIS + 1)) * sizeof(double));
	return r;
}

void
reference_close(reference *r)
{
	free(r->out);
	free(r->G);
	free(r->A);
	free(r->zg);
	free(r->za);
	free(r->tensor);
	free(r->phi);
	free(r->scratch);
}

/* The tensor with a name; block: its number, or -1 outside the blocks. */
static const double *
find_tensor(const reference *r, const double *params, int block, const char *name)
{
	char		full[NN_NAME_MAX + 16];

	if (block >= 0)
		snprintf(full, sizeof(full), "block%d.%s", block, name);
	else
		snprintf(full, sizeof(full), "%s", name);
	for (int i = 0; i < r->tensors; i++)
		if (strcmp(r->tensor[i].name, full) == 0)
			return params + r->tensor[i].offset;
	fprintf(stderr, "no parameter \"%s\"\n", full);
	exit(EXIT_FAILURE);
}

/* y (T, out) = x·Wᵀ + b, x (T, in). */
static void
linear(const reference *r, const double *params, int block, const char *name, int in, int out,
	   const double *x, double *y)
{
	char		part[NN_NAME_MAX];
	const double *w;
	const double *b;

	snprintf(part, sizeof(part), "%s.weight", name);
	w = find_tensor(r, params, block, part);
	snprintf(part, sizeof(part), "%s.bias", name);
	b = find_tensor(r, params, block, part);
	for (int i = 0; i < r->rows; i++)
		for (int o = 0; o < out; o++)
		{
			double		sum = b[o];

			for (int c = 0; c < in; c++)
				sum += x[i * in + c] * w[o * in + c];
			y[i * out + o] = sum;
		}
}

static void
norm(const reference *r, const double *params, int block, const char *name, const double *x,
	 double *y)
{
	const int	D = r->shape.d_model;
	char		part[NN_NAME_MAX];
	const double *w;
	const double *b;

	snprintf(part, sizeof(part), "%s.weight", name);
	w = find_tensor(r, params, block, part);
	snprintf(part, sizeof(part), "%s.bias", name);
	b = find_tensor(r, params, block, part);
	for (int i = 0; i < r->rows; i++, x += D, y += D)
	{
		double		mean = 0;
		double		variance = 0;

		for (int c = 0; c < D; c++)
			mean += x[c] / D;
		for (int c = 0; c < D; c++)
			variance += (x[c] - mean) * (x[c] - mean) / D;
		for (int c = 0; c < D; c++)
			y[c] = (x[c] - mean) / sqrt(variance + 1e-5) * w[c] + b[c];
	}
}

static void
embed(const reference *r, const double *params, const float *chunk, double *h)
{
	static const int widths[NN_SCALES] = {1, 3, 7, 15};
	const int	C = r->shape.features;
	const int	D = r->shape.d_model;
	const int	E = D / NN_SCALES;

	for (int s = 0; s < NN_SCALES; s++)
	{
		const int	width = widths[s];
		char		name[NN_NAME_MAX];
		const double *w;
		const double *b;

		snprintf(name, sizeof(name), "embed.k%d.weight", width);
		w = find_tensor(r, params, -1, name);
		snprintf(name, sizeof(name), "embed.k%d.bias", width);
		b = find_tensor(r, params, -1, name);
		for (int i = 0; i < r->rows; i++)
			for (int e = 0; e < E; e++)
			{
				double		sum = b[e];

				for (int tap = 0; tap < width; tap++)
				{
					int			row = i - (width - 1) + tap;

					for (int c = 0; c < C; c++)
						sum += w[(e * C + c) * width + tap] * chunk[(row > 0 ? row : 0) * C + c];
				}
				h[i * D + s * E + e] = sum;
			}
	}
}

/* x ← softmax(x) over places from … to; 0 elsewhere. */
static void
softmax(int n, int from, int to, double *x)
{
	double		max = x[from];
	double		sum = 0;

	for (int j = from; j <= to; j++)
		max = fmax(max, x[j]);
	for (int j = from; j <= to; j++)
		sum += x[j] = exp(x[j] - max);
	for (int j = 0; j < n; j++)
		x[j] = j >= from && j <= to ? x[j] / sum : 0;
}

/* log σ(x) */
static double
log_logistic(double x)
{
	return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x));
}

/* Row i's associations in a head; q, k: this head's columns of (T, D), a: its coefficients. */
static void
associate(const reference *r, int i, const double *q, const double *k, const double *a, double *G,
		  double *A)
{
	const int	D = r->shape.d_model;
	const int	d = D / r->shape.heads;
	const int	from = first_seen(r, i);

	for (int j = from; j <= i; j++)
	{
		double		score = 0;
		double		mask = 0;

		for (int c = 0; c < d; c++)
			score += q[i * D + c] * k[j * D + c] / sqrt(d);
		for (int m = 0; m < NN_BASIS; m++)
			mask += a[m] * r->phi[m * r->rows + i - j];
		G[j] = score;
		A[j] = score + log_logistic(mask);
	}
	softmax(r->rows, from, i, G);
	softmax(r->rows, from, i, A);
}

/* Attention of a block, from x (T, D) to z (T, D). */
static void
attention(reference *r, const double *params, int block, const double *x, double *work, double *z)
{
	const int	T = r->rows;
	const int	D = r->shape.d_model;
	const int	H = r->shape.heads;
	const int	d = D / H;
	double	   *q = work;
	double	   *k = q + T * D;
	double	   *v = k + T * D;
	double	   *a = v + T * D;
	double	   *gate = a + T * H * NN_BASIS;
	double	   *zg = r->zg + (size_t) block * T * D;
	double	   *za = r->za + (size_t) block * T * D;

	linear(r, params, block, "q", D, D, x, q);
	linear(r, params, block, "k", D, D, x, k);
	linear(r, params, block, "v", D, D, x, v);
	linear(r, params, block, "mask", D, H * NN_BASIS, x, a);
	linear(r, params, block, "gate", D, H, x, gate);
	for (int h = 0; h < H; h++)
		for (int i = 0; i < T; i++)
		{
			size_t		band = (((size_t) block * H + h) * T + i) * T;
			double	   *G = r->G + band;
			double	   *A = r->A + band;
			double		mix = 1 / (1 + exp(-gate[i * H + h]));

			associate(r, i, q + h * d, k + h * d, a + (i * H + h) * NN_BASIS, G, A);
			for (int c = h * d; c < (h + 1) * d; c++)
			{
				double		sum_g = 0;
				double		sum_a = 0;

				for (int j = first_seen(r, i); j <= i; j++)
				{
					sum_g += G[j] * v[j * D + c];
					sum_a += A[j] * v[j * D + c];
				}
				zg[i * D + c] = sum_g;
				za[i * D + c] = sum_a;
				z[i * D + c] = mix * sum_g + (1 - mix) * sum_a;
			}
		}
}

void
reference_forward(reference *r, const double *params, const float *chunk)
{
	const int	D = r->shape.d_model;
	const int	n = r->rows * D;
	double	   *h = r->scratch;
	double	   *x = h + n;
	double	   *y = x + n;
	double	   *work = y + n;

	embed(r, params, chunk, h);
	for (int b = 0; b < r->shape.layers; b++)
	{
		norm(r, params, b, "ln1", h, x);
		attention(r, params, b, x, work, y);
		linear(r, params, b, "o", D, D, y, x);
		for (int i = 0; i < n; i++)
			h[i] += x[i];
		norm(r, params, b, "ln2", h, x);
		linear(r, params, b, "w1", D, 2 * D, x, work);
		for (int i = 0; i < 2 * n; i++)
			work[i] *= 0.5 * (1 + erf(work[i] / sqrt(2)));
		linear(r, params, b, "w2", 2 * D, D, work, x);
		for (int i = 0; i < n; i++)
			h[i] += x[i];
	}
	norm(r, params, -1, "ln", h, x);
	linear(r, params, -1, "out", D, r->shape.features, x, r->out);
}

double
reference_discrepancy(const reference *local, const reference *global, int block, int i)
{
	const int	H = local->shape.heads;
	const int	T = local->rows;
	double		js = 0;

	for (int h = 0; h < H; h++)
	{
		const size_t band = (((size_t) block * H + h) * T + i) * T;
		const double *a = local->A + band;
		const double *g = global->G + band;

		for (int j = first_seen(local, i); j <= i; j++)
		{
			double		m = (a[j] + g[j]) / 2;

			js += 0.5 * a[j] * (log(a[j] + 1e-4) - log(m + 1e-4));
			js += 0.5 * g[j] * (log(g[j] + 1e-4) - log(m + 1e-4));
		}
	}
	return js / H;
}

static double
dot(int n, const double *x, const double *y)
{
	double		sum = 0;

	for (int c = 0; c < n; c++)
		sum += x[c] * y[c];
	return sum;
}

static double
length(int n, const double *x)
{
	return sqrt(dot(n, x, x));
}

/* InfoNCE of a block's rows from o->skip on, over rows and over columns. */
static double
contrast(const reference *r, int block, const nn_objective *o)
{
	const int	D = r->shape.d_model;
	const int	n = r->rows - o->skip;
	const double *zg = r->zg + ((size_t) block * r->rows + o->skip) * D;
	const double *za = r->za + ((size_t) block * r->rows + o->skip) * D;
	double	   *row = calloc(4 * n, sizeof(double));
	double	   *column = row + n;
	double	   *length_g = column + n;
	double	   *length_a = length_g + n;
	double		loss = 0;

	for (int i = 0; i < n; i++)
	{
		length_g[i] = length(D, zg + i * D);
		length_a[i] = length(D, za + i * D);
	}
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
		{
			double		logit = dot(D, zg + i * D, za + j * D) / (length_g[i] * length_a[j]) /
				o->temperature;

			row[i] += exp(logit);
			column[j] += exp(logit);
			if (i == j)
				loss -= logit;
		}
	for (int i = 0; i < n; i++)
		loss += (log(row[i]) + log(column[i])) / 2;
	free(row);
	return loss / n;
}

nn_losses
reference_losses(const reference *r, const reference *frozen, const nn_target *target,
				 const nn_objective *o)
{
	const int	C = r->shape.features;
	const int	N = r->shape.layers;
	const int	n = r->rows - o->skip;
	nn_losses	losses = {0};
	double		maxmin = 0;

	for (int i = o->skip; i < r->rows - o->ahead; i++)
		for (int c = 0; c < C && !(target->held_out && target->held_out[i + o->ahead]); c++)
			losses.reconstruction += pow(r->out[i * C + c] - target->rows[(i + o->ahead) * C + c],
										 2) /
				((double) (n - o->ahead) * C);
	for (int b = 0; b < N; b++)
	{
		for (int i = o->skip; i < r->rows; i++)
		{
			losses.discrepancy += reference_discrepancy(r, r, b, i) / ((double) n * N);
			maxmin += (reference_discrepancy(r, frozen, b, i) -
					   reference_discrepancy(frozen, r, b, i)) /
				((double) n * N);
		}
		losses.contrast += contrast(r, b, o) / N;
	}
	losses.total = 2 * losses.reconstruction + o->maxmin * maxmin + o->contrast * losses.contrast;
	return losses;
}
