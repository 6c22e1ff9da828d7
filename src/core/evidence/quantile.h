/*
 * core/evidence/quantile.h
 *	  Quantiles by selection.
 */
#ifndef AMAD_CORE_EVIDENCE_QUANTILE_H
#define AMAD_CORE_EVIDENCE_QUANTILE_H

#include <stddef.h>
#include "core/poll.h"

/*
 * q-quantile (0 … 1) of n values, linear between order statistics; reorders them.  0 for
 * no values.  The second one polls.
 */
extern double nn_quantile(double *values, size_t n, double q);
extern double nn_quantile_polled(double *values, size_t n, double q, nn_poll poll);

#endif							/* AMAD_CORE_EVIDENCE_QUANTILE_H */
