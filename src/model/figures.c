/*
 * model/figures.c
 *	  The figures of a model: scaling and calibration, of each series and of all rows.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>

#include "core/evidence/recurrence.h"
#include "model/figures.h"

/* In the order in which they are stored. */
const Figure figures[] = {
#define FIGURE(member, ...) \
	{ \
#member, __VA_ARGS__, offsetof(ModelStats, member) \
	}
	FIGURE(mean, "scaling", FIGURE_FEATURES, FIGURE_OF_ROWS, -DBL_MAX),
	FIGURE(std, "scaling", FIGURE_FEATURES, FIGURE_OF_ROWS, 0),
	FIGURE(rho, "calibration", FIGURE_FEATURES, FIGURE_CALIBRATED, DBL_MIN),
	FIGURE(rho_incomplete, "calibration", FIGURE_FEATURES, FIGURE_CALIBRATED, DBL_MIN),
	FIGURE(mu, "calibration", FIGURE_SIGNALS, FIGURE_CALIBRATED, DBL_MIN),
	FIGURE(theta, "calibration", FIGURE_HORIZONS, FIGURE_CALIBRATED, DBL_MIN),
	FIGURE(threshold, NULL, FIGURE_ONE, FIGURE_CALIBRATED, DBL_MIN),
	FIGURE(step, NULL, FIGURE_ONE, FIGURE_OF_ROWS, 0),
	FIGURE(max_gap, NULL, FIGURE_ONE, FIGURE_OF_ROWS, 0),
	FIGURE(season, NULL, FIGURE_SEASON_WEIGHTS, FIGURE_CALIBRATED, -DBL_MAX),
	FIGURE(season_gain, NULL, FIGURE_SEASON_FEATURES, FIGURE_CALIBRATED, 0),
	FIGURE(season_spread, NULL, FIGURE_SEASON_FEATURES, FIGURE_CALIBRATED, DBL_MIN),
	FIGURE(season_scale, NULL, FIGURE_SEASON_FEATURES, FIGURE_DERIVED, 0),
	FIGURE(recurrence, NULL, FIGURE_RECURRENCE_BINS, FIGURE_CALIBRATED, 1),
	FIGURE(recurrence_slots, NULL, FIGURE_RECURRENCE_SLOTS, FIGURE_CALIBRATED, 0),
	FIGURE(recurrence_mean, NULL, FIGURE_RECURRENCE_FEATURES, FIGURE_CALIBRATED, -DBL_MAX),
	FIGURE(recurrence_scale, NULL, FIGURE_RECURRENCE_FEATURES, FIGURE_CALIBRATED, 0),
	FIGURE(flatline, "calibration", FIGURE_FLATLINE_ONE, FIGURE_CALIBRATED, 0),
	FIGURE(activity, "calibration", FIGURE_FLATLINE_FEATURES, FIGURE_CALIBRATED, 0),
	FIGURE(relation, "calibration", FIGURE_RELATION_ONE, FIGURE_CALIBRATED, 0),
	FIGURE(relation_limit, "calibration", FIGURE_RELATION_ONE, FIGURE_CALIBRATED, DBL_MIN),
	FIGURE(relation_mean, "calibration", FIGURE_RELATION_FEATURES, FIGURE_CALIBRATED, FLT_MIN),
	FIGURE(level, "calibration", FIGURE_LEVEL_ONE, FIGURE_CALIBRATED, 0),
#undef FIGURE
};
const int figures_count = lengthof(figures);

FigureSizes
figure_sizes(int features, int signals, int horizons, int terms, int bins, unsigned evidence)
{
	FigureSizes sizes = {{
		[FIGURE_ONE] = 1,
		[FIGURE_FEATURES] = features,
		[FIGURE_SIGNALS] = signals,
		[FIGURE_HORIZONS] = horizons,
		[FIGURE_SEASON_WEIGHTS] = (uint64) features * terms,
		[FIGURE_SEASON_FEATURES] = terms > 0 ? features : 0,
		[FIGURE_RECURRENCE_BINS] = bins,
		[FIGURE_RECURRENCE_SLOTS] = bins > 0 ? NN_RECURRENCE_SLOTS : 0,
		[FIGURE_RECURRENCE_FEATURES] = bins > 0 ? (uint64) NN_RECURRENCE_SLOTS * features : 0,
		[FIGURE_LEVEL_ONE] = evidence & FIGURES_LEVEL ? 1 : 0,
		[FIGURE_FLATLINE_ONE] = evidence & FIGURES_FLATLINES ? 1 : 0,
		[FIGURE_FLATLINE_FEATURES] = evidence & FIGURES_FLATLINES ? features : 0,
		[FIGURE_RELATION_ONE] = evidence & FIGURES_RELATIONS ? 1 : 0,
		[FIGURE_RELATION_FEATURES] = evidence & FIGURES_RELATIONS ? features : 0,
	}};

	return sizes;
}

bool
figure_is_array(const Figure *f)
{
	return f->size > FIGURE_LEVEL_ONE;
}

double *
figure_values(const Figure *f, const ModelStats *s)
{
	char	   *member = (char *) s + f->offset;

	return figure_is_array(f) ? *(double **) member : (double *) member;
}

void
figures_create(ModelStats *s, const FigureSizes *sizes)
{
	double	   *memory;
	uint64		missing = 0;

	for (int i = 0; i < figures_count; i++)
		if (figure_is_array(&figures[i]) && figure_values(&figures[i], s) == NULL)
			missing += sizes->count[figures[i].size];
	if (missing == 0)
		return;
	/* one piece of memory: a model can have very many series with few features */
	memory = palloc_extended(sizeof(double) * missing, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < figures_count; i++)
	{
		const Figure *f = &figures[i];
		uint64		count = sizes->count[f->size];

		if (figure_is_array(f) && count > 0 && figure_values(f, s) == NULL)
		{
			*(double **) ((char *) s + f->offset) = memory;
			memory += count;
		}
	}
}

uint64
figures_stored_bytes(const FigureSizes *sizes)
{
	uint64		count = 0;

	for (int i = 0; i < figures_count; i++)
		if (figures[i].origin != FIGURE_DERIVED)
			count += sizes->count[figures[i].size];
	return sizeof(double) * count;
}

uint64
figures_bytes(const FigureSizes *sizes)
{
	uint64		count = 0;

	for (int i = 0; i < figures_count; i++)
		count += sizes->count[figures[i].size];
	return sizeof(double) * count;
}

void
figures_copy_calibration(const FigureSizes *sizes, const ModelStats *from, ModelStats *to)
{
	for (int i = 0; i < figures_count; i++)
		if (figures[i].origin != FIGURE_OF_ROWS && sizes->count[figures[i].size] > 0)
			memcpy(figure_values(&figures[i], to), figure_values(&figures[i], from),
				   sizeof(double) * sizes->count[figures[i].size]);
}
