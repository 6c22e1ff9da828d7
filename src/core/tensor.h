/*
 * core/tensor.h
 *	  Description of a named tensor in a flat buffer of parameters.
 */
#ifndef AMAD_CORE_TENSOR_H
#define AMAD_CORE_TENSOR_H

#include <stddef.h>

#define NN_NAME_MAX 32			/* bytes of a parameter's name, with its 0 */

/* One named tensor in the flat parameter buffer. */
typedef struct nn_param
{
	char		name[NN_NAME_MAX];	/* e.g. "block0.q.weight" */
	int			ndim;			/* 1 … 3 */
	int			dims[3];		/* linear: (out, in); convolution: (out, in, width) */
	size_t		offset;			/* in floats from the buffer's start */
	size_t		size;			/* in floats */
	int			fan_in;			/* 0 for layer norms, which start at */
	float		start;
	unsigned	part;			/* NN_WITHOUT_* that it is cleared by, wholly or in part; 0: none */
} nn_param;

#endif							/* AMAD_CORE_TENSOR_H */
