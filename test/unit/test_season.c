/*
 * test_season.c
 *	  The season (core/evidence/season.c), and its evidence in the score.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/evidence/raw_score.h"
#include "core/evidence/season.h"
#include "core/rng.h"
#include "tap.h"

#define TURN (2 * 3.14159265358979323846)

static const nn_season week = {
	.nperiods = 2,
	.period = {24, 168},
	.harmonics = {3, 2},
};

static void
test_basis(void)
{
	double		basis[NN_SEASON_TERMS];
	double		again[NN_SEASON_TERMS];
	const nn_season none = {0};
	double		worst = 0;
	int			terms = nn_season_terms(&week);

	ok(terms == 11 && nn_season_terms(&none) == 0,
	   "a constant and two functions per harmonic; no terms without a season");
	for (int64_t t = -500; t < 500; t += 7)
	{
		int			at = 1;

		nn_season_basis(&week, t, basis);
		worst = fmax(worst, fabs(basis[0] - 1));
		for (int i = 0; i < week.nperiods; i++)
			for (int k = 1; k <= week.harmonics[i]; k++)
			{
				double		angle = TURN * k * (double) t / (double) week.period[i];

				worst = fmax(worst, fabs(basis[at++] - sin(angle)));
				worst = fmax(worst, fabs(basis[at++] - cos(angle)));
			}
	}
	ok(worst < 1e-12, "basis: sines and cosines, also at negative times");
	nn_season_basis(&week, 100, basis);
	nn_season_basis(&week, INT64_C(168) * 54901024866184 + 100, again);
	ok(memcmp(basis, again, sizeof(double) * terms) == 0, "basis: exact at times of any size");
	nn_season_basis(&week, INT64_MIN, basis);
	nn_season_basis(&week, INT64_MAX, again);
	ok(isfinite(basis[1]) && isfinite(again[1]),
	   "basis: finite at the least and the greatest time");
}

/* One feature is a + b·sin + c·cos of the second harmonic of the day, the other is noise. */
static void
test_regression(void)
{
	enum
	{
		ROWS = 24 * 60
	};
	const int	terms = nn_season_terms(&week);
	void	   *memory = malloc(nn_season_bytes(&week, 2));
	double	   *weights = malloc(sizeof(double) * 2 * terms);
	double		basis[NN_SEASON_TERMS];
	double		worst = 0;
	double		noise = 0;
	nn_rng		rng;

	nn_rng_seed(&rng, 5, 0);
	nn_season_begin(memory, &week, 2);
	for (int t = 0; t < ROWS; t++)
	{
		const float row[] = {(float) (0.5 + sin(TURN * 2 * t / 24) - 2 * cos(TURN * 2 * t / 24)),
							 (float) (2 * nn_rng_double(&rng) - 1)};

		nn_season_add(memory, &week, 2, t, row);
	}
	ok(nn_season_end(memory, &week, 2, weights), "a regression has a solution");
	for (int t = ROWS; t < ROWS + 200; t++)
	{
		nn_season_basis(&week, t, basis);
		worst = fmax(worst,
					 fabs(nn_season_expected(terms, weights, basis) -
						  (0.5 + sin(TURN * 2 * t / 24) - 2 * cos(TURN * 2 * t / 24))));
		noise = fmax(noise, fabs(nn_season_expected(terms, weights + terms, basis)));
	}
	/* the ridge reduces the waves by a fiftieth, but not the constant */
	ok(worst < 0.05 && fabs(weights[0] - 0.5) < 1e-3, "a periodic feature is predicted");
	ok(noise < 0.2, "of noise, next to nothing is predicted");
	free(memory);
	free(weights);
}

/* Rows that all have the same phase do not determine the weights; with the ridge they do. */
static void
test_degenerate(void)
{
	void	   *memory = malloc(nn_season_bytes(&week, 1));
	double		weights[NN_SEASON_TERMS];
	double		basis[NN_SEASON_TERMS];
	const float row[] = {3};

	nn_season_begin(memory, &week, 1);
	for (int t = 0; t < 50; t++)
		nn_season_add(memory, &week, 1, 168 * t, row);
	nn_season_basis(&week, 0, basis);
	ok(nn_season_end(memory, &week, 1, weights) &&
		   fabs(nn_season_expected(nn_season_terms(&week), weights, basis) - 3) < 1e-6,
	   "rows of one phase");
	free(memory);
}

static void
test_score(void)
{
	const nn_season season = {.nperiods = 1, .period = {4}, .harmonics = {1}};
	/* expected: of the first feature the sine, of the second always 1 */
	const double weights[] = {0, 1, 0, 1, 0, 0};
	const double scale[] = {2, 3};
	const double rho[] = {0.5, 2};
	const int	horizon = 1;
	const double theta = 1;
	nn_calibration cal = {
		.features = 2,
		.nhorizons = 1,
		.horizons = &horizon,
		.clip = 5,
		.rho = rho,
		.theta = &theta,
		.threshold = 1,
		.season = &season,
		.season_weights = weights,
		.season_scale = scale,
	};
	const float scaled[] = {3, -1};
	const float expected[] = {2, 1};
	const uint8_t second[] = {2};
	double		evidence[2];
	nn_row		row = {.scaled = scaled, .expected = expected, .time = 5};
	double		raw = nn_raw_score(&cal, &row, evidence);

	/* at time 5 the season expects 1 and 1: 1/0.5 + 2·2² and 4/2 + 3·2² */
	ok(fabs(evidence[0] - 10) < 1e-12 && fabs(evidence[1] - 14) < 1e-12 && fabs(raw - 12) < 1e-12,
	   "evidence is the network's plus the season's");
	row.imputed = second;
	row.time = 7;
	raw = nn_raw_score(&cal, &row, evidence);
	/* at time 7 the sine is -1: 1/0.5 + 2·4² */
	ok(fabs(raw - 34) < 1e-12 && evidence[1] == 0, "an imputed feature has no evidence");
	cal.season = NULL;
	row.imputed = NULL;
	ok(nn_raw_score(&cal, &row, NULL) == 2, "without a season, evidence is the network's");
}

int
main(void)
{
	test_basis();
	test_regression();
	test_degenerate();
	test_score();
	return done();
}
