/*
 * core/tensor.h
 *	  Description of a named tensor in a flat buffer of parameters.
 */
#ifndef AMAD_CORE_TENSOR_H
#define AMAD_CORE_TENSOR_H

#include <stddef.h>

#define NN_NAME_MAX 32			/* bytes of a parameter's name, with its 0 */

typedef struct nn_param
{
	char		name[NN_NAME_MAX];	/* e.g. "block0.q.weight" */
	int			ndim;			/* 1 … 3 */
	int			dims[3];		/* linear: (out, in); convolution: (out, in, width) */
	size_t		offset;			/* in floats from the buffer's start */
	size_t		size;			/* in floats */
	int			fan_in;			/* inputs of an output, for random initial values; 0: `start` */
	float		start;			/* initial value if fan_in is 0 */
	unsigned	part;			/* NN_WITHOUT_* that clears (a part of) it; 0: none */
} nn_param;

#endif							/* AMAD_CORE_TENSOR_H */
