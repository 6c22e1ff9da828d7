/*
 * learn/corrupt_chunk.c
 *	  Faults in the rows that the network gets in training.
 *
 * A sensor that dies must not make the network wrong about the others, and one bad reading
 * must not make it wrong about the rows after it.  So in some chunks features are missing,
 * filled as they are in scoring (rows/fill.h), and in some chunks single readings have
 * random values.  The network is compared with the true values.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "learn/corrupt_chunk.h"

#define MOST_SHARE 0.1			/* of the other features are affected, too, at most on average */
#define LONG_DEAD 0.6			/* chance of missing features to be missing in the whole chunk */
#define SPARSE 0.3				/* otherwise: chance to have a value in every k-th row only … */
#define MOST_SPARSE 12			/* … with this k at most */
#define MOST_OUTLIERS 2			/* rows of a chunk */

/* A random set of features, never empty: `sure` and a random share of the others. */
typedef struct FeatureSet
{
	int			sure;
	double		share;
} FeatureSet;

static FeatureSet
draw_features(nn_rng *rng, int features)
{
	FeatureSet	set = {.share = MOST_SHARE * nn_rng_double(rng)};

	set.sure = (int) nn_rng_below(rng, features);
	return set;
}

static bool
draw_member(nn_rng *rng, const FeatureSet *set, int feature)
{
	return nn_rng_double(rng) < set->share || feature == set->sure;
}

/*
 * Features are missing since long before the chunk, so that the mean takes their place; or
 * from a row on, to another one; or they have a value from time to time only.
 */
static void
drop_features(const Corruption *corruption, nn_rng *rng, int rows, int features, float *chunk)
{
	const FeatureSet set = draw_features(rng, features);
	bool		dead = nn_rng_double(rng) < LONG_DEAD;
	bool		sparse = nn_rng_double(rng) < SPARSE;
	int			every = 2 + (int) nn_rng_below(rng, MOST_SPARSE - 1);
	int			at = (int) nn_rng_below(rng, rows + rows / 2) - rows / 2;
	int			from = dead ? 0 : Max(at, 0);	/* one third begins with the chunk */
	int			to = dead ? rows : from + 1 + (int) nn_rng_below(rng, rows - from);

	for (int c = 0; c < features; c++)
	{
		int			last = Max(from - 1, 0);

		if (!draw_member(rng, &set, c))
			continue;
		for (int row = from; row < to; row++)
		{
			if (!dead && sparse && (row - from) % every == every - 1)
				last = row;
			chunk[row * features + c] = dead || row - last > corruption->fill_limit
				? 0.0f
				: chunk[last * features + c];
		}
	}
}

static void
add_outliers(const Corruption *corruption, nn_rng *rng, int rows, int features, float *chunk)
{
	int			n = 1 + (int) nn_rng_below(rng, MOST_OUTLIERS);

	for (int i = 0; i < n; i++)
	{
		const FeatureSet set = draw_features(rng, features);
		float	   *row = chunk + nn_rng_below(rng, rows) * features;

		for (int c = 0; c < features; c++)
			if (draw_member(rng, &set, c))
				row[c] = (float) ((2 * nn_rng_double(rng) - 1) * corruption->clip);
	}
}

void
corrupt_chunk(const Corruption *corruption, nn_rng *rng, int rows, int features, float *chunk)
{
	if (nn_rng_double(rng) < corruption->missing)
		drop_features(corruption, rng, rows, features, chunk);
	if (nn_rng_double(rng) < corruption->outliers)
		add_outliers(corruption, rng, rows, features, chunk);
}
