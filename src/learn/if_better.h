/*
 * learn/if_better.h
 *	  Whether a new version of a model is better than the one that it is to replace.
 */
#ifndef AMAD_LEARN_IF_BETTER_H
#define AMAD_LEARN_IF_BETTER_H

#include "score/detect.h"

typedef struct Verdict
{
	bool		better;
	char	   *reason;			/* why it is not, for a message; "" if it is */
	char	   *json;			/* object: decision, reason, figures of both versions */
} Verdict;

/* ERROR unless a version of the model can read the rows. */
extern void if_better_check(const DetectSpec *rows, int version);

/* Compares a model that is not stored with a version of it, on rows of their source. */
extern Verdict if_better_judge(const DetectSpec *rows, int version, const Model *model);

#endif							/* AMAD_LEARN_IF_BETTER_H */
