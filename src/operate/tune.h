/*
 * operate/tune.h
 *	  The rule for incidents of a watch that keeps to a number of alarms a day.
 */
#ifndef AMAD_OPERATE_TUNE_H
#define AMAD_OPERATE_TUNE_H

#include "operate/watch_tables.h"
#include "rows/source.h"

/* A rule, and what it would have announced. */
typedef struct TunedRule
{
	double		min_severity;
	int			min_rows;
	int64		merge_gap;		/* in units of the time column */
	int64		alarms;
	double		alarms_per_day;
	bool		at_least;		/* there were more than were counted */
	int64		recent;			/* alarms of the last days */
	int64		incidents;		/* confirmed ones that it keeps */
} TunedRule;

/*
 * Replays the stored severities from since on over a grid of rules, as the watch's owner.  Returns
 * the rules, in the order of the grid, and sets n; chosen is the number of the one with the most
 * alarms a day that are at most per_day, among those that keep the most confirmed incidents, or
 * of the one with the fewest; -1 if the table of scores has less than a day.  NOTICE if the
 * chosen one loses confirmed incidents that another one keeps.  keep: the rule of the watch is chosen if
 * it is good enough.
 */
extern TunedRule *tune_rules(const Watch *watch, const Source *source, const char *target,
							 const int64 *since, double per_day, bool keep, int *n, int *chosen);

/* Stores a rule in the row of a watch, and when it was examined. */
extern void tune_store(Oid function, const Watch *watch, const TunedRule *rule, double per_day,
					   int version, TimestampTz as_of);

#endif							/* AMAD_OPERATE_TUNE_H */
