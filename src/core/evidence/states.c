/*
 * core/evidence/states.c
 *	  How far rows are from the states seen in training (docs/model.md, States).
 *
 * A state is a centre of windows of NN_STATE_ROWS rows, found by k-means.  Values are
 * not clipped as for the network: spikes of the training stand apart from its
 * ordinary rows.  Instead a feature counts by the range it had.
 *
 * Parameters: weight (C), nearness (1), centres (NN_STATES, NN_STATE_ROWS, C).
 */
#include <math.h>
#include <string.h>

#include "core/evidence/states.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"

#define ROUNDS 10				/* of Lloyd's algorithm */
#define NEARNESS 0.1			/* of the windows' variance: no distance is less */
#define MOST_RANGES 10.0f		/* a value is bounded at so many ranges from the mean */
#define CONSTANT_RANGE 10.0f	/* of a feature that had none */
#define LEAST_RANGE 1e-6f
#define LEAST_NEARNESS 1e-12f
#define WINDOW(C) ((size_t) NN_STATE_ROWS * (C))
#define CENTRES(C) ((size_t) (C) + 1)	/* where they begin in params */
#define LANES 16				/* sums that are added up beside each other */

/* The rows that a window needs are among those that the network needs. */
_Static_assert(NN_STATE_ROWS <= NN_TAPS, "windows reach further back than the context");

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
		{
			.name = "states.centre",
			.ndim = 3,
			.dims = {NN_STATES, NN_STATE_ROWS, features},
			.size = NN_STATES * WINDOW(features),
			.offset = CENTRES(features)
		},
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

/* A row by the weights, bounded: MOST_RANGES ranges weigh MOST_RANGES / weight. */
static void
weigh_row(int features, const float *weight, const float *row, float *to)
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
		weigh_row(features, params, rows + (size_t) i * features, window + (size_t) i * features);
}

/* ---- learning ------------------------------------------------------------------------ */

typedef struct kmeans
{
	int			n;
	size_t		size;			/* of a window */
	const float *windows;		/* (n, size) */
	float	   *energy;			/* (n) squared length */
	float	   *distance;		/* (n) squared, to the nearest centre */
	int		   *nearest;		/* (n) */
	float	   *turned;			/* (size, NN_STATES) the centres, so that one value meets all */
	double	   *sum;			/* (NN_STATES, size) */
	int			members[NN_STATES];
} kmeans;

static void
layout(nn_arena *arena, int features, int n, kmeans *k)
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

	layout(&arena, features, n, &unused);
	return nn_arena_bytes(arena.used);
}

static void
turn(size_t size, int count, const float *centres, float *turned)
{
	memset(turned, 0, sizeof(float) * size * NN_STATES);
	for (int k = 0; k < count; k++)
		for (size_t i = 0; i < size; i++)
			turned[i * NN_STATES + k] = centres[k * size + i];
}

/* Squared length. */
static float
energy_of(size_t size, const float *x)
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

/* Nearest of the first `count` centres, and squared distance, of each window. */
static void
assign(kmeans *k, int count, const float *centres)
{
	float		length[NN_STATES];

	turn(k->size, count, centres, k->turned);
	for (int j = 0; j < count; j++)
		length[j] = energy_of(k->size, centres + j * k->size);
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

/* A window, by chance in proportion to its distance. */
static int
draw(const kmeans *k, nn_rng *rng)
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

/* k-means++ (Arthur & Vassilvitskii, 2007). */
static void
seed_centres(kmeans *k, nn_rng *rng, float *centres, nn_poll poll)
{
	memset(k->distance, 0, sizeof(float) * k->n);
	for (int j = 0; j < NN_STATES; j++)
	{
		if (poll)
			poll();
		memcpy(centres + j * k->size, k->windows + draw(k, rng) * k->size, sizeof(float) * k->size);
		assign(k, j + 1, centres);
	}
}

/* Centres become the means of their windows; one that has none stays. */
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
variance(kmeans *k)
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
nn_states_learn(void *memory, int features, const float *windows, int n, nn_rng *rng,
				float *params, nn_poll poll)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	float	   *centres = params + CENTRES(features);
	kmeans		k = {.n = n, .windows = windows};

	layout(&arena, features, n, &k);
	params[features] = LEAST_NEARNESS;
	if (n == 0)
	{
		memset(centres, 0, sizeof(float) * k.size * NN_STATES);
		return;
	}
	for (int i = 0; i < n; i++)
		k.energy[i] = energy_of(k.size, windows + i * k.size);
	seed_centres(&k, rng, centres, poll);
	for (int round = 0; round < ROUNDS; round++)
	{
		if (poll)
			poll();
		move_centres(&k, centres);
		assign(&k, NN_STATES, centres);
	}
	params[features] = fmaxf((float) (NEARNESS * variance(&k)), LEAST_NEARNESS);
}

/* ---- distances of rows that follow each other ------------------------------------------ */

#define HISTORY (NN_STATE_ROWS - 1)
#define PIECE 16				/* rows whose products are computed together */

struct nn_state_stream
{
	int			features;
	const float *weight;
	float		nearness;
	bool		begun;			/* there are rows before the next one */
	float	   *centres;		/* (NN_STATES, window) packed for gemm() */
	float	   *length;			/* (NN_STATES) squared */
	float	   *rows;			/* (HISTORY + PIECE, C) weighted */
	float	   *energy;			/* (HISTORY + PIECE) squared lengths of these */
	float	   *product;		/* (PIECE, NN_STATES) of windows and centres */
};

static void
layout_stream(nn_arena *arena, int features, nn_state_stream *s)
{
	s->centres = nn_take_floats(arena, nn_packed_floats(NN_STATES, WINDOW(features)));
	s->length = nn_take_floats(arena, NN_STATES);
	s->rows = nn_take_floats(arena, (size_t) (HISTORY + PIECE) * features);
	s->energy = nn_take_floats(arena, HISTORY + PIECE);
	s->product = nn_take_floats(arena, PIECE * NN_STATES);
}

size_t
nn_state_stream_bytes(int features)
{
	nn_arena	arena = {0};
	nn_state_stream unused;

	nn_take(&arena, sizeof(nn_state_stream));
	layout_stream(&arena, features, &unused);
	return nn_arena_bytes(arena.used);
}

nn_state_stream *
nn_state_stream_open(void *memory, int features, const float *params)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	nn_state_stream *s = nn_take(&arena, sizeof(nn_state_stream));
	const float *centres = params + CENTRES(features);
	const int	size = (int) WINDOW(features);

	layout_stream(&arena, features, s);
	s->features = features;
	s->weight = params;
	s->nearness = params[features];
	s->begun = false;
	nn_kernels_get()->pack(NN_STATES, size, centres, size, s->centres);
	for (int j = 0; j < NN_STATES; j++)
		s->length[j] = energy_of(size, centres + j * WINDOW(features));
	return s;
}

void
nn_state_stream_reset(nn_state_stream *s)
{
	s->begun = false;
}

/* Weighted rows behind the last ones; those before the first repeat it. */
static void
take_rows(nn_state_stream *s, const float *rows, int n)
{
	const size_t C = s->features;

	for (int i = 0; i < n; i++)
	{
		float	   *row = s->rows + (HISTORY + i) * C;

		weigh_row(s->features, s->weight, rows + i * C, row);
		s->energy[HISTORY + i] = energy_of(C, row);
	}
	for (int i = 0; i < HISTORY && !s->begun; i++)
	{
		memcpy(s->rows + i * C, s->rows + HISTORY * C, sizeof(float) * C);
		s->energy[i] = s->energy[HISTORY];
	}
	s->begun = true;
}

/* Squared distance of the window that ends with the i-th new row from the nearest centre. */
static float
distance(const nn_state_stream *s, int i)
{
	const float *product = s->product + i * NN_STATES;
	float		energy = 0.0f;
	float		least = INFINITY;

	for (int row = 0; row < NN_STATE_ROWS; row++)
		energy += s->energy[i + row];
	for (int j = 0; j < NN_STATES; j++)
	{
		float		d = energy - 2.0f * product[j] + s->length[j];

		least = d < least ? d : least;
	}
	return (least > 0 ? least : 0) + s->nearness;
}

static void
push_piece(nn_state_stream *s, const float *rows, int n, int stride, float *distances)
{
	const size_t C = s->features;

	take_rows(s, rows, n);
	/* a row's window begins one row after that of the row before */
	nn_kernels_get()->gemm(n, NN_STATES, (int) WINDOW(C), s->rows, C, s->centres, NULL, NULL,
						   s->product, NN_STATES);
	for (int i = 0; i < n; i++)
		distances[(size_t) i * stride] = distance(s, i);
	memmove(s->rows, s->rows + n * C, sizeof(float) * HISTORY * C);
	memmove(s->energy, s->energy + n, sizeof(float) * HISTORY);
}

void
nn_state_stream_push(nn_state_stream *s, const float *rows, int n, int stride, float *distances)
{
	for (int i = 0; i < n; i += PIECE)
		push_piece(s, rows + (size_t) i * s->features, n - i < PIECE ? n - i : PIECE, stride,
				   distances + (size_t) i * stride);
}
