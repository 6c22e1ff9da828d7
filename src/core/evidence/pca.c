/*
 * core/evidence/pca.c
 *	  Principal components, the baseline.
 *
 * Scaled rows have mean 0, so the components are eigenvectors of the sum of z·zᵀ.
 * It is summed in single precision over blocks of rows by BLAS, and in double
 * precision over the blocks.  A row's reconstruction is its projection onto the
 * first components.
 */
#include <string.h>

#include <cblas.h>

#include "core/evidence/pca.h"
#include "core/memory.h"

#define BLOCK 4096				/* rows whose products are summed in single precision */

/*
 * LAPACK: eigenvalues, ascending, and eigenvectors of a symmetric matrix.  dsyev_
 * uses QR iteration, dsyevd_ divide and conquer, which takes a third of the time
 * with many features, but more memory.
 */
extern void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda,
				   double *w, double *work, const int *lwork, int *info);
extern void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda,
					double	   *w, double *work, const int *lwork, int *iwork, const int *liwork,
					int *info);

#define MANY 512				/* features from which dsyevd_ is used */

typedef struct pca_workspace
{
	double	   *moment;			/* (C, C) sum of z·zᵀ, then eigenvectors */
	float	   *block;			/* (C, C) sum over a block of rows */
	double	   *value;			/* (C) eigenvalues */
	double	   *work;			/* (pca_work_size()) LAPACK's */
	int		   *iwork;			/* (pca_iwork_size()) LAPACK's */
} pca_workspace;

static int
pca_work_size(int features)
{
	return features < MANY ? 34 * features : 1 + 6 * features + 2 * features * features;
}

static int
pca_iwork_size(int features)
{
	return features < MANY ? 0 : 3 + 5 * features;
}

static void
lay_out_pca(nn_arena *arena, int features, pca_workspace *w)
{
	size_t		C = features;

	w->moment = nn_take(arena, sizeof(double) * C * C);
	w->value = nn_take(arena, sizeof(double) * C);
	w->work = nn_take(arena, sizeof(double) * pca_work_size(features));
	w->iwork = nn_take(arena, sizeof(int) * pca_iwork_size(features));
	w->block = nn_take_floats(arena, C * C);
}

size_t
nn_pca_bytes(int features)
{
	nn_arena	arena = {0};
	pca_workspace unused;

	lay_out_pca(&arena, features, &unused);
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
	pca_workspace w;

	lay_out_pca(&arena, features, &w);
	for (int64_t at = 0; at < n; at += BLOCK)
	{
		const int	count = (int) (n - at < BLOCK ? n - at : BLOCK);

		nn_rest(poll);
		cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, features, features, count, 1.0f,
					rows + at * features, features, rows + at * features, features, 0.0f, w.block,
					features);
		for (size_t i = 0; i < cells; i++)
			w.moment[i] += w.block[i];
	}
}

int
nn_pca_end(void *memory, int features, double variance, float *components)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	const int	lwork = pca_work_size(features);
	const int	liwork = pca_iwork_size(features);
	double		total = 0.0;
	double		kept = 0.0;
	int			info;
	int			k = 0;
	pca_workspace w;

	lay_out_pca(&arena, features, &w);
	if (features < MANY)
		dsyev_("V", "U", &features, w.moment, &features, w.value, w.work, &lwork, &info);
	else
		dsyevd_("V", "U", &features, w.moment, &features, w.value, w.work, &lwork, w.iwork, &liwork,
				&info);
	if (info != 0)
		return -1;
	for (int i = 0; i < features; i++)
		total += w.value[i] > 0 ? w.value[i] : 0.0;
	/* at most C - 1: with all of them every row would be reconstructed exactly */
	while (k < features - 1 && kept < variance * total)
	{
		/* eigenvalues ascend; a column of LAPACK's is a row here */
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
