/*
 * model/model.h
 *	  A trained model, and the SQL type amad_model that carries it.
 *
 * The value holds all that scoring needs: options, scaling, weights,
 * calibration, threshold, and the facts of its training.
 */
#ifndef AMAD_MODEL_MODEL_H
#define AMAD_MODEL_MODEL_H

#include "core/evidence/activity.h"
#include "core/evidence/raw_score.h"
#include "core/evidence/scaling.h"
#include "model/figures.h"
#include "model/options.h"
#include "model/plan.h"

/* What a fleet knows of one of its series. */
typedef struct ModelSeries
{
	char	   *key;			/* series_key.h */
	ModelStats	stats;
} ModelSeries;

typedef struct Model
{
	Options		options;
	int			features;
	ModelPlan		plan;
	FigureSizes sizes;
	bool	   *flag;			/* (features) it has two values at most */
	double	   *weight;			/* (features) of its evidence, 1 on the average */
	nn_season	season;			/* periods in units of the time column */
	ModelStats	stats;			/* of all rows: for the only series, and for unknown ones */
	int			nseries;		/* series with figures of their own, in order of their keys */
	ModelSeries *series;
	size_t		nparams;
	float	   *params;			/* weights and states (METHOD_AMAD), components (METHOD_PCA) */
	Oid			ts_type;		/* of the time column: timestamps_scored_type() */
	int			ntypes;			/* features, or 0 when types were not recorded */
	char	  **types;			/* of the features, for messages */
	int			nseries_cols;	/* columns that tell series apart */
	char	  **series_cols;
	char	   *training;		/* JSON object: rows, steps, loss … */
	char	   *core;			/* BLAS core and kernels that trained it */
} Model;

/*
 * A model without a season in the current context; its figures are zeroed.  nparams:
 * components times features (METHOD_PCA).
 */
extern Model *model_create(const Options *options, int features, size_t nparams);

/* What the features weigh, from which of them are flags. */
extern void model_weigh_features(Model *model);

/* Gives it a season, before it has series: room for the figures of all rows. */
extern void model_set_season(Model *model, const nn_season *season);

/* season_scale, from the other figures. */
extern void model_scale_season(const Model *model, ModelStats *stats);

/* Room for the figures of so many series, keys still NULL. */
extern void model_create_series(Model *model, int nseries);

/* The figures of a series by its key (NULL: none is told); NULL when unknown. */
extern const ModelStats *model_series_stats(const Model *model, const char *key);

extern nn_scaling model_scaling(const Model *model, const ModelStats *stats);
extern nn_calibration model_calibration(const Model *model, const ModelStats *stats);

/* What tells how much some of its features move, and the memory it needs; 0: nobody asks. */
extern Size model_activity_bytes(const Model *model, int features);
extern nn_activity *model_activity_open(const Model *model, int features, void *memory);

/* "flow" if the names are known, else "3"; features are counted from 0 here. */
extern const char *model_feature_name(const Model *model, int feature);

/* Their names as a JSON array, of those that are in a set (NULL: all). */
extern void model_write_names(const Model *model, const bool *set, StringInfo out);

/* For messages: "3 (flow, pressure, temp)". */
extern char *model_feature_list(const Model *model);

#endif							/* AMAD_MODEL_MODEL_H */
