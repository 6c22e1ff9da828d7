/*
 * core/evidence/level.c
 *	  Level: how much evidence the rows of a series had some time ago.
 */
#include "core/evidence/level.h"
#include "core/evidence/quantile.h"
#include "core/evidence/raw_score.h"

#define WINDOW (NN_LEVEL_TO - NN_LEVEL_FROM)

void
nn_level_reset(nn_level *level)
{
	level->rows = level->at = 0;
}

void
nn_level_add(nn_level *level, int64_t time, double raw)
{
	level->raw[level->at] = raw;
	level->time[level->at] = time;
	level->at = (level->at + 1) % NN_LEVEL_ROWS;
	if (level->rows < NN_LEVEL_ROWS)
		level->rows++;
}

/* Place of the row that was added `back` rows before the last one. */
static int
ring_place(const nn_level *level, int back)
{
	return (level->at + 2 * NN_LEVEL_ROWS - 1 - back) % NN_LEVEL_ROWS;
}

double
nn_level_of_last(const nn_level *level, double step)
{
	const int64_t time = level->time[ring_place(level, 0)];
	double		known[WINDOW];
	int			n = 0;

	for (int back = NN_LEVEL_FROM + 1; back < level->rows; back++)
	{
		int			i = ring_place(level, back);

		if ((double) ((uint64_t) time - (uint64_t) level->time[i]) > NN_LEVEL_STEPS * step)
			break;
		if (level->raw[i] != NN_NO_SCORE)
			known[n++] = level->raw[i];
	}
	return n >= WINDOW / 2 ? nn_quantile(known, n, 0.5) : 0.0;
}

void
nn_level_prepend(nn_level *level, const nn_level *earlier)
{
	nn_level	both = *earlier;

	for (int back = level->rows - 1; back >= 0; back--)
	{
		int			i = ring_place(level, back);

		nn_level_add(&both, level->time[i], level->raw[i]);
	}
	*level = both;
}

int64_t
nn_level_begin(const nn_level *level)
{
	return level->time[ring_place(level, level->rows - 1)];
}

bool
nn_level_complete(const nn_level *level, double step)
{
	const int64_t time = level->time[ring_place(level, 0)];

	return level->rows == NN_LEVEL_ROWS ||
		(double) ((uint64_t) time - (uint64_t) nn_level_begin(level)) > NN_LEVEL_STEPS * step;
}

double
nn_level_push(nn_level *level, int64_t time, double raw, double step)
{
	nn_level_add(level, time, raw);
	return nn_level_of_last(level, step);
}

double
nn_level_beyond(double level, double limit)
{
	/* written so that NaN takes the second branch */
	return limit > 0 && level > limit ? level / limit : 1.0;
}
