/*
 * core/evidence/activity.c
 *	  Activity: how much the features of a series move.
 *
 * A sum over 2, 4, 8 … rows is made of two sums of half that length, so a row costs
 * log2(rows) additions per feature.  A running sum would be cheaper, but would carry
 * the rounding errors of rows long gone: results would depend on where the series
 * began.  Sums of each length are kept in a ring until they are needed again.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/evidence/activity.h"
#include "core/evidence/scaling.h"
#include "core/memory.h"

struct nn_activity
{
	/* settings */
	int			features;
	int			rows;			/* power of two */
	double		clip;

	/* state */
	int64_t		count;			/* rows seen */
	float	   *last;			/* (C) the previous row; NAN: imputed, or none */
	float	   *ring;			/* (rows - 1, 2, C) sums of 1, 2, 4 … rows, length by length */

	/* scratch: sum of steps, number of known steps */
	float	   *sum;			/* (2, C) */
	float	   *few;			/* (2, C) over the last NN_ACTIVITY_FEW */
};

static void
lay_out_activity(nn_arena *arena, int features, int rows, nn_activity *a)
{
	a->last = nn_take_floats(arena, features);
	a->sum = nn_take_floats(arena, 2 * (size_t) features);
	a->few = nn_take_floats(arena, 2 * (size_t) features);
	a->ring = nn_take_floats(arena, (rows - 1) * 2 * (size_t) features);
}

size_t
nn_activity_bytes(int features, int rows)
{
	nn_arena	arena = {0};
	nn_activity unused;

	nn_take(&arena, sizeof(nn_activity));
	lay_out_activity(&arena, features, rows, &unused);
	return nn_arena_bytes(arena.used);
}

nn_activity *
nn_activity_open(void *memory, int features, int rows, double clip)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	nn_activity *a = nn_take(&arena, sizeof(nn_activity));

	assert(rows >= NN_ACTIVITY_FEW && (rows & (rows - 1)) == 0);
	a->features = features;
	a->rows = rows;
	a->clip = clip;
	lay_out_activity(&arena, features, rows, a);
	nn_activity_reset(a);
	return a;
}

void
nn_activity_reset(nn_activity *a)
{
	a->count = 0;
	for (int c = 0; c < a->features; c++)
		a->last[c] = NAN;
	memset(a->ring, 0, sizeof(float) * (a->rows - 1) * 2 * a->features);
}

/* Sets sum to the steps from the previous row to this one, 0 where they are unknown. */
static void
measure_steps(nn_activity *a, const float *row, const uint8_t *imputed)
{
	for (int c = 0; c < a->features; c++)
	{
		float		z = NN_IMPUTED(imputed, c) ? NAN : nn_clipped(a->clip, row[c]);
		float		step = fabsf(z - a->last[c]);
		bool		known = !isnan(step);

		a->sum[c] = known ? step : 0.0f;
		a->sum[a->features + c] = known ? 1.0f : 0.0f;
		a->last[c] = z;
	}
}

/* Mean of the known ones of `steps` steps; NaN if fewer than half are known. */
static float
mean_known_step(const nn_activity *a, const float *sum, int c, int steps)
{
	float		known = sum[a->features + c];

	return 2 * known < (float) steps ? NAN : sum[c] / known;
}

void
nn_activity_push(nn_activity *a, const float *row, const uint8_t *imputed, float *activity)
{
	const size_t size = 2 * (size_t) a->features;
	float *restrict sum = a->sum;
	float	   *ring = a->ring;

	measure_steps(a, row, imputed);
	for (int half = 1; half < a->rows; half *= 2)
	{
		/* the sum over `half` rows that ended `half` rows ago; this one takes its place */
		float *restrict before = ring + (a->count & (half - 1)) * size;

		for (size_t i = 0; i < size; i++)
		{
			float		now = sum[i];

			sum[i] = now + before[i];
			before[i] = now;
		}
		ring += half * size;
		if (2 * half == NN_ACTIVITY_FEW)
			memcpy(a->few, sum, sizeof(float) * size);
	}
	a->count++;
	for (int c = 0; c < a->features; c++)
	{
		float		many = mean_known_step(a, sum, c, a->rows);
		float		few = mean_known_step(a, a->few, c, NN_ACTIVITY_FEW);
		float		most = few > many ? few : many;

		/* selections, not branches: which one is larger cannot be predicted */
		activity[c] = isnan(few) ? few : most;
	}
}
