/*
 * reference.h
 *	  The network in double precision and plain loops, formula by formula.
 *
 * Slow and simple on purpose: it shares nothing with src/core but the names and offsets
 * of the parameters, associations are whole (T, T) matrices, and there is no backward
 * pass; gradients are computed from differences of its losses.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include "core/network/network.h"

/* Forward pass of one chunk. */
typedef struct reference
{
	nn_shape	shape;
	int			rows;			/* T */
	int			tensors;		/* number of parameters */
	nn_param   *tensor;			/* (tensors) */
	double	   *out;			/* (T, C) */
	double	   *G;				/* (N, H, T, T), 0 outside the window */
	double	   *A;
	double	   *zg;				/* (N, T, D) */
	double	   *za;
	double	   *phi;			/* (NN_BASIS, T) mask functions by distance */
	double	   *scratch;
} reference;

extern reference reference_open(const nn_shape *shape, int rows);
extern void reference_close(reference *r);

extern void reference_forward(reference *r, const double *params, const float *chunk);

/* JS(A, G) of row i in a block, mean over heads; A is taken from local, G from global. */
extern double reference_discrepancy(const reference *local, const reference *global, int block,
									int i);

/*
 * Losses of the chunk (docs/model.md, Losses); target->rows must be given.  The total is what the optimiser descends
 * on: where gradients stop, associations are those of `frozen`.
 */
extern nn_losses reference_losses(const reference *r, const reference *frozen,
								  const nn_target *target, const nn_objective *objective);

#endif							/* REFERENCE_H */
