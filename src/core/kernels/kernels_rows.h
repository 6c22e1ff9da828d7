/*
 * core/kernels/kernels_rows.h
 *	  Layer norm, gelu, the contrast's exponentials and the optimiser; part of
 *	  kernels_impl.h.
 */

#define NORM_EPSILON 1e-5f

/* Up to LANES floats, of which n are left. */
INLINE vf
load_left(const float *p, int n)
{
	return n >= LANES ? load(p) : load_part(p, n);
}

INLINE void
store_left(float *p, int n, vf x)
{
	if (n >= LANES)
		store(p, x);
	else
		store_part(p, n, x);
}

/* x with 0 in the lanes from n on. */
INLINE vf
only_left(int n, vf x)
{
	return n >= LANES ? x : x - from_lane(n, x);
}

static void
column_sums(int rows, int n, const float *x, size_t ldx, float *sum)
{
	int			c = 0;

	for (; c + 4 * LANES <= n; c += 4 * LANES)
	{
		vf			s[4];

#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
			s[i] = load(sum + c + i * LANES);
		for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
			for (int i = 0; i < 4; i++)
				s[i] += load(x + r * ldx + c + i * LANES);
#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
			store(sum + c + i * LANES, s[i]);
	}
	for (; c < n; c += LANES)
	{
		vf			s = load_left(sum + c, n - c);

		for (int r = 0; r < rows; r++)
			s += load_left(x + r * ldx + c, n - c);
		store_left(sum + c, n - c, s);
	}
}

/* ---- layer norm ------------------------------------------------------------------- */

INLINE vf
row_sum(int d, const float *x)
{
	vf			s = splat(0.0f);

	for (int c = 0; c < d; c += LANES)
		s += load_left(x + c, d - c);
	return s;
}

INLINE vf
row_square_deviation(int d, const float *x, vf mean)
{
	vf			s = splat(0.0f);

	for (int c = 0; c < d; c += LANES)
	{
		vf			y = only_left(d - c, load_left(x + c, d - c) - mean);

		s += y * y;
	}
	return s;
}

/* Mean and inverse deviation of up to LANES rows. */
INLINE void
norm_moments(int rows, int d, const float *x, float *mean, float *rstd)
{
	vf			parts[LANES];
	vf			s;

	for (int r = 0; r < LANES; r++)
		parts[r] = r < rows ? row_sum(d, x + (size_t) r * d) : splat(0.0f);
	store(mean, vsums(parts) / splat((float) d));
	for (int r = 0; r < rows; r++)
		parts[r] = row_square_deviation(d, x + (size_t) r * d, splat(mean[r]));
	s = vsums(parts) / splat((float) d) + splat(NORM_EPSILON);
	store(rstd, splat(1.0f) / vsqrt(s));
}

static void
norm(int rows, int d, const float *x, const float *w, const float *b, float *y, float *mean,
	 float *rstd)
{
	for (int i = 0; i < rows; i += LANES)
	{
		const int	n = rows - i < LANES ? rows - i : LANES;
		float		m[LANES];
		float		s[LANES];

		norm_moments(n, d, x, m, s);
		for (int r = 0; r < n; r++, x += d, y += d)
			for (int c = 0; c < d; c += LANES)
				store_left(y + c, d - c,
						   (load_left(x + c, d - c) - splat(m[r])) * splat(s[r]) *
								   load_left(w + c, d - c) +
							   load_left(b + c, d - c));
		if (mean)
		{
			memcpy(mean + i, m, sizeof(float) * n);
			memcpy(rstd + i, s, sizeof(float) * n);
		}
	}
}

/* With g = dy·w and n = (x - mean)·rstd: dx = rstd·(g - mean(g) - n·mean(g·n)). */
static void
norm_backward(const nn_norm_grads *grads)
{
	const int	d = grads->d;
	const float *x = grads->x;
	const float *w = grads->w;
	const float *dy = grads->dy;
	float	   *dx = grads->dx;
	float	   *dw = grads->dw;
	float	   *db = grads->db;

	for (int r = 0; r < grads->rows; r++, x += d, dy += d, dx += d)
	{
		vf			m = splat(grads->mean[r]);
		vf			s = splat(grads->rstd[r]);
		vf			g_mean = splat(0.0f);
		vf			gn_mean = splat(0.0f);

		for (int c = 0; c < d; c += LANES)
		{
			int			left = d - c;
			vf			n = (load_left(x + c, left) - m) * s;
			vf			y = load_left(dy + c, left);
			vf			g = y * load_left(w + c, left);

			g_mean += g;
			gn_mean += g * n;
			store_left(dw + c, left, load_left(dw + c, left) + y * n);
			store_left(db + c, left, load_left(db + c, left) + y);
		}
		g_mean = splat(vsum(g_mean) / d);
		gn_mean = splat(vsum(gn_mean) / d);
		for (int c = 0; c < d; c += LANES)
		{
			int			left = d - c;
			vf			n = (load_left(x + c, left) - m) * s;
			vf			g = load_left(dy + c, left) * load_left(w + c, left);

			store_left(dx + c, left, load_left(dx + c, left) + s * (g - g_mean - n * gn_mean));
		}
	}
}

/* ---- gelu --------------------------------------------------------------------------- */

/* Φ(x), the normal distribution function; *e = exp(-x²/2). */
INLINE vf
normal_cdf(vf x, vf *e)
{
	*e = vexp2(x * x * splat(-0.5f * LOG2_E));
	return splat(0.5f) + splat(0.5f) * verf(x * splat(0.70710678118654752f), *e);
}

static void
gelu(size_t n, const float *x, float *y)
{
	for (size_t i = 0; i < n; i += LANES)
	{
		int			left = n - i < LANES ? (int) (n - i) : LANES;
		vf			e;
		vf			xi = load_left(x + i, left);

		store_left(y + i, left, xi * normal_cdf(xi, &e));
	}
}

static void
gelu_backward(size_t n, const float *x, const float *dy, float *dx)
{
	const vf	inv_sqrt_2pi = splat(0.39894228040143268f);

	for (size_t i = 0; i < n; i += LANES)
	{
		int			left = n - i < LANES ? (int) (n - i) : LANES;
		vf			e;
		vf			xi = load_left(x + i, left);
		vf			cdf = normal_cdf(xi, &e);

		store_left(dx + i, left, load_left(dy + i, left) * (cdf + xi * e * inv_sqrt_2pi));
	}
}

/* ---- contrast ------------------------------------------------------------------------ */

static void
exp_sums(int rows, int n, float scale, float *x, float *row_sum, float *col_sum)
{
	for (int i = 0; i < rows; i++)
	{
		float	   *row = x + (size_t) i * n;
		vf			sum = splat(0.0f);

		for (int j = 0; j < n; j += LANES)
		{
			int			left = n - j;
			vf			e = only_left(left, vexp(splat(scale) * load_left(row + j, left)));

			store_left(row + j, left, e);
			store_left(col_sum + j, left, load_left(col_sum + j, left) + e);
			sum += e;
		}
		row_sum[i] = vsum(sum);
	}
}

static void
scale_rows_cols(int rows, int n, float *x, const float *row, const float *col)
{
	for (int i = 0; i < rows; i++)
		for (int j = 0; j < n; j += LANES)
		{
			float	   *at = x + (size_t) i * n + j;
			int			left = n - j;

			store_left(at, left, load_left(at, left) * (splat(row[i]) + load_left(col + j, left)));
		}
}

static float
normalise(int n, const float *z, float least, float *unit)
{
	vf			sum = splat(0.0f);
	float		length;

	for (int c = 0; c < n; c += LANES)
	{
		vf			x = load_left(z + c, n - c);

		sum += x * x;
	}
	length = sqrtf(vsum(sum));
	length = length > least ? length : least;
	for (int c = 0; c < n; c += LANES)
		store_left(unit + c, n - c, load_left(z + c, n - c) * splat(1.0f / length));
	return length;
}

/* dz = (dunit - unit·(unit·dunit)) / length */
static void
normalise_backward(int n, const float *unit, float length, const float *dunit, float *dz)
{
	vf			along = splat(0.0f);

	for (int c = 0; c < n; c += LANES)
		along += load_left(unit + c, n - c) * load_left(dunit + c, n - c);
	along = splat(vsum(along));
	for (int c = 0; c < n; c += LANES)
		store_left(dz + c, n - c,
				   (load_left(dunit + c, n - c) - along * load_left(unit + c, n - c)) *
					   splat(1.0f / length));
}

/* ---- optimiser ------------------------------------------------------------------------- */

/* Sixteen sums side by side: a single one would wait for each addition. */
static double
square_sum(size_t n, const float *x)
{
	double		sum[16] = {0};
	double		tail = 0.0;
	size_t		i = 0;

	for (; i + 16 <= n; i += 16)
		for (int l = 0; l < 16; l++)
			sum[l] += (double) x[i + l] * x[i + l];
	for (; i < n; i++)
		tail += (double) x[i] * x[i];
	for (int l = 0; l < 16; l++)
		tail += sum[l];
	return tail;
}

static void
adam(size_t n, const nn_adam_rates *rates, const float *restrict grad, float *restrict moment1,
	 float *restrict moment2, float *restrict param)
{
	const nn_adam_rates a = *rates;

	for (size_t i = 0; i < n; i++)
	{
		float		g = a.clip * grad[i];

		moment1[i] = a.beta1 * moment1[i] + (1.0f - a.beta1) * g;
		moment2[i] = a.beta2 * moment2[i] + (1.0f - a.beta2) * g * g;
		param[i] -= a.rate * moment1[i] / (sqrtf(moment2[i] * a.scale2) + a.epsilon);
	}
}
