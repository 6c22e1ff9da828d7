/*
 * test_pca.c
 *	  Principal components: rows whose components are known, and the properties that
 *	  components of any rows have.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/evidence/pca.h"
#include "fixture.h"

#define LENGTH(a) ((int) (sizeof(a) / sizeof((a)[0])))
#define C 4						/* features of the rows whose components are known */

/* An orthonormal basis, and the variance along each of its vectors: 16 in all. */
static const float basis[C][C] = {
	{0.5f, 0.5f, 0.5f, 0.5f},
	{0.5f, -0.5f, 0.5f, -0.5f},
	{0.5f, 0.5f, -0.5f, -0.5f},
	{0.5f, -0.5f, -0.5f, 0.5f},
};
static const float variances[C] = {2, 9, 1, 4};
static const int falling[C] = {1, 3, 0, 2};

/* Components of rows that are ±√variance along each vector of the basis. */
static int
known_components(double share, float *components)
{
	void	   *memory = dirty(nn_pca_bytes(C));
	float		rows[2 * C][C];
	int			k;

	for (int i = 0; i < 2 * C; i++)
		for (int c = 0; c < C; c++)
			rows[i][c] = sqrtf(variances[i / 2]) * (i % 2 == 0 ? 1 : -1) * basis[i / 2][c];
	nn_pca_begin(memory, C);
	nn_pca_add(memory, C, rows[0], 2 * C, NULL);
	k = nn_pca_end(memory, C, share, components);
	free(memory);
	return k;
}

static void
test_known(void)
{
	float	   *components = dirty(sizeof(float) * C * C);
	int			k = known_components(1, components);
	double		worst = 0;

	ok(k == C - 1, "all of the variance needs all components but one");
	for (int i = 0; i < k; i++)
	{
		const float *want = basis[falling[i]];
		double		sign = components[i * C] * want[0] < 0 ? -1 : 1;

		for (int c = 0; c < C; c++)
			worst = fmax(worst, fabs(sign * components[i * C + c] - want[c]));
	}
	ok_close(worst, 1e-6, "the components are the known ones, by decreasing variance");
	free(components);
}

static void
test_share(void)
{
	/* the largest variance is 9 of 16, the next 4, 2, 1 */
	static const struct
	{
		double		share;
		int			k;
	} cases[] = {
		{0.01, 1}, {0.56, 1}, {0.57, 2}, {0.81, 2}, {0.82, 3}, {0.93, 3}, {0.94, 3}, {1, 3},
	};
	float		components[C * C];

	for (int i = 0; i < LENGTH(cases); i++)
	{
		int			k = known_components(cases[i].share, components);

		if (!ok(k == cases[i].k, "%g of the variance needs %d components", cases[i].share,
				cases[i].k))
			note("got %d", k);
	}
}

static double
dot(int features, const float *a, const float *b)
{
	double		sum = 0;

	for (int c = 0; c < features; c++)
		sum += (double) a[c] * b[c];
	return sum;
}

/* Rows of a synthetic series, minus their means. */
static float *
centred_rows(int n, int features)
{
	float	   *rows = test_rows(n, features, 7);

	for (int c = 0; c < features; c++)
	{
		double		mean = 0;

		for (int i = 0; i < n; i++)
			mean += rows[(size_t) i * features + c];
		mean /= n;
		for (int i = 0; i < n; i++)
			rows[(size_t) i * features + c] -= (float) mean;
	}
	return rows;
}

static int
components_of(int n, int features, const float *rows, int piece, double share, float *components)
{
	size_t		bytes = nn_pca_bytes(features);
	char	   *memory = dirty(bytes + 64);
	int			k;
	bool		kept = true;

	/* memory need not be aligned */
	nn_pca_begin(memory + 1, features);
	for (int at = 0; at < n; at += piece)
		nn_pca_add(memory + 1, features, rows + (size_t) at * features,
				   n - at < piece ? n - at : piece, NULL);
	k = nn_pca_end(memory + 1, features, share, components);
	for (int i = 0; i < 63; i++)
		kept = kept && (unsigned char) memory[bytes + 1 + i] == 0xff;
	ok(kept, "%d features: stays within nn_pca_bytes()", features);
	free(memory);
	return k;
}

/* Mean of z·zᵀ, in double precision. */
static double *
moments(int n, int features, const float *rows)
{
	double	   *m = calloc((size_t) features * features, sizeof(double));

	for (int i = 0; i < n; i++)
		for (int a = 0; a < features; a++)
			for (int b = 0; b < features; b++)
				m[a * features + b] += (double) rows[(size_t) i * features + a] *
					rows[(size_t) i * features + b] / n;
	return m;
}

/* Components are orthonormal eigenvectors that keep the share of the variance. */
static void
check_components(int n, int features, double share)
{
	float	   *rows = centred_rows(n, features);
	double	   *m = moments(n, features, rows);
	float	   *components = dirty(sizeof(float) * features * features);
	int			k = components_of(n, features, rows, n, share, components);
	double		total = 0;
	double		kept = 0;
	double		last = INFINITY;
	double		skew = 0;
	double		residual = 0;
	bool		falls = true;

	for (int c = 0; c < features; c++)
		total += m[c * features + c];
	for (int i = 0; i < k; i++)
	{
		const float *v = components + (size_t) i * features;
		double		variance = 0;

		for (int j = 0; j <= i; j++)
			skew = fmax(skew,
						fabs(dot(features, v, components + (size_t) j * features) - (i == j)));
		for (int a = 0; a < features; a++)
			for (int b = 0; b < features; b++)
				variance += v[a] * m[a * features + b] * v[b];
		for (int a = 0; a < features; a++)
		{
			double		along = 0;

			for (int b = 0; b < features; b++)
				along += m[a * features + b] * v[b];
			residual = fmax(residual, fabs(along - variance * v[a]) / total);
		}
		falls = falls && variance <= last * (1 + 1e-6);
		/* without this one, the share would not be kept */
		falls = falls && kept < share * total * (1 + 1e-6);
		last = variance;
		kept += variance;
	}
	ok_close(skew, 2e-6, "%d rows of %d features, %g: %d orthonormal components", n, features,
			 share, k);
	ok_close(residual, 2e-5, "… that are eigenvectors of the rows' moments");
	ok(falls, "… by decreasing variance, no more than needed");
	ok(k == features - 1 || kept >= share * total * (1 - 1e-6), "… and keep the share");
	free(rows);
	free(m);
	free(components);
}

/* Rows added in one call or in several. */
static void
test_pieces(void)
{
	enum
	{
		N = 9001,
		F = 7					/* more than two blocks of sums */
	};
	float	   *rows = centred_rows(N, F);
	float		whole[F * F];
	float		parts[F * F];
	float		again[F * F];
	int			k = components_of(N, F, rows, N, 0.8, whole);
	double		worst = 0;

	ok(components_of(N, F, rows, N, 0.8, again) == k &&
		   memcmp(whole, again, sizeof(float) * k * F) == 0,
	   "the same rows give the same bytes");
	ok(components_of(N, F, rows, 1000, 0.8, parts) == k,
	   "rows added in parts: the same number of components");
	for (int i = 0; i < k; i++)
		worst = fmax(worst, 1 - fabs(dot(F, whole + i * F, parts + i * F)));
	ok_close(worst, 1e-5, "… that are the same but for rounding");
	free(rows);
}

/* Few rows, one feature, constant features. */
static void
test_little(void)
{
	static const float nothing[6] = {0};
	static const float one[2] = {3, 4};
	float		components[9];
	void	   *memory = dirty(nn_pca_bytes(3));
	int			k;

	nn_pca_begin(memory, 3);
	ok(nn_pca_end(memory, 3, 0.9, components) == 0, "no rows: no components");
	nn_pca_begin(memory, 3);
	nn_pca_add(memory, 3, nothing, 2, NULL);
	ok(nn_pca_end(memory, 3, 1, components) == 0, "constant rows: no components");
	nn_pca_begin(memory, 1);
	nn_pca_add(memory, 1, one, 2, NULL);
	ok(nn_pca_end(memory, 1, 1, components) == 0, "a single feature has no component");
	nn_pca_begin(memory, 2);
	nn_pca_add(memory, 2, one, 1, NULL);
	k = nn_pca_end(memory, 2, 1, components);
	ok(k == 1 && fabs(fabs(components[0]) - 0.6) < 1e-6 &&
		   fabs(components[1] / components[0] - 4.0 / 3) < 1e-6,
	   "the component of a single row is its direction");
	free(memory);
}

/* ---- reconstruction ------------------------------------------------------------------- */

static void
test_projection(void)
{
	static const float row[C] = {4, 0, 2, -2};
	float		components[C * C];
	int			k = known_components(0.8, components);
	float		expected[C];
	double		want[C] = {0};

	for (int i = 0; i < 2; i++)
		for (int c = 0; c < C; c++)
			want[c] += dot(C, row, basis[falling[i]]) * basis[falling[i]][c];
	nn_pca_reconstruct(C, k, components, row, 1, expected);
	ok_close(deviation(C, expected, want, 1), 1e-6, "a row is projected onto the components");
	nn_pca_reconstruct(C, 0, components, row, 1, expected);
	ok(expected[0] == 0 && expected[1] == 0 && expected[2] == 0 && expected[3] == 0,
	   "without components the mean is expected");
}

static void
test_reconstruction(void)
{
	enum
	{
		N = 300,
		F = 19
	};
	float	   *rows = centred_rows(N, F);
	float		components[F * F];
	int			k = components_of(N, F, rows, N, 0.9, components);
	float	   *expected = dirty(sizeof(float) * N * F);
	float	   *twice = dirty(sizeof(float) * N * F);
	float		single[F];
	double	   *want = malloc(sizeof(double) * N * F);
	double		total = 0;
	double		missed = 0;
	double		slant = 0;
	bool		same = true;

	nn_pca_reconstruct(F, k, components, rows, N, expected);
	nn_pca_reconstruct(F, k, components, expected, N, twice);
	for (int i = 0; i < N * F; i++)
		want[i] = expected[i];
	ok_close(deviation(N * F, twice, want, 1), 1e-5,
			 "the reconstruction of a reconstruction is the same");
	for (int i = 0; i < N; i++)
	{
		float		error[F];

		for (int c = 0; c < F; c++)
		{
			error[c] = rows[i * F + c] - expected[i * F + c];
			total += (double) rows[i * F + c] * rows[i * F + c];
			missed += (double) error[c] * error[c];
		}
		for (int j = 0; j < k; j++)
			slant = fmax(slant, fabs(dot(F, error, components + j * F)));
		nn_pca_reconstruct(F, k, components, rows + i * F, 1, single);
		same = same && memcmp(single, expected + i * F, sizeof(single)) == 0;
	}
	ok(same, "a row passed alone has the same bits");
	ok_close(slant, 2e-5, "residuals are orthogonal to the components");
	ok(missed <= 0.1 * total * (1 + 1e-5), "residuals are within the share that is not kept");
	free(rows);
	free(expected);
	free(twice);
	free(want);
}

static int	polls;

static void
count_poll(void)
{
	polls++;
}

static void
test_poll(void)
{
	void	   *memory = dirty(nn_pca_bytes(2));
	float	   *rows = centred_rows(50000, 2);

	nn_pca_begin(memory, 2);
	nn_pca_add(memory, 2, rows, 50000, count_poll);
	ok(polls >= 10, "polls while rows are added");
	free(rows);
	free(memory);
}

int
main(void)
{
	test_known();
	test_share();
	check_components(500, 2, 0.5);
	check_components(500, 3, 1);
	check_components(4097, 19, 0.9);
	check_components(10000, 38, 0.7);
	check_components(20, 60, 0.99); /* fewer rows than features */
	check_components(900, 511, 0.9);	/* dsyev_ */
	check_components(900, 512, 0.9);	/* dsyevd_ */
	test_pieces();
	test_little();
	test_projection();
	test_reconstruction();
	test_poll();
	return done();
}
