/*
 * core/network/shard.h
 *	  Activations and scratch of a shard in training.
 *
 * A shard is the chunks that pass through the network together.  The forward pass
 * leaves in it what the backward pass needs.  R = chunks · rows.  Arrays are for the
 * whole shard, except those under "one chunk", which attention and contrast use for
 * one chunk after another.
 */
#ifndef AMAD_CORE_NETWORK_SHARD_H
#define AMAD_CORE_NETWORK_SHARD_H

#include "core/kernels/kernels.h"
#include "core/network/network.h"
#include "core/network/params.h"

/* Activations of a block. */
typedef struct nn_block
{
	nn_block_layout at;			/* its parameters */
	float	   *h;				/* (R, D) the residual stream entering it */
	float	   *x1;				/* (R, D) LN1(h) */
	float	   *mean1, *rstd1;	/* (R) */
	float	   *proj;			/* (R, P) */
	nn_bands	bands;			/* of all rows, chunk after chunk */
	float	   *z;				/* (R, D) mixture, heads concatenated */
	float	   *mid;			/* (R, D) h + Attn */
	float	   *x2;				/* (R, D) LN2(mid) */
	float	   *mean2, *rstd2;	/* (R) */
	float	   *u;				/* (R, F) W1·x2 + b1 */
	float	   *act;			/* (R, F) gelu(u) */
} nn_block;

struct nn_train
{
	/* settings */
	nn_geometry g;
	nn_layout	at;				/* parameters outside the blocks */
	size_t		nparams;		/* floats of params and gradients */
	nn_poll		poll;
	int			chunks;			/* limit of a shard */
	int			rows;			/* T */
	float	   *phi;			/* (NN_BASIS, NN_NEAR) */

	/* activations */
	int			active;			/* chunks of the last forward pass */
	float	   *taps;			/* (R, NN_TAPS·C) each row and the 14 before it, oldest first */
	nn_block   *block;			/* (N) */
	float	   *h;				/* (R, D) leaving the last block */
	float	   *x;				/* (R, D) LN(h) */
	float	   *mean, *rstd;	/* (R) */
	float	   *out;			/* (R, C) x̂ */

	/* gradients */
	float	   *dh;				/* (R, D) */
	float	   *dx;				/* (R, D) */
	float	   *dz;				/* (R, D) */
	float	   *dzg, *dza;		/* (R, D) from the contrast loss */
	float	   *dproj;			/* (R, P) */
	float	   *du;				/* (R, F) */
	float	   *dout;			/* (R, C) */

	/* weights of one layer, and their gradient, in another order */
	float	   *conv_w[NN_SCALES];	/* (E, width, C) convolution weights, in the order of taps */
	float	   *conv_dw;		/* (E, NN_TAPS, C) */
	float	   *packed;			/* for nn_kernels.gemm() */

	/* one chunk: attention */
	size_t		ldk;			/* floats from row to row of kt and vt */
	float	   *kt, *vt;		/* (H·d, ldk) */
	float	   *k, *v;			/* (H, Wp + T, dp) */
	float	   *dzg_pad, *dza_pad;	/* (H, T, dp) */
	float	   *scratch;

	/* one chunk: contrast */
	float	   *unit_g, *unit_a;	/* (T, D) normalised z_G, z_A */
	float	   *norm_g, *norm_a;	/* (T) their lengths */
	float	   *dunit;			/* (T, D) */
	float	   *logits;			/* (T, T) */
	float	   *row_sum, *col_sum;	/* (T) */
};

/* Number of rows of `floats` floats to process between two polls: a multiple of NN_UNIT. */
static inline int
nn_rows_between_polls(size_t floats)
{
	size_t		rows = 1048576 / floats / NN_UNIT * NN_UNIT;

	return rows > 0 ? (int) rows : NN_UNIT;
}

#endif							/* AMAD_CORE_NETWORK_SHARD_H */
