/*
 * core/network/linear.c
 *	  Matrix products in training, and the linear layers made of them.
 *
 * A product is cut along the rows of y, or, where a is transposed, along the inner
 * dimension; then each slice adds to the previous one.
 */
#include <cblas.h>

#include "core/network/linear.h"

#define SLICE 134217728.0		/* multiplications between polls: a few milliseconds */

/*
 * BLAS copies its operands.  The kernels do not, and lose when the rows of b are so
 * long that those of a tile displace each other in the cache.
 */
#define LONG_ROW 512

static bool
use_kernels(size_t ldb)
{
	return nn_kernels_get()->trains && ldb < LONG_ROW;
}

/* How many of `limit` steps of `work` multiplications each make a slice. */
static int
slice_length(int limit, double work)
{
	double		steps = SLICE / work;

	if (steps >= limit)
		return limit;
	return steps < NN_UNIT ? NN_UNIT : (int) steps / NN_UNIT * NN_UNIT;
}

static int
smaller_of(int a, int b)
{
	return a < b ? a : b;
}

/* Packs b (n, k) into t->packed. */
static void
pack_weights(nn_train *t, const nn_product *p)
{
	const int	step = nn_rows_between_polls(p->k);

	for (int o = 0; o < p->n; o += step)
	{
		nn_kernels_get()->pack(smaller_of(step, p->n - o), p->k, p->b + (size_t) o * p->k, p->k,
							   t->packed + (size_t) o * p->k);
		nn_rest(t->poll);
	}
}

void
nn_product_nt(nn_train *t, const nn_product *p)
{
	const nn_kernels *kernels = nn_kernels_get();
	const int	step = slice_length(p->rows, (double) p->n * p->k);
	nn_product	slice = *p;

	if (kernels->trains)
	{
		pack_weights(t, p);
		slice.b = t->packed;
	}
	for (int r = 0; r < p->rows; r += step)
	{
		slice.rows = smaller_of(step, p->rows - r);
		slice.a = p->a + r * p->lda;
		slice.plus = p->plus ? p->plus + r * p->ldy : NULL;
		slice.y = p->y + r * p->ldy;
		if (kernels->trains)
			kernels->gemm(&slice);
		else
		{
			/* BLAS adds the product to y = bias + plus */
			for (int i = 0; i < slice.rows; i++)
				for (int c = 0; c < p->n; c++)
					slice.y[i * p->ldy + c] = (p->bias ? p->bias[c] : 0.0f) +
						(slice.plus ? slice.plus[i * p->ldy + c] : 0.0f);
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, slice.rows, p->n, p->k, 1.0f,
						slice.a, (int) p->lda, p->b, p->k, 1.0f, slice.y, (int) p->ldy);
		}
		nn_rest(t->poll);
	}
}

void
nn_product_nn(nn_train *t, const nn_product *p)
{
	const int	step = slice_length(p->rows, (double) p->n * p->k);
	nn_product	slice = *p;

	for (int r = 0; r < p->rows; r += step)
	{
		slice.rows = smaller_of(step, p->rows - r);
		slice.a = p->a + r * p->lda;
		slice.y = p->y + r * p->ldy;
		if (use_kernels(p->ldb))
			nn_kernels_get()->gemm_nn(&slice);
		else
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, slice.rows, p->n, p->k, 1.0f,
						slice.a, (int) p->lda, p->b, (int) p->ldb, 0.0f, slice.y, (int) p->ldy);
		nn_rest(t->poll);
	}
}

void
nn_product_tn(nn_train *t, const nn_product *p)
{
	const int	step = slice_length(p->k, (double) p->rows * p->n);
	nn_product	slice = *p;

	for (int i = 0; i < p->k; i += step, slice.plus = p->y)
	{
		slice.k = smaller_of(step, p->k - i);
		slice.a = p->a + i * p->lda;
		slice.b = p->b + i * p->ldb;
		if (use_kernels(p->ldb))
			nn_kernels_get()->gemm_tn(&slice);
		else
			cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, p->rows, p->n, slice.k, 1.0f,
						slice.a, (int) p->lda, slice.b, (int) p->ldb, slice.plus ? 1.0f : 0.0f,
						p->y, (int) p->ldy);
		nn_rest(t->poll);
	}
}

void
nn_linear_forward(nn_train *t, const nn_linear *l, const float *plus, float *y)
{
	nn_product_nt(t,
				  &(nn_product){
					  .rows = l->rows,
					  .n = l->out,
					  .k = l->in,
					  .a = l->x,
					  .lda = l->ldx,
					  .b = l->w,
					  .ldb = l->in,
					  .bias = l->b,
					  .plus = plus,
					  .y = y,
					  .ldy = l->ldy,
				  });
}

void
nn_linear_backward(nn_train *t, const nn_linear *l, const float *dy, float *dx, float *dw,
				   float *db)
{
	const int	step = nn_rows_between_polls(l->out);

	for (int r = 0; r < l->rows; r += step)
	{
		nn_kernels_get()->column_sums(smaller_of(step, l->rows - r), l->out, dy + r * l->ldy,
									  l->ldy, db);
		nn_rest(t->poll);
	}
	nn_product_tn(t,
				  &(nn_product){
					  .rows = l->out,
					  .n = l->in,
					  .k = l->rows,
					  .a = dy,
					  .lda = l->ldy,
					  .b = l->x,
					  .ldb = l->ldx,
					  .plus = dw,
					  .y = dw,
					  .ldy = l->in,
				  });
	if (dx)
		nn_product_nn(t,
					  &(nn_product){
						  .rows = l->rows,
						  .n = l->in,
						  .k = l->out,
						  .a = dy,
						  .lda = l->ldy,
						  .b = l->w,
						  .ldb = l->in,
						  .y = dx,
						  .ldy = l->in,
					  });
}
