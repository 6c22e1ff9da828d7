/*
 * nn_speed.c
 *	  Speed of the network without a database: time of a training step and of a
 *	  scored row, as shares of the machine's SGEMM.
 *
 * From the repository's root:
 *
 *	make build/bench/nn_speed
 *	build/bench/nn_speed [window=64] [d_model=64] [heads=4] [layers=2] [features=19]
 *		[batch=8] [repeats=15] [kernel=avx512] [part=sgemm|train|score|single]
 *
 * Times are processor time, the best of the repeats.  The parts take turns within
 * a repeat, so that a machine whose speed drifts does not favour one of them.
 * Useful flops are those of the banded network: two for each weight and row, two
 * for each place of a band and dimension, and a backward pass counts as two forward
 * passes.  Everything else (padding, places outside the band, functions of single
 * elements) does not count.
 */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/kernels/kernels.h"
#include "core/network/network.h"
#include "core/rng.h"

#define GEMM 512				/* rows and columns of the SGEMM that is the peak */
#define SERIES 1920				/* rows scored in a repeat */

typedef struct settings
{
	nn_shape	shape;
	int			batch;			/* chunks of a step */
	int			repeats;
	const char *kernel;			/* NULL: the best */
	const char *part;			/* NULL: all of them */
} settings;

typedef struct workload
{
	settings	s;
	int			rows;			/* T */
	int			skip;
	size_t		nparams;
	float	   *params, *grads, *sum, *moments;
	float	   *series;			/* (SERIES, C) */
	float	   *expected;
	float	   *discrepancy;
	nn_train   *train;
	nn_packed  *packed;
	nn_stream  *stream;
	float	   *a, *b, *c;		/* (GEMM, GEMM) */
	int64_t		step;
} workload;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void *
zeros(size_t bytes)
{
	void	   *p = calloc(1, bytes);

	if (p == NULL)
	{
		perror("calloc");
		exit(EXIT_FAILURE);
	}
	return p;
}

static float *
noise(size_t n, uint64_t seed)
{
	float	   *x = zeros(n * sizeof(float));
	nn_rng		rng;

	nn_rng_seed(&rng, seed, 0);
	for (size_t i = 0; i < n; i++)
		x[i] = (float) (2 * nn_rng_double(&rng) - 1);
	return x;
}

/* ---- useful flops ---------------------------------------------------------------- */

/* Flops of a row's linear layers; each weight is used once. */
static double
linear_flops(const nn_shape *s)
{
	double		weights = 0;

	for (int i = 0; i < nn_param_count(s); i++)
	{
		nn_param	p = nn_param_at(s, i);

		if (p.ndim > 1)
			weights += (double) p.size;
	}
	return 2 * weights;
}

/* Flops of a row's attention, with `sums` sums over the values (two in training). */
static double
band_flops(const nn_shape *s, int sums)
{
	return 2.0 * s->layers * s->window * ((1 + sums) * s->d_model + NN_BASIS * s->heads);
}

static double
step_flops(const workload *w)
{
	const nn_shape *s = &w->s.shape;
	double		n = w->rows - w->skip;
	double		contrast = 2.0 * s->layers * n * n * s->d_model;
	double		chunk = w->rows * (linear_flops(s) + band_flops(s, 2)) + contrast;

	return 3 * w->s.batch * chunk;
}

/* ---- the parts timed --------------------------------------------------------------- */

static void
gemm(workload *w)
{
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, GEMM, GEMM, GEMM, 1.0f, w->a, GEMM, w->b,
				GEMM, 0.0f, w->c, GEMM);
}

static void
train_step(workload *w)
{
	const nn_objective objective = {.skip = w->skip,
									.maxmin = 1,
									.contrast = 0.02f,
									.temperature = 0.1f};
	const nn_adam adam = {.beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .clip = 1};
	const int	C = w->s.shape.features;

	for (int b = 0; b < w->s.batch; b += NN_SHARD_CHUNKS)
	{
		int			n = w->s.batch - b < NN_SHARD_CHUNKS ? w->s.batch - b : NN_SHARD_CHUNKS;
		float	   *grads = b == 0 ? w->sum : w->grads;
		const float *chunk[NN_SHARD_CHUNKS];
		nn_losses	losses;

		for (int i = 0; i < n; i++)
			chunk[i] = w->series + (size_t) ((b + i) * 691 + w->step * 37) % (SERIES - w->rows) * C;
		nn_forward(w->train, w->params, chunk, n);
		nn_backward(w->train, w->params, &objective, NULL, w->s.batch, grads, &losses);
		if (b > 0)
			for (size_t i = 0; i < w->nparams; i++)
				w->sum[i] += grads[i];
	}
	w->step++;
	nn_adam_step(&adam, w->step, 1e-4, w->nparams, w->params, w->sum, w->moments,
				 w->moments + w->nparams, NULL);
}

static void
score(workload *w, int piece)
{
	const int	C = w->s.shape.features;
	const int	N = w->s.shape.layers;

	for (int i = 0; i + piece <= SERIES; i += piece)
		nn_stream_push(w->stream, w->series + (size_t) i * C, piece, w->expected + (size_t) i * C,
					   N, w->discrepancy + (size_t) i * N);
}

/* ---- set-up ------------------------------------------------------------------------ */

static workload
open_workload(const settings *s)
{
	workload	w = {.s = *s};
	const nn_shape *shape = &s->shape;

	w.rows = 2 * shape->window;
	w.skip = shape->window / 2;
	w.nparams = nn_params_size(shape);
	w.params = zeros(w.nparams * sizeof(float));
	w.grads = zeros(w.nparams * sizeof(float));
	w.sum = zeros(w.nparams * sizeof(float));
	w.moments = zeros(2 * w.nparams * sizeof(float));
	nn_params_init(shape, 1, w.params, NULL);
	w.series = noise((size_t) SERIES * shape->features, 2);
	w.expected = zeros((size_t) SERIES * shape->features * sizeof(float));
	w.discrepancy = zeros((size_t) SERIES * shape->layers * sizeof(float));
	w.train = nn_train_open(zeros(nn_train_bytes(shape, NN_SHARD_CHUNKS, w.rows)), shape,
							NN_SHARD_CHUNKS, w.rows, NULL);
	w.packed = nn_pack(zeros(nn_packed_bytes(shape)), shape, w.params, NULL);
	w.stream = nn_stream_open(zeros(nn_stream_bytes(shape)), w.packed, NULL);
	w.a = noise((size_t) GEMM * GEMM, 3);
	w.b = noise((size_t) GEMM * GEMM, 4);
	w.c = zeros((size_t) GEMM * GEMM * sizeof(float));
	return w;
}

static settings
arguments(int argc, char **argv)
{
	settings	s = {.shape = {19, 64, 64, 4, 2}, .batch = 8, .repeats = 15};
	const struct
	{
		const char *name;
		int		   *value;
	} all[] = {
		{"features", &s.shape.features}, {"window", &s.shape.window}, {"d_model", &s.shape.d_model},
		{"heads", &s.shape.heads},		 {"layers", &s.shape.layers}, {"batch", &s.batch},
		{"repeats", &s.repeats},
	};

	for (int i = 1; i < argc; i++)
	{
		const char *equals = strchr(argv[i], '=');
		bool		known = false;

		if (equals != NULL && strncmp(argv[i], "kernel=", 7) == 0)
		{
			s.kernel = equals + 1;
			continue;
		}
		if (equals != NULL && strncmp(argv[i], "part=", 5) == 0)
		{
			s.part = equals + 1;
			continue;
		}
		for (size_t j = 0; equals != NULL && j < sizeof(all) / sizeof(all[0]); j++)
			if (strlen(all[j].name) == (size_t) (equals - argv[i]) &&
				strncmp(all[j].name, argv[i], equals - argv[i]) == 0)
			{
				*all[j].value = atoi(equals + 1);
				known = true;
			}
		if (!known)
		{
			fprintf(stderr, "unknown argument: %s (see the head of bench/nn_speed.c)\n", argv[i]);
			exit(2);
		}
	}
	if (!nn_kernel_use(s.kernel))
	{
		fprintf(stderr, "this machine does not support kernels \"%s\"\n", s.kernel);
		exit(2);
	}
	return s;
}

static bool
wanted(const settings *s, const char *part)
{
	return s->part == NULL || strcmp(s->part, part) == 0;
}

/* Best times in seconds; infinite for parts not selected. */
typedef struct times
{
	double		sgemm, step, row,	/* in pushes of NN_STREAM_ROWS */
		single;					/* in pushes of one */
} times;

static double
least(double best, double began, double pieces)
{
	return fmin(best, (now() - began) / pieces);
}

static times
measure(workload *w)
{
	const settings *s = &w->s;
	times		best = {INFINITY, INFINITY, INFINITY, INFINITY};

	for (int r = 0; r < s->repeats; r++)
	{
		double		t = now();

		if (wanted(s, "sgemm"))
			gemm(w);
		best.sgemm = least(best.sgemm, t, 1);
		t = now();
		if (wanted(s, "train"))
			train_step(w);
		best.step = least(best.step, t, 1);
		t = now();
		if (wanted(s, "score"))
			score(w, NN_STREAM_ROWS);
		best.row = least(best.row, t, SERIES / NN_STREAM_ROWS * NN_STREAM_ROWS);
		t = now();
		if (wanted(s, "single"))
			score(w, 1);
		best.single = least(best.single, t, SERIES);
	}
	return best;
}

static void
report(const char *what, double seconds, double unit, const char *unit_name, double flops,
	   double peak, const char *how)
{
	printf("%-14s %9.3f %s  %7.1f useful Gflop/s, %5.1f %% of sgemm%s\n", what, seconds / unit,
		   unit_name, flops / seconds * 1e-9, 100 * flops / seconds / peak, how);
}

int
main(int argc, char **argv)
{
	settings	s = arguments(argc, argv);
	workload	w = open_workload(&s);
	times		best = measure(&w);
	double		gemm_flops = 2.0 * GEMM * GEMM * GEMM;
	double		row_flops = linear_flops(&s.shape) + band_flops(&s.shape, 1);
	double		peak = gemm_flops / best.sgemm;

	printf("C=%d W=%d D=%d H=%d N=%d, batch of %d chunks of %d rows, kernels %s, BLAS core %s\n",
		   s.shape.features, s.shape.window, s.shape.d_model, s.shape.heads, s.shape.layers,
		   s.batch, w.rows, nn_kernel_name(), openblas_get_corename());
	if (wanted(&s, "sgemm"))
		report("sgemm", best.sgemm, 1e-3, "ms", gemm_flops, peak, "");
	if (wanted(&s, "train"))
		report("training step", best.step, 1e-3, "ms", step_flops(&w), peak, "");
	if (wanted(&s, "score"))
		report("scored row", best.row, 1e-6, "us", row_flops, peak, ", full pushes");
	if (wanted(&s, "single"))
		report("scored row", best.single, 1e-6, "us", row_flops, peak, ", pushes of one row");
	return 0;
}
