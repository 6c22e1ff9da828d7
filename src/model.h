/*
 * model.h
 *	  A trained model, and the SQL type amad_model that carries it.
 *
 * The value holds all that scoring needs: options, scaling, weights,
 * calibration, threshold, and the facts of its training.
 */
#ifndef AMAD_MODEL_H
#define AMAD_MODEL_H

#include "options.h"

typedef struct Model
{
	Options		options;
	int			features;
	double	   *mean;			/* (features) */
	double	   *std;			/* (features) 0: constant */
	double	   *rho;			/* (features) */
	double	   *mu;				/* (layers) */
	double	   *theta;			/* (horizons) */
	double		threshold;
	size_t		nparams;
	float	   *params;
	char	   *training;		/* JSON object: rows, steps, loss … */
	char	   *core;			/* BLAS core and kernels that trained it */
} Model;

/* A model with arrays of the right size, zeroed, in the current context. */
extern Model *model_create(const Options *options, int features);

extern nn_shape model_shape(const Model *model);
extern nn_scaling model_scaling(const Model *model);
extern nn_calibration model_calibration(const Model *model);

/* "flow" if the names are known, else "3"; features are counted from 0 here. */
extern const char *model_feature_name(const Model *model, int feature);

/* For messages: "3 (flow, pressure, temp)". */
extern char *model_feature_list(const Model *model);

/* To and from the SQL value.  Decoding refuses whatever was not encoded here. */
extern struct varlena *model_encode(const Model *model);
extern Model *model_decode(struct varlena *value);

#define DatumGetModel(d) model_decode(PG_DETOAST_DATUM(d))

#endif							/* AMAD_MODEL_H */
