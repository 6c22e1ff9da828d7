/*
 * core/evidence/activity.h
 *	  Activity: how much the features of a series move.
 */
#ifndef AMAD_CORE_EVIDENCE_ACTIVITY_H
#define AMAD_CORE_EVIDENCE_ACTIVITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Rows of a series in, one by one, scaled; of each feature the mean distance of
 * neighbouring values, clipped, of the last `rows` (a power of two, NN_ACTIVITY_FEW …)
 * steps or, when that is larger, of the last NN_ACTIVITY_FEW, out (C): how much it has moved.  Steps to and from
 * imputed values are not known, and do not count; NaN when less than half of either are.
 * The same bits wherever the series began, once `rows` rows precede.
 */
#define NN_ACTIVITY_FEW 4		/* steps */

typedef struct nn_activity nn_activity;

extern size_t nn_activity_bytes(int features, int rows);
extern nn_activity *nn_activity_open(void *memory, int features, int rows, double clip);
extern void nn_activity_reset(nn_activity *stream);
extern void nn_activity_push(nn_activity *stream, const float *row, const uint8_t *imputed,
							 float *activity);

#endif							/* AMAD_CORE_EVIDENCE_ACTIVITY_H */
