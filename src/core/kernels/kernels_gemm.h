/*
 * core/kernels/kernels_gemm.h
 *	  Matrix products; part of kernels_impl.h.
 *
 * A tile of the result stays in registers while the whole inner dimension passes;
 * operands are too small to need any other blocking.  Each element is one chain of
 * multiply-adds, from the first inner index to the last, in any tile.
 */

#ifdef NN_AVX512
#define TILE_ROWS 12			/* · 2 vectors: 24 of 32 registers */
#else
#define TILE_ROWS 6				/* · 2 vectors: 12 of 16 registers */
#endif
#define TILE_VECTORS 2
#define TILE_COLUMNS (TILE_VECTORS * LANES)
#define ROW_VECTORS 8			/* vectors of a tile with a single row */

/* Distances in floats: what transposition and packing change. */
typedef struct strides
{
	size_t		a_row,			/* of a, from row to row … */
		a_k;					/* … and from inner index to inner index */
	size_t		b_k,			/* of b, from inner index to inner index … */
		b_vector,				/* … to a tile's second vector … */
		b_tile;					/* … and to the next TILE_COLUMNS */
} strides;

/* Vector j of a row of b that begins at b. */
INLINE vf
product_b(const strides *s, const float *b, int j, int columns)
{
	b += j / TILE_VECTORS * s->b_tile + j % TILE_VECTORS * s->b_vector;
	return columns < LANES ? load_part(b, columns) : load(b);
}

/*
 * Computes `rows` rows and `vectors` vectors of the result from row r and column c on.
 * If `part` is set, the last vector has only `last` columns.
 */
INLINE void
product_tile(int rows, int vectors, bool part, int last, const nn_product *p, const strides *s,
			 int r, int c)
{
	const float *a = p->a + (size_t) r * s->a_row;
	const float *b = p->b + (size_t) (c / TILE_COLUMNS) * s->b_tile;
	const size_t a_row = s->a_row;
	vf			acc[TILE_ROWS][ROW_VECTORS];

#define COLUMNS(j) (part && (j) == vectors - 1 ? last : LANES)
#pragma GCC unroll 8
	for (int j = 0; j < vectors; j++)
	{
		vf			first = splat(0.0f);

		if (p->bias)
			first = COLUMNS(j) < LANES ? load_part(p->bias + c + j * LANES, last)
									   : load(p->bias + c + j * LANES);
#pragma GCC unroll 12
		for (int i = 0; i < rows; i++)
			acc[i][j] = first;
	}
	for (int k = 0; k < p->k; k++, a += s->a_k, b += s->b_k)
	{
		vf			bk[ROW_VECTORS];

#pragma GCC unroll 8
		for (int j = 0; j < vectors; j++)
			bk[j] = product_b(s, b, j, COLUMNS(j));
#pragma GCC unroll 12
		for (int i = 0; i < rows; i++)
		{
			vf			ai = splat(a[i * a_row]);

#pragma GCC unroll 8
			for (int j = 0; j < vectors; j++)
				acc[i][j] += ai * bk[j];
		}
	}
#pragma GCC unroll 12
	for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
		for (int j = 0; j < vectors; j++)
		{
			size_t		at = (size_t) (r + i) * p->ldy + c + j * LANES;

			if (COLUMNS(j) < LANES)
				store_part(p->y + at, last,
						   p->plus ? acc[i][j] + load_part(p->plus + at, last) : acc[i][j]);
			else
				store(p->y + at, p->plus ? acc[i][j] + load(p->plus + at) : acc[i][j]);
		}
#undef COLUMNS
}

/* Computes all rows of up to TILE_COLUMNS columns. */
INLINE void
product_columns(int vectors, bool part, int last, const nn_product *p, const strides *s, int c)
{
	int			r = 0;

	for (; r + TILE_ROWS <= p->rows; r += TILE_ROWS)
		product_tile(TILE_ROWS, vectors, part, last, p, s, r, c);
	for (; r + 4 <= p->rows; r += 4)
		product_tile(4, vectors, part, last, p, s, r, c);
	for (; r < p->rows; r++)
		product_tile(1, vectors, part, last, p, s, r, c);
}

/* Inlined, so that each kind of product has code for its own strides. */
INLINE void
multiply(const nn_product *p, const strides *s)
{
	int			c = 0;
	int			last;

	/* a single row has few chains of additions: more columns hide their latency */
	if (p->rows == 1)
		for (; c + ROW_VECTORS * LANES <= p->n; c += ROW_VECTORS * LANES)
			product_tile(1, ROW_VECTORS, false, LANES, p, s, 0, c);
	for (; c + TILE_COLUMNS <= p->n; c += TILE_COLUMNS)
		product_columns(2, false, LANES, p, s, c);
	last = p->n - c;
	if (last > LANES)
		product_columns(2, true, last - LANES, p, s, c);
	else if (last == LANES)
		product_columns(1, false, LANES, p, s, c);
	else if (last > 0)
		product_columns(1, true, last, p, s, c);
}

static void
gemm(const nn_product *p)
{
	multiply(p,
			 &(strides){
				 .a_row = p->lda,
				 .a_k = 1,
				 .b_k = NN_PANEL,
				 .b_vector = LANES < NN_PANEL ? LANES : (size_t) NN_PANEL * p->k,
				 .b_tile = (size_t) TILE_COLUMNS * p->k,
			 });
}

static void
gemm_nn(const nn_product *p)
{
	multiply(p,
			 &(strides){
				 .a_row = p->lda,
				 .a_k = 1,
				 .b_k = p->ldb,
				 .b_vector = LANES,
				 .b_tile = TILE_COLUMNS,
			 });
}

static void
gemm_tn(const nn_product *p)
{
	multiply(p,
			 &(strides){
				 .a_row = 1,
				 .a_k = p->lda,
				 .b_k = p->ldb,
				 .b_vector = LANES,
				 .b_tile = TILE_COLUMNS,
			 });
}

/* ---- order in memory ----------------------------------------------------------------- */

#ifdef NN_AVX512
/* y (16, 16) = xᵀ */
INLINE void
transpose_tile(const float *x, size_t ldx, float *y, size_t ldy)
{
	__m512		a[16];
	__m512		b[16];

	/* pairs of rows, lane by lane */
#pragma GCC unroll 8
	for (int i = 0; i < 16; i += 2)
	{
		__m512		x0 = _mm512_loadu_ps(x + i * ldx);
		__m512		x1 = _mm512_loadu_ps(x + (i + 1) * ldx);

		a[i] = _mm512_unpacklo_ps(x0, x1);
		a[i + 1] = _mm512_unpackhi_ps(x0, x1);
	}
	/* four rows: columns 4q + j in quarter q of b[4i + j] */
#pragma GCC unroll 4
	for (int i = 0; i < 16; i += 4)
#pragma GCC unroll 2
		for (int j = 0; j < 2; j++)
		{
			__m512d		low = _mm512_castps_pd(a[i + j]);
			__m512d		high = _mm512_castps_pd(a[i + 2 + j]);

			b[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
			b[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
		}
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++)
	{
		__m512		even = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x88);
		__m512		odd = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xdd);
		__m512		even2 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x88);
		__m512		odd2 = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xdd);

		_mm512_storeu_ps(y + j * ldy, _mm512_shuffle_f32x4(even, even2, 0x88));
		_mm512_storeu_ps(y + (4 + j) * ldy, _mm512_shuffle_f32x4(odd, odd2, 0x88));
		_mm512_storeu_ps(y + (8 + j) * ldy, _mm512_shuffle_f32x4(even, even2, 0xdd));
		_mm512_storeu_ps(y + (12 + j) * ldy, _mm512_shuffle_f32x4(odd, odd2, 0xdd));
	}
}
#endif

/* Does the part of y = xᵀ from row r and column c of x on. */
INLINE void
transpose_rest(int rows, int n, const float *x, size_t ldx, float *y, size_t ldy, int r, int c)
{
	for (int i = c; i < n; i++)
		for (int j = r; j < rows; j++)
			y[i * ldy + j] = x[j * ldx + i];
}

static void
transpose(int rows, int n, const float *x, size_t ldx, float *y, size_t ldy)
{
	int			r = 0;

#ifdef NN_AVX512
	for (; r + 16 <= rows; r += 16)
	{
		int			c = 0;

		for (; c + 16 <= n; c += 16)
			transpose_tile(x + r * ldx + c, ldx, y + c * ldy + r, ldy);
		transpose_rest(r + 16, n, x, ldx, y, ldy, r, c);
	}
#endif
	transpose_rest(rows, n, x, ldx, y, ldy, r, 0);
}

static void
pack(int n, int k, const float *w, size_t ldw, float *packed)
{
	for (int o = 0; o < n; o += NN_PANEL, w += NN_PANEL * ldw, packed += (size_t) NN_PANEL * k)
	{
		if (n - o < NN_PANEL)
			memset(packed, 0, sizeof(float) * NN_PANEL * k);
		transpose(n - o < NN_PANEL ? n - o : NN_PANEL, k, w, ldw, packed, NN_PANEL);
	}
}
