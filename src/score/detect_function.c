/*
 * score/detect_function.c
 *	  The functions amad_detect and amad_detect_query, and their _bigint variants.
 *
 * detect.c finds the model and its source, reads and scores the rows, and calls put_detected_row()
 * for each row of the range.  The result is collected in a tuplestore, which spills to disk
 * beyond work_mem.  The variants differ in the type of since, until and the returned ts:
 * timestamptz, converted from and to a timestamp or date column by the session's time zone,
 * or bigint for integer columns.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "model/registry.h"
#include "pg/json.h"
#include "pg/progress.h"
#include "pg/rowset.h"
#include "score/detect_arguments.h"
#include "score/explanation.h"
#include "score/shard_call.h"

/* Arguments, in their order. */
enum
{
	ARG_MODEL_NAME,
	ARG_SINCE,
	ARG_UNTIL,
	ARG_LAST_N,
	ARG_SERIES,
	ARG_SOURCE,
	ARG_TIMESTAMP_COL,
	ARG_ONLY_ANOMALIES,			/* from here on amad_detect only */
	ARG_EXPLAIN,
	ARG_VERSION,
	ARGS,
	QUERY_ARG_VERSION = ARG_ONLY_ANOMALIES	/* of amad_detect_query */
};

SQL_FUNCTION(amad_detect);
SQL_FUNCTION(amad_detect_query);

/* Reads the arguments that both functions have. */
static DetectSpec
read_detect_spec(FunctionCallInfo fcinfo, int version)
{
	DetectSpec	spec = read_detect_arguments(fcinfo, ARG_SINCE, ARG_SOURCE, ARG_TIMESTAMP_COL);

	spec.parallel = true;
	spec.version = registry_version(fcinfo, version);
	spec.last_n = read_last_n_argument(fcinfo, ARG_LAST_N, &spec);
	if (!PG_ARGISNULL(ARG_SERIES))
		spec.series = PG_GETARG_JSONB_P(ARG_SERIES);
	return spec;
}

/* ---- amad_detect ----------------------------------------------------------------------- */

/* What put_detected_row() needs. */
typedef struct Output
{
	Detection  *detection;
	ExplanationWriter *writer;
	Rowset		rowset;
	bool		only_anomalies;
	bool		details;
	Datum		values[EXPLANATION_COLUMNS + 2];	/* series, ts, … */
	bool		nulls[EXPLANATION_COLUMNS + 2];
} Output;

static void
put_detected_row(const DetectedRow *row, void *arg)
{
	Output	   *out = arg;
	const Scorer *scorer = detect_scorer(out->detection);

	if (out->only_anomalies &&
		!score_is_anomaly(row->row.status, explanation_severity(scorer, &row->row)))
		return;
	out->nulls[0] = row->series == NULL;
	if (row->series)
		out->values[0] = JsonbPGetDatum(json_to_jsonb(row->series));
	out->nulls[1] = !row->row.ts_valid;
	if (row->row.ts_valid)
		out->values[1] = detect_timestamp(out->detection, row->row.ts);
	explanation_columns(out->writer, scorer, &row->row, out->details, out->values + 2,
						out->nulls + 2);
	rowset_add(&out->rowset, out->values, out->nulls);
}

Datum
amad_detect(PG_FUNCTION_ARGS)
{
	DetectSpec	spec = read_detect_spec(fcinfo, ARG_VERSION);
	Output		out = {
		.only_anomalies = !PG_ARGISNULL(ARG_ONLY_ANOMALIES) && PG_GETARG_BOOL(ARG_ONLY_ANOMALIES),
		.details = PG_ARGISNULL(ARG_EXPLAIN) || PG_GETARG_BOOL(ARG_EXPLAIN),
	};
	ShardCall  *shard = shard_call_read(fcinfo, ARGS);
	ShardQuery *shards;
	const bool	begun = progress_begin(PROGRESS_DETECT);

	spec.shard = shard;
	out.rowset = rowset_open(fcinfo);
	out.detection = detect_open(&spec);
	shards = shard_query_open(fcinfo, ARGS, out.detection, false);
	if (shards)
		shard_query_fill(shards, &out.rowset);
	else
	{
		out.writer = explanation_open(detect_model(out.detection));
		detect_run(out.detection, put_detected_row, &out);
	}
	shard_call_end(shard);
	progress_end(begun);
	return (Datum) 0;
}

/* → text, the query that amad_detect runs */
Datum
amad_detect_query(PG_FUNCTION_ARGS)
{
	DetectSpec	spec = read_detect_spec(fcinfo, QUERY_ARG_VERSION);
	const Detection *detection = detect_open(&spec);
	ShardQuery *shards = shard_query_open(fcinfo, QUERY_ARG_VERSION, detection, false);

	if (shards == NULL)
		PG_RETURN_TEXT_P(cstring_to_text(detect_query(detection)));
	shards->variant = spec.bound_type == INT8OID ? "amad_detect_bigint" : "amad_detect";
	shards->more = "false, true, NULL, ";
	PG_RETURN_TEXT_P(cstring_to_text(shard_query_text(shards)));
}
