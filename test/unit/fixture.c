/*
 * fixture.c
 *	  Shared by the tests: memory, models, data, comparisons.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

const char *const kernel_names[KERNELS] = {"avx512", "avx2", "portable"};

/* features, window, d_model, heads, layers */
const nn_shape edge_shapes[EDGE_SHAPES] = {
	{5, 12, 16, 4, 2},	{1, 16, 8, 2, 2},	/* one feature */
	{500, 8, 16, 2, 1},			/* many */
	{3, 4, 16, 4, 2},			/* window shorter than the widest convolution */
	{3, 1, 16, 4, 2},			/* a row sees itself only */
	{4, 9, 8, 1, 1},			/* one head, one layer */
	{3, 8, 16, 2, 4},			/* four layers */
	{6, 10, 12, 4, 2},			/* heads of 3, convolutions of 3 channels */
	{2, 5, 4, 4, 1},			/* heads of 1, convolutions of 1 channel */
	{7, 100, 24, 2, 2},			/* the long window, heads of 12 */
};

void *
dirty(size_t bytes)
{
	void	   *p = malloc(bytes);

	if (p == NULL)
	{
		perror("malloc");
		exit(EXIT_FAILURE);
	}
	return memset(p, 0xff, bytes);
}

bool
use_kernel(int i)
{
	if (nn_kernel_use(kernel_names[i]))
		return true;
	skip("not supported by the processor", kernel_names[i]);
	return false;
}

const char *
shape_name(const nn_shape *s)
{
	static char name[80];

	snprintf(name, sizeof(name), "C=%d W=%d D=%d H=%d N=%d", s->features, s->window, s->d_model,
			 s->heads, s->layers);
	return name;
}

double
random_between(nn_rng *rng, double low, double high)
{
	return low + (high - low) * nn_rng_double(rng);
}

float *
test_params(const nn_shape *shape, uint64_t seed)
{
	float	   *params = dirty(nn_params_size(shape) * sizeof(float));
	nn_rng		rng;

	nn_params_init(shape, seed, params, NULL);
	nn_rng_seed(&rng, seed, 1);
	for (int i = 0; i < nn_param_count(shape); i++)
	{
		nn_param	p = nn_param_at(shape, i);

		for (size_t j = p.offset; j < p.offset + p.size; j++)
			if (p.fan_in == 0)
				params[j] += (float) random_between(&rng, -0.3, 0.3);
			else if (strstr(p.name, "mask"))
				params[j] *= 2;
	}
	return params;
}

float *
test_rows(int n, int features, uint64_t seed)
{
	float	   *rows = dirty((size_t) n * features * sizeof(float));
	nn_rng		rng;

	nn_rng_seed(&rng, seed, 2);
	for (int c = 0; c < features; c++)
	{
		double		phase = random_between(&rng, 0, 6.28);
		double		speed = random_between(&rng, 0.1, 0.7);

		for (int i = 0; i < n; i++)
			rows[(size_t) i * features + c] = (float) (sin(speed * i + phase) +
													   random_between(&rng, -1.2, 1.2));
	}
	return rows;
}

training
open_training(const nn_shape *shape, int chunks, int rows)
{
	training	t;

	t.memory = dirty(nn_train_bytes(shape, chunks, rows));
	t.train = nn_train_open(t.memory, shape, chunks, rows, NULL);
	return t;
}

void
close_training(training *t)
{
	free(t->memory);
}

streaming
open_streaming(const nn_shape *shape, const float *params)
{
	streaming	s;

	s.packed_memory = dirty(nn_packed_bytes(shape));
	s.packed = nn_pack(s.packed_memory, shape, params, NULL);
	s.memory = dirty(nn_stream_bytes(shape));
	s.stream = nn_stream_open(s.memory, s.packed, NULL);
	return s;
}

void
close_streaming(streaming *s)
{
	free(s->memory);
	free(s->packed_memory);
}

void
push_all(nn_stream *stream, const nn_shape *shape, const float *rows, int n, int piece,
		 float *expected, float *discrepancy)
{
	for (int i = 0; i < n; i += piece)
		nn_stream_push(stream, rows + (size_t) i * shape->features, n - i < piece ? n - i : piece,
					   expected + (size_t) i * shape->features, shape->layers,
					   discrepancy + (size_t) i * shape->layers);
}

double
deviation_of_doubles(size_t n, const double *got, const double *want, double floor)
{
	double		scale = floor;
	double		worst = 0;

	for (size_t i = 0; i < n; i++)
	{
		if (isnan(got[i]) != isnan(want[i]))
			return INFINITY;
		if (isnan(want[i]))
			continue;
		scale = fmax(scale, fabs(want[i]));
		worst = fmax(worst, fabs(got[i] - want[i]));
	}
	return worst > 0 ? worst / scale : 0;
}

double
deviation(size_t n, const float *got, const double *want, double floor)
{
	double	   *values = dirty((n + 1) * sizeof(double));
	double		worst;

	for (size_t i = 0; i < n; i++)
		values[i] = got[i];
	worst = deviation_of_doubles(n, values, want, floor);
	free(values);
	return worst;
}

bool
ok_close(double deviation, double tolerance, const char *name, ...)
{
	char		text[200];
	va_list		args;

	va_start(args, name);
	vsnprintf(text, sizeof(text), name, args);
	va_end(args);
	if (ok(deviation <= tolerance, "%s", text))
		return true;
	note("off by %.3g, allowed %.3g", deviation, tolerance);
	return false;
}
