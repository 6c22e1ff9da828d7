/*
 * fixture.h
 *	  Shared by the tests: memory, models, data, comparisons.
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
 * Memory filled with 0xff, which is NaN in floats, so that reading an array before it
 * is set shows.  Ends the program if there is no memory.
 */
extern void *dirty(size_t bytes);

/* Kernel tables, best first; nn_kernel_use() returns which ones the machine supports. */
#define KERNELS 3
extern const char *const kernel_names[KERNELS];

/* Calls nn_kernel_use(), or skips a test point. */
extern bool use_kernel(int i);

/* Describes a shape. */
extern const char *shape_name(const nn_shape *shape);

/* Shapes at the limits of what is allowed. */
#define EDGE_SHAPES 10
extern const nn_shape edge_shapes[EDGE_SHAPES];

/*
 * Weights with which every part of the network matters: initial ones, but with layer
 * norms other than 1 and 0, and masks large enough to separate local from global
 * association.
 */
extern float *test_params(const nn_shape *shape, uint64_t seed);

/* Scaled rows (n, C) of a synthetic series. */
extern float *test_rows(int n, int features, uint64_t seed);

extern double random_between(nn_rng *rng, double low, double high);

/* Activations for chunks of rows, and a stream; to be freed by close_*(). */
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

/* Pushes rows (n, C) in pieces of at most `piece` rows. */
extern void push_all(nn_stream *stream, const nn_shape *shape, const float *rows, int n, int piece,
					 float *expected, float *discrepancy);

/*
 * Largest |got - want| as a share of max(max |want|, floor); infinite if a value is NaN
 * on one side only.
 */
extern double deviation(size_t n, const float *got, const double *want, double floor);

/* The same for doubles. */
extern double deviation_of_doubles(size_t n, const double *got, const double *want, double floor);

/* A test point that passes if the deviation is at most the tolerance. */
extern bool ok_close(double deviation, double tolerance, const char *name, ...)
	__attribute__((format(printf, 3, 4)));

#endif							/* FIXTURE_H */
