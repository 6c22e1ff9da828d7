/*
 * rows/series.c
 *	  The rows of one series, with unscaled features, during training.
 *
 * Rows are stored in segments of growing size, because their number is not known; they
 * never move.  Values are doubles: float32 would lose the small
 * changes of features with a large offset, and the offset is known only at the end.
 * series_sort() sorts pointers to the rows, unless they came in order; all that follows reads
 * rows in that order.  series_transform() replaces values in place; series_scale() fills
 * missing values and writes scaled rows.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/evidence/quantile.h"
#include "pg/timestamps.h"
#include "rows/fill.h"
#include "rows/series.h"
#include "rows/transform.h"

#define FIRST_SEGMENT_ROWS 64
#define MAX_SEGMENT_BYTES (64 * 1024)
#define STEP_SAMPLE 10001		/* distances sampled for the median step */
#define CHECK_ROWS 65536		/* rows between two checks for interrupts, in short loops */

typedef struct SeriesRow
{
	int64		ts;
	int64		number;
	double		values[FLEXIBLE_ARRAY_MEMBER];
} SeriesRow;

typedef struct Segment
{
	struct Segment *next;
	int64		rows;			/* in use */
	int64		room;			/* rows allocated */
	char	   *data;
} Segment;

struct Series
{
	MemoryContext context;
	Budget		budget;
	Oid			ts_type;
	int			features;
	Size		stride;			/* bytes of a row */
	int64		rows;
	bool		complete;		/* no value is missing */
	bool		in_order;		/* rows were added in order of time */
	int64		last_ts;		/* of the row added last */
	Segment    *first;
	Segment    *last;
	SeriesRow **order;			/* (rows) by time; NULL until sorted */
	double	   *rounding;		/* (features) least standard deviation; NULL: not transformed */
};

Series *
series_open(MemoryContext parent, int features, Oid ts_type)
{
	MemoryContext context = AllocSetContextCreate(parent, "amad series", ALLOCSET_DEFAULT_SIZES);
	Series	   *series = MemoryContextAllocZero(context, sizeof(Series));

	series->context = context;
	series->features = features;
	series->ts_type = ts_type;
	series->stride = offsetof(SeriesRow, values) + sizeof(double) * features;
	series->complete = true;
	series->in_order = true;
	budget_open(&series->budget, context, BUDGET_TRAINING);
	return series;
}

void
series_close(Series *series)
{
	MemoryContextDelete(series->context);
}

int64
series_rows(const Series *series)
{
	return series->rows;
}

bool
series_complete(const Series *series)
{
	return series->complete;
}

Size
series_row_bytes(int features)
{
	return offsetof(SeriesRow, values) + sizeof(double) * features + sizeof(SeriesRow *);
}

Size
series_slack_bytes(int features, int64 rows)
{
	const Size	stride = offsetof(SeriesRow, values) + sizeof(double) * features;

	/* each segment has twice as many rows as the one before */
	return Min((rows + FIRST_SEGMENT_ROWS) * stride, MAX_SEGMENT_BYTES) + sizeof(Segment);
}

/* ---- collecting -------------------------------------------------------------------- */

static Segment *
add_segment(Series *series)
{
	int64		most = Max(MAX_SEGMENT_BYTES / series->stride, 1);
	int64		room = series->last ? series->last->room * 2 : FIRST_SEGMENT_ROWS;
	Segment    *segment;

	room = Min(room, most);
	budget_claim(&series->budget, "training rows", sizeof(Segment) + room * series->stride);
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

static void
free_segment(Series *series, Segment *segment)
{
	budget_release(&series->budget, sizeof(Segment) + segment->room * series->stride);
	pfree(segment->data);
	pfree(segment);
}

void
series_add(Series *series, int64 ts, int64 number, const double *values)
{
	Segment    *segment = series->last;
	SeriesRow  *row;

	timestamps_check(series->ts_type, ts);
	if (segment == NULL || segment->rows == segment->room)
		segment = add_segment(series);
	row = (SeriesRow *) (segment->data + segment->rows++ * series->stride);
	row->ts = ts;
	row->number = number;
	memcpy(row->values, values, sizeof(double) * series->features);
	for (int c = 0; c < series->features && series->complete; c++)
		series->complete = !isnan(values[c]);
	series->in_order = series->in_order && (series->rows == 0 || ts > series->last_ts);
	series->last_ts = ts;
	series->rows++;
}

void
series_forget(Series *series, int64 n)
{
	Segment    *first = series->first;

	if (series->rows - first->rows < n || first == series->last)
		return;
	series->first = first->next;
	series->rows -= first->rows;
	free_segment(series, first);
}

/* ---- order ---------------------------------------------------------------------------- */

static int
compare_rows(const void *a, const void *b)
{
	int64		x = (*(SeriesRow *const *) a)->ts;
	int64		y = (*(SeriesRow *const *) b)->ts;

	CHECK_FOR_INTERRUPTS();		/* may leave qsort(), which is PostgreSQL's own */
	return (x > y) - (x < y);
}

/* Checks for interrupts in loops that do little with each row. */
static inline void
poll_row(int64 row)
{
	if (row % CHECK_ROWS == 0)
		CHECK_FOR_INTERRUPTS();
}

static void
refuse_duplicates(const Series *series)
{
	for (int64 i = 1; i < series->rows; i++)
	{
		poll_row(i);
		if (series->order[i]->ts == series->order[i - 1]->ts)
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("duplicate timestamp %s in the training rows",
							timestamps_text(series->ts_type, series->order[i]->ts)),
					 errhint("A series has one row per timestamp: aggregate such rows first, or "
							 "use GROUP BY to train one model per series.")));
	}
}

void
series_sort(Series *series)
{
	Size		bytes = series->rows * sizeof(SeriesRow *);
	int64		n = 0;

	budget_claim(&series->budget, "sorting training rows", bytes);
	series->order = MemoryContextAllocHuge(series->context, Max(bytes, 1));
	for (Segment *s = series->first; s; s = s->next)
	{
		CHECK_FOR_INTERRUPTS();
		for (int64 i = 0; i < s->rows; i++)
			series->order[n++] = (SeriesRow *) (s->data + i * series->stride);
	}
	if (series->in_order)
		return;
	qsort(series->order, series->rows, sizeof(SeriesRow *), compare_rows);
	refuse_duplicates(series);
	/* rows were numbered in the order they were added */
	for (int64 i = 0; i < series->rows; i++)
	{
		poll_row(i);
		series->order[i]->number = i;
	}
}

void
series_keep_newest(Series *series, int64 n)
{
	if (series->rows <= n)
		return;
	series->order += series->rows - n;
	series->rows = n;
}

const double *
series_values(const Series *series, int64 row, int64 *ts)
{
	*ts = series->order[row]->ts;
	return series->order[row]->values;
}

void
series_refuse_missing(const Series *series, const Options *options)
{
	for (int64 row = 0; row < series->rows && !series->complete; row++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int c = 0; c < series->features; c++)
			if (isnan(series->order[row]->values[c]))
				ereport(ERROR,
						(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						 errmsg("feature %s is null, NaN or infinite at %s",
								options_feature_name(options, c),
								timestamps_text(series->ts_type, series->order[row]->ts)),
						 errhint("Omit the row, or set \"missing\" to \"locf\" or \"linear\".")));
	}
}

/* ---- measures --------------------------------------------------------------------------- */

double
series_step(const Series *series)
{
	int64		distances = series->rows - 1;
	int64		n = Min(distances, STEP_SAMPLE);
	double	   *step;
	double		median;

	if (n < 1)
		return 0.0;
	step = palloc(sizeof(double) * n);
	for (int64 i = 0; i < n; i++)
	{
		int64		at = (int64) ((double) i * distances / n);

		step[i] = timestamps_distance(series->order[at]->ts, series->order[at + 1]->ts);
	}
	median = nn_quantile(step, n, 0.5);
	pfree(step);
	return median;
}

SeriesRun
series_run(const Series *series, int64 first, double max_gap)
{
	SeriesRun	run = {.first = first, .rows = 1, .number = series->order[first]->number};

	for (int64 i = first + 1; i < series->rows; i++, run.rows++)
	{
		const SeriesRow *before = series->order[i - 1];
		const SeriesRow *row = series->order[i];

		poll_row(i);
		if (row->number != before->number + 1 ||
			(max_gap > 0 && timestamps_distance(before->ts, row->ts) > max_gap))
			break;
	}
	return run;
}

void
series_times(const Series *series, const SeriesRun *run, int64 *ts)
{
	for (int64 i = 0; i < run->rows; i++)
	{
		poll_row(i);
		ts[i] = series->order[run->first + i]->ts;
	}
}

void
series_transform(Series *series, const Transforms *transforms, double max_gap, double step)
{
	const int	C = series->features;
	MemoryContext old = MemoryContextSwitchTo(series->context);
	Transformer *t = transformer_open(transforms, series->ts_type);

	series->rounding = palloc0(sizeof(double) * C);
	MemoryContextSwitchTo(old);
	for (int64 at = 0; at < series->rows;)
	{
		SeriesRun	run = series_run(series, at, max_gap);

		transformer_begin(t);
		for (; at < run.first + run.rows; at++)
		{
			SeriesRow  *row = series->order[at];

			CHECK_FOR_INTERRUPTS();
			for (int c = 0; c < C; c++)
				series->rounding[c] = fmax(series->rounding[c], fabs(row->values[c]));
			transformer_row(t, row->ts, row->values, NULL);
			for (int c = 0; c < C && series->complete; c++)
				series->complete = !isnan(row->values[c]);
		}
	}
	for (int c = 0; c < C; c++)
		series->rounding[c] = transform_rounding(transforms->kind[c], series->rounding[c], step,
												 series->ts_type);
}

/*
 * Two passes over values divided by their largest magnitude: squares of the largest doubles
 * must not overflow.  The mean is computed from distances to the first value, so that it is
 * exact if all values are equal, and not the rounded sum of a long series.
 */
void
series_moments(const Series *series, double *mean, double *std, int64 *known)
{
	const int	C = series->features;
	double	   *largest = palloc0(sizeof(double) * C);
	double	   *first = palloc(sizeof(double) * C);

	memset(mean, 0, sizeof(double) * C);
	memset(std, 0, sizeof(double) * C);
	memset(known, 0, sizeof(int64) * C);
	for (int pass = 0; pass < 3; pass++)
	{
		for (int64 i = 0; i < series->rows; i++)
		{
			const double *x = series->order[i]->values;

			CHECK_FOR_INTERRUPTS();
			for (int c = 0; c < C; c++)
			{
				double		y;

				if (isnan(x[c]))
					continue;
				y = pass > 0 ? x[c] / largest[c] : 0.0;
				if (pass == 0)
				{
					largest[c] = Max(largest[c], fabs(x[c]));
					if (known[c]++ == 0)
						first[c] = x[c];
				}
				else if (pass == 1)
					mean[c] += y - first[c];
				else
					std[c] += (y - mean[c]) * (y - mean[c]);
			}
		}
		for (int c = 0; c < C; c++)
		{
			if (known[c] == 0)
				continue;
			if (pass == 0)
			{
				if (largest[c] == 0.0)
					largest[c] = 1.0;
				first[c] /= largest[c];
			}
			else if (pass == 1)
				mean[c] = first[c] + mean[c] / known[c];
		}
	}
	for (int c = 0; c < C; c++)
	{
		mean[c] *= largest[c];
		std[c] = known[c] > 0 ? Min(sqrt(std[c] / known[c]) * largest[c], DBL_MAX) : 0.0;
		if (nn_is_constant(mean[c], std[c]))
			std[c] = 0.0;
		/* differences of a constant growth are equal but for the rounding of the values */
		else if (series->rounding)
			std[c] = fmax(std[c], series->rounding[c]);
	}
	pfree(largest);
	pfree(first);
}

/* ---- scaling ------------------------------------------------------------------------------ */

/* The next row of the run with a value of the feature, or the end of the run. */
static int64
next_known(const Series *series, const SeriesRun *run, int64 row, int feature)
{
	for (; row < run->first + run->rows && isnan(series->order[row]->values[feature]); row++)
		poll_row(row);
	return row;
}

/* The observations of a feature around a row. */
typedef struct Neighbours
{
	FillLast	last;			/* its last observation */
	int64		next;			/* row of the next one, when linear_value() has found it */
} Neighbours;

/*
 * A missing value interpolated in time between the observations around it, if they are at
 * most fill_limit missing rows apart; otherwise `carried`.
 */
static double
linear_value(const Series *series, const SeriesRun *run, const Options *options, int64 row,
			 int feature, Neighbours *around, double carried)
{
	const int64 before = around->last.row;

	if (before < 0)
		return NAN;
	/* searched for once per stretch of missing values */
	if (around->next < row)
		around->next = next_known(series, run, row, feature);
	if (around->next < run->first + run->rows && around->next - before - 1 <= options->fill_limit)
	{
		const int64 from = series->order[before]->ts;
		const SeriesRow *right = series->order[around->next];
		double		span = timestamps_distance(from, right->ts);
		double		share = timestamps_distance(from, series->order[row]->ts) / span;

		return around->last.value * (1 - share) + right->values[feature] * share;
	}
	return carried;
}

void
series_scale(const Series *series, const SeriesRun *run, const Options *options,
			 const nn_scaling *scaling, float *scaled, uint8 *imputed, SeriesFacts *facts)
{
	const int	C = series->features;
	Neighbours *around = palloc(sizeof(Neighbours) * C);

	for (int c = 0; c < C; c++)
		around[c] = (Neighbours){.last = FILL_NONE, .next = -1};
	for (int64 row = run->first; row < run->first + run->rows; row++, scaled += C)
	{
		const double *x = series->order[row]->values;
		bool		any = false;

		CHECK_FOR_INTERRUPTS();
		for (int c = 0; c < C; c++)
		{
			double		value = fill_value(&around[c].last, row, options->fill_limit, x[c]);

			if (isnan(x[c]))
			{
				if (options->missing == MISSING_LINEAR)
					value = linear_value(series, run, options, row, c, &around[c], value);
				fill_mark(imputed, c);
				facts->imputed++;
				any = true;
			}
			scaled[c] = fill_scale(scaling, c, value);
		}
		facts->imputed_rows += any;
		if (imputed)
			imputed += IMPUTED_BYTES(C);
	}
	pfree(around);
}
