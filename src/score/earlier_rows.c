/*
 * score/earlier_rows.c
 *	  Rows of a series before those that were read, which the status of a row can depend on.
 *
 * A score depends on fewer rows than the level (core/evidence/level.h), which is needed only for a
 * row above the threshold.  So detect.c reads the rows that scores depend on.  When the
 * scorer needs the level and has too few raw scores, the rows before them are read by a
 * query of their own, at most once for each series, and scored by a second scorer.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "score/earlier_rows.h"

struct EarlierRows
{
	const LoadedModel *loaded;
	const Source *source;
	MemoryContext context;
	Scorer	   *scorer;			/* NULL: not needed so far */
	bool		any;			/* a row was read */
};

EarlierRows *
earlier_rows_open(const LoadedModel *loaded, const Source *source)
{
	EarlierRows *e = palloc0(sizeof(EarlierRows));

	e->loaded = loaded;
	e->source = source;
	e->context = CurrentMemoryContext;
	return e;
}

void *
earlier_rows_origin(const EarlierRows *e, const SourceRow *row)
{
	const Source *s = e->source;
	Size		bytes = 1;
	char	   *origin;
	char	   *at;
	int16		length;
	bool		byval;

	for (int i = 0; i < s->spec.nseries; i++)
	{
		get_typlenbyval(s->series_types[i], &length, &byval);
		bytes += datumEstimateSpace(row->series[i], row->series_nulls[i], byval, length);
	}
	at = origin = MemoryContextAlloc(e->context, bytes);
	for (int i = 0; i < s->spec.nseries; i++)
	{
		get_typlenbyval(s->series_types[i], &length, &byval);
		datumSerialize(row->series[i], row->series_nulls[i], byval, length, &at);
	}
	return origin;
}

static void
drain_scorer(EarlierRows *e)
{
	ScoredRow	row;

	while (scorer_next(e->scorer, &row))
		;
}

static void
score_earlier_row(const SourceRow *row, void *arg)
{
	EarlierRows *e = arg;

	if (!row->ts_valid || row->duplicate)
		return;
	e->any = true;
	scorer_add(e->scorer, row->ts, true, row->values, 0);
	if (scorer_full(e->scorer))
		drain_scorer(e);
}

const nn_level *
earlier_rows_level(const void *origin, const char *series, int64 before, int scores, void *arg)
{
	EarlierRows *e = arg;
	const Source *s = e->source;
	MemoryContext old = MemoryContextSwitchTo(e->context);
	Datum	   *values = palloc(sizeof(Datum) * Max(s->spec.nseries, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(s->spec.nseries, 1));
	char	   *at = unconstify(char *, (const char *) origin);

	for (int i = 0; i < s->spec.nseries; i++)
		values[i] = datumRestore(&at, &nulls[i]);
	if (e->scorer == NULL)
		e->scorer = scorer_open(e->loaded, false);
	MemoryContextSwitchTo(old);
	e->any = false;
	scorer_begin(e->scorer, series, NULL);
	source_scan_before(s, values, nulls, before,
					   scorer_depth(e->loaded->model, true) - NN_LEVEL_TO + scores,
					   score_earlier_row, e);
	scorer_end(e->scorer);
	drain_scorer(e);
	pfree(values);
	pfree(nulls);
	return e->any ? scorer_level(e->scorer) : NULL;
}
