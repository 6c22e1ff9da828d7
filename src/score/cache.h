/*
 * score/cache.h
 *	  Models ready to score, kept in the backend.
 *
 * A name is looked up in amad_models by every scan that uses it, so a newer
 * version, trained by whomever, is used at once; only decoding is saved.
 */
#ifndef AMAD_SCORE_CACHE_H
#define AMAD_SCORE_CACHE_H

#include "score/predict.h"

typedef struct LoadedModel
{
	const Model *model;			/* without its weights */
	const Predictor *predictor;
	int			version;		/* 0: a value that is not stored */
} LoadedModel;

/* The model in use under a name; ERROR if there is none.  Release it after use. */
extern LoadedModel *cache_by_name(Oid function, const char *name);

/* A model by value, not shared.  Release it after use. */
extern LoadedModel *cache_by_value(struct varlena *value);

extern void cache_release(LoadedModel *loaded);

#endif							/* AMAD_SCORE_CACHE_H */
