/*
 * core/evidence/activity.c
 *	  How much each feature has moved lately (docs/model.md, Flatlines): the larger one of
 *	  the means of many rows and of the last few, so that it is soon seen to move again.
 *
 * Sums over 2, 4, 8 … rows are each made of two of half their length, so a row costs as
 * many additions as there are lengths, and always the same ones: a running sum would
 * carry the rounding of rows long gone.  Of each length those needed again stand in a
 * ring of so many rows.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "core/evidence/activity.h"
#include "core/evidence/scaling.h"
#include "core/memory.h"

struct nn_activity
{
	int			features;
	int			rows;			/* power of two */
	double		clip;
	int64_t		count;			/* rows seen */
	float	   *last;			/* (C) the row before; NAN: imputed, or none */
	float	   *sum;			/* (2, C) of the row: of steps, of known ones */
	float	   *few;			/* (2, C) those of the last few */
	float	   *ring;			/* (rows - 1, 2, C) sums of 1, 2, 4 … rows, one length after the other */
};

static void
layout(nn_arena *arena, int features, int rows, nn_activity *a)
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
	layout(&arena, features, rows, &unused);
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
	layout(&arena, features, rows, a);
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

/* The step from the row before, where both are known. */
static void
set_steps(nn_activity *a, const float *row, const uint8_t *imputed)
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

/* Mean of the known steps among so many; NaN: fewer than half are. */
static float
mean_of(const nn_activity *a, const float *sum, int c, int rows)
{
	float		known = sum[a->features + c];

	return 2 * known < (float) rows ? NAN : sum[c] / known;
}

void
nn_activity_push(nn_activity *a, const float *row, const uint8_t *imputed, float *activity)
{
	const size_t size = 2 * (size_t) a->features;
	float	   *restrict sum = a->sum;
	float	   *ring = a->ring;

	set_steps(a, row, imputed);
	for (int half = 1; half < a->rows; half *= 2)
	{
		/* the sum of as many rows that ended `half` rows ago; this one takes its place */
		float	   *restrict before = ring + (a->count & (half - 1)) * size;

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
		float		many = mean_of(a, sum, c, a->rows);
		float		few = mean_of(a, a->few, c, NN_ACTIVITY_FEW);
		float		most = few > many ? few : many;

		/* two choices that are no branches: which is larger is a coin toss */
		activity[c] = isnan(few) ? few : most;
	}
}
