/*
 * operate/recalibrate_shards.c
 *	  A recalibration of some series whose rows are on the shards of a distributed source.
 *
 * The figures of a series depend on its rows alone.  So amad_recalibrate_on_shard recalibrates the series of a
 * shard, as amad_recalibrate does, and returns their figures, which are put into the model here.  A row of its
 * result is a series; the last one, without a key, has what is counted over all of them.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"

#include "learn/calibrate.h"
#include "learn/calibration_value.h"
#include "model/codec.h"
#include "operate/recalibrate_shards.h"
#include "pg/json.h"
#include "score/shard_call.h"

SQL_FUNCTION(amad_recalibrate_on_shard);

/* Columns of the result, in their order. */
enum
{
	COL_KEY,					/* text, as in the model; NULL: totals */
	COL_ADOPTED,
	COL_LEARNING,				/* as in RecalibratedSeries */
	COL_FIGURES,				/* NULL: they have not changed */
	COL_RESCALED,				/* array of JSON objects */
	COL_TOTALS,
	COLUMNS
};

static const Oid column_types[COLUMNS] = {TEXTOID, BOOLOID, INT8OID, BYTEAOID, JSONBOID, JSONBOID};

struct RecalibratedShards
{
	ShardQuery *query;
	Model	   *model;
	uint32		model_id;
	MemoryContext context;
	Recalibration result;
	int			room;			/* of result.series */
	List	   *added;			/* series that the model did not contain: ModelSeries */
};

/* ---- on a shard ------------------------------------------------------------------------------ */

/* The figures of a series in the form of a calibration, which has no summary here. */
static bytea *
encode_figures(const Model *m, uint32 model_id, const ModelStats *stats)
{
	const SeriesCalibration c = {
		.own = true,
		.stats = *stats,
		.summary = summary_open(m->features, m->plan.signals),
	};

	return calibration_encode(m, model_id, &c);
}

/* The features of a series among those that were rescaled, from the next one on. */
static char *
write_rescaled(const Recalibration *r, const char *key, int *next)
{
	const char *begin = psprintf("{\"series\": %s, ", key);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	for (; *next < list_length(r->rescaled); (*next)++)
	{
		const char *object = list_nth(r->rescaled, *next);

		if (strncmp(object, begin, strlen(begin)) != 0)
			break;
		appendStringInfo(&out, "%s%s", out.len > 1 ? ", " : "", object);
	}
	appendStringInfoChar(&out, ']');
	return out.data;
}

static void
put_shard_series(Rowset *rowset, const Model *m, uint32 model_id, const Recalibration *r, int i,
				 int *rescaled)
{
	const RecalibratedSeries *s = &r->series[i];
	const ModelStats *stats = model_series_stats(m, s->key);
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {false};

	values[COL_KEY] = CStringGetTextDatum(s->key);
	values[COL_ADOPTED] = BoolGetDatum(s->adopted);
	values[COL_LEARNING] = Int64GetDatum(s->learning);
	nulls[COL_FIGURES] = stats == NULL;
	if (stats)
		values[COL_FIGURES] = PointerGetDatum(encode_figures(m, model_id, stats));
	values[COL_RESCALED] = JsonbPGetDatum(json_to_jsonb(write_rescaled(r, s->key, rescaled)));
	nulls[COL_TOTALS] = true;
	rowset_add(rowset, values, nulls);
}

static void
put_totals(Rowset *rowset, const Recalibration *r)
{
	StringInfoData text;
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS];

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_put_int(&text, "rows", r->result.rows);
	json_put_int(&text, "flagged", r->result.flagged);
	json_put_double(&text, "threshold_ratio", r->result.threshold_ratio);
	json_put_int(&text, "series", r->result.series);
	json_put_int(&text, "most", r->result.most);
	json_put_int(&text, "labelled", r->labelled);
	json_put_int(&text, "scored_before", r->scored_before);
	json_put_int(&text, "flagged_before", r->flagged_before);
	appendStringInfoChar(&text, '}');
	memset(nulls, true, sizeof(nulls));
	nulls[COL_TOTALS] = false;
	values[COL_TOTALS] = JsonbPGetDatum(json_to_jsonb(text.data));
	rowset_add(rowset, values, nulls);
}

/* (model_name … options, shard, call, model) → series, and totals */
Datum
amad_recalibrate_on_shard(PG_FUNCTION_ARGS)
{
	DetectSpec	spec = recent_spec(fcinfo);
	ShardCall  *shard = shard_call_read(fcinfo, RECALIBRATE_SHARD_ARGS);
	Rowset		rowset = rowset_open(fcinfo);
	Choices		choices;
	Recalibration r;
	Recent	   *recent;
	Model	   *model;
	uint32		model_id;
	int			rescaled = 0;

	if (spec.series == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("series must not be null")));
	spec.shard = shard;
	choices = recalibrate_choices(PG_ARGISNULL(RECENT_ARGS) ? NULL : PG_GETARG_JSONB_P(RECENT_ARGS),
								  true);
	recent = recalibrate_read(&spec, &choices);
	model = model_decode(shard->model);
	model_id = calibration_model_id(shard->model);
	r = recalibrate_rows(&spec, &choices, true, recent, model);
	for (int i = 0; i < r.nseries && r.series[i].key; i++)
	{
		CHECK_FOR_INTERRUPTS();
		put_shard_series(&rowset, model, model_id, &r, i, &rescaled);
	}
	put_totals(&rowset, &r);
	shard_call_end(shard);
	return (Datum) 0;
}

/* ---- on the caller's node -------------------------------------------------------------------- */

RecalibratedShards *
recalibrate_shards_open(FunctionCallInfo fcinfo, const DetectSpec *spec)
{
	ShardQuery *query = spec->series
		? shard_query_open(fcinfo, RECALIBRATE_SHARD_ARGS, detect_open(spec), false)
		: NULL;
	RecalibratedShards *s;

	if (query == NULL)
		return NULL;
	s = palloc0(sizeof(RecalibratedShards));
	s->query = query;
	s->context = CurrentMemoryContext;
	return s;
}

int
recalibrate_shards_version(const RecalibratedShards *s)
{
	return detect_model(s->query->detection)->version;
}

static int64
read_total(Jsonb *totals, const char *key)
{
	const double x = json_number(json_get(&totals->root, key), 0);

	return x >= 0 && x < 1e18 ? (int64) x : 0;
}

static void
take_totals(Recalibration *r, Jsonb *totals)
{
	if (!JB_ROOT_IS_OBJECT(totals))
		elog(ERROR, "invalid row from a shard");
	r->result.rows += read_total(totals, "rows");
	r->result.flagged += read_total(totals, "flagged");
	r->result.threshold_ratio = Max(r->result.threshold_ratio,
									json_number(json_get(&totals->root, "threshold_ratio"), 0));
	r->result.series += (int) read_total(totals, "series");
	r->result.most = Max(r->result.most, read_total(totals, "most"));
	r->labelled += read_total(totals, "labelled");
	r->scored_before += read_total(totals, "scored_before");
	r->flagged_before += read_total(totals, "flagged_before");
}

static void
take_rescaled(RecalibratedShards *s, Jsonb *rescaled)
{
	for (int i = 0; JB_ROOT_IS_ARRAY(rescaled) && i < JB_ROOT_COUNT(rescaled); i++)
	{
		JsonbValue *object = getIthJsonbValueFromContainer(&rescaled->root, i);

		if (object->type == jbvBinary)
			s->result.rescaled = lappend(s->result.rescaled,
										 JsonbToCString(NULL, object->val.binary.data, -1));
	}
}

/* Takes the figures of a series over. */
static void
take_figures(RecalibratedShards *s, const char *key, const bytea *value)
{
	SeriesCalibration c = calibration_decode(s->model, s->model_id, value, s->context);
	ModelStats *known = (ModelStats *) model_series_stats(s->model, key);
	ModelSeries *added;

	if (known)
	{
		*known = c.stats;
		return;
	}
	added = palloc(sizeof(ModelSeries));
	*added = (ModelSeries){.key = pstrdup(key), .stats = c.stats};
	s->added = lappend(s->added, added);
}

/* Takes a row of a shard. */
static void
take_shard_row(Datum *values, bool *nulls, void *arg)
{
	RecalibratedShards *s = arg;
	Recalibration *r = &s->result;
	MemoryContext old = MemoryContextSwitchTo(s->context);
	RecalibratedSeries *series;

	if (!nulls[COL_TOTALS])
	{
		take_totals(r, DatumGetJsonbP(values[COL_TOTALS]));
		MemoryContextSwitchTo(old);
		return;
	}
	if (nulls[COL_KEY] || nulls[COL_ADOPTED] || nulls[COL_LEARNING] || nulls[COL_RESCALED])
		elog(ERROR, "invalid row from a shard");
	if (r->nseries == s->room)
	{
		s->room = Max(64, 2 * s->room);
		r->series = r->series == NULL
			? palloc(sizeof(RecalibratedSeries) * s->room)
			: repalloc_huge(r->series, sizeof(RecalibratedSeries) * (Size) s->room);
	}
	series = &r->series[r->nseries++];
	series->key = TextDatumGetCString(values[COL_KEY]);
	series->adopted = DatumGetBool(values[COL_ADOPTED]);
	series->learning = DatumGetInt64(values[COL_LEARNING]);
	r->adopted += series->adopted;
	r->learning += series->learning >= 0;
	r->most_learning = Max(r->most_learning, series->learning);
	take_rescaled(s, DatumGetJsonbP(values[COL_RESCALED]));
	if (!nulls[COL_FIGURES])
		take_figures(s, series->key, DatumGetByteaPP(values[COL_FIGURES]));
	MemoryContextSwitchTo(old);
}

static void
add_new_series(RecalibratedShards *s)
{
	ModelSeries *added = palloc_extended(sizeof(ModelSeries) * Max(list_length(s->added), 1),
										 MCXT_ALLOC_HUGE);

	for (int i = 0; i < list_length(s->added); i++)
		added[i] = *(ModelSeries *) list_nth(s->added, i);
	if (s->added != NIL)
		model_add_series(s->model, list_length(s->added), added);
}

/* The order in which one server reads the series: that of their columns. */
static char *
write_order(const Source *source)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, " ORDER BY ");
	for (int i = 0; i < source->spec.nseries; i++)
	{
		appendStringInfo(&out, "%s(key::pg_catalog.jsonb OPERATOR(pg_catalog.->>) %s)::%s",
						 i > 0 ? ", " : "", quote_literal_cstr(source->spec.series_cols[i]),
						 format_type_extended(source->series_types[i], -1,
											  FORMAT_TYPE_TYPEMOD_GIVEN |
												  FORMAT_TYPE_FORCE_QUALIFY));
		if (OidIsValid(source->series_collations[i]))
			appendStringInfo(&out, " COLLATE %s",
							 generate_collation_name(source->series_collations[i]));
	}
	return out.data;
}

Recalibration
recalibrate_shards_run(RecalibratedShards *s, Model *model, struct varlena *value)
{
	s->model = model;
	s->model_id = calibration_model_id(value);
	shard_query_run(s->query, shard_result_columns(COLUMNS, column_types),
					write_order(detect_source(s->query->detection)), take_shard_row, s);
	add_new_series(s);
	recalibration_check_adopted(model, &s->result);
	calibrate_check_scored(model, s->result.result.most);
	s->result.result.kept = Max(model->nseries, 1) - s->result.result.series;
	return s->result;
}
