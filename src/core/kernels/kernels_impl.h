/*
 * core/kernels/kernels_impl.h
 *	  The inner loops, written once with vectors, and their table.
 *
 * To be included by a file that selects the instruction set and defines NN_ISA, the
 * name of the table, NN_ISA_NAME, and what kernels_vector.h requires.
 */
#include "core/kernels/kernels_vector.h"
#include "core/kernels/kernels_gemm.h"
#include "core/kernels/kernels_rows.h"
#include "core/kernels/kernels_attend.h"

/* ---- approximations, for their tests ---------------------------------------------------- */

#define ELEMENTWISE(name, expression) \
	static void name(size_t n, const float *x, float *y) \
	{ \
		for (size_t i = 0; i < n; i++) \
		{ \
			vf a = splat(x[i]); \
			vf b = (expression); \
\
			y[i] = b[0]; \
		} \
	}

ELEMENTWISE(each_exp, vexp(a))
ELEMENTWISE(each_exp2, vexp2(a))
ELEMENTWISE(each_log, vlog(a))
ELEMENTWISE(each_log1p, vlog1p(a))
ELEMENTWISE(each_erf, verf(a, vexp(-a *a)))

const nn_kernels NN_ISA = {
	.name = NN_ISA_NAME,
	.lanes = LANES,
#if defined(NN_AVX512) || defined(NN_AVX2)
	.trains = true,
#endif
	.transpose = transpose,
	.pack = pack,
	.gemm = gemm,
	.gemm_nn = gemm_nn,
	.gemm_tn = gemm_tn,
	.norm = norm,
	.norm_backward = norm_backward,
	.gelu = gelu,
	.gelu_backward = gelu_backward,
	.attend = attend,
	.attend_forward = attend_forward,
	.attend_backward = attend_backward,
	.exp_sums = exp_sums,
	.scale_rows_cols = scale_rows_cols,
	.normalise = normalise,
	.normalise_backward = normalise_backward,
	.column_sums = column_sums,
	.square_sum = square_sum,
	.adam = adam,
	.exp = each_exp,
	.exp2 = each_exp2,
	.log = each_log,
	.log1p = each_log1p,
	.erf = each_erf,
};
