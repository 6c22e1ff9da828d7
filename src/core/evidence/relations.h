/*
 * core/evidence/relations.h
 *	  Relations between the features of a row (docs/model.md, Relations).
 *
 * The network sees the rows before a row, so what the features say of each other in the row
 * enters nowhere else.  Residuals that deviate together, as they do in normal rows, are
 * usual; a residual that deviates from what the others predict for it is not.
 */
#ifndef AMAD_CORE_EVIDENCE_RELATIONS_H
#define AMAD_CORE_EVIDENCE_RELATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/tensor.h"

#define NN_RELATION_FEATURES 256	/* limit: a row costs the square of their number */
#define NN_RELATION_CLIP 5.0	/* of a normalised residual when relations are fitted */

/* Floats of the parameters of C features: the precision matrix Λ (C, C); as a tensor. */
extern size_t nn_relations_size(int features);
extern nn_param nn_relations_tensor(int features);

/*
 * Fits Λ to residuals.  Residuals q (C) of rows, divided by their root mean square, are added
 * one row at a time to the sums in memory (nn_relations_bytes()); features that are imputed
 * are not used.  Λ is the inverse of their correlation, shrunk towards the identity.  False
 * if it could not be computed.
 */
extern size_t nn_relations_bytes(int features);
extern void nn_relations_begin(void *memory, int features);
extern void nn_relations_add(void *memory, int features, const double *q, const uint8_t *imputed);
extern bool nn_relations_end(void *memory, int features, float *precision);

/*
 * Sets terms (C) to (Λq)_c² / Λ_cc: what feature c shows beyond what the others explain.
 * Imputed features take the values that the others predict, and their terms are 0.
 */
extern void nn_relations_terms(int features, const float *precision, float *q,
							   const uint8_t *imputed, float *terms);

#endif							/* AMAD_CORE_EVIDENCE_RELATIONS_H */
