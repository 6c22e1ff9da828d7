/*
 * test_states.c
 *	  The states (core/evidence/states.c), and their weight in the score.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/evidence/raw_score.h"
#include "core/evidence/states.h"
#include "tap.h"

#define C 3
#define WINDOW (NN_STATE_ROWS * C)
#define N 600

/* Windows in three states, plus noise. */
static float *
three_states(nn_rng *rng, double noise)
{
	float	   *windows = malloc(sizeof(float) * N * WINDOW);

	for (int i = 0; i < N; i++)
		for (int d = 0; d < WINDOW; d++)
			windows[i * WINDOW + d] = (float) (i % 3 * 2 - 2 + noise * (nn_rng_double(rng) - 0.5));
	return windows;
}

static float *
learn(const float *windows, int n, uint64_t seed)
{
	float	   *params = calloc(nn_states_size(C), sizeof(float));
	void	   *memory = malloc(nn_states_bytes(C, n));
	nn_rng		rng;

	for (int c = 0; c < C; c++)
		params[c] = 1;
	nn_rng_seed(&rng, seed, 2);
	nn_states_learn(memory, C, windows, n, &rng, params, NULL);
	free(memory);
	return params;
}

/* The distance of a window from the nearest centre, in the simplest way. */
static double
expected_distance(const float *params, const float *window)
{
	const float *centre = params + C + 1;
	double		least = INFINITY;

	for (int k = 0; k < NN_STATES; k++, centre += WINDOW)
	{
		double		sum = 0;

		for (int d = 0; d < WINDOW; d++)
			sum += pow((double) window[d] - centre[d], 2);
		least = fmin(least, sum);
	}
	return least + params[C];
}

/*
 * What the stream makes of a window: at most twice the distance that is left without the
 * farthest row.  imputed[i]: feature 1 of row i does not count.
 */
static double
expected_result(const float *params, const float *window, const bool *imputed)
{
	const float *centre = params + C + 1;
	double		least = INFINITY;
	double		trimmed = INFINITY;

	for (int k = 0; k < NN_STATES; k++, centre += WINDOW)
	{
		double		sum = 0;
		double		most = 0;

		for (int i = 0; i < NN_STATE_ROWS; i++)
		{
			double		part = 0;

			for (int c = 0; c < C; c++)
				if (c != 1 || !imputed[i])
					part += pow((double) window[i * C + c] * params[c] - centre[i * C + c], 2);
			sum += part;
			most = fmax(most, part);
		}
		least = fmin(least, sum);
		trimmed = fmin(trimmed, sum - most);
	}
	return fmin(least + params[C], 2 * (trimmed + params[C]));
}

static void
test_learning(void)
{
	nn_rng		rng;
	float	   *windows;
	float	   *params;
	float	   *again;
	double		sum = 0;

	nn_rng_seed(&rng, 1, 0);
	windows = three_states(&rng, 0.1);
	params = learn(windows, N, 7);
	again = learn(windows, N, 7);
	for (int i = 0; i < N; i++)
		sum += expected_distance(params, windows + i * WINDOW) - params[C];
	/* per value, the variance is 8/3, and that of the noise 0.1²/12 */
	ok(fabs(params[C] - 0.1 * WINDOW * 8 / 3) < 0.01, "nearness is a tenth of the variance");
	ok(sum / N < WINDOW * 0.01 / 12, "windows are as close to the centres as the noise allows");
	ok(memcmp(params, again, sizeof(float) * nn_states_size(C)) == 0,
	   "the same seed gives the same states");
	free(again);
	again = learn(windows, 1, 7);
	ok(expected_distance(again, windows) < 1e-9 && again[C] > 0, "a single window is a state");
	for (int i = 0; i < N * WINDOW; i++)
		windows[i] = 0.5f;
	free(again);
	again = learn(windows, N, 7);
	ok(expected_distance(again, windows) < 1e-9 && again[C] > 0, "equal windows have one state");
	free(again);
	again = learn(windows, 0, 7);
	ok(fabs(expected_distance(again, windows) - WINDOW * 0.25) < 1e-6 && again[C] > 0,
	   "without windows, the state is the mean");
	free(windows);
	free(params);
	free(again);
}

static void
test_weights(void)
{
	const float least[] = {-2, 0, -1};
	const float most[] = {2, 0, 99};
	const float rows[WINDOW] = {2, 1, 1e6f, 0, 0, 0, 0, 0, -1e6f, -2, -1, 0};
	float		params[C];
	float		window[WINDOW];

	nn_states_weigh(C, least, most, (double[]){4, 1, 0.01}, params);
	ok(params[0] == 1 && fabs(params[2] - 0.01) < 1e-8,
	   "weights are multiplied by the root of the given weight");
	nn_states_weigh(C, least, most, NULL, params);
	ok(params[0] == 0.5f && fabs(params[1] - 1 / sqrt(10)) < 1e-6 && params[2] == 0.1f,
	   "weights are 1 / the root of the range, of a constant 1 / the root of 10");
	nn_states_window(C, params, rows, window);
	ok(window[0] == 1 && window[9] == -1 && fabs(window[1] - 1 / sqrt(10)) < 1e-6,
	   "values are weighted");
	ok(fabs(window[2] - 100) < 1e-4 && fabs(window[8] + 100) < 1e-4,
	   "values are bounded at ten ranges");
}

/* Pushes rows in pieces. */
static void
push_pieces(nn_state_stream *stream, const float *rows, int n, int piece, int stride,
			float *distances)
{
	for (int i = 0; i < n; i += piece)
		nn_state_stream_push(stream, rows + i * C, NULL, n - i < piece ? n - i : piece, stride,
							 distances + i * stride);
}

static void
test_stream(void)
{
	enum
	{
		ROWS = 200
	};
	nn_rng		rng;
	float	   *windows;
	float	   *params;
	float		rows[ROWS * C];
	float		whole[ROWS];
	float		cut[ROWS * 3];
	void	   *memory = malloc(nn_state_stream_bytes(C));
	nn_state_stream *stream;
	double		worst = 0;
	const bool	none[NN_STATE_ROWS] = {false};
	bool		same = true;
	bool		untouched = true;

	nn_rng_seed(&rng, 2, 0);
	windows = three_states(&rng, 1);
	params = learn(windows, N, 3);
	stream = nn_state_stream_open(memory, C, params);
	for (int i = 0; i < ROWS * C; i++)
		rows[i] = (float) (4 * nn_rng_double(&rng) - 2);
	push_pieces(stream, rows, ROWS, ROWS, 1, whole);
	for (int i = NN_STATE_ROWS - 1; i < ROWS; i++)
	{
		const float *window = rows + (i - NN_STATE_ROWS + 1) * C;

		worst = fmax(worst, fabs(whole[i] / expected_result(params, window, none) - 1));
	}
	ok(worst < 1e-5, "distances are those of the windows");
	{
		float		calm[8 * C];
		float		one[8];

		/* a single bad row among rows like a centre's */
		for (int row = 0; row < 8; row++)
			for (int c = 0; c < C; c++)
				calm[row * C + c] = params[C + 1 + c] / params[c];
		calm[4 * C] += 1e3f;
		nn_state_stream_reset(stream);
		push_pieces(stream, calm, 8, 8, 1, one);
		ok(one[4] <= 2.01f * one[3] && one[7] <= 2.01f * one[3] && one[4] > one[3],
		   "one bad row doubles the distance at most");
		nn_state_stream_reset(stream);
	}
	memcpy(windows, rows, sizeof(float) * C);
	for (int i = 1; i < NN_STATE_ROWS; i++)
		memcpy(windows + i * C, rows, sizeof(float) * C);
	ok(fabs(whole[0] / expected_result(params, windows, none) - 1) < 1e-5,
	   "rows before the first repeat it");

	for (int piece = 1; piece < 40; piece++)
	{
		nn_state_stream_reset(stream);
		for (int i = 0; i < ROWS * 3; i++)
			cut[i] = -1;
		push_pieces(stream, rows, ROWS, piece, 3, cut);
		for (int i = 0; i < ROWS; i++)
		{
			same = same && memcmp(&cut[i * 3], &whole[i], sizeof(float)) == 0;
			untouched = untouched && cut[i * 3 + 1] == -1 && cut[i * 3 + 2] == -1;
		}
	}
	ok(same, "the same bits however rows are cut into pushes, and after a reset");
	ok(untouched, "memory between distances is left unchanged");

	/* in a series that begins later, a row has the same distance once its window is full */
	nn_state_stream_reset(stream);
	push_pieces(stream, rows + 50 * C, ROWS - 50, 7, 1, cut);
	ok(memcmp(cut + NN_STATE_ROWS - 1, whole + 50 + NN_STATE_ROWS - 1,
			  sizeof(float) * (ROWS - 50 - NN_STATE_ROWS + 1)) == 0,
	   "the same bits wherever the series began");

	/* without a feature, the distance is that of the others */
	for (int k = 1; k >= 0; k--)
	{
		const int	first = k == 0 ? 0 : ROWS - 2;	/* imputed from this row on */
		uint8_t    *imputed = calloc(ROWS, 1);

		for (int i = first; i < ROWS; i++)
		{
			imputed[i] = 1 << 1;
			rows[i * C + 1] = 1e6f;
		}
		nn_state_stream_reset(stream);
		nn_state_stream_push(stream, rows, imputed, ROWS, 1, cut);
		worst = 0;
		for (int i = first > NN_STATE_ROWS - 1 ? first : NN_STATE_ROWS - 1; i < ROWS; i++)
		{
			const float *window = rows + (i - NN_STATE_ROWS + 1) * C;
			bool		missing[NN_STATE_ROWS];

			for (int at = 0; at < NN_STATE_ROWS; at++)
				missing[at] = i - NN_STATE_ROWS + 1 + at >= first;
			worst = fmax(worst, fabs(cut[i] / expected_result(params, window, missing) - 1));
		}
		ok(worst < 1e-4, "an imputed feature is at no distance, %s", k == 0 ? "ever" : "lately");
		free(imputed);
	}
	free(memory);
	free(windows);
	free(params);
}

static void
test_score(void)
{
	const int	horizon = 1;
	const double rho[] = {0.5, 2};
	const double mu[] = {0.02, 0.04, 3};
	const double theta = 1;
	nn_calibration cal = {
		.features = 2,
		.layers = 2,
		.nhorizons = 1,
		.horizons = &horizon,
		.clip = 5,
		.delta = 0.5,
		.rho = rho,
		.mu = mu,
		.theta = &theta,
		.threshold = 1,
	};
	const float scaled[] = {1, -1};
	const float far[] = {100, -1};
	const float expected[] = {2, 1};
	const float signals[] = {0.04f, 0.16f, 12};
	nn_row		row = {.scaled = scaled, .expected = expected, .signals = signals};

	ok(fabs(nn_raw_score(&cal, &row, NULL) - 2 * 2) < 1e-6,
	   "four times the mean distance doubles the raw score");
	cal.gamma = 0.25;
	ok(fabs(nn_raw_score(&cal, &row, NULL) - 4 * pow(3, 0.25)) < 1e-6,
	   "states and discrepancy multiply");
	cal.gamma = cal.delta = 0;
	row.scaled = far;
	ok(fabs(nn_raw_score(&cal, &row, NULL) - (9 / 0.5 + 4.0 / 2) / 2) < 1e-6,
	   "a value beyond the clip counts as the clip");
}

int
main(void)
{
	test_learning();
	test_weights();
	test_stream();
	test_score();
	return done();
}
