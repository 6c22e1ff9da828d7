/*
 * core/evidence/recurrence.h
 *	  Recurrence: the evidence that rows usually have at their time of day or week.
 *
 * Each period of the season is divided into bins.  The profile of a series has a number for
 * each bin of each period: how many times the usual evidence recurs at this time
 * (docs/model.md, Recurrence); 1 where nothing does.
 */
#ifndef AMAD_CORE_EVIDENCE_RECURRENCE_H
#define AMAD_CORE_EVIDENCE_RECURRENCE_H

#include "core/evidence/season.h"

#define NN_RECURRENCE_SLOTS 16	/* bins whose usual values are known: those where most recurs */

/* Numbers in a profile: the bins of all periods; 0 without a season. */
extern int	nn_recurrence_size(const nn_season *season);

/* The place in a profile of the bin of a period that a time is in. */
extern int	nn_recurrence_bin(const nn_season *season, int period, int64_t time);

/*
 * The slot of the bin that a time is in; -1 if it has none.  slots (NN_RECURRENCE_SLOTS):
 * 1 + the place of the bin in the profile; 0 for an empty slot.
 */
extern int	nn_recurrence_slot(const nn_season *season, const double *slots, int64_t time);

/* The number that evidence at a time is divided by: the greatest of those of its bins. */
extern double nn_recurrence_divisor(const nn_season *season, const double *profile, int64_t time);

#endif							/* AMAD_CORE_EVIDENCE_RECURRENCE_H */
