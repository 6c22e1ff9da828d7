/*
 * core/evidence/season.c
 *	  Season: the values to expect from the time of a row alone.
 *
 * Adding a row adds to the moments of the basis and of the basis with each feature.
 * At the end the normal equations are solved for all features at once.
 */
#include <math.h>
#include <string.h>

#include "core/evidence/season.h"
#include "core/memory.h"

#define RIDGE 0.01				/* times rows, added to the squares of all terms but the constant */

/* LAPACK: solves a symmetric positive definite system. */
extern void dposv_(const char *uplo, const int *n, const int *nrhs, double *a, const int *lda,
				   double *b, const int *ldb, int *info);

int
nn_season_terms(const nn_season *season)
{
	int			terms = 1;

	for (int i = 0; i < season->nperiods; i++)
		terms += 2 * season->harmonics[i];
	return season->nperiods == 0 ? 0 : terms;
}

double
nn_season_phase(int64_t time, int64_t period)
{
	int64_t		rest = time % period;

	return (double) (rest < 0 ? rest + period : rest) / (double) period;
}

void
nn_season_basis(const nn_season *season, int64_t time, double *basis)
{
	*basis++ = 1.0;
	for (int i = 0; i < season->nperiods; i++)
	{
		double		angle = 2 * 3.14159265358979323846 * nn_season_phase(time, season->period[i]);
		double		sine = sin(angle);
		double		cosine = cos(angle);
		double		s = sine;
		double		c = cosine;

		for (int k = 1; k <= season->harmonics[i]; k++)
		{
			double		next = s * cosine + c * sine;

			*basis++ = s;
			*basis++ = c;
			c = c * cosine - s * sine;
			s = next;
		}
	}
}

double
nn_season_expected(int terms, const double *weights, const double *basis)
{
	double		sum = 0.0;

	for (int i = 0; i < terms; i++)
		sum += weights[i] * basis[i];
	return sum;
}

/* ---- regression --------------------------------------------------------------------- */

typedef struct season_sums
{
	double	   *moment;			/* (terms, terms) sums of products of the basis, upper triangle */
	double	   *with;			/* (C, terms) sums of the basis times the feature */
	double	   *basis;			/* (terms) scratch */
	double	   *rows;			/* (1) rows added */
} season_sums;

static void
lay_out_season(nn_arena *arena, const nn_season *season, int features, season_sums *w)
{
	size_t		terms = nn_season_terms(season);

	w->moment = nn_take(arena, sizeof(double) * terms * terms);
	w->with = nn_take(arena, sizeof(double) * terms * features);
	w->basis = nn_take(arena, sizeof(double) * terms);
	w->rows = nn_take(arena, sizeof(double));
}

size_t
nn_season_bytes(const nn_season *season, int features)
{
	nn_arena	arena = {0};
	season_sums unused;

	lay_out_season(&arena, season, features, &unused);
	return nn_arena_bytes(arena.used);
}

void
nn_season_begin(void *memory, const nn_season *season, int features)
{
	memset(memory, 0, nn_season_bytes(season, features));
}

void
nn_season_add(void *memory, const nn_season *season, int features, int64_t time, const float *row)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	const int	terms = nn_season_terms(season);
	season_sums w;

	lay_out_season(&arena, season, features, &w);
	nn_season_basis(season, time, w.basis);
	for (int i = 0; i < terms; i++)
		for (int j = i; j < terms; j++)
			w.moment[i * terms + j] += w.basis[i] * w.basis[j];
	for (int c = 0; c < features; c++)
		for (int i = 0; i < terms; i++)
			w.with[(size_t) c * terms + i] += w.basis[i] * row[c];
	*w.rows += 1;
}

bool
nn_season_end(void *memory, const nn_season *season, int features, double *weights)
{
	nn_arena	arena = {.base = nn_arena_start(memory)};
	const int	terms = nn_season_terms(season);
	season_sums w;
	int			info;

	lay_out_season(&arena, season, features, &w);
	for (int i = 1; i < terms; i++)
		w.moment[i * terms + i] += RIDGE * *w.rows;
	/* LAPACK is column-major: our upper triangle is its lower one, our rows its columns */
	dposv_("L", &terms, &features, w.moment, &terms, w.with, &terms, &info);
	memcpy(weights, w.with, sizeof(double) * terms * features);
	return info == 0;
}
