/*
 * core/network/params.c
 *	  The flat parameter buffer: names, shapes, offsets, initial values.
 *
 * Three lists of templates (embedding, one block, output) describe the tensors in
 * their order in memory; everything else follows from them.  The projections of a
 * block's x are adjacent, first all weights, then all biases, so that one matrix
 * product computes them all.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/kernels/kernels.h"
#include "core/network/network.h"
#include "core/network/params.h"
#include "core/rng.h"

#define POLL_WEIGHTS 1048576	/* weights drawn between two polls: a few milliseconds */

/* The sizes a tensor's dimension can have. */
typedef enum
{
	NONE,
	FEATURES,
	MODEL,
	SCALE,
	BASIS,
	HEADS,
	WIDE
} dimension;

typedef struct
{
	const char *name;
	dimension	out, in;
	int			width;			/* of a convolution, else 0 */
	dimension	fan;			/* fan_in = fan · max(width, 1); NONE: initial value is start */
	float		start;
	unsigned	part;			/* NN_WITHOUT_* that clears it */
} template;

#define CONV(w) \
	{"embed.k" #w ".weight", SCALE, FEATURES, w, FEATURES, 0, NN_WITHOUT_MULTISCALE}, \
	{ \
		"embed.k" #w ".bias", SCALE, NONE, w, FEATURES, 0, 0 \
	}
#define WEIGHT(name, out, in) PART_WEIGHT(name, out, in, 0)
#define BIAS(name, out, in) PART_BIAS(name, out, in, 0)
#define PART_WEIGHT(name, out, in, part) \
	{ \
		name ".weight", out, in, 0, in, 0, part \
	}
#define PART_BIAS(name, out, in, part) \
	{ \
		name ".bias", out, NONE, 0, in, 0, part \
	}
#define NORM(name) \
	{name ".weight", MODEL, NONE, 0, NONE, 1, 0}, \
	{ \
		name ".bias", MODEL, NONE, 0, NONE, 0, 0 \
	}

static const template embedding[] = {CONV(1), CONV(3), CONV(7), CONV(15)};

static const template block[] = {
	NORM("ln1"),
	WEIGHT("q", MODEL, MODEL),
	WEIGHT("k", MODEL, MODEL),
	WEIGHT("v", MODEL, MODEL),
	PART_WEIGHT("mask", BASIS, MODEL, NN_WITHOUT_AUTOMASK),
	PART_WEIGHT("gate", HEADS, MODEL, NN_WITHOUT_MIXUP),
	BIAS("q", MODEL, MODEL),
	BIAS("k", MODEL, MODEL),
	BIAS("v", MODEL, MODEL),
	PART_BIAS("mask", BASIS, MODEL, NN_WITHOUT_AUTOMASK),
	PART_BIAS("gate", HEADS, MODEL, NN_WITHOUT_MIXUP),
	WEIGHT("o", MODEL, MODEL),
	BIAS("o", MODEL, MODEL),
	NORM("ln2"),
	WEIGHT("w1", WIDE, MODEL),
	BIAS("w1", WIDE, MODEL),
	WEIGHT("w2", MODEL, WIDE),
	BIAS("w2", MODEL, WIDE),
};

static const template output[] = {
	NORM("ln"),
	WEIGHT("out", FEATURES, MODEL),
	BIAS("out", FEATURES, MODEL),
};

#define LENGTH(a) ((int) (sizeof(a) / sizeof((a)[0])))

int
nn_context(const nn_shape *shape)
{
	return shape->layers * (shape->window - 1) + NN_TAPS - 1;
}

int
nn_param_count(const nn_shape *shape)
{
	return LENGTH(embedding) + shape->layers * LENGTH(block) + LENGTH(output);
}

static int
dimension_size(const nn_shape *shape, dimension d)
{
	switch (d)
	{
		case FEATURES:
			return shape->features;
		case MODEL:
			return shape->d_model;
		case SCALE:
			return shape->d_model / NN_SCALES;
		case BASIS:
			return shape->heads * NN_BASIS;
		case HEADS:
			return shape->heads;
		case WIDE:
			return 2 * shape->d_model;
		case NONE:
			break;
	}
	return 1;
}

/* Describes the i-th tensor, but for its offset. */
static nn_param
describe_tensor(const nn_shape *shape, int i)
{
	const template *t;
	nn_param	p = {.ndim = 1};
	int			b = -1;

	if (i < LENGTH(embedding))
		t = &embedding[i];
	else if ((i -= LENGTH(embedding)) < shape->layers * LENGTH(block))
	{
		b = i / LENGTH(block);
		t = &block[i % LENGTH(block)];
	}
	else
		t = &output[i - shape->layers * LENGTH(block)];

	if (b >= 0)
		snprintf(p.name, sizeof(p.name), "block%d.%s", b, t->name);
	else
		snprintf(p.name, sizeof(p.name), "%s", t->name);
	p.dims[0] = dimension_size(shape, t->out);
	p.size = p.dims[0];
	if (t->in != NONE)
	{
		p.dims[p.ndim++] = dimension_size(shape, t->in);
		p.size *= p.dims[1];
		if (t->width > 0)
		{
			p.dims[p.ndim++] = t->width;
			p.size *= t->width;
		}
	}
	if (t->fan != NONE)
		p.fan_in = dimension_size(shape, t->fan) * (t->width > 0 ? t->width : 1);
	p.start = t->start;
	p.part = t->part;
	return p;
}

nn_param
nn_param_at(const nn_shape *shape, int i)
{
	nn_param	p = describe_tensor(shape, i);

	for (int j = 0; j < i; j++)
		p.offset += describe_tensor(shape, j).size;
	return p;
}

size_t
nn_params_size(const nn_shape *shape)
{
	nn_param	p = nn_param_at(shape, nn_param_count(shape) - 1);

	return p.offset + p.size;
}

void
nn_params_init(const nn_shape *shape, uint64_t seed, float *params, nn_poll poll)
{
	nn_rng		rng;

	nn_rng_seed(&rng, seed, 0);
	for (int i = 0; i < nn_param_count(shape); i++)
	{
		nn_param	p = nn_param_at(shape, i);
		double		bound = p.fan_in > 0 ? 1.0 / sqrt(p.fan_in) : 0.0;

		for (size_t j = 0; j < p.size; j++)
		{
			params[p.offset + j] = p.fan_in > 0
				? (float) ((2.0 * nn_rng_double(&rng) - 1.0) * bound)
				: p.start;
			if ((p.offset + j) % POLL_WEIGHTS == 0)
				nn_rest(poll);
		}
	}
}

/* Clears a tensor; a convolution keeps its last tap, which is on the current row. */
static void
clear_tensor(const nn_param *p, float *values)
{
	int			width = p->ndim == 3 ? p->dims[2] : 1;

	if (p->ndim < 3)
		memset(values, 0, sizeof(float) * p->size);
	else
		for (size_t at = 0; at < p->size; at += width)
			memset(values + at, 0, sizeof(float) * (width - 1));
}

void
nn_params_clear(const nn_shape *shape, unsigned parts, float *values)
{
	size_t		offset = 0;

	if (parts == 0)
		return;
	for (int i = 0; i < nn_param_count(shape); i++)
	{
		nn_param	p = describe_tensor(shape, i);

		if (p.part & parts)
			clear_tensor(&p, values + offset);
		offset += p.size;
	}
}

nn_layout
nn_layout_of(const nn_shape *shape)
{
	nn_layout	layout;
	int			i = LENGTH(embedding) + shape->layers * LENGTH(block);

	for (int s = 0; s < NN_SCALES; s++)
	{
		layout.conv_w[s] = nn_param_at(shape, 2 * s).offset;
		layout.conv_b[s] = nn_param_at(shape, 2 * s + 1).offset;
	}
	layout.ln_w = nn_param_at(shape, i).offset;
	layout.ln_b = nn_param_at(shape, i + 1).offset;
	layout.out_w = nn_param_at(shape, i + 2).offset;
	layout.out_b = nn_param_at(shape, i + 3).offset;
	return layout;
}

nn_block_layout
nn_block_layout_of(const nn_shape *shape, int n)
{
	int			i = LENGTH(embedding) + n * LENGTH(block);
	nn_block_layout layout = {
		.ln1_w = nn_param_at(shape, i).offset,
		.ln1_b = nn_param_at(shape, i + 1).offset,
		.proj_w = nn_param_at(shape, i + 2).offset,
		.proj_b = nn_param_at(shape, i + 7).offset,
		.o_w = nn_param_at(shape, i + 12).offset,
		.o_b = nn_param_at(shape, i + 13).offset,
		.ln2_w = nn_param_at(shape, i + 14).offset,
		.ln2_b = nn_param_at(shape, i + 15).offset,
		.w1_w = nn_param_at(shape, i + 16).offset,
		.w1_b = nn_param_at(shape, i + 17).offset,
		.w2_w = nn_param_at(shape, i + 18).offset,
		.w2_b = nn_param_at(shape, i + 19).offset,
	};

	return layout;
}
