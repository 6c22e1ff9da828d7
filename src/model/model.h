/*
 * model/model.h
 *	  A trained model, and the SQL type amad_model that carries it.
 *
 * The value contains everything that scoring needs (options, scaling, weights,
 * calibration, threshold), and the facts of the training.
 */
#ifndef AMAD_MODEL_MODEL_H
#define AMAD_MODEL_MODEL_H

#include "core/evidence/activity.h"
#include "core/evidence/raw_score.h"
#include "core/evidence/scaling.h"
#include "model/figures.h"
#include "model/options.h"
#include "model/plan.h"
#include "model/transforms.h"

/* A series of a fleet. */
typedef struct ModelSeries
{
	char	   *key;			/* series_key.h */
	ModelStats	stats;
} ModelSeries;

typedef struct Model
{
	Options		options;
	int			features;
	ModelPlan	plan;
	FigureSizes sizes;
	bool	   *flag;			/* (features) it has at most two values */
	double	   *weight;			/* (features) of its evidence; the mean is 1 */
	Transforms	transforms;
	nn_season	season;			/* periods in units of the time column */
	ModelStats	stats;			/* of all rows: of the only series, and of unknown ones */
	int			nseries;		/* series of a fleet, in order of their keys */
	ModelSeries *series;
	size_t		nparams;
	float	   *params; /* weights, states, relations (METHOD_AMAD), components (METHOD_PCA) */
	float	   *precision;		/* (features, features) the relations in params; NULL: none */
	Oid			ts_type;		/* of the time column: timestamps_scored_type() */
	int			ntypes;			/* features, or 0 when types were not recorded */
	char	  **types;			/* of the features, for messages */
	int			nseries_cols;	/* series columns */
	char	  **series_cols;
	char	   *training;		/* JSON object: rows, steps, loss … */
	char	   *core;			/* BLAS core and kernels that trained it */
} Model;

/*
 * A model without a season in the current context; its figures are zeroed.  nparams:
 * components times features (METHOD_PCA).
 */
extern Model *model_create(const Options *options, int features, size_t nparams);

/* Rows of a stretch before the first that can have a score. */
extern int	model_warmup(const Model *model);

/* Computes the weights of the features from their flags. */
extern void model_weigh_features(Model *model);

/* Sets the season, and allocates its figures; before the series are created. */
extern void model_set_season(Model *model, const nn_season *season);

/*
 * The time of a row by the calendar of the model, for season and recurrence: ts in units of
 * the time column.
 */
extern int64 model_calendar_time(const Model *model, int64 ts);

/* Computes season_scale from the other figures. */
extern void model_scale_season(const Model *model, ModelStats *stats);

/* Allocates series with zeroed figures; their keys are NULL. */
extern void model_create_series(Model *model, int nseries);

/* Adds series with other keys than those of the model, and sorts all of them. */
extern void model_add_series(Model *model, int n, const ModelSeries *added);

/* Sorts the series by their keys, as model_series_stats() needs them. */
extern void model_sort_series(Model *model);

/* The figures of the series with a key; NULL if there is none, or if key is NULL. */
extern const ModelStats *model_series_stats(const Model *model, const char *key);

/*
 * The figures of a series that the model contains; NULL if it does not.  A model without series
 * contains any, with the figures of all rows.
 */
extern const ModelStats *model_known_stats(const Model *model, const char *key);

extern nn_scaling model_scaling(const Model *model, const ModelStats *stats);
extern nn_calibration model_calibration(const Model *model, const ModelStats *stats);

/* The activity of some of its features; bytes of its memory, 0 if it is not used. */
extern Size model_activity_bytes(const Model *model, int features);
extern nn_activity *model_activity_open(const Model *model, int features, void *memory);

/* Writes the names of the features in a set (NULL: all) as a JSON array. */
extern void model_write_names(const Model *model, const bool *set, StringInfo out);

/* For messages: "3 (flow, pressure, temp)". */
extern char *model_feature_list(const Model *model);

#endif							/* AMAD_MODEL_MODEL_H */
