/*
 * core/kernels/kernels_avx2.c
 *	  The inner loops for x86-64 with AVX2 and FMA.
 */
#if defined(__x86_64__)

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define NN_AVX2
#define NN_ISA nn_kernels_avx2
#define NN_ISA_NAME "avx2"
#include "core/kernels/kernels_impl.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

#else
typedef int nn_kernels_avx2_unused;
#endif
