/*
 * operate/refresh_rows.c
 *	  The rows that a refresh writes: ranges of series, scored here or on the shards of the source.
 *
 * A source of which the shards are on other nodes is asked for all ranges at once.  The function
 * amad_refresh_on_shard scores those of its shard's series, and returns the rows.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "core/evidence/scaling.h"
#include "operate/refresh_rows.h"
#include "pg/json.h"
#include "score/explanation.h"

SQL_FUNCTION(amad_refresh_on_shard);

/* Columns of the function's result, in their order. */
enum
{
	COL_RANGE,					/* number of the range */
	COL_PLACE,					/* of the row in it */
	COL_KEY,
	COL_FLAGGED,
	COL_LEARNING,
	COL_EMPTY,
	COL_OUT,					/* the first of OUT_COLUMNS */
	COLUMNS = COL_OUT + OUT_COLUMNS
};

static const Oid column_types[COLUMNS] = {INT4OID, INT8OID,	  TEXTOID, BOOLOID,	 BOOLOID, BYTEAOID,
										  INT8OID, FLOAT8OID, TEXTOID, JSONBOID, JSONBOID};

/* ---- scoring here ----------------------------------------------------------------------------- */

typedef struct Scoring
{
	const Detection *detection;
	ExplanationWriter *writer;
	int			range;
	refresh_visit visit;
	void	   *arg;
} Scoring;

static void
take_detected_row(const DetectedRow *detected, void *arg)
{
	static const int from[] = {-1, EXPLANATION_SEVERITY, EXPLANATION_STATUS, EXPLANATION_EXPECTED,
							   EXPLANATION_CONTRIBUTIONS};
	const Scoring *s = arg;
	const ScoredRow *row = &detected->row;
	const Scorer *scorer = detect_scorer(s->detection);
	Datum		values[EXPLANATION_COLUMNS];
	bool		nulls[EXPLANATION_COLUMNS];
	RefreshRow	result;

	if (!score_has_place(row->status))
		return;
	result.flagged = score_is_anomaly(row->status, explanation_severity(scorer, row));
	result.learning = row->status == SCORE_LEARNING;
	result.key = detected->series;
	result.empty = row->empty;
	result.stats = scorer_stats(scorer);
	explanation_columns(s->writer, scorer, row, result.flagged, values, nulls);
	result.values[OUT_TS] = Int64GetDatum(row->ts);
	result.nulls[OUT_TS] = false;
	for (int i = OUT_TS + 1; i < OUT_COLUMNS; i++)
	{
		result.values[i] = values[from[i]];
		result.nulls[i] = nulls[from[i]];
	}
	s->visit(&result, s->range, s->arg);
}

static void
score_range(Detection *detection, const ScoreRange *range, Scoring *scoring)
{
	detect_set_range(detection, range->first > PG_INT64_MIN ? &range->first : NULL,
					 range->until < PG_INT64_MAX ? &range->until : NULL, range->condition);
	detect_run(detection, take_detected_row, scoring);
}

/* ---- on a shard ------------------------------------------------------------------------------- */

typedef struct ShardOutput
{
	Rowset		rowset;
	int			features;
	int64		place;
} ShardOutput;

static void
put_refresh_row(const RefreshRow *row, int range, void *arg)
{
	ShardOutput *out = arg;
	const Size	bytes = IMPUTED_BYTES(out->features);
	bytea	   *empty = palloc0(VARHDRSZ + bytes);
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS] = {false};

	SET_VARSIZE(empty, VARHDRSZ + bytes);
	if (row->empty)
		memcpy(VARDATA(empty), row->empty, bytes);
	values[COL_RANGE] = Int32GetDatum(range);
	values[COL_PLACE] = Int64GetDatum(out->place++);
	nulls[COL_KEY] = row->key == NULL;
	if (row->key)
		values[COL_KEY] = CStringGetTextDatum(row->key);
	values[COL_FLAGGED] = BoolGetDatum(row->flagged);
	values[COL_LEARNING] = BoolGetDatum(row->learning);
	values[COL_EMPTY] = PointerGetDatum(empty);
	memcpy(values + COL_OUT, row->values, sizeof(row->values));
	memcpy(nulls + COL_OUT, row->nulls, sizeof(row->nulls));
	rowset_add(&out->rowset, values, nulls);
}

/* [{"first": …, "until": …, "series": {…}}, …] */
static Jsonb *
write_ranges(const ScoreRange *ranges, int n)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '[');
	for (int i = 0; i < n; i++)
	{
		appendStringInfoString(&text, i > 0 ? ", {" : "{");
		json_put_exact(&text, "first", ranges[i].first);
		json_put_exact(&text, "until", ranges[i].until);
		if (ranges[i].condition)
			json_put_json(&text, "series", JsonbToCString(NULL, &ranges[i].condition->root, -1));
		appendStringInfoChar(&text, '}');
	}
	appendStringInfoChar(&text, ']');
	return json_to_jsonb(text.data);
}

static ScoreRange
read_range(JsonbValue *value)
{
	JsonbContainer *object = value->type == jbvBinary ? value->val.binary.data : NULL;
	JsonbValue *series;
	ScoreRange	range = {.condition = NULL};

	if (object == NULL || !JsonContainerIsObject(object) ||
		!json_exact(object, "first", &range.first) || !json_exact(object, "until", &range.until))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid range to be scored")));
	series = json_get(object, "series");
	range.condition = series ? JsonbValueToJsonb(series) : NULL;
	return range;
}

/* (ranges, shard, call, model) → their rows */
Datum
amad_refresh_on_shard(PG_FUNCTION_ARGS)
{
	ShardCall  *shard = shard_call_read(fcinfo, 1);
	DetectSpec	spec = {.function = fcinfo->flinfo->fn_oid, .shard = shard};
	Jsonb	   *ranges = PG_ARGISNULL(0) ? NULL : PG_GETARG_JSONB_P(0);
	ShardOutput out = {.place = 0};
	Scoring		scoring = {.visit = put_refresh_row, .arg = &out};
	Detection  *detection;

	if (ranges == NULL || !JB_ROOT_IS_ARRAY(ranges))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid ranges to be scored")));
	out.rowset = rowset_open(fcinfo);
	detection = detect_open(&spec);
	out.features = detect_model(detection)->model->features;
	scoring.detection = detection;
	scoring.writer = explanation_open(detect_model(detection));
	for (int i = 0; i < JB_ROOT_COUNT(ranges); i++)
	{
		ScoreRange	range = read_range(getIthJsonbValueFromContainer(&ranges->root, i));

		CHECK_FOR_INTERRUPTS();
		scoring.range = i;
		score_range(detection, &range, &scoring);
	}
	shard_call_end(shard);
	return (Datum) 0;
}

/* ---- the whole ---------------------------------------------------------------------------------- */

/* Rows that come from shards. */
typedef struct ShardInput
{
	const Model *model;
	int			n;				/* ranges */
	int			begun;			/* of them */
	void		(*begin) (int range, void *arg);
	refresh_visit visit;
	void	   *arg;
} ShardInput;

static void
begin_ranges(ShardInput *in, int last)
{
	while (in->begun <= last)
		in->begin(in->begun++, in->arg);
}

static void
take_shard_row(Datum *values, bool *nulls, void *arg)
{
	ShardInput *in = arg;
	const int	range = nulls[COL_RANGE] ? -1 : DatumGetInt32(values[COL_RANGE]);
	bytea	   *empty = nulls[COL_EMPTY] ? NULL : DatumGetByteaPP(values[COL_EMPTY]);
	RefreshRow	row = {
		.flagged = !nulls[COL_FLAGGED] && DatumGetBool(values[COL_FLAGGED]),
		.learning = !nulls[COL_LEARNING] && DatumGetBool(values[COL_LEARNING]),
		.key = nulls[COL_KEY] ? NULL : TextDatumGetCString(values[COL_KEY]),
	};

	if (range < in->begun - 1 || range >= in->n || empty == NULL || nulls[COL_OUT + OUT_TS] ||
		VARSIZE_ANY_EXHDR(empty) != IMPUTED_BYTES(in->model->features))
		elog(ERROR, "invalid row from a shard");
	begin_ranges(in, range);
	row.empty = (const uint8 *) VARDATA_ANY(empty);
	row.stats = model_known_stats(in->model, row.key);
	if (row.stats == NULL)
		row.stats = &in->model->stats;	/* as in scoring */
	memcpy(row.values, values + COL_OUT, sizeof(row.values));
	memcpy(row.nulls, nulls + COL_OUT, sizeof(row.nulls));
	in->visit(&row, range, in->arg);
}

/* The range of times that has all ranges, and the conditions of all of them, for the choice of shards. */
static void
set_whole_range(Detection *detection, const ScoreRange *ranges, int n)
{
	int64		first = PG_INT64_MAX;
	int64		until = PG_INT64_MIN;
	StringInfoData series;

	initStringInfo(&series);
	for (int i = 0; i < n; i++)
	{
		first = Min(first, ranges[i].first);
		until = Max(until, ranges[i].until);
		if (ranges[i].condition)
			appendStringInfo(&series, "%s%s", series.len > 0 ? ", " : "[",
							 JsonbToCString(NULL, &ranges[i].condition->root, -1));
	}
	if (series.len > 0)
		appendStringInfoChar(&series, ']');
	detect_set_range(detection, first > PG_INT64_MIN ? &first : NULL,
					 until < PG_INT64_MAX ? &until : NULL,
					 series.len > 0 ? json_to_jsonb(series.data) : NULL);
}

void
refresh_score_ranges(Detection *detection, const ScoreRange *ranges, int n,
					 void (*begin)(int range, void *arg), refresh_visit visit, void *arg)
{
	Scoring		scoring = {
		.detection = detection,
		.visit = visit,
		.arg = arg,
	};
	ShardInput	in = {
		.model = detect_model(detection)->model,
		.n = n,
		.begin = begin,
		.visit = visit,
		.arg = arg,
	};
	ShardQuery *shards = shard_query_open_named(detection, "amad_refresh", 1);

	if (shards)
	{
		shards->types[0] = JSONBOID;
		shards->values[0] = JsonbPGetDatum(write_ranges(ranges, n));
		shards->nulls[0] = ' ';
		set_whole_range(detection, ranges, n);
		shard_query_run(shards, shard_result_columns(COLUMNS, column_types), " ORDER BY 1, 2",
						take_shard_row, &in);
		begin_ranges(&in, n - 1);
		return;
	}
	scoring.writer = explanation_open(detect_model(detection));
	for (int i = 0; i < n; i++)
	{
		scoring.range = i;
		begin(i, arg);
		score_range(detection, &ranges[i], &scoring);
	}
}
