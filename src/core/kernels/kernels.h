/*
 * core/kernels/kernels.h
 *	  Inner loops of the network, one table of them per instruction set.
 *
 * nn_kernels_impl.h holds the only source of each loop; nn_kernels_avx512.c,
 * nn_kernels_avx2.c and nn_kernels_portable.c compile it for their machines,
 * nn_kernels.c chooses.
 *
 * Promise 1 (same row, same score) rests on these loops: whatever they compute
 * for a row is one fixed chain of operations that does not depend on where in a
 * block the row stands.  That is why inference multiplies matrices with gemm()
 * below and not with a BLAS, whose edge rows may pass through other code.
 */
#ifndef AMAD_CORE_KERNELS_KERNELS_H
#define AMAD_CORE_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/poll.h"
#include "core/shape.h"

#define NN_PANEL 16				/* columns of a panel of packed weights */
#define NN_UNIT 16				/* floats of the longest vector; padding of bands */

/*
 * Kinds of basis functions of the AutoMask, in their order: the constant, NN_BELLS
 * bells and, for the rest, cosines that repeat after NN_WAVE places.
 */
#define NN_BELLS 3
#define NN_WAVE 16
#define NN_NEAR 32				/* places beyond which the bells are below 2e-14 */

/* Sizes derived from a shape, used by every layer. */
typedef struct nn_geometry
{
	int			C,
				D,
				H,
				N,
				W;
	int			d;				/* D / H */
	int			dp;				/* d, padded to vectors of the kernels in use */
	int			Wp;				/* W, padded to NN_UNIT */
	int			E;				/* D / NN_SCALES: channels of one convolution */
	int			F;				/* 2·D: width of the feed-forward layer */
	int			P;				/* columns of the projections of x: q, k, v, mask, gate */
	int			q_col,
				k_col,
				v_col,
				a_col,
				g_col;			/* where each begins */
} nn_geometry;

extern nn_geometry nn_geometry_of(const nn_shape *shape);

/*
 * Basis functions of the AutoMask (section 2.3) at the last NN_NEAR places of a band,
 * oldest first: (NN_BASIS, NN_NEAR).
 */
extern void nn_basis(float *phi);

/* Floats of scratch that the attention functions below want for a segment. */
extern size_t nn_attend_scratch(const nn_geometry *g);

/*
 * A band is what a row and head see: Wp floats, oldest key first, the row itself
 * last.  The first Wp - W are padding, so are keys before the series' start; they
 * are 0 or, where all of several neighbouring rows have padding, untouched.
 *
 * Keys and values of a segment of rows stand in buffers whose first Wp columns
 * (rows, for v) are history: row i's band is columns i + 1 … i + Wp.  What a head
 * works with is contiguous, so that it stays in the nearest cache.
 */
typedef struct nn_segment
{
	int			rows;
	int			history;		/* valid columns before the first row, 0 … Wp */
	const float *proj;			/* (rows, P) projections of x */
	const float *kt;			/* (H·d, ldk) keys, transposed */
	size_t		ldk;			/* at least Wp + rows rounded up to NN_UNIT */
	const float *v;				/* (H, …, dp) values: Wp + rows rows a head */
	size_t		ldv;			/* floats from head to head of v */
	const float *phi;			/* (NN_BASIS, NN_NEAR) from nn_basis() */
	nn_poll		poll;			/* called every few milliseconds of work; may be NULL */
} nn_segment;

/* Activations of one chunk's attention that the backward pass needs. */
typedef struct nn_bands
{
	float	   *G;				/* (H, rows, Wp) global association */
	float	   *A;				/* (H, rows, Wp) local association */
	float	   *S;				/* (H, rows, Wp) σ(M); backward leaves d(Q·K) here */
	float	   *zg;				/* (rows, D) G·V */
	float	   *za;				/* (rows, D) A·V */
	float	   *gate;			/* (rows, H) */
} nn_bands;

/* Gradients of one chunk's attention. */
typedef struct nn_band_grads
{
	int			skip;			/* first rows without a discrepancy loss */
	float		weight;			/* of each row's and head's JS in the two phases */
	const float *vt;			/* (H·d, ldk) values, transposed */
	const float *k;				/* (H, …, dp) keys, as nn_segment's v */
	const float *dz;			/* (rows, D) gradient of the mixture */
	const float *dzg_extra;		/* (rows, D) gradients from the contrast loss */
	const float *dza_extra;
	float	   *dzg;			/* (H, rows, dp) scratch */
	float	   *dza;			/* (H, rows, dp) scratch */
	float	   *scratch;
	float	   *dproj;			/* (rows, P) out */
	double	   *js;				/* sum of JS over rows and heads, added to */
} nn_band_grads;

/*
 * A matrix product: y = a·b + bias + plus.  Which of a and b are transposed or packed
 * depends on the function it is passed to.  lda, ldb, ldy: floats from row to row.
 */
typedef struct nn_product
{
	int			rows,			/* of y */
				n,				/* columns of y */
				k;				/* inner dimension */
	const float *a;
	size_t		lda;
	const float *b;
	size_t		ldb;
	const float *bias;			/* (n), added to each row; NULL: 0 */
	const float *plus;			/* laid out like y, may be y; NULL: 0 */
	float	   *y;
	size_t		ldy;
} nn_product;

/* A layer norm's backward pass over rows of d: adds to dx, dw and db. */
typedef struct nn_norm_grads
{
	int			rows,
				d;
	const float *x,
			   *w;
	const float *mean,			/* (rows) as left by norm() */
			   *rstd;
	const float *dy;
	float	   *dx,
			   *dw,
			   *db;
} nn_norm_grads;

/* What an Adam step multiplies, adds and divides by. */
typedef struct nn_adam_rates
{
	float		beta1;
	float		beta2;
	float		rate;			/* learning rate / (1 - beta1^step) */
	float		scale2;			/* 1 / (1 - beta2^step) */
	float		epsilon;
	float		clip;			/* factor of the gradient */
} nn_adam_rates;

typedef struct nn_kernels
{
	const char *name;
	int			lanes;			/* floats of a vector, at most NN_UNIT */
	bool		trains;			/* small products below are faster than a BLAS's */

	/* y (n, rows) = xᵀ, x (rows, n) */
	void		(*transpose) (int rows, int n, const float *x, size_t ldx, float *y, size_t ldy);
	/* w (n, k), rows ldw apart, to panels of NN_PANEL rows, inner index first */
	void		(*pack) (int n, int k, const float *w, size_t ldw, float *packed);
	/* a (rows, k), its rows may overlap; b is the transpose of weights laid out by pack() */
	void		(*gemm) (const nn_product *p);
	/* a (rows, k), b (k, n) */
	void		(*gemm_nn) (const nn_product *p);
	/* a is the transpose of (k, rows), b (k, n) */
	void		(*gemm_tn) (const nn_product *p);

	/* y = (x - mean)·rstd·w + b by rows of d; mean and rstd (rows) may be NULL */
	void		(*norm) (int rows, int d, const float *x, const float *w, const float *b,
						 float *y, float *mean, float *rstd);
	void		(*norm_backward) (const nn_norm_grads *n);

	/* y = gelu(x), exact (erf) form; dx = dy·gelu'(x), dx may be dy */
	void		(*gelu) (size_t n, const float *x, float *y);
	void		(*gelu_backward) (size_t n, const float *x, const float *dy, float *dx);

	/* inference: z (rows, D), js (rows): mean over heads of JS(A, G) */
	void		(*attend) (const nn_geometry *g, const nn_segment *s, float *scratch,
						   float *z, float *js);
	/* training: fills bands and z */
	void		(*attend_forward) (const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
								   float *scratch, float *z);
	void		(*attend_backward) (const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
									const nn_band_grads *grads);

	/* x (rows, n) ← exp(scale·x); sums of its rows; sums of its columns are added to */
	void		(*exp_sums) (int rows, int n, float scale, float *x, float *row_sum,
							 float *col_sum);
	/* x_ij ← x_ij·(row_i + col_j) */
	void		(*scale_rows_cols) (int rows, int n, float *x, const float *row, const float *col);
	/* unit = z / its length, of n floats; returns the length, at least `least` */
	float		(*normalise) (int n, const float *z, float least, float *unit);
	void		(*normalise_backward) (int n, const float *unit, float length, const float *dunit,
									   float *dz);

	/* sum (n) += sum over rows of x (rows, n), which are ldx apart */
	void		(*column_sums) (int rows, int n, const float *x, size_t ldx, float *sum);
	/* sum of squares, in double precision */
	double		(*square_sum) (size_t n, const float *x);
	/* updates n parameters and their moments */
	void		(*adam) (size_t n, const nn_adam_rates *rates, const float *grad, float *moment1,
						 float *moment2, float *param);

	/* approximations, element-wise, for their tests */
	void		(*exp) (size_t n, const float *x, float *y);
	void		(*exp2) (size_t n, const float *x, float *y);
	void		(*log) (size_t n, const float *x, float *y);
	void		(*log1p) (size_t n, const float *x, float *y);
	void		(*erf) (size_t n, const float *x, float *y);
} nn_kernels;

extern const nn_kernels nn_kernels_portable;
#if defined(__x86_64__)
extern const nn_kernels nn_kernels_avx2;
extern const nn_kernels nn_kernels_avx512;
#endif

/* The table in use. */
extern const nn_kernels *nn_kernels_get(void);

static inline size_t
nn_round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* Floats of w (n, k) as nn_kernels.pack() lays it out. */
static inline size_t
nn_packed_floats(int n, int k)
{
	return nn_round_up(n, NN_PANEL) * k;
}

/* Kernels in use: "avx512", "avx2" or "portable"; chosen once by the CPU. */
extern const char *nn_kernel_name(void);

/* Choose kernels by name, for tests; NULL: the best.  False when the CPU lacks them. */
extern bool nn_kernel_use(const char *name);

#endif							/* AMAD_CORE_KERNELS_KERNELS_H */
