/*
 * score/silence.c
 *	  Series and columns that stop: silences (docs/events.md).
 *
 * A series is silent between two of its rows, and from its last row to the end of the range.
 * A column is silent in consecutive rows of its series in which it is missing.  A silence is
 * reported if it is at least as long as the argument, and much longer than the median step in
 * training and than the usual distances in the range.  The latter are counted in a histogram
 * for the series and for each column, with buckets in steps of a factor of √2.  They are known
 * at the end of the series, so possible silences are kept until then.
 *
 * Memory is bounded: when PENDING silences of a series are kept, they are compared with the
 * distances so far.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "pg/json.h"
#include "pg/timestamps.h"
#include "rows/series_key.h"
#include "score/silence.h"

#define PENDING 4096
#define BUCKETS 128				/* of a histogram: all 64-bit distances */
#define STEPS 2.0				/* least length of a silence, relative to regular distances … */
#define IRREGULAR 4.0			/* … and to irregular ones */
#define RARE 20					/* the longest 1 / RARE of the distances are not usual … */
#define FEW 4					/* … and at least the longest FEW are not */

/* A series (number 0) or a column of it (feature number - 1). */
typedef struct Signal
{
	bool		heard;			/* it has had a row or value in the range */
	int64		first;			/* series: its last row; column: first row without a value */
	int64		last;			/* column: the last of these rows */
	int64		rows;			/* column: number of these rows; 0: it has a value */
	int64		distances;		/* in the histogram */
	uint32		count[BUCKETS];
} Signal;

struct Silence
{
	/* settings */
	const Model *model;
	double		shortest;
	DetectSpan	span;
	const Maintenance *maintenance;
	silence_report report;
	void	   *arg;
	bool	   *begun;			/* (series of the model, at least 1) */
	int			absent;			/* next series for silence_absent_series() */

	/* the current series */
	const ModelStats *stats;	/* NULL: not in the model */
	Signal	   *signal;			/* (1 + features) */
	int			pending;
	SilentEvent event[PENDING];
};

Silence *
silence_open(const Model *model, double shortest, const DetectSpan *span,
			 const Maintenance *maintenance, silence_report report, void *arg)
{
	Silence    *s = palloc0(sizeof(Silence));

	s->model = model;
	s->shortest = shortest;
	s->span = *span;
	s->maintenance = maintenance;
	s->report = report;
	s->arg = arg;
	s->begun = palloc0(sizeof(bool) * Max(model->nseries, 1));
	s->signal = palloc_extended(sizeof(Signal) * (1 + model->features), MCXT_ALLOC_HUGE);
	return s;
}

/* ---- lengths ------------------------------------------------------------------------------ */

static int
length_bucket(double length)
{
	int			exponent;
	double		fraction = frexp(Max(length, 1.0), &exponent);	/* from 0.5 to 1 */

	return Min(2 * (exponent - 1) + (fraction >= M_SQRT1_2), BUCKETS - 1);
}

static void
count_length(Signal *signal, double length)
{
	signal->count[length_bucket(length)]++;
	signal->distances++;
}

/* The last bucket with more than `most` distances in it and in longer ones; 0: none. */
static int
find_bucket(const Signal *signal, int64 most)
{
	int64		longer = 0;
	int			b = BUCKETS;

	while (b > 0 && longer <= most)
		longer += signal->count[--b];
	return b;
}

/* The least length of a silence by the arguments and the model. */
static double
least_length(const Silence *s)
{
	return Max(s->shortest, s->stats ? STEPS * s->stats->step : 0.0);
}

/* The same, also by the usual distances. */
static double
silent_length(const Silence *s, const Signal *signal)
{
	const int	median = find_bucket(signal, signal->distances / 2);
	const int	usual = find_bucket(signal, Max(FEW, signal->distances / RARE));
	const double factor = usual > median + 1 ? IRREGULAR : STEPS;

	return Max(least_length(s), usual == 0 ? 0.0 : factor * pow(2.0, usual / 2.0));
}

/* ---- reporting ---------------------------------------------------------------------------- */

/* Reports the parts of a silence that are outside maintenance and long enough. */
static void
report_parts(const Silence *s, SilentEvent event, double length)
{
	const int64 end = event.end;
	const bool	open = event.open;
	int64		from = event.start;
	int64		begin;
	int64		until;

	for (;;)
	{
		bool		more = event.feature < 0 && s->maintenance &&
			maintenance_next(s->maintenance, from, &begin, &until) && begin < end;

		event.start = from;
		event.end = more ? Max(begin, from) : end;
		event.open = open && !more;
		if (timestamps_distance(event.start, event.end) >= length)
			s->report(&event, s->arg);
		if (!more || until >= end)
			return;
		from = until;
	}
}

static int
compare_events(const void *a, const void *b)
{
	const SilentEvent *x = a;
	const SilentEvent *y = b;

	return x->start != y->start ? (x->start > y->start) - (x->start < y->start)
								: x->feature - y->feature;
}

static void
report_pending(Silence *s)
{
	qsort(s->event, s->pending, sizeof(SilentEvent), compare_events);
	for (int i = 0; i < s->pending; i++)
		report_parts(s, s->event[i], silent_length(s, &s->signal[s->event[i].feature + 1]));
	s->pending = 0;
}

static void
add_silence(Silence *s, const SilentEvent *event)
{
	if (event->end <= event->start ||
		timestamps_distance(event->start, event->end) < least_length(s))
		return;
	if (s->pending == PENDING)
		report_pending(s);
	s->event[s->pending++] = *event;
}

/* ---- a series ----------------------------------------------------------------------------- */

/* The number of a series of the model. */
static int
series_number(const Silence *s, const ModelStats *stats)
{
	if (stats == &s->model->stats)
		return 0;
	return (int) ((const ModelSeries *) ((const char *) stats - offsetof(ModelSeries, stats)) -
				  s->model->series);
}

void
silence_begin_series(Silence *s, const ModelStats *stats)
{
	s->stats = stats;
	if (stats)
		s->begun[series_number(s, stats)] = true;
	memset(s->signal, 0, sizeof(Signal) * (1 + s->model->features));
}

/*
 * Whether a column without a value in the range had one in the training rows of this series.
 * Otherwise the series has the figures of all series for it.
 */
static bool
column_is_known(const Silence *s, int c)
{
	const ModelStats *all = &s->model->stats;

	return s->stats &&
		(s->model->nseries == 0 || s->stats->mean[c] != all->mean[c] ||
		 s->stats->std[c] != all->std[c]);
}

/* Ends the silence of a column, or, at the end of the range, leaves it open. */
static void
end_column_silence(Silence *s, int c, bool open)
{
	Signal	   *signal = &s->signal[c + 1];
	SilentEvent event = {
		.feature = c,
		.start = signal->first,
		.end = signal->last,
		.rows = signal->rows,
		.open = open,
	};

	if (signal->rows == 0)
		return;
	if (!open)
		count_length(signal, timestamps_distance(event.start, event.end));
	if (signal->heard || column_is_known(s, c))
		add_silence(s, &event);
	signal->rows = 0;
}

void
silence_add_row(Silence *s, int64 ts, const uint8 *empty)
{
	const int	C = s->model->features;
	const bool	maintained = s->maintenance && maintenance_covers(s->maintenance, ts);
	bool		any = false;

	for (int c = 0; c < C && !any; c++)
		any = !NN_IMPUTED(empty, c);
	if (!any)
		return;					/* the row is ignored */

	/* the series: since its last row, or since the beginning of the range that was asked for */
	if (s->signal[0].heard)
	{
		count_length(&s->signal[0], timestamps_distance(s->signal[0].first, ts));
		add_silence(s, &(SilentEvent){.feature = -1, .start = s->signal[0].first, .end = ts});
	}
	else if (s->stats && s->span.since)
		add_silence(s, &(SilentEvent){.feature = -1, .start = s->span.begin, .end = ts});
	s->signal[0].heard = true;
	s->signal[0].first = ts;

	/* its columns; a row in maintenance ends a silence, and does not begin one */
	for (int c = 0; c < C; c++)
	{
		Signal	   *signal = &s->signal[c + 1];
		const bool	silent = NN_IMPUTED(empty, c);

		if (!silent && signal->rows == 0)
			count_length(signal, 0.0);
		if (!silent || maintained)
			end_column_silence(s, c, false);
		else if (signal->rows++ == 0)
			signal->first = ts;
		signal->last = ts;
		signal->heard = signal->heard || !silent;
	}
}

void
silence_end_series(Silence *s)
{
	SilentEvent event = {.feature = -1, .end = s->span.end, .open = true};

	event.start = s->signal[0].heard ? s->signal[0].first : s->span.begin;
	if (s->span.has_end && (s->signal[0].heard || (s->stats && s->span.has_begin)))
		add_silence(s, &event);
	for (int c = 0; c < s->model->features; c++)
		end_column_silence(s, c, true);
	report_pending(s);
}

/* ---- series without rows ------------------------------------------------------------------ */

/* Whether a value of a series is the one of a filter, or one of an array of them. */
static bool
value_matches(const JsonbValue *value, const JsonbValue *asked)
{
	const char *has = series_value_text(value);
	const char *wants;

	if (asked->type == jbvBinary && JsonContainerIsArray(asked->val.binary.data))
	{
		for (int i = 0; i < JsonContainerSize(asked->val.binary.data); i++)
			if (value_matches(value, getIthJsonbValueFromContainer(asked->val.binary.data, i)))
				return true;
		return false;
	}
	wants = series_value_text(asked);
	return has && wants ? strcmp(has, wants) == 0 : has == wants;
}

/* Whether a series has the values of an object, or of one of an array of objects. */
static bool
series_matches(JsonbContainer *series, JsonbContainer *filter)
{
	JsonbIterator *it;
	JsonbValue	asked;
	char	   *name;

	if (JsonContainerIsArray(filter))
	{
		for (int i = 0; i < JsonContainerSize(filter); i++)
			if (series_matches(series, getIthJsonbValueFromContainer(filter, i)->val.binary.data))
				return true;
		return false;
	}
	it = JsonbIteratorInit(filter);
	while ((name = json_next_member(&it, &asked)) != NULL)
		if (!value_matches(json_get(series, name), &asked))
			return false;
	return true;
}

const char *
silence_absent_series(Silence *s, Jsonb *filter)
{
	for (; s->absent < s->model->nseries; s->absent++)
	{
		const char *key = s->model->series[s->absent].key;

		if (!s->begun[s->absent] &&
			(filter == NULL || series_matches(&json_to_jsonb(key)->root, &filter->root)))
			return key;
	}
	return s->model->nseries == 0 && !s->begun[0] ? "" : NULL;
}
