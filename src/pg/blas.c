/*
 * pg/blas.c
 *	  The BLAS library: OpenBLAS, one thread.
 *
 * PostgreSQL's signal handlers must not run in a thread of BLAS, so only processes run in
 * parallel.  On Debian, the Makefile links the serial build statically.  Elsewhere the library
 * may be a threaded build, which is limited to one thread.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <cblas.h>

#include "core/kernels/kernels.h"
#include "pg/blas.h"
#include "pg/json.h"

void
blas_init(void)
{
	if (openblas_get_parallel() != OPENBLAS_SEQUENTIAL)
		openblas_set_num_threads(1);
}

char *
blas_core(void)
{
	return psprintf("%s/%s", openblas_get_corename(), nn_kernel_name());
}

void
blas_describe(StringInfo out)
{
	static const char *const threading[] = {"none", "pthreads", "openmp"};
	int			model = openblas_get_parallel();

	appendStringInfoChar(out, '{');
	json_put_string(out, "library", openblas_get_config());
	json_put_string(out, "core", openblas_get_corename());
	json_put_string(out, "threading",
					model >= 0 && model < lengthof(threading) ? threading[model] : "unknown");
	json_put_int(out, "threads", openblas_get_num_threads());
	appendStringInfoChar(out, '}');
}
