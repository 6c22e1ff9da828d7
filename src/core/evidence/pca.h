/*
 * core/evidence/pca.h
 *	  Principal components.
 */
#ifndef AMAD_CORE_EVIDENCE_PCA_H
#define AMAD_CORE_EVIDENCE_PCA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/poll.h"

/*
 * Components of scaled rows: begin, add all rows (n, C), end.  The last call sets
 * components (k, C), orthonormal, by falling variance, and returns k, the least
 * number that keeps the share `variance` (0 … 1], C - 1 at most; -1 when LAPACK
 * fails.  It cannot be interrupted, hence the limit.  memory: nn_pca_bytes().
 */
#define NN_PCA_FEATURES 1024	/* at most; a quarter of a second */
extern size_t nn_pca_bytes(int features);
extern void nn_pca_begin(void *memory, int features);
extern void nn_pca_add(void *memory, int features, const float *rows, int64_t n, nn_poll poll);
extern int	nn_pca_end(void *memory, int features, double variance, float *components);

/* Projections of rows (n, C) onto the components, row by row the same: (n, C). */
extern void nn_pca_reconstruct(int features, int k, const float *components, const float *rows,
							   int n, float *expected);

#endif							/* AMAD_CORE_EVIDENCE_PCA_H */
