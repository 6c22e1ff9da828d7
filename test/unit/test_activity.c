/*
 * test_activity.c
 *	  The activity of features (core/evidence/activity.c), and flatlines in the score.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/evidence/activity.h"
#include "core/evidence/raw_score.h"
#include "core/rng.h"
#include "tap.h"

enum
{
	C = 3,
	N = 300
};

#define CLIP 2.0

/* Noise that exceeds the clip; values are imputed at random. */
static void
make_rows(nn_rng *rng, double missing, float *rows, uint8_t *imputed)
{
	for (int i = 0; i < N; i++)
	{
		imputed[i] = 0;
		for (int c = 0; c < C; c++)
		{
			rows[i * C + c] = (float) (6 * nn_rng_double(rng) - 3);
			if (nn_rng_double(rng) < missing)
				imputed[i] |= 1 << c;
		}
	}
}

/* Mean of the known ones of the last `steps` steps, in the simplest way. */
static double
mean_step(const float *rows, const uint8_t *imputed, int at, int steps, int c)
{
	double		sum = 0;
	int			known = 0;

	for (int i = at; i > at - steps && i > 0; i--)
		if (((imputed[i] | imputed[i - 1]) >> c & 1) == 0)
		{
			sum += fabs(fmax(fmin(rows[i * C + c], CLIP), -CLIP) -
						fmax(fmin(rows[(i - 1) * C + c], CLIP), -CLIP));
			known++;
		}
	return 2 * known < steps ? NAN : sum / known;
}

static double
expected_activity(const float *rows, const uint8_t *imputed, int at, int steps, int c)
{
	double		many = mean_step(rows, imputed, at, steps, c);
	double		few = mean_step(rows, imputed, at, 4, c);

	return isnan(many) || isnan(few) ? NAN : fmax(many, few);
}

static void
push_all(nn_activity *stream, const float *rows, const uint8_t *imputed, int first, float *activity)
{
	for (int i = first; i < N; i++)
		nn_activity_push(stream, rows + i * C, imputed + i, activity + i * C);
}

/* missing: the share of imputed values. */
static void
test_stream(nn_rng *rng, int steps, double missing)
{
	static float rows[N * C];
	static float whole[N * C];
	static float later[N * C];
	uint8_t		imputed[N];
	void	   *memory = malloc(nn_activity_bytes(C, steps));
	nn_activity *stream = nn_activity_open(memory, C, steps, CLIP);
	double		worst = 0;
	int			unknown = 0;
	bool		same = true;

	make_rows(rng, missing, rows, imputed);
	push_all(stream, rows, imputed, 0, whole);
	for (int i = 0; i < N; i++)
		for (int c = 0; c < C; c++)
		{
			double		want = expected_activity(rows, imputed, i, steps, c);

			unknown += i >= steps && isnan(want);
			if (isnan(want) != isnan(whole[i * C + c]))
				worst = INFINITY;
			else if (!isnan(want))
				worst = fmax(worst, fabs(whole[i * C + c] - want));
		}
	if (!ok(worst < 1e-5, "%d steps, %g missing: the mean of known steps", steps, missing))
		note("off by %g; %d unknown", worst, unknown);
	for (int first = 1; first < 40; first += 13)
	{
		nn_activity_reset(stream);
		push_all(stream, rows, imputed, first, later);
		same = same &&
			memcmp(later + (first + steps) * C, whole + (first + steps) * C,
				   sizeof(float) * (N - first - steps) * C) == 0;
	}
	ok(same, "%d steps, %g missing: the same bits wherever the series began", steps, missing);
	free(memory);
}

static void
test_still(void)
{
	void	   *memory = malloc(nn_activity_bytes(1, 8));
	nn_activity *stream = nn_activity_open(memory, 1, 8, CLIP);
	const uint8_t gone = 1;
	const uint8_t given = 0;
	float		activity = 0;

	for (int i = 0; i < 20; i++)
		nn_activity_push(stream, &(float){i < 10 ? (float) (i % 2) : 1.0f}, NULL, &activity);
	ok(activity == 0, "a feature that stopped moving has activity 0");
	for (int i = 0; i < 12; i++)
		nn_activity_push(stream, &(float){1}, &gone, &activity);
	ok(isnan(activity), "the activity of imputed values is unknown");
	for (int i = 0; i < 4; i++)
		nn_activity_push(stream, &(float){1}, &given, &activity);
	ok(isnan(activity), "less than half of the steps known: unknown");
	nn_activity_push(stream, &(float){1}, &given, &activity);
	ok(activity == 0, "half of the steps known: known");
	nn_activity_push(stream, &(float){2}, &given, &activity);
	ok(activity == 0.25f, "the last four steps count as soon as it moves again");
	free(memory);
}

static void
test_score(void)
{
	const int	horizon = 1;
	const double rho[] = {0.5, 2, 1};
	const double theta = 1;
	const double least[] = {0.2, 0, 0.4};
	nn_calibration cal = {
		.features = 3,
		.nhorizons = 1,
		.horizons = &horizon,
		.clip = 5,
		.rho = rho,
		.theta = &theta,
		.threshold = 1,
		.flatline = 30,
		.activity = least,
	};
	const float scaled[] = {1, -1, 0};
	const float expected[] = {2, 1, 0};
	float		activity[] = {0.05f, 0, 0.4f};
	const uint8_t first[] = {1};
	const uint8_t all[] = {7};
	double		evidence[3];
	nn_row		row = {.scaled = scaled, .expected = expected, .activity = activity};

	ok(fabs(nn_raw_score(&cal, &row, evidence) - (2 + 2 + 9.4921875) / 3) < 1e-6 &&
		   fabs(evidence[0] - 11.4921875) < 1e-6 && evidence[1] == 2 && evidence[2] == 0,
	   "unusually low activity is evidence; no movement where that is usual is not");
	ok(fabs(nn_flatline_evidence(&cal, activity, NULL) - 9.4921875 / 3) < 1e-6,
	   "the evidence of flatlines alone");
	activity[0] = NAN;
	ok(fabs(nn_raw_score(&cal, &row, NULL) - 4.0 / 3) < 1e-9, "unknown activity is not evidence");
	activity[0] = 0.05f;
	row.imputed = first;
	ok(fabs(nn_raw_score(&cal, &row, evidence) - 1) < 1e-9 && evidence[0] == 0 &&
		   nn_flatline_evidence(&cal, activity, first) == 0,
	   "an imputed feature is not evidence");
	ok(nn_flatline_evidence(&cal, activity, all) == 0, "no evidence if all features are imputed");
	row.imputed = NULL;
	row.activity = NULL;
	ok(fabs(nn_raw_score(&cal, &row, NULL) - 4.0 / 3) < 1e-9, "no evidence without activities");
}

int
main(void)
{
	const int	steps[] = {4, 8, 16, 32};
	nn_rng		rng;

	nn_rng_seed(&rng, 5, 0);
	for (int i = 0; i < 4; i++)
	{
		test_stream(&rng, steps[i], 0);
		test_stream(&rng, steps[i], 0.3);
	}
	test_still();
	test_score();
	return done();
}
