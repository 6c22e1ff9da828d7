/*
 * core/evidence/states.c
 *	  States: how far rows are from what was seen in training.
 *
 * Centres are found by k-means.  Values are not clipped as for the network, so that
 * spikes in the training rows form states of their own; instead, a feature's weight
 * depends on its range, and values are bounded at MOST_RANGES ranges.
 *
 * The stream keeps the last NN_STATE_ROWS - 1 weighted rows.  For each place in a window,
 * one matrix product multiplies all rows with that row of all centres.  Squared distances
 * follow from |x - c|² = |x|² - 2·x·c + |c|².  A distance is at most ONE_ROW times that
 * without the farthest row of the window: a single bad row is no state, and must not make
 * the next rows look strange.  An imputed value is 0 in x, and the square of its place in c is
 * subtracted, as if it were equal there.
 *
 * Parameters: weight (C), nearness (1), centres (NN_STATES, NN_STATE_ROWS, C).
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/evidence/scaling.h"
#include "core/evidence/states.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"

#define ROUNDS 10				/* of Lloyd's algorithm */
#define NEARNESS 0.1			/* times the windows' variance is added to every distance */
#define MOST_RANGES 10.0f		/* bound of a value, in ranges from the mean */
#define CONSTANT_RANGE 10.0f	/* range assumed for a constant feature */
#define LEAST_RANGE 1e-6f		/* below it a feature is constant */
#define LEAST_NEARNESS 1e-12f
#define WINDOW(C) ((size_t) NN_STATE_ROWS * (C))
#define CENTRES(C) ((size_t) (C) + 1)	/* their offset in params */
#define ONE_ROW 2.0f			/* most that one row of a window multiplies the distance by */
#define LANES 16				/* sums added up side by side */

/* A window must not reach further back than the network's context. */
_Static_assert(NN_STATE_ROWS <= NN_TAPS, "a window is longer than the context");

size_t
nn_states_size(int features)
{
	return CENTRES(features) + NN_STATES * WINDOW(features);
}

nn_param
nn_states_tensor(int features, int i)
{
	const nn_param tensors[NN_STATES_TENSORS] = {
		{.name = "states.weight", .ndim = 1, .dims = {features}, .size = features},
		{.name = "states.nearness", .ndim = 1, .dims = {1}, .size = 1, .offset = features},
		{.name = "states.centre",
		 .ndim = 3,
		 .dims = {NN_STATES, NN_STATE_ROWS, features},
		 .size = NN_STATES * WINDOW(features),
		 .offset = CENTRES(features)},
	};

	return tensors[i];
}

void
nn_states_weigh(int features, const float *least, const float *most, const double *weight,
				float *params)
{
	for (int c = 0; c < features; c++)
	{
		float		range = most[c] - least[c];

		params[c] = 1.0f / sqrtf(range > LEAST_RANGE ? range : CONSTANT_RANGE);
		if (weight)
			params[c] *= (float) sqrt(weight[c]);
	}
}

/* Multiplies a row by the weights and bounds it at MOST_RANGES ranges. */
static void
weigh_state_row(int features, const float *weight, const float *row, float *to)
{
	for (int c = 0; c < features; c++)
	{
		float		most = MOST_RANGES / weight[c];
		float		x = row[c] * weight[c];

		to[c] = x > most ? most : x < -most ? -most : x;
	}
}

void
nn_states_window(int features, const float *params, const float *rows, float *window)
{
	for (int i = 0; i < NN_STATE_ROWS; i++)
		weigh_state_row(features, params, rows + (size_t) i * features,
						window + (size_t) i * features);
}

/* ---- learning ----------------------------------------------------------------------- */

typedef struct kmeans
{
	/* input */
	int			n;
	size_t		size;			/* of a window */
	const float *windows;		/* (n, size) */

	/* of each window */
	float	   *energy;			/* (n) squared length */
	float	   *distance;		/* (n) squared, to the nearest centre */
	int		   *nearest;		/* (n) that centre */

	/* of each centre */
	float	   *turned;			/* (size, NN_STATES) the centres, transposed */
	double	   *sum;			/* (NN_STATES, size) of its windows */
	int			members[NN_STATES]; /* number of its windows */
} kmeans;

static void
lay_out_kmeans(nn_arena *arena, int features, int n, kmeans *k)
{
	k->size = WINDOW(features);
	k->energy = nn_take_floats(arena, n);
	k->distance = nn_take_floats(arena, n);
	k->nearest = nn_take(arena, sizeof(int) * n);
	k->turned = nn_take_floats(arena, k->size * NN_STATES);
	k->sum = nn_take(arena, sizeof(double) * k->size * NN_STATES);
}

size_t
nn_states_bytes(int features, int n)
{
	nn_arena	arena = {0};
	kmeans		unused;

	lay_out_kmeans(&arena, features, n, &unused);
	return nn_arena_bytes(arena.used);
}

static float
squared_length(size_t size, const float *x)
{
	float		part[LANES] = {0};
	float		sum = 0.0f;
	size_t		i = 0;

	for (; i + LANES <= size; i += LANES)
		for (int j = 0; j < LANES; j++)
			part[j] += x[i + j] * x[i + j];
	for (; i < size; i++)
		sum += x[i] * x[i];
	for (int j = 0; j < LANES; j++)
		sum += part[j];
	return sum;
}

/* Assigns each window to the nearest of the first `count` centres. */
static void
assign_windows(kmeans *k, int count, const float *centres)
{
	float		length[NN_STATES];

	/* transposed, one value of a window is multiplied with all centres at once */
	memset(k->turned, 0, sizeof(float) * k->size * NN_STATES);
	for (int j = 0; j < count; j++)
		for (size_t d = 0; d < k->size; d++)
			k->turned[d * NN_STATES + j] = centres[j * k->size + d];
	for (int j = 0; j < count; j++)
		length[j] = squared_length(k->size, centres + j * k->size);
	for (int i = 0; i < k->n; i++)
	{
		const float *x = k->windows + i * k->size;
		float		product[NN_STATES] = {0};

		for (size_t d = 0; d < k->size; d++)
			for (int j = 0; j < NN_STATES; j++)
				product[j] += x[d] * k->turned[d * NN_STATES + j];
		k->distance[i] = INFINITY;
		for (int j = 0; j < count; j++)
		{
			float		distance = k->energy[i] - 2.0f * product[j] + length[j];

			if (distance < k->distance[i])
			{
				k->distance[i] = distance;
				k->nearest[i] = j;
			}
		}
		if (k->distance[i] < 0)
			k->distance[i] = 0;
	}
}

/* Draws a window with a probability proportional to its distance; any if all are 0. */
static int
draw_window(const kmeans *k, nn_rng *rng)
{
	double		total = 0.0;
	double		left;

	for (int i = 0; i < k->n; i++)
		total += k->distance[i];
	if (!(total > 0.0))
		return (int) nn_rng_below(rng, k->n);
	left = nn_rng_double(rng) * total;
	for (int i = 0; i < k->n; i++)
		if ((left -= k->distance[i]) < 0)
			return i;
	return k->n - 1;
}

/* Chooses the initial centres: k-means++ (Arthur & Vassilvitskii, 2007). */
static void
seed_centres(kmeans *k, nn_rng *rng, float *centres, nn_poll poll)
{
	memset(k->distance, 0, sizeof(float) * k->n);
	for (int j = 0; j < NN_STATES; j++)
	{
		nn_rest(poll);
		memcpy(centres + j * k->size, k->windows + draw_window(k, rng) * k->size,
			   sizeof(float) * k->size);
		assign_windows(k, j + 1, centres);
	}
}

/* Moves centres to the means of their windows; one without windows stays. */
static void
move_centres(kmeans *k, float *centres)
{
	memset(k->sum, 0, sizeof(double) * k->size * NN_STATES);
	memset(k->members, 0, sizeof(k->members));
	for (int i = 0; i < k->n; i++)
	{
		double	   *sum = k->sum + k->nearest[i] * k->size;

		for (size_t d = 0; d < k->size; d++)
			sum[d] += k->windows[i * k->size + d];
		k->members[k->nearest[i]]++;
	}
	for (int j = 0; j < NN_STATES; j++)
		for (size_t d = 0; d < k->size && k->members[j] > 0; d++)
			centres[j * k->size + d] = (float) (k->sum[j * k->size + d] / k->members[j]);
}

/* Mean squared distance of the windows from their mean. */
static double
window_variance(const kmeans *k)
{
	double		squares = 0.0;

	for (size_t d = 0; d < k->size; d++)
	{
		double		mean = 0.0;

		for (int i = 0; i < k->n; i++)
			mean += k->windows[i * k->size + d];
		mean /= k->n;
		for (int i = 0; i < k->n; i++)
		{
			double		x = k->windows[i * k->size + d] - mean;

			squares += x * x;
		}
	}
	return squares / k->n;
}

void
nn_states_learn(void *memory, int features, const float *windows, int n, nn_rng *rng, float *params,
				nn_poll poll)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	float	   *centres = params + CENTRES(features);
	kmeans		k = {.n = n, .windows = windows};

	lay_out_kmeans(&arena, features, n, &k);
	params[features] = LEAST_NEARNESS;
	if (n == 0)
	{
		memset(centres, 0, sizeof(float) * k.size * NN_STATES);
		return;
	}
	for (int i = 0; i < n; i++)
		k.energy[i] = squared_length(k.size, windows + i * k.size);
	seed_centres(&k, rng, centres, poll);
	for (int round = 0; round < ROUNDS; round++)
	{
		nn_rest(poll);
		move_centres(&k, centres);
		assign_windows(&k, NN_STATES, centres);
	}
	params[features] = fmaxf((float) (NEARNESS * window_variance(&k)), LEAST_NEARNESS);
}

/* ---- distances of rows ---------------------------------------------------------------- */

#define HISTORY (NN_STATE_ROWS - 1)
#define PIECE 16				/* rows whose products are computed together */

struct nn_state_stream
{
	/* parameters */
	int			features;
	const float *weight;		/* (C) */
	float		nearness;
	float	   *centres; /* (NN_STATE_ROWS) of (NN_STATES, C): their rows, packed for gemm() */
	float	   *length;			/* (NN_STATE_ROWS, NN_STATES) squared lengths of these */
	const float *plain;			/* (NN_STATES, window) not packed */

	/* state */
	bool		begun;			/* has the series had a row? */
	float	   *rows;			/* (HISTORY + PIECE, C) weighted */
	float	   *energy;			/* (HISTORY + PIECE) their squared lengths */
	bool	   *incomplete;		/* (HISTORY + PIECE) whether a feature is imputed */
	uint8_t    *imputed;		/* (HISTORY + PIECE, IMPUTED_BYTES) if so, which ones */

	/* scratch */
	float	   *product;		/* (NN_STATE_ROWS, PIECE, NN_STATES) of rows and centres' rows */
};

static void
lay_out_state_stream(nn_arena *arena, int features, nn_state_stream *s)
{
	s->centres = nn_take_floats(arena, NN_STATE_ROWS * nn_packed_floats(NN_STATES, features));
	s->length = nn_take_floats(arena, NN_STATE_ROWS * NN_STATES);
	s->rows = nn_take_floats(arena, (size_t) (HISTORY + PIECE) * features);
	s->energy = nn_take_floats(arena, HISTORY + PIECE);
	s->incomplete = nn_take(arena, sizeof(bool) * (HISTORY + PIECE));
	s->imputed = nn_take(arena, (size_t) (HISTORY + PIECE) * IMPUTED_BYTES(features));
	s->product = nn_take_floats(arena, NN_STATE_ROWS * PIECE * NN_STATES);
}

size_t
nn_state_stream_bytes(int features)
{
	nn_arena	arena = {0};
	nn_state_stream unused;

	nn_take(&arena, sizeof(nn_state_stream));
	lay_out_state_stream(&arena, features, &unused);
	return nn_arena_bytes(arena.used);
}

nn_state_stream *
nn_state_stream_open(void *memory, int features, const float *params)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	nn_state_stream *s = nn_take(&arena, sizeof(nn_state_stream));
	const float *centres = params + CENTRES(features);
	const int	size = (int) WINDOW(features);

	lay_out_state_stream(&arena, features, s);
	s->features = features;
	s->weight = params;
	s->nearness = params[features];
	s->plain = centres;
	s->begun = false;
	for (int k = 0; k < NN_STATE_ROWS; k++)
	{
		nn_kernels_get()->pack(NN_STATES, features, centres + k * features, size,
							   s->centres + k * nn_packed_floats(NN_STATES, features));
		for (int j = 0; j < NN_STATES; j++)
			s->length[k * NN_STATES + j] = squared_length(features,
														  centres + j * WINDOW(features) +
															  k * features);
	}
	return s;
}

void
nn_state_stream_reset(nn_state_stream *s)
{
	s->begun = false;
}

/* Takes over row `from` of the last ones as row `to`. */
static void
copy_state_row(nn_state_stream *s, int to, int from)
{
	const size_t C = s->features;
	const size_t map = IMPUTED_BYTES(C);

	memmove(s->rows + to * C, s->rows + from * C, sizeof(float) * C);
	s->energy[to] = s->energy[from];
	s->incomplete[to] = s->incomplete[from];
	memmove(s->imputed + to * map, s->imputed + from * map, map);
}

/* Appends weighted rows to the last ones; before the first row of a series, it repeats. */
static void
append_rows(nn_state_stream *s, const float *rows, const uint8_t *imputed, int n)
{
	const size_t C = s->features;
	const size_t map = IMPUTED_BYTES(C);

	for (int i = 0; i < n; i++)
	{
		float	   *row = s->rows + (HISTORY + i) * C;
		bool		incomplete = imputed && nn_any_imputed(imputed + i * map, s->features);

		weigh_state_row(s->features, s->weight, rows + i * C, row);
		if (incomplete)
		{
			memcpy(s->imputed + (HISTORY + i) * map, imputed + i * map, map);
			for (size_t c = 0; c < C; c++)
				if (NN_IMPUTED(imputed + i * map, c))
					row[c] = 0.0f;
		}
		s->incomplete[HISTORY + i] = incomplete;
		s->energy[HISTORY + i] = squared_length(C, row);
	}
	for (int i = 0; i < HISTORY && !s->begun; i++)
		copy_state_row(s, i, HISTORY);
	s->begun = true;
}

/* Subtracts what imputed features of a row contribute to the lengths of the centres' rows. */
static void
leave_out_imputed(const nn_state_stream *s, int row, int place, float *length)
{
	const size_t C = s->features;
	const uint8_t *map = s->imputed + row * IMPUTED_BYTES(C);

	for (size_t c = 0; c < C; c++)
		if (NN_IMPUTED(map, c))
			for (int j = 0; j < NN_STATES; j++)
			{
				float		x = s->plain[j * WINDOW(C) + place * C + c];

				length[j] -= x * x;
			}
}

/* Result for the window that ends with the i-th new row. */
static float
nearest_distance(const nn_state_stream *s, int i)
{
	float		sum[NN_STATES] = {0};
	float		most[NN_STATES] = {0};
	float		least = INFINITY;
	float		least_trimmed = INFINITY;	/* without a centre's farthest row */

	for (int row = 0; row < NN_STATE_ROWS; row++)
	{
		const float *product = s->product + (row * PIECE + i) * NN_STATES;
		const float energy = s->energy[i + row];
		float		length[NN_STATES];

		memcpy(length, s->length + row * NN_STATES, sizeof(length));
		if (s->incomplete[i + row])
			leave_out_imputed(s, i + row, row, length);
		for (int j = 0; j < NN_STATES; j++)
		{
			float		d = energy - 2.0f * product[j] + length[j];

			sum[j] += d;
			most[j] = d > most[j] ? d : most[j];
		}
	}
	for (int j = 0; j < NN_STATES; j++)
	{
		least = sum[j] < least ? sum[j] : least;
		least_trimmed = sum[j] - most[j] < least_trimmed ? sum[j] - most[j] : least_trimmed;
	}
	least = (least > 0 ? least : 0) + s->nearness;
	least_trimmed = ONE_ROW * ((least_trimmed > 0 ? least_trimmed : 0) + s->nearness);
	return least < least_trimmed ? least : least_trimmed;
}

static void
push_piece(nn_state_stream *s, const float *rows, const uint8_t *imputed, int n, int stride,
		   float *distances)
{
	const size_t C = s->features;

	append_rows(s, rows, imputed, n);
	/* a row's window begins one row later than the previous row's */
	for (int k = 0; k < NN_STATE_ROWS; k++)
		nn_kernels_get()->gemm(&(nn_product){
			.rows = n,
			.n = NN_STATES,
			.k = (int) C,
			.a = s->rows + k * C,
			.lda = C,
			.b = s->centres + k * nn_packed_floats(NN_STATES, C),
			.y = s->product + k * PIECE * NN_STATES,
			.ldy = NN_STATES,
		});
	for (int i = 0; i < n; i++)
		distances[(size_t) i * stride] = nearest_distance(s, i);
	for (int i = 0; i < HISTORY; i++)
		copy_state_row(s, i, n + i);
}

void
nn_state_stream_push(nn_state_stream *s, const float *rows, const uint8_t *imputed, int n,
					 int stride, float *distances)
{
	for (int i = 0; i < n; i += PIECE)
		push_piece(s, rows + (size_t) i * s->features,
				   imputed ? imputed + (size_t) i * IMPUTED_BYTES(s->features) : NULL,
				   n - i < PIECE ? n - i : PIECE, stride, distances + (size_t) i * stride);
}
