/*
 * core/kernels/kernels_attend.h
 *	  AutoMask attention (docs/model.md, Block), forward and backward; part of
 *	  kernels_impl.h.
 *
 * Rows pass in blocks of LANES, head by head.  The products of a block with keys or
 * values are one matrix product over the columns that any of its rows sees.  Each row
 * then reads its band out of the result, so that the order of all operations along a
 * band does not depend on the row's position in its block.
 */

#define JS_EPSILON 1e-4f		/* in the logarithms (docs/model.md, Losses) */
#define TINY_SUM 1e-20f			/* a smaller sum of weights has lost digits */
#define HUGE_SUM 1e30f			/* a larger one might overflow */
#define POLL_WORK 16777216		/* multiplications between polls: a few milliseconds */

#ifdef NN_AVX512
#define GROUP 8					/* rows (or keys) whose sums over a band run side by side */
#else
#define GROUP 4
#endif

#define WAVES (NN_WAVE / LANES) /* vectors of a period */

/* A block of rows, and the head at work. */
typedef struct row_block
{
	const nn_geometry *g;
	const nn_segment *s;
	int			i;				/* first row */
	int			n;				/* rows, 1 … LANES */
	int			from;			/* first place of any row's band, a multiple of LANES */
	int			h;				/* head */
	float		scale;			/* of S = scale · Q·K */
} row_block;

/* First valid place of row i's band. */
INLINE int
band_first(const nn_geometry *g, const nn_segment *s, int i)
{
	int			pad = g->Wp - g->W;
	int			missing = g->Wp - 1 - i - s->history;

	return missing > pad ? missing : pad;
}

/* The block that begins with row i. */
INLINE row_block
open_row_block(const nn_geometry *g, const nn_segment *s, int i, int h)
{
	const int	n = s->rows - i < LANES ? s->rows - i : LANES;

	return (row_block){
		.g = g,
		.s = s,
		.i = i,
		.n = n,
		.from = band_first(g, s, i + n - 1) / LANES * LANES,
		.h = h,
		.scale = 1.0f / sqrtf((float) g->d),
	};
}

/* Floats from row to row of a block's products. */
INLINE size_t
block_stride(const nn_geometry *g)
{
	return g->Wp + LANES;
}

/*
 * Products of a block's rows of x with the columns that they see of y (H·d, ldk).
 * Row r's band begins at out + r·block_stride() + r + 1.
 */
INLINE void
block_products(const row_block *b, const float *x, size_t ldx, const float *y, float *out)
{
	const nn_geometry *g = b->g;
	const size_t ldk = b->s->ldk;

	gemm_nn(&(nn_product){
		.rows = b->n,
		.n = g->Wp + LANES - b->from,
		.k = g->d,
		.a = x,
		.lda = ldx,
		.b = y + (size_t) b->h * g->d * ldk + b->i + b->from,
		.ldb = ldk,
		.y = out + b->from,
		.ldy = block_stride(g),
	});
}

/* Row r's band of a block's products. */
INLINE const float *
band_of(const nn_geometry *g, const float *products, int r)
{
	return products + r * block_stride(g) + r + 1;
}

/* Adds the work of some rows or keys, and polls when it exceeds POLL_WORK. */
INLINE void
count_work(const nn_geometry *g, const nn_segment *s, int rows, int64_t *work)
{
	*work += (int64_t) rows * g->Wp * (g->d + 32);
	if (*work > POLL_WORK)
	{
		*work = 0;
		nn_rest(s->poll);
	}
}

/* The gates of a block's rows: (n, H). */
INLINE void
block_gates(const row_block *b, float *gate)
{
	const nn_geometry *g = b->g;

	for (int r = 0; r < b->n; r++, gate += g->H)
	{
		const float *x = b->s->proj + (size_t) (b->i + r) * g->P + g->g_col;

		for (int h = 0; h < g->H; h += LANES)
			store_left(gate + h, g->H - h,
					   splat(1.0f) / (splat(1.0f) + vexp(-load_left(x + h, g->H - h))));
	}
}

/* ---- the mask ------------------------------------------------------------------------- */

/*
 * M of a row and head.  Its constant and its cosines repeat after NN_WAVE places, so
 * they are summed once; its bells are 0 in single precision beyond NN_NEAR places.
 */
typedef struct mask
{
	vf			wave[WAVES];
	vf			bell[NN_BELLS];
} mask;

INLINE mask
open_mask(const float *a, const float *phi)
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

/* The vector at place w of a band of `to` places; near: within NN_NEAR of the row. */
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

/* The place, at least `from`, where the bells begin. */
INLINE int
near_from(int from, int to)
{
	return to - NN_NEAR > from ? to - NN_NEAR : from;
}

/* ---- the associations ------------------------------------------------------------------ */

/* What a row's associations in a head are made of, and where they go. */
typedef struct band
{
	int			first;			/* first valid place */
	int			from,			/* places that are computed: from … to - 1 */
		to;
	float		scale;			/* of S = scale · score */
	const float *score;			/* products Q·K */
	const float *a;				/* (NN_BASIS) coefficients of the mask */
	const float *phi;			/* (NN_BASIS, NN_NEAR) */
	float	   *global;			/* out: not yet divided by its sum */
	float	   *local;			/* out: the same */
	float	   *sigma;			/* out: σ(M), or NULL */
} band;

/* x ← exp(x - max) over a band's valid places, 0 before them; returns the sum. */
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
 * band_weights() for when exponentials over- or underflow: softmax(S) and
 * softmax(S + log σ(M)), each with its maximum subtracted first.
 */
static		__attribute__((noinline)) void
band_weights_careful(const band *b, float *sums)
{
	const mask	m = open_mask(b->a, b->phi);

	for (int w = b->from; w < b->to; w += LANES)
	{
		vf			s = load(b->score + w) * splat(b->scale);
		vf			x = mask_at(&m, b->phi, w, b->to, b->to - w <= NN_NEAR);
		vf			softplus = vlog(splat(1.0f) + vexp(-vabs(x)));

		store(b->global + w, s);
		store(b->local + w, s + vmin(x, splat(0.0f)) - softplus);
	}
	sums[0] = band_exp(b->first, b->from, b->to, b->global);
	sums[1] = band_exp(b->first, b->from, b->to, b->local);
}

/* band_weights() of the places from … to - 1, all near or all far; adds to sums. */
INLINE void
band_weights_span(bool near, int from, int to, const band *b, const mask *m, vf sums[2])
{
	for (int w = from; w < to; w += LANES)
	{
		vf			e = vexp2(load(b->score + w) * splat(b->scale * LOG2_E));
		vf			x = splat(1.0f) + vexp2(mask_at(m, b->phi, w, b->to, near) * splat(-LOG2_E));
		vf			l;

		if (w < b->first)
			e = from_lane(b->first - w, e);
		if (b->sigma)
		{
			x = splat(1.0f) / x;
			store(b->sigma + w, x);
			l = e * x;
		}
		else
			l = e / x;
		sums[0] += e;
		sums[1] += l;
		store(b->global + w, e);
		store(b->local + w, l);
	}
}

/*
 * Both associations of a row and head, and the parts of their sums in each lane.
 * softmax(S + log σ(M)) is proportional to e^S·σ(M), so no logarithm is needed.  The
 * maximum is not subtracted first, unless that turns out to be necessary: a single
 * pass does not have to wait for a reduction.
 */
INLINE void
band_weights(const band *b, vf *global_sum, vf *local_sum)
{
	const mask	m = open_mask(b->a, b->phi);
	const int	near = near_from(b->from, b->to);
	vf			sums[2] = {splat(0.0f), splat(0.0f)};

	band_weights_span(false, b->from, near, b, &m, sums);
	band_weights_span(true, near, b->to, b, &m, sums);
	*global_sum = sums[0];
	*local_sum = sums[1];
}

/* Associations of a block's rows in a head. */
typedef struct block_bands
{
	float	   *global;			/* (n, Wp) not yet divided by its rows' sums */
	float	   *local;			/* (n, Wp) the same */
	float	   *sigma;			/* (n, Wp) σ(M), or NULL */
} block_bands;

INLINE band
block_band(const row_block *b, const float *products, const block_bands *out, int r)
{
	const nn_geometry *g = b->g;

	return (band){
		.first = band_first(g, b->s, b->i + r),
		.from = b->from,
		.to = g->Wp,
		.scale = b->scale,
		.score = band_of(g, products, r),
		.a = b->s->proj + (size_t) (b->i + r) * g->P + g->a_col + b->h * NN_BASIS,
		.phi = b->s->phi,
		.global = out->global + r * g->Wp,
		.local = out->local + r * g->Wp,
		.sigma = out->sigma ? out->sigma + r * g->Wp : NULL,
	};
}

/* Computes the associations of a block from its products Q·K, and their sums' inverses (n). */
INLINE void
block_weights(const row_block *b, const float *products, const block_bands *out, float *inv_g,
			  float *inv_a)
{
	vf			parts_g[LANES];
	vf			parts_a[LANES];
	vf			sums_g;
	vf			sums_a;

	for (int r = 0; r < b->n; r++)
	{
		const band	row = block_band(b, products, out, r);

		band_weights(&row, &parts_g[r], &parts_a[r]);
	}
	for (int r = b->n; r < LANES; r++)
		parts_g[r] = parts_a[r] = splat(1.0f);
	sums_g = vsums(parts_g);
	sums_a = vsums(parts_a);
	/* written so that NaN takes these branches */
	if (vany(~((sums_g > splat(TINY_SUM)) & (sums_g < splat(HUGE_SUM)) &
			   (sums_a > splat(TINY_SUM)))))
		for (int r = 0; r < b->n; r++)
			if (!(sums_g[r] > TINY_SUM && sums_g[r] < HUGE_SUM && sums_a[r] > TINY_SUM))
			{
				const band	row = block_band(b, products, out, r);
				float		sums[2];

				band_weights_careful(&row, sums);
				sums_g[r] = sums[0];
				sums_a[r] = sums[1];
			}
	store(inv_g, splat(1.0f) / sums_g);
	store(inv_a, splat(1.0f) / sums_a);
}

/* ---- sums over a band ------------------------------------------------------------------ */

/*
 * out = Σ_w p[w]·v[w] over places first … to - 1 of a row's band, for a block of rows
 * whose bands of v begin one row of v after each other.
 */
typedef struct band_sum
{
	int			first,			/* places before `first` have no weight in any row */
		to;
	const float *p;				/* weights of the first row, and … */
	const float *p2;			/* … a second set of them, for out2 */
	size_t		ldp;			/* floats from row to row of p and p2 */
	const float *v;				/* the row of v at place 0 of the first row */
	size_t		ldv;			/* floats from row to row of v */
	int			d;				/* columns of v */
	float	   *out;			/* (rows, d) */
	float	   *out2;			/* (rows, d) */
	size_t		ldo;			/* floats from row to row of out and out2 */
} band_sum;

/*
 * One vector, at column c, of `rows` rows of a sum from row i on.  Place w of row r
 * is at row w + r of v.  A band has at least `rows` places.
 */
INLINE void
band_sums_tile(int rows, bool two, const band_sum *b, int i, int c, vf *sum, vf *sum2)
{
	/* place j of row 0 is place j - r of row r */
	const size_t next = b->ldp - 1;
	const float *p = b->p + i * b->ldp;
	const float *p2 = two ? b->p2 + i * b->ldp : NULL;
	const float *v = b->v + i * b->ldv + c;
	const size_t ldv = b->ldv;

#define ADD_ROW(r) \
	do \
	{ \
		sum[r] += splat(p[(r) *next + j]) * x; \
		if (two) \
			sum2[r] += splat(p2[(r) *next + j]) * x; \
	} while (0)

	int			j = b->first;

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
	for (; j < b->to; j++)
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

/* Computes GROUP rows, or one, of a sum from row i on. */
INLINE void
band_sums_group(int rows, bool two, const band_sum *b, int i)
{
	for (int c = 0; c < b->d; c += LANES)
	{
		vf			sum[GROUP];
		vf			sum2[GROUP];

		band_sums_tile(rows, two, b, i, c, sum, sum2);
#pragma GCC unroll 8
		for (int r = 0; r < rows; r++)
		{
			store_left(b->out + (i + r) * b->ldo + c, b->d - c, sum[r]);
			if (two)
				store_left(b->out2 + (i + r) * b->ldo + c, b->d - c, sum2[r]);
		}
	}
}

/* Computes n rows of a sum; two: with p2 and out2. */
INLINE void
band_sums(int n, bool two, const band_sum *b)
{
	int			i = 0;

	if (b->to - b->first >= GROUP)
		for (; i + GROUP <= n; i += GROUP)
			band_sums_group(GROUP, two, b, i);
	for (; i < n; i++)
		band_sums_group(1, two, b, i);
}

/* The row of v or k (H, …, dp) at place 0 of a block's first row. */
INLINE const float *
band_rows(const row_block *b, const float *v)
{
	return v + b->h * b->s->ldv + (size_t) (b->i + 1) * b->g->dp;
}

/* ---- inference ------------------------------------------------------------------------- */

/*
 * Twice JS(A, G), lane by lane.  With x = (A - G) / (A + G + 2ε) the ratios
 * (A + ε)/(m + ε) and (G + ε)/(m + ε) are 1 + x and 1 - x: two logarithms and one
 * division, and large logarithms do not cancel.  A and G are swapped if necessary to
 * make x non-negative, because then the first logarithm is the cheaper vlog1p().
 */
INLINE vf
divergence(vf global, vf local)
{
	vf			x = vabs(local - global) / (local + global + splat(2 * JS_EPSILON));

	return vmax(local, global) * vlog1p(x) + vmin(local, global) * vlog(splat(1.0f) - x);
}

/* Leaves the mixture of the associations in global; returns twice JS(A, G), lane by lane. */
INLINE vf
band_mix(int from, int to, float gate, float inv_g, float inv_a, float *global, const float *local)
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
		row_block	b = open_row_block(g, s, i, 0);
		vf			divergences[LANES];
		float		sums[LANES];

		for (int r = 0; r < LANES; r++)
			divergences[r] = splat(0.0f);
		block_gates(&b, gate);
		for (b.h = 0; b.h < g->H; b.h++)
		{
			const block_bands bands = {global, local, NULL};
			float		inv_g[LANES];
			float		inv_a[LANES];

			block_products(&b, s->proj + (size_t) i * g->P + g->q_col + b.h * g->d, g->P, s->kt,
						   products);
			block_weights(&b, products, &bands, inv_g, inv_a);
			for (int r = 0; r < b.n; r++)
				divergences[r] += band_mix(b.from, g->Wp, gate[r * g->H + b.h], inv_g[r], inv_a[r],
										   global + r * g->Wp, local + r * g->Wp);
			band_sums(b.n, false,
					  &(band_sum){
						  .first = band_first(g, s, i + b.n - 1),
						  .to = g->Wp,
						  .p = global,
						  .ldp = g->Wp,
						  .v = band_rows(&b, s->v),
						  .ldv = g->dp,
						  .d = g->d,
						  .out = z + (size_t) i * g->D + b.h * g->d,
						  .ldo = g->D,
					  });
			count_work(g, s, b.n, &work);
		}
		store(sums, vsums(divergences) * splat(0.5f / g->H));
		memcpy(js + i, sums, sizeof(float) * b.n);
	}
}

/* ---- training, forward ----------------------------------------------------------------- */

static void
attend_forward(const nn_geometry *g, const nn_segment *s, const nn_bands *bands, float *scratch,
			   float *z)
{
	int64_t		work = 0;

	for (int i = 0; i < s->rows; i += LANES)
	{
		row_block	b = open_row_block(g, s, i, 0);
		float	   *gate = bands->gate + (size_t) i * g->H;

		block_gates(&b, gate);
		for (b.h = 0; b.h < g->H; b.h++)
		{
			const size_t first = ((size_t) b.h * s->rows + i) * g->Wp;
			const size_t at = (size_t) i * g->D + b.h * g->d;
			const block_bands out = {bands->G + first, bands->A + first, bands->S + first};
			float		inv_g[LANES];
			float		inv_a[LANES];

			block_products(&b, s->proj + (size_t) i * g->P + g->q_col + b.h * g->d, g->P, s->kt,
						   scratch);
			block_weights(&b, scratch, &out, inv_g, inv_a);
			for (int r = 0; r < b.n; r++)
				for (int w = b.from; w < g->Wp; w += LANES)
				{
					float	   *place = out.global + r * g->Wp + w;

					store(place, load(place) * splat(inv_g[r]));
					place = out.local + r * g->Wp + w;
					store(place, load(place) * splat(inv_a[r]));
				}
			band_sums(b.n, true,
					  &(band_sum){
						  .first = band_first(g, s, i + b.n - 1),
						  .to = g->Wp,
						  .p = out.global,
						  .p2 = out.local,
						  .ldp = g->Wp,
						  .v = band_rows(&b, s->v),
						  .ldv = g->dp,
						  .d = g->d,
						  .out = bands->zg + at,
						  .out2 = bands->za + at,
						  .ldo = g->D,
					  });
			for (int r = 0; r < b.n; r++)
				for (int c = 0; c < g->d; c += LANES)
				{
					const size_t to = at + r * g->D + c;

					store_left(z + to, g->d - c,
							   splat(gate[r * g->H + b.h]) * load_left(bands->zg + to, g->d - c) +
								   splat(1.0f - gate[r * g->H + b.h]) *
									   load_left(bands->za + to, g->d - c));
				}
			count_work(g, s, 2 * b.n, &work);
		}
	}
}

/* ---- training, backward ---------------------------------------------------------------- */

/* A row's associations in a head, and their gradients. */
typedef struct band_backward
{
	int			first;			/* first valid place */
	int			from,			/* places that are computed: from … to - 1 */
		to;
	const float *global;
	const float *local;
	float	   *sigma;			/* σ(M); then the gradient of the products Q·K */
	const float *zg;			/* products of the gradients of G·V and A·V with V */
	const float *za;
	float	   *dglobal;		/* (Wp) scratch */
	float	   *dlocal;			/* (Wp) scratch */
} band_backward;

/*
 * Sets dA and dG of a row: its products with the values, plus the gradients of the
 * two phases of the discrepancy, ∂JS/∂A = ½·(log((A+ε)/(m+ε)) + A/(A+ε) - m/(m+ε)) and
 * the same for G.  The minimising phase descends in A, the maximising one ascends in G.
 * With x as in divergence(), the last two terms are ε/(m+ε) · x/(1+x).  Returns JS.
 */
INLINE float
band_divergence_backward(const band_backward *b, float weight)
{
	vf			sum = splat(0.0f);
	vf			half = splat(0.5f * weight);

	for (int w = b->from; w < b->to; w += LANES)
	{
		vf			a = load(b->local + w);
		vf			g = load(b->global + w);
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
		da = load(b->za + w) + da;
		dg = load(b->zg + w) - dg;
		/* products at places the row does not see are undefined */
		if (w < b->first)
		{
			da = from_lane(b->first - w, da);
			dg = from_lane(b->first - w, dg);
		}
		store(b->dlocal + w, da);
		store(b->dglobal + w, dg);
	}
	return 0.5f * vsum(sum);
}

/* The same for a row without a discrepancy loss. */
INLINE void
band_products_backward(const band_backward *b)
{
	for (int w = b->from; w < b->to; w += LANES)
	{
		vf			da = load(b->za + w);
		vf			dg = load(b->zg + w);

		store(b->dlocal + w, w < b->first ? from_lane(b->first - w, da) : da);
		store(b->dglobal + w, w < b->first ? from_lane(b->first - w, dg) : dg);
	}
}

/*
 * From dA and dG: sets the gradients of the products Q·K, of which S is `scale` times,
 * and of the mask's coefficients: da = dM·φᵀ, its cosines summed over their periods
 * first.
 */
INLINE void
band_softmax_backward(const band_backward *b, float scale, const float *phi, float *da)
{
	const int	from = b->from;
	const int	to = b->to;
	vf			sum_g = splat(0.0f);
	vf			sum_a = splat(0.0f);
	vf			wave[WAVES];
	vf			bell[NN_BELLS];
	vf			total = splat(0.0f);

	for (int w = from; w < to; w += LANES)
	{
		sum_g += load(b->global + w) * load(b->dglobal + w);
		sum_a += load(b->local + w) * load(b->dlocal + w);
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
		vf			dl = load(b->local + w) * (load(b->dlocal + w) - sum_a);
		vf			dg = load(b->global + w) * (load(b->dglobal + w) - sum_g);
		vf			dm = dl * (splat(1.0f) - load(b->sigma + w));

		store(b->sigma + w, (dl + dg) * splat(scale));
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

/* Sets the gradients of G·V and A·V of the row and head at `at`; returns that of the gate. */
INLINE float
mixture_backward(const nn_geometry *g, const nn_bands *bands, const nn_band_grads *grads, size_t at,
				 float gate, float *dzg, float *dza)
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

/* Sets all gradients of a block, except those of keys and values. */
INLINE void
attend_backward_rows(const row_block *b, const nn_bands *bands, const nn_band_grads *grads)
{
	const nn_geometry *g = b->g;
	const int	i = b->i;
	const int	n = b->n;
	const int	h = b->h;
	const size_t row = (size_t) h * b->s->rows + i;
	float	   *dzg = grads->dzg + row * g->dp;
	float	   *dza = grads->dza + row * g->dp;
	float	   *zg = grads->scratch;
	float	   *za = zg + LANES * block_stride(g);
	float	   *dglobal = za + LANES * block_stride(g);
	float	   *dlocal = dglobal + g->Wp;
	float	   *dproj = grads->dproj + (size_t) i * g->P;

	for (int r = 0; r < n; r++)
	{
		float		gate = bands->gate[(size_t) (i + r) * g->H + h];
		float dgate = mixture_backward(g, bands, grads, (size_t) (i + r) * g->D + h * g->d, gate,
									   dzg + r * g->dp, dza + r * g->dp);

		dproj[r * g->P + g->g_col + h] = dgate * gate * (1.0f - gate);
	}
	block_products(b, dzg, g->dp, grads->vt, zg);
	block_products(b, dza, g->dp, grads->vt, za);
	for (int r = 0; r < n; r++)
	{
		const size_t at = (row + r) * g->Wp;
		const band_backward backward = {
			.first = band_first(g, b->s, i + r),
			.from = b->from,
			.to = g->Wp,
			.global = bands->G + at,
			.local = bands->A + at,
			.sigma = bands->S + at,
			.zg = band_of(g, zg, r),
			.za = band_of(g, za, r),
			.dglobal = dglobal,
			.dlocal = dlocal,
		};

		if (i + r >= grads->skip)
			*grads->js += band_divergence_backward(&backward, grads->weight);
		else
			band_products_backward(&backward);
		band_softmax_backward(&backward, b->scale, b->s->phi,
							  dproj + r * g->P + g->a_col + h * NN_BASIS);
	}
	band_sums(n, false,
			  &(band_sum){
				  .first = band_first(g, b->s, i + n - 1),
				  .to = g->Wp,
				  .p = bands->S + row * g->Wp,
				  .ldp = g->Wp,
				  .v = band_rows(b, grads->k),
				  .ldv = g->dp,
				  .d = g->d,
				  .out = dproj + g->q_col + h * g->d,
				  .ldo = g->P,
			  });
}

/* Sets a vector, at column c, of the gradients of `keys` keys and values from row j on. */
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
	do \
	{ \
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
			const row_block b = open_row_block(g, s, i, h);

			attend_backward_rows(&b, bands, grads);
			count_work(g, s, 4 * b.n, &work);
		}
		if (g->W >= GROUP)
			for (; j + GROUP <= s->rows; j += GROUP)
			{
				for (int c = 0; c < g->d; c += LANES)
					attend_backward_keys(GROUP, g, s, bands, grads, j, h, c);
				count_work(g, s, 3 * GROUP, &work);
			}
		for (; j < s->rows; j++)
		{
			for (int c = 0; c < g->d; c += LANES)
				attend_backward_keys(1, g, s, bands, grads, j, h, c);
			count_work(g, s, 3, &work);
		}
	}
}
