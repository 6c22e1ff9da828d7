/*
 * core/evidence/quantile.h
 *	  Quantiles by selection.
 */
#ifndef AMAD_CORE_EVIDENCE_QUANTILE_H
#define AMAD_CORE_EVIDENCE_QUANTILE_H

#include <stddef.h>

#include "core/poll.h"

/*
 * The q-quantile (0 … 1) of n values, interpolated linearly between order
 * statistics; 0 if n is 0.  Reorders the values, which must not be NaN.
 */
extern double nn_quantile(double *values, size_t n, double q);

/* The same for large n: calls poll every few milliseconds. */
extern double nn_quantile_polled(double *values, size_t n, double q, nn_poll poll);

#endif							/* AMAD_CORE_EVIDENCE_QUANTILE_H */
