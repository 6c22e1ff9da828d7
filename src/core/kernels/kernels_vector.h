/*
 * core/kernels/kernels_vector.h
 *	  Vectors of floats, and functions of them.
 *
 * A vector has LANES floats: 16 with AVX-512, else 8, which the compiler splits if
 * registers are shorter.  The including file selects the instruction set and defines
 * NN_AVX512 or NN_AVX2 if it may be used (the compiler's own macros do not work: clang
 * does not set them for a part of a file).  All functions are inline and mean the same
 * on all machines; their error bounds hold on all of them.
 */
#ifndef AMAD_CORE_KERNELS_KERNELS_VECTOR_H
#define AMAD_CORE_KERNELS_KERNELS_VECTOR_H

#include <math.h>
#include <string.h>

#include "core/kernels/kernels.h"

#define INLINE static inline __attribute__((always_inline))

#ifdef NN_AVX512

#define LANES 16

typedef float vf __attribute__((vector_size(64)));
typedef float vfu __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(64)));

#define EACH_LANE(x) \
	{ \
		x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x \
	}
#define LANE_NUMBERS \
	{ \
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 \
	}

#else

#define LANES 8

typedef float vf __attribute__((vector_size(32)));
typedef float vfu __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(32)));

#define EACH_LANE(x) \
	{ \
		x, x, x, x, x, x, x, x \
	}
#define LANE_NUMBERS \
	{ \
		0, 1, 2, 3, 4, 5, 6, 7 \
	}

#endif

INLINE vf
splat(float x)
{
	return (vf) EACH_LANE(x);
}

INLINE vi
isplat(int32_t x)
{
	return (vi) EACH_LANE(x);
}

INLINE vf
load(const float *p)
{
	return *(const vfu *) p;
}

INLINE void
store(float *p, vf x)
{
	*(vfu *) p = x;
}

/* The first n lanes (0 … LANES); the others are 0, and their memory is not read. */
INLINE vf
load_part(const float *p, int n)
{
#if defined(NN_AVX512)
	return _mm512_maskz_loadu_ps((__mmask16) ((1u << n) - 1), p);
#elif defined(NN_AVX2)
	return _mm256_maskload_ps(p, (__m256i) (vi) ((vi) LANE_NUMBERS < isplat(n)));
#else
	vf			x = splat(0.0f);

	for (int i = 0; i < n; i++)
		x[i] = p[i];
	return x;
#endif
}

INLINE void
store_part(float *p, int n, vf x)
{
#if defined(NN_AVX512)
	_mm512_mask_storeu_ps(p, (__mmask16) ((1u << n) - 1), x);
#elif defined(NN_AVX2)
	_mm256_maskstore_ps(p, (__m256i) (vi) ((vi) LANE_NUMBERS < isplat(n)), x);
#else
	for (int i = 0; i < n; i++)
		p[i] = x[i];
#endif
}

/* x with 0 in the lanes before `first`. */
INLINE vf
from_lane(int first, vf x)
{
#ifdef NN_AVX512
	return _mm512_maskz_mov_ps((__mmask16) (0xffffu << first), x);
#else
	return (vf) ((vi) x & (vi) ((vi) LANE_NUMBERS >= isplat(first)));
#endif
}

/* x from lane `first` on, y before it. */
INLINE vf
blend_from(int first, vf x, vf y)
{
	const vi	mask = (vi) ((vi) LANE_NUMBERS >= isplat(first));

	return (vf) ((mask & (vi) x) | (~mask & (vi) y));
}

/* Maximum and minimum of each lane; y where x is NaN. */
INLINE vf
vmax(vf x, vf y)
{
#if defined(NN_AVX512)
	return _mm512_max_ps(x, y);
#elif defined(NN_AVX2)
	return _mm256_max_ps(x, y);
#else
	const vi	mask = (vi) (x > y);

	return (vf) ((mask & (vi) x) | (~mask & (vi) y));
#endif
}

INLINE vf
vmin(vf x, vf y)
{
#if defined(NN_AVX512)
	return _mm512_min_ps(x, y);
#elif defined(NN_AVX2)
	return _mm256_min_ps(x, y);
#else
	const vi	mask = (vi) (x < y);

	return (vf) ((mask & (vi) x) | (~mask & (vi) y));
#endif
}

/* Sum of the lanes, by adding halves. */
INLINE float
vsum(vf x)
{
#if defined(NN_AVX512) || defined(NN_AVX2)
#ifdef NN_AVX512
	__m256		y = _mm512_castps512_ps256(x) + _mm512_extractf32x8_ps(x, 1);
#else
	__m256		y = x;
#endif
	__m128		z = _mm256_castps256_ps128(y) + _mm256_extractf128_ps(y, 1);

	z += _mm_movehl_ps(z, z);
	return z[0] + z[1];
#else
	return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
#endif
}

/*
 * Lane r is the sum of the lanes of x[r], in the order of vsum(), but all are summed
 * at once: in each round, two vectors become one.
 */
INLINE vf
vsums(const vf *x)
{
#if defined(NN_AVX512)
	vf			a[8];
	vf			b[4];
	vf			c[2];

#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		a[i] = (vf) (_mm512_shuffle_f32x4(x[i], x[i + 8], 0x44) +
					 _mm512_shuffle_f32x4(x[i], x[i + 8], 0xee));
		/* quarters of b[i]: x[i], x[i + 8], x[i + 4], x[i + 12] */
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		b[i] = (vf) (_mm512_shuffle_f32x4(a[i], a[i + 4], 0x88) +
					 _mm512_shuffle_f32x4(a[i], a[i + 4], 0xdd));
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++)
		c[i] = (vf) (_mm512_unpacklo_ps(b[i], b[i + 2]) + _mm512_unpackhi_ps(b[i], b[i + 2]));
	a[0] = (vf) (_mm512_unpacklo_ps(c[0], c[1]) + _mm512_unpackhi_ps(c[0], c[1]));
	return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14,
												   15),
								 a[0]);
#elif defined(NN_AVX2)
	vf			a[4];
	vf			b[2];

#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		a[i] = (vf) (_mm256_permute2f128_ps(x[i], x[i + 4], 0x20) +
					 _mm256_permute2f128_ps(x[i], x[i + 4], 0x31));
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++)
		b[i] = (vf) (_mm256_unpacklo_ps(a[i], a[i + 2]) + _mm256_unpackhi_ps(a[i], a[i + 2]));
	return (vf) (_mm256_unpacklo_ps(b[0], b[1]) + _mm256_unpackhi_ps(b[0], b[1]));
#else
	vf			sums;

	for (int i = 0; i < LANES; i++)
		sums[i] = vsum(x[i]);
	return sums;
#endif
}

/* Whether any lane of a mask is set. */
INLINE bool
vany(vi mask)
{
#if defined(NN_AVX512)
	return _mm512_movepi32_mask((__m512i) mask) != 0;
#elif defined(NN_AVX2)
	return _mm256_movemask_ps((__m256) mask) != 0;
#else
	int32_t		any = 0;

	for (int i = 0; i < LANES; i++)
		any |= mask[i];
	return any != 0;
#endif
}

/* The greatest lane. */
INLINE float
vtop(vf x)
{
	float		m = x[0];

	for (int i = 1; i < LANES; i++)
		m = x[i] > m ? x[i] : m;
	return m;
}

/* The magnitude of x, and x with the sign of s. */
INLINE vf
vabs(vf x)
{
	return (vf) ((vi) x & isplat(0x7fffffff));
}

INLINE vf
with_sign(vf magnitude, vf s)
{
	return (vf) ((vi) magnitude | ((vi) s & isplat((int32_t) 0x80000000)));
}

INLINE vf
vsqrt(vf x)
{
#if defined(NN_AVX512)
	return _mm512_sqrt_ps(x);
#elif defined(NN_AVX2)
	return _mm256_sqrt_ps(x);
#else
	for (int i = 0; i < LANES; i++)
		x[i] = sqrtf(x[i]);
	return x;
#endif
}

/* The nearest integer; |x| < 2^22. */
INLINE vf
vround(vf x)
{
#ifdef NN_AVX512
	return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
	const vf	shift = splat(12582912.0f); /* 1.5·2^23 shifts the fraction out */

	return (x + shift) - shift;
#endif
}

/* x·2^n, n an integer; without AVX-512 the result must be a normal number. */
INLINE vf
vscale(vf x, vf n)
{
#ifdef NN_AVX512
	return _mm512_scalef_ps(x, n);
#else
	return x * (vf) ((__builtin_convertvector(n, vi) + isplat(127)) << 23);
#endif
}

/*
 * 2^x: 2^n · 2^r with |r| ≤ ½ and 2^r by a polynomial of degree 5.  Relative error
 * below 2.5e-7 between -126 and 127; outside, infinite or 0 with AVX-512, clamped
 * without it.
 */
INLINE vf
vexp2(vf x)
{
	vf			n, r, p;

#ifndef NN_AVX512
	x = vmin(vmax(x, splat(-126.0f)), splat(127.0f));
#endif
	n = vround(x);
	r = x - n;
	p = splat(1.3276472e-3f) * r + splat(9.675541e-3f);
	p = p * r + splat(5.550713e-2f);
	p = p * r + splat(2.402212e-1f);
	p = p * r + splat(6.9314694e-1f);
	p = p * r + splat(1.0000001f);
	return vscale(p, n);
}

#define LOG2_E 1.44269504088896341f

/*
 * exp(x): 2^n · e^r with |r| ≤ ln 2 / 2 and e^r by a polynomial of degree 6.
 * Relative error below 3e-7; arguments are clamped to [-87, 88].
 */
INLINE vf
vexp(vf x)
{
	vf			n, r, p;

	x = vmin(vmax(x, splat(-87.0f)), splat(88.0f));
	n = vround(x * splat(LOG2_E));
	r = x - n * splat(0.693359375f);
	r = r + n * splat(2.12194440e-4f);
	p = splat(1.0f / 720) * r + splat(1.0f / 120);
	p = p * r + splat(1.0f / 24);
	p = p * r + splat(1.0f / 6);
	p = p * r + splat(0.5f);
	p = p * r + splat(1.0f);
	p = p * r + splat(1.0f);
	return vscale(p, n);
}

/*
 * log(x) for normal x > 0: exponent + log of the mantissa 1 + f in [√½, √2), which is f
 * times a polynomial of degree 7.  Error below 2e-7, absolute near 1, else relative;
 * very near 1, where log(1 + f) is f, it is also relative to f.
 */
INLINE vf
vlog(vf x)
{
	const vi	sqrt_half = isplat(0x3f3504f3);
	vi			bits = (vi) x;
	vi			e = (bits - sqrt_half) >> 23;
	vf			f = (vf) (bits - (e << 23)) - splat(1.0f);
	vf			p;

	p = splat(-1.0106896e-1f) * f + splat(1.6222581e-1f);
	p = p * f + splat(-1.725083e-1f);
	p = p * f + splat(1.9900165e-1f);
	p = p * f + splat(-2.4969909e-1f);
	p = p * f + splat(3.333506e-1f);
	p = p * f + splat(-5.0000364e-1f);
	p = p * f + splat(9.9999994e-1f);
	return p * f + __builtin_convertvector(e, vf) * splat(0.69314718056f);
}

/*
 * log(1 + x) for x in [0, 1]: x times a polynomial of degree 7, without an exponent
 * to extract.  Relative error below 3.5e-7.
 */
INLINE vf
vlog1p(vf x)
{
	vf			p = splat(-8.539209e-03f);

	p = p * x + splat(4.4089634e-02f);
	p = p * x + splat(-1.07681714e-01f);
	p = p * x + splat(1.7745242e-01f);
	p = p * x + splat(-2.4495463e-01f);
	p = p * x + splat(3.327548e-01f);
	p = p * x + splat(-4.9997404e-01f);
	p = p * x + splat(9.999998e-01f);
	return p * x;
}

/*
 * erf(x), given e = exp(-x²): Abramowitz & Stegun 7.1.26, absolute error below
 * 5e-7 in float.
 */
INLINE vf
verf(vf x, vf e)
{
	vf			t = splat(1.0f) / (splat(1.0f) + splat(0.3275911f) * vabs(x));
	vf			p;

	p = splat(1.061405429f) * t + splat(-1.453152027f);
	p = p * t + splat(1.421413741f);
	p = p * t + splat(-0.284496736f);
	p = p * t + splat(0.254829592f);
	p = splat(1.0f) - p * t * e;
	return with_sign(p, x);
}

#endif							/* AMAD_CORE_KERNELS_KERNELS_VECTOR_H */
