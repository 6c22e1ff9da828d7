/*
 * core/evidence/recurrence.c
 *	  Recurrence: the evidence that rows usually have at their time of day or week.
 */
#include "core/evidence/recurrence.h"

int
nn_recurrence_size(const nn_season *season)
{
	int			bins = 0;

	for (int i = 0; i < season->nperiods; i++)
		bins += season->bins[i];
	return bins;
}

int
nn_recurrence_bin(const nn_season *season, int period, int64_t time)
{
	int			first = 0;
	int			bin = (int) (nn_season_phase(time, season->period[period]) * season->bins[period]);

	for (int i = 0; i < period; i++)
		first += season->bins[i];
	/* a phase just below 1 can be rounded to it */
	return first + (bin < season->bins[period] ? bin : season->bins[period] - 1);
}

double
nn_recurrence_divisor(const nn_season *season, const double *profile, int64_t time)
{
	double		divisor = 1.0;

	for (int i = 0; i < season->nperiods; i++)
	{
		double		usual = profile[nn_recurrence_bin(season, i, time)];

		divisor = usual > divisor ? usual : divisor;
	}
	return divisor;
}

int
nn_recurrence_slot(const nn_season *season, const double *slots, int64_t time)
{
	for (int i = 0; i < season->nperiods; i++)
	{
		int			bin = nn_recurrence_bin(season, i, time);

		for (int slot = 0; slot < NN_RECURRENCE_SLOTS; slot++)
			if (slots[slot] == bin + 1)
				return slot;
	}
	return -1;
}
