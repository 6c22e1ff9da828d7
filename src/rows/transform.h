/*
 * rows/transform.h
 *	  Transforms features row by row, in training and in scoring.
 */
#ifndef AMAD_ROWS_TRANSFORM_H
#define AMAD_ROWS_TRANSFORM_H

#include "model/transforms.h"

typedef struct Transformer Transformer;

/* How a value is computed from a transformed one: base + factor · transformed, or exp(). */
typedef struct Inverse
{
	double		base;			/* NaN: not known */
	double		factor;
} Inverse;

/* A transformer in the current context; it keeps a pointer to the transforms. */
extern Transformer *transformer_open(const Transforms *transforms, Oid ts_type);
extern Size transformer_bytes(const Transforms *transforms);

/* Begins a stretch: earlier rows are not used. */
extern void transformer_begin(Transformer *transformer);

/*
 * Transforms the next row of the stretch in place; NaN: missing.  Sets inverse (features)
 * unless it is NULL.
 */
extern void transformer_row(Transformer *transformer, int64 ts, double *values, Inverse *inverse);

/* Whether a fall is the reset or wrap-around of a counter. */
extern bool transform_is_reset(double from, double to);

/* The value of a feature that corresponds to a transformed value. */
extern double transform_invert(int kind, const Inverse *inverse, double value);

/*
 * The effect of rounding on the transformed values of a feature, when the largest magnitude
 * among its values is `largest` and the time between rows is `step`.
 */
extern double transform_rounding(int kind, double largest, double step, Oid ts_type);

#endif							/* AMAD_ROWS_TRANSFORM_H */
