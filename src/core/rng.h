/*
 * core/rng.h
 *	  Random numbers: the same sequence on every machine.
 */
#ifndef AMAD_CORE_RNG_H
#define AMAD_CORE_RNG_H

#include <stdint.h>

typedef struct nn_rng
{
	uint64_t	state[4];		/* xoshiro256** */
} nn_rng;

extern void nn_rng_seed(nn_rng *rng, uint64_t seed, uint64_t stream);
extern uint64_t nn_rng_next(nn_rng *rng);

/* Uniform in [0, 1), and a uniform integer in [0, n) without bias. */
extern double nn_rng_double(nn_rng *rng);
extern uint64_t nn_rng_below(nn_rng *rng, uint64_t n);

#endif							/* AMAD_CORE_RNG_H */
