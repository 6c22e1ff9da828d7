/*
 * detect_sql.c
 *	  The functions amad_detect, amad_detect_timestamp, amad_detect_bigint and
 *	  amad_detect_query.
 *
 * The first three differ in the type of since, until and the ts that comes back.
 */
#include "postgres.h"
#include "compat.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "detect.h"
#include "json.h"
#include "result.h"
#include "rowset.h"

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
	ARG_ONLY_ANOMALIES,			/* from here on not of amad_detect_query */
	ARG_EXPLAIN
};

SQL_FUNCTION(amad_detect);
SQL_FUNCTION(amad_detect_query);

/* The arguments that both functions have. */
static DetectSpec
spec_of(FunctionCallInfo fcinfo)
{
	DetectSpec	spec = {.function = fcinfo->flinfo->fn_oid, .parallel = true};

	if (PG_ARGISNULL(ARG_MODEL_NAME))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("model_name must not be null")));
	spec.model_name = text_to_cstring(PG_GETARG_TEXT_PP(ARG_MODEL_NAME));
	spec.bound_type = get_fn_expr_argtype(fcinfo->flinfo, ARG_SINCE);
	spec.has_since = !PG_ARGISNULL(ARG_SINCE);
	spec.since = PG_GETARG_DATUM(ARG_SINCE);
	spec.has_until = !PG_ARGISNULL(ARG_UNTIL);
	spec.until = PG_GETARG_DATUM(ARG_UNTIL);
	if (!PG_ARGISNULL(ARG_LAST_N))
	{
		spec.last_n = PG_GETARG_INT64(ARG_LAST_N);
		if (spec.last_n < 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("last_n must be at least 1")));
		if (spec.has_since)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("since and last_n exclude each other")));
	}
	if (!PG_ARGISNULL(ARG_SERIES))
		spec.series = PG_GETARG_JSONB_P(ARG_SERIES);
	if (!PG_ARGISNULL(ARG_SOURCE))
		spec.source = text_to_cstring(PG_GETARG_TEXT_PP(ARG_SOURCE));
	if (!PG_ARGISNULL(ARG_TIMESTAMP_COL))
		spec.timestamp_col = text_to_cstring(PG_GETARG_TEXT_PP(ARG_TIMESTAMP_COL));
	return spec;
}

/* ---- amad_detect ----------------------------------------------------------------------- */

/* Where the rows go. */
typedef struct Output
{
	Detection  *detection;
	ResultWriter *writer;
	Rowset		rowset;
	bool		only_anomalies;
	bool		details;
	Datum		values[RESULT_COLUMNS + 2];	/* series, ts, … */
	bool		nulls[RESULT_COLUMNS + 2];
} Output;

static void
put_row(const DetectedRow *row, void *arg)
{
	Output	   *out = arg;
	const Scorer *scorer = detect_scorer(out->detection);

	if (out->only_anomalies && !(result_severity(scorer, &row->row) >= 1.0))
		return;
	out->nulls[0] = row->series == NULL;
	if (row->series)
		out->values[0] = JsonbPGetDatum(json_to_jsonb(row->series));
	out->nulls[1] = !row->row.ts_valid;
	if (row->row.ts_valid)
		out->values[1] = detect_timestamp(out->detection, row->row.ts);
	result_columns(out->writer, scorer, &row->row, out->details, out->values + 2, out->nulls + 2);
	rowset_add(&out->rowset, out->values, out->nulls);
}

Datum
amad_detect(PG_FUNCTION_ARGS)
{
	DetectSpec	spec = spec_of(fcinfo);
	Output		out = {
		.only_anomalies = !PG_ARGISNULL(ARG_ONLY_ANOMALIES) && PG_GETARG_BOOL(ARG_ONLY_ANOMALIES),
		.details = PG_ARGISNULL(ARG_EXPLAIN) || PG_GETARG_BOOL(ARG_EXPLAIN),
	};

	out.rowset = rowset_open(fcinfo);
	out.detection = detect_open(&spec);
	out.writer = result_open(detect_model(out.detection));
	detect_run(out.detection, put_row, &out);
	return (Datum) 0;
}

/* → text, to be looked at by EXPLAIN */
Datum
amad_detect_query(PG_FUNCTION_ARGS)
{
	DetectSpec	spec = spec_of(fcinfo);

	PG_RETURN_TEXT_P(cstring_to_text(detect_query(detect_open(&spec))));
}
