/*
 * nn_linear.h
 *	  Linear layers in training, by BLAS: y = x·Wᵀ + b and its gradients.
 *
 * x: (rows, in), rows ldx apart; W: (out, in); y: (rows, out), contiguous.
 */
#ifndef NN_LINEAR_H
#define NN_LINEAR_H

#include <stdbool.h>
#include <stddef.h>

extern void nn_linear(int rows, int in, int out, const float *x, size_t ldx,
					  const float *w, const float *b, float *y, bool add);

/* dw and db are added to; dx is set, or not computed when NULL. */
extern void nn_linear_backward(int rows, int in, int out, const float *x, size_t ldx,
							   const float *w, const float *dy, float *dx, float *dw, float *db);

#endif							/* NN_LINEAR_H */
