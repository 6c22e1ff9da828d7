/*
 * core/network/embed.c
 *	  Multi-scale embedding (section 2.2) in training: four causal convolutions.
 *
 * taps holds each row with the 14 rows before it; the windows of the narrower
 * convolutions are the tails of that, so one array serves all four, and each is
 * one matrix product with weights turned from (E, C, width) to (E, width, C).
 */
#include <string.h>

#include "core/network/layers.h"
#include "core/network/linear.h"
#include "core/memory.h"

#define POLL_FLOATS 1048576		/* gathered or turned between two polls */

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
				nn_rest(t);
			for (int tap = NN_TAPS - 1; tap >= 0; tap--, to += C)
			{
				int			row = i - tap > 0 ? i - tap : 0;	/* the first row repeats */

				memcpy(to, chunk[b] + (size_t) row * C, sizeof(float) * C);
			}
		}
}

void
nn_embed(nn_train *t, const float *params, const float *const *chunk)
{
	const int	C = t->g.C;
	const int	E = t->g.E;
	const int	rows = t->active * t->rows;

	gather_taps(t, chunk);
	for (int s = 0; s < NN_SCALES; s++)
	{
		const int	width = nn_scale_width[s];
		const float *w = params + t->at.conv_w[s];

		for (int e = 0; e < E; e++)
		{
			for (int c = 0; c < C; c++)
				for (int tap = 0; tap < width; tap++)
					t->conv_w[s][((size_t) e * width + tap) * C + c] =
						w[((size_t) e * C + c) * width + tap];
			if ((e + 1) % (POLL_FLOATS / (width * C) + 1) == 0)
				nn_rest(t);
		}
		nn_product_nt(t, rows, E, width * C, t->taps + (size_t) (NN_TAPS - width) * C,
					  (size_t) NN_TAPS * C, t->conv_w[s], params + t->at.conv_b[s], NULL,
					  t->block[0].h + s * E, t->g.D);
	}
}

void
nn_embed_backward(nn_train *t, float *grads)
{
	const int	C = t->g.C;
	const int	E = t->g.E;
	const int	rows = t->active * t->rows;

	for (int s = 0; s < NN_SCALES; s++)
	{
		const int	width = nn_scale_width[s];
		float	   *dw = grads + t->at.conv_w[s];

		nn_zero(t->conv_dw, sizeof(float) * E * width * C, t->poll);
		nn_linear_backward(t, rows, width * C, E, t->taps + (size_t) (NN_TAPS - width) * C,
						   (size_t) NN_TAPS * C, t->conv_w[s], t->dh + s * E, t->g.D, NULL,
						   t->conv_dw, grads + t->at.conv_b[s]);
		for (int e = 0; e < E; e++)
		{
			for (int c = 0; c < C; c++)
				for (int tap = 0; tap < width; tap++)
					dw[((size_t) e * C + c) * width + tap] +=
						t->conv_dw[((size_t) e * width + tap) * C + c];
			if ((e + 1) % (POLL_FLOATS / (width * C) + 1) == 0)
				nn_rest(t);
		}
	}
}
