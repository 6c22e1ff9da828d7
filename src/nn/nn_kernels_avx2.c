/*
 * nn_kernels_avx2.c
 *	  The inner loops for x86-64 with AVX2 and FMA.
 */
#if defined(__x86_64__)

#pragma GCC target("avx2,fma")

#define NN_ISA nn_kernels_avx2
#define NN_ISA_NAME "avx2"
#include "nn_kernels_impl.h"

#else
typedef int nn_kernels_avx2_unused;
#endif
