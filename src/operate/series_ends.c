/*
 * operate/series_ends.c
 *	  The table amad_series during a refresh: where each series and each of its features ends.
 *
 * Of each series the table has the times of its newest scored row and of its newest row with any value, and
 * for features that have none in the newest row the time of their last value, so that nothing is stored
 * for a series without missing values.  A range that is scored again moves these times by its rows alone,
 * unless the last value of a feature was in the range and is gone: then the rows of the source before
 * the range are read, back to a value of it.
 *
 * Features are identified by name.  If the names of all features are not those for which the row was
 * written, features that it does not mention are taken as such without a value so far.
 *
 * Some features have a value in some rows only.  The usual distance of their values is a maximum that
 * decays with each value.
 *
 * Integer times have no silences: only the newest row counts.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "core/evidence/scaling.h"
#include "operate/series_ends.h"
#include "pg/json.h"
#include "pg/timestamps.h"

#define NEVER PG_INT64_MIN		/* no value: before all times that are not integers */
#define DECAY 0.9				/* of a usual distance, with each value */
#define SPARSE 4				/* steps: longer usual distances are stored */
#define DISTANCES 64			/* of rows, of which the median is the step of a new series */
#define MANY_DISTANCES 16		/* with fewer, rows before them are read, too */
#define FEW_DISTANCES 7
#define BACK_ROWS 64			/* read first to find a value */

/* A series.  Before its end was scored for the first time, the table does not have it. */
typedef struct SeriesEnd
{
	Datum		series;			/* text[] */
	Datum		text;			/* the same, as text */
	bytea	   *id;				/* SHA-256 of that */
	bool		known;			/* newest is */
	bool		gone;			/* it has no rows any more */
	bool		changed;
	int64		newest;
	bool		learning;
	int64		step;			/* median distance of rows; 0: not known */
	Jsonb	   *key;
	int64	   *last;			/* (features) times of their last values, or NEVER */
	double	   *usual;			/* (features) usual distances of their values; 0: none */
} SeriesEnd;

struct SeriesEnds
{
	Refresh    *refresh;
	const LoadedModel *loaded;
	const Source *source;
	MemoryContext context;
	int			features;		/* 0 with integer times */
	int64		names;			/* hash of their names */
	int			nseries;
	SeriesEnd  *end;			/* (nseries) */
	int		   *number;			/* of the series of each range */

	/* the range */
	SeriesEnd  *current;
	Jsonb	   *condition;
	int64		first;
	bool		has_row;
	int64		newest; /* time of the last row so far, or of that before the range, or NEVER */
	bool		learning;		/* of the last row */
	const ModelStats *stats;	/* likewise */
	int64		full_rows; /* before it and with it, one after the other, without missing values */
	int64	   *seen;			/* (features) their last values, as of the row before full_rows */
	double		distance[DISTANCES];
	int64		ndistances;
};

/* The columns that are written, after the watch and the names of the features. */
enum
{
	END_ID,
	END_SERIES,					/* as text */
	END_EXISTS,					/* whether the series has a score at all */
	END_NEWEST,
	END_NEWEST_TS,
	END_HEARD,
	END_HEARD_TS,
	END_LEARNING,
	END_STEP,
	END_KEY,
	END_FEATURES,
	END_COLUMNS
};

static const Oid end_types[END_COLUMNS] = {BYTEAOID, TEXTOID,		 BOOLOID, TIMESTAMPTZOID,
										   INT8OID,	 TIMESTAMPTZOID, INT8OID, BOOLOID,
										   INT8OID,	 JSONBOID,		 JSONBOID};

/* ---- reading ------------------------------------------------------------------------------ */

/* A stored number, if it is one and a time or distance. */
static bool
read_number(const JsonbValue *value, int64 *number)
{
	char	   *end;

	if (value == NULL || value->type != jbvNumeric)
		return false;
	errno = 0;
	*number = strtoll(DatumGetCString(
						  DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric))),
					  &end, 10);
	return errno == 0 && *end == '\0';
}

/* Reads the column features; same_names: it was written for the features of the model. */
static void
read_features(const SeriesEnds *e, SeriesEnd *end, Jsonb *stored, bool same_names)
{
	for (int c = 0; c < e->features; c++)
	{
		JsonbValue *feature = stored && JB_ROOT_IS_OBJECT(stored)
			? json_get(&stored->root, e->source->spec.features[c])
			: NULL;
		JsonbContainer *object = feature && feature->type == jbvBinary &&
				JsonContainerIsObject(feature->val.binary.data)
			? feature->val.binary.data
			: NULL;
		JsonbValue *last = object ? json_get(object, "last") : NULL;
		int64		number;

		end->usual[c] = object && read_number(json_get(object, "usual"), &number) ? (double) number
																				  : 0;
		if (object ? last == NULL : same_names)
			end->last[c] = end->newest;
		else if (read_number(last, &number))
			end->last[c] = Min(number, end->newest);
	}
}

/* The key of the table. */
static bytea *
series_id(Datum name)
{
	text	   *value = DatumGetTextPP(name);
	const int	len = (int) VARSIZE_ANY_EXHDR(value);
	const char *utf8 = pg_server_to_any(VARDATA_ANY(value), len, PG_UTF8);
	text	   *bytes = cstring_to_text_with_len(utf8,
										   utf8 == VARDATA_ANY(value) ? len : (int) strlen(utf8));

	return DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(bytes)));
}

/* The series that has a key; NULL: none. */
static SeriesEnd *
find_series(const SeriesEnds *e, Datum id)
{
	const bytea *key = DatumGetByteaPP(id);

	for (int i = 0; i < e->nseries; i++)
		if (VARSIZE_ANY_EXHDR(key) == VARSIZE_ANY_EXHDR(e->end[i].id) &&
			memcmp(VARDATA_ANY(key), VARDATA_ANY(e->end[i].id), VARSIZE_ANY_EXHDR(key)) == 0)
			return &e->end[i];
	return NULL;
}

/* Reads what is stored of all series. */
static void
read_ends(SeriesEnds *e)
{
	const Oid	types[] = {UUIDOID, BYTEAARRAYOID};
	ArrayBuildState *ids = initArrayResult(BYTEAOID, CurrentMemoryContext, false);
	Datum		values[] = {UUIDPGetDatum(&e->refresh->watch.id), 0};
	WatchTables t;
	int			n;

	for (int i = 0; i < e->nseries; i++)
		(void) accumArrayResult(ids, PointerGetDatum(e->end[i].id), false, BYTEAOID,
								CurrentMemoryContext);
	values[1] = makeArrayResult(ids, CurrentMemoryContext);
	watch_tables_enter(&t, e->refresh->function);
	n = (int) watch_tables_execute(&t,
								   "SELECT id, newest_ts, learning, key, step, features, names"
								   " FROM {series} WHERE watch = $1 AND id = ANY ($2)",
								   lengthof(types), types, values, NULL);
	for (int i = 0; i < n; i++)
	{
		SeriesEnd  *end = find_series(e, watch_tables_value(i, 1, BYTEAOID, NULL));
		MemoryContext old;
		Datum		value;
		bool		isnull;
		Jsonb	   *features;

		if (end == NULL)
			continue;
		old = MemoryContextSwitchTo(e->context);
		end->known = true;
		end->newest = DatumGetInt64(watch_tables_value(i, 2, INT8OID, NULL));
		end->learning = DatumGetBool(watch_tables_value(i, 3, BOOLOID, NULL));
		value = watch_tables_value(i, 4, JSONBOID, &isnull);
		end->key = isnull ? NULL : DatumGetJsonbPCopy(value);
		value = watch_tables_value(i, 5, INT8OID, &isnull);
		end->step = isnull ? 0 : DatumGetInt64(value);
		value = watch_tables_value(i, 6, JSONBOID, &isnull);
		features = isnull ? NULL : DatumGetJsonbP(value);
		value = watch_tables_value(i, 7, INT8OID, &isnull);
		read_features(e, end, features, !isnull && DatumGetInt64(value) == e->names);
		MemoryContextSwitchTo(old);
	}
	watch_tables_leave(&t);
}

SeriesEnds *
series_ends_open(Refresh *r, const LoadedModel *loaded, const Source *source, const Datum *series,
				 int n)
{
	SeriesEnds *e = palloc0(sizeof(SeriesEnds));

	e->refresh = r;
	e->loaded = loaded;
	e->source = source;
	e->context = CurrentMemoryContext;
	e->features = source->ts_type == INT8OID ? 0 : source->spec.nfeatures;
	for (int c = 0; c < e->features; c++)
	{
		const char *name = source->spec.features[c];

		e->names = (int64) hash_bytes_extended((const unsigned char *) name, (int) strlen(name) + 1,
											   (uint64) e->names);
	}
	e->seen = palloc(sizeof(int64) * (e->features + 1));
	e->end = palloc0(sizeof(SeriesEnd) * n);
	e->number = palloc(sizeof(int) * n);
	for (int i = 0; i < n; i++)
	{
		SeriesEnd  *end = &e->end[e->nseries];

		if (i == 0 || !datumIsEqual(series[i], series[i - 1], false, -1))
		{
			end->series = series[i];
			end->text = CStringGetTextDatum(OidOutputFunctionCall(F_ARRAY_OUT, series[i]));
			end->id = series_id(end->text);
			end->last = palloc_extended(sizeof(int64) * (e->features + 1), MCXT_ALLOC_HUGE);
			end->usual = palloc_extended(sizeof(double) * (e->features + 1),
										 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
			for (int c = 0; c < e->features; c++)
				end->last[c] = NEVER;
			e->nseries++;
		}
		e->number[i] = e->nseries - 1;
	}
	read_ends(e);
	return e;
}

/* ---- the rows of a range ------------------------------------------------------------------ */

void
series_ends_begin(SeriesEnds *e, int i, Jsonb *condition, int64 first)
{
	e->current = &e->end[e->number[i]];
	e->condition = condition;
	e->first = first;
	e->has_row = e->learning = false;
	e->full_rows = 0;
	e->ndistances = 0;
	e->newest = e->current->known && e->current->newest < first ? e->current->newest : NEVER;
	for (int c = 0; c < e->features; c++)
		e->seen[c] = e->current->last[c] < first ? e->current->last[c] : NEVER;
}

/* Notes that all features have had a value in the last full_rows rows. */
static void
end_full_rows(SeriesEnds *e)
{
	/* the first of them has been taken feature by feature */
	const double decay = pow(DECAY, (double) (e->full_rows - 1));

	if (e->full_rows <= 1)
	{
		e->full_rows = 0;
		return;
	}
	for (int c = 0; c < e->features; c++)
	{
		e->seen[c] = e->newest;
		e->current->usual[c] *= decay;
	}
	e->full_rows = 0;
}

void
series_ends_add_row(SeriesEnds *e, const ScoredRow *row, const ModelStats *stats)
{
	const Model *m = e->loaded->model;
	const bool	full = !nn_any_imputed(row->empty, e->features);

	e->learning = m->nseries > 0 && stats == &m->stats;
	e->stats = stats;
	if (e->learning && e->has_row)
		e->distance[e->ndistances++ % DISTANCES] = timestamps_distance(e->newest, row->ts);
	/* not the first row, because features may have missed the rows before */
	if (e->has_row && full && e->full_rows > 0)
		e->full_rows++;
	else
	{
		end_full_rows(e);
		for (int c = 0; c < e->features; c++)
		{
			double	   *usual = &e->current->usual[c];

			if (NN_IMPUTED(row->empty, c))
				continue;
			*usual *= DECAY;
			/* rows without a value were in between */
			if (e->seen[c] != NEVER && e->seen[c] < e->newest)
				*usual = Max(*usual, timestamps_distance(e->seen[c], row->ts));
			e->seen[c] = row->ts;
		}
		e->full_rows = full ? 1 : 0;
	}
	e->newest = row->ts;
	e->has_row = true;
}

/* ---- rows before the range ---------------------------------------------------------------- */

/* Looks for the last values of some features. */
typedef struct Search
{
	SeriesEnds *ends;
	bool	   *wanted;			/* (features) */
	int			nwanted;
	double		distance[DISTANCES];	/* of the rows, instead */
	int64		ndistances;
	bool		has_row;
	int64		newest;
} Search;

static void
take_earlier_value(const SourceRow *row, void *arg)
{
	Search	   *s = arg;
	int64	   *last = s->ends->current->last;

	if (!row->ts_valid || row->duplicate)
		return;
	for (int c = 0; c < s->ends->features; c++)
		if (s->wanted[c] && !isnan(row->values[c]))
			last[c] = Max(last[c], row->ts);
}

/* Finds the last values before the range of features that are wanted. */
static void
find_values(Search *s)
{
	SeriesEnds *e = s->ends;
	SourceRange range = {
		.has_until = true,
		.until = e->first,
		.series = e->condition,
		.form = SOURCE_SINGLE,
	};
	int64		rows = BACK_ROWS;

	while (s->nwanted > 0)
	{
		CHECK_FOR_INTERRUPTS();
		range.has_since = source_nth_time(e->source, e->condition, false, range.until, rows,
										  &range.since);
		source_scan(e->source, &range, false, take_earlier_value, s);
		s->nwanted = 0;
		for (int c = 0; c < e->features; c++)
		{
			s->wanted[c] = s->wanted[c] && e->current->last[c] == NEVER;
			s->nwanted += s->wanted[c];
		}
		if (!range.has_since)
			return;
		range.until = range.since;
		rows = Min(rows * 4, 65536);
	}
}

static void
take_earlier_time(const SourceRow *row, void *arg)
{
	Search	   *s = arg;

	if (!row->ts_valid || row->duplicate)
		return;
	if (s->has_row)
		s->distance[s->ndistances++ % DISTANCES] = timestamps_distance(s->newest, row->ts);
	s->newest = row->ts;
	s->has_row = true;
}

static int
compare_distances(const void *a, const void *b)
{
	const double x = *(const double *) a;
	const double y = *(const double *) b;

	return (x > y) - (x < y);
}

static int64
median_distance(double *distance, int64 n)
{
	const int	kept = (int) Min(n, DISTANCES);

	qsort(distance, kept, sizeof(double), compare_distances);
	return (int64) Min(Max(distance[kept / 2], 1.0), 1e17);
}

/* The step of a series that the model does not contain. */
static int64
learn_step(SeriesEnds *e)
{
	Search		s = {.ends = e};
	SourceRange range = {
		.has_since = true,
		.has_until = true,
		.until = e->current->newest + 1,
		.series = e->condition,
		.form = SOURCE_SINGLE,
	};

	if (e->ndistances >= MANY_DISTANCES)
		return median_distance(e->distance, e->ndistances);
	if (e->current->step > 0)
		return e->current->step;
	if (!source_nth_time(e->source, e->condition, false, e->current->newest, FEW_DISTANCES,
						 &range.since))
		return 0;
	if (!source_nth_time(e->source, e->condition, false, e->current->newest, MANY_DISTANCES,
						 &range.since))
		range.has_since = false;
	source_scan(e->source, &range, false, take_earlier_time, &s);
	return s.ndistances >= FEW_DISTANCES ? median_distance(s.distance, s.ndistances) : 0;
}

/* ---- the end of a range ------------------------------------------------------------------- */

/* Moves the last values of features by what was seen in the range. */
static void
move_last_values(SeriesEnds *e, int64 last)
{
	SeriesEnd  *end = e->current;
	Search		search = {.ends = e};

	end_full_rows(e);
	for (int c = 0; c < e->features; c++)
	{
		const bool	seen = e->seen[c] != NEVER && e->seen[c] >= e->first;
		const bool	covered = end->last[c] != NEVER && end->last[c] >= e->first &&
			end->last[c] <= last;

		if (seen && (covered || end->last[c] < e->seen[c]))
		{
			end->changed = end->changed || end->last[c] != e->seen[c];
			end->last[c] = e->seen[c];
		}
		else if (covered)
		{
			if (search.wanted == NULL)
				search.wanted = palloc0(sizeof(bool) * e->features);
			search.wanted[c] = true;
			search.nwanted++;
			end->last[c] = NEVER;
			end->changed = true;
		}
	}
	if (search.nwanted > 0 && e->first > PG_INT64_MIN)
		find_values(&search);
}

void
series_ends_finish(SeriesEnds *e, int64 last, bool to_end, Jsonb *key)
{
	SeriesEnd  *end = e->current;

	move_last_values(e, last);
	if (key)
		end->key = key;
	if (!to_end)
		return;
	end->changed = true;
	if (e->has_row)
	{
		end->newest = e->newest;
		end->learning = e->learning;
	}
	end->known = e->has_row ||
		(e->first > PG_INT64_MIN &&
		 source_nth_time(e->source, e->condition, false, e->first, 1, &end->newest));
	end->gone = !end->known;
	if (!e->has_row || e->features == 0)
		return;
	if (e->learning)
		end->step = learn_step(e);
	else if (e->stats->step >= 1)
		end->step = (int64) Min(e->stats->step, 1e17);
}

/* ---- writing ------------------------------------------------------------------------------ */

static void
add_value(ArrayBuildState **arrays, int column, Datum value, bool isnull)
{
	(void) accumArrayResult(arrays[column], value, isnull, end_types[column], CurrentMemoryContext);
}

/* The column features, and the time of the newest row with a value. */
static Jsonb *
write_features(const SeriesEnds *e, const SeriesEnd *end, int64 *heard)
{
	const double sparse = SPARSE * (double) (end->step > 0 ? end->step : e->refresh->watch.step);
	StringInfoData json;

	*heard = NEVER;
	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int c = 0; c < e->features; c++)
	{
		const bool	absent = end->last[c] < end->newest;
		const bool	is_sparse = end->usual[c] > sparse;
		StringInfoData object;

		*heard = Max(*heard, end->last[c]);
		if (!absent && !is_sparse)
			continue;
		initStringInfo(&object);
		appendStringInfoChar(&object, '{');
		if (absent && end->last[c] == NEVER)
			json_put_json(&object, "last", "null");
		else if (absent)
			json_put_int(&object, "last", end->last[c]);
		if (is_sparse)
			json_put_int(&object, "usual", (int64) Min(end->usual[c], 1e18));
		appendStringInfoChar(&object, '}');
		json_put_json(&json, e->source->spec.features[c], object.data);
		pfree(object.data);
	}
	if (*heard == NEVER)
		*heard = end->newest;
	if (json.len == 1)
		return NULL;
	appendStringInfoChar(&json, '}');
	return json_to_jsonb(json.data);
}

static Datum
readable_end(const SeriesEnds *e, int64 ts)
{
	return detect_convert_bound(e->refresh->function, e->source->ts_type, TIMESTAMPTZOID,
								Int64GetDatum(ts));
}

/* Appends the values of a series to arrays of the columns. */
static void
add_end(const SeriesEnds *e, const SeriesEnd *end, ArrayBuildState **arrays)
{
	const bool	no_time = end->gone || e->source->ts_type == INT8OID;
	int64		heard = 0;
	Jsonb	   *features = end->gone ? NULL : write_features(e, end, &heard);
	Datum		newest = no_time ? (Datum) 0 : readable_end(e, end->newest);

	add_value(arrays, END_ID, PointerGetDatum(end->id), false);
	add_value(arrays, END_SERIES, end->text, false);
	add_value(arrays, END_EXISTS, BoolGetDatum(!end->gone), false);
	add_value(arrays, END_NEWEST, newest, no_time);
	add_value(arrays, END_NEWEST_TS, Int64GetDatum(end->newest), end->gone);
	add_value(arrays, END_HEARD, no_time || heard == end->newest ? newest : readable_end(e, heard),
			  no_time);
	add_value(arrays, END_HEARD_TS, Int64GetDatum(heard), no_time);
	add_value(arrays, END_LEARNING, BoolGetDatum(end->learning), false);
	add_value(arrays, END_STEP, Int64GetDatum(end->step), no_time || end->step == 0);
	add_value(arrays, END_KEY, JsonbPGetDatum(end->key), end->key == NULL);
	add_value(arrays, END_FEATURES, JsonbPGetDatum(features), features == NULL);
}

void
series_ends_store(SeriesEnds *e)
{
	Oid			types[2 + END_COLUMNS] = {UUIDOID, INT8OID};
	Datum values[2 + END_COLUMNS] = {UUIDPGetDatum(&e->refresh->watch.id), Int64GetDatum(e->names)};
	ArrayBuildState *arrays[END_COLUMNS];
	WatchTables t;
	int			n = 0;

	for (int i = 0; i < END_COLUMNS; i++)
		arrays[i] = initArrayResult(end_types[i], CurrentMemoryContext, false);
	for (int i = 0; i < e->nseries; i++)
		if (e->end[i].changed && (e->end[i].known || e->end[i].gone))
		{
			add_end(e, &e->end[i], arrays);
			n++;
		}
	if (n == 0)
		return;
	for (int i = 0; i < END_COLUMNS; i++)
	{
		types[2 + i] = get_array_type(end_types[i]);
		values[2 + i] = makeArrayResult(arrays[i], CurrentMemoryContext);
	}
	watch_tables_enter(&t, e->refresh->function);
	(void)
		watch_tables_execute(&t,
							 "WITH n AS (SELECT id, s::text[] AS series, e, newest, "
							 "newest_ts, heard, heard_ts, learning, step, key, features"
							 "   FROM unnest($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) AS "
							 "u(id, s, e, newest, newest_ts, heard, heard_ts, learning, step, key, "
							 "features)),"
							 " d AS (DELETE FROM {series} WHERE watch = $1 AND id IN (SELECT id "
							 "FROM n WHERE NOT e))"
							 " INSERT INTO {series} AS u (watch, id, series, newest, newest_ts, "
							 "heard, heard_ts, learning, step, key, features, names)"
							 "   SELECT $1, id, series, newest, newest_ts, heard, heard_ts, "
							 "learning, step, key, features, CASE WHEN heard_ts IS NOT NULL THEN "
							 "$2 "
							 "END FROM n WHERE e"
							 "   ON CONFLICT (watch, id) DO UPDATE SET newest = excluded.newest,"
							 "   newest_ts = excluded.newest_ts, heard = excluded.heard, heard_ts "
							 "= excluded.heard_ts,"
							 "   learning = excluded.learning, step = excluded.step, key = "
							 "excluded.key, features = excluded.features, names = "
							 "excluded.names,"
							 "   retired = CASE WHEN excluded.newest_ts <= u.newest_ts THEN "
							 "u.retired END",
							 lengthof(types), types, values, NULL);
	watch_tables_leave(&t);
}
