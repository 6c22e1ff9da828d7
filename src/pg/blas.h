/*
 * pg/blas.h
 *	  The BLAS library: OpenBLAS, one thread.
 */
#ifndef AMAD_PG_BLAS_H
#define AMAD_PG_BLAS_H

#include "lib/stringinfo.h"

/* One thread in this process, whichever build of the library was loaded. */
extern void blas_init(void);

/* What computes: "Zen/avx2", BLAS core and kernels of the network. */
extern char *blas_core(void);

/* A JSON object: library, core, threads, threading model. */
extern void blas_describe(StringInfo out);

#endif							/* AMAD_PG_BLAS_H */
