/*
 * test_without.c
 *	  Switching off parts of the network: what is cleared, the effect, and that
 *	  training keeps them off.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

#define ALL (NN_WITHOUT_AUTOMASK | NN_WITHOUT_MIXUP | NN_WITHOUT_MULTISCALE)

/* ---- what is cleared ------------------------------------------------------------------ */

/* Whether a set of parts clears the j-th value of a tensor, by its name. */
static bool
is_cleared(const nn_param *p, size_t j, unsigned parts)
{
	if (strstr(p->name, ".mask."))
		return parts & NN_WITHOUT_AUTOMASK;
	if (strstr(p->name, ".gate."))
		return parts & NN_WITHOUT_MIXUP;
	return p->ndim == 3 && (j + 1) % p->dims[2] != 0 && parts & NN_WITHOUT_MULTISCALE;
}

/* Whether clearing parts sets the right values to 0, and no others. */
static bool
clears(const nn_shape *shape, unsigned parts)
{
	const size_t size = nn_params_size(shape);
	float	   *values = dirty((size + 1) * sizeof(float));
	bool		good = true;

	for (size_t i = 0; i <= size; i++)
		values[i] = (float) (i % 1000 + 1);
	nn_params_clear(shape, parts, values);
	for (int i = 0; i < nn_param_count(shape); i++)
	{
		nn_param	p = nn_param_at(shape, i);

		for (size_t j = 0; j < p.size; j++)
		{
			size_t		at = p.offset + j;
			float		want = is_cleared(&p, j, parts) ? 0 : (float) (at % 1000 + 1);

			good = good && values[at] == want;
		}
	}
	good = good && values[size] == (float) (size % 1000 + 1);
	free(values);
	return good;
}

static void
test_clear(void)
{
	for (unsigned parts = 0; parts <= ALL; parts++)
	{
		bool		good = true;

		for (int i = 0; i < EDGE_SHAPES; i++)
			good = clears(&edge_shapes[i], parts) && good;
		ok(good, "set %u of parts clears its own values and no others", parts);
	}
}

/* ---- the effect ----------------------------------------------------------------------- */

/* Largest difference between the two associations of a row. */
static double
association_difference(const nn_train *train, const nn_shape *shape, int row)
{
	float	   *g = dirty(shape->window * sizeof(float));
	float	   *a = dirty(shape->window * sizeof(float));
	double		most = 0;

	for (int n = 0; n < shape->layers; n++)
		for (int h = 0; h < shape->heads; h++)
		{
			nn_train_association(train, n, 0, h, row, 'G', g);
			nn_train_association(train, n, 0, h, row, 'A', a);
			for (int w = 0; w < shape->window; w++)
				most = fmax(most, fabs(g[w] - a[w]));
		}
	free(g);
	free(a);
	return most;
}

static void
test_automask(const char *kernel)
{
	const nn_shape shape = {3, 9, 16, 2, 2};
	const int	rows = 30;
	float	   *params = test_params(&shape, 3);
	float	   *chunk = test_rows(rows, shape.features, 4);
	training	t = open_training(&shape, 1, rows);
	double		most = 0;

	nn_forward(t.train, params, (const float *const *) &chunk, 1);
	ok(association_difference(t.train, &shape, rows - 1) > 1e-3,
	   "with the AutoMask the associations differ, %s", kernel);
	nn_params_clear(&shape, NN_WITHOUT_AUTOMASK, params);
	nn_forward(t.train, params, (const float *const *) &chunk, 1);
	for (int row = 0; row < rows; row++)
		most = fmax(most, association_difference(t.train, &shape, row));
	ok(most <= 1e-6, "without the AutoMask they are the same, %s", kernel);
	close_training(&t);
	free(chunk);
	free(params);
}

/* Whether the last row's output does not depend on the rows before it. */
static bool
is_pointwise(const nn_shape *shape, const float *params)
{
	const int	rows = 20;
	const int	C = shape->features;
	const size_t last = (size_t) (rows - 1) * C;
	float	   *one = test_rows(rows, C, 5);
	float	   *other = test_rows(rows, C, 6);
	float	   *output = dirty(C * sizeof(float));
	training	t = open_training(shape, 1, rows);
	bool		same;

	memcpy(other + last, one + last, C * sizeof(float));
	nn_forward(t.train, params, (const float *const *) &one, 1);
	memcpy(output, nn_train_output(t.train) + last, C * sizeof(float));
	nn_forward(t.train, params, (const float *const *) &other, 1);
	same = memcmp(output, nn_train_output(t.train) + last, C * sizeof(float)) == 0;
	close_training(&t);
	free(one);
	free(other);
	free(output);
	return same;
}

static void
test_multiscale(const char *kernel)
{
	const nn_shape shape = {3, 1, 16, 2, 2};	/* attention to the row itself only */
	float	   *params = test_params(&shape, 3);

	ok(!is_pointwise(&shape, params), "with multiple scales, convolutions see earlier rows, %s",
	   kernel);
	nn_params_clear(&shape, NN_WITHOUT_MULTISCALE, params);
	ok(is_pointwise(&shape, params), "without multiple scales they do not, %s", kernel);
	free(params);
}

/* ---- training ------------------------------------------------------------------------- */

/* Steps on one chunk, as src/learn/optimizer.c takes them. */
static void
train_without(const nn_shape *shape, unsigned parts, float *params)
{
	const nn_objective objective = {.skip = 4,
									.ahead = 1,
									.maxmin = 1,
									.contrast = 0.02f,
									.temperature = 0.1f};
	const nn_adam adam = {.beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .clip = 1};
	const int	rows = 30;
	const size_t size = nn_params_size(shape);
	float	   *grads = dirty(size * sizeof(float));
	float	   *moments = dirty(2 * size * sizeof(float));
	float	   *chunk = test_rows(rows, shape->features, 4);
	training	t = open_training(shape, 1, rows);
	nn_losses	losses;

	memset(moments, 0, 2 * size * sizeof(float));
	for (int step = 1; step <= 3; step++)
	{
		nn_forward(t.train, params, (const float *const *) &chunk, 1);
		nn_backward(t.train, params, &objective, NULL, 1, grads, &losses);
		nn_params_clear(shape, parts, grads);
		nn_adam_step(&adam, step, 1e-3, size, params, grads, moments, moments + size, NULL);
	}
	close_training(&t);
	free(chunk);
	free(moments);
	free(grads);
}

static void
test_training(unsigned parts, const char *kernel)
{
	const nn_shape shape = {3, 9, 16, 2, 2};
	float	   *start = test_params(&shape, 3);
	float	   *params = test_params(&shape, 3);
	bool		zero = true;
	size_t		moved = 0;
	size_t		others = 0;

	nn_params_clear(&shape, parts, start);
	nn_params_clear(&shape, parts, params);
	train_without(&shape, parts, params);
	for (int i = 0; i < nn_param_count(&shape); i++)
	{
		nn_param	p = nn_param_at(&shape, i);

		for (size_t j = 0; j < p.size; j++)
			if (is_cleared(&p, j, parts))
				zero = zero && params[p.offset + j] == 0;
			else
			{
				others++;
				moved += params[p.offset + j] != start[p.offset + j];
			}
	}
	ok(zero, "training keeps set %u of parts at 0, %s", parts, kernel);
	/* some gradients of a small network are 0 */
	ok(moved > 0.9 * others, "training changes the other values, %s", kernel);
	free(start);
	free(params);
}

int
main(void)
{
	test_clear();
	for (int k = 0; k < KERNELS; k++)
		if (use_kernel(k))
		{
			test_automask(kernel_names[k]);
			test_multiscale(kernel_names[k]);
			for (unsigned parts = 1; parts <= ALL; parts++)
				test_training(parts, kernel_names[k]);
		}
	return done();
}
