/*
 * rows/dataset_sampling.c
 *	  Which rows of a training are left out when they do not fit in maintenance_work_mem.
 *
 * Whole blocks of consecutive rows are left out: half of those that are left, each time
 * memory runs out.  A hash of series and position decides, so that the sample is uniform
 * over series and time, and the same in every training on the same rows.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "common/hashfn.h"
#include "miscadmin.h"

#include "rows/dataset.h"
#include "rows/dataset_private.h"

#define CALIBRATION_BYTES 17	/* per row, during training and calibration */

static int64
block_rows(const Dataset *d)
{
	return Max(4 * d->plan.chunk_rows, 2 * (d->plan.context + 2 * d->plan.max_horizon));
}

#define MOST_LEVEL 30			/* keeps one of 2^30 blocks: practically nothing */

typedef struct Sample
{
	const Dataset *dataset;
	int			series;
	int64		block;			/* the last one decided on; -1: none yet */
	bool		kept;
} Sample;

/* Whether a row's block is kept at the dataset's level. */
static bool
is_kept(int64 number, void *arg)
{
	Sample	   *s = arg;
	int64		block = number / block_rows(s->dataset);

	if (block != s->block)
	{
		uint32 hash = hash_combine(hash_bytes_uint32(s->series), hash_bytes_uint32((uint32) block));

		s->block = block;
		s->kept = (hash_bytes_uint32(hash) & ((1U << s->dataset->level) - 1)) == 0;
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
		Sample		sample = {.dataset = d, .series = old[i].series, .block = -1};
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
	Sample		sample = {.dataset = d, .series = d->nseries, .block = -1};

	d->level++;
	if (d->nruns > 0)
		thin_scaled(d);
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
bytes_without_rows(const Dataset *d)
{
	const FigureSizes sizes = largest_sizes(d);

	return d->reserve + d->nseries * series_bytes(d) +
		Min(d->nseries, figures_most_profiles(&sizes)) * figures_profile_bytes(&sizes);
}

/* Memory per scaled row, in the dataset and in the calibration. */
static Size
scaled_bytes(const Dataset *d)
{
	return sizeof(float) * d->features + sizeof(int64) + IMPUTED_BYTES(d->features) +
		CALIBRATION_BYTES;
}

Size
dataset_bytes(const Dataset *d, int64 nseries, int64 rows, int64 largest)
{
	return d->reserve + nseries * series_bytes(d) + rows * scaled_bytes(d) +
		rows / 8 * scaled_bytes(d) + largest * series_row_bytes(d->features);
}

/* Memory for all rows, those of the open series raw and scaled, and for the training. */
static Size
bytes_wanted(const Dataset *d)
{
	Size		raw = series_row_bytes(d->features);
	Size		scaled = scaled_bytes(d);
	int64		open = series_rows(d->open);

	return bytes_without_rows(d) + open * (raw + scaled) +
		Max(d->room, d->nrows + open) / 8 * scaled + d->nrows * scaled;
}

/* Memory that the dataset may use, including its claims, which bytes_wanted() counts. */
static Size
bytes_allowed(const Dataset *d)
{
	return budget_rest() + d->budget.bytes + series_rows(d->open) * series_row_bytes(d->features);
}

static void
report_too_many_series(const Dataset *d)
{
	const Size	megabyte = 1024 * 1024;
	const Size	least = bytes_without_rows(d);
	Size		wanted = least > bytes_allowed(d) ? least : bytes_wanted(d);

	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("memory required for training on %d series is %zu MB, "
					"maintenance_work_mem is %d MB",
					d->nseries + 1,
					((Size) maintenance_work_mem * 1024 + wanted - bytes_allowed(d)) / megabyte + 1,
					maintenance_work_mem / 1024),
			 errdetail("Each series takes %zu bytes, regardless of its number of rows, and more "
					   "may follow. The training itself takes %zu MB.",
					   series_bytes(d), d->reserve / megabyte + 1),
			 errhint("Raise maintenance_work_mem, or train on fewer series or features.")));
}

bool
dataset_keeps_row(const Dataset *d, int64 number)
{
	Sample		sample = {.dataset = d, .series = d->nseries, .block = -1};

	return d->level == 0 || is_kept(number, &sample);
}

void
dataset_keep_within_budget(Dataset *d)
{
	while (bytes_wanted(d) > bytes_allowed(d))
	{
		CHECK_FOR_INTERRUPTS();
		if (d->level == MOST_LEVEL || bytes_without_rows(d) > bytes_allowed(d))
			report_too_many_series(d);
		thin_dataset(d);
	}
}
