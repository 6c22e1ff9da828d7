/*
 * core/kernels/kernels_avx512.c
 *	  The inner loops for x86-64 with AVX-512 (F, DQ, BW, VL).
 */
#if defined(__x86_64__)

#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,fma"))), \
							 apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,fma,prefer-vector-width=512")
#endif

#define NN_AVX512
#define NN_ISA nn_kernels_avx512
#define NN_ISA_NAME "avx512"
#include "core/kernels/kernels_impl.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

#else
typedef int nn_kernels_avx512_unused;
#endif
