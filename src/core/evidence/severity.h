/*
 * core/evidence/severity.h
 *	  The severity of a row, from its anomaly score and the threshold.
 */
#ifndef AMAD_CORE_EVIDENCE_SEVERITY_H
#define AMAD_CORE_EVIDENCE_SEVERITY_H

#include <math.h>

/*
 * With s = score / threshold, s up to 1, and 1 + ln s beyond: strictly increasing, 1 at the
 * threshold, and below 1420 for all doubles.  NaN stays NaN.
 */
static inline double
nn_severity(double score, double threshold)
{
	double		s = score / threshold;

	/* the threshold of a forged model may be so small that s is infinite */
	return s <= 1.0 ? s : 1.0 + (log(score) - log(threshold));
}

/* s, from the severity. */
static inline double
nn_severity_ratio(double severity)
{
	return severity <= 1.0 ? severity : exp(severity - 1.0);
}

#endif							/* AMAD_CORE_EVIDENCE_SEVERITY_H */
