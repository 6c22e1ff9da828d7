/*
 * test_polls.c
 *	  Long computations poll at short intervals of processor time; and no order of
 *	  values makes a selection slow.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fixture.h"

/* Far above actual intervals, as sanitizers are slow, but exceeded without polls. */
#define MOST_SECONDS 0.5

static const nn_shape shape = {
	.features = 256,
	.window = 256,
	.d_model = 512,
	.heads = 1,
	.layers = 2,
};

enum
{
	ROWS = 512
};

static int	polls;
static double last;
static double longest;

static double
seconds(void)
{
	return (double) clock() / CLOCKS_PER_SEC;
}

static void
poll(void)
{
	double		now = seconds();

	longest = fmax(longest, now - last);
	last = now;
	polls++;
}

static void
begin(void)
{
	polls = 0;
	longest = 0.0;
	last = seconds();
}

static void
end(const char *what, int least)
{
	int			n = polls;

	poll();
	if (!ok(n >= least && longest < MOST_SECONDS, "%s: polls", what))
		note("%d polls, at least %d expected; the longest interval was %.3f s", n, least, longest);
}

static void
test_training(const float *params, const float *rows)
{
	const nn_objective objective = {.skip = 16,
									.ahead = 1,
									.maxmin = 1,
									.contrast = 0.02f,
									.temperature = 0.1f};
	const nn_adam adam = {.beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .clip = 1};
	const float *chunk[] = {rows, rows};
	size_t		n = nn_params_size(&shape);
	size_t		bytes = nn_train_bytes(&shape, 2, ROWS);
	float	   *grads = dirty(sizeof(float) * n);
	float	   *moments = calloc(2 * n, sizeof(float));
	float	   *stepped = malloc(sizeof(float) * n);
	void	   *space = dirty(bytes);
	nn_train   *train;
	nn_losses	losses;

	begin();
	train = nn_train_open(space, &shape, 2, ROWS, poll);
	end("opening a training", (int) (bytes / 4194304));
	begin();
	nn_forward(train, params, chunk, 2);
	end("forward pass", 10 * shape.layers);
	begin();
	nn_backward(train, params, &objective, NULL, 2, grads, &losses);
	end("backward pass", 10 * shape.layers);
	ok(isfinite(losses.total), "the backward pass computes a loss");
	memcpy(stepped, params, sizeof(float) * n);
	begin();
	nn_adam_step(&adam, 1, 1e-3, n, stepped, grads, moments, moments + n, poll);
	end("optimiser", (int) (n / 1048576));
	free(space);
	free(grads);
	free(moments);
	free(stepped);
}

static void
test_inference(const float *params, const float *rows)
{
	size_t		bytes = nn_packed_bytes(&shape);
	void	   *packed_memory = dirty(bytes);
	void	   *copy_memory = dirty(bytes);
	void	   *stream_memory = dirty(nn_stream_bytes(&shape));
	float	   *expected = malloc(sizeof(float) * NN_STREAM_ROWS * shape.features);
	float		discrepancy[NN_STREAM_ROWS * 2];
	nn_packed  *packed;
	nn_stream  *stream;

	begin();
	packed = nn_pack(packed_memory, &shape, params, poll);
	end("packing weights", (int) (bytes / 4194304));
	begin();
	packed = nn_packed_copy(copy_memory, &shape, packed, poll);
	end("copying packed weights", (int) (bytes / 4194304));
	begin();
	stream = nn_stream_open(stream_memory, packed, poll);
	end("opening a stream", (int) (nn_stream_bytes(&shape) / 4194304));
	begin();
	nn_stream_push(stream, rows, NN_STREAM_ROWS, expected, 2, discrepancy);
	end("pushing rows", 5 * shape.layers);
	begin();
	nn_stream_reset(stream);
	end("resetting a stream", shape.layers);
	free(packed_memory);
	free(copy_memory);
	free(stream_memory);
	free(expected);
}

/*
 * Values whose middle one is always the smallest of the remaining ones: a selection
 * that chose it as its pivot would take quadratic time.
 */
static double *
slow_for_middles(size_t n)
{
	double	   *values = malloc(sizeof(double) * n);
	size_t	   *place = malloc(sizeof(size_t) * n);

	for (size_t i = 0; i < n; i++)
		place[i] = i;
	for (size_t low = 0; low < n; low++)
	{
		size_t		middle = low + (n - 1 - low) / 2;
		size_t		p = place[middle];

		values[p] = (double) low;
		place[middle] = place[low];
		place[low] = p;
	}
	free(place);
	return values;
}

static void
test_selection(void)
{
	enum
	{
		N = 150000
	};
	double	   *values = slow_for_middles(N);
	double		start = seconds();

	ok(nn_quantile(values, N, 1.0) == N - 1, "maximum of values in a bad order");
	ok(seconds() - start < 1.0, "… is found quickly");
	free(values);

	values = malloc(sizeof(double) * N);
	for (int i = 0; i < N; i++)
		values[i] = i;
	start = seconds();
	ok(nn_quantile(values, N, 0.25) == 0.25 * (N - 1), "quantile of sorted values");
	for (int i = 0; i < N; i++)
		values[i] = 7;
	ok(nn_quantile(values, N, 0.5) == 7, "quantile of equal values");
	ok(seconds() - start < 1.0, "… are found quickly");
	for (int i = 0; i < N; i++)
		values[i] = (double) ((long) i * 7919 % N);
	begin();
	ok(nn_quantile_polled(values, N, 0.5, poll) == 0.5 * (N - 1),
	   "median of values in another order");
	end("selection", 1);
	free(values);
}

int
main(void)
{
	float	   *params = malloc(sizeof(float) * nn_params_size(&shape));
	float	   *rows = test_rows(ROWS, shape.features, 3);

	begin();
	nn_params_init(&shape, 1, params, poll);
	end("initial weights", (int) (nn_params_size(&shape) / 1048576));
	test_training(params, rows);
	test_inference(params, rows);
	test_selection();
	free(params);
	free(rows);
	return done();
}
