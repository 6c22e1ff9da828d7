/*
 * nn.h
 *	  The AMAD network: parameters, training, streaming inference, scores.
 *
 * Pure C11 and CBLAS; nothing here knows PostgreSQL.  The caller hands in all
 * memory (ask *_bytes() first, then *_open()), so nothing is allocated inside a
 * step and an error may unwind through any function without a leak.
 *
 * The mathematics is docs/model.md; its section numbers are those used below.
 * Symbols: C features, D = d_model, H heads, d = D/H, N blocks, W window,
 * K = NN_BASIS mask functions, T rows of a chunk, B chunks.  All tensors are
 * float32, row-major; shapes are written (outer … inner).
 */
#ifndef NN_H
#define NN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NN_BASIS 8				/* K: basis functions of the AutoMask */
#define NN_TAPS 15				/* widest convolution of the embedding */
#define NN_SCALES 4				/* convolutions of the embedding: widths 1, 3, 7, 15 */
#define NN_NAME_MAX 32			/* bytes of a parameter's name, with its 0 */
#define NN_HORIZONS_MAX 16		/* most horizons a score can have */
#define NN_SHARD_CHUNKS 2		/* chunks that pass through the network together */

/*
 * Called between pieces of work of a few milliseconds; it may not return.  Functions
 * that may take longer are given one (NULL: none) and call it in between.
 */
typedef void (*nn_poll) (void);

/* ---- shape and parameters (nn_params.c) --------------------------------- */

/* What fixes every tensor's size. */
typedef struct nn_shape
{
	int			features;		/* C, 1 … */
	int			window;			/* W, 1 … : a row attends to itself and W - 1 rows before it */
	int			d_model;		/* D, a multiple of 4 and of heads */
	int			heads;			/* H, 1 … */
	int			layers;			/* N, 1 … */
} nn_shape;

/* One named tensor in the flat parameter buffer. */
typedef struct nn_param
{
	char		name[NN_NAME_MAX];	/* e.g. "block0.q.weight" */
	int			ndim;			/* 1 … 3 */
	int			dims[3];		/* linear: (out, in); convolution: (out, in, width) */
	size_t		offset;			/* in floats from the buffer's start */
	size_t		size;			/* in floats */
	int			fan_in;			/* 0 for layer norms, which start at */
	float		start;
	unsigned	part;			/* NN_WITHOUT_* that it is cleared by, wholly or in part; 0: none */
} nn_param;

/* Parts of the network that can be switched off, as bits of a set. */
#define NN_WITHOUT_AUTOMASK 1	/* M = 0, so A = G: no local association */
#define NN_WITHOUT_MIXUP 2		/* g = 1/2: the mean of the two views */
#define NN_WITHOUT_MULTISCALE 4 /* every convolution sees the current row only */

/* Rows before a row that its output depends on: N·(W - 1) + 14 (section 2.4). */
extern int	nn_context(const nn_shape *shape);

/* Number of named tensors, the i-th of them, and the floats of all together. */
extern int	nn_param_count(const nn_shape *shape);
extern nn_param nn_param_at(const nn_shape *shape, int i);
extern size_t nn_params_size(const nn_shape *shape);

/*
 * Initial weights: uniform ±1/sqrt(fan_in) for linear layers, convolutions and
 * their biases, 1 and 0 for layer norms.  The same seed gives the same bytes.
 */
extern void nn_params_init(const nn_shape *shape, uint64_t seed, float *params, nn_poll poll);

/*
 * Sets to 0 what the parts of a set of NN_WITHOUT_* learn: weights and biases of a
 * and of g, all taps but the last.  values is params, which switches the parts
 * off, or is laid out like it: gradients cleared before each step keep them off.
 */
extern void nn_params_clear(const nn_shape *shape, unsigned parts, float *values);

/* ---- random numbers (nn_rng.c) ------------------------------------------- */

typedef struct nn_rng
{
	uint64_t	state[4];		/* xoshiro256** */
} nn_rng;

extern void nn_rng_seed(nn_rng *rng, uint64_t seed, uint64_t stream);
extern uint64_t nn_rng_next(nn_rng *rng);

/* Uniform in [0, 1), and a uniform integer in [0, n) without bias. */
extern double nn_rng_double(nn_rng *rng);
extern uint64_t nn_rng_below(nn_rng *rng, uint64_t n);

/* ---- training (nn_train.c, nn_loss.c) ------------------------------------ */

/* Weights of the losses (section 2.5). */
typedef struct nn_objective
{
	int			skip;			/* first rows of each chunk without a loss, 0 … T - 1 - ahead */
	int			ahead;			/* an output is compared with the row so many later, 0 … */
	float		maxmin;			/* k */
	float		contrast;		/* w_c */
	float		temperature;	/* of the contrast's logits */
} nn_objective;

/* Losses, summed so that adding those of all shards gives the batch's means. */
typedef struct nn_losses
{
	double		reconstruction; /* R */
	double		discrepancy;	/* D, mean over rows, heads and blocks */
	double		contrast;
	double		total;			/* 2R - k·D + k·D + w_c·contrast */
} nn_losses;

/* Activations of one shard: up to `chunks` chunks of `rows` rows. */
typedef struct nn_train nn_train;

extern size_t nn_train_bytes(const nn_shape *shape, int chunks, int rows);
extern nn_train *nn_train_open(void *memory, const nn_shape *shape, int chunks,
							   int rows, nn_poll poll);

/*
 * Forward pass of nchunks chunks; chunk[b] points at its first row of (T, C)
 * values, scaled and clipped.  Keeps what the backward pass needs.
 */
extern void nn_forward(nn_train *train, const float *params,
					   const float *const *chunk, int nchunks);

/*
 * Backward pass of the chunks just forwarded.  `grads` (like params) is
 * overwritten with the gradient of the batch's total loss, `losses` with these
 * chunks' share of it; batch_chunks is the number of chunks of the whole batch.
 */
extern void nn_backward(nn_train *train, const float *params, const nn_objective *objective,
						int batch_chunks, float *grads, nn_losses *losses);

/* What the last forward pass computed, for tests. */
extern const float *nn_train_output(const nn_train *train);	/* (B, T, C) */

/*
 * Association of row i of chunk b in a block and head: global (which = 'G') or
 * local ('A') weights of the rows i - W + 1 … i, oldest first, as W floats;
 * 0 before the chunk's first row.
 */
extern void nn_train_association(const nn_train *train, int block, int b, int head,
								 int row, char which, float *weights);

/* ---- optimiser (nn_adam.c) ------------------------------------------------ */

typedef struct nn_adam
{
	float		beta1;
	float		beta2;
	float		epsilon;
	float		clip;			/* of the gradient's global norm; 0: none */
} nn_adam;

/*
 * Step number `step` (1 …) of Adam with the bias corrections of Kingma & Ba.
 * moment1 and moment2 are like params and start as zeros.  Gradients whose norm
 * exceeds the clip are scaled down to it.  Returns the norm before clipping.
 */
extern double nn_adam_step(const nn_adam *adam, int64_t step, double rate, size_t n,
						   float *params, const float *grads, float *moment1, float *moment2,
						   nn_poll poll);

/*
 * One-cycle learning rate of step (0 … steps - 1): linear from peak/div to peak
 * over the first pct_start of the steps, then a cosine down to peak/div/final_div.
 */
extern double nn_one_cycle(int64_t step, int64_t steps, double peak, double pct_start,
						   double div, double final_div);

/* ---- streaming inference (nn_stream.c) ------------------------------------ */

#define NN_STREAM_ROWS 96		/* rows in one push at most; the best block size */

/* Weights laid out for inference, shared by any number of streams. */
typedef struct nn_packed nn_packed;

extern size_t nn_packed_bytes(const nn_shape *shape);
extern nn_packed *nn_pack(void *memory, const nn_shape *shape, const float *params, nn_poll poll);

/* A copy in other memory, also of one that another process made in shared memory. */
extern nn_packed *nn_packed_copy(void *memory, const nn_shape *shape, const void *from,
								 nn_poll poll);

/*
 * A series being scored: rows in, reconstructions and discrepancies out, each
 * row computed once.  Keys and values of the last rows are kept, so memory does
 * not grow.  A row's outputs are bit-equal however the rows are cut into
 * pushes, once nn_context() rows precede it.
 */
typedef struct nn_stream nn_stream;

extern size_t nn_stream_bytes(const nn_shape *shape);
extern nn_stream *nn_stream_open(void *memory, const nn_packed *packed, nn_poll poll);
extern void nn_stream_reset(nn_stream *stream);	/* a new series begins */

/*
 * The next n (1 … NN_STREAM_ROWS) rows of the series, scaled and clipped, (n, C).
 * expected: (n, C) reconstructions; discrepancy: mean over heads of JS(A, G) in each
 * block, of a row in N of `stride` floats.
 */
extern void nn_stream_push(nn_stream *stream, const float *rows, int n,
						   float *expected, int stride, float *discrepancy);

/* ---- principal components (nn_pca.c) --------------------------------------- */

/*
 * Components of scaled rows: begin, add all rows (n, C), end.  The last call sets
 * components (k, C), orthonormal, by falling variance, and returns k, the least
 * number that keeps the share `variance` (0 … 1], C - 1 at most; -1 when LAPACK
 * fails.  It cannot be interrupted, hence the limit.  memory: nn_pca_bytes().
 */
#define NN_PCA_FEATURES 1024	/* at most; a quarter of a second */
extern size_t nn_pca_bytes(int features);
extern void nn_pca_begin(void *memory, int features);
extern void nn_pca_add(void *memory, int features, const float *rows, int64_t n, nn_poll poll);
extern int	nn_pca_end(void *memory, int features, double variance, float *components);

/* Projections of rows (n, C) onto the components, row by row the same: (n, C). */
extern void nn_pca_reconstruct(int features, int k, const float *components, const float *rows,
							   int n, float *expected);

/* ---- states (nn_states.c) --------------------------------------------------- */

#define NN_STATES 32			/* centres */
#define NN_STATE_ROWS 4			/* rows of a window */

/* Floats that the states of so many features are kept in (params). */
extern size_t nn_states_size(int features);

/* The i-th of their NN_STATES_TENSORS tensors, its offset counted from params. */
#define NN_STATES_TENSORS 3
extern nn_param nn_states_tensor(int features, int i);

/*
 * Learning: the weights of the features, from the least and the greatest value (C) of
 * each in the training rows, scaled but not clipped, and what their squares weigh (C,
 * NULL: 1); then windows (n, NN_STATE_ROWS, C),
 * made from as many neighbouring rows each; then centres of n windows, of none the mean
 * of the rows.  memory: nn_states_bytes().
 */
extern void nn_states_weigh(int features, const float *least, const float *most,
							const double *weight, float *params);
extern void nn_states_window(int features, const float *params, const float *rows, float *window);
extern size_t nn_states_bytes(int features, int n);
extern void nn_states_learn(void *memory, int features, const float *windows, int n, nn_rng *rng,
							float *params, nn_poll poll);

/*
 * Rows of a series, scaled but not clipped (n, C), in; of each the squared distance of
 * the window that ends with it from the nearest centre, plus a tenth of the variance
 * of the training's windows, out: distances[i * stride].  params must outlive the
 * stream.  The same bits however rows are cut into pushes, once NN_STATE_ROWS - 1 precede.
 */
typedef struct nn_state_stream nn_state_stream;

extern size_t nn_state_stream_bytes(int features);
extern nn_state_stream *nn_state_stream_open(void *memory, int features, const float *params);
extern void nn_state_stream_reset(nn_state_stream *stream);
extern void nn_state_stream_push(nn_state_stream *stream, const float *rows, int n, int stride,
								 float *distances);

/* ---- season (nn_season.c) --------------------------------------------------- */

#define NN_SEASON_PERIODS 4		/* most periods of a season */
#define NN_SEASON_HARMONICS 24	/* most harmonics of a period */
#define NN_SEASON_TERMS (1 + 2 * NN_SEASON_PERIODS * NN_SEASON_HARMONICS)

/* Periods after which values are alike, in units of time: a day, a week … */
typedef struct nn_season
{
	int			nperiods;		/* 0: there is no season */
	int64_t		period[NN_SEASON_PERIODS];	/* 2 … */
	int			harmonics[NN_SEASON_PERIODS];	/* 1 … NN_SEASON_HARMONICS, of each period */
} nn_season;

/* Functions in the basis: 1 and two for each harmonic; 0 without a season. */
extern int	nn_season_terms(const nn_season *season);

/* Values of the basis at a time (terms): 1, then sin and cos of 2πk·time/period. */
extern void nn_season_basis(const nn_season *season, int64_t time, double *basis);

/*
 * Least squares, with a small ridge: begin, add all rows (C), scaled, end.  The last
 * call sets weights (C, terms); false when LAPACK fails.  memory: nn_season_bytes().
 */
extern size_t nn_season_bytes(const nn_season *season, int features);
extern void nn_season_begin(void *memory, const nn_season *season, int features);
extern void nn_season_add(void *memory, const nn_season *season, int features, int64_t time,
						  const float *row);
extern bool nn_season_end(void *memory, const nn_season *season, int features, double *weights);

/* What the season makes one expect of a feature, by its weights (terms): scaled. */
extern double nn_season_expected(int terms, const double *weights, const double *basis);

/* ---- activity (nn_activity.c) ----------------------------------------------- */

/*
 * Rows of a series in, one by one, scaled; of each feature the mean distance of
 * neighbouring values, clipped, of the last `rows` (a power of two, NN_ACTIVITY_FEW …)
 * steps or, when that is larger, of the last NN_ACTIVITY_FEW, out (C): how much it has moved.  Steps to and from
 * imputed values are not known, and do not count; NaN when less than half of either are.
 * The same bits wherever the series began, once `rows` rows precede.
 */
#define NN_ACTIVITY_FEW 4		/* steps */

typedef struct nn_activity nn_activity;

extern size_t nn_activity_bytes(int features, int rows);
extern nn_activity *nn_activity_open(void *memory, int features, int rows, double clip);
extern void nn_activity_reset(nn_activity *stream);
extern void nn_activity_push(nn_activity *stream, const float *row, const uint8_t *imputed,
							 float *activity);

/* ---- scores (nn_score.c) -------------------------------------------------- */

/*
 * Scaling of section 2.1; std 0 marks a constant feature.  What a network is given is
 * clipped, at `clip`; rows that are kept may reach further, to `bound`.
 */
typedef struct nn_scaling
{
	int			features;
	const double *mean;
	const double *std;
	double		clip;			/* of the network; what a constant that has changed becomes */
	double		bound;			/* of values, at least clip */
} nn_scaling;

#define NN_BOUND 1e6			/* a bound that does not distort, and whose square is a float */

/* z = (value - mean) / std, bounded; and n such values clipped, for the network. */
extern float nn_scale(const nn_scaling *scaling, int feature, double value);
extern bool nn_is_constant(double mean, double std);
extern void nn_clip(double clip, const float *z, size_t n, float *clipped);

static inline float
nn_clipped(double clip, float z)
{
	return z > clip ? (float) clip : z < -clip ? (float) -clip : z;
}

/* What turns residuals into scores (section 2.7). */
typedef struct nn_calibration
{
	int			features;
	int			layers;
	int			nhorizons;
	const int  *horizons;		/* (nhorizons) ascending, all different */
	int			lookahead;		/* rows after a row that its score may see, 0 … max horizon / 2 */
	double		release;		/* times the next shorter horizon's evidence that one may count; 0: any */
	double		clip;			/* of scaled values where they are compared with what is expected */
	double		gamma;			/* discrepancy_weight */
	double		delta;			/* state_weight; 0: there are no states */
	const double *weight;		/* (C) of the features' evidence; NULL: all alike */
	const double *rho;			/* (C) mean squared residual */
	const double *mu;			/* (N, and 1 with states) mean discrepancy, mean distance */
	const nn_season *season;	/* NULL or without periods: none */
	const double *season_weights;	/* (C, terms) */
	const double *season_scale; /* (C) what a squared deviation from the season is multiplied by */
	double		flatline;		/* what a feature that does not move at all is worth; 0: nothing */
	const double *activity;		/* (C) below which it hardly moves; 0: it never does so */
	const double *theta;		/* (nhorizons) scale of A_h */
	double		threshold;
} nn_calibration;

extern int	nn_max_horizon(const nn_calibration *calibration);

#define NN_NO_SCORE (-1.0)		/* raw score of a row without any input */

/* Bit c of a row's map of imputed features: they take no part in the score. */
#define NN_IMPUTED(map, c) ((map) != NULL && ((map)[(c) / 8] >> (c) % 8 & 1) != 0)

/* What a raw score is made of. */
typedef struct nn_row
{
	const float *scaled;		/* (C) */
	const float *expected;		/* (C) */
	const float *signals;		/* discrepancy D of each block and, with states, the distance S */
	const float *activity;		/* (C) NULL: not known, like those that are NaN */
	const uint8_t *imputed;		/* NULL: all are given */
	int64_t		time;			/* for the season */
} nn_row;

/*
 * Raw score of a row: the mean of the features' evidence, weighted,
 *		(x̂ - z)²/rho_c · (mean_n D/mu)^gamma · (S/mu)^delta
 *			+ season_scale_c · (season's z - z)²
 *			+ flatline · max(0, 1 - its activity / activity_c)
 * over those that are not imputed; NN_NO_SCORE when all are.  evidence (C), unless
 * NULL, is set: with its weight, 0 for what is imputed.
 */
extern double nn_raw_score(const nn_calibration *calibration, const nn_row *row, double *evidence);

/* What flatlines add to it, by the activity (C); 0 when all features are imputed. */
extern double nn_flatline_evidence(const nn_calibration *calibration, const float *activity,
								   const uint8_t *imputed);

/*
 * The last rows' raw scores, newest last; the caller gives max horizon doubles
 * of room to nn_horizons_open().
 *
 * The horizon h of a row spans h rows, of which the last is min(lookahead, h / 2) rows
 * after it, or the newest row, when that comes before.  So without lookahead a score
 * is of rows up to its own, with one, of rows around it.  The row asked for is the one
 * `back` rows (0 … lookahead) before the newest.
 */
typedef struct nn_horizons
{
	const nn_calibration *calibration;
	int			size;			/* max horizon */
	int64_t		count;			/* raw scores seen */
	double	   *ring;			/* (size) */
} nn_horizons;

extern void nn_horizons_open(nn_horizons *horizons, const nn_calibration *calibration, double *ring);
extern void nn_horizons_reset(nn_horizons *horizons);
extern void nn_horizons_add(nn_horizons *horizons, double raw);

/*
 * A_h of a row: mean of the raw scores of its horizon h, for each h, those that are
 * NN_NO_SCORE left out; NaN while fewer were seen, or when all are left out.
 */
extern void nn_horizons_means(const nn_horizons *horizons, int back, double *means);

/*
 * anomaly_score of a row: max over h, from short to long, of
 *		E_h = min(A_h / theta_h, release · E of the next shorter one)
 * NaN for a row that fewer than max horizon - 1 rows precede, and for one that has no
 * raw score itself.
 */
extern double nn_horizons_score(const nn_horizons *horizons, int back);

/*
 * q-quantile (0 … 1) of n values, linear between order statistics; reorders them.  0 for
 * no values.  The second one polls.
 */
extern double nn_quantile(double *values, size_t n, double q);
extern double nn_quantile_polled(double *values, size_t n, double q, nn_poll poll);

/* ---- machine (nn_kernels.c) ------------------------------------------------ */

/* Kernels in use: "avx512", "avx2" or "portable"; chosen once by the CPU. */
extern const char *nn_kernel_name(void);

/* Choose kernels by name, for tests; NULL: the best.  False when the CPU lacks them. */
extern bool nn_kernel_use(const char *name);

#endif							/* NN_H */
