/*
 * core/network/embed.c
 *	  Multi-scale embedding in training (docs/model.md, Multi-scale embedding).
 *
 * taps holds each row with the 14 rows before it; the window of a narrower
 * convolution is the end of that, so one array serves all four.  Each convolution is
 * one linear layer, its weights reordered from (E, C, width) to (E, width, C).
 */
#include <string.h>

#include "core/network/layers.h"
#include "core/network/linear.h"
#include "core/memory.h"

#define POLL_FLOATS 1048576		/* floats moved between two polls */

/* Sets taps from the rows of the chunks. */
static void
gather_taps(nn_train *t, const float *const *chunk)
{
	const int	C = t->g.C;
	const int	step = POLL_FLOATS / (NN_TAPS * C) + 1;
	float	   *to = t->taps;

	for (int b = 0; b < t->active; b++)
		for (int i = 0; i < t->rows; i++)
		{
			if (i % step == 0)
				nn_rest(t->poll);
			for (int tap = NN_TAPS - 1; tap >= 0; tap--, to += C)
			{
				int			row = i - tap > 0 ? i - tap : 0;	/* the first row repeats */

				memcpy(to, chunk[b] + (size_t) row * C, sizeof(float) * C);
			}
		}
}

/* Convolution s on taps, with reordered weights; its outputs are E columns of h. */
static nn_linear
convolution(const nn_train *t, int s, const float *bias)
{
	const int	C = t->g.C;
	const int	width = nn_scale_width[s];

	return (nn_linear){
		.rows = t->active * t->rows,
		.in = width * C,
		.out = t->g.E,
		.x = t->taps + (size_t) (NN_TAPS - width) * C,
		.ldx = (size_t) NN_TAPS * C,
		.ldy = t->g.D,
		.w = t->conv_w[s],
		.b = bias,
	};
}

void
nn_embed(nn_train *t, const float *params, const float *const *chunk)
{
	const int	C = t->g.C;
	const int	E = t->g.E;

	gather_taps(t, chunk);
	for (int s = 0; s < NN_SCALES; s++)
	{
		const int	width = nn_scale_width[s];
		const float *w = params + t->at.conv_w[s];
		const nn_linear conv = convolution(t, s, params + t->at.conv_b[s]);

		for (int e = 0; e < E; e++)
		{
			for (int c = 0; c < C; c++)
				for (int tap = 0; tap < width; tap++)
					t->conv_w[s][((size_t) e * width + tap) * C + c] =
						w[((size_t) e * C + c) * width + tap];
			if ((e + 1) % (POLL_FLOATS / (width * C) + 1) == 0)
				nn_rest(t->poll);
		}
		nn_linear_forward(t, &conv, NULL, t->block[0].h + s * E);
	}
}

void
nn_embed_backward(nn_train *t, float *grads)
{
	const int	C = t->g.C;
	const int	E = t->g.E;

	for (int s = 0; s < NN_SCALES; s++)
	{
		const int	width = nn_scale_width[s];
		const nn_linear conv = convolution(t, s, NULL);
		float	   *dw = grads + t->at.conv_w[s];

		nn_zero(t->conv_dw, sizeof(float) * E * width * C, t->poll);
		nn_linear_backward(t, &conv, t->dh + s * E, NULL, t->conv_dw, grads + t->at.conv_b[s]);
		for (int e = 0; e < E; e++)
		{
			for (int c = 0; c < C; c++)
				for (int tap = 0; tap < width; tap++)
					dw[((size_t) e * C + c) * width + tap] +=
						t->conv_dw[((size_t) e * width + tap) * C + c];
			if ((e + 1) % (POLL_FLOATS / (width * C) + 1) == 0)
				nn_rest(t->poll);
		}
	}
}
