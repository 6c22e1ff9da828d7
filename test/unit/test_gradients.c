/*
 * test_gradients.c
 *	  Losses and gradients against differences of a double-precision network
 *	  (reference.h).
 *
 * Where gradients stop, the differentiated function uses the associations at the point
 * itself: d/dθ of k·D(A(θ), G₀) - k·D(A₀, G(θ)) at θ₀ is the Max-Min gradient.  Central
 * differences in double have an error of some 1e-7 of a gradient's norm; the tolerance
 * is for the rounding of the float32 passes.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "reference.h"

#define STEP 1e-4				/* of the differences, along a unit vector */
#define TOLERANCE 2e-4			/* of the tensor's gradient norm */

/*
 * Lower limit of that norm, as a share of the whole gradient's: a sum of terms that
 * cancel keeps their rounding errors (the true gradient of k.bias is 0).
 */
#define FLOOR 1e-3

#define CHUNKS 2
#define DIRECTIONS 3			/* per tensor, see set_direction() */

typedef struct trial
{
	nn_shape	shape;
	nn_objective objective;
	int			rows;			/* T */
	size_t		size;			/* floats of all parameters */
	float	   *params;
	double	   *point;			/* params */
	double	   *probe;			/* a point beside it */
	float	   *chunk[CHUNKS];
	float	   *other[CHUNKS];	/* rows to reconstruct from the chunk instead of it */
	uint8_t    *held_out;		/* (T) a part of the rows */
	nn_target	target[CHUNKS];
	reference	at[CHUNKS];		/* forward passes of point */
	reference	beside;
} trial;

/* others: the targets are not the chunks, and rows are held out. */
static trial
open_trial(const nn_shape *shape, const nn_objective *objective, int rows, bool others)
{
	trial		t = {.shape = *shape, .objective = *objective, .rows = rows};

	t.size = nn_params_size(shape);
	t.params = test_params(shape, 11);
	t.point = dirty(t.size * sizeof(double));
	t.probe = dirty(t.size * sizeof(double));
	for (size_t i = 0; i < t.size; i++)
		t.point[i] = t.params[i];
	t.held_out = dirty(rows);
	for (int i = 0; i < rows; i++)
		t.held_out[i] = i % 5 < 2;
	for (int b = 0; b < CHUNKS; b++)
	{
		t.chunk[b] = test_rows(rows, shape->features, 20 + b);
		t.other[b] = test_rows(rows, shape->features, 40 + b);
		t.target[b].rows = others ? t.other[b] : t.chunk[b];
		t.target[b].held_out = others ? t.held_out : NULL;
		t.at[b] = reference_open(shape, rows);
		reference_forward(&t.at[b], t.point, t.chunk[b]);
	}
	t.beside = reference_open(shape, rows);
	return t;
}

static void
close_trial(trial *t)
{
	free(t->params);
	free(t->point);
	free(t->probe);
	free(t->held_out);
	for (int b = 0; b < CHUNKS; b++)
	{
		free(t->chunk[b]);
		free(t->other[b]);
		reference_close(&t->at[b]);
	}
	reference_close(&t->beside);
}

/* The total loss at the point plus `share` times a direction of a tensor. */
static double
total_beside(trial *t, const nn_param *p, const double *direction, double share)
{
	double		total = 0;

	memcpy(t->probe, t->point, t->size * sizeof(double));
	for (size_t i = 0; i < p->size; i++)
		t->probe[p->offset + i] += share * direction[i];
	for (int b = 0; b < CHUNKS; b++)
	{
		reference_forward(&t->beside, t->probe, t->chunk[b]);
		total += reference_losses(&t->beside, &t->at[b], &t->target[b], &t->objective).total /
			CHUNKS;
	}
	return total;
}

static double
slope(trial *t, const nn_param *p, const double *direction)
{
	return (total_beside(t, p, direction, STEP) - total_beside(t, p, direction, -STEP)) /
		(2 * STEP);
}

static double
norm_of(size_t n, const float *x)
{
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double) x[i] * x[i];
	return sqrt(sum);
}

/*
 * Sets a unit vector to differentiate along: the gradient (checks its length), a random
 * one (checks its direction), or a random coordinate.
 */
static void
set_direction(int which, nn_rng *rng, size_t n, const float *grad, double *unit)
{
	double		norm = 0;

	for (size_t i = 0; i < n; i++)
		unit[i] = which == 0 ? grad[i] : which == 2 ? 0 : random_between(rng, -1, 1);
	if (which == 2)
		unit[nn_rng_below(rng, n)] = 1;
	for (size_t i = 0; i < n; i++)
		norm += unit[i] * unit[i];
	for (size_t i = 0; i < n; i++)
		unit[i] /= norm > 0 ? sqrt(norm) : 1;
}

/* Compares a tensor's gradient with the slopes. */
static void
test_tensor(trial *t, const nn_param *p, const float *const *grads, double total_norm,
			double *worst)
{
	double	   *unit = dirty(p->size * sizeof(double));
	double		norm = fmax(norm_of(p->size, grads[0] + p->offset), FLOOR * total_norm);
	nn_rng		rng;

	nn_rng_seed(&rng, 5, p->offset);
	for (int which = 0; which < DIRECTIONS; which++)
	{
		double		want;

		set_direction(which, &rng, p->size, grads[0] + p->offset, unit);
		want = slope(t, p, unit);
		for (int k = 0; k < KERNELS && grads[k]; k++)
		{
			double		got = 0;

			for (size_t i = 0; i < p->size; i++)
				got += grads[k][p->offset + i] * unit[i];
			worst[k] = fmax(worst[k], fabs(got - want) / norm);
			if (fabs(got - want) > TOLERANCE * norm)
				note("%s, direction %d: %.9g, should be %.9g, norm %.3g", p->name, which, got, want,
					 norm);
		}
	}
	free(unit);
}

static void
test_losses(const trial *t, const nn_losses *losses, const char *kernel)
{
	nn_losses	want = {0};

	for (int b = 0; b < CHUNKS; b++)
	{
		nn_losses	l = reference_losses(&t->at[b], &t->at[b], &t->target[b], &t->objective);

		want.reconstruction += l.reconstruction / CHUNKS;
		want.discrepancy += l.discrepancy / CHUNKS;
		want.contrast += l.contrast / CHUNKS;
		want.total += l.total / CHUNKS;
	}
	/* a contrast without weight is not computed */
	if (t->objective.contrast == 0)
		want.contrast = 0;
	ok_close(fmax(fmax(deviation_of_doubles(1, &losses->reconstruction, &want.reconstruction, 0),
					   deviation_of_doubles(1, &losses->discrepancy, &want.discrepancy, 1e-3)),
				  fmax(deviation_of_doubles(1, &losses->contrast, &want.contrast, 1e-1),
					   deviation_of_doubles(1, &losses->total, &want.total, 0))),
			 2e-5, "%s: losses, %s", shape_name(&t->shape), kernel);
}

/* Gradient and losses by src/core with the kernels in use. */
static float *
gradient(const trial *t, nn_losses *losses)
{
	training	training = open_training(&t->shape, CHUNKS, t->rows);
	float	   *grads = dirty(t->size * sizeof(float));
	const float *chunk[CHUNKS];

	for (int b = 0; b < CHUNKS; b++)
		chunk[b] = t->chunk[b];
	/* activations of another batch must not matter */
	nn_forward(training.train, t->params, chunk + 1, 1);
	nn_backward(training.train, t->params, &t->objective, NULL, 1, grads, losses);
	nn_forward(training.train, t->params, chunk, CHUNKS);
	/* without targets, the chunks are compared with what came out of them */
	nn_backward(training.train, t->params, &t->objective, t->target[0].held_out ? t->target : NULL,
				CHUNKS, grads, losses);
	close_training(&training);
	return grads;
}

/* Tests all tensors of a shape; notes the names of those that differ. */
static void
test_shape(const nn_shape *shape, const nn_objective *objective, int rows, bool others,
		   const char *what)
{
	trial		t = open_trial(shape, objective, rows, others);
	float	   *grads[KERNELS] = {0};
	const char *names[KERNELS];
	double		worst[KERNELS] = {0};
	double		norm;
	int			n = 0;

	for (int k = 0; k < KERNELS; k++)
		if (nn_kernel_use(kernel_names[k]))
		{
			nn_losses	losses;

			grads[n] = gradient(&t, &losses);
			names[n++] = kernel_names[k];
			test_losses(&t, &losses, kernel_names[k]);
		}
	norm = norm_of(t.size, grads[0]);
	for (int i = 0; i < nn_param_count(shape); i++)
	{
		nn_param	p = nn_param_at(shape, i);

		test_tensor(&t, &p, (const float *const *) grads, norm, worst);
	}
	for (int k = 0; k < n; k++)
	{
		ok_close(worst[k], TOLERANCE, "%s: gradients of %s, %s", shape_name(shape), what, names[k]);
		free(grads[k]);
	}
	close_trial(&t);
}

int
main(void)
{
	const nn_objective all = {.maxmin = 1, .contrast = 0.02f, .temperature = 0.1f};
	const nn_objective maxmin = {.maxmin = 30, .temperature = 0.1f};
	const nn_objective contrast = {.contrast = 1, .temperature = 0.1f};
	const nn_objective reconstruction = {.temperature = 0.1f};
	const nn_objective forecast = {.temperature = 0.1f, .skip = 5, .ahead = 1};
	const nn_shape *shape = &edge_shapes[0];

	/* each loss alone, so that a small one cannot hide behind the others */
	test_shape(shape, &reconstruction, 24, false, "reconstruction");
	test_shape(shape, &forecast, 24, false, "forecast");
	test_shape(shape, &reconstruction, 24, true, "reconstruction of other rows");
	test_shape(shape, &forecast, 24, true, "forecast of other rows");
	test_shape(shape, &maxmin, 24, false, "Max-Min");
	test_shape(shape, &contrast, 24, false, "contrast");
	for (int i = 0; i < EDGE_SHAPES; i++)
	{
		nn_objective objective = all;
		int			rows = edge_shapes[i].window + 11;

		objective.skip = edge_shapes[i].window / 2;
		objective.ahead = i % 2;
		test_shape(&edge_shapes[i], &objective, rows, i % 3 == 0, "all losses");
	}
	return done();
}
