/*
 * pg/calendar.h
 *	  The calendar of a model: time zone and holidays.
 */
#ifndef AMAD_PG_CALENDAR_H
#define AMAD_PG_CALENDAR_H

#include "pgtime.h"
#include "utils/date.h"

typedef struct Calendar
{
	pg_tz	   *zone;			/* NULL: UTC */
	int			nholidays;
	DateADT    *holidays;		/* ascending */
} Calendar;

/* The time zone of a name or abbreviation; NULL if it does not exist or counts leap seconds. */
extern pg_tz *calendar_zone(const char *name);

/* The order of dates, for qsort() and bsearch(). */
extern int	calendar_compare_dates(const void *a, const void *b);

/*
 * The local time of a timestamp (microseconds), for seasons and recurrence.  A holiday is moved
 * to the Sunday before it.  A timestamp outside the range of time zones does not change.
 */
extern int64 calendar_time(const Calendar *calendar, int64 ts);

#endif							/* AMAD_PG_CALENDAR_H */
