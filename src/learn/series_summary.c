/*
 * learn/series_summary.c
 *	  What the figures of all series of a model are computed from.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "common/int.h"

#include "learn/series_summary.h"

SeriesSummary *
summary_open(int features, int signals)
{
	SeriesSummary *s = palloc0(sizeof(SeriesSummary));

	s->features = features;
	s->signals = signals;
	for (int i = 0; i < SUMMARY_GIVENS; i++)
		s->given[i] = palloc0(sizeof(int64) * features);
	for (int i = 0; i < SUMMARY_SUMS; i++)
		s->sums[i] = palloc0(sizeof(double) * features);
	s->signal = palloc0(sizeof(double) * Max(signals, 1));
	s->signal_held_out = palloc0(sizeof(double) * Max(signals, 1));
	for (int i = 0; i < SUMMARY_SKETCHES; i++)
	{
		s->sketches[i] = palloc(sizeof(nn_sketch));
		nn_sketch_clear(s->sketches[i]);
	}
	return s;
}

static void
report_overflow(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("the calibrations count too many rows")));
}

static void
add_counts(int n, int64 *to, const int64 *from)
{
	for (int i = 0; i < n; i++)
		if (pg_add_s64_overflow(to[i], from[i], &to[i]))
			report_overflow();
}

static void
add_doubles(int n, double *to, const double *from)
{
	for (int i = 0; i < n; i++)
		to[i] += from[i];
}

void
summary_add(SeriesSummary *to, const SeriesSummary *from)
{
	add_counts(SUMMARY_COUNTS, to->counts, from->counts);
	for (int i = 0; i < SUMMARY_GIVENS; i++)
		add_counts(to->features, to->given[i], from->given[i]);
	for (int i = 0; i < SUMMARY_SUMS; i++)
		add_doubles(to->features, to->sums[i], from->sums[i]);
	add_doubles(to->signals, to->signal, from->signal);
	add_doubles(to->signals, to->signal_held_out, from->signal_held_out);
	to->raw += from->raw;
	to->raw_relation += from->raw_relation;
	to->level = Max(to->level, from->level);
	for (int i = 0; i < SUMMARY_SKETCHES; i++)
		for (int bucket = 0; bucket < NN_SKETCH_BUCKETS; bucket++)
			if (!nn_sketch_add_count(to->sketches[i], bucket, from->sketches[i]->count[bucket]))
				report_overflow();
}
