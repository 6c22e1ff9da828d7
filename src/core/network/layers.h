/*
 * core/network/layers.h
 *	  Parts of the network in training, forward and backward, for train.c.
 *
 * Losses are this shard's share of the means over a batch of batch_chunks chunks.
 */
#ifndef AMAD_CORE_NETWORK_LAYERS_H
#define AMAD_CORE_NETWORK_LAYERS_H

#include "core/network/shard.h"

/* embed.c: sets h of the first block from the chunks' rows; adds to grads from dh. */
extern void nn_embed(nn_train *train, const float *params, const float *const *chunk);
extern void nn_embed_backward(nn_train *train, float *grads);

/* attention.c: sets bands and z of block n from proj; sets dproj and returns D. */
extern void nn_attention(nn_train *train, int n);
extern double nn_attention_backward(nn_train *train, int n, const nn_objective *objective,
									int batch_chunks);

/* loss.c: sets dout and returns R; sets dzg and dza of block n and returns its contrast. */
extern double nn_reconstruction(nn_train *train, const nn_objective *objective,
								const nn_target *target, int batch_chunks);
extern double nn_contrast(nn_train *train, int n, const nn_objective *objective, int batch_chunks);

#endif							/* AMAD_CORE_NETWORK_LAYERS_H */
