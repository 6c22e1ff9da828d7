/*
 * core/network/layers.h
 *	  Parts of the network in training, forward and backward, called by train.c.
 */
#ifndef AMAD_CORE_NETWORK_LAYERS_H
#define AMAD_CORE_NETWORK_LAYERS_H

#include "core/network/shard.h"

/*
 * loss.c.  Reconstruction: sets dout, returns this shard's share of R.
 * Contrast of block n: sets dzg and dza, returns this shard's share.
 */
extern double nn_reconstruction(nn_train *train, const nn_objective *objective, int batch_chunks);
extern double nn_contrast(nn_train *train, int n, const nn_objective *objective, int batch_chunks);

/* attention.c: attention of block n, from proj to z, and back to dproj. */
extern void nn_attention(nn_train *train, int n);
extern double nn_attention_backward(nn_train *train, int n, const nn_objective *objective,
									int batch_chunks);

/* embed.c: rows of chunks to h of the first block; gradients from dh. */
extern void nn_embed(nn_train *train, const float *params, const float *const *chunk);
extern void nn_embed_backward(nn_train *train, float *grads);

#endif							/* AMAD_CORE_NETWORK_LAYERS_H */
