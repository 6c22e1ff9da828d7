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

/* The number of windows in the rows of a run that the network is trained on. */
static int64
count_windows(const Dataset *d, const DatasetRun *run)
{
	int64		rows = dataset_training_rows(d, run);

	return rows < d->options->chunk_length ? 0 : Max(rows - (NN_STATE_ROWS - 1), 0);
}

/* Samples windows evenly from all runs; returns their number. */
static int
sample_windows(const Dataset *d, const float *params, float *windows)
{
	const int	C = d->features;
	int64		all = 0;
	int64		before = 0;		/* windows of the runs before */
	int64		n;
	int64		taken = 0;

	for (int i = 0; i < d->nruns; i++)
		all += count_windows(d, &d->runs[i]);
	n = Min(all, most_windows(C));
	for (int i = 0; i < d->nruns; i++)
	{
		int64		end = before + count_windows(d, &d->runs[i]);

		for (; taken < n && taken * all / n < end; taken++)
			nn_states_window(C, params, d->rows + (d->runs[i].first + taken * all / n - before) * C,
							 windows + taken * NN_STATE_ROWS * C);
		before = end;
	}
	return (int) taken;
}

void
fit_states(Model *m, const Dataset *d)
{
	const int	C = d->features;
	float	   *params = m->params + m->plan.network_size;
	float	   *windows;
	void	   *memory;
	nn_rng		rng;
	int			n;

	if (!m->plan.has_states)
		return;
	windows = palloc_extended(sizeof(float) * most_windows(C) * NN_STATE_ROWS * C, MCXT_ALLOC_HUGE);
	weigh_features(d, m->weight, params);
	n = sample_windows(d, params, windows);
	memory = palloc_extended(nn_states_bytes(C, n), MCXT_ALLOC_HUGE);
	nn_rng_seed(&rng, m->options.seed, RNG_STATES);
	nn_states_learn(memory, C, windows, n, &rng, params, check_interrupts);
	pfree(memory);
	pfree(windows);
}
