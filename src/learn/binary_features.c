/*
 * learn/binary_features.c
 *	  Which features of a training are flags (docs/model.md, Flags): those that have two
 *	  values at most, in each series.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "miscadmin.h"

#include "learn/binary_features.h"

/* Values that a feature had in a series. */
typedef struct Seen
{
	int			n;				/* 3: more than two */
	float		value[2];
} Seen;

static void
see(Seen *seen, float value)
{
	if (seen->n > 2)
		return;
	for (int i = 0; i < seen->n; i++)
		if (seen->value[i] == value)
			return;
	if (seen->n < 2)
		seen->value[seen->n] = value;
	seen->n++;
}

static void
see_run(const Dataset *d, const DatasetRun *run, Seen *seen)
{
	for (int64 row = run->first; row < run->first + run->rows; row++)
	{
		const uint8 *imputed = dataset_imputed(d, row);

		CHECK_FOR_INTERRUPTS();
		for (int c = 0; c < d->features; c++)
			if (!NN_IMPUTED(imputed, c))
				see(&seen[c], d->rows[row * d->features + c]);
	}
}

void
find_binary_features(Model *m, const Dataset *d)
{
	Seen	   *seen = palloc(sizeof(Seen) * m->features);

	for (int c = 0; c < m->features; c++)
		m->flag[c] = true;
	for (RunRange runs = dataset_series_runs(d, 0); runs.first < d->nruns;
		 runs = dataset_series_runs(d, runs.last))
	{
		memset(seen, 0, sizeof(Seen) * m->features);
		for (int i = runs.first; i < runs.last; i++)
			see_run(d, &d->runs[i], seen);
		for (int c = 0; c < m->features; c++)
			m->flag[c] = m->flag[c] && seen[c].n <= 2;
	}
	model_weigh_features(m);
	pfree(seen);
}
