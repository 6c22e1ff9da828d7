/*
 * calibrate.c
 *	  Calibration of a trained network on its training rows (docs/model.md, Score).
 *
 * Residuals and discrepancies of the held-out rows give rho and mu; raw scores
 * of all rows give theta; anomaly scores of the held-out rows the threshold.
 */
#include "postgres.h"
#include "compat.h"

#include <math.h>

#include "miscadmin.h"

#include "calibrate.h"

#define LEAST 1e-12				/* of a number that divides */

/* The network as it will score, and a place for its outputs. */
typedef struct Scorer
{
	Model	   *model;
	int			context;
	nn_stream  *stream;
	float	   *expected;		/* (NN_STREAM_ROWS, C) */
	float	   *discrepancy;	/* (NN_STREAM_ROWS, N) */
} Scorer;

/* What to do with a row's outputs. */
typedef void (*visit_row) (Scorer *scorer, int64 row, const float *scaled,
						   const float *expected, const float *discrepancy, void *arg);

Size
calibrate_bytes(const Model *m, int64 rows)
{
	nn_shape	shape = model_shape(m);

	return nn_packed_bytes(&shape) + nn_stream_bytes(&shape) +
		NN_STREAM_ROWS * sizeof(float) * (m->features + m->options.layers) +
		2 * sizeof(double) * rows;
}

static void
scorer_open(Scorer *s, Model *m)
{
	nn_shape	shape = model_shape(m);
	nn_packed  *packed = nn_pack(palloc_extended(nn_packed_bytes(&shape), MCXT_ALLOC_HUGE),
								 &shape, m->params);

	s->model = m;
	s->context = nn_context(&shape);
	s->stream = nn_stream_open(palloc_extended(nn_stream_bytes(&shape), MCXT_ALLOC_HUGE), packed);
	s->expected = palloc(sizeof(float) * NN_STREAM_ROWS * m->features);
	s->discrepancy = palloc(sizeof(float) * NN_STREAM_ROWS * m->options.layers);
}

/* Visits rows from … nrows - 1 that have their whole context among them. */
static void
scorer_run(Scorer *s, const float *rows, int64 nrows, int64 from, visit_row visit, void *arg)
{
	const int	C = s->model->features;
	const int	N = s->model->options.layers;

	nn_stream_reset(s->stream);
	for (int64 at = from; at < nrows; at += NN_STREAM_ROWS)
	{
		int			n = (int) Min(nrows - at, NN_STREAM_ROWS);

		CHECK_FOR_INTERRUPTS();
		nn_stream_push(s->stream, rows + at * C, n, s->expected, s->discrepancy);
		for (int i = 0; i < n; i++)
			if (at + i - from >= s->context)
				visit(s, at + i, rows + (at + i) * C, s->expected + (size_t) i * C,
					  s->discrepancy + (size_t) i * N, arg);
	}
}

/* Sums for rho and mu over the rows from held_from on. */
typedef struct Means
{
	int64		held_from;
	int64		rows;
} Means;

static void
add_to_means(Scorer *s, int64 row, const float *scaled, const float *expected,
			 const float *discrepancy, void *arg)
{
	Means	   *means = arg;

	if (row < means->held_from)
		return;
	means->rows++;
	for (int c = 0; c < s->model->features; c++)
	{
		double		r = (double) expected[c] - scaled[c];

		s->model->rho[c] += r * r;
	}
	for (int n = 0; n < s->model->options.layers; n++)
		s->model->mu[n] += discrepancy[n];
}

static void
set_means(Scorer *s, const float *rows, int64 nrows, int64 held_from)
{
	Model	   *m = s->model;
	Means		means = {.held_from = held_from};
	double		floor = 0.0;

	scorer_run(s, rows, nrows, Max(0, held_from - s->context), add_to_means, &means);
	for (int c = 0; c < m->features; c++)
	{
		m->rho[c] /= means.rows;
		floor += m->rho[c] / m->features;
	}
	floor = Max(floor * m->options.residual_floor, LEAST);
	for (int c = 0; c < m->features; c++)
		m->rho[c] = Max(m->rho[c], floor);
	for (int n = 0; n < m->options.layers; n++)
		m->mu[n] = Max(m->mu[n] / means.rows, LEAST);
}

static void
store_raw(Scorer *s, int64 row, const float *scaled, const float *expected,
		  const float *discrepancy, void *arg)
{
	nn_calibration calibration = model_calibration(s->model);

	((double *) arg)[row] = nn_raw_score(&calibration, scaled, expected, discrepancy);
}

/* theta: for each horizon a quantile of the mean of so many raw scores. */
static void
set_theta(Scorer *s, const double *raw, int64 nrows, double *means)
{
	Model	   *m = s->model;

	for (int i = 0; i < m->options.nhorizons; i++)
	{
		int			h = m->options.horizons[i];
		int64		n = 0;

		CHECK_FOR_INTERRUPTS();
		for (int64 row = s->context + h - 1; row < nrows; row++)
		{
			double		sum = 0.0;

			CHECK_FOR_INTERRUPTS();
			for (int back = 0; back < h; back++)
				sum += raw[row - back];
			means[n++] = sum / h;
		}
		m->theta[i] = Max(nn_quantile(means, n, m->options.horizon_quantile), LEAST);
	}
}

static void
set_threshold(Scorer *s, const double *raw, int64 nrows, int64 held_from, double *scores)
{
	Model	   *m = s->model;
	nn_calibration calibration = model_calibration(m);
	nn_horizons horizons;
	int64		n = 0;

	nn_horizons_open(&horizons, &calibration,
					 palloc(sizeof(double) * nn_max_horizon(&calibration)));
	for (int64 row = s->context; row < nrows; row++)
	{
		double		score;

		CHECK_FOR_INTERRUPTS();
		nn_horizons_add(&horizons, raw[row]);
		if (row < held_from)
			continue;
		score = nn_horizons_score(&horizons);
		if (!isnan(score))
			scores[n++] = score;
	}
	m->threshold = Max(nn_quantile(scores, n, 1.0 - m->options.contamination), LEAST);
}

void
calibrate_model(Model *m, const float *rows, int64 nrows, int64 held_from)
{
	Scorer		scorer;
	double	   *raw = palloc_extended(sizeof(double) * nrows, MCXT_ALLOC_HUGE);
	double	   *scratch = palloc_extended(sizeof(double) * nrows, MCXT_ALLOC_HUGE);

	scorer_open(&scorer, m);
	set_means(&scorer, rows, nrows, held_from);
	scorer_run(&scorer, rows, nrows, 0, store_raw, raw);
	set_theta(&scorer, raw, nrows, scratch);
	set_threshold(&scorer, raw, nrows, held_from, scratch);
}
