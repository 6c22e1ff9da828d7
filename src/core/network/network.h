/*
 * core/network/network.h
 *	  The AMAD network: parameters, training, streaming inference, scores.
 *
 * Pure C11 and CBLAS; nothing here knows PostgreSQL.  The caller hands in all
 * memory (ask *_bytes() first, then *_open()), so nothing is allocated inside a
 * step and an error may unwind through any function without a leak.
 *
 * The mathematics is docs/model.md; its section numbers are those used below.
 * Symbols: C features, D = d_model, H heads, d = D/H, N blocks, W window,
 * K = NN_BASIS mask functions, T rows of a chunk, B chunks.  All tensors are
 * float32, row-major; shapes are written (outer … inner).
 */
#ifndef AMAD_CORE_NETWORK_NETWORK_H
#define AMAD_CORE_NETWORK_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/poll.h"
#include "core/shape.h"
#include "core/tensor.h"

/* Parts of the network that can be switched off, as bits of a set. */
#define NN_WITHOUT_AUTOMASK 1	/* M = 0, so A = G: no local association */
#define NN_WITHOUT_MIXUP 2		/* g = 1/2: the mean of the two views */
#define NN_WITHOUT_MULTISCALE 4 /* every convolution sees the current row only */

/* Rows before a row that its output depends on: N·(W - 1) + 14 (section 2.4). */
extern int	nn_context(const nn_shape *shape);

/* Number of named tensors, the i-th of them, and the floats of all together. */
extern int	nn_param_count(const nn_shape *shape);
extern nn_param nn_param_at(const nn_shape *shape, int i);
extern size_t nn_params_size(const nn_shape *shape);

/*
 * Initial weights: uniform ±1/sqrt(fan_in) for linear layers, convolutions and
 * their biases, 1 and 0 for layer norms.  The same seed gives the same bytes.
 */
extern void nn_params_init(const nn_shape *shape, uint64_t seed, float *params, nn_poll poll);

/*
 * Sets to 0 what the parts of a set of NN_WITHOUT_* learn: weights and biases of a
 * and of g, all taps but the last.  values is params, which switches the parts
 * off, or is laid out like it: gradients cleared before each step keep them off.
 */
extern void nn_params_clear(const nn_shape *shape, unsigned parts, float *values);


/* ---- training (train.c, loss.c) */

/* Weights of the losses (section 2.5). */
typedef struct nn_objective
{
	int			skip;			/* first rows of each chunk without a loss, 0 … T - 1 - ahead */
	int			ahead;			/* an output is compared with the row so many later, 0 … */
	float		maxmin;			/* k */
	float		contrast;		/* w_c */
	float		temperature;	/* of the contrast's logits */
} nn_objective;

/* Losses, summed so that adding those of all shards gives the batch's means. */
typedef struct nn_losses
{
	double		reconstruction; /* R */
	double		discrepancy;	/* D, mean over rows, heads and blocks */
	double		contrast;
	double		total;			/* 2R - k·D + k·D + w_c·contrast */
} nn_losses;

/* Activations of one shard: up to `chunks` chunks of `rows` rows. */
typedef struct nn_train nn_train;

extern size_t nn_train_bytes(const nn_shape *shape, int chunks, int rows);
extern nn_train *nn_train_open(void *memory, const nn_shape *shape, int chunks,
							   int rows, nn_poll poll);

/*
 * Forward pass of nchunks chunks; chunk[b] points at its first row of (T, C)
 * values, scaled and clipped.  Keeps what the backward pass needs.
 */
extern void nn_forward(nn_train *train, const float *params,
					   const float *const *chunk, int nchunks);

/*
 * Backward pass of the chunks just forwarded.  `grads` (like params) is
 * overwritten with the gradient of the batch's total loss, `losses` with these
 * chunks' share of it; batch_chunks is the number of chunks of the whole batch.
 */
extern void nn_backward(nn_train *train, const float *params, const nn_objective *objective,
						int batch_chunks, float *grads, nn_losses *losses);

/* What the last forward pass computed, for tests. */
extern const float *nn_train_output(const nn_train *train);	/* (B, T, C) */

/*
 * Association of row i of chunk b in a block and head: global (which = 'G') or
 * local ('A') weights of the rows i - W + 1 … i, oldest first, as W floats;
 * 0 before the chunk's first row.
 */
extern void nn_train_association(const nn_train *train, int block, int b, int head,
								 int row, char which, float *weights);


/* ---- optimiser (adam.c) */

typedef struct nn_adam
{
	float		beta1;
	float		beta2;
	float		epsilon;
	float		clip;			/* of the gradient's global norm; 0: none */
} nn_adam;

/*
 * Step number `step` (1 …) of Adam with the bias corrections of Kingma & Ba.
 * moment1 and moment2 are like params and start as zeros.  Gradients whose norm
 * exceeds the clip are scaled down to it.  Returns the norm before clipping.
 */
extern double nn_adam_step(const nn_adam *adam, int64_t step, double rate, size_t n,
						   float *params, const float *grads, float *moment1, float *moment2,
						   nn_poll poll);

/*
 * One-cycle learning rate of step (0 … steps - 1): linear from peak/div to peak
 * over the first pct_start of the steps, then a cosine down to peak/div/final_div.
 */
extern double nn_one_cycle(int64_t step, int64_t steps, double peak, double pct_start,
						   double div, double final_div);


/* ---- streaming inference (stream.c) */

#define NN_STREAM_ROWS 96		/* rows in one push at most; the best block size */

/* Weights laid out for inference, shared by any number of streams. */
typedef struct nn_packed nn_packed;

extern size_t nn_packed_bytes(const nn_shape *shape);
extern nn_packed *nn_pack(void *memory, const nn_shape *shape, const float *params, nn_poll poll);

/* A copy in other memory, also of one that another process made in shared memory. */
extern nn_packed *nn_packed_copy(void *memory, const nn_shape *shape, const void *from,
								 nn_poll poll);

/*
 * A series being scored: rows in, reconstructions and discrepancies out, each
 * row computed once.  Keys and values of the last rows are kept, so memory does
 * not grow.  A row's outputs are bit-equal however the rows are cut into
 * pushes, once nn_context() rows precede it.
 */
typedef struct nn_stream nn_stream;

extern size_t nn_stream_bytes(const nn_shape *shape);
extern nn_stream *nn_stream_open(void *memory, const nn_packed *packed, nn_poll poll);
extern void nn_stream_reset(nn_stream *stream);	/* a new series begins */

/*
 * The next n (1 … NN_STREAM_ROWS) rows of the series, scaled and clipped, (n, C).
 * expected: (n, C) reconstructions; discrepancy: mean over heads of JS(A, G) in each
 * block, of a row in N of `stride` floats.
 */
extern void nn_stream_push(nn_stream *stream, const float *rows, int n,
						   float *expected, int stride, float *discrepancy);

#endif							/* AMAD_CORE_NETWORK_NETWORK_H */
