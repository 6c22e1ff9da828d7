/*
 * learn/corrupt_chunk.h
 *	  Faults in the rows that the network gets in training.
 */
#ifndef AMAD_LEARN_CORRUPT_CHUNK_H
#define AMAD_LEARN_CORRUPT_CHUNK_H

#include "core/rng.h"

/* How often chunks have faults, and what these look like. */
typedef struct Corruption
{
	double		missing; /* share of the chunks in which features are missing; more with few
								 * features */
	double		outliers;		/* share of the chunks in which single rows are wrong */
	int			fill_limit;		/* rows for which a missing value is filled with the last one */
	double		clip;			/* wrong values are within ± clip */
} Corruption;

#define CORRUPT_FEATURES 3		/* that are affected at the same time, at most */

/* Puts faults into a chunk (rows, features) that is scaled and clipped. */
extern void corrupt_chunk(const Corruption *corruption, nn_rng *rng, int rows, int features,
						  float *chunk);

#endif							/* AMAD_LEARN_CORRUPT_CHUNK_H */
