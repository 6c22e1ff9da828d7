/*
 * model/plan.h
 *	  What follows from the options and the number of features: sizes and limits.
 *
 * A plan is computed once, when a model or a dataset is created, and read from then on.
 */
#ifndef AMAD_MODEL_PLAN_H
#define AMAD_MODEL_PLAN_H

#include "model/figures.h"
#include "model/options.h"

typedef struct ModelPlan
{
	int			features;

	/* the network (METHOD_AMAD); the other methods have none */
	bool		has_network;
	nn_shape	shape;
	int			blocks;			/* of the network; 0 without one */
	int			ahead;			/* rows between an output and the row that it predicts */
	size_t		network_size;	/* floats of its weights */

	/* further evidence */
	bool		has_states;
	size_t		states_size;	/* floats of the states; 0 without them */
	int			signals;		/* of a row: a discrepancy per block and, with states, a distance */
	bool		has_flatlines;
	int			activity_rows;	/* rows that the activity of a row is computed from */

	bool		has_relations;
	size_t		relations_size; /* floats of their parameters; 0 without them */
	bool		has_recurrence;
	bool		has_levels;
	size_t		params_size;	/* floats of network, states and relations, in this order */
	unsigned	evidence;		/* FIGURES_*: what of it there is */

	/* rows */
	double		bound;			/* of scaled values */
	int			chunk_rows;		/* consecutive rows that a training needs */
	int			context;		/* rows before a row that its reconstruction depends on */
	int			nhorizons;
	int			max_horizon;
	int			warmup;			/* rows before the first scored row: context + max_horizon - 1 */
} ModelPlan;

extern ModelPlan plan_make(const Options *options, int features);

/* The sizes of the figures with a season. */
extern FigureSizes plan_figure_sizes(const ModelPlan *plan, const nn_season *season);

/*
 * The largest season that a training with these options can choose; only its harmonics
 * and bins are set.
 */
extern nn_season plan_largest_season(const Options *options);

#endif							/* AMAD_MODEL_PLAN_H */
