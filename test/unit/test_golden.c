/*
 * test_golden.c
 *	  The network against the values of an independent implementation
 *	  (test/reference/README.md).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "json.h"

#define TOLERANCE 1e-4			/* of a tensor's largest value; float32 on both sides */

/*
 * Scale below which a gradient counts as 0.  A softmax does not depend on what all its
 * scores have in common, so the gradient of k.bias is 0 but for rounding on both sides.
 */
#define GRADIENT_FLOOR 1e-4

typedef struct golden
{
	json_value *json;
	nn_shape	shape;
	nn_objective objective;
	int			chunks;			/* B */
	int			rows;			/* T */
	size_t		size;			/* floats of all parameters */
	float	   *params;
	float	   *input;			/* (B, T, C) */
	double	   *output;			/* (B, T, C) */
	double	   *grads;
} golden;

static int
integer(const json_value *object, const char *key)
{
	return (int) json_get(object, key)->number;
}

static void
read_shape(golden *g)
{
	const json_value *s = json_get(g->json, "shape");

	g->shape.features = integer(s, "C");
	g->shape.window = integer(s, "window");
	g->shape.d_model = integer(s, "D");
	g->shape.heads = integer(s, "H");
	g->shape.layers = integer(s, "N");
	g->chunks = integer(s, "B");
	g->rows = integer(s, "T");
	g->objective.skip = integer(s, "skip");
	g->objective.maxmin = (float) json_get(s, "k")->number;
	g->objective.contrast = (float) json_get(s, "contrast_weight")->number;
	g->objective.temperature = 0.1f;
}

static void
read_golden(golden *g)
{
	const char *dir = getenv("AMAD_TEST_DIR");
	char		path[4096];
	size_t		n;

	snprintf(path, sizeof(path), "%s/reference/amad.json", dir ? dir : "test");
	g->json = json_read(path);
	if (g->json == NULL)
		exit(EXIT_FAILURE);
	read_shape(g);
	n = (size_t) g->chunks * g->rows * g->shape.features;
	g->size = nn_params_size(&g->shape);
	g->params = dirty(g->size * sizeof(float));
	g->grads = dirty(g->size * sizeof(double));
	g->input = dirty(n * sizeof(float));
	g->output = dirty(n * sizeof(double));
	json_floats(json_get(g->json, "input"), n, g->input);
	json_doubles(json_get(json_get(g->json, "forward"), "output"), n, g->output);
	for (int i = 0; i < nn_param_count(&g->shape); i++)
	{
		nn_param	p = nn_param_at(&g->shape, i);
		const json_value *param = json_get(json_get(g->json, "params"), p.name);

		json_floats(json_get(param, "data"), p.size, g->params + p.offset);
		json_doubles(json_get(json_get(g->json, "grad_of_total"), p.name), p.size,
					 g->grads + p.offset);
	}
}

static void
free_golden(golden *g)
{
	json_free(g->json);
	free(g->params);
	free(g->grads);
	free(g->input);
	free(g->output);
}

static void
chunk_pointers(const golden *g, const float **chunk)
{
	for (int b = 0; b < g->chunks; b++)
		chunk[b] = g->input + (size_t) b * g->rows * g->shape.features;
}

/* The association of a block and head in chunk 0 as a (T, T) matrix. */
static void
association(const golden *g, const nn_train *train, int block, int head, char which, float *matrix)
{
	const int	W = g->shape.window;
	float	   *band = dirty(W * sizeof(float));

	memset(matrix, 0, sizeof(float) * g->rows * g->rows);
	for (int i = 0; i < g->rows; i++)
	{
		nn_train_association(train, block, 0, head, i, which, band);
		for (int w = 0; w < W; w++)
			if (i - W + 1 + w >= 0)
				matrix[(size_t) i * g->rows + i - W + 1 + w] = band[w];
	}
	free(band);
}

/* JS of a row's associations, by the formula (docs/model.md, Losses). */
static double
divergence(int n, const float *a, const float *g)
{
	double		js = 0;

	for (int j = 0; j < n; j++)
	{
		double		m = 0.5 * ((double) a[j] + g[j]);

		js += 0.5 * a[j] * (log(a[j] + 1e-4) - log(m + 1e-4));
		js += 0.5 * g[j] * (log(g[j] + 1e-4) - log(m + 1e-4));
	}
	return js;
}

static void
test_block(const golden *g, const nn_train *train, int block)
{
	const json_value *b = &json_get(json_get(g->json, "forward"), "blocks")->child[block];
	const int	T = g->rows;
	const size_t n = (size_t) T * T;
	float	   *G = dirty(n * sizeof(float));
	float	   *A = dirty(n * sizeof(float));
	double	   *want = dirty(n * sizeof(double));
	double	   *js = dirty(T * sizeof(double));

	memset(js, 0, T * sizeof(double));
	for (int h = g->shape.heads - 1; h >= 0; h--)	/* head 0 last: it is compared below */
	{
		association(g, train, block, h, 'G', G);
		association(g, train, block, h, 'A', A);
		for (int i = 0; i < T; i++)
			js[i] += divergence(T, A + (size_t) i * T, G + (size_t) i * T) / g->shape.heads;
	}
	json_doubles(json_get(b, "G"), n, want);
	ok_close(deviation(n, G, want, 0), TOLERANCE, "block %d: global association", block);
	json_doubles(json_get(b, "A"), n, want);
	ok_close(deviation(n, A, want, 0), TOLERANCE, "block %d: local association", block);
	json_doubles(json_get(b, "JS"), T, want);
	ok_close(deviation_of_doubles(T, js, want, 0), TOLERANCE, "block %d: discrepancy", block);
	free(G);
	free(A);
	free(want);
	free(js);
}

static void
test_losses(const golden *g, const nn_losses *losses, const char *how)
{
	static const char *const names[] = {"R", "D", "contrast", "total"};
	const double got[] = {losses->reconstruction, losses->discrepancy, losses->contrast,
						  losses->total};

	for (int i = 0; i < 4; i++)
	{
		double		want = json_get(json_get(g->json, "losses"), names[i])->number;

		ok_close(deviation_of_doubles(1, &got[i], &want, 0), TOLERANCE, "%s: loss %s", how,
				 names[i]);
	}
}

static void
test_gradients(const golden *g, const float *grads, const char *how)
{
	for (int i = 0; i < nn_param_count(&g->shape); i++)
	{
		nn_param	p = nn_param_at(&g->shape, i);

		ok_close(deviation(p.size, grads + p.offset, g->grads + p.offset, GRADIENT_FLOOR),
				 TOLERANCE, "%s: gradient of %s", how, p.name);
	}
}

static void
test_whole_batch(const golden *g)
{
	training	t = open_training(&g->shape, g->chunks, g->rows);
	float	   *grads = dirty(g->size * sizeof(float));
	const float *chunk[16];
	nn_losses	losses;

	chunk_pointers(g, chunk);
	nn_forward(t.train, g->params, chunk, g->chunks);
	ok_close(deviation((size_t) g->chunks * g->rows * g->shape.features, nn_train_output(t.train),
					   g->output, 0),
			 TOLERANCE, "output");
	for (int n = 0; n < g->shape.layers; n++)
		test_block(g, t.train, n);
	nn_backward(t.train, g->params, &g->objective, NULL, g->chunks, grads, &losses);
	test_losses(g, &losses, "whole batch");
	test_gradients(g, grads, "whole batch");
	free(grads);
	close_training(&t);
}

/* Sums losses and gradients of the batch over its shards. */
static void
sum_shards(const golden *g, nn_train *train, const float *params, float *grads, nn_losses *losses)
{
	float	   *share = dirty(g->size * sizeof(float));
	const float *chunk[16];

	memset(grads, 0, g->size * sizeof(float));
	memset(losses, 0, sizeof(*losses));
	chunk_pointers(g, chunk);
	for (int b = 0; b < g->chunks; b += NN_SHARD_CHUNKS)
	{
		int			n = g->chunks - b < NN_SHARD_CHUNKS ? g->chunks - b : NN_SHARD_CHUNKS;
		nn_losses	part;

		nn_forward(train, params, chunk + b, n);
		nn_backward(train, params, &g->objective, NULL, g->chunks, share, &part);
		for (size_t i = 0; i < g->size; i++)
			grads[i] += share[i];
		losses->reconstruction += part.reconstruction;
		losses->discrepancy += part.discrepancy;
		losses->contrast += part.contrast;
		losses->total += part.total;
	}
	free(share);
}

static void
test_shards(const golden *g)
{
	training	t = open_training(&g->shape, NN_SHARD_CHUNKS, g->rows);
	float	   *grads = dirty(g->size * sizeof(float));
	nn_losses	losses;

	sum_shards(g, t.train, g->params, grads, &losses);
	test_losses(g, &losses, "shards");
	test_gradients(g, grads, "shards");
	free(grads);
	close_training(&t);
}

static void
test_adam(const golden *g)
{
	const nn_adam adam = {.beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f};
	training	t = open_training(&g->shape, NN_SHARD_CHUNKS, g->rows);
	float	   *params = dirty(g->size * sizeof(float));
	float	   *grads = dirty(g->size * sizeof(float));
	float	   *moments = calloc(2 * g->size, sizeof(float));
	double		want[5];

	json_doubles(json_get(g->json, "adam_lr_1e-3_no_clip_total_by_step"), 5, want);
	memcpy(params, g->params, g->size * sizeof(float));
	for (int step = 0; step < 5; step++)
	{
		nn_losses	losses;

		sum_shards(g, t.train, params, grads, &losses);
		ok_close(deviation_of_doubles(1, &losses.total, &want[step], 0), TOLERANCE,
				 "total loss before Adam step %d", step + 1);
		nn_adam_step(&adam, step + 1, 1e-3, g->size, params, grads, moments, moments + g->size,
					 NULL);
	}
	free(params);
	free(grads);
	free(moments);
	close_training(&t);
}

typedef struct scores
{
	double	   *raw;			/* (n) */
	double	   *score;			/* (n) */
	double	   *contributions;	/* (n, C) */
} scores;

/* Scores a stream's outputs as a caller does; NaN during warm-up. */
static void
score_rows(const nn_calibration *cal, int n, int context, const float *rows, const float *expected,
		   const float *discrepancy, scores *s)
{
	const int	C = cal->features;
	double		ring[NN_HORIZONS_MAX];
	nn_horizons horizons;

	nn_horizons_open(&horizons, cal, ring);
	for (int i = 0; i < n; i++, rows += C, expected += C, discrepancy += cal->layers)
	{
		double	   *contributions = s->contributions + (size_t) i * C;
		nn_row		row = {.scaled = rows, .expected = expected, .signals = discrepancy};
		double		sum = 0;

		s->raw[i] = s->score[i] = NAN;
		for (int c = 0; c < C; c++)
			contributions[c] = NAN;
		if (i < context)
			continue;
		s->raw[i] = nn_raw_score(cal, &row, contributions);
		nn_horizons_add(&horizons, s->raw[i]);
		s->score[i] = nn_horizons_score(&horizons, 0);
		for (int c = 0; c < C; c++)
			sum += contributions[c];
		for (int c = 0; c < C; c++)
			contributions[c] /= sum;
	}
}

/* Expected values are compared from the first row that has its context. */
static void
test_scores(const golden *g, const json_value *json, int n, int context, const float *expected,
			const scores *s)
{
	const size_t size = (size_t) n * g->shape.features;
	double	   *want = dirty(size * sizeof(double));
	float	   *shown = dirty(size * sizeof(float));

	json_doubles(json_get(json, "raw"), n, want);
	ok_close(deviation_of_doubles(n, s->raw, want, 0), TOLERANCE, "raw scores");
	json_doubles(json_get(json, "anomaly_score"), n, want);
	ok_close(deviation_of_doubles(n, s->score, want, 0), TOLERANCE, "anomaly scores");
	json_doubles(json_get(json, "contributions"), size, want);
	ok_close(deviation_of_doubles(size, s->contributions, want, 0), TOLERANCE, "contributions");
	json_doubles(json_get(json, "expected"), size, want);
	for (size_t i = 0; i < size; i++)
		shown[i] = i < (size_t) context * g->shape.features ? NAN : expected[i];
	ok_close(deviation(size, shown, want, 0), TOLERANCE, "expected values");
	free(want);
	free(shown);
}

static void
test_scoring(const golden *g)
{
	const json_value *json = json_get(g->json, "scoring");
	const int	context = nn_context(&g->shape);
	const int	n = (int) json_get(json, "raw")->count;
	const size_t size = (size_t) n * g->shape.features;
	double		rho[16], mu[8], theta[NN_HORIZONS_MAX];
	int			lengths[NN_HORIZONS_MAX];
	nn_calibration cal = {.features = g->shape.features,
						  .layers = g->shape.layers,
						  .horizons = lengths,
						  .clip = NN_BOUND,
						  .rho = rho,
						  .mu = mu,
						  .theta = theta,
						  .threshold = 1};
	streaming	stream = open_streaming(&g->shape, g->params);
	float	   *rows = dirty(size * sizeof(float));
	float	   *expected = dirty(size * sizeof(float));
	float	   *discrepancy = dirty((size_t) n * g->shape.layers * sizeof(float));
	scores s = {dirty(n * sizeof(double)), dirty(n * sizeof(double)), dirty(size * sizeof(double))};

	json_doubles(json_get(json, "rho"), g->shape.features, rho);
	json_doubles(json_get(json, "mu_d"), g->shape.layers, mu);
	cal.nhorizons = (int) json_get(json, "horizons")->count;
	json_doubles(json_get(json, "theta"), cal.nhorizons, theta);
	for (int i = 0; i < cal.nhorizons; i++)
		lengths[i] = (int) json_get(json, "horizons")->child[i].number;
	cal.gamma = json_get(json, "discrepancy_weight")->number;
	json_floats(json_get(json, "rows"), size, rows);

	ok(context == integer(json, "context"), "context of %d rows", context);
	push_all(stream.stream, &g->shape, rows, n, 7, expected, discrepancy);
	score_rows(&cal, n, context, rows, expected, discrepancy, &s);
	test_scores(g, json, n, context, expected, &s);
	free(rows);
	free(expected);
	free(discrepancy);
	free(s.raw);
	free(s.score);
	free(s.contributions);
	close_streaming(&stream);
}

int
main(void)
{
	golden		g = {0};		/* the reference does not have `ahead`: 0 */

	read_golden(&g);
	for (int k = 0; k < KERNELS; k++)
	{
		if (!use_kernel(k))
			continue;
		note("kernels: %s", nn_kernel_name());
		test_whole_batch(&g);
		test_shards(&g);
		test_adam(&g);
		test_scoring(&g);
	}
	free_golden(&g);
	return done();
}
