/*
 * learn/fit_states.c
 *	  The states of a model: centres of the rows it was trained on.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "miscadmin.h"

#include "core/evidence/states.h"
#include "learn/fit_states.h"
#include "pg/interrupts.h"

#define MOST_WINDOWS 2048
#define MOST_FLOATS 1048576		/* of all windows */
#define RNG_STATES 2			/* stream of random numbers for the first centres */

static int
most_windows(int features)
{
	return Max(NN_STATES, Min(MOST_WINDOWS, MOST_FLOATS / (NN_STATE_ROWS * features)));
}

Size
fit_states_bytes(const ModelPlan *plan)
{
	const int	features = plan->features;
	Size		n = most_windows(features);

	return plan->has_states
		? nn_states_bytes(features, n) + sizeof(float) * (n * NN_STATE_ROWS + 2) * features
		: 0;
}

/* The weight of a feature follows from the range of its values in all rows. */
static void
weigh_features(const Dataset *d, const double *weight, float *params)
{
	const int	C = d->features;
	float	   *least = palloc0(sizeof(float) * C);
	float	   *most = palloc0(sizeof(float) * C);

	for (int64 row = 0; row < d->nrows; row++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int c = 0; c < C; c++)
		{
			float		z = d->rows[row * C + c];

			/* 0, the mean, is between them */
			least[c] = Min(least[c], z);
			most[c] = Max(most[c], z);
		}
	}
	nn_states_weigh(C, least, most, weight, params);
	pfree(least);
	pfree(most);
}

/* Windows sampled evenly from the rows that are not held out. */
typedef struct StateWindows
{
	int64		all;			/* number of windows that rows have */
	int64		n;				/* number to take */
	int64		taken;
	float	   *window;			/* (n) */
} StateWindows;

/* Goes through the stretches that are not held out: counts their windows, then takes some. */
static void
visit_windows(const Dataset *d, const float *params, StateWindows *w)
{
	const int	C = d->features;
	int64		before = 0;		/* windows of the stretches before */

	for (int i = 0; i < d->nruns; i++)
	{
		const DatasetRun *run = &d->runs[i];

		for (int64 place = 0, end; place < run->rows; place = end)
		{
			int64		windows = 0;

			CHECK_FOR_INTERRUPTS();
			if (!dataset_held_out(d, run, place, &end) && run->rows >= d->options->chunk_length)
				windows = Max(end - place - (NN_STATE_ROWS - 1), 0);
			for (; w->taken < w->n && w->taken * w->all / w->n < before + windows; w->taken++)
				nn_states_window(C, params,
								 d->rows +
									 (run->first + place + w->taken * w->all / w->n - before) * C,
								 w->window + w->taken * NN_STATE_ROWS * C);
			before += windows;
		}
	}
	w->all = before;
}

void
fit_states(Model *m, const Dataset *d)
{
	const int	C = d->features;
	float	   *params = m->params + m->plan.network_size;
	StateWindows windows = {.n = 0};
	void	   *memory;
	nn_rng		rng;

	if (!m->plan.has_states)
		return;
	weigh_features(d, m->weight, params);
	visit_windows(d, params, &windows);
	windows.n = Min(windows.all, most_windows(C));
	windows.window = palloc_extended(sizeof(float) * Max(windows.n, 1) * NN_STATE_ROWS * C,
									 MCXT_ALLOC_HUGE);
	visit_windows(d, params, &windows);
	memory = palloc_extended(nn_states_bytes(C, windows.taken), MCXT_ALLOC_HUGE);
	nn_rng_seed(&rng, m->options.seed, RNG_STATES);
	nn_states_learn(memory, C, windows.window, windows.taken, &rng, params, check_interrupts);
	pfree(memory);
	pfree(windows.window);
}
