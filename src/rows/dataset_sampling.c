/*
 * rows/dataset_sampling.c
 *	  Which rows of a training are left out when they do not fit in maintenance_work_mem.
 *
 * Whole blocks of consecutive rows are left out.  A hash of the key of the series and the
 * number of the block decides, so that the sample is uniform over series and time: at the
 * level l, it consists of the blocks whose hash ends with l zero bits.
 *
 * A dataset begins with all rows, level 0.  When they turn out not to fit, they are released,
 * and the rest is only counted.  The rows of each series determine the level of the sample, and
 * the source is read again.  A reader that can count the rows before begins with that level, and
 * need not get the other rows.  It comes to the same sample, because the memory wanted follows
 * from numbers of rows, not from what has been allocated.  If the sample does not fit, as
 * more rows were kept than expected, the next level is read.
 *
 * amad_in_sample() is the rule in SQL, for a query that does not return the other rows.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

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
	return bytes_wanted(d, d->nseries, d->kept, d->open_kept);
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

/* ---- rows ---------------------------------------------------------------------------------- */

void
dataset_begin_sample(Dataset *d, Size reserve, int level)
{
	d->sampling = true;
	d->reserve = reserve;
	d->limit = budget_rest();
	d->level = level;
}

/* Releases the rows. */
static void
release_rows(Dataset *d)
{
	series_close(d->open);
	d->open = NULL;
	if (d->rows)
		pfree(d->rows);
	if (d->ts)
		pfree(d->ts);
	if (d->imputed)
		pfree(d->imputed);
	d->rows = NULL;
	d->ts = NULL;
	d->imputed = NULL;
	d->nrows = d->room = 0;
	d->nruns = 0;
	budget_release(&d->budget, d->budget.bytes);
}

void
dataset_check_limit(Dataset *d)
{
	if (d->full || bytes_wanted_now(d) <= d->limit)
		return;
	if (d->level == MOST_LEVEL || bytes_without_rows(d, d->nseries) > d->limit)
		report_too_many_series(d);
	d->full = true;
	release_rows(d);
}

bool
dataset_take_row(Dataset *d)
{
	if (d->level > 0 &&
		!dataset_keeps_block(d->open_hash, d->open_number / dataset_block_rows(d), d->level))
		return false;
	if (d->open_kept++ % DATASET_CHECK_ROWS == 0)
		dataset_check_limit(d);
	return !d->full;
}

void
dataset_count_series(Dataset *d)
{
	/* the length is a power of two */
	if (d->ncounts == 0)
		d->counts = MemoryContextAlloc(d->context, sizeof(int64));
	else if ((d->ncounts & (d->ncounts - 1)) == 0)
		d->counts = repalloc_huge(d->counts, sizeof(int64) * 2 * d->ncounts);
	d->counts[d->ncounts++] = d->open_number;
	if (d->open_number >= d->plan.chunk_rows)
		dataset_check_limit(d);
}

int
dataset_end_sample(Dataset *d)
{
	dataset_end_series(d);
	return d->full ? Max(d->level + 1, dataset_choose_level(d, d->ncounts, d->counts)) : -1;
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
dataset_sample_level(const Dataset *d, int64 series, int64 rows, int64 largest)
{
	int			level = 1;

	rows += rows / SPREAD;
	largest += largest / SPREAD;
	while (level < MOST_LEVEL &&
		   bytes_wanted(d, series, rows >> level, largest >> level) > d->limit)
		level++;
	return level;
}

int
dataset_choose_level(const Dataset *d, int n, const int64 *rows)
{
	int64		series = 0;
	int64		all = 0;
	int64		largest = 0;

	if (fits_whole(d, n, rows))
		return 0;
	for (int i = 0; i < n; i++)
		if (rows[i] >= d->plan.chunk_rows)
		{
			series++;
			all += rows[i];
			largest = Max(largest, rows[i]);
		}
	return dataset_sample_level(d, series, all, largest);
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

/* What is kept between calls: the arguments that are the same for all rows, and the last series. */
typedef struct SampleCall
{
	int			n;
	char	  **cols;
	Oid		   *types;			/* (n) */
	int16	   *length;			/* (n) */
	bool	   *byval;			/* (n) */
	Datum	   *values;			/* (n) of the last row */
	bool	   *nulls;
	bool		any;			/* there was a row */
	uint64		hash;
	MemoryContext context;		/* of the values */
} SampleCall;

static SampleCall *
open_sample_call(FunctionCallInfo fcinfo)
{
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	SampleCall *call = palloc0(sizeof(SampleCall));
	const int	n = PG_NARGS() - ARG_SERIES;

	call->n = names_argument(fcinfo, ARG_SERIES_COLS, "series_cols", FEATURES_MAX, &call->cols);
	if (n < 1 || call->n != n || get_fn_expr_variadic(fcinfo->flinfo) ||
		!get_fn_expr_arg_stable(fcinfo->flinfo, ARG_SERIES_COLS))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid arguments of %s", "amad_in_sample")));
	call->types = palloc(sizeof(Oid) * n);
	call->length = palloc(sizeof(int16) * n);
	call->byval = palloc(sizeof(bool) * n);
	call->values = palloc0(sizeof(Datum) * n);
	call->nulls = palloc0(sizeof(bool) * n);
	for (int i = 0; i < n; i++)
	{
		call->types[i] = get_fn_expr_argtype(fcinfo->flinfo, ARG_SERIES + i);
		get_typlenbyval(call->types[i], &call->length[i], &call->byval[i]);
	}
	call->context = AllocSetContextCreate(CurrentMemoryContext, "amad sampled series",
										  ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = call;
	return call;
}

static bool
is_last_series(FunctionCallInfo fcinfo, const SampleCall *call)
{
	bool		same = call->any;

	for (int i = 0; same && i < call->n; i++)
		same = call->nulls[i] == PG_ARGISNULL(ARG_SERIES + i) &&
			(call->nulls[i] ||
			 datum_image_eq(call->values[i], PG_GETARG_DATUM(ARG_SERIES + i), call->byval[i],
							call->length[i]));
	return same;
}

/* (level, block_rows, number, series_cols, VARIADIC series "any") → boolean */
Datum
amad_in_sample(PG_FUNCTION_ARGS)
{
	SampleCall *call = fcinfo->flinfo->fn_extra;
	int			level;
	int64		block;

	if (PG_ARGISNULL(ARG_LEVEL) || PG_ARGISNULL(ARG_BLOCK_ROWS) || PG_ARGISNULL(ARG_NUMBER))
		PG_RETURN_NULL();
	level = PG_GETARG_INT32(ARG_LEVEL);
	block = PG_GETARG_INT64(ARG_BLOCK_ROWS);
	if (call == NULL)
		call = open_sample_call(fcinfo);
	if (level < 0 || level > MOST_LEVEL || block < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid arguments of %s", "amad_in_sample")));
	if (!is_last_series(fcinfo, call))
	{
		MemoryContext old;

		call->any = false;
		MemoryContextReset(call->context);
		old = MemoryContextSwitchTo(call->context);
		for (int i = 0; i < call->n; i++)
		{
			call->nulls[i] = PG_ARGISNULL(ARG_SERIES + i);
			call->values[i] = call->nulls[i]
				? (Datum) 0
				: datumCopy(PG_GETARG_DATUM(ARG_SERIES + i), call->byval[i], call->length[i]);
		}
		call->hash = dataset_series_hash(
			series_key_of_row(call->n, call->cols, call->types, call->values, call->nulls));
		call->any = true;
		MemoryContextSwitchTo(old);
	}
	PG_RETURN_BOOL(dataset_keeps_block(call->hash, PG_GETARG_INT64(ARG_NUMBER) / block, level));
}
