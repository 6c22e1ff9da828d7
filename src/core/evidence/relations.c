/*
 * core/evidence/relations.c
 *	  Relations between the features of a row.
 *
 * Correlations are computed from the rows in which both features have a value.  With few
 * rows, or features that repeat each other, their matrix has no inverse, so it is shrunk
 * towards the identity; if it is not positive definite even then, which values missing in
 * different rows can cause, it is shrunk more.
 *
 * An imputed feature m must not count.  The value for which (Λq)_m = 0 is what the others
 * predict for it, and with it the terms of the others are those of the model without m.
 * With several such features these equations are solved by Gauss-Seidel iterations, which
 * converge because Λ is positive definite.
 */
#include <math.h>
#include <string.h>

#include "core/evidence/relations.h"
#include "core/evidence/scaling.h"

#define SHRINK 0.05				/* share of the identity */
#define SWEEPS 8				/* of the iterations for imputed features */

size_t
nn_relations_size(int features)
{
	return (size_t) features * features;
}

nn_param
nn_relations_tensor(int features)
{
	return (nn_param){
		.name = "relations.precision",
		.ndim = 2,
		.dims = {features, features},
		.size = nn_relations_size(features),
	};
}

/* ---- fitting -------------------------------------------------------------------------- */

/* Sums (C, C) of products, of squares of the first and of the second feature, and work. */
typedef struct relation_sums
{
	double	   *product;
	double	   *square;			/* [i, j]: of feature i where j has a value, too */
	double	   *factor;			/* Cholesky factor */
} relation_sums;

static relation_sums
lay_out_sums(void *memory, int features)
{
	const size_t n = (size_t) features * features;
	double	   *at = memory;

	return (relation_sums){.product = at, .square = at + n, .factor = at + 2 * n};
}

size_t
nn_relations_bytes(int features)
{
	return sizeof(double) * 3 * (size_t) features * features;
}

void
nn_relations_begin(void *memory, int features)
{
	memset(memory, 0, nn_relations_bytes(features));
}

void
nn_relations_add(void *memory, int features, const double *q, const uint8_t *imputed)
{
	const relation_sums s = lay_out_sums(memory, features);

	for (int i = 0; i < features; i++)
	{
		double		x = fmax(-NN_RELATION_CLIP, fmin(NN_RELATION_CLIP, q[i]));

		if (NN_IMPUTED(imputed, i))
			continue;
		for (int j = 0; j < features; j++)
		{
			double		y = fmax(-NN_RELATION_CLIP, fmin(NN_RELATION_CLIP, q[j]));

			if (NN_IMPUTED(imputed, j))
				continue;
			s.product[(size_t) i * features + j] += x * y;
			s.square[(size_t) i * features + j] += x * x;
		}
	}
}

/* The shrunk correlation of two features. */
static double
shrunk_correlation(const relation_sums *s, int C, int i, int j, double shrink)
{
	double		squares = s->square[(size_t) i * C + j] * s->square[(size_t) j * C + i];

	if (i == j)
		return 1.0;
	return squares > 0 ? (1.0 - shrink) * s->product[(size_t) i * C + j] / sqrt(squares) : 0.0;
}

/* Cholesky factorisation, lower triangle; false if the matrix is not positive definite. */
static bool
factorise(const relation_sums *s, int C, double shrink)
{
	double	   *l = s->factor;

	for (int i = 0; i < C; i++)
		for (int j = 0; j <= i; j++)
		{
			double		sum = shrunk_correlation(s, C, i, j, shrink);

			for (int k = 0; k < j; k++)
				sum -= l[(size_t) i * C + k] * l[(size_t) j * C + k];
			if (i == j && !(sum > 1e-9))
				return false;
			l[(size_t) i * C + j] = i == j ? sqrt(sum) : sum / l[(size_t) j * C + j];
		}
	return true;
}

bool
nn_relations_end(void *memory, int features, float *precision)
{
	const relation_sums s = lay_out_sums(memory, features);
	const int	C = features;
	double	   *column = s.square;	/* no longer needed once the matrix is factorised */
	double		shrink = SHRINK;

	while (!factorise(&s, C, shrink))
	{
		if (shrink >= 1.0)
			return false;
		shrink = fmin(2 * shrink, 1.0);
	}
	/* the inverse, column by column: L·L' x = e_j */
	for (int j = 0; j < C; j++)
	{
		for (int i = 0; i < C; i++)
		{
			double		sum = i == j;

			for (int k = 0; k < i; k++)
				sum -= s.factor[(size_t) i * C + k] * column[k];
			column[i] = sum / s.factor[(size_t) i * C + i];
		}
		for (int i = C - 1; i >= 0; i--)
		{
			double		sum = column[i];

			for (int k = i + 1; k < C; k++)
				sum -= s.factor[(size_t) k * C + i] * column[k];
			column[i] = sum / s.factor[(size_t) i * C + i];
		}
		for (int i = 0; i < C; i++)
			precision[(size_t) j * C + i] = (float) column[i];
	}
	return true;
}

/* ---- rows ------------------------------------------------------------------------------- */

/* (Λq)_c, apart from the feature's own part. */
static float
pull_of_others(int C, const float *precision, const float *q, int c)
{
	const float *row = precision + (size_t) c * C;
	float		sum = 0.0f;

	for (int j = 0; j < C; j++)
		sum += j == c ? 0.0f : row[j] * q[j];
	return sum;
}

void
nn_relations_terms(int features, const float *precision, float *q, const uint8_t *imputed,
				   float *terms)
{
	const int	C = features;
	bool		any = false;

	for (int c = 0; c < C; c++)
		if (NN_IMPUTED(imputed, c))
		{
			q[c] = 0.0f;
			any = true;
		}
	for (int sweep = 0; any && sweep < SWEEPS; sweep++)
		for (int c = 0; c < C; c++)
			if (NN_IMPUTED(imputed, c))
				q[c] = -pull_of_others(C, precision, q, c) / precision[(size_t) c * C + c];
	/* the matrix is symmetric: its rows are added, so that the loop can be vectorised */
	memset(terms, 0, sizeof(float) * C);
	for (int j = 0; j < C; j++)
		for (int c = 0; c < C; c++)
			terms[c] += precision[(size_t) j * C + c] * q[j];
	for (int c = 0; c < C; c++)
		terms[c] = NN_IMPUTED(imputed, c) ? 0.0f
										  : terms[c] * terms[c] / precision[(size_t) c * C + c];
}
