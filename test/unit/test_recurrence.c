/*
 * test_recurrence.c
 *	  What recurs at its time (core/evidence/recurrence.c), and levels (core/evidence/level.c).
 */
#include <math.h>
#include <string.h>

#include "core/evidence/level.h"
#include "core/evidence/raw_score.h"
#include "core/evidence/recurrence.h"
#include "core/rng.h"
#include "tap.h"

/* bins of two units of time in the first period, of seven in the second */
static const nn_season week = {
	.nperiods = 2,
	.period = {24, 168},
	.harmonics = {1, 1},
	.bins = {12, 24},
};

static void
test_bins(void)
{
	const nn_season none = {0};
	const nn_season one = {.nperiods = 1, .period = {INT64_C(9000000000000000000)}, .bins = {672}};
	bool		same = true;
	bool		repeats = true;

	ok(nn_recurrence_size(&week) == 36 && nn_recurrence_size(&none) == 0, "bins of all periods");
	for (int64_t t = -400; t < 400; t++)
	{
		int64_t		day = ((t % 24) + 24) % 24;
		int64_t		in_week = ((t % 168) + 168) % 168;

		same = same && nn_recurrence_bin(&week, 0, t) == day / 2 &&
			nn_recurrence_bin(&week, 1, t) == 12 + in_week / 7;
		repeats = repeats &&
			nn_recurrence_bin(&week, 1, t) ==
				nn_recurrence_bin(&week, 1, t + INT64_C(168) * 50000000000000000);
	}
	ok(same, "bins at the borders of periods, also at negative times");
	ok(repeats, "bins at times of any size");
	ok(nn_recurrence_bin(&one, 0, -1) == 671 && nn_recurrence_bin(&one, 0, 0) == 0 &&
		   nn_recurrence_bin(&one, 0, one.period[0] - 1) == 671,
	   "a phase that is rounded to 1 is in the last bin");
	for (int i = 0; i < 2; i++)
	{
		int			least = nn_recurrence_bin(&week, i, INT64_MIN);
		int			most = nn_recurrence_bin(&week, i, INT64_MAX);

		ok(least >= 12 * i && least < 12 + 24 * i && most >= 12 * i && most < 12 + 24 * i,
		   "the least and the greatest time have bins of period %d", i);
	}
}

static int
days_of_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool		leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month] + (month == 1 && leap);
}

/* Day by day from 1580 to 2420, whose months are counted here. */
static void
test_months(void)
{
	const int64_t day = INT64_C(86400000000);
	const nn_season season = {.nperiods = 1,
							  .period = {INT64_C(604800000000)},
							  .bins = {7},
							  .month_bins = 24};
	const int	last = 7;
	const int	first = 7 + 24;
	int64_t		time = -153402 * day;	/* 1580-01-01 */
	int64_t		cycle = nn_recurrence_cycle(&season, 1, time);
	int			in_month = 0;
	bool		right = true;
	bool		counted = true;

	ok(nn_recurrence_periods(&season) == 2 && nn_recurrence_bins(&season, 1) == 48 &&
		   nn_recurrence_size(&season) == 55,
	   "months are a period after those of the season");
	for (int year = 1580, month = 0; year < 2420; time += day)
	{
		const int	days = days_of_month(year, month);

		for (int hour = 0; hour < 24; hour += 23)
		{
			const int64_t at = time + day / 24 * hour;
			const int	wanted = in_month == 0 ? first + hour
				: in_month == days - 1		 ? last + hour
											 : -1;

			right = right && nn_recurrence_bin(&season, 1, at) == wanted &&
				nn_recurrence_bin(&season, 1, at + day / 24 - 1) == wanted;
			counted = counted && nn_recurrence_cycle(&season, 1, at + day / 24 - 1) == cycle;
		}
		if (++in_month < days)
			continue;
		in_month = 0;
		cycle++;
		month = (month + 1) % 12;
		year += month == 0;
	}
	ok(right, "bins of the last and the first days of months");
	ok(counted, "the number of the month");
	for (int i = 0; i < 2; i++)
	{
		const int	bin = nn_recurrence_bin(&season, 1, i == 0 ? INT64_MIN : INT64_MAX);

		ok(bin == -1 || (bin >= last && bin < last + 48), "the least and the greatest time");
	}
}

/* Other days have no number of the months. */
static void
test_month_divisor(void)
{
	const int64_t day = INT64_C(86400000000);
	const nn_season season = {.nperiods = 1,
							  .period = {INT64_C(604800000000)},
							  .bins = {7},
							  .month_bins = 24};
	double		profile[55];
	double		slots[NN_RECURRENCE_SLOTS] = {0};

	for (int i = 0; i < 55; i++)
		profile[i] = i < 7 ? 1.0 : 5.0;
	slots[3] = 1 + 7 + 24 + 2;	/* 2:00 on the first day */
	ok(nn_recurrence_divisor(&season, profile, 0) == 5.0 &&
		   nn_recurrence_divisor(&season, profile, -1) == 5.0 &&
		   nn_recurrence_divisor(&season, profile, day) == 1.0,
	   "divisor on the first and last day of a month");
	ok(nn_recurrence_slot(&season, slots, day / 12) == 3 &&
		   nn_recurrence_slot(&season, slots, day / 12 + day) == -1,
	   "a slot on the first day");
}

static void
test_slots(void)
{
	double		slots[NN_RECURRENCE_SLOTS] = {0};

	ok(nn_recurrence_slot(&week, slots, 0) == -1, "without a slot");
	slots[2] = 1 + 12 + 23;		/* the end of the week */
	slots[5] = 1 + 11;			/* the end of the day */
	slots[6] = 1e300;
	slots[7] = 0.5;
	ok(nn_recurrence_slot(&week, slots, 0) == -1 && nn_recurrence_slot(&week, slots, 21) == -1,
	   "a time in no bin with a slot");
	ok(nn_recurrence_slot(&week, slots, 22) == 5 && nn_recurrence_slot(&week, slots, -2 - 24) == 5,
	   "a time in a bin of the day");
	ok(nn_recurrence_slot(&week, slots, 161) == 2 && nn_recurrence_slot(&week, slots, -7) == 2,
	   "a time in a bin of the week");
	ok(nn_recurrence_slot(&week, slots, -1) == 5, "of two slots, that of the shorter period");
}

static void
test_divisor(void)
{
	double		profile[36];

	for (int i = 0; i < 36; i++)
		profile[i] = 1.0;
	profile[1] = 3.0;			/* 2:00 to 4:00 */
	profile[12] = 7.0;			/* the first 7 hours of the week */
	profile[12 + 3] = 2.0;		/* 21:00 on the first day to 4:00 on the second */
	ok(nn_recurrence_divisor(&week, profile, 4) == 7.0 &&
		   nn_recurrence_divisor(&week, profile, 2) == 7.0 &&
		   nn_recurrence_divisor(&week, profile, 26) == 3.0 &&
		   nn_recurrence_divisor(&week, profile, 25) == 2.0,
	   "the greatest number of the bins of a time");
	ok(nn_recurrence_divisor(&week, profile, 10) == 1.0, "1 where nothing recurs");
	ok(nn_recurrence_divisor(&week, profile, 2 - 168) == 7.0, "divisor at a negative time");
}

static void
test_score(void)
{
	double		profile[36];
	double		slots[NN_RECURRENCE_SLOTS] = {0};
	double		mean[NN_RECURRENCE_SLOTS * 2] = {0};
	double		scale[NN_RECURRENCE_SLOTS * 2] = {0};
	const double no_weights[2 * 5] = {0};
	const double no_scale[2] = {0};
	const double rho[] = {0.5, 2};
	nn_calibration cal = {
		.features = 2,
		.clip = 5,
		.rho = rho,
		.season = &week,
		.season_weights = no_weights,
		.season_scale = no_scale,
		.recurrence = profile,
		.recurrence_slots = slots,
		.recurrence_mean = mean,
		.recurrence_scale = scale,
	};
	const float scaled[] = {3, -9};
	const float expected[] = {2, 1};
	const uint8_t second[] = {2};
	double		evidence[2];
	nn_row		row = {.scaled = scaled, .expected = expected, .time = 26};
	double		raw;

	for (int i = 0; i < 36; i++)
		profile[i] = 1.0;
	profile[1] = 4.0;

	/* 1/0.5 and, from the clip, 36/2; divided by 4 */
	raw = nn_raw_score(&cal, &row, evidence);
	ok(fabs(raw - 2.5) < 1e-12 && evidence[0] == 2 && evidence[1] == 18,
	   "the raw score is divided, the evidence of features is not");

	/* and 0.25·2² and, without the clip, 0.5·2², undivided */
	slots[3] = 2;
	mean[2 * 3] = 1;
	mean[2 * 3 + 1] = -7;
	scale[2 * 3] = 0.25;
	scale[2 * 3 + 1] = 0.5;
	raw = nn_raw_score(&cal, &row, evidence);
	ok(fabs(raw - 4) < 1e-12 && fabs(evidence[0] - 6) < 1e-12 && fabs(evidence[1] - 26) < 1e-12,
	   "evidence of unusual values is added undivided, and has its share");
	ok(fabs(nn_recurrence_score(&cal, &row, 10) - 4) < 1e-12, "in two steps it is the same");
	row.imputed = second;
	/* 2/4 + 0.25·2² */
	ok(fabs(nn_raw_score(&cal, &row, evidence) - 1.5) < 1e-12 && evidence[1] == 0 &&
		   fabs(nn_recurrence_score(&cal, &row, 2) - 1.5) < 1e-12,
	   "an imputed feature is not unusual");
	row.time = 28;
	ok(fabs(nn_raw_score(&cal, &row, NULL) - 2) < 1e-12, "at another time nothing recurs");
	row.time = 26;
	cal.recurrence = NULL;
	ok(fabs(nn_raw_score(&cal, &row, NULL) - 2) < 1e-12, "without a profile nothing recurs");
}

/* ---- levels -------------------------------------------------------------------------------- */

static void
test_level(void)
{
	nn_level	level;
	nn_rng		rng;
	double		raw[NN_LEVEL_TO];
	double		last = 0;
	bool		early = true;

	nn_level_reset(&level);
	nn_rng_seed(&rng, 1, 0);
	/* rows 65 … 118 before are the first half of those that are needed */
	for (int t = 0; t < NN_LEVEL_FROM + 54; t++)
		early = early && nn_level_push(&level, t, 1.0, 1.0) == 0.0;
	ok(early, "there is no level while fewer than half of the raw scores are known");
	ok(nn_level_push(&level, NN_LEVEL_FROM + 54, 9.0, 1.0) == 1.0, "then there is one");

	/* the median of exactly the rows from NN_LEVEL_FROM + 1 to NN_LEVEL_TO before */
	nn_level_reset(&level);
	for (int t = 0; t < NN_LEVEL_TO; t++)
	{
		raw[t] = nn_rng_double(&rng);
		(void) nn_level_push(&level, t, raw[t], 1.0);
	}
	last = nn_level_push(&level, NN_LEVEL_TO, 1e9, 1.0);
	{
		int			below = 0;
		int			above = 0;

		for (int t = 0; t < NN_LEVEL_TO - NN_LEVEL_FROM; t++)
		{
			below += raw[t] < last;
			above += raw[t] > last;
		}
		ok(below == above && below == (NN_LEVEL_TO - NN_LEVEL_FROM) / 2,
		   "the level is the median of rows some time ago");
	}
	for (int t = 1; t < 500; t++)
		last = nn_level_push(&level, NN_LEVEL_TO + t, 1e9, 1.0);
	ok(last == 1e9, "a change that stays becomes the level");

	/* unknown raw scores do not count */
	nn_level_reset(&level);
	for (int t = 0; t < 400; t++)
		last = nn_level_push(&level, t, t % 2 ? NN_NO_SCORE : 3.0, 1.0);
	ok(last == 3.0, "unknown raw scores do not count");
	nn_level_reset(&level);
	for (int t = 0; t < 400; t++)
		last = nn_level_push(&level, t, t % 5 ? NN_NO_SCORE : 3.0, 1.0);
	ok(last == 0.0, "if most are unknown, there is no level");
}

static void
test_level_time(void)
{
	nn_level	level;
	double		last = 0;

	/* at 1.5 steps all of the rows count: most of them are from before the change */
	nn_level_reset(&level);
	for (int t = 0; t < 400; t++)
		last = nn_level_push(&level, 3 * t, t < 300 ? 1.0 : 2.0, 2.0);
	ok(last == 1.0, "rows at 1.5 times the step");
	nn_level_reset(&level);
	for (int t = 0; t < 400; t++)
		last = nn_level_push(&level, 3 * t, 1.0, 1.0);
	ok(last == 0.0, "rows too long ago do not count");
	nn_level_reset(&level);
	for (int t = 0; t < 400; t++)
		last = nn_level_push(&level, 3 * t, 1.0, 0.0);
	ok(last == 0.0, "without a step there is no level");

	/* distances of times near the limits do not overflow */
	nn_level_reset(&level);
	for (int t = 0; t < 400; t++)
		(void) nn_level_push(&level, INT64_MIN + t, 1.0, 1.0);
	ok(nn_level_push(&level, INT64_MAX, 1.0, 1.0) == 0.0 &&
		   nn_level_push(&level, INT64_MAX, 1.0, 1e18) == 1.0,
	   "the longest distance");
}

static void
test_beyond(void)
{
	ok(nn_level_beyond(3, 2) == 1.5 && nn_level_beyond(1, 2) == 1 && nn_level_beyond(2, 2) == 1,
	   "a level in units of its limit, at least 1");
	ok(nn_level_beyond(3, 0) == 1 && nn_level_beyond(NAN, 2) == 1 && nn_level_beyond(3, NAN) == 1,
	   "without a limit, or a level, it is 1");
}

int
main(void)
{
	test_bins();
	test_months();
	test_month_divisor();
	test_slots();
	test_divisor();
	test_score();
	test_level();
	test_level_time();
	test_beyond();
	return done();
}
