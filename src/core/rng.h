/*
 * core/rng.h
 *	  Random numbers: the same sequence on every machine.
 *
 * The state is the caller's; nothing is global.
 */
#ifndef AMAD_CORE_RNG_H
#define AMAD_CORE_RNG_H

#include <stdint.h>

typedef struct nn_rng
{
	uint64_t	state[4];		/* xoshiro256** */
} nn_rng;

/* Begins a sequence; different streams of a seed give different sequences. */
extern void nn_rng_seed(nn_rng *rng, uint64_t seed, uint64_t stream);

extern uint64_t nn_rng_next(nn_rng *rng);	/* 64 random bits */
extern double nn_rng_double(nn_rng *rng);	/* uniform in [0, 1) */
extern uint64_t nn_rng_below(nn_rng *rng, uint64_t n);	/* uniform in 0 … n - 1, without bias */

#endif							/* AMAD_CORE_RNG_H */
