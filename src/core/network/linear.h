/*
 * core/network/linear.h
 *	  Matrix products in training, and the linear layers made of them.
 *
 * Products are computed by the kernels where these are faster, else by BLAS, and in
 * slices with a poll after each, so that no product keeps the caller waiting.
 */
#ifndef AMAD_CORE_NETWORK_LINEAR_H
#define AMAD_CORE_NETWORK_LINEAR_H

#include "core/network/shard.h"

/* y = a·bᵀ + bias + plus; b (n, k) is contiguous. */
extern void nn_product_nt(nn_train *t, const nn_product *p);

/* y = a·b; b (k, n). */
extern void nn_product_nn(nn_train *t, const nn_product *p);

/* y = aᵀ·b + plus; a (k, rows), b (k, n); plus is y or NULL. */
extern void nn_product_tn(nn_train *t, const nn_product *p);

/* A linear layer applied to rows: y = x·wᵀ + b. */
typedef struct nn_linear
{
	int			rows, in, out;
	const float *x;				/* (rows, in) */
	size_t		ldx;			/* floats from row to row of x … */
	size_t		ldy;			/* … and of y and its gradient */
	const float *w;				/* (out, in) */
	const float *b;				/* (out) */
} nn_linear;

/* Sets y (rows, out); adds plus to it, which is laid out like y, unless it is NULL. */
extern void nn_linear_forward(nn_train *t, const nn_linear *l, const float *plus, float *y);

/* From dy (rows, out): adds to dw and db, and sets dx (rows, in; contiguous) unless it is NULL. */
extern void nn_linear_backward(nn_train *t, const nn_linear *l, const float *dy, float *dx,
							   float *dw, float *db);

#endif							/* AMAD_CORE_NETWORK_LINEAR_H */
