/*
 * core/kernels/kernels_attend.h
 *	  AutoMask attention (section 2.3), forward and back; part of
 *	  nn_kernels_impl.h.
 *
 * Rows pass in blocks of LANES.  Products of a block with keys or values are
 * matrix products over the columns that any of its rows sees; each row then reads
 * its band out of that, so that all that is done along a band has one order,
 * wherever the row stands in its block.
 */

#define JS_EPSILON 1e-4f		/* inside the logarithms of section 2.5 */
#define TINY_SUM 1e-20f			/* below it a sum of weights has lost digits */
#define HUGE_SUM 1e30f			/* above it, it might overflow */
#define POLL_WORK 16777216		/* multiplications between polls: a few milliseconds */

#ifdef NN_AVX512
#define GROUP 8					/* rows (keys) whose sums over a band run side by side */
#else
#define GROUP 4
#endif

#define WAVES (NN_WAVE / LANES) /* vectors of a period */

/* First valid place of row i's band. */
INLINE int
band_first(const nn_geometry *g, const nn_segment *s, int i)
{
	int			pad = g->Wp - g->W;
	int			missing = g->Wp - 1 - i - s->history;

	return missing > pad ? missing : pad;
}

/* First place, a whole vector's, of the bands of the n rows from i on. */
INLINE int
block_from(const nn_geometry *g, const nn_segment *s, int i, int n)
{
	return band_first(g, s, i + n - 1) / LANES * LANES;
}

/* Floats from row to row of a block's products. */
INLINE size_t
block_stride(const nn_geometry *g)
{
	return g->Wp + LANES;
}

/*
 * Products of n rows of x (of head h, ldx apart) with the columns that they see of
 * y (H·d, ldk).  Row r's band begins at out + r·block_stride() + r + 1.
 */
INLINE void
block_products(const nn_geometry *g, const nn_segment *s, int i, int n, int from,
			   const float *x, size_t ldx, const float *y, int h, float *out)
{
	gemm_nn(&(nn_product) {
		.rows = n, .n = g->Wp + LANES - from, .k = g->d,
		.a = x, .lda = ldx, .b = y + (size_t) h * g->d * s->ldk + i + from, .ldb = s->ldk,
		.y = out + from, .ldy = block_stride(g),
	});
}

INLINE const float *
band_of(const nn_geometry *g, const float *products, int r)
{
	return products + r * block_stride(g) + r + 1;
}

/* Gives the caller a chance to stop, every so much work. */
INLINE void
rest(const nn_geometry *g, const nn_segment *s, int rows, int64_t *work)
{
	*work += (int64_t) rows * g->Wp * (g->d + 32);
	if (*work > POLL_WORK && s->poll)
	{
		*work = 0;
		s->poll();
	}
}

/* The gates of the n rows from i on: (n, H). */
INLINE void
block_gates(const nn_geometry *g, const nn_segment *s, int i, int n, float *gate)
{
	for (int r = 0; r < n; r++, gate += g->H)
	{
		const float *x = s->proj + (size_t) (i + r) * g->P + g->g_col;

		for (int h = 0; h < g->H; h += LANES)
			store_left(gate + h, g->H - h,
					   splat(1.0f) / (splat(1.0f) + vexp(-load_left(x + h, g->H - h))));
	}
}

/* ---- the mask ------------------------------------------------------------------------ */

/*
 * M of a row and head.  The constant and the cosines of M repeat after NN_WAVE
 * places, so they are summed once; the bells are 0, to single precision, from
 * NN_NEAR places on.
 */
typedef struct mask
{
	vf			wave[WAVES];
	vf			bell[NN_BELLS];
} mask;

INLINE mask
mask_open(const float *a, const float *phi)
{
	mask		m;

#pragma GCC unroll 2
	for (int v = 0; v < WAVES; v++)
	{
		m.wave[v] = splat(a[0]);
#pragma GCC unroll 4
		for (int k = 1 + NN_BELLS; k < NN_BASIS; k++)
			m.wave[v] += splat(a[k]) * load(phi + k * NN_NEAR + v * LANES);
	}
#pragma GCC unroll 3
	for (int k = 0; k < NN_BELLS; k++)
		m.bell[k] = splat(a[1 + k]);
	return m;
}

/* The vector at place w of a band of `to`. */
INLINE vf
mask_at(const mask *m, const float *phi, int w, int to, bool near)
{
	vf			x = m->wave[w / LANES % WAVES];

	if (near)
#pragma GCC unroll 3
		for (int k = 0; k < NN_BELLS; k++)
			x += m->bell[k] * load(phi + (1 + k) * NN_NEAR + NN_NEAR - to + w);
	return x;
}

/* Where, from `from` on, the bells begin. */
INLINE int
near_from(int from, int to)
{
	return to - NN_NEAR > from ? to - NN_NEAR : from;
}

/* ---- the associations ------------------------------------------------------------------- */

/* x ← exp(x - max) over a band's valid places, 0 before; the sum. */
static float
band_exp(int first, int from, int to, float *x)
{
	vf			top = splat(-3e38f);
	vf			total = splat(0.0f);
	float		max;

	for (int w = from; w < to; w += LANES)
		top = vmax(top, blend_from(first - w, load(x + w), splat(-3e38f)));
	max = vtop(top);
	for (int w = from; w < to; w += LANES)
	{
		vf			e = vexp(load(x + w) - splat(max));

		if (w < first)
			e = from_lane(first - w, e);
		store(x + w, e);
		total += e;
	}
	return vsum(total);
}

/*
 * band_weights() when exponentials over- or underflow: softmax(S) and
 * softmax(S + log σ(M)), each with its maximum taken off before.
 */
static __attribute__((noinline)) void
band_weights_careful(int first, int from, int to, float scale, const float *score, const mask *m,
					 const float *phi, float *global, float *local, float *sums)
{
	for (int w = from; w < to; w += LANES)
	{
		vf			s = load(score + w) * splat(scale);
		vf			x = mask_at(m, phi, w, to, to - w <= NN_NEAR);
		vf			softplus = vlog(splat(1.0f) + vexp(-vabs(x)));

		store(global + w, s);
		store(local + w, s + vmin(x, splat(0.0f)) - softplus);
	}
	sums[0] = band_exp(first, from, to, global);
	sums[1] = band_exp(first, from, to, local);
}

/* band_weights() of the places from … to - 1, all near or all far; adds to sums. */
INLINE void
band_weights_span(bool near, int first, int from, int to, int end, float scale,
				  const float *score, const mask *m, const float *phi, float *global,
				  float *local, float *sigma, vf sums[2])
{
	for (int w = from; w < to; w += LANES)
	{
		vf			e = vexp2(load(score + w) * splat(scale * LOG2_E));
		vf			x = splat(1.0f) + vexp2(mask_at(m, phi, w, end, near) * splat(-LOG2_E));
		vf			l;

		if (w < first)
			e = from_lane(first - w, e);
		if (sigma)
		{
			x = splat(1.0f) / x;
			store(sigma + w, x);
			l = e * x;
		}
		else
			l = e / x;
		sums[0] += e;
		sums[1] += l;
		store(global + w, e);
		store(local + w, l);
	}
}

/*
 * Both associations of a row and head, not yet divided by their sums, which are left
 * by lanes.  scale · score: S; leaves σ(M) in sigma, if given.  softmax(S + log σ(M))
 * is proportional to e^S·σ(M), so no logarithm is needed; and no maximum is taken off
 * before, unless it turns out to be needed: one pass has no waiting for a reduction.
 */
INLINE void
band_weights(int first, int from, int to, float scale, const float *score, const float *a,
			 const float *phi, float *global, float *local, float *sigma, vf *global_sum,
			 vf *local_sum)
{
	mask		m = mask_open(a, phi);
	int			near = near_from(from, to);
	vf			sums[2] = {splat(0.0f), splat(0.0f)};

	band_weights_span(false, first, from, near, to, scale, score, &m, phi, global, local, sigma,
					  sums);
	band_weights_span(true, first, near, to, to, scale, score, &m, phi, global, local, sigma,
					  sums);
	*global_sum = sums[0];
	*local_sum = sums[1];
}

/*
 * Associations of a block of n rows and a head, not yet divided by their sums, whose
 * inverses, n of each, are left in inv_g and inv_a.
 */
INLINE void
block_weights(const nn_geometry *g, const nn_segment *s, int i, int n, int h, int from,
			  const float *products, float *global, float *local, float *sigma,
			  float *inv_g, float *inv_a)
{
	const float scale = 1.0f / sqrtf((float) g->d);
	const float *a = s->proj + (size_t) i * g->P + g->a_col + h * NN_BASIS;
	vf			parts_g[LANES];
	vf			parts_a[LANES];
	vf			sums_g;
	vf			sums_a;

	for (int r = 0; r < n; r++)
		band_weights(band_first(g, s, i + r), from, g->Wp, scale, band_of(g, products, r),
					 a + r * g->P, s->phi, global + r * g->Wp, local + r * g->Wp,
					 sigma ? sigma + r * g->Wp : NULL, &parts_g[r], &parts_a[r]);
	for (int r = n; r < LANES; r++)
		parts_g[r] = parts_a[r] = splat(1.0f);
	sums_g = vsums(parts_g);
	sums_a = vsums(parts_a);
	/* so put that it holds for NaN, too */
	if (vany(~((sums_g > splat(TINY_SUM)) & (sums_g < splat(HUGE_SUM)) &
			   (sums_a > splat(TINY_SUM)))))
		for (int r = 0; r < n; r++)
			if (!(sums_g[r] > TINY_SUM && sums_g[r] < HUGE_SUM && sums_a[r] > TINY_SUM))
			{
				mask		m = mask_open(a + r * g->P, s->phi);
				float		sums[2];

				band_weights_careful(band_first(g, s, i + r), from, g->Wp, scale,
									 band_of(g, products, r), &m, s->phi, global + r * g->Wp,
									 local + r * g->Wp, sums);
				sums_g[r] = sums[0];
				sums_a[r] = sums[1];
			}
	store(inv_g, splat(1.0f) / sums_g);
	store(inv_a, splat(1.0f) / sums_a);
}

/* ---- sums over a band --------------------------------------------------------------------- */

/*
 * `rows` rows of out = Σ_w p[w]·v[w] over places first … to - 1, and of out2 with p2
 * if there are two; one vector of each.  Row r's p is r·ldp further on, its place
 * w meets row w + r of v.  A band has at least `rows` places.
 */
INLINE void
band_sums_tile(int rows, bool two, int first, int to, const float *p, const float *p2, size_t ldp,
			   const float *v, size_t ldv, vf *sum, vf *sum2)
{
	/* place j of row 0 is place j - r of row r */
	const size_t next = ldp - 1;

#define ADD_ROW(r) \
	do { \
		sum[r] += splat(p[(r) * next + j]) * x; \
		if (two) \
			sum2[r] += splat(p2[(r) * next + j]) * x; \
	} while (0)

	int			j = first;

#pragma GCC unroll 8
	for (int r = 0; r < rows; r++)
	{
		sum[r] = splat(0.0f);
		sum2[r] = splat(0.0f);
	}
	/* the first places of the first rows … */
#pragma GCC unroll 8
	for (int n = 1; n < rows; n++, j++)
	{
		vf			x = load(v + j * ldv);

#pragma GCC unroll 8
		for (int r = 0; r < n; r++)
			ADD_ROW(r);
	}
	for (; j < to; j++)
	{
		vf			x = load(v + j * ldv);

#pragma GCC unroll 8
		for (int r = 0; r < rows; r++)
			ADD_ROW(r);
	}
	/* … and the last of the last */
#pragma GCC unroll 8
	for (int n = 1; n < rows; n++, j++)
	{
		vf			x = load(v + j * ldv);

#pragma GCC unroll 8
		for (int r = n; r < rows; r++)
			ADD_ROW(r);
	}
#undef ADD_ROW
}

/* out (rows, d) of GROUP rows or of one. */
INLINE void
band_sums_group(int rows, bool two, int first, int to, const float *p, const float *p2, size_t ldp,
				const float *v, size_t ldv, int d, float *out, float *out2, size_t ldo)
{
	for (int c = 0; c < d; c += LANES)
	{
		vf			sum[GROUP];
		vf			sum2[GROUP];

		band_sums_tile(rows, two, first, to, p, p2, ldp, v + c, ldv, sum, sum2);
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++)
		{
			store_left(out + r * ldo + c, d - c, sum[r]);
			if (two)
				store_left(out2 + r * ldo + c, d - c, sum2[r]);
		}
	}
}

/*
 * The same for a block of n rows; v: the row that place 0 of the first row meets.
 * Places before `first` have no weight in any row.
 */
INLINE void
band_sums(int n, bool two, int first, int to, const float *p, const float *p2, size_t ldp, const float *v,
		  size_t ldv, int d, float *out, float *out2, size_t ldo)
{
	int			r = 0;

	if (to - first >= GROUP)
		for (; r + GROUP <= n; r += GROUP)
			band_sums_group(GROUP, two, first, to, p + r * ldp, two ? p2 + r * ldp : NULL, ldp,
							v + r * ldv, ldv, d, out + r * ldo, two ? out2 + r * ldo : NULL, ldo);
	for (; r < n; r++)
		band_sums_group(1, two, first, to, p + r * ldp, two ? p2 + r * ldp : NULL, ldp, v + r * ldv,
						ldv, d, out + r * ldo, two ? out2 + r * ldo : NULL, ldo);
}

/* What place 0 of row i's band meets of v or k, (H, …, dp). */
INLINE const float *
band_rows(const nn_geometry *g, const nn_segment *s, const float *v, int i, int h)
{
	return v + h * s->ldv + (size_t) (i + 1) * g->dp;
}

/* ---- inference ----------------------------------------------------------------------------- */

/*
 * Twice JS(A, G), lane by lane.  With x = (A - G) / (A + G + 2ε) the ratios
 * (A + ε)/(m + ε) and (G + ε)/(m + ε) are 1 + x and 1 - x: two logarithms and
 * one division, and no cancellation between large logarithms.  As A and G may change
 * places x is not negative here, for the first of them is then the cheaper kind.
 */
INLINE vf
divergence(vf global, vf local)
{
	vf			x = vabs(local - global) / (local + global + splat(2 * JS_EPSILON));

	return vmax(local, global) * vlog1p(x) + vmin(local, global) * vlog(splat(1.0f) - x);
}

/* The mixture of the associations into global; the sum of twice JS(A, G), by lanes. */
INLINE vf
band_mix(int from, int to, float gate, float inv_g, float inv_a, float *global,
		 const float *local)
{
	vf			sum = splat(0.0f);

	for (int w = from; w < to; w += LANES)
	{
		vf			g = load(global + w) * splat(inv_g);
		vf			a = load(local + w) * splat(inv_a);

		sum += divergence(g, a);
		store(global + w, splat(gate) * g + splat(1.0f - gate) * a);
	}
	return sum;
}

static void
attend(const nn_geometry *g, const nn_segment *s, float *scratch, float *z, float *js)
{
	float	   *products = scratch;
	float	   *global = products + LANES * block_stride(g);
	float	   *local = global + LANES * g->Wp;
	float	   *gate = local + LANES * g->Wp;
	int64_t		work = 0;

	for (int i = 0; i < s->rows; i += LANES)
	{
		const int	n = s->rows - i < LANES ? s->rows - i : LANES;
		const int	from = block_from(g, s, i, n);
		vf			divergences[LANES];
		float		sums[LANES];

		for (int r = 0; r < LANES; r++)
			divergences[r] = splat(0.0f);
		block_gates(g, s, i, n, gate);
		for (int h = 0; h < g->H; h++)
		{
			float		inv_g[LANES];
			float		inv_a[LANES];

			block_products(g, s, i, n, from, s->proj + (size_t) i * g->P + g->q_col + h * g->d,
						   g->P, s->kt, h, products);
			block_weights(g, s, i, n, h, from, products, global, local, NULL, inv_g, inv_a);
			for (int r = 0; r < n; r++)
				divergences[r] += band_mix(from, g->Wp, gate[r * g->H + h], inv_g[r], inv_a[r],
										   global + r * g->Wp, local + r * g->Wp);
			band_sums(n, false, band_first(g, s, i + n - 1), g->Wp, global, NULL, g->Wp,
					  band_rows(g, s, s->v, i, h), g->dp, g->d,
					  z + (size_t) i * g->D + h * g->d, NULL, g->D);
			rest(g, s, n, &work);
		}
		store(sums, vsums(divergences) * splat(0.5f / g->H));
		memcpy(js + i, sums, sizeof(float) * n);
	}
}

/* ---- training, forward ------------------------------------------------------------------------ */

static void
attend_forward(const nn_geometry *g, const nn_segment *s, const nn_bands *bands, float *scratch,
			   float *z)
{
	int64_t		work = 0;

	for (int i = 0; i < s->rows; i += LANES)
	{
		const int	n = s->rows - i < LANES ? s->rows - i : LANES;
		const int	from = block_from(g, s, i, n);
		float	   *gate = bands->gate + (size_t) i * g->H;

		block_gates(g, s, i, n, gate);
		for (int h = 0; h < g->H; h++)
		{
			const size_t band = ((size_t) h * s->rows + i) * g->Wp;
			const size_t at = (size_t) i * g->D + h * g->d;
			float	   *global = bands->G + band;
			float	   *local = bands->A + band;
			float		inv_g[LANES];
			float		inv_a[LANES];

			block_products(g, s, i, n, from, s->proj + (size_t) i * g->P + g->q_col + h * g->d,
						   g->P, s->kt, h, scratch);
			block_weights(g, s, i, n, h, from, scratch, global, local, bands->S + band,
						  inv_g, inv_a);
			for (int r = 0; r < n; r++)
				for (int w = from; w < g->Wp; w += LANES)
				{
					float	   *place = global + r * g->Wp + w;

					store(place, load(place) * splat(inv_g[r]));
					place = local + r * g->Wp + w;
					store(place, load(place) * splat(inv_a[r]));
				}
			band_sums(n, true, band_first(g, s, i + n - 1), g->Wp, global, local, g->Wp,
					  band_rows(g, s, s->v, i, h), g->dp, g->d,
					  bands->zg + at, bands->za + at, g->D);
			for (int r = 0; r < n; r++)
				for (int c = 0; c < g->d; c += LANES)
				{
					const size_t to = at + r * g->D + c;

					store_left(z + to, g->d - c,
							   splat(gate[r * g->H + h]) * load_left(bands->zg + to, g->d - c) +
							   splat(1.0f - gate[r * g->H + h]) *
							   load_left(bands->za + to, g->d - c));
				}
			rest(g, s, 2 * n, &work);
		}
	}
}

/* ---- training, backward ------------------------------------------------------------------------- */

/*
 * dA and dG of a row: what its products with the values say, and the gradients of
 * the discrepancy's two phases: ∂JS/∂A = ½·(log((A+ε)/(m+ε)) + A/(A+ε) - m/(m+ε)),
 * and the same for G; the min phase descends in A, the max phase ascends in G.
 * With x as in divergence() the last two terms are ε/(m+ε) · x/(1+x).  Returns JS.
 */
INLINE float
band_divergence_backward(int first, int from, int to, const float *global, const float *local,
						 float weight, const float *zg, const float *za, float *dglobal,
						 float *dlocal)
{
	vf			sum = splat(0.0f);
	vf			half = splat(0.5f * weight);

	for (int w = from; w < to; w += LANES)
	{
		vf			a = load(local + w);
		vf			g = load(global + w);
		vf			inv = splat(1.0f) / (a + g + splat(2 * JS_EPSILON));
		vf			x = (a - g) * inv;
		vf			plus = splat(1.0f) + x;
		vf			minus = splat(1.0f) - x;
		vf			share = splat(2 * JS_EPSILON) * inv * x / (plus * minus);
		vf			la = vlog(plus);
		vf			lg = vlog(minus);
		vf			da = half * (la + share * minus);
		vf			dg = half * (lg - share * plus);

		sum += a * la + g * lg;
		da = load(za + w) + da;
		dg = load(zg + w) - dg;
		/* products of places that the row does not see may be anything */
		if (w < first)
		{
			da = from_lane(first - w, da);
			dg = from_lane(first - w, dg);
		}
		store(dlocal + w, da);
		store(dglobal + w, dg);
	}
	return 0.5f * vsum(sum);
}

/* The same for a row without a discrepancy loss. */
INLINE void
band_products_backward(int first, int from, int to, const float *zg, const float *za,
					   float *dglobal, float *dlocal)
{
	for (int w = from; w < to; w += LANES)
	{
		store(dlocal + w, w < first ? from_lane(first - w, load(za + w)) : load(za + w));
		store(dglobal + w, w < first ? from_lane(first - w, load(zg + w)) : load(zg + w));
	}
}

/*
 * Gradients of the products Q·K (scale · product: the score), into sigma's place, and of the mask's coefficients:
 * da = dM·φᵀ, of which the waves' part is summed over their periods first.
 */
INLINE void
band_softmax_backward(int from, int to, float scale, const float *global, const float *local, 
					  float *sigma, const float *dglobal, const float *dlocal, const float *phi,
					  float *da)
{
	vf			sum_g = splat(0.0f);
	vf			sum_a = splat(0.0f);
	vf			wave[WAVES];
	vf			bell[NN_BELLS];
	vf			total = splat(0.0f);

	for (int w = from; w < to; w += LANES)
	{
		sum_g += load(global + w) * load(dglobal + w);
		sum_a += load(local + w) * load(dlocal + w);
	}
	sum_g = splat(vsum(sum_g));
	sum_a = splat(vsum(sum_a));
#pragma GCC unroll 2
	for (int v = 0; v < WAVES; v++)
		wave[v] = splat(0.0f);
#pragma GCC unroll 3
	for (int k = 0; k < NN_BELLS; k++)
		bell[k] = splat(0.0f);
	for (int w = from; w < to; w += LANES)
	{
		vf			dl = load(local + w) * (load(dlocal + w) - sum_a);
		vf			dg = load(global + w) * (load(dglobal + w) - sum_g);
		vf			dm = dl * (splat(1.0f) - load(sigma + w));

		store(sigma + w, (dl + dg) * splat(scale));
		if (WAVES == 1 || w / LANES % WAVES == 0)
			wave[0] += dm;
		else
			wave[WAVES - 1] += dm;
		if (to - w <= NN_NEAR)
#pragma GCC unroll 3
			for (int k = 0; k < NN_BELLS; k++)
				bell[k] += dm * load(phi + (1 + k) * NN_NEAR + NN_NEAR - to + w);
	}
#pragma GCC unroll 2
	for (int v = 0; v < WAVES; v++)
		total += wave[v];
	da[0] = vsum(total);
#pragma GCC unroll 3
	for (int k = 0; k < NN_BELLS; k++)
		da[1 + k] = vsum(bell[k]);
#pragma GCC unroll 4
	for (int k = 1 + NN_BELLS; k < NN_BASIS; k++)
	{
		total = splat(0.0f);
#pragma GCC unroll 2
		for (int v = 0; v < WAVES; v++)
			total += wave[v] * load(phi + k * NN_NEAR + v * LANES);
		da[k] = vsum(total);
	}
}

/*
 * Gradients of G·V and A·V of the row and head at `at`; returns that of the gate.
 */
INLINE float
mixture_backward(const nn_geometry *g, const nn_bands *bands, const nn_band_grads *grads,
				 size_t at, float gate, float *dzg, float *dza)
{
	vf			sum = splat(0.0f);

	for (int c = 0; c < g->d; c += LANES)
	{
		int			left = g->d - c;
		vf			dz = load_left(grads->dz + at + c, left);

		store(dzg + c, splat(gate) * dz + load_left(grads->dzg_extra + at + c, left));
		store(dza + c, splat(1.0f - gate) * dz + load_left(grads->dza_extra + at + c, left));
		sum += dz * (load_left(bands->zg + at + c, left) - load_left(bands->za + at + c, left));
	}
	return vsum(sum);
}

/* n rows of a head: everything but the gradients of keys and values. */
INLINE void
attend_backward_rows(const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
					 const nn_band_grads *grads, int i, int n, int h)
{
	const int	from = block_from(g, s, i, n);
	const size_t row = (size_t) h * s->rows + i;
	float	   *dzg = grads->dzg + row * g->dp;
	float	   *dza = grads->dza + row * g->dp;
	float	   *zg = grads->scratch;
	float	   *za = zg + LANES * block_stride(g);
	float	   *dglobal = za + LANES * block_stride(g);
	float	   *dlocal = dglobal + g->Wp;
	float	   *dproj = grads->dproj + (size_t) i * g->P;
	const float scale = 1.0f / sqrtf((float) g->d);

	for (int r = 0; r < n; r++)
	{
		float		gate = bands->gate[(size_t) (i + r) * g->H + h];
		float		dgate = mixture_backward(g, bands, grads, (size_t) (i + r) * g->D + h * g->d,
											 gate, dzg + r * g->dp, dza + r * g->dp);

		dproj[r * g->P + g->g_col + h] = dgate * gate * (1.0f - gate);
	}
	block_products(g, s, i, n, from, dzg, g->dp, grads->vt, h, zg);
	block_products(g, s, i, n, from, dza, g->dp, grads->vt, h, za);
	for (int r = 0; r < n; r++)
	{
		const size_t band = (row + r) * g->Wp;
		const int	first = band_first(g, s, i + r);

		if (i + r >= grads->skip)
			*grads->js += band_divergence_backward(first, from, g->Wp, bands->G + band,
												   bands->A + band, grads->weight,
												   band_of(g, zg, r), band_of(g, za, r),
												   dglobal, dlocal);
		else
			band_products_backward(first, from, g->Wp, band_of(g, zg, r), band_of(g, za, r),
								   dglobal, dlocal);
		band_softmax_backward(from, g->Wp, scale, bands->G + band, bands->A + band, bands->S + band,
							  dglobal, dlocal, s->phi, dproj + r * g->P + g->a_col + h * NN_BASIS);
	}
	band_sums(n, false, band_first(g, s, i + n - 1), g->Wp, bands->S + row * g->Wp, NULL, g->Wp,
			  band_rows(g, s, grads->k, i, h), g->dp, g->d, dproj + g->q_col + h * g->d, NULL,
			  g->P);
}

/* One vector, at column c, of the gradients of `keys` keys and values from row j on. */
INLINE void
attend_backward_keys(int keys, const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
					 const nn_band_grads *grads, int j, int h, int c)
{
	/* row j + n sees key j + m at place Wp - 1 - n + m */
	const size_t row = (size_t) h * s->rows + j;
	const float *ds = bands->S + (row + 1) * g->Wp - 1;
	const float *global = bands->G + (row + 1) * g->Wp - 1;
	const float *local = bands->A + (row + 1) * g->Wp - 1;
	const float *q = s->proj + (size_t) j * g->P + g->q_col + h * g->d + c;
	const float *dzg = grads->dzg + row * g->dp + c;
	const float *dza = grads->dza + row * g->dp + c;
	float	   *dproj = grads->dproj + (size_t) j * g->P + h * g->d + c;
	const size_t next = g->Wp - 1;
	const int	rows = s->rows - j;
	const int	whole = rows < g->W ? rows : g->W;
	int			n = 0;
	vf			dk[GROUP];
	vf			dv[GROUP];

#define ADD_KEY(m) \
	do { \
		dk[m] += splat(ds[n * next + (m)]) * load(q + (size_t) n * g->P); \
		dv[m] += splat(global[n * next + (m)]) * load(dzg + n * g->dp); \
		dv[m] += splat(local[n * next + (m)]) * load(dza + n * g->dp); \
	} while (0)

#pragma GCC unroll 8
	for (int m = 0; m < keys; m++)
		dk[m] = dv[m] = splat(0.0f);
	/* the first rows see the first keys only … */
#pragma GCC unroll 8
	for (int last = 0; last < keys - 1; last++, n++)
#pragma GCC unroll 8
		for (int m = 0; m <= last; m++)
			ADD_KEY(m);
	for (; n < whole; n++)
#pragma GCC unroll 8
		for (int m = 0; m < keys; m++)
			ADD_KEY(m);
	/* … and the last rows the last */
#pragma GCC unroll 8
	for (int first = 1; first < keys; first++, n++)
	{
		if (n >= rows)
			break;
#pragma GCC unroll 8
		for (int m = first; m < keys; m++)
			ADD_KEY(m);
	}
#undef ADD_KEY
#pragma GCC unroll 8
	for (int m = 0; m < keys; m++)
	{
		store_left(dproj + m * g->P + g->k_col, g->d - c, dk[m]);
		store_left(dproj + m * g->P + g->v_col, g->d - c, dv[m]);
	}
}

static void
attend_backward(const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
				const nn_band_grads *grads)
{
	int64_t		work = 0;

	for (int h = 0; h < g->H; h++)
	{
		int			j = 0;

		for (int i = 0; i < s->rows; i += LANES)
		{
			int			n = s->rows - i < LANES ? s->rows - i : LANES;

			attend_backward_rows(g, s, bands, grads, i, n, h);
			rest(g, s, 4 * n, &work);
		}
		if (g->W >= GROUP)
			for (; j + GROUP <= s->rows; j += GROUP)
			{
				for (int c = 0; c < g->d; c += LANES)
					attend_backward_keys(GROUP, g, s, bands, grads, j, h, c);
				rest(g, s, 3 * GROUP, &work);
			}
		for (; j < s->rows; j++)
		{
			for (int c = 0; c < g->d; c += LANES)
				attend_backward_keys(1, g, s, bands, grads, j, h, c);
			rest(g, s, 3, &work);
		}
	}
}
