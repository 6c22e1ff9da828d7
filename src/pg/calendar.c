/*
 * pg/calendar.c
 *	  The calendar of a model: time zone and holidays.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "pg/calendar.h"

pg_tz *
calendar_zone(const char *name)
{
	pg_tz	   *zone = pg_tzset(name);

	return zone != NULL && pg_tz_acceptable(zone) ? zone : NULL;
}

int
calendar_compare_dates(const void *a, const void *b)
{
	DateADT		x = *(const DateADT *) a;
	DateADT		y = *(const DateADT *) b;

	return (x > y) - (x < y);
}

int64
calendar_time(const Calendar *calendar, int64 ts)
{
	if (calendar->zone)
	{
		struct pg_tm tm;
		fsec_t		fsec;
		int			west;		/* seconds */

		if (timestamp2tm(ts, &west, &tm, &fsec, NULL, calendar->zone) != 0)
			return ts;
		ts -= west * USECS_PER_SEC;
	}
	if (calendar->nholidays > 0)
	{
		DateADT		day = (DateADT) (ts / USECS_PER_DAY - (ts % USECS_PER_DAY < 0));

		if (bsearch(&day, calendar->holidays, calendar->nholidays, sizeof(DateADT),
					calendar_compare_dates) != NULL)
			ts -= j2day(day + POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
	}
	return ts;
}
