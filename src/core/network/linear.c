/*
 * core/network/linear.c
 *	  Matrix products in training, and the linear layers made of them.
 */
#include <string.h>

#include <cblas.h>

#include "core/network/linear.h"

#define SLICE 134217728.0		/* multiplications between polls: a few milliseconds */

/*
 * A BLAS copies what it multiplies.  The kernels do not, and lose when the rows of
 * b are so long that those of a tile displace each other in the cache.
 */
#define LONG_ROW 512

static bool
own_product(size_t ldb)
{
	return nn_kernels_get()->trains && ldb < LONG_ROW;
}

/* So many of `most` steps of `work` multiplications each make a slice. */
static int
slice(int most, double work)
{
	double		steps = SLICE / work;

	if (steps >= most)
		return most;
	return steps < NN_UNIT ? NN_UNIT : (int) steps / NN_UNIT * NN_UNIT;
}

static int
least(int a, int b)
{
	return a < b ? a : b;
}

/* nn_kernels.pack() to t->packed. */
static void
pack(nn_train *t, int n, int k, const float *w)
{
	const int	step = nn_rows_between_polls(k);

	for (int o = 0; o < n; o += step)
	{
		nn_kernels_get()->pack(least(step, n - o), k, w + (size_t) o * k, k,
							   t->packed + (size_t) o * k);
		nn_rest(t);
	}
}

/* y = bias + plus, where a BLAS is to add a product. */
static void
begin(int rows, int n, const float *bias, const float *plus, float *y, size_t ldy)
{
	for (int r = 0; r < rows; r++)
		for (int c = 0; c < n; c++)
			y[r * ldy + c] = (bias ? bias[c] : 0.0f) + (plus ? plus[r * ldy + c] : 0.0f);
}

void
nn_product_nt(nn_train *t, int rows, int n, int k, const float *x, size_t ldx,
			  const float *w, const float *bias, const float *plus, float *y, size_t ldy)
{
	const nn_kernels *kernels = nn_kernels_get();
	const int	step = slice(rows, (double) n * k);

	if (kernels->trains)
		pack(t, n, k, w);
	for (int r = 0; r < rows; r += step)
	{
		const int	m = least(step, rows - r);
		const float *more = plus ? plus + r * ldy : NULL;

		if (kernels->trains)
			kernels->gemm(m, n, k, x + r * ldx, ldx, t->packed, bias, more, y + r * ldy, ldy);
		else
		{
			begin(m, n, bias, more, y + r * ldy, ldy);
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k,
						1.0f, x + r * ldx, (int) ldx, w, k, 1.0f, y + r * ldy, (int) ldy);
		}
		nn_rest(t);
	}
}

void
nn_product_nn(nn_train *t, int rows, int n, int k, const float *a, size_t lda,
			  const float *b, float *y, size_t ldy)
{
	const nn_kernels *kernels = nn_kernels_get();
	const int	step = slice(rows, (double) n * k);

	for (int r = 0; r < rows; r += step)
	{
		const int	m = least(step, rows - r);

		if (own_product(n))
			kernels->gemm_nn(m, n, k, a + r * lda, lda, b, n, y + r * ldy, ldy);
		else
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k,
						1.0f, a + r * lda, (int) lda, b, n, 0.0f, y + r * ldy, (int) ldy);
		nn_rest(t);
	}
}

void
nn_product_tn(nn_train *t, int rows, int n, int k, const float *a, size_t lda,
			  const float *b, size_t ldb, bool add, float *y)
{
	const nn_kernels *kernels = nn_kernels_get();
	const int	step = slice(k, (double) rows * n);

	for (int i = 0; i < k; i += step, add = true)
	{
		const int	m = least(step, k - i);

		if (own_product(ldb))
			kernels->gemm_tn(rows, n, m, a + i * lda, lda, b + i * ldb, ldb, add ? y : NULL, y, n);
		else
			cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, n, m,
						1.0f, a + i * lda, (int) lda, b + i * ldb, (int) ldb,
						add ? 1.0f : 0.0f, y, n);
		nn_rest(t);
	}
}

void
nn_linear_backward(nn_train *t, int rows, int in, int out, const float *x, size_t ldx,
				   const float *w, const float *dy, size_t lddy, float *dx, float *dw, float *db)
{
	const int	step = nn_rows_between_polls(out);

	for (int r = 0; r < rows; r += step)
	{
		nn_kernels_get()->column_sums(least(step, rows - r), out, dy + r * lddy, lddy, db);
		nn_rest(t);
	}
	nn_product_tn(t, out, in, rows, dy, lddy, x, ldx, true, dw);
	if (dx)
		nn_product_nn(t, rows, in, out, dy, lddy, w, dx, in);
}
