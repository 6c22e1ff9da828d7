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

#define FEW_FEATURES 10.0 /* with as many, twice the share of the chunks have missing ones, … */
#define MOST_MISSING 0.6		/* … up to this share */
#define MORE 0.5				/* chance to affect one more feature */
#define LONG_DEAD 0.6			/* chance of missing features to be missing in the whole chunk */
#define SPARSE 0.3				/* otherwise: chance to have a value in every k-th row only … */
#define MOST_SPARSE 12			/* … with this k at most */
#define MOST_OUTLIERS 2			/* rows of a chunk */

/* Draws one or a few features, perhaps the same twice; returns their number. */
static int
draw_features(nn_rng *rng, int features, int *set)
{
	int			n = 1;

	while (n < Min(CORRUPT_FEATURES, features) && nn_rng_double(rng) < MORE)
		n++;
	for (int i = 0; i < n; i++)
		set[i] = (int) nn_rng_below(rng, features);
	return n;
}

/*
 * Features are missing since long before the chunk, so that the mean takes their place; or
 * from a row on, to another one; or they have a value from time to time only.
 */
static void
drop_features(const Corruption *corruption, nn_rng *rng, int rows, int features, float *chunk)
{
	int			set[CORRUPT_FEATURES];
	int			n = draw_features(rng, features, set);
	bool		dead = nn_rng_double(rng) < LONG_DEAD;
	bool		sparse = nn_rng_double(rng) < SPARSE;
	int			every = 2 + (int) nn_rng_below(rng, MOST_SPARSE - 1);
	int			at = (int) nn_rng_below(rng, rows + rows / 2) - rows / 2;
	int			from = dead ? 0 : Max(at, 0);	/* one third begins with the chunk */
	int			to = dead ? rows : from + 1 + (int) nn_rng_below(rng, rows - from);

	for (int i = 0; i < n; i++)
	{
		const int	c = set[i];
		int			last = Max(from - 1, 0);

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
		int			set[CORRUPT_FEATURES];
		int			affected = draw_features(rng, features, set);
		float	   *row = chunk + nn_rng_below(rng, rows) * features;

		for (int j = 0; j < affected; j++)
		{
			double		size = Min(1.0,
							  2 * nn_rng_double(rng));	/* half of them are as large as can be */

			row[set[j]] = (float) ((nn_rng_next(rng) & 1 ? size : -size) * corruption->clip);
		}
	}
}

void
corrupt_chunk(const Corruption *corruption, nn_rng *rng, int rows, int features, float *chunk)
{
	/* with few features, each of them matters more to the others */
	double		missing = Min(corruption->missing * (1.0 + FEW_FEATURES / features),
						 Max(corruption->missing, MOST_MISSING));

	if (nn_rng_double(rng) < missing)
		drop_features(corruption, rng, rows, features, chunk);
	if (nn_rng_double(rng) < corruption->outliers)
		add_outliers(corruption, rng, rows, features, chunk);
}
