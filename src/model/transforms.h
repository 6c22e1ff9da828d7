/*
 * model/transforms.h
 *	  What a feature is replaced by before it is scaled (docs/model.md, Transforms).
 */
#ifndef AMAD_MODEL_TRANSFORMS_H
#define AMAD_MODEL_TRANSFORMS_H

#include "model/options.h"

/* The transforms of a model's features. */
typedef struct Transforms
{
	int			features;
	uint8	   *kind;			/* (features) Transform */
	bool		any;			/* not all are TRANSFORM_NONE */
	int			mean_rows;		/* rows before a row whose mean TRANSFORM_DETREND subtracts */
	int			limit;			/* rows that a difference may span */
	int			lead;			/* rows at the beginning of a stretch without a value */
} Transforms;

/* Whether a feature is transformed.  One that is to be decided is constant so far. */
static inline bool
transforms_feature(const Transforms *transforms, int feature)
{
	return transforms->kind[feature] != TRANSFORM_NONE &&
		transforms->kind[feature] != TRANSFORM_AUTO;
}

/* No feature is transformed, until kind is set and transforms_settle() called. */
extern Transforms transforms_make(const Options *options, int features);

/* Sets any and lead from the kinds. */
extern void transforms_settle(Transforms *transforms);

/* Rows before a row that its transformed value can depend on. */
extern int	transforms_reach(const Transforms *transforms, int feature);
extern int	transforms_longest_reach(const Transforms *transforms);

/* Writes an object: the names of the features that are transformed, and how. */
extern void transforms_write(const Transforms *transforms, const Options *options, StringInfo out);

#endif							/* AMAD_MODEL_TRANSFORMS_H */
