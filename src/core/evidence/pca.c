/*
 * core/evidence/pca.c
 *	  Principal components of scaled rows, the baseline (docs/model.md, Baselines).
 *
 * Scaled rows have mean 0, so the components are eigenvectors of the mean of
 * z·zᵀ.  A row's reconstruction is its projection onto the first of them.
 */
#include <math.h>
#include <string.h>

#include <cblas.h>

#include "core/evidence/pca.h"
#include "core/memory.h"

#define BLOCK 4096				/* rows whose products are summed in single precision */

/*
 * LAPACK: eigenvalues, ascending, and eigenvectors of a symmetric matrix; by QR
 * iteration, and by divide and conquer, which takes a third of the time of many
 * features and more memory.
 */
extern void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda,
				   double *w, double *work, const int *lwork, int *info);
extern void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda,
					double *w, double *work, const int *lwork, int *iwork, const int *liwork,
					int *info);

#define MANY 512				/* features from which on the second one is asked */

typedef struct workspace
{
	double	   *moment;			/* (C, C) sums of z·zᵀ, then eigenvectors */
	double	   *value;			/* (C) eigenvalues */
	double	   *work;			/* (work_size()) LAPACK's */
	int		   *iwork;			/* (iwork_size()) */
	float	   *block;			/* (C, C) */
} workspace;

static int
work_size(int features)
{
	return features < MANY ? 34 * features : 1 + 6 * features + 2 * features * features;
}

static int
iwork_size(int features)
{
	return features < MANY ? 0 : 3 + 5 * features;
}

static void
layout(nn_arena *arena, int features, workspace *w)
{
	size_t		C = features;

	w->moment = nn_take(arena, sizeof(double) * C * C);
	w->value = nn_take(arena, sizeof(double) * C);
	w->work = nn_take(arena, sizeof(double) * work_size(features));
	w->iwork = nn_take(arena, sizeof(int) * iwork_size(features));
	w->block = nn_take_floats(arena, C * C);
}

size_t
nn_pca_bytes(int features)
{
	nn_arena	arena = {0};
	workspace	unused;

	layout(&arena, features, &unused);
	return nn_arena_bytes(arena.used);
}

void
nn_pca_begin(void *memory, int features)
{
	memset(memory, 0, nn_pca_bytes(features));
}

void
nn_pca_add(void *memory, int features, const float *rows, int64_t n, nn_poll poll)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	const size_t cells = (size_t) features * features;
	workspace	w;

	layout(&arena, features, &w);
	for (int64_t at = 0; at < n; at += BLOCK)
	{
		int			rest = (int) (n - at < BLOCK ? n - at : BLOCK);

		if (poll)
			poll();
		cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, features, features, rest, 1.0f,
					rows + at * features, features, rows + at * features, features,
					0.0f, w.block, features);
		for (size_t i = 0; i < cells; i++)
			w.moment[i] += w.block[i];
	}
}

int
nn_pca_end(void *memory, int features, double variance, float *components)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	const int	lwork = work_size(features);
	const int	liwork = iwork_size(features);
	double		total = 0.0;
	double		kept = 0.0;
	int			info;
	int			k = 0;
	workspace	w;

	layout(&arena, features, &w);
	if (features < MANY)
		dsyev_("V", "U", &features, w.moment, &features, w.value, w.work, &lwork, &info);
	else
		dsyevd_("V", "U", &features, w.moment, &features, w.value, w.work, &lwork, w.iwork, &liwork,
				&info);
	if (info != 0)
		return -1;
	for (int i = 0; i < features; i++)
		total += w.value[i] > 0 ? w.value[i] : 0.0;
	/* not all: nothing would be left to tell rows apart */
	while (k < features - 1 && kept < variance * total)
	{
		/* the largest eigenvalue comes last; a column-major column is a row here */
		const double *vector = w.moment + (size_t) (features - 1 - k) * features;

		for (int c = 0; c < features; c++)
			components[(size_t) k * features + c] = (float) vector[c];
		kept += w.value[features - 1 - k];
		k++;
	}
	return k;
}

void
nn_pca_reconstruct(int features, int k, const float *components, const float *rows, int n,
				   float *expected)
{
	for (int i = 0; i < n; i++, rows += features, expected += features)
	{
		memset(expected, 0, sizeof(float) * features);
		for (int j = 0; j < k; j++)
		{
			const float *component = components + (size_t) j * features;
			float		along = 0.0f;

			for (int c = 0; c < features; c++)
				along += rows[c] * component[c];
			for (int c = 0; c < features; c++)
				expected[c] += along * component[c];
		}
	}
}
