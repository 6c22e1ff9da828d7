/*
 * series.c
 *	  A series of rows (ts, features …) on its way from SQL to the network.
 *
 * Rows stand in segments of growing size, each a timestamp and then the values
 * as doubles: float32 would lose the small changes of features with a large
 * offset, and the offset is known only at the end.
 */
#include "postgres.h"
#include "compat.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "series.h"
#include "timestamps.h"

#define FIRST_SEGMENT_ROWS 64
#define MAX_SEGMENT_BYTES (1024 * 1024)

typedef struct SeriesRow
{
	int64		ts;
	double		values[FLEXIBLE_ARRAY_MEMBER];
} SeriesRow;

typedef struct Segment
{
	struct Segment *next;
	int64		rows;			/* in use */
	int64		room;
	char	   *data;
} Segment;

/* An entry of the sort: a row by its timestamp. */
typedef struct SortEntry
{
	int64		ts;
	SeriesRow  *row;
} SortEntry;

struct Series
{
	MemoryContext context;
	MemoryContextCallback forget;	/* takes bytes off the backend's sum */
	Oid			ts_type;
	int			features;
	Size		stride;			/* bytes of a row */
	int64		rows;
	Size		bytes;			/* counted in live_bytes */
	Segment    *first;
	Segment    *last;
};

/*
 * Bytes of all series of this backend: GROUP BY keeps many at once, and the
 * planner knows nothing of their size.
 */
static Size live_bytes = 0;

static void
forget_bytes(void *arg)
{
	live_bytes -= ((Series *) arg)->bytes;
}

static void
out_of_memory(const char *what, Size bytes)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("memory required for %s is %zu MB, maintenance_work_mem is %d MB",
					what, bytes / (1024 * 1024) + 1, maintenance_work_mem / 1024),
			 errhint("Raise maintenance_work_mem, or train on fewer rows or a smaller network.")));
}

void
series_check_memory(const char *what, Size bytes)
{
	Size		limit = (Size) maintenance_work_mem * 1024;

	if (live_bytes + bytes > limit)
		out_of_memory(what, live_bytes + bytes);
}

/* Counts bytes as the series', after checking that they fit. */
static void
claim(Series *series, const char *what, Size bytes)
{
	series_check_memory(what, bytes);
	series->bytes += bytes;
	live_bytes += bytes;
}

Series *
series_open(MemoryContext parent, int features, Oid ts_type)
{
	MemoryContext context = AllocSetContextCreate(parent, "amad series", ALLOCSET_DEFAULT_SIZES);
	Series	   *series = MemoryContextAllocZero(context, sizeof(Series));

	series->context = context;
	series->features = features;
	series->ts_type = ts_type;
	series->stride = offsetof(SeriesRow, values) + sizeof(double) * features;
	series->forget.func = forget_bytes;
	series->forget.arg = series;
	MemoryContextRegisterResetCallback(context, &series->forget);
	return series;
}

void
series_close(Series *series)
{
	MemoryContextDelete(series->context);
}

int
series_features(const Series *series)
{
	return series->features;
}

int64
series_rows(const Series *series)
{
	return series->rows;
}

static Segment *
add_segment(Series *series)
{
	int64		most = Max(MAX_SEGMENT_BYTES / series->stride, 1);
	int64		room = series->last ? series->last->room * 2 : FIRST_SEGMENT_ROWS;
	Segment    *segment;

	room = Min(room, most);
	claim(series, "training rows", sizeof(Segment) + room * series->stride);
	segment = MemoryContextAlloc(series->context, sizeof(Segment));
	segment->next = NULL;
	segment->rows = 0;
	segment->room = room;
	segment->data = MemoryContextAlloc(series->context, room * series->stride);
	if (series->last)
		series->last->next = segment;
	else
		series->first = segment;
	series->last = segment;
	return segment;
}

void
series_add(Series *series, int64 ts, const double *values)
{
	Segment    *segment = series->last;
	SeriesRow  *row;

	timestamps_check(series->ts_type, ts);
	if (segment == NULL || segment->rows == segment->room)
		segment = add_segment(series);
	row = (SeriesRow *) (segment->data + segment->rows++ * series->stride);
	row->ts = ts;
	memcpy(row->values, values, sizeof(double) * series->features);
	series->rows++;
}

/* ---- finishing ---------------------------------------------------------------- */

static int
compare_entries(const void *a, const void *b)
{
	int64		x = ((const SortEntry *) a)->ts;
	int64		y = ((const SortEntry *) b)->ts;

	CHECK_FOR_INTERRUPTS();		/* qsort() is PostgreSQL's own: it may be left */
	return (x > y) - (x < y);
}

static void
refuse_duplicates(const Series *series, const SortEntry *entries)
{
	for (int64 i = 1; i < series->rows; i++)
		if (entries[i].ts == entries[i - 1].ts)
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("duplicate timestamp %s in the training rows",
							timestamps_text(series->ts_type, entries[i].ts)),
					 errhint("A series has one row a timestamp: aggregate such rows first, or "
							 "use GROUP BY to train one model a series.")));
}

/* The rows in order of their timestamps. */
static SortEntry *
sort_rows(Series *series)
{
	SortEntry  *entries;
	int64		n = 0;

	claim(series, "sorting training rows", series->rows * sizeof(SortEntry));
	entries = MemoryContextAllocHuge(series->context, series->rows * sizeof(SortEntry));
	for (Segment *s = series->first; s; s = s->next)
		for (int64 i = 0; i < s->rows; i++, n++)
		{
			entries[n].row = (SeriesRow *) (s->data + i * series->stride);
			entries[n].ts = entries[n].row->ts;
		}
	qsort(entries, series->rows, sizeof(SortEntry), compare_entries);
	refuse_duplicates(series, entries);
	return entries;
}

static void
refuse_missing(const Series *series, const Options *options, int feature, int64 ts, bool all)
{
	const char *name = options->nnames > 0 ? options->names[feature] : NULL;
	char	   *number = psprintf("%d", feature + 1);

	if (all)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("feature %s has no value in any training row", name ? name : number),
				 errhint("Leave the column out.")));
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("feature %s is null, NaN or infinite at %s", name ? name : number,
					timestamps_text(series->ts_type, ts)),
			 errhint("Leave the row out, or choose \"missing\": \"locf\" or \"linear\".")));
}

/*
 * Fill the gap of a feature between the known rows before and after it (-1 and
 * rows: none).  At the ends the nearest known value is all there is.
 */
static void
fill_gap(const Series *series, MissingPolicy policy, SortEntry *entries, int feature,
		 int64 before, int64 after)
{
	bool		linear = policy == MISSING_LINEAR && before >= 0 && after < series->rows;
	double		x0 = entries[before >= 0 ? before : after].row->values[feature];

	for (int64 i = before + 1; i < after; i++)
	{
		double		x = x0;

		if (linear)
		{
			double		x1 = entries[after].row->values[feature];
			double		span = (double) entries[after].ts - (double) entries[before].ts;
			double		share = ((double) entries[i].ts - (double) entries[before].ts) / span;

			x = x0 * (1 - share) + x1 * share;
		}
		entries[i].row->values[feature] = x;
	}
}

static void
fill_feature(const Series *series, const Options *options, SortEntry *entries, int feature,
			 SeriesFacts *facts)
{
	int64		known = -1;

	for (int64 i = 0; i <= series->rows; i++)
	{
		if (i < series->rows && isnan(entries[i].row->values[feature]))
			continue;
		if (i == series->rows && known < 0)
			refuse_missing(series, options, feature, 0, true);
		if (i > known + 1)
		{
			if (options->missing == MISSING_ERROR)
				refuse_missing(series, options, feature, entries[known + 1].ts, false);
			facts->imputed += i - known - 1;
			fill_gap(series, options->missing, entries, feature, known, i);
		}
		known = i;
	}
}

static int64
count_incomplete_rows(const Series *series, const SortEntry *entries)
{
	int64		n = 0;

	for (int64 i = 0; i < series->rows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int c = 0; c < series->features; c++)
			if (isnan(entries[i].row->values[c]))
			{
				n++;
				break;
			}
	}
	return n;
}

/*
 * Mean and standard deviation, in two passes over values divided by their
 * largest magnitude: squares of the largest doubles must not overflow.
 */
static void
moments(const Series *series, const SortEntry *entries, int feature, double *mean, double *std)
{
	double		largest = 0.0;
	double		sum = 0.0;
	double		squares = 0.0;

	for (int64 i = 0; i < series->rows; i++)
		largest = Max(largest, fabs(entries[i].row->values[feature]));
	if (largest == 0.0)
		largest = 1.0;
	for (int64 i = 0; i < series->rows; i++)
		sum += entries[i].row->values[feature] / largest;
	sum /= series->rows;
	for (int64 i = 0; i < series->rows; i++)
	{
		double		d = entries[i].row->values[feature] / largest - sum;

		squares += d * d;
	}
	*mean = sum * largest;
	*std = sqrt(squares / series->rows) * largest;
	if (nn_is_constant(*mean, *std))
		*std = 0.0;
}

static float *
scale_rows(Series *series, const Options *options, const SortEntry *entries,
		   const double *mean, const double *std)
{
	nn_scaling	scaling = {
		.features = series->features,
		.mean = mean,
		.std = std,
		.clip = options->clip,
	};
	Size		bytes = series->rows * series->features * sizeof(float);
	float	   *scaled;

	claim(series, "scaled training rows", bytes);
	scaled = MemoryContextAllocHuge(series->context, bytes);
	for (int64 i = 0; i < series->rows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int c = 0; c < series->features; c++)
			scaled[i * series->features + c] = nn_scale(&scaling, c, entries[i].row->values[c]);
	}
	return scaled;
}

/* The raw rows are of no more use. */
static void
free_rows(Series *series, SortEntry *entries)
{
	Size		freed = series->rows * sizeof(SortEntry);
	Segment    *next;

	pfree(entries);
	for (Segment *s = series->first; s; s = next)
	{
		next = s->next;
		freed += sizeof(Segment) + s->room * series->stride;
		pfree(s->data);
		pfree(s);
	}
	series->first = series->last = NULL;
	series->bytes -= freed;
	live_bytes -= freed;
}

float *
series_finish(Series *series, const Options *options, double *mean, double *std,
			  SeriesFacts *facts)
{
	SortEntry  *entries = sort_rows(series);
	float	   *scaled;

	memset(facts, 0, sizeof(*facts));
	facts->rows = series->rows;
	facts->first_ts = entries[0].ts;
	facts->last_ts = entries[series->rows - 1].ts;
	facts->imputed_rows = count_incomplete_rows(series, entries);
	for (int c = 0; c < series->features; c++)
	{
		CHECK_FOR_INTERRUPTS();
		fill_feature(series, options, entries, c, facts);
		CHECK_FOR_INTERRUPTS();
		moments(series, entries, c, &mean[c], &std[c]);
	}
	scaled = scale_rows(series, options, entries, mean, std);
	free_rows(series, entries);
	return scaled;
}
