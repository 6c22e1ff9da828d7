/*
 * nn_linear.c
 *	  Linear layers in training, by BLAS.
 */
#include <string.h>

#include <cblas.h>

#include "nn_kernels.h"
#include "nn_linear.h"

void
nn_linear(int rows, int in, int out, const float *x, size_t ldx,
		  const float *w, const float *b, float *y, bool add)
{
	for (int r = 0; r < rows; r++)
	{
		float	   *row = y + (size_t) r * out;

		if (!add)
			memcpy(row, b, sizeof(float) * out);
		else
			for (int c = 0; c < out; c++)
				row[c] += b[c];
	}
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in,
				1.0f, x, (int) ldx, w, in, 1.0f, y, out);
}

void
nn_linear_backward(int rows, int in, int out, const float *x, size_t ldx,
				   const float *w, const float *dy, float *dx, float *dw, float *db)
{
	nn_kernels_get()->column_sums(rows, out, dy, db);
	cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, rows,
				1.0f, dy, out, x, (int) ldx, 1.0f, dw, in);
	if (dx)
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, in, out,
					1.0f, dy, out, w, in, 0.0f, dx, in);
}
