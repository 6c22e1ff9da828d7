/*
 * rows/dataset_sampling.c
 *	  Which rows of a training are left out when they do not fit in maintenance_work_mem.
 *
 * Whole blocks of consecutive rows are left out: half of those that are left, each time
 * memory runs out.  A hash of the key of the series and the number of the block decides, so
 * that the sample is uniform over series and time.  It is the same in every training on the
 * same rows, wherever they are and whoever applies the rule: at the level l, the sample
 * consists of the blocks whose hash ends with l zero bits.  The level is the least at which,
 * as each series ends, its rows and those of the series before it fit, but not less than the
 * numbers of rows suggest (dataset_choose_level()).  So a reader that knows these numbers
 * need not get the other rows at all: it begins at the latter, and ends at the same level.
 * The memory wanted follows from numbers of rows, not from what has been allocated.
 *
 * amad_in_sample() is the rule in SQL, for a query that does not return the other rows.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "model/feature_names.h"
#include "pg/call_arguments.h"
#include "rows/dataset.h"
#include "rows/dataset_private.h"
#include "rows/series_key.h"

#define CALIBRATION_BYTES 17	/* per row, during training and calibration */

SQL_FUNCTION(amad_in_sample);

int64
dataset_block_rows(const Dataset *d)
{
	return Max(4 * d->plan.chunk_rows, 2 * (d->plan.context + 2 * d->plan.max_horizon));
}

#define MOST_LEVEL 30			/* keeps one of 2^30 blocks: practically nothing */

uint64
dataset_series_hash(const char *key)
{
	return key ? hash_bytes_extended((const unsigned char *) key, strlen(key), 0) : 0;
}

bool
dataset_keeps_block(uint64 hash, int64 block, int level)
{
	return (hash_bytes_uint32_extended((uint32) block, hash) & ((UINT64CONST(1) << level) - 1)) ==
		0;
}

typedef struct Sample
{
	int64		block_rows;
	int			level;
	uint64		hash;			/* of the series */
	int64		block;			/* the last one decided on; -1: none yet */
	bool		kept;
} Sample;

static Sample
make_sample(const Dataset *d, uint64 hash)
{
	return (Sample){
		.block_rows = dataset_block_rows(d),
		.level = d->level,
		.hash = hash,
		.block = -1,
	};
}

/* Whether a row's block is kept at the dataset's level. */
static bool
is_kept(int64 number, void *arg)
{
	Sample	   *s = arg;
	int64		block = number / s->block_rows;

	if (block != s->block)
	{
		s->block = block;
		s->kept = dataset_keeps_block(s->hash, block, s->level);
	}
	return s->kept;
}

static void
move_row(Dataset *d, int64 to, int64 from)
{
	const Size	map = IMPUTED_BYTES(d->features);

	memmove(d->rows + to * d->features, d->rows + from * d->features, sizeof(float) * d->features);
	d->ts[to] = d->ts[from];
	if (d->imputed)
		memmove(d->imputed + to * map, d->imputed + from * map, map);
}

/* Omits blocks of the series that are already scaled. */
static void
thin_scaled(Dataset *d)
{
	DatasetRun *old = d->runs;
	int			n = d->nruns;

	d->nruns = 0;
	d->nrows = 0;
	for (int i = 0; i < n; i++)
	{
		Sample		sample = make_sample(d, d->series[old[i].series].hash);
		DatasetRun	run = {.series = old[i].series};

		for (int64 row = 0; row < old[i].rows; row++)
		{
			if (row % DATASET_CHECK_ROWS == 0)
				CHECK_FOR_INTERRUPTS();
			if (is_kept(old[i].number + row, &sample))
			{
				if (run.rows == 0)
				{
					run.first = d->nrows;
					run.number = old[i].number + row;
				}
				run.rows++;
				move_row(d, d->nrows++, old[i].first + row);
			}
			else if (run.rows > 0)
			{
				dataset_append_run(d, run);
				run.rows = 0;
			}
		}
		if (run.rows > 0)
			dataset_append_run(d, run);
	}
	pfree(old);
	dataset_shrink(d);
}

/* Leaves out half of the blocks that are left. */
static void
thin_dataset(Dataset *d)
{
	Sample		sample;

	d->level++;
	if (d->nruns > 0)
		thin_scaled(d);
	sample = make_sample(d, d->open_hash);
	if (d->open)
		series_thin(d->open, is_kept, &sample);
}

/* The most figures that a series can have. */
static FigureSizes
largest_sizes(const Dataset *d)
{
	const nn_season season = plan_largest_season(d->options);

	return plan_figure_sizes(&d->plan, &season);
}

/* Memory per series, in the dataset and, with its figures, in the model. */
static Size
series_bytes(const Dataset *d)
{
	const FigureSizes sizes = largest_sizes(d);

	return sizeof(DatasetSeries) + sizeof(DatasetRun) + sizeof(ModelSeries) +
		3 * sizeof(double) * d->features + figures_bytes(&sizes);
}

/* Memory for the training, the series, and the profiles that some of them have. */
static Size
bytes_without_rows(const Dataset *d, int64 series)
{
	const FigureSizes sizes = largest_sizes(d);

	return d->reserve + series * series_bytes(d) +
		Min(series, figures_most_profiles(&sizes)) * figures_profile_bytes(&sizes);
}

/* Memory per scaled row, in the dataset and in the calibration. */
static Size
scaled_bytes(const Dataset *d)
{
	return sizeof(float) * d->features + sizeof(int64) + IMPUTED_BYTES(d->features) +
		CALIBRATION_BYTES;
}

/*
 * Memory for the training and for series: `series` of them with `rows` scaled rows, and one
 * with `open` raw rows, which are scaled as well.
 */
static Size
bytes_wanted(const Dataset *d, int64 series, int64 rows, int64 open)
{
	const Size	scaled = scaled_bytes(d);

	/* the arrays of scaled rows have room for an eighth more */
	return bytes_without_rows(d, series) + (rows + open) * scaled + (rows + open) / 8 * scaled +
		open * series_row_bytes(d->features) + series_slack_bytes(d->features, open);
}

Size
dataset_bytes(const Dataset *d, int64 nseries, int64 rows, int64 largest)
{
	return bytes_wanted(d, nseries, rows - largest, largest);
}

static Size
bytes_wanted_now(const Dataset *d)
{
	return bytes_wanted(d, d->nseries, d->nrows, d->open ? series_rows(d->open) : 0);
}

static void
report_too_many_series(const Dataset *d)
{
	const Size	megabyte = 1024 * 1024;
	const Size	least = bytes_without_rows(d, d->nseries);
	Size		wanted = least > d->limit ? least : bytes_wanted_now(d);

	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("memory required for training on %d series is %zu MB, "
					"maintenance_work_mem is %d MB",
					d->nseries + 1,
					((Size) maintenance_work_mem * 1024 + wanted - d->limit) / megabyte + 1,
					maintenance_work_mem / 1024),
			 errdetail("Each series takes %zu bytes, regardless of its number of rows, and more "
					   "may follow. The training itself takes %zu MB.",
					   series_bytes(d), d->reserve / megabyte + 1),
			 errhint("Raise maintenance_work_mem, or train on fewer series or features.")));
}

bool
dataset_keeps_row(const Dataset *d, int64 number)
{
	return d->level == 0 ||
		dataset_keeps_block(d->open_hash, number / dataset_block_rows(d), d->level);
}

void
dataset_keep_within_limit(Dataset *d)
{
	while (bytes_wanted_now(d) > d->limit)
	{
		CHECK_FOR_INTERRUPTS();
		if (d->level == MOST_LEVEL || bytes_without_rows(d, d->nseries) > d->limit)
			report_too_many_series(d);
		thin_dataset(d);
	}
}

/* ---- by numbers of rows -------------------------------------------------------------------- */

#define SPREAD 8				/* an eighth more than the expected number of rows may be kept */

/* Whether all rows of n series fit. */
static bool
fits_whole(const Dataset *d, int n, const int64 *rows)
{
	int64		series = 0;
	int64		before = 0;

	for (int i = 0; i < n; i++)
	{
		if (rows[i] < d->plan.chunk_rows)
			continue;
		if (bytes_wanted(d, series, before, rows[i]) > d->limit)
			return false;
		series++;
		before += rows[i];
	}
	return true;
}

int
dataset_choose_level(const Dataset *d, int n, const int64 *rows)
{
	int64		series = 0;
	int64		all = 0;
	int64		largest = 0;
	int			level = 1;

	if (fits_whole(d, n, rows))
		return 0;
	for (int i = 0; i < n; i++)
		if (rows[i] >= d->plan.chunk_rows)
		{
			series++;
			all += rows[i];
			largest = Max(largest, rows[i]);
		}
	all += all / SPREAD;
	largest += largest / SPREAD;
	while (level < MOST_LEVEL && bytes_wanted(d, series, all >> level, largest >> level) > d->limit)
		level++;
	return level;
}

void
dataset_begin_level(Dataset *d, int level)
{
	d->level = level;
}

void
dataset_settle_level(Dataset *d)
{
	int64	   *rows = palloc_extended(sizeof(int64) * Max(d->nseries, 1), MCXT_ALLOC_HUGE);
	int			level;

	for (int i = 0; i < d->nseries; i++)
		rows[i] = d->series[i].rows;
	level = dataset_choose_level(d, d->nseries, rows);
	pfree(rows);
	while (d->level < level)
		thin_dataset(d);
}

/* ---- in SQL -------------------------------------------------------------------------------- */

/* Arguments of amad_in_sample(). */
enum
{
	ARG_LEVEL,
	ARG_BLOCK_ROWS,
	ARG_NUMBER,
	ARG_SERIES_COLS,
	ARG_SERIES					/* the first */
};

/* (level, block_rows, number, series_cols, VARIADIC series "any") → boolean */
Datum
amad_in_sample(PG_FUNCTION_ARGS)
{
	const int	level = PG_ARGISNULL(ARG_LEVEL) ? -1 : PG_GETARG_INT32(ARG_LEVEL);
	const int64 block = PG_ARGISNULL(ARG_BLOCK_ROWS) ? 0 : PG_GETARG_INT64(ARG_BLOCK_ROWS);
	char	  **cols;
	int			n = names_argument(fcinfo, ARG_SERIES_COLS, "series_cols", FEATURES_MAX, &cols);
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(n, 1));
	Oid		   *types = palloc(sizeof(Oid) * Max(n, 1));

	if (PG_ARGISNULL(ARG_NUMBER))
		PG_RETURN_NULL();
	if (level < 0 || level > MOST_LEVEL || block < 1 || n < 1 || n != PG_NARGS() - ARG_SERIES ||
		get_fn_expr_variadic(fcinfo->flinfo))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid arguments of %s", "amad_in_sample")));
	for (int i = 0; i < n; i++)
	{
		values[i] = PG_GETARG_DATUM(ARG_SERIES + i);
		nulls[i] = PG_ARGISNULL(ARG_SERIES + i);
		types[i] = get_fn_expr_argtype(fcinfo->flinfo, ARG_SERIES + i);
	}
	PG_RETURN_BOOL(
		dataset_keeps_block(dataset_series_hash(series_key_of_row(n, cols, types, values, nulls)),
							PG_GETARG_INT64(ARG_NUMBER) / block, level));
}
