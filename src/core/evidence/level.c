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

double
nn_level_push(nn_level *level, int64_t time, double raw, double step)
{
	double		known[WINDOW];
	int			n = 0;

	for (int back = NN_LEVEL_FROM + 1; back <= level->rows; back++)
	{
		int			i = (level->at + NN_LEVEL_TO - back) % NN_LEVEL_TO;

		if ((double) ((uint64_t) time - (uint64_t) level->time[i]) > NN_LEVEL_STEPS * step)
			break;
		if (level->raw[i] != NN_NO_SCORE)
			known[n++] = level->raw[i];
	}
	level->raw[level->at] = raw;
	level->time[level->at] = time;
	level->at = (level->at + 1) % NN_LEVEL_TO;
	if (level->rows < NN_LEVEL_TO)
		level->rows++;
	return n >= WINDOW / 2 ? nn_quantile(known, n, 0.5) : 0.0;
}

double
nn_level_beyond(double level, double limit)
{
	/* written so that NaN takes the second branch */
	return limit > 0 && level > limit ? level / limit : 1.0;
}
