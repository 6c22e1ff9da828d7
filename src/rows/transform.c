/*
 * rows/transform.c
 *	  Transforms features row by row, in training and in scoring.
 *
 * A transform replaces a value, before missing values are filled and before scaling:
 *
 *		log			its natural logarithm; missing unless the value is positive
 *		difference	the change since the last known value
 *		rate		the same per second, or per unit of an integer time column; missing after a
 *					fall to less than half, which is the reset or wrap-around of a counter
 *		detrend		its distance from the mean of the known values among the mean_rows rows
 *					before it
 *
 * A difference spans at most `limit` rows, and a mean needs all of its rows in the stretch.  So
 * a transformed value depends on a fixed number of rows, regardless of where reading begins.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>
#include <math.h>

#include "catalog/pg_type.h"
#include "datatype/timestamp.h"

#include "pg/timestamps.h"
#include "rows/transform.h"

#define KNOWN_SHARE 8			/* a mean needs known values in 1 / KNOWN_SHARE of its rows */
#define ROUNDING 1024			/* a scale is at least this multiple of a value's resolution */

/* The history of a transformed feature. */
typedef struct History
{
	int			feature;
	double		last;			/* known value */
	int64		last_row;		/* -1: none */
	int64		last_ts;
	double	   *ring;			/* (mean_rows) values of the last rows; NULL: not needed */
} History;

struct Transformer
{
	const Transforms *transforms;
	double		unit;			/* units of ts that a rate refers to */
	int64		row;			/* number of the next row of the stretch */
	int			n;
	History    *history;		/* (n) */
};

static double
rate_unit(Oid ts_type)
{
	return ts_type == INT8OID ? 1.0 : USECS_PER_SEC;
}

Transformer *
transformer_open(const Transforms *transforms, Oid ts_type)
{
	Transformer *t = palloc0(sizeof(Transformer));

	t->transforms = transforms;
	t->unit = rate_unit(ts_type);
	for (int c = 0; c < transforms->features; c++)
		t->n += transforms_feature(transforms, c);
	t->history = palloc0(sizeof(History) * Max(t->n, 1));
	t->n = 0;
	for (int c = 0; c < transforms->features; c++)
	{
		if (!transforms_feature(transforms, c))
			continue;
		if (transforms->kind[c] == TRANSFORM_DETREND)
			t->history[t->n].ring = palloc(sizeof(double) * transforms->mean_rows);
		t->history[t->n++].feature = c;
	}
	transformer_begin(t);
	return t;
}

Size
transformer_bytes(const Transforms *transforms)
{
	Size		bytes = 0;

	for (int c = 0; c < transforms->features; c++)
		if (transforms->kind[c] == TRANSFORM_DETREND)
			bytes += sizeof(History) + sizeof(double) * transforms->mean_rows;
		else if (transforms_feature(transforms, c))
			bytes += sizeof(History);
	return bytes;
}

void
transformer_begin(Transformer *t)
{
	t->row = 0;
	for (int i = 0; i < t->n; i++)
		t->history[i].last_row = -1;
}

/* The mean of the known values of the last rows, from the oldest on; NaN if there are too few. */
static double
recent_mean(const Transformer *t, const History *h)
{
	const int	rows = t->transforms->mean_rows;
	int			known = 0;
	double		first = 0;
	double		sum = 0;

	if (t->row < rows)
		return NAN;
	for (int i = 0, at = t->row % rows; i < rows; i++, at = at + 1 < rows ? at + 1 : 0)
	{
		double		value = h->ring[at];

		if (isnan(value))
			continue;
		/* exact if all values are equal */
		if (known++ == 0)
			first = value;
		sum += value - first;
	}
	return known >= Max(rows / KNOWN_SHARE, 1) ? first + sum / known : NAN;
}

bool
transform_is_reset(double from, double to)
{
	return from > 0 && to < from / 2;
}

static double
transform_value(Transformer *t, History *h, int64 ts, double value, Inverse *inverse)
{
	const int	kind = t->transforms->kind[h->feature];
	double		result = NAN;

	*inverse = (Inverse){.base = NAN, .factor = 1.0};
	if (kind == TRANSFORM_LOG)
	{
		inverse->base = 0.0;
		return value > 0 ? log(value) : NAN;
	}
	if (kind == TRANSFORM_DETREND)
	{
		inverse->base = recent_mean(t, h);
		h->ring[t->row % t->transforms->mean_rows] = value;
		return value - inverse->base;
	}
	if (h->last_row >= 0 && t->row - h->last_row <= t->transforms->limit)
	{
		inverse->base = h->last;
		if (kind == TRANSFORM_RATE)
			inverse->factor = timestamps_distance(h->last_ts, ts) / t->unit;
		if (kind == TRANSFORM_DIFFERENCE || !transform_is_reset(h->last, value))
			result = (value - h->last) / inverse->factor;
	}
	if (!isnan(value))
	{
		h->last = value;
		h->last_row = t->row;
		h->last_ts = ts;
	}
	return result;
}

void
transformer_row(Transformer *t, int64 ts, double *values, Inverse *inverse)
{
	for (int i = 0; i < t->n; i++)
	{
		History    *h = &t->history[i];
		Inverse		unused;
		double		result = transform_value(t, h, ts, values[h->feature],
										inverse ? &inverse[h->feature] : &unused);

		values[h->feature] = isfinite(result) ? result : NAN;
	}
	t->row++;
}

double
transform_invert(int kind, const Inverse *inverse, double value)
{
	switch ((Transform) kind)
	{
		case TRANSFORM_LOG:
			return exp(value);
		case TRANSFORM_DIFFERENCE:
		case TRANSFORM_RATE:
		case TRANSFORM_DETREND:
			return inverse->base + inverse->factor * value;
		case TRANSFORM_NONE:
		case TRANSFORM_AUTO:
			break;
	}
	return value;
}

double
transform_rounding(int kind, double largest, double step, Oid ts_type)
{
	double		rounding = ROUNDING * DBL_EPSILON * largest;

	if (kind != TRANSFORM_DIFFERENCE && kind != TRANSFORM_RATE && kind != TRANSFORM_DETREND)
		return 0.0;
	return kind == TRANSFORM_RATE && step > 0 ? rounding * rate_unit(ts_type) / step : rounding;
}
