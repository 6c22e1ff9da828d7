/*
 * score/cache.h
 *	  Decoded models, cached for the session.
 *
 * Every scan looks the name up in amad_models, so a newer version is used at once, whichever
 * session stored it.  The cache only saves decoding.
 */
#ifndef AMAD_SCORE_CACHE_H
#define AMAD_SCORE_CACHE_H

#include "score/predict.h"

typedef struct LoadedModel
{
	const Model *model;			/* without its weights */
	const Predictor *predictor;
	int			version;		/* 0: passed by value */
} LoadedModel;

/*
 * A version of a model (0: the deployed one); function: the calling SQL function.  ERROR if there
 * is none.  The caller must release it.
 */
extern LoadedModel *cache_by_name(Oid function, const char *name, int version);

/* Decodes a model passed by value, which is not cached.  The caller must release it. */
extern LoadedModel *cache_by_value(struct varlena *value);

extern void cache_release(LoadedModel *loaded);

#endif							/* AMAD_SCORE_CACHE_H */
