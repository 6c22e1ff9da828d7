/*
 * nn_kernels.c
 *	  Choice of the inner loops, and the sizes they work with.
 */
#include <math.h>
#include <string.h>

#include "nn_kernels.h"

static const nn_kernels *chosen;

static const nn_kernels *
best(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		return &nn_kernels_avx2;
#endif
	return &nn_kernels_portable;
}

const nn_kernels *
nn_kernels_get(void)
{
	if (chosen == NULL)
		chosen = best();
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
	const nn_kernels *all[] = {best(), &nn_kernels_portable};

	for (int i = 0; i < 2; i++)
		if (name == NULL || strcmp(name, all[i]->name) == 0)
		{
			chosen = all[i];
			return true;
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
	g.dp = (int) nn_round_up(g.d, NN_LANES);
	g.Wp = (int) nn_round_up(g.W, NN_LANES);
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

void
nn_basis(const nn_geometry *g, float *phi)
{
	static const double width[] = {1, 2, 4};
	static const double period[] = {2, 4, 8, 16};

	for (int w = 0; w < g->Wp; w++)
	{
		double		delta = g->Wp - 1 - w;
		int			k = 0;

		phi[w] = 1.0f;
		for (int i = 0; i < 3; i++)
			phi[(size_t) ++k * g->Wp + w] = (float) exp(-delta * delta / (2 * width[i] * width[i]));
		for (int i = 0; i < 4; i++)
			phi[(size_t) ++k * g->Wp + w] = (float) cos(2 * M_PI * delta / period[i]);
	}
}
