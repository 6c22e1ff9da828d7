/*
 * core/evidence/recurrence.c
 *	  Recurrence: the evidence that rows usually have at their time of day or week.
 */
#include "core/evidence/recurrence.h"

#define DAY INT64_C(86400000000)	/* microseconds */
#define EPOCH_DAYS 730425		/* from 0000-03-01 to 2000-01-01, where time is 0 */
#define ERA_DAYS 146097			/* in 400 years */
#define ERA_MONTHS (400 * 12)

int
nn_recurrence_periods(const nn_season *season)
{
	return season->nperiods + (season->month_bins > 0);
}

int
nn_recurrence_bins(const nn_season *season, int period)
{
	return period < season->nperiods ? season->bins[period] : 2 * season->month_bins;
}

int
nn_recurrence_size(const nn_season *season)
{
	int			bins = 0;

	for (int i = 0; i < nn_recurrence_periods(season); i++)
		bins += nn_recurrence_bins(season, i);
	return bins;
}

static int64_t
floor_quotient(int64_t time, int64_t period)
{
	return time / period - (time % period < 0);
}

/*
 * The number of the month that contains a day, and the day's number in it, from 0 on.  Years begin
 * in March, so that the day that not every year has is the last one; 153 days are five months.
 */
static int64_t
month_of_day(int64_t day, int *in_month)
{
	const int64_t since = day + EPOCH_DAYS;
	const int64_t era = floor_quotient(since, ERA_DAYS);
	const int	in_era = (int) (since - era * ERA_DAYS);
	const int	year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	const int	in_year = in_era - (365 * year + year / 4 - year / 100);
	const int	month = (5 * in_year + 2) / 153;

	*in_month = in_year - (153 * month + 2) / 5;
	return era * ERA_MONTHS + year * 12 + month;
}

/* The bin, among those of the last day of a month and the first day of the next; -1: other days. */
static int
month_bin(const nn_season *season, int64_t time)
{
	const int64_t day = floor_quotient(time, DAY);
	const int64_t in_day = (time % DAY + DAY) % DAY;
	const int	bin = (int) (in_day * season->month_bins / DAY);
	int			today;
	int			tomorrow;

	(void) month_of_day(day, &today);
	(void) month_of_day(day + 1, &tomorrow);
	return today == 0 ? season->month_bins + bin : tomorrow == 0 ? bin : -1;
}

int
nn_recurrence_bin(const nn_season *season, int period, int64_t time)
{
	int			first = 0;
	int			bin;

	for (int i = 0; i < period; i++)
		first += nn_recurrence_bins(season, i);
	if (period == season->nperiods)
	{
		bin = month_bin(season, time);
		return bin < 0 ? -1 : first + bin;
	}
	bin = (int) (nn_season_phase(time, season->period[period]) * season->bins[period]);
	/* a phase just below 1 can be rounded to it */
	return first + (bin < season->bins[period] ? bin : season->bins[period] - 1);
}

int64_t
nn_recurrence_cycle(const nn_season *season, int period, int64_t time)
{
	int			in_month;

	return period < season->nperiods ? floor_quotient(time, season->period[period])
									 : month_of_day(floor_quotient(time, DAY), &in_month);
}

double
nn_recurrence_divisor(const nn_season *season, const double *profile, int64_t time)
{
	double		divisor = 1.0;

	for (int i = 0; i < nn_recurrence_periods(season); i++)
	{
		const int	bin = nn_recurrence_bin(season, i, time);

		if (bin >= 0 && profile[bin] > divisor)
			divisor = profile[bin];
	}
	return divisor;
}

int
nn_recurrence_slot(const nn_season *season, const double *slots, int64_t time)
{
	for (int i = 0; i < nn_recurrence_periods(season); i++)
	{
		int			bin = nn_recurrence_bin(season, i, time);

		for (int slot = 0; slot < NN_RECURRENCE_SLOTS; slot++)
			if (bin >= 0 && slots[slot] == bin + 1)
				return slot;
	}
	return -1;
}
