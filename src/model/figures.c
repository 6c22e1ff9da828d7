/*
 * model/figures.c
 *	  The figures of a model: scaling and calibration, of each series and of all rows.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>

#include "miscadmin.h"

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
	FIGURE(profile, NULL, FIGURE_RECURRENCE_ONE, FIGURE_CALIBRATED, PROFILE_NONE),
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
		[FIGURE_RECURRENCE_ONE] = bins > 0 ? 1 : 0,
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

static bool
is_of_profile(const Figure *f)
{
	return f->size == FIGURE_RECURRENCE_BINS || f->size == FIGURE_RECURRENCE_SLOTS ||
		f->size == FIGURE_RECURRENCE_FEATURES;
}

uint64
figure_count(const Figure *f, const FigureSizes *sizes, const ModelStats *s)
{
	return is_of_profile(f) && s->profile != PROFILE_OWN ? 0 : sizes->count[f->size];
}

/* Bytes of the figures, of the profile or the others, of at most an origin. */
static uint64
bytes_of_figures(const FigureSizes *sizes, bool profile, FigureOrigin most)
{
	uint64		count = 0;

	for (int i = 0; i < figures_count; i++)
		if (is_of_profile(&figures[i]) == profile && figures[i].origin <= most)
			count += sizes->count[figures[i].size];
	return sizeof(double) * count;
}

uint64
figures_stored_bytes(const FigureSizes *sizes)
{
	return bytes_of_figures(sizes, false, FIGURE_CALIBRATED);
}

uint64
figures_bytes(const FigureSizes *sizes)
{
	return bytes_of_figures(sizes, false, FIGURE_DERIVED);
}

uint64
figures_profile_bytes(const FigureSizes *sizes)
{
	return bytes_of_figures(sizes, true, FIGURE_DERIVED);
}

int64
figures_most_profiles(const FigureSizes *sizes)
{
	return (int64) maintenance_work_mem * 1024 / 8 / Max(figures_profile_bytes(sizes), 1);
}

/* Allocates the arrays of the profile, or the others, that are not there yet. */
static void
create_arrays(ModelStats *s, const FigureSizes *sizes, bool profile)
{
	double	  **array[lengthof(figures)];
	uint64		count[lengthof(figures)];
	uint64		sum = 0;
	double	   *memory;
	int			n = 0;

	for (int i = 0; i < figures_count; i++)
	{
		const Figure *f = &figures[i];

		if (!figure_is_array(f) || is_of_profile(f) != profile || sizes->count[f->size] == 0 ||
			figure_values(f, s) != NULL)
			continue;
		array[n] = (double **) ((char *) s + f->offset);
		count[n] = sizes->count[f->size];
		sum += count[n++];
	}
	if (n == 0)
		return;
	/* one piece of memory: a model can have very many series with few features */
	memory = palloc_extended(sizeof(double) * sum, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < n; memory += count[i++])
		*array[i] = memory;
}

void
figures_create(ModelStats *s, const FigureSizes *sizes)
{
	create_arrays(s, sizes, false);
}

void
figures_create_profile(ModelStats *s, const FigureSizes *sizes)
{
	create_arrays(s, sizes, true);
	s->profile = PROFILE_OWN;
}

void
figures_drop_profile(ModelStats *s)
{
	pfree(s->recurrence);		/* the first, so that this is the memory of all */
	s->recurrence = s->recurrence_slots = s->recurrence_mean = s->recurrence_scale = NULL;
	s->profile = PROFILE_NONE;
}

void
figures_copy_calibration(const FigureSizes *sizes, const ModelStats *all, ModelStats *series)
{
	for (int i = 0; i < figures_count; i++)
		if (figures[i].origin != FIGURE_OF_ROWS && !is_of_profile(&figures[i]) &&
			sizes->count[figures[i].size] > 0)
			memcpy(figure_values(&figures[i], series), figure_values(&figures[i], all),
				   sizeof(double) * sizes->count[figures[i].size]);
	if (series->profile == PROFILE_OWN)
		series->profile = PROFILE_ALL;
}
