/*
 * core/evidence/pca.h
 *	  Principal components, the baseline (docs/model.md, Baselines).
 *
 * To find the components of scaled rows: begin, add all rows, end.  They need
 * nn_pca_bytes() of memory.
 */
#ifndef AMAD_CORE_EVIDENCE_PCA_H
#define AMAD_CORE_EVIDENCE_PCA_H

#include <stddef.h>
#include <stdint.h>

#include "core/poll.h"

#define NN_PCA_FEATURES 1024	/* limit, as nn_pca_end() cannot be interrupted: 250 ms */

extern size_t nn_pca_bytes(int features);
extern void nn_pca_begin(void *memory, int features);
extern void nn_pca_add(void *memory, int features, const float *rows, int64_t n, nn_poll poll);

/*
 * Sets components (k, C), orthonormal, in order of decreasing variance, and returns
 * k: the least number that keeps the share `variance` (0 … 1], at most C - 1.
 * Returns -1 if LAPACK fails.
 */
extern int	nn_pca_end(void *memory, int features, double variance, float *components);

/*
 * Projects rows (n, C) onto the components.  A row's result does not depend on the
 * rows it is passed with.
 */
extern void nn_pca_reconstruct(int features, int k, const float *components, const float *rows,
							   int n, float *expected);

#endif							/* AMAD_CORE_EVIDENCE_PCA_H */
