/*
 * learn/fit_level.c
 *	  Levels: the highest level of evidence in the training rows (docs/model.md, Levels).
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"

#include "core/evidence/level.h"
#include "learn/fit_level.h"

void
fit_level(const CalibrationRows *r, RunRange runs, ModelStats *stats)
{
	const Dataset *d = r->dataset;
	nn_level	level;

	stats->level = 0.0;
	for (int i = runs.first; i < runs.last; i++)
	{
		const DatasetRun *run = &d->runs[i];
		double		step = d->series[run->series].step;

		nn_level_reset(&level);
		for (int64 row = run->first; row < run->first + run->rows; row++)
		{
			double		now;

			CHECK_FOR_INTERRUPTS();
			if (isnan(r->raw[row]))
			{
				nn_level_reset(&level);
				continue;
			}
			now = nn_level_push(&level, d->ts[row], r->raw[row], step);
			stats->level = Max(stats->level, now);
		}
	}
}
