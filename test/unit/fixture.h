/*
 * fixture.h
 *	  What the tests of the network share: memory, models, data, comparisons.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "core/evidence/activity.h"
#include "core/evidence/horizons.h"
#include "core/evidence/quantile.h"
#include "core/evidence/scaling.h"
#include "core/kernels/kernels.h"
#include "core/network/network.h"
#include "core/rng.h"
#include "tap.h"

/*
 * Memory full of 0xff, which is NaN to floats: an array that is read before it
 * was set shows.  Ends the program when there is none.
 */
extern void *dirty(size_t bytes);

/* Kernel tables, best first; nn_kernel_use() tells which the machine has. */
#define KERNELS 3
extern const char *const kernel_names[KERNELS];

/* nn_kernel_use(), or a skipped test point. */
extern bool use_kernel(int i);

/* A shape, in words. */
extern const char *shape_name(const nn_shape *shape);

/* Shapes at the edges of what is allowed. */
#define EDGE_SHAPES 10
extern const nn_shape edge_shapes[EDGE_SHAPES];

/*
 * Weights that let every part of the network matter: initial ones, layer norms
 * off 1 and 0, masks large enough to part local from global association.
 */
extern float *test_params(const nn_shape *shape, uint64_t seed);

/* Scaled rows (n, C) of a made-up series. */
extern float *test_rows(int n, int features, uint64_t seed);

extern double random_between(nn_rng *rng, double low, double high);

/* Activations for chunks of rows, and a stream; free with close_*. */
typedef struct training
{
	void	   *memory;
	nn_train   *train;
} training;

typedef struct streaming
{
	void	   *packed_memory;
	void	   *memory;
	nn_packed  *packed;
	nn_stream  *stream;
} streaming;

extern training open_training(const nn_shape *shape, int chunks, int rows);
extern void close_training(training *t);
extern streaming open_streaming(const nn_shape *shape, const float *params);
extern void close_streaming(streaming *s);

/* Push rows (n, C) in pieces of at most `piece`. */
extern void push_all(nn_stream *stream, const nn_shape *shape, const float *rows, int n, int piece,
					 float *expected, float *discrepancy);

/*
 * Largest |got - want| as a share of max(max |want|, floor); infinite when a
 * value is NaN on one side only.
 */
extern double deviation(size_t n, const float *got, const double *want, double floor);

/* The same of doubles. */
extern double deviation_of_doubles(size_t n, const double *got, const double *want, double floor);

/* A test point: deviation at most tolerance. */
extern bool ok_close(double deviation, double tolerance, const char *name, ...)
			__attribute__((format(printf, 3, 4)));

#endif							/* FIXTURE_H */
