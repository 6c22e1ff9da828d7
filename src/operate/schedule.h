/*
 * operate/schedule.h
 *	  Jobs of other schedulers that refresh watches.
 */
#ifndef AMAD_OPERATE_SCHEDULE_H
#define AMAD_OPERATE_SCHEDULE_H

#include "operate/watch_tables.h"

/*
 * Removes the jobs of a watch that belong to the current role or to the watch's owner, where the
 * current role may.  Returns their number.
 */
extern int	schedule_remove(const Watch *watch);

#endif							/* AMAD_OPERATE_SCHEDULE_H */
