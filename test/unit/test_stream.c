/*
 * test_stream.c
 *	  A row's outputs do not depend on how a series is cut into pushes, where it begins,
 *	  or what the stream was used for before: compared bit by bit.  They equal those of
 *	  the training pass and of the double-precision network but for rounding.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "reference.h"

#define BEYOND 150				/* rows of a series after the context */
#define TOLERANCE 1e-4			/* of the largest value */
#define FLOOR 1e-3				/* of discrepancies, which start at 0 */
#define RANDOM_CUTS 5

/* A series and its outputs from one stream. */
typedef struct series
{
	nn_shape	shape;
	int			context;
	int			n;
	float	   *params;
	float	   *rows;			/* (n, C) */
	float	   *expected;		/* (n, C) */
	float	   *discrepancy;	/* (n, N) */
	float	   *expected2;		/* from the stream that is compared */
	float	   *discrepancy2;
} series;

static series
open_series(const nn_shape *shape)
{
	series		s = {.shape = *shape, .context = nn_context(shape)};
	streaming	stream;
	size_t		wide;
	size_t		narrow;

	s.n = s.context + BEYOND;
	wide = (size_t) s.n * shape->features * sizeof(float);
	narrow = (size_t) s.n * shape->layers * sizeof(float);
	s.params = test_params(shape, 7);
	s.rows = test_rows(s.n, shape->features, 8);
	s.expected = dirty(wide);
	s.discrepancy = dirty(narrow);
	s.expected2 = dirty(wide);
	s.discrepancy2 = dirty(narrow);
	stream = open_streaming(shape, s.params);
	push_all(stream.stream, shape, s.rows, s.n, NN_STREAM_ROWS, s.expected, s.discrepancy);
	close_streaming(&stream);
	return s;
}

static void
close_series(series *s)
{
	free(s->params);
	free(s->rows);
	free(s->expected);
	free(s->discrepancy);
	free(s->expected2);
	free(s->discrepancy2);
}

/* Whether the outputs of rows from … to - 1 are the same, bit by bit. */
static bool
same(const series *s, int from, int to)
{
	const size_t C = s->shape.features;
	const size_t N = s->shape.layers;

	return memcmp(s->expected + from * C, s->expected2 + from * C,
				  (to - from) * C * sizeof(float)) == 0 &&
		memcmp(s->discrepancy + from * N, s->discrepancy2 + from * N,
			   (to - from) * N * sizeof(float)) == 0;
}

/* Pushes rows from … to - 1, setting the second outputs, in pieces (0: of random size). */
static void
push_again(series *s, nn_stream *stream, int from, int to, int piece, nn_rng *rng)
{
	const size_t C = s->shape.features;
	const size_t N = s->shape.layers;

	for (int i = from; i < to;)
	{
		int			n = piece > 0 ? piece : 1 + (int) nn_rng_below(rng, NN_STREAM_ROWS);

		n = to - i < n ? to - i : n;
		nn_stream_push(stream, s->rows + i * C, n, s->expected2 + i * C, (int) N,
					   s->discrepancy2 + i * N);
		i += n;
	}
}

static void
test_cuts(series *s, const char *kernel)
{
	static const int pieces[] = {1, 2, 5, 6, 7, 13, 64, NN_STREAM_ROWS};
	bool		equal = true;
	nn_rng		rng;

	nn_rng_seed(&rng, 3, 0);
	for (int i = 0; i < (int) (sizeof(pieces) / sizeof(pieces[0])) + RANDOM_CUTS; i++)
	{
		int			piece = i < (int) (sizeof(pieces) / sizeof(pieces[0])) ? pieces[i] : 0;
		streaming	stream = open_streaming(&s->shape, s->params);

		push_again(s, stream.stream, 0, s->n, piece, &rng);
		if (!same(s, 0, s->n))
		{
			note("pieces of %d differ", piece);
			equal = false;
		}
		close_streaming(&stream);
	}
	ok(equal, "%s: any cut into pushes, %s", shape_name(&s->shape), kernel);
}

static void
test_prefixes(series *s, const char *kernel)
{
	bool		equal = true;
	nn_rng		rng;

	nn_rng_seed(&rng, 4, 0);
	for (int i = 0; i < 8; i++)
	{
		int			n = 1 + (int) nn_rng_below(&rng, s->n);
		streaming	stream = open_streaming(&s->shape, s->params);

		push_again(s, stream.stream, 0, n, NN_STREAM_ROWS, NULL);
		equal = equal && same(s, 0, n);
		close_streaming(&stream);
	}
	ok(equal, "%s: any prefix, %s", shape_name(&s->shape), kernel);
}

/* A stream that begins later agrees as soon as the context has passed, and not before. */
static void
test_later(series *s, const char *kernel)
{
	bool		equal = true;
	nn_rng		rng;

	nn_rng_seed(&rng, 5, 0);
	for (int i = 0; i < 8; i++)
	{
		int			from = 1 + (int) nn_rng_below(&rng, BEYOND - 1);
		streaming	stream = open_streaming(&s->shape, s->params);

		push_again(s, stream.stream, from, s->n, 0, &rng);
		equal = equal && same(s, from + s->context, s->n);
		if (same(s, from + s->context - 1, s->n))
			note("a context smaller than %d would do", s->context);
		close_streaming(&stream);
	}
	ok(equal, "%s: a later beginning, %s", shape_name(&s->shape), kernel);
}

static void
test_reuse(series *s, const char *kernel)
{
	streaming	stream = open_streaming(&s->shape, s->params);
	float	   *other = test_rows(s->n, s->shape.features, 9);
	bool		equal;

	push_all(stream.stream, &s->shape, other, s->n, 50, s->expected2, s->discrepancy2);
	nn_stream_reset(stream.stream);
	push_again(s, stream.stream, 0, s->n, 37, NULL);
	equal = same(s, 0, s->n);

	/* a series of NaN must not leave traces either */
	for (int i = 0; i < s->n * s->shape.features; i++)
		other[i] = NAN;
	push_all(stream.stream, &s->shape, other, s->n, 50, s->expected2, s->discrepancy2);
	nn_stream_reset(stream.stream);
	push_again(s, stream.stream, 0, s->n, 37, NULL);
	ok(equal && same(s, 0, s->n), "%s: reused after a reset, %s", shape_name(&s->shape), kernel);
	free(other);
	close_streaming(&stream);
}

/* Two streams on the same packed weights, taking turns. */
static void
test_side_by_side(series *s, const char *kernel)
{
	streaming	stream = open_streaming(&s->shape, s->params);
	void	   *memory = dirty(nn_stream_bytes(&s->shape));
	nn_stream  *beside = nn_stream_open(memory, stream.packed, NULL);
	float	   *other = test_rows(s->n, s->shape.features, 10);
	float	   *expected = dirty((size_t) s->n * s->shape.features * sizeof(float));
	float	   *discrepancy = dirty((size_t) s->n * s->shape.layers * sizeof(float));

	for (int i = 0; i < s->n; i += 10)
	{
		int			n = s->n - i < 10 ? s->n - i : 10;

		push_again(s, stream.stream, i, i + n, n, NULL);
		nn_stream_push(beside, other + (size_t) i * s->shape.features, n, expected, s->shape.layers,
					   discrepancy);
	}
	ok(same(s, 0, s->n), "%s: two streams of one model, %s", shape_name(&s->shape), kernel);
	free(other);
	free(expected);
	free(discrepancy);
	free(memory);
	close_streaming(&stream);
}

/* Weights copied to memory with another alignment, and the original freed. */
static void
test_copy(series *s, const char *kernel)
{
	streaming	stream = open_streaming(&s->shape, s->params);
	char	   *memory = dirty(nn_packed_bytes(&s->shape) + 8);
	void	   *stream_memory = dirty(nn_stream_bytes(&s->shape));
	nn_packed  *copy = nn_packed_copy(memory + 8, &s->shape, stream.packed, NULL);
	nn_stream  *from_copy;

	close_streaming(&stream);
	from_copy = nn_stream_open(stream_memory, copy, NULL);
	push_again(s, from_copy, 0, s->n, NN_STREAM_ROWS, NULL);
	ok(same(s, 0, s->n), "%s: copied weights, %s", shape_name(&s->shape), kernel);
	free(stream_memory);
	free(memory);
}

/* Compares reconstructions with those of the training pass and of the reference. */
static void
test_training_pass(const series *s, const double *expected, const char *kernel)
{
	training	t = open_training(&s->shape, 1, s->n);
	const float *chunk[1] = {s->rows};
	const size_t n = (size_t) s->n * s->shape.features;
	double	   *stream = dirty(n * sizeof(double));

	nn_forward(t.train, s->params, chunk, 1);
	for (size_t i = 0; i < n; i++)
		stream[i] = s->expected[i];
	ok_close(deviation(n, nn_train_output(t.train), stream, 0), TOLERANCE,
			 "%s: reconstructions against the training pass, %s", shape_name(&s->shape), kernel);
	ok_close(deviation(n, s->expected, expected, 0), TOLERANCE,
			 "%s: reconstructions against double precision, %s", shape_name(&s->shape), kernel);
	free(stream);
	close_training(&t);
}

/* Outputs of the double-precision network. */
static void
reference_outputs(const series *s, double **expected, double **discrepancy)
{
	const size_t size = nn_params_size(&s->shape);
	double	   *params = dirty(size * sizeof(double));
	reference	r = reference_open(&s->shape, s->n);

	for (size_t i = 0; i < size; i++)
		params[i] = s->params[i];
	reference_forward(&r, params, s->rows);
	*discrepancy = dirty((size_t) s->n * s->shape.layers * sizeof(double));
	for (int i = 0; i < s->n; i++)
		for (int b = 0; b < s->shape.layers; b++)
			(*discrepancy)[(size_t) i * s->shape.layers + b] = reference_discrepancy(&r, &r, b, i);
	*expected = dirty((size_t) s->n * s->shape.features * sizeof(double));
	memcpy(*expected, r.out, (size_t) s->n * s->shape.features * sizeof(double));
	reference_close(&r);
	free(params);
}

static void
test_shape(const nn_shape *shape)
{
	double	   *expected = NULL;
	double	   *discrepancy = NULL;

	for (int k = 0; k < KERNELS; k++)
	{
		const char *kernel = kernel_names[k];
		series		s;

		if (!use_kernel(k))
			continue;
		s = open_series(shape);
		if (expected == NULL)
			reference_outputs(&s, &expected, &discrepancy);
		test_cuts(&s, kernel);
		test_prefixes(&s, kernel);
		test_later(&s, kernel);
		test_reuse(&s, kernel);
		test_side_by_side(&s, kernel);
		test_copy(&s, kernel);
		test_training_pass(&s, expected, kernel);
		ok_close(deviation((size_t) s.n * shape->layers, s.discrepancy, discrepancy, FLOOR),
				 TOLERANCE, "%s: discrepancies against double precision, %s", shape_name(shape),
				 kernel);
		close_series(&s);
	}
	free(expected);
	free(discrepancy);
}

int
main(void)
{
	const nn_shape usual = {19, 64, 64, 4, 2};	/* the defaults */

	test_shape(&usual);
	for (int i = 0; i < EDGE_SHAPES; i++)
		test_shape(&edge_shapes[i]);
	return done();
}
