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
#include "model/options.h"

/*
 * Bytes of a value at most: its hexadecimal text, with the other columns of
 * amad_models, must fit in a line of COPY, so that pg_dump can write it.
 */
#define MODEL_MOST_BYTES (500 * 1024 * 1024)

#define MODEL_FORMAT 1			/* of the value */

/* Scaling and calibration: of one series, or of all rows together. */
typedef struct ModelStats
{
	double	   *mean;			/* (features) */
	double	   *std;			/* (features) 0: constant */
	double	   *rho;			/* (features) */
	double	   *mu;				/* (signals) */
	double	   *theta;			/* (horizons) */
	double	   *season;			/* (features, terms) what the time makes one expect, scaled */
	double	   *season_gain;	/* (features) 0 … 1: how much better that is than the mean */
	double	   *season_spread;	/* (features) mean squared deviation from it */
	double	   *season_scale;	/* (features) of these, as nn_calibration has it */
	double		flatline;		/* what a feature that does not move at all is worth */
	double	   *activity;		/* (features) below which it hardly moves; 0: it never does so */
	double		threshold;
	double		step;			/* median distance of neighbouring timestamps; 0: not known */
	double		max_gap;		/* distance beyond which a series begins anew; 0: none */
} ModelStats;

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
 * A model with arrays of the right size, zeroed, in the current context.
 * nparams: weights, or components times features; the network's when 0.
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

/* Floats of params that are the network's weights; those of the states follow. */
extern size_t model_network_size(const Model *model);

extern nn_shape model_shape(const Model *model);
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

/*
 * To and from the SQL value.  Decoding refuses whatever was not encoded here, and
 * encoding whatever decoding refuses.
 */
extern struct varlena *model_encode(const Model *model);
extern Model *model_decode(struct varlena *value);

/*
 * What an error of model_decode() says about the value, as a sentence for a DETAIL;
 * NULL when the error is not about the value: out of memory, cancelled …
 */
extern char *model_damage(const ErrorData *error);

#define DatumGetModel(d) model_decode(PG_DETOAST_DATUM(d))

#endif							/* AMAD_MODEL_MODEL_H */
