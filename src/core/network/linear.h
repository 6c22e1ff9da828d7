/*
 * core/network/linear.h
 *	  Matrix products in training, and the linear layers made of them.
 *
 * By the kernels' own products where these are faster, else by BLAS; in slices
 * with a poll after each, so that no product keeps a caller waiting.  ld… is
 * the distance from row to row of a matrix.
 */
#ifndef AMAD_CORE_NETWORK_LINEAR_H
#define AMAD_CORE_NETWORK_LINEAR_H

#include "core/network/shard.h"

/* y (rows, n) = x·wᵀ + bias + plus, w (n, k); plus is laid out like y; both may be NULL */
extern void nn_product_nt(nn_train *t, int rows, int n, int k, const float *x, size_t ldx,
						  const float *w, const float *bias, const float *plus,
						  float *y, size_t ldy);

/* y (rows, n) = a·b, b (k, n) contiguous */
extern void nn_product_nn(nn_train *t, int rows, int n, int k, const float *a, size_t lda,
						  const float *b, float *y, size_t ldy);

/* y (rows, n) = aᵀ·b, or y += …; a (k, rows), b (k, n); y contiguous */
extern void nn_product_tn(nn_train *t, int rows, int n, int k, const float *a, size_t lda,
						  const float *b, size_t ldb, bool add, float *y);

/*
 * Gradients of y = x·wᵀ + bias from dy (rows, out): dw and db are added to; dx
 * (contiguous) is set, or not computed when NULL.
 */
extern void nn_linear_backward(nn_train *t, int rows, int in, int out,
							   const float *x, size_t ldx, const float *w,
							   const float *dy, size_t lddy, float *dx, float *dw, float *db);

#endif							/* AMAD_CORE_NETWORK_LINEAR_H */
