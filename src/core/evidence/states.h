/*
 * core/evidence/states.h
 *	  States: how far rows are from what was seen in training (docs/model.md, States).
 *
 * A state is the centre of a cluster of windows of NN_STATE_ROWS training rows.
 * Learning: nn_states_weigh() sets the features' weights, nn_states_window() makes
 * weighted windows from rows, nn_states_learn() clusters them.  Scoring: rows pass
 * through a stream, and each row's distance from the nearest state comes out.
 */
#ifndef AMAD_CORE_EVIDENCE_STATES_H
#define AMAD_CORE_EVIDENCE_STATES_H

#include <stddef.h>

#include "core/poll.h"
#include "core/rng.h"
#include "core/tensor.h"

#define NN_STATES 32			/* centres */
#define NN_STATE_ROWS 4			/* rows of a window */
#define NN_STATES_TENSORS 3		/* tensors that hold the states of a model */

/* Floats of the states' parameters, and their i-th tensor, its offset counted from params. */
extern size_t nn_states_size(int features);
extern nn_param nn_states_tensor(int features, int i);

/*
 * Sets the weights of the features from the least and the greatest scaled, unclipped
 * value (C) of each in the training rows.  weight (C; NULL: 1) multiplies their
 * squares.
 */
extern void nn_states_weigh(int features, const float *least, const float *most,
							const double *weight, float *params);

/* Makes a window from NN_STATE_ROWS neighbouring rows (C), scaled but not clipped. */
extern void nn_states_window(int features, const float *params, const float *rows, float *window);

/*
 * Sets the centres from windows (n, NN_STATE_ROWS, C).  If n is 0, all centres are
 * at the mean of the rows.  memory: nn_states_bytes().
 */
extern size_t nn_states_bytes(int features, int n);
extern void nn_states_learn(void *memory, int features, const float *windows, int n, nn_rng *rng,
							float	   *params, nn_poll poll);

/* A series being scored; params must outlive it. */
typedef struct nn_state_stream nn_state_stream;

extern size_t nn_state_stream_bytes(int features);
extern nn_state_stream *nn_state_stream_open(void *memory, int features, const float *params);

/* Begins a new series. */
extern void nn_state_stream_reset(nn_state_stream *stream);

/*
 * Adds rows (n, C), scaled but not clipped.  imputed: their maps of imputed features
 * (n, IMPUTED_BYTES), which are at no distance from any centre; NULL: none.  Sets
 * distances[i * stride] to the squared distance of the window that ends with the i-th
 * row from the nearest centre, plus a tenth of the variance of the training windows; or
 * to twice the same without the row of the window that is farthest away, if that is
 * less.  Once NN_STATE_ROWS - 1 rows
 * precede a row, its distance has the same bits however rows are cut into pushes.
 */
extern void nn_state_stream_push(nn_state_stream *stream, const float *rows, const uint8_t *imputed,
								 int n, int stride, float *distances);

#endif							/* AMAD_CORE_EVIDENCE_STATES_H */
