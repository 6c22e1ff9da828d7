/*
 * model/plan.c
 *	  What follows from the options and the number of features: sizes and limits.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "core/evidence/activity.h"
#include "core/evidence/recurrence.h"
#include "core/evidence/relations.h"
#include "core/evidence/scaling.h"
#include "core/evidence/states.h"
#include "core/network/network.h"
#include "model/plan.h"

#define MOST_ACTIVITY_ROWS 32

/* The largest power of two that the context of a row covers, within limits. */
static int
activity_rows(int context)
{
	int			rows = NN_ACTIVITY_FEW; /* the context is longer */

	while (2 * rows <= Min(context, MOST_ACTIVITY_ROWS))
		rows *= 2;
	return rows;
}

ModelPlan
plan_make(const Options *o, int features)
{
	bool		network = o->method == METHOD_AMAD;
	ModelPlan	p = {
		.features = features,
		.has_network = network,
		.shape =
			{
				.features = features,
				.window = o->window,
				.d_model = o->d_model,
				.heads = o->heads,
				.layers = o->layers,
			},
		.has_states = network && o->state_weight > 0,
		.has_flatlines = network && o->flatline_weight > 0,
		.has_relations = network && o->relation_weight > 0 && features > 1 &&
			features <= NN_RELATION_FEATURES,
		.has_recurrence = network && o->recurrence > 0,
		.has_levels = network && o->level_weight > 0,
		.bound = network ? NN_BOUND : o->clip,
		.chunk_rows = network ? o->chunk_length : 2,
		.nhorizons = o->nhorizons,
		.max_horizon = o->horizons[o->nhorizons - 1],
	};

	if (network)
	{
		p.blocks = o->layers;
		p.ahead = o->ahead;
		p.network_size = nn_params_size(&p.shape);
		p.context = nn_context(&p.shape) + o->ahead;
	}
	if (p.has_states)
		p.states_size = nn_states_size(features);
	if (p.has_relations)
		p.relations_size = nn_relations_size(features);
	p.params_size = p.network_size + p.states_size + p.relations_size;
	p.evidence = (p.has_flatlines ? FIGURES_FLATLINES : 0) |
		(p.has_relations ? FIGURES_RELATIONS : 0) | (p.has_levels ? FIGURES_LEVEL : 0);
	p.signals = p.blocks + p.has_states;
	p.activity_rows = activity_rows(p.context);
	p.warmup = p.context + p.max_horizon - 1;
	return p;
}

FigureSizes
plan_figure_sizes(const ModelPlan *p, const nn_season *season)
{
	return figure_sizes(p->features, p->signals, p->nhorizons, nn_season_terms(season),
						p->has_recurrence ? nn_recurrence_size(season) : 0, p->evidence);
}

nn_season
plan_largest_season(const Options *o)
{
	nn_season	season = {0};

	if (o->season == SEASON_GIVEN)
		season.nperiods = o->nperiods;
	/* baselines have a season only when it is asked for */
	else if (o->method == METHOD_AMAD)
		season.nperiods = SEASON_AUTO_PERIODS;
	for (int i = 0; i < season.nperiods; i++)
	{
		season.harmonics[i] = o->season_harmonics;
		season.bins[i] = i == 0 ? NN_SEASON_FIRST_BINS : NN_SEASON_BINS;
	}
	if (o->season == SEASON_AUTO && season.nperiods > 0)
		season.month_bins = NN_SEASON_FIRST_BINS;
	return season;
}
