/*
 * core/evidence/activity.h
 *	  Activity: how much the features of a series move.
 *
 * Rows of a series go in one by one, and each feature's activity comes out
 * (docs/model.md, Flatlines): the mean distance of neighbouring values over the
 * last `rows` steps or over the last NN_ACTIVITY_FEW, whichever is larger.  The
 * second lets a feature that moves again be noticed soon.  A step from or to an
 * imputed value is unknown and does not count.
 */
#ifndef AMAD_CORE_EVIDENCE_ACTIVITY_H
#define AMAD_CORE_EVIDENCE_ACTIVITY_H

#include <stddef.h>
#include <stdint.h>

#define NN_ACTIVITY_FEW 4		/* steps */

typedef struct nn_activity nn_activity;

/*
 * rows: a power of two, at least NN_ACTIVITY_FEW.  memory: nn_activity_bytes().
 * Values are clipped at `clip` before they are compared.
 */
extern size_t nn_activity_bytes(int features, int rows);
extern nn_activity *nn_activity_open(void *memory, int features, int rows, double clip);

/* Begins a new series. */
extern void nn_activity_reset(nn_activity *stream);

/*
 * Adds a scaled row (C) with its map of imputed features and sets activity (C); NaN
 * where fewer than half of either number of steps are known.  Once `rows` rows
 * precede a row, its activity has the same bits wherever the series began.
 */
extern void nn_activity_push(nn_activity *stream, const float *row, const uint8_t *imputed,
							 float *activity);

#endif							/* AMAD_CORE_EVIDENCE_ACTIVITY_H */
