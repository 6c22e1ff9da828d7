/*
 * core/network/network.h
 *	  The AMAD network (docs/model.md): parameters, training, streaming inference.
 *
 * The caller provides all memory: *_bytes() returns its size, *_open() sets it up.  So
 * nothing is allocated during a step, and an error can unwind through any function
 * without a leak.
 *
 * Symbols: C features, D = d_model, H heads, d = D/H, N blocks, W window,
 * K = NN_BASIS mask functions, F = 2·D, T rows of a chunk, B chunks.  All tensors are
 * float32, row-major; shapes are written (outer … inner).
 */
#ifndef AMAD_CORE_NETWORK_NETWORK_H
#define AMAD_CORE_NETWORK_NETWORK_H

#include <stddef.h>
#include <stdint.h>

#include "core/poll.h"
#include "core/shape.h"
#include "core/tensor.h"

/* ---- parameters (params.c) ----------------------------------------------------------- */

/* Parts of the network that can be switched off, as bits of a set. */
#define NN_WITHOUT_AUTOMASK 1	/* M = 0, so A = G: no local association */
#define NN_WITHOUT_MIXUP 2		/* g = 1/2: the mean of the two views */
#define NN_WITHOUT_MULTISCALE 4 /* every convolution sees the current row only */

/* Number of rows before a row that its output depends on: N·(W - 1) + 14. */
extern int	nn_context(const nn_shape *shape);

/* Number of named tensors, the i-th of them, and the floats of all of them together. */
extern int	nn_param_count(const nn_shape *shape);
extern nn_param nn_param_at(const nn_shape *shape, int i);
extern size_t nn_params_size(const nn_shape *shape);

/*
 * Sets initial weights: uniform within ±1/sqrt(fan_in) for linear layers, convolutions
 * and their biases, 1 and 0 for layer norms.  The same seed gives the same bytes.
 */
extern void nn_params_init(const nn_shape *shape, uint64_t seed, float *params, nn_poll poll);

/*
 * Clears what the given parts (a set of NN_WITHOUT_*) learn: weights and biases of the
 * masks and of the gates, all taps of the convolutions but the last.  Clearing the
 * parameters switches the parts off; clearing the gradients, which are laid out alike,
 * before each step keeps them off.
 */
extern void nn_params_clear(const nn_shape *shape, unsigned parts, float *values);

/* ---- training (train.c) -------------------------------------------------------------- */

#define NN_SHARD_CHUNKS 2		/* chunks that pass through the network together */

/* Weights of the losses (docs/model.md, Losses). */
typedef struct nn_objective
{
	int			skip;			/* first rows of each chunk without a loss, 0 … T - 1 - ahead */
	int			ahead;			/* distance to the later row an output is compared with, 0 … */
	float		maxmin;			/* k */
	float		contrast;		/* w_c */
	float		temperature;	/* of the contrast's logits */
} nn_objective;

/* What the outputs for a chunk are compared with. */
typedef struct nn_target
{
	const float *rows;			/* (T, C) values */
	const uint8_t *held_out;	/* (T) 1: the row has no loss; NULL: all have */
} nn_target;

/* Losses of some chunks: their share of the batch's means, so shares add up to these. */
typedef struct nn_losses
{
	double		reconstruction; /* R */
	double		discrepancy;	/* D, mean over rows, heads and blocks */
	double		contrast;
	double		total;			/* 2R - k·D + k·D + w_c·contrast */
} nn_losses;

/* Activations of a shard: up to `chunks` chunks of `rows` rows. */
typedef struct nn_train nn_train;

extern size_t nn_train_bytes(const nn_shape *shape, int chunks, int rows);
extern nn_train *nn_train_open(void *memory, const nn_shape *shape, int chunks, int rows,
							   nn_poll poll);

/*
 * Forward pass of nchunks chunks; chunk[b] points to (T, C) values, scaled and clipped.
 * Keeps what the backward pass needs.
 */
extern void nn_forward(nn_train *train, const float *params, const float *const *chunk,
					   int nchunks);

/*
 * Backward pass of the chunks of the last forward pass.  target: of each of them; NULL:
 * the chunk itself, with all its rows.  Sets grads (laid out like params) and losses to
 * these chunks' share of the batch's; batch_chunks is the number of chunks of the whole
 * batch.  In the reconstruction loss, rows that are held out count as reconstructed.
 */
extern void nn_backward(nn_train *train, const float *params, const nn_objective *objective,
						const nn_target *target, int batch_chunks, float *grads, nn_losses *losses);

/* For tests: the output (B, T, C) of the last forward pass. */
extern const float *nn_train_output(const nn_train *train);

/*
 * For tests: sets weights (W) to the global (which = 'G') or local ('A') association of
 * row i of chunk b in a block and head, i.e. the weights of rows i - W + 1 … i, oldest
 * first; 0 before the chunk's first row.
 */
extern void nn_train_association(const nn_train *train, int block, int b, int head, int row,
								 char which, float *weights);

/* ---- optimiser (adam.c) -------------------------------------------------------------- */

typedef struct nn_adam
{
	float		beta1;
	float		beta2;
	float		epsilon;
	float		clip;			/* limit of the gradient's global norm; 0: none */
} nn_adam;

/*
 * Takes step number `step` (1 …) of Adam with the bias corrections of Kingma & Ba.
 * moment1 and moment2 are laid out like params and start as zeros.  A gradient whose
 * norm exceeds the clip is scaled down to it.  Returns the norm before that.
 */
extern double nn_adam_step(const nn_adam *adam, int64_t step, double rate, size_t n, float *params,
						   const float *grads, float *moment1, float *moment2, nn_poll poll);

/*
 * One-cycle learning rate of step (0 … steps - 1): linear from peak/div to peak over
 * the first pct_start of the steps, then a cosine down to peak/div/final_div.
 */
extern double nn_one_cycle(int64_t step, int64_t steps, double peak, double pct_start, double div,
						   double final_div);

/* ---- streaming inference (stream.c) -------------------------------------------------- */

#define NN_STREAM_ROWS 96		/* limit of rows in a push, and the fastest number */

/* Weights laid out for inference, shared by any number of streams. */
typedef struct nn_packed nn_packed;

extern size_t nn_packed_bytes(const nn_shape *shape);
extern nn_packed *nn_pack(void *memory, const nn_shape *shape, const float *params, nn_poll poll);

/* Copies packed weights; the original may be another process's, in shared memory. */
extern nn_packed *nn_packed_copy(void *memory, const nn_shape *shape, const void *from,
								 nn_poll poll);

/*
 * A series being scored: rows go in, reconstructions and discrepancies come out, each
 * row computed once.  Keys and values of the last rows are kept, so memory does not
 * grow.  Once nn_context() rows precede a row, its outputs have the same bits however
 * rows are cut into pushes.
 */
typedef struct nn_stream nn_stream;

extern size_t nn_stream_bytes(const nn_shape *shape);
extern nn_stream *nn_stream_open(void *memory, const nn_packed *packed, nn_poll poll);

/* Begins a new series. */
extern void nn_stream_reset(nn_stream *stream);

/*
 * Adds n (1 … NN_STREAM_ROWS) rows (n, C) of the series, scaled and clipped.  Sets
 * expected (n, C) to their reconstructions, and the first N of each `stride` floats of
 * discrepancy to the mean over heads of JS(A, G) in each block.
 */
extern void nn_stream_push(nn_stream *stream, const float *rows, int n, float *expected, int stride,
						   float *discrepancy);

#endif							/* AMAD_CORE_NETWORK_NETWORK_H */
