/*
 * core/kernels/kernels_portable.c
 *	  The inner loops for any machine, with its base instruction set.
 */
#define NN_ISA nn_kernels_portable
#define NN_ISA_NAME "portable"
#include "core/kernels/kernels_impl.h"
