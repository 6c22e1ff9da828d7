/*
 * pg/blas.h
 *	  The BLAS library: OpenBLAS, one thread.
 */
#ifndef AMAD_PG_BLAS_H
#define AMAD_PG_BLAS_H

#include "lib/stringinfo.h"

/* Limits BLAS to one thread, whichever build of the library was loaded. */
extern void blas_init(void);

/* BLAS core and the network's kernels, for example "Zen/avx2". */
extern char *blas_core(void);

/* Writes a JSON object: library, core, threading model, threads. */
extern void blas_describe(StringInfo out);

#endif							/* AMAD_PG_BLAS_H */
