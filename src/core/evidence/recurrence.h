/*
 * core/evidence/recurrence.h
 *	  Recurrence: the evidence that rows usually have at their time of day or week.
 *
 * Each period of the season is divided into bins.  Months may be another period, after those of
 * the season: bins divide the last day of a month and the first day of the next.  The profile of a
 * series contains, for each bin of each period, the number by which evidence at this time is
 * divided: the ratio of its usual evidence to that of other times, or 1 if nothing recurs
 * (docs/model.md, Recurrence).
 */
#ifndef AMAD_CORE_EVIDENCE_RECURRENCE_H
#define AMAD_CORE_EVIDENCE_RECURRENCE_H

#include "core/evidence/season.h"

#define NN_RECURRENCE_SLOTS 16	/* bins with usual values: those with the most evidence */

/* The periods, the bins of one, and the numbers in a profile: the bins of all; 0 without a season. */
extern int	nn_recurrence_periods(const nn_season *season);
extern int	nn_recurrence_bins(const nn_season *season, int period);
extern int	nn_recurrence_size(const nn_season *season);

/* The index in a profile of the bin of a period that contains a time; -1 on other days of a month. */
extern int	nn_recurrence_bin(const nn_season *season, int period, int64_t time);

/* The number of the cycle of a period that contains a time: of the day, of the month. */
extern int64_t nn_recurrence_cycle(const nn_season *season, int period, int64_t time);

/*
 * The slot of a bin that contains a time; -1 if no such bin has one.  slots
 * (NN_RECURRENCE_SLOTS): 1 + the index of the bin in the profile; 0 for an empty slot.
 */
extern int	nn_recurrence_slot(const nn_season *season, const double *slots, int64_t time);

/* The number by which evidence at a time is divided: the greatest of those of its bins. */
extern double nn_recurrence_divisor(const nn_season *season, const double *profile, int64_t time);

#endif							/* AMAD_CORE_EVIDENCE_RECURRENCE_H */
