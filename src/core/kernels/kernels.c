/*
 * core/kernels/kernels.c
 *	  Chooses a table of inner loops, and derives the sizes they work with.
 */
#include <math.h>
#include <string.h>

#include "core/kernels/kernels.h"

#define TABLES 3

static const nn_kernels *chosen;

/* The i-th best table (0 …); NULL if the CPU does not support it. */
static const nn_kernels *
supported_table(int i)
{
	switch (i)
	{
#if defined(__x86_64__)
		case 0:
			__builtin_cpu_init();
			return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
					__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
					__builtin_cpu_supports("fma")
				? &nn_kernels_avx512
				: NULL;
		case 1:
			__builtin_cpu_init();
			return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
				? &nn_kernels_avx2
				: NULL;
#endif
		case 2:
			return &nn_kernels_portable;
		default:
			return NULL;
	}
}

const nn_kernels *
nn_kernels_get(void)
{
	for (int i = 0; chosen == NULL; i++)
		chosen = supported_table(i);
	return chosen;
}

const char *
nn_kernel_name(void)
{
	return nn_kernels_get()->name;
}

bool
nn_kernel_use(const char *name)
{
	for (int i = 0; i < TABLES; i++)
	{
		const nn_kernels *t = supported_table(i);

		if (t != NULL && (name == NULL || strcmp(name, t->name) == 0))
		{
			chosen = t;
			return true;
		}
	}
	return false;
}

nn_geometry
nn_geometry_of(const nn_shape *shape)
{
	nn_geometry g;

	g.C = shape->features;
	g.D = shape->d_model;
	g.H = shape->heads;
	g.N = shape->layers;
	g.W = shape->window;
	g.d = g.D / g.H;
	g.dp = (int) nn_round_up(g.d, nn_kernels_get()->lanes);
	g.Wp = (int) nn_round_up(g.W, NN_UNIT);
	g.E = g.D / NN_SCALES;
	g.F = 2 * g.D;
	g.q_col = 0;
	g.k_col = g.D;
	g.v_col = 2 * g.D;
	g.a_col = 3 * g.D;
	g.g_col = g.a_col + g.H * NN_BASIS;
	g.P = g.g_col + g.H;
	return g;
}

size_t
nn_attend_scratch(const nn_geometry *g)
{
	/* of a block of rows: two sets of products, two of weights, the gates; and two bands */
	return NN_UNIT * (2 * (size_t) (g->Wp + NN_UNIT) + 2 * (size_t) g->Wp + g->H) +
		2 * (size_t) g->Wp;
}

void
nn_basis(float *phi)
{
	static const double width[NN_BELLS] = {1, 2, 4};
	static const double period[] = {2, 4, 8, NN_WAVE};

	for (int w = 0; w < NN_NEAR; w++)
	{
		double		delta = NN_NEAR - 1 - w;
		int			k = 0;

		phi[w] = 1.0f;
		for (int i = 0; i < NN_BELLS; i++)
			phi[++k * NN_NEAR + w] = (float) exp(-delta * delta / (2 * width[i] * width[i]));
		for (int i = 0; i < 4; i++)
			phi[++k * NN_NEAR + w] = (float) cos(2 * M_PI * delta / period[i]);
	}
}
