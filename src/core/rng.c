/*
 * core/rng.c
 *	  Random numbers: xoshiro256** (Blackman & Vigna), seeded by splitmix64.
 */
#include "core/rng.h"

static uint64_t
splitmix64(uint64_t *state)
{
	uint64_t	z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t
rotate_left(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

void
nn_rng_seed(nn_rng *rng, uint64_t seed, uint64_t stream)
{
	uint64_t	state = seed;

	state = splitmix64(&state) ^ stream;
	for (int i = 0; i < 4; i++)
		rng->state[i] = splitmix64(&state);
}

uint64_t
nn_rng_next(nn_rng *rng)
{
	uint64_t   *s = rng->state;
	uint64_t	result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t	t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

double
nn_rng_double(nn_rng *rng)
{
	return (double) (nn_rng_next(rng) >> 11) * 0x1.0p-53;
}

uint64_t
nn_rng_below(nn_rng *rng, uint64_t n)
{
	uint64_t	reject = -n % n;	/* 2^64 mod n: the smallest results would be too likely */
	uint64_t	x;

	do
		x = nn_rng_next(rng);
	while (x < reject);
	return x % n;
}
