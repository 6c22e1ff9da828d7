/*
 * operate/refresh_scores.c
 *	  A batch of a refresh: scores the rows that changes have an effect on.
 *
 * If the rows of a series changed from a to b, scores can change from the row that is `lookahead` rows
 * before a up to the row that is `depth` rows after b, both counted in the source as it is now.  The
 * rows of a narrow source with buckets are its buckets.  The
 * scores of these rows are deleted and written again.  depth and lookahead are the largest of all
 * versions that have scored rows of the target, because those of an earlier version depend on the
 * changed rows, too.
 *
 * Rows that are newer than the horizon are left out, and logged again.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "operate/refresh_rows.h"
#include "operate/series_ends.h"
#include "operate/watch_triggers.h"
#include "pg/json.h"

#define BATCH_RANGES 64			/* scored in one transaction */
#define FLUSH_ROWS 2000			/* inserted by one statement */

/* A changed range of a series. */
typedef struct Pending
{
	Datum		series;			/* text[] */
	Jsonb	   *condition;		/* on the series columns; NULL: the model has none */
	bool	   *nulls;			/* series columns that must be null */
	int64		first;			/* PG_INT64_MIN: no bound */
	int64		last;			/* PG_INT64_MAX: no bound */
} Pending;

/* Ranges that are scored as one. */
typedef struct Planned
{
	int			number;			/* of the first of them */
	int64		first;			/* of the rows to be scored, … */
	int64		end;			/* … and the last one; PG_INT64_MAX: no bound */
	int64		last;			/* change */
} Planned;

typedef struct Batch
{
	Refresh    *refresh;
	Detection  *detection;
	const Source *source;
	const char *target;
	int64		horizon;
	SPIPlanPtr	insert;
	SPIPlanPtr	delete;			/* … where delete_nulls are null */
	const bool *delete_nulls;
	const Pending *all;			/* the ranges of the batch */
	Planned		planned[BATCH_RANGES];
	int			nplanned;
	const Planned *current;		/* NULL: none has begun */
	const Pending *pending;		/* the first range of it */

	/* rows of it that were scored, not inserted yet */
	MemoryContext context;		/* of the batch */
	MemoryContext rows_context;
	int			nrows;
	ArrayBuildState *columns[OUT_COLUMNS];

	/* the last of them */
	bool		has_last;
	int64		last;
	Jsonb	   *key;			/* of their series, as amad_detect() returns it */

	/* the latest time scored */
	bool		has_newest;
	int64		newest;

	/* ranges that were scored, for incidents */
	bool		anomalous;		/* the current one */
	IncidentRange range[BATCH_RANGES];
	int			nranges;

	SeriesEnds *ends;
} Batch;

/* ---- writing ----------------------------------------------------------------------------- */

static Oid
output_type(const Batch *b, int column)
{
	const Oid	types[] = {b->source->ts_type, FLOAT8OID, TEXTOID, JSONBOID, JSONBOID};

	return types[column];
}

/* Appends ($1)[n] with the type of series column n: bpchar, not "character", which is character(1). */
static void
append_series_value(StringInfo out, const Source *s, int n)
{
	appendStringInfo(out, "($1)[%d]::%s", n + 1,
					 format_type_extended(s->series_types[n], -1,
										  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
}

static SPIPlanPtr
prepare_statement(const char *text, int nargs, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare(text, nargs, types);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	return plan;
}

/* Prepares INSERT … SELECT; $1: values of the series columns, $2: version, $3 …: arrays of columns. */
static SPIPlanPtr
prepare_insert(const Batch *b)
{
	static const char *const names[] = {"ts", "severity", "status", "expected", "contributions"};
	const Source *s = b->source;
	StringInfoData text;
	StringInfoData values;
	Oid			types[2 + OUT_COLUMNS] = {TEXTARRAYOID, INT4OID};

	initStringInfo(&text);
	initStringInfo(&values);
	appendStringInfo(&text, "INSERT INTO %s (", b->target);
	for (int i = 0; i < s->spec.nseries; i++)
	{
		appendStringInfo(&text, "%s, ", quote_identifier(s->spec.series_cols[i]));
		append_series_value(&values, s, i);
		appendStringInfoString(&values, ", ");
	}
	for (int i = 0; i < OUT_COLUMNS; i++)
	{
		types[2 + i] = get_array_type(output_type(b, i));
		appendStringInfo(&text, "%s, ",
						 i == OUT_TS ? quote_identifier(s->spec.timestamp_col) : names[i]);
		appendStringInfo(&values, "pg_catalog.unnest($%d)", 3 + i);
		if (i == OUT_TS)
			appendStringInfo(&values, "::%s",
							 format_type_extended(s->ts_column_type, -1,
												  FORMAT_TYPE_FORCE_QUALIFY));
		appendStringInfoString(&values, ", ");
	}
	appendStringInfo(&text, "model_version) SELECT %s$2", values.data);
	return prepare_statement(text.data, lengthof(types), types);
}

SPIPlanPtr
refresh_prepare_series(const Source *s, const bool *nulls, const char *begin, const char *end,
					   Oid parameter)
{
	const char *ts = quote_identifier(s->spec.timestamp_col);
	Oid			types[] = {TEXTARRAYOID, s->ts_type, s->ts_type, parameter};
	StringInfoData text;
	StringInfoData where;

	initStringInfo(&text);
	initStringInfo(&where);
	appendStringInfo(&text, "%s (SELECT ", begin);
	for (int i = 0; i < s->spec.nseries; i++)
	{
		append_series_value(&text, s, i);
		appendStringInfo(&text, " AS amad_k%d, ", i + 1);
	}
	appendStringInfo(&where, "%s OPERATOR(pg_catalog.>=) $2 AND %s OPERATOR(pg_catalog.<=) $3", ts,
					 ts);
	source_append_equalities(&where, s, "amad_k.amad_k", 1, nulls);
	appendStringInfo(&text, "true) AS amad_k WHERE %s%s", where.data, end);
	return prepare_statement(text.data, OidIsValid(parameter) ? 4 : 3, types);
}

static void
start_output(Batch *b)
{
	MemoryContextReset(b->rows_context);
	b->nrows = 0;
	for (int i = 0; i < OUT_COLUMNS; i++)
		b->columns[i] = initArrayResult(output_type(b, i), b->rows_context, false);
}

static void
insert_rows(Batch *b)
{
	Datum		values[2 + OUT_COLUMNS] = {b->pending->series, Int32GetDatum(b->refresh->version)};
	int			rc;

	if (b->nrows == 0)
		return;
	for (int i = 0; i < OUT_COLUMNS; i++)
		values[2 + i] = makeArrayResult(b->columns[i], b->rows_context);
	/* a connection of its own: that of the query whose rows are being scored is in use */
	SPI_connect();
	rc = SPI_execute_plan(b->insert, values, NULL, false, 0);
	if (rc != SPI_OK_INSERT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	SPI_finish();
	b->refresh->sums.rows += b->nrows;
	start_output(b);
}

/* Takes a scored row. */
static void
take_scored_row(const RefreshRow *row, int range, void *arg)
{
	Batch	   *b = arg;
	const ScoredRow end = {.ts = DatumGetInt64(row->values[OUT_TS]), .empty = row->empty};

	if (!b->has_last && row->key)
	{
		MemoryContext old = MemoryContextSwitchTo(b->context);

		b->key = json_to_jsonb(row->key);
		MemoryContextSwitchTo(old);
	}
	for (int i = 0; i < OUT_COLUMNS; i++)
		(void) accumArrayResult(b->columns[i], row->values[i], row->nulls[i], output_type(b, i),
								b->rows_context);
	b->refresh->sums.flagged += row->flagged;
	b->anomalous = b->anomalous ||
		(row->flagged &&
		 DatumGetFloat8(row->values[OUT_SEVERITY]) > b->refresh->watch.min_severity);
	b->refresh->sums.learning += row->learning;
	b->has_last = true;
	b->last = end.ts;
	series_ends_add_row(b->ends, &end, row->stats);
	if (++b->nrows == FLUSH_ROWS)
		insert_rows(b);
}

/* Deletes the scores of a series in a range.  The ends of int64 are infinite times. */
static void
delete_scores(Batch *b, int64 first, int64 last)
{
	const int	nseries = b->source->spec.nseries;
	Datum		values[] = {b->pending->series, Int64GetDatum(first), Int64GetDatum(last)};
	int			rc;

	if (b->delete == NULL ||
		memcmp(b->delete_nulls, b->pending->nulls, sizeof(bool) * nseries) != 0)
	{
		b->delete = refresh_prepare_series(b->source, b->pending->nulls,
										   psprintf("DELETE FROM %s USING", b->target), "",
										   InvalidOid);
		b->delete_nulls = b->pending->nulls;
	}
	rc = SPI_execute_plan(b->delete, values, NULL, false, 0);
	if (rc != SPI_OK_DELETE)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
}

/* ---- ranges ------------------------------------------------------------------------------ */

/* Takes ranges of some series out of amad_pending; their number. */
static int
take_pending(Batch *b, Pending **ranges)
{
	Refresh    *r = b->refresh;
	const Oid	types[] = {UUIDOID, INT4OID};
	const Datum values[] = {UUIDPGetDatum(&r->watch.id), Int32GetDatum(BATCH_RANGES)};
	Watch		watch;
	WatchTables t;
	int			n;

	watch_tables_enter(&t, r->function);
	if (!watch_read(&t, &r->watch.id, &watch))
		watch_report_missing(r->watch.model_name);
	r->watch.has_newest = watch.has_newest;
	r->watch.newest = watch.newest;
	n = (int) watch_tables_execute(&t,
								   "WITH p AS (DELETE FROM {pending} WHERE watch = $1 AND number <="
								   "   (SELECT max(number) FROM (SELECT number FROM {pending} "
								   "WHERE watch = $1 ORDER BY number LIMIT $2) AS s)"
								   "   RETURNING number, series, first_ts, last_ts)"
								   " SELECT series, first_ts, last_ts FROM p ORDER BY number",
								   2, types, values, NULL);
	*ranges = MemoryContextAllocZero(t.context, sizeof(Pending) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		Pending    *p = &(*ranges)[i];
		MemoryContext old = MemoryContextSwitchTo(t.context);
		bool		isnull;
		Datum		value;

		p->series = PointerGetDatum(
			PG_DETOAST_DATUM_COPY(watch_tables_value(i, 1, TEXTARRAYOID, NULL)));
		value = watch_tables_value(i, 2, INT8OID, &isnull);
		p->first = isnull ? PG_INT64_MIN : DatumGetInt64(value);
		value = watch_tables_value(i, 3, INT8OID, &isnull);
		p->last = isnull ? PG_INT64_MAX : DatumGetInt64(value);
		MemoryContextSwitchTo(old);
	}
	watch_tables_leave(&t);
	return n;
}

/* Takes a range to the model's rows, and writes its condition on the series columns. */
static void
prepare_pending(const Batch *b, Pending *p)
{
	const SourceSpec *spec = &b->source->spec;
	StringInfoData json;
	Datum	   *values;
	int			n;

	p->first = source_bucket_start(b->source, p->first);
	if (p->last < PG_INT64_MAX)
		p->last = source_bucket_start(b->source, p->last);
	deconstruct_array(DatumGetArrayTypeP(p->series), TEXTOID, -1, false, TYPALIGN_INT, &values,
					  &p->nulls, &n);
	if (n != spec->nseries)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the series columns of model \"%s\" have changed",
						b->refresh->watch.model_name),
				 errhint("Drop the watch with amad_unwatch() and create it again, with another "
						 "target.")));
	if (n == 0)
		return;
	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int i = 0; i < n; i++)
		json_put_string(&json, spec->series_cols[i],
						p->nulls[i] ? NULL : TextDatumGetCString(values[i]));
	appendStringInfoChar(&json, '}');
	p->condition = json_to_jsonb(json.data);
}

/* Logs a range again, for a later refresh. */
static void
leave_range(const Batch *b, int64 first, int64 last)
{
	WatchTables t;

	watch_tables_enter(&t, b->refresh->function);
	watch_log_range(&t, &b->refresh->watch.id, b->pending->series,
					first > PG_INT64_MIN ? &first : NULL, last < PG_INT64_MAX ? &last : NULL);
	watch_tables_leave(&t);
}

/* The time up to which scores depend on rows up to `last`. */
static int64
find_end(const Batch *b, int64 last)
{
	int64		end;

	return last < PG_INT64_MAX &&
			source_nth_time(b->source, b->pending->condition, true, last,
							Max(b->refresh->watch.depth, 1), &end)
		? end
		: PG_INT64_MAX;
}

/* Notes a range that was scored; those of a series are one. */
static void
note_range(Batch *b, int64 first, int64 last)
{
	IncidentRange *range = b->nranges > 0 ? &b->range[b->nranges - 1] : NULL;

	if (range && datumIsEqual(range->series, b->pending->series, false, -1))
	{
		range->first = Min(range->first, first);
		range->last = Max(range->last, last);
		range->anomalous = range->anomalous || b->anomalous;
		return;
	}
	b->range[b->nranges++] = (IncidentRange){
		.series = b->pending->series,
		.nulls = b->pending->nulls,
		.condition = b->pending->condition,
		.key = b->key ? b->key : b->pending->condition,
		.first = first,
		.last = last,
		.anomalous = b->anomalous,
	};
}

/*
 * Plans to score range i of n, and those of the same series after it that scoring it covers; returns how
 * many.
 */
static int
plan_ranges(Batch *b, int i, int n)
{
	const Pending *ranges = b->all + i;
	const int	lookahead = b->refresh->watch.lookahead;
	Planned    *p = &b->planned[b->nplanned];
	int			covered = 1;

	b->pending = ranges;
	*p = (Planned){.number = i, .first = ranges->first, .last = ranges->last};
	if (p->first > b->horizon)
	{
		leave_range(b, p->first, p->last);
		return 1;
	}
	p->end = find_end(b, p->last);
	while (i + covered < n && ranges[covered].first <= p->end &&
		   ranges[covered].first <= b->horizon &&
		   datumIsEqual(ranges[covered].series, ranges->series, false, -1))
	{
		p->last = Max(p->last, ranges[covered].last);
		covered++;
		p->end = find_end(b, p->last);
	}
	if (lookahead > 0 && p->first > PG_INT64_MIN &&
		!source_nth_time(b->source, b->pending->condition, false, p->first, lookahead, &p->first))
		p->first = PG_INT64_MIN;
	b->nplanned++;
	return covered;
}

/* Ends the range whose rows have been scored. */
static void
finish_range(Batch *b)
{
	const Planned *p = b->current;
	int64		ts;

	if (p == NULL)
		return;
	insert_rows(b);
	b->refresh->sums.series++;
	if (b->has_last)
	{
		b->newest = b->has_newest ? Max(b->newest, b->last) : b->last;
		b->has_newest = true;
	}
	series_ends_finish(b->ends, p->end, p->end >= b->horizon, b->key);
	note_range(b, p->first, p->end);

	/* what was too new */
	if (p->last > b->horizon &&
		source_nth_time(b->source, b->pending->condition, true, b->horizon, 1, &ts) &&
		ts <= p->last)
		leave_range(b, ts, p->last);
	b->current = NULL;
}

/* Begins a planned range, whose rows come next. */
static void
begin_range(int range, void *arg)
{
	Batch	   *b = arg;

	finish_range(b);
	b->current = &b->planned[range];
	b->pending = &b->all[b->current->number];
	start_output(b);
	b->has_last = b->anomalous = false;
	b->key = NULL;
	series_ends_begin(b->ends, b->current->number, b->pending->condition, b->current->first);
}

/* Replaces the scores of the planned ranges. */
static void
score_planned(Batch *b)
{
	ScoreRange	ranges[BATCH_RANGES];

	for (int i = 0; i < b->nplanned; i++)
	{
		const Planned *p = &b->planned[i];
		int64		until = Min(p->end, b->horizon);

		b->pending = &b->all[p->number];
		delete_scores(b, p->first, p->end);
		ranges[i] = (ScoreRange){
			.condition = b->all[p->number].condition,
			.first = p->first,
			.until = until < PG_INT64_MAX ? until + 1 : until,	/* exclusive */
		};
	}
	refresh_score_ranges(b->detection, ranges, b->nplanned, begin_range, take_scored_row, b);
	finish_range(b);
}

bool
refresh_score_batch(Refresh *r)
{
	Batch		b = {.refresh = r, .context = CurrentMemoryContext};
	Pending    *ranges;
	Datum	   *series;
	int			n = take_pending(&b, &ranges);

	if (n == 0)
		return false;
	/* a snapshot that is newer than that of the entries */
	PushActiveSnapshot(GetTransactionSnapshot());
	b.detection = refresh_open_detection(r, true);
	b.source = detect_source(b.detection);
	b.target = watch_open_target(r->watch.target, b.source, false);
	b.horizon = refresh_horizon(r, b.source);
	b.rows_context = AllocSetContextCreate(CurrentMemoryContext, "amad scores",
										   ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i++)
		prepare_pending(&b, &ranges[i]);
	SPI_connect();
	b.insert = prepare_insert(&b);
	series = palloc(sizeof(Datum) * n);
	for (int i = 0; i < n; i++)
		series[i] = ranges[i].series;
	b.ends = series_ends_open(r, detect_model(b.detection), b.source, series, n);
	b.all = ranges;
	for (int i = 0; i < n;)
		i += plan_ranges(&b, i, n);
	score_planned(&b);
	series_ends_store(b.ends);
	incidents_fold(r, b.source, b.target, b.range, b.nranges);
	SPI_finish();
	PopActiveSnapshot();

	if (b.has_newest)
	{
		const Oid	types[] = {UUIDOID, INT8OID};
		const Datum values[] = {UUIDPGetDatum(&r->watch.id), Int64GetDatum(b.newest)};
		WatchTables t;

		watch_tables_enter(&t, r->function);
		(void) watch_tables_execute(&t,
									"UPDATE {watches} SET newest_ts = greatest(newest_ts, $2) "
									"WHERE watch = $1"
									" AND (newest_ts IS NULL OR newest_ts < $2)",
									2, types, values, NULL);
		watch_tables_leave(&t);
	}
	return true;
}
