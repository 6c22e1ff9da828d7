/*
 * core/evidence/states.h
 *	  States: centres of windows of training rows, and the distance of new windows from them.
 */
#ifndef AMAD_CORE_EVIDENCE_STATES_H
#define AMAD_CORE_EVIDENCE_STATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/poll.h"
#include "core/rng.h"
#include "core/tensor.h"

#define NN_STATES 32			/* centres */
#define NN_STATE_ROWS 4			/* rows of a window */

/* Floats that the states of so many features are kept in (params). */
extern size_t nn_states_size(int features);

/* The i-th of their NN_STATES_TENSORS tensors, its offset counted from params. */
#define NN_STATES_TENSORS 3
extern nn_param nn_states_tensor(int features, int i);

/*
 * Learning: the weights of the features, from the least and the greatest value (C) of
 * each in the training rows, scaled but not clipped, and what their squares weigh (C,
 * NULL: 1); then windows (n, NN_STATE_ROWS, C),
 * made from as many neighbouring rows each; then centres of n windows, of none the mean
 * of the rows.  memory: nn_states_bytes().
 */
extern void nn_states_weigh(int features, const float *least, const float *most,
							const double *weight, float *params);
extern void nn_states_window(int features, const float *params, const float *rows, float *window);
extern size_t nn_states_bytes(int features, int n);
extern void nn_states_learn(void *memory, int features, const float *windows, int n, nn_rng *rng,
							float *params, nn_poll poll);

/*
 * Rows of a series, scaled but not clipped (n, C), in; of each the squared distance of
 * the window that ends with it from the nearest centre, plus a tenth of the variance
 * of the training's windows, out: distances[i * stride].  params must outlive the
 * stream.  The same bits however rows are cut into pushes, once NN_STATE_ROWS - 1 precede.
 */
typedef struct nn_state_stream nn_state_stream;

extern size_t nn_state_stream_bytes(int features);
extern nn_state_stream *nn_state_stream_open(void *memory, int features, const float *params);
extern void nn_state_stream_reset(nn_state_stream *stream);
extern void nn_state_stream_push(nn_state_stream *stream, const float *rows, int n, int stride,
								 float *distances);

#endif							/* AMAD_CORE_EVIDENCE_STATES_H */
