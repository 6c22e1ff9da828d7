/*
 * test_relations.c
 *	  Relations between features (core/evidence/relations.c), and their evidence in the
 *	  score; severities (core/evidence/severity.h).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/evidence/raw_score.h"
#include "core/evidence/relations.h"
#include "core/evidence/severity.h"
#include "core/rng.h"
#include "tap.h"

#define C 4
#define N 4000

/* Rows of C numbers: those of the first three share a part, the last is alone. */
static void
draw_row(nn_rng *rng, double *q)
{
	double		common = 0;

	for (int i = 0; i < 12; i++)
		common += nn_rng_double(rng) - 0.5;
	for (int c = 0; c < C; c++)
	{
		double		own = 0;

		for (int i = 0; i < 12; i++)
			own += nn_rng_double(rng) - 0.5;
		q[c] = c < 3 ? (common + 0.5 * own) / sqrt(1.25) : own;
	}
}

/* Λ of N rows, of which every third has no value of a feature (-1: all have). */
static bool
fit(float *precision, int missing)
{
	void	   *memory = malloc(nn_relations_bytes(C));
	nn_rng		rng;
	bool		fitted;

	nn_rng_seed(&rng, 3, 0);
	nn_relations_begin(memory, C);
	for (int i = 0; i < N; i++)
	{
		const uint8_t imputed[] = {missing >= 0 && i % 3 == 0 ? 1 << missing : 0};
		double		q[C];

		draw_row(&rng, q);
		if (imputed[0])
			q[missing] = 1e9;
		nn_relations_add(memory, C, q, imputed);
	}
	fitted = nn_relations_end(memory, C, precision);
	free(memory);
	return fitted;
}

static void
test_matrix(void)
{
	/* correlation of the first three, shrunk by .05 */
	const double r = 0.95 * 0.8;
	const double diagonal = (1 + r) / ((1 - r) * (1 + 2 * r));
	const double other = -r / ((1 - r) * (1 + 2 * r));
	float		precision[C * C];
	float		holes[C * C];
	void	   *memory = malloc(nn_relations_bytes(C));
	double		same[C] = {1, 1, 1, 1};
	bool		symmetric = true;

	ok(fit(precision, -1) && fabs(precision[0] / diagonal - 1) < 0.06 &&
		   fabs(precision[1] / other - 1) < 0.1 && fabs(precision[3]) < 0.1 &&
		   fabs(precision[15] - 1) < 0.02,
	   "the inverse of the shrunk correlation");
	for (int i = 0; i < C; i++)
		for (int j = 0; j < C; j++)
			symmetric = symmetric && fabs(precision[i * C + j] - precision[j * C + i]) < 1e-4;
	ok(symmetric, "it is symmetric");
	ok(fit(holes, 1) && fabs(holes[0] / precision[0] - 1) < 0.05 &&
		   fabs(holes[5] / precision[5] - 1) < 0.05,
	   "missing values do not count");

	nn_relations_begin(memory, C);
	for (int i = 0; i < 100; i++)
		nn_relations_add(memory, C, same, NULL);
	ok(nn_relations_end(memory, C, precision) && isfinite(precision[0]) && precision[0] > 0,
	   "features that repeat each other");
	nn_relations_begin(memory, C);
	ok(nn_relations_end(memory, C, precision) && precision[0] == 1 && precision[1] == 0,
	   "no rows: no relations");
	free(memory);
}

static void
test_terms(void)
{
	float		precision[C * C];
	float		usual[C] = {2, 2, 2, 0};
	float		broken[C] = {2, 2, -2, 0};
	float		terms[C];
	float		whole[C];
	float		pair[9];
	float		q[C];
	const uint8_t third[] = {1 << 2};
	const uint8_t last[] = {1 << 3};
	const uint8_t two[] = {1 << 2 | 1 << 3};
	double		sum = 0;
	double		worst = 0;
	nn_rng		rng;
	void	   *memory = malloc(nn_relations_bytes(C));

	fit(precision, -1);
	memcpy(q, usual, sizeof(q));
	nn_relations_terms(C, precision, q, NULL, whole);
	memcpy(q, broken, sizeof(q));
	nn_relations_terms(C, precision, q, NULL, terms);
	ok(terms[2] > 10 * whole[2] && terms[2] > terms[0] && terms[2] > terms[1] && terms[3] < 0.1,
	   "a feature that departs from the others has the greatest term");
	for (int c = 0; c < C; c++)
	{
		float		y = 0;

		for (int j = 0; j < C; j++)
			y += precision[c * C + j] * broken[j];
		worst = fmax(worst, fabs(terms[c] - y * y / precision[c * C + c]));
	}
	ok(worst < 1e-4, "terms are those of the formula");

	/* in the mean over rows like those it was fitted to, a term is about 1 */
	nn_rng_seed(&rng, 5, 0);
	for (int i = 0; i < N; i++)
	{
		double		row[C];

		draw_row(&rng, row);
		for (int c = 0; c < C; c++)
			q[c] = (float) row[c];
		nn_relations_terms(C, precision, q, NULL, terms);
		sum += terms[0] / N;
	}
	ok(sum > 0.6 && sum < 1.2, "their mean is about 1");

	/* without the third feature: the model of the two others, computed by hand */
	memcpy(q, broken, sizeof(q));
	q[2] = 1e6f;
	nn_relations_terms(C, precision, q, third, terms);
	for (int i = 0; i < 2; i++)
		for (int j = 0; j < 2; j++)
			pair[i * 2 + j] = precision[i * C + j] -
				precision[i * C + 2] * precision[2 * C + j] / precision[2 * C + 2];
	worst = 0;
	for (int i = 0; i < 2; i++)
	{
		float		y = pair[i * 2] * broken[0] + pair[i * 2 + 1] * broken[1];

		worst = fmax(worst, fabs(terms[i] - y * y / precision[i * C + i]));
	}
	ok(worst < 1e-2 && terms[2] == 0, "an imputed feature is left out of the model");
	memcpy(q, broken, sizeof(q));
	nn_relations_terms(C, precision, q, last, whole);
	memcpy(q, broken, sizeof(q));
	q[3] = NAN;
	nn_relations_terms(C, precision, q, two, terms);
	ok(isfinite(terms[0]) && isfinite(terms[1]) && terms[2] == 0 && terms[3] == 0 &&
		   terms[0] < 2 * whole[0] && terms[0] < 5,
	   "two imputed features, one of them not a number");
	free(memory);
}

static void
test_score(void)
{
	const int	horizon = 1;
	const double rho[] = {1, 1, 1, 1};
	const double mean[] = {1, 1, 1, 2};
	const double theta = 1;
	float		precision[C * C];
	float		terms[C];
	const float scaled[] = {2, 2, -2, 0};
	const float expected[] = {0, 0, 0, 0};
	const uint8_t all[] = {15};
	double		evidence[C];
	double		relation;
	double		raw;
	double		sum = 0;
	nn_calibration cal = {
		.features = C,
		.nhorizons = 1,
		.horizons = &horizon,
		.clip = 5,
		.rho = rho,
		.theta = &theta,
		.threshold = 1,
		.precision = precision,
		.relation_mean = mean,
		.relation_limit = 2,
		.relation = 30,
	};
	nn_row		row = {.scaled = scaled, .expected = expected};

	fit(precision, -1);
	relation = nn_row_relation(&cal, &row, terms);
	raw = nn_raw_score(&cal, &row, evidence);
	for (int c = 0; c < C; c++)
		sum += evidence[c] / C;
	ok(relation > 2 && fabs(raw - (3 + 30 * (relation / 2 - 1))) < 1e-6 * raw,
	   "a relation beyond the limit is evidence");
	ok(fabs(sum - raw) < 1e-6 * raw && evidence[2] > evidence[0] && evidence[3] < evidence[0],
	   "and it is that of the features that break it");
	cal.relation_limit = 1e6;
	ok(nn_raw_score(&cal, &row, NULL) == 3, "within the limit it is none");
	cal.relation_limit = 2;
	row.imputed = all;
	ok(nn_raw_score(&cal, &row, evidence) == NN_NO_SCORE && evidence[2] == 0,
	   "no evidence if all features are imputed");
}

static void
test_severity(void)
{
	bool		rises = true;
	double		before = 0;

	for (double score = 1e-300; score < 1e300; score *= 1.01)
	{
		double		severity = nn_severity(score, 3);

		rises = rises && severity > before;
		before = severity;
	}
	ok(rises && before < 1000, "severities rise strictly and stay below 1000");
	ok(nn_severity(3, 3) == 1 && nn_severity(0, 3) == 0 && fabs(nn_severity(1.5, 3) - 0.5) < 1e-15,
	   "1 is the threshold");
	ok(isnan(nn_severity(NAN, 3)) && isfinite(nn_severity(1e308, 1e-300)),
	   "not a number without a score, and finite for any threshold");
	ok(fabs(nn_severity_ratio(nn_severity(700, 7)) - 100) < 1e-9 && nn_severity_ratio(0.25) == 0.25,
	   "and back");
}

int
main(void)
{
	test_matrix();
	test_terms();
	test_score();
	test_severity();
	return done();
}
