/*
 * core/evidence/sketch.h
 *	  Quantiles of values that are counted in several places: a histogram with logarithmic
 *	  buckets.
 *
 * Each power of two is divided into NN_SKETCH_PARTS buckets, as in HdrHistogram, so a value is
 * known to a relative error of NN_SKETCH_ERROR (compare DDSketch, Masson et al. 2019).  Sketches
 * are merged by adding the counts.  The result does not depend on the order of values, on
 * the order of merging, or on how values were distributed, because counts are integers and
 * the bucket of a value follows from its bits.
 */
#ifndef AMAD_CORE_EVIDENCE_SKETCH_H
#define AMAD_CORE_EVIDENCE_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NN_SKETCH_PARTS 128		/* of a power of two */
#define NN_SKETCH_ERROR 0.004	/* relative; the greatest is 1 / 257 */
#define NN_SKETCH_LEAST (-40)	/* exponents: less than 2^-40 counts as 0 … */
#define NN_SKETCH_MOST 40		/* … and more than 2^40 as 2^40 */
#define NN_SKETCH_BUCKETS ((NN_SKETCH_MOST - NN_SKETCH_LEAST) * NN_SKETCH_PARTS + 2)

typedef struct nn_sketch
{
	uint64_t	n;				/* values */
	uint64_t	count[NN_SKETCH_BUCKETS];	/* the first: 0; the last: 2^40 */
} nn_sketch;

extern void nn_sketch_clear(nn_sketch *sketch);

/* Adds a value, which must not be NaN; negative ones count as 0. */
extern void nn_sketch_add(nn_sketch *sketch, double value);

/* Adds to the count of a bucket; false, without a change, if n would overflow. */
extern bool nn_sketch_add_count(nn_sketch *sketch, int bucket, uint64_t count);

/*
 * The q-quantile (0 … 1), interpolated linearly between order statistics like that of
 * nn_quantile(), from which it differs by NN_SKETCH_ERROR at most; 0 if there are no values.
 */
extern double nn_sketch_quantile(const nn_sketch *sketch, double q);

#endif							/* AMAD_CORE_EVIDENCE_SKETCH_H */
