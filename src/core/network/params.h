/*
 * core/network/params.h
 *	  Offsets of the tensors in the flat parameter buffer, in floats.
 */
#ifndef AMAD_CORE_NETWORK_PARAMS_H
#define AMAD_CORE_NETWORK_PARAMS_H

#include <stddef.h>

#include "core/shape.h"

/* Widths of the embedding's convolutions. */
static const int nn_scale_width[NN_SCALES] = {1, 3, 7, NN_TAPS};

/* Tensors of the embedding and the output. */
typedef struct nn_layout
{
	size_t		conv_w[NN_SCALES];	/* (E, C, width) */
	size_t		conv_b[NN_SCALES];	/* (E) */
	size_t		ln_w, ln_b;		/* (D) */
	size_t		out_w;			/* (C, D) */
	size_t		out_b;			/* (C) */
} nn_layout;

/* Tensors of a block. */
typedef struct nn_block_layout
{
	size_t		ln1_w, ln1_b;	/* (D) */
	size_t		proj_w;			/* (P, D): q, k, v, mask, gate */
	size_t		proj_b;			/* (P) */
	size_t		o_w;			/* (D, D) */
	size_t		o_b;			/* (D) */
	size_t		ln2_w, ln2_b;	/* (D) */
	size_t		w1_w;			/* (F, D) */
	size_t		w1_b;			/* (F) */
	size_t		w2_w;			/* (D, F) */
	size_t		w2_b;			/* (D) */
} nn_block_layout;

extern nn_layout nn_layout_of(const nn_shape *shape);
extern nn_block_layout nn_block_layout_of(const nn_shape *shape, int n);

#endif							/* AMAD_CORE_NETWORK_PARAMS_H */
