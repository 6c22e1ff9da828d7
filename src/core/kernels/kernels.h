/*
 * core/kernels/kernels.h
 *	  Inner loops of the network: a table of functions per instruction set.
 *
 * kernels_impl.h holds the only source of each loop; kernels_avx512.c, kernels_avx2.c
 * and kernels_portable.c compile it for their instruction sets, and kernels.c chooses.
 *
 * That a row always gets the same score (docs/model.md, Numbers) depends on these
 * loops: what they compute for a row is one fixed chain of operations, which does not
 * depend on the row's position in a block.  Therefore inference multiplies matrices by gemm() and
 * not by a BLAS, which may treat the last rows of a block differently.
 */
#ifndef AMAD_CORE_KERNELS_KERNELS_H
#define AMAD_CORE_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/poll.h"
#include "core/shape.h"

#define NN_PANEL 16				/* columns of a panel of packed weights */
#define NN_UNIT 16				/* floats of the longest vector; bands are padded to it */

/*
 * Mask functions of the AutoMask, in their order: a constant, NN_BELLS bells, and
 * cosines, which repeat after NN_WAVE places.
 */
#define NN_BELLS 3
#define NN_WAVE 16
#define NN_NEAR 32				/* places after which the bells are below 2e-14 */

/* Sizes that follow from a shape. */
typedef struct nn_geometry
{
	int			C,				/* features */
		D,						/* d_model */
		H,						/* heads */
		N,						/* layers */
		W;						/* window */
	int			d;				/* D / H */
	int			dp;				/* d, padded to vectors of the kernels in use */
	int			Wp;				/* W, padded to NN_UNIT */
	int			E;				/* D / NN_SCALES: channels of one convolution */
	int			F;				/* 2·D: width of the feed-forward layer */
	int			P;				/* columns of the projections of x: q, k, v, mask, gate */
	int			q_col, k_col, v_col, a_col, g_col;	/* the first column of each */
} nn_geometry;

extern nn_geometry nn_geometry_of(const nn_shape *shape);

/* Sets phi (NN_BASIS, NN_NEAR) to the mask functions at the last NN_NEAR places of a band. */
extern void nn_basis(float *phi);

/* Floats of scratch that the attention functions need. */
extern size_t nn_attend_scratch(const nn_geometry *g);

/*
 * A band is what a row sees in a head: Wp floats, oldest key first, the row itself
 * last.  The first Wp - W places are padding, and so are places before the start of
 * the series; padding is 0 or, where several neighbouring rows all have it, untouched.
 *
 * Keys and values of a segment of rows are in buffers whose first Wp columns (of v:
 * rows) are history: row i's band is columns i + 1 … i + Wp.  The data of a head are
 * contiguous, so that they stay in the nearest cache.
 */
typedef struct nn_segment
{
	int			rows;
	int			history;		/* valid columns before the first row, 0 … Wp */
	const float *proj;			/* (rows, P) projections of x */
	const float *kt;			/* (H·d, ldk) keys, transposed */
	size_t		ldk;			/* at least Wp + rows rounded up to NN_UNIT */
	const float *v;				/* (H, …, dp) values: Wp + rows rows per head */
	size_t		ldv;			/* floats from head to head of v */
	const float *phi;			/* (NN_BASIS, NN_NEAR) from nn_basis() */
	nn_poll		poll;
} nn_segment;

/* Activations of a chunk's attention that the backward pass needs. */
typedef struct nn_bands
{
	float	   *G;				/* (H, rows, Wp) global association */
	float	   *A;				/* (H, rows, Wp) local association */
	float	   *S;				/* (H, rows, Wp) σ(M); backward leaves d(Q·K) here */
	float	   *zg;				/* (rows, D) G·V */
	float	   *za;				/* (rows, D) A·V */
	float	   *gate;			/* (rows, H) */
} nn_bands;

/* Gradients of a chunk's attention. */
typedef struct nn_band_grads
{
	/* settings */
	int			skip;			/* first rows without a discrepancy loss */
	float		weight;			/* of the JS of a row and head in each of the two phases */

	/* input */
	const float *vt;			/* (H·d, ldk) values, transposed */
	const float *k;				/* (H, …, dp) keys, as nn_segment's v */
	const float *dz;			/* (rows, D) gradient of the mixture */
	const float *dzg_extra;		/* (rows, D) gradients from the contrast loss */
	const float *dza_extra;

	/* output */
	float	   *dproj;			/* (rows, P) */
	double	   *js;				/* the sum of JS over rows and heads is added to it */

	/* scratch */
	float	   *dzg;			/* (H, rows, dp) */
	float	   *dza;			/* (H, rows, dp) */
	float	   *scratch;		/* (nn_attend_scratch()) */
} nn_band_grads;

/*
 * A matrix product: y = a·b + bias + plus.  Which of a and b are transposed or packed
 * depends on the function it is passed to.  lda, ldb, ldy: floats from row to row.
 */
typedef struct nn_product
{
	int			rows,			/* of y */
		n,						/* columns of y */
		k;						/* inner dimension */
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
	int			rows, d;
	const float *x, *w;
	const float *mean,			/* (rows) as left by norm() */
		*rstd;
	const float *dy;
	float	   *dx, *dw, *db;
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
	bool		trains;			/* products of short rows are faster than a BLAS's */

	/* ---- matrices */

	/* y (n, rows) = xᵀ, x (rows, n) */
	void		(*transpose) (int rows, int n, const float *x, size_t ldx, float *y, size_t ldy);
	/* packs w (n, k), its rows ldw apart, in panels (k, NN_PANEL) of NN_PANEL rows */
	void		(*pack) (int n, int k, const float *w, size_t ldw, float *packed);
	/* a (rows, k), its rows may overlap; b is the transpose of weights laid out by pack() */
	void		(*gemm) (const nn_product *p);
	/* a (rows, k), b (k, n) */
	void		(*gemm_nn) (const nn_product *p);
	/* a is the transpose of (k, rows), b (k, n) */
	void		(*gemm_tn) (const nn_product *p);

	/* ---- layers */

	/* y = (x - mean)·rstd·w + b for rows of d; sets mean and rstd (rows) unless NULL */
	void		(*norm) (int rows, int d, const float *x, const float *w, const float *b, float *y,
				 float *mean, float *rstd);
	void		(*norm_backward) (const nn_norm_grads *n);

	/* y = gelu(x), by erf; dx = dy·gelu'(x), dx may be dy */
	void		(*gelu) (size_t n, const float *x, float *y);
	void		(*gelu_backward) (size_t n, const float *x, const float *dy, float *dx);

	/* inference: sets z (rows, D) and js (rows), the mean over heads of JS(A, G) */
	void (*attend) (const nn_geometry *g, const nn_segment *s, float *scratch, float *z, float *js);
	/* training: sets bands and z, and their gradients */
	void		(*attend_forward) (const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
						   float *scratch, float *z);
	void (*attend_backward) (const nn_geometry *g, const nn_segment *s, const nn_bands *bands,
							const nn_band_grads *grads);

	/* ---- losses and optimiser */

	/* x (rows, n) ← exp(scale·x); sets row_sum (rows), adds to col_sum (n) */
	void (*exp_sums) (int rows, int n, float scale, float *x, float *row_sum, float *col_sum);
	/* x_ij ← x_ij·(row_i + col_j) */
	void		(*scale_rows_cols) (int rows, int n, float *x, const float *row, const float *col);
	/* unit = z / its length, both of n floats; returns the length, at least `least` */
	float		(*normalise) (int n, const float *z, float least, float *unit);
	void		(*normalise_backward) (int n, const float *unit, float length, const float *dunit,
							   float *dz);

	/* sum (n) += sum over the rows of x (rows, n) */
	void		(*column_sums) (int rows, int n, const float *x, size_t ldx, float *sum);
	/* sum of squares, in double precision */
	double		(*square_sum) (size_t n, const float *x);
	/* updates n parameters and their moments */
	void		(*adam) (size_t n, const nn_adam_rates *rates, const float *grad, float *moment1,
				 float *moment2, float *param);

	/* ---- approximations, element-wise, for their tests */
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

/* The table in use: the best that the CPU supports. */
extern const nn_kernels *nn_kernels_get(void);

static inline size_t
nn_round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

/* Floats of w (n, k) after nn_kernels.pack(). */
static inline size_t
nn_packed_floats(int n, int k)
{
	return nn_round_up(n, NN_PANEL) * k;
}

/* Name of the table in use: "avx512", "avx2" or "portable". */
extern const char *nn_kernel_name(void);

/* For tests: chooses a table by name (NULL: the best); false if the CPU does not support it. */
extern bool nn_kernel_use(const char *name);

#endif							/* AMAD_CORE_KERNELS_KERNELS_H */
