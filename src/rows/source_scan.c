/*
 * rows/source_scan.c
 *	  Reading a source: its rows, and the order of rows with the same timestamp.
 *
 * SPI runs the query (source_query.c), whose plan is kept (source_plan.c), and sends its rows
 * to a DestReceiver, which converts each row and passes it on at once, so no result is kept in
 * memory.  SQL leaves rows with the same timestamp in any order.  To make the result independent
 * of it, the receiver holds one row back: the first, in the order of the features' values, of
 * those with the current timestamp.  The others are passed on as duplicates when they come, and
 * the row held when a later one arrives.
 *
 * The receiver also checks that series come in their order: a foreign server, or an index from before
 * a change of collations, may have another one.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/clauses.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/typcache.h"

#include "pg/json.h"
#include "pg/timestamps.h"
#include "rows/duplicate_rows.h"
#include "rows/relation.h"
#include "rows/series_key.h"
#include "rows/source.h"
#include "rows/source_private.h"

#define FETCH_ROWS 1000			/* of a cursor at once */

/* The first row so far with the current timestamp; it is passed on when a later one comes. */
typedef struct HeldRow
{
	bool		any;
	SourceRow	row;			/* its values are those below */
	double	   *values;			/* (nfeatures) */
} HeldRow;

/* The DestReceiver that the executor sends the rows of the query to. */
typedef struct Receiver
{
	DestReceiver pub;
	const Source *source;
	SourceForm	form;
	bool		sampled;		/* the last column is the place */
	bool		numbered;		/* the column after the row is number_from_end … */
	int64		limit;			/* … and then the row's place; rows of a series at most */
	source_visit visit;
	void	   *arg;
	bool		visiting;		/* visit is being called */
	MemoryContext context;		/* of the receiver */
	MemoryContext row_context;	/* reset for every row */

	/* the row */
	FeatureType *how;			/* (nfeatures) */
	FeatureType label_how;
	double	   *values;			/* (nfeatures) of the row */
	HeldRow		held;

	/* the series */
	MemoryContext series_context;	/* reset for every series */
	bool		any;			/* at least one row has come */
	FmgrInfo   *compare;		/* (nseries) */
	int16	   *length;			/* (nseries) */
	bool	   *byval;			/* (nseries) */
	Datum	   *series;			/* (nseries) values of the current one */
	bool	   *series_null;
	const char *new_series;		/* its key, until its first row is passed on … */
	bool		cut;			/* … and whether duplicates take the place of other rows */
} Receiver;

/*
 * Compares the series of a row with that of the row before, in the order of the query, with nulls
 * last.  Values that are identical or equal are the same.
 */
static int
compare_series(Receiver *r, const Datum *values, const bool *nulls)
{
	const Source *s = r->source;

	for (int i = 0; i < s->spec.nseries; i++)
	{
		int			order;

		if (nulls[i] || r->series_null[i])
			order = (int) nulls[i] - (int) r->series_null[i];
		else if (datum_image_eq(values[i], r->series[i], r->byval[i], r->length[i]))
			order = 0;
		else
			order = DatumGetInt32(FunctionCall2Coll(&r->compare[i], s->series_collations[i],
													values[i], r->series[i]));
		if (order != 0)
			return order;
	}
	return 0;
}

/*
 * ERROR if a series comes after one that it sorts before.  Its rows could come in several parts,
 * each of which would be taken for a series.
 */
static void
report_wrong_order(Receiver *r, const Datum *values, const bool *nulls)
{
	const Source *s = r->source;
	const char *key = series_key_of_row(s->spec.nseries, s->spec.series_cols, s->series_types,
										values, nulls);
	const char *before = series_key_of_row(s->spec.nseries, s->spec.series_cols, s->series_types,
										   r->series, r->series_null);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rows of %s are not in the order of their series",
					source_label(s->spec.source)),
			 errdetail("The series %s comes after %s.", key, before),
			 errhint("Columns of foreign tables need the collations that they have on the other "
					 "server. Indexes must be built again after a collation has changed.")));
}

/* Begins a series with a row: keeps the values of its series columns, and its key. */
static void
receive_series(Receiver *r, const Datum *values, const bool *nulls)
{
	const SourceSpec *spec = &r->source->spec;
	MemoryContext old;

	MemoryContextReset(r->series_context);
	old = MemoryContextSwitchTo(r->series_context);
	for (int i = 0; i < spec->nseries; i++)
	{
		r->series_null[i] = nulls[i];
		r->series[i] = nulls[i] ? (Datum) 0 : datumCopy(values[i], r->byval[i], r->length[i]);
	}
	r->new_series = spec->nseries == 0
		? ""
		: series_key_of_row(spec->nseries, spec->series_cols, r->source->series_types, r->series,
							r->series_null);
	if (r->source->bad)
		series_windows_select(r->source->bad,
							  spec->nseries == 0 ? NULL : json_to_jsonb(r->new_series));
	MemoryContextSwitchTo(old);
	r->any = true;
}

/* Passes a row on to the caller of source_scan(). */
static void
pass_source_row(Receiver *r, SourceRow *row)
{
	row->new_series = r->new_series;
	row->series = r->series;
	row->series_nulls = r->series_null;
	row->cut = r->cut;
	row->unread = false;
	/* not before: which row counts must not depend on it */
	row->bad = row->bad ||
		(r->source->bad && row->ts_valid && series_windows_cover(r->source->bad, row->ts));
	for (int i = 0; i < r->source->spec.nseries; i++)
		row->unread = row->unread ||
			(r->series_null[i] && (r->form == SOURCE_IN_RANGE || r->form == SOURCE_STEPS));
	r->new_series = NULL;
	r->visiting = true;
	r->visit(row, r->arg);
	r->visiting = false;
}

static void
pass_held_row(Receiver *r)
{
	if (r->held.any)
		pass_source_row(r, &r->held.row);
	r->held.any = false;
}

/* Holds a row, and swaps its buffer of values with the one of the row held before. */
static void
hold_row(Receiver *r, const SourceRow *row)
{
	double	   *values = r->held.values;

	r->held.any = true;
	r->held.row = *row;
	r->held.row.values = r->values;
	r->held.values = r->values;
	r->values = values;
}

/*
 * Receives a row with a finite timestamp.  If it has the timestamp of the row held, one of
 * the two becomes a duplicate, and the row in first place is held.
 */
static void
order_row(Receiver *r, SourceRow *row)
{
	if (!r->held.any || r->held.row.ts != row->ts)
	{
		pass_held_row(r);
		hold_row(r, row);
	}
	else if (duplicate_rows_precedes(r->source->spec.nfeatures, row->values, row->bad,
									 r->held.row.values, r->held.row.bad))
	{
		r->held.row.duplicate = true;
		pass_held_row(r);
		hold_row(r, row);
	}
	else
	{
		row->duplicate = true;
		pass_source_row(r, row);
	}
}

/* Converts a row that the executor sends. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver   *r = (Receiver *) self;
	const SourceSpec *spec = &r->source->spec;
	MemoryContext old;
	SourceRow	row = {.values = r->values};
	int			at = 1;
	int			order = 1;

	MemoryContextReset(r->row_context);
	old = MemoryContextSwitchTo(r->row_context);
	slot_getallattrs(slot);
	row.ts_valid = !slot->tts_isnull[0] &&
		timestamps_value(source_ts_read_type(r->source), slot->tts_values[0], &row.ts);
	if (r->any)
		order = compare_series(r, slot->tts_values + at, slot->tts_isnull + at);
	if (order < 0)
		report_wrong_order(r, slot->tts_values + at, slot->tts_isnull + at);
	if (order > 0)
	{
		pass_held_row(r);
		receive_series(r, slot->tts_values + at, slot->tts_isnull + at);
	}
	at += spec->nseries;
	for (int i = 0; i < spec->nfeatures; i++, at++)
		r->values[i] = features_value(r->how[i], slot->tts_values[at], slot->tts_isnull[at]);
	if (spec->label_col)
	{
		/* a NaN label does not mark the row as good */
		row.bad = !slot->tts_isnull[at] &&
			!(features_value(r->label_how, slot->tts_values[at], false) == 0);
		at++;
	}
	if (r->numbered)
		row.number_from_end = DatumGetInt64(slot->tts_values[at++]);
	if (r->sampled)
		row.place = DatumGetInt64(slot->tts_values[at]);
	if (order > 0)
		r->cut = r->numbered && r->form != SOURCE_ONCE && row.number_from_end < r->limit &&
			DatumGetInt64(slot->tts_values[at]) == r->limit;
	if (row.ts_valid)
		order_row(r, &row);
	else
	{
		pass_held_row(r);
		pass_source_row(r, &row);
	}
	MemoryContextSwitchTo(old);
	return true;
}

/* Checks the types of the rows, and looks up what comparing series needs. */
static void
start_rows(DestReceiver *self, int operation, TupleDesc desc)
{
	Receiver   *r = (Receiver *) self;
	const Source *s = r->source;
	TypeCacheEntry *cache;
	const char *what = source_label(s->spec.source);
	int			at = 0;

	relation_check_column(what, desc, at++, source_ts_read_type(s), InvalidOid);
	for (int i = 0; i < s->spec.nseries; i++, at++)
	{
		relation_check_column(what, desc, at, s->series_types[i], s->series_collations[i]);
		r->length[i] = TupleDescAttr(desc, at)->attlen;
		r->byval[i] = TupleDescAttr(desc, at)->attbyval;
		cache = lookup_type_cache(s->series_types[i], TYPECACHE_CMP_PROC_FINFO);
		fmgr_info_cxt(cache->cmp_proc_finfo.fn_oid, &r->compare[i], r->context);
	}
	for (int i = 0; i < s->spec.nfeatures; i++)
		relation_check_column(what, desc, at++, s->feature_types[i], InvalidOid);
	if (s->spec.label_col)
		relation_check_column(what, desc, at++, s->label_type, InvalidOid);
	if (r->numbered)
		relation_check_column(what, desc, at++, INT8OID, InvalidOid);
	if (r->sampled || (r->numbered && r->form != SOURCE_ONCE))
		relation_check_column(what, desc, at, INT8OID, InvalidOid);
}

static void
end_rows(DestReceiver *self)
{
}

static void
open_receiver(Receiver *r, const Source *s)
{
	const SourceSpec *spec = &s->spec;
	const int	nseries = Max(spec->nseries, 1);

	r->pub.receiveSlot = receive_row;
	r->pub.rStartup = start_rows;
	r->pub.rShutdown = end_rows;
	r->pub.rDestroy = end_rows;
	r->pub.mydest = DestTuplestore; /* SPI has none for other receivers */
	r->source = s;
	r->context = CurrentMemoryContext;
	r->row_context = AllocSetContextCreate(CurrentMemoryContext, "amad row",
										   ALLOCSET_DEFAULT_SIZES);
	r->series_context = AllocSetContextCreate(CurrentMemoryContext, "amad series key",
											  ALLOCSET_SMALL_SIZES);
	r->how = palloc(sizeof(FeatureType) * spec->nfeatures);
	for (int i = 0; i < spec->nfeatures; i++)
		features_type(s->feature_types[i], &r->how[i]);
	if (spec->label_col)
		features_type(s->label_type, &r->label_how);
	r->compare = palloc0(sizeof(FmgrInfo) * nseries);
	r->length = palloc(sizeof(int16) * nseries);
	r->byval = palloc(sizeof(bool) * nseries);
	r->series = palloc0(sizeof(Datum) * nseries);
	r->series_null = palloc0(sizeof(bool) * nseries);
	r->values = palloc(sizeof(double) * spec->nfeatures);
	r->held.values = palloc(sizeof(double) * spec->nfeatures);
}

/*
 * Makes the planner count rows, not pages, until source_leave().  If rows are stored in order of
 * time, an index on the time alone looks cheaper than one on series and time, but each series
 * would be looked for among the rows of all.
 */
static void
plan_by_rows(void)
{
	static const char *const costs[] = {"random_page_cost", "seq_page_cost"};

	for (int i = 0; i < lengthof(costs); i++)
		(void) set_config_option(costs[i], "0", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
								 0, false);
}

ParamListInfo
source_parameters(const Source *s, const SourceRange *range)
{
	const int	nseries = s->spec.nseries;
	Datum	   *values = palloc0(sizeof(Datum) * Max(nseries, 1));
	bool	   *nulls = palloc0(sizeof(bool) * Max(nseries, 1));
	ParamListInfo params = makeParamList(PARAM_SERIES - 1 + nseries);
	ParamExternData *param = params->params;

	param[PARAM_SINCE - 1] = (ParamExternData){
		.value = Int64GetDatum(source_first_time(s, range->since)),
		.ptype = s->ts_type,
	};
	param[PARAM_UNTIL - 1] = (ParamExternData){
		.value = Int64GetDatum(source_first_time(s, range->until)),
		.ptype = s->ts_type,
	};
	if (!source_single_series(s, range, values, nulls))
		memset(nulls, true, sizeof(bool) * nseries);
	for (int i = 0; i < nseries; i++)
		param[PARAM_SERIES - 1 + i] = (ParamExternData){
			.value = nulls[i] ? (Datum) 0 : values[i],
			.isnull = nulls[i],
			.ptype = s->series_types[i],
		};
	for (int i = 0; i < params->numParams; i++)
		param[i].pflags = PARAM_FLAG_CONST;
	return params;
}

/*
 * Without the values of its parameters, a plan for one series or for the newest rows is as good.
 * Otherwise they determine how many rows are in the range.
 */
static int
range_plan_options(const Source *s, const SourceRange *range)
{
	return (s->serial ? 0 : CURSOR_OPT_PARALLEL_OK) |
		(range->form == SOURCE_SINGLE || (range->last_n > 0 && range->form != SOURCE_ONCE)
			 ? source_generic_plan()
			 : CURSOR_OPT_CUSTOM_PLAN);
}

void
source_scan(const Source *s, const SourceRange *range, bool read_only, source_visit visit,
			void *arg)
{
	const char *query = source_parameter_query(s, range);
	SPIExecuteOptions options = {.read_only = read_only};
	Receiver	r = {
		.form = range->form,
		.numbered = range->last_n > 0,
		.sampled = range->sample != NULL,
		.limit = range->last_n + range->before + 1,
		.visit = visit,
		.arg = arg,
	};
	MemoryContext context = CurrentMemoryContext;
	SourceScope scope = source_enter(&s->spec);
	volatile int rc = 0;

	ereport(DEBUG1, (errmsg_internal("amad reads its source by: %s", query)));
	if (range->form != SOURCE_ONCE)
		plan_by_rows();
	SPI_connect();
	open_receiver(&r, s);
	options.params = source_parameters(s, range);
	options.dest = &r.pub;
	PG_TRY();
	{
		rc = SPI_execute_plan_extended(source_plan(s, query, range_plan_options(s, range)),
									   &options);
	}
	PG_CATCH();
	{
		if (r.visiting)
			PG_RE_THROW();
		source_rethrow(&s->spec, context);
	}
	PG_END_TRY();
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	pass_held_row(&r);
	SPI_finish();
	source_leave(&scope);
}

/* What pass_newest_row() needs. */
typedef struct NewestRows
{
	int64		timestamps;
	bool		cut;
	source_visit visit;
	void	   *arg;
} NewestRows;

static void
pass_newest_row(const SourceRow *row, void *arg)
{
	NewestRows *newest = arg;

	if (row->new_series)
		newest->cut = row->cut;
	if (!newest->cut && row->number_from_end <= newest->timestamps)
		newest->visit(row, newest->arg);
}

void
source_scan_before(const Source *s, const Datum *values, const bool *nulls, int64 until,
				   int64 timestamps, source_visit visit, void *arg)
{
	NewestRows	newest = {.timestamps = timestamps, .visit = visit, .arg = arg};
	SourceRange range = {
		.has_until = true,
		.until = until,
		.last_n = timestamps,
		.series_values = values,
		.series_nulls = nulls,
		.form = SOURCE_SINGLE,
	};

	source_scan(s, &range, true, pass_newest_row, &newest);
	if (!newest.cut)
		return;
	range.form = SOURCE_ONCE;
	source_scan(s, &range, true, visit, arg);
}

/* Runs the query of source_scan_outside(). */
static void
read_outside_rows(const Source *s, const char *query, source_outside_visit visit, void *arg)
{
	const int	nseries = s->spec.nseries;
	Datum	   *values = palloc(sizeof(Datum) * (nseries + 1));
	bool	   *nulls = palloc(sizeof(bool) * (nseries + 1));
	SPIPlanPtr	plan = source_prepare(&s->spec, query, 0, NULL, 0);
	Portal		portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	MemoryContext context;
	MemoryContext old;

	context = AllocSetContextCreate(CurrentMemoryContext, "amad outside row",
									ALLOCSET_DEFAULT_SIZES);
	for (SPI_cursor_fetch(portal, true, FETCH_ROWS); SPI_processed > 0;
		 SPI_cursor_fetch(portal, true, FETCH_ROWS))
	{
		TupleDesc	desc = SPI_tuptable->tupdesc;

		relation_check_column(source_label(s->spec.source), desc, 0, source_ts_read_type(s),
							  InvalidOid);
		for (int i = 0; i < nseries; i++)
			relation_check_column(source_label(s->spec.source), desc, i + 1, s->series_types[i],
								  s->series_collations[i]);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			int64		ts;

			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(context);
			old = MemoryContextSwitchTo(context);
			heap_deform_tuple(SPI_tuptable->vals[i], desc, values, nulls);
			if (!nulls[0] && timestamps_value(source_ts_read_type(s), values[0], &ts))
				visit(nseries == 0 ? ""
								   : series_key_of_row(nseries, s->spec.series_cols,
													   s->series_types, values + 1, nulls + 1),
					  source_bucket_start(s, ts), arg);
			MemoryContextSwitchTo(old);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

void
source_scan_outside(const Source *s, const SourceRange *range, bool before,
					source_outside_visit visit, void *arg)
{
	const char *query = source_outside_query(s, range, before);
	SourceScope scope = source_enter(&s->spec);
	MemoryContext caller = CurrentMemoryContext;

	ereport(DEBUG1, (errmsg_internal("amad looks for other rows by: %s", query)));
	SPI_connect();
	PG_TRY();
	{
		read_outside_rows(s, query, visit, arg);
	}
	PG_CATCH();
	{
		source_rethrow(&s->spec, caller);
	}
	PG_END_TRY();
	SPI_finish();
	source_leave(&scope);
}

char *
source_span_query(const Source *s, const char *from, StringInfo where)
{
	const char *ts = quote_identifier(s->spec.timestamp_col);
	const char *type = source_ts_read_name(s);

	if (s->ts_type != INT8OID)
	{
		source_append_bound(where, s, ts, ">", DT_NOBEGIN);
		source_append_bound(where, s, ts, "<", DT_NOEND);
	}
	return psprintf("SELECT pg_catalog.min(%s)::pg_catalog.%s, pg_catalog.max(%s)::pg_catalog.%s"
					" FROM %s%s%s",
					ts, type, ts, type, from, where->len > 0 ? " WHERE " : "", where->data);
}

bool
source_read_span(const Source *s, int64 *first, int64 *last)
{
	const Oid	type = source_ts_read_type(s);

	for (int i = 0; i < 2; i++)
	{
		bool		isnull;
		Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull);

		if (isnull || SPI_gettypeid(SPI_tuptable->tupdesc, i + 1) != type ||
			!timestamps_value(type, value, i == 0 ? first : last))
			return false;
	}
	return true;
}

bool
source_span(const Source *s, const SourceRange *range, int64 *first, int64 *last)
{
	MemoryContext context = CurrentMemoryContext;
	SourceScope scope = source_enter(&s->spec);
	StringInfoData where;
	const char *query;
	bool		any;
	volatile int rc = 0;

	initStringInfo(&where);
	source_append_range(&where, s, range);
	if (s->spec.metric_col)
		source_append_metrics(&where, s);
	query = source_span_query(s, s->from, &where);
	SPI_connect();
	PG_TRY();
	{
		rc = SPI_execute_plan(source_prepare(&s->spec, query, 0, NULL, 0), NULL, NULL, true, 0);
	}
	PG_CATCH();
	{
		source_rethrow(&s->spec, context);
	}
	PG_END_TRY();
	if (rc != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	any = source_read_span(s, first, last);
	SPI_finish();
	source_leave(&scope);
	if (any)
	{
		*first = source_bucket_start(s, *first);
		*last = source_bucket_start(s, *last);
	}
	return any;
}

bool
source_parallel_mode_ok(const Source *s, const SourceRange *range)
{
	SourceScope scope = source_enter(&s->spec);
	SPIPlanPtr	plan;
	bool		ok = true;
	ListCell   *i;
	ListCell   *j;

	SPI_connect();
	plan = SPI_prepare(source_query(s, range), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	foreach(i, SPI_plan_get_plan_sources(plan))
		foreach(j, ((CachedPlanSource *) lfirst(i))->query_list)
			if (max_parallel_hazard(lfirst_node(Query, j)) == PROPARALLEL_UNSAFE)
				ok = false;
	SPI_finish();
	source_leave(&scope);
	return ok;
}
