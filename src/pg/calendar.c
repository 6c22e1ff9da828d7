/*
 * pg/calendar.c
 *	  The calendar of a model: time zone and holidays.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "utils/timestamp.h"

#include "pg/calendar.h"

#define DAYS_PER_WEEK 7
#define SUNDAY 1				/* 2000-01-02, in days of DateADT */

pg_tz *
calendar_zone(const char *name)
{
	pg_tz	   *zone = pg_tzset(name);

	return zone != NULL && pg_tz_acceptable(zone) ? zone : NULL;
}

static int64
floor_divide(int64 x, int64 by)
{
	return x / by - (x % by < 0);
}

static bool
is_holiday(const Calendar *calendar, int64 day)
{
	int			low = 0;
	int			high = calendar->nholidays;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (calendar->holidays[middle] < day)
			low = middle + 1;
		else
			high = middle;
	}
	return low < calendar->nholidays && calendar->holidays[low] == day;
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
		int64		day = floor_divide(ts, USECS_PER_DAY);

		if (is_holiday(calendar, day))
			ts -= (day - SUNDAY - DAYS_PER_WEEK * floor_divide(day - SUNDAY, DAYS_PER_WEEK)) *
				USECS_PER_DAY;
	}
	return ts;
}
