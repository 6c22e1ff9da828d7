/*
 * score/detect_sql.c
 *	  The functions amad_detect_sql and amad_detect_sql_bigint: amad_detect as plain SQL.
 *
 *		SELECT device, ts, (amad).severity, …
 *		FROM (SELECT device, ts, amad_explain(model, series, ts, flow, …)
 *				OVER (PARTITION BY device ORDER BY ts) AS amad
 *			  FROM readings WHERE ts >= since - context) AS scored
 *		WHERE ts >= since
 *
 * The model is a subquery, and all rows of a series form one partition.  So a distributed engine can push
 * the query down, join its result and insert it into a table that is distributed in the same way.  Rows before
 * the range are found by time, as amad_detect does it without an index.  What amad_detect learns from
 * other rows than these is missing: after a gap the status of rows is warmup instead of gap.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "model/registry.h"
#include "pg/call_arguments.h"
#include "score/detect_arguments.h"

/* Arguments, in their order. */
enum
{
	ARG_MODEL_NAME,
	ARG_SINCE,
	ARG_UNTIL,
	ARG_SERIES,
	ARG_SOURCE,
	ARG_TIMESTAMP_COL,
	ARG_ONLY_ANOMALIES,
	ARG_VERSION
};

/* The columns of amad_result, but for the version, which is a constant. */
static const char *const result_columns[] = {
	"anomaly_score",   "threshold",		 "severity",	   "is_anomaly",
	"expected_values", "expected_lower", "expected_upper", "contributions",
	"direction",	   "imputed",		 "status",
};

#define OTHER_ARGS 3			/* of amad_explain: model, series, time */

SQL_FUNCTION(amad_detect_sql);

/* Whether source_series_value() writes the values of a type as series keys have them, in any session. */
static bool
is_written_as_in_keys(Oid type, Oid collation)
{
	switch (getBaseType(type))
	{
		case BOOLOID:
		case BYTEAOID:
		case DATEOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case UUIDOID:
			return true;
		case BPCHAROID:
		case TEXTOID:
		case VARCHAROID:
			/* otherwise different texts can be equal */
			return get_collation_isdeterministic(collation);
		default:
			return get_typtype(getBaseType(type)) == TYPTYPE_ENUM;
	}
}

static void
check_source(const Source *s, const char *model_name)
{
	if (s->spec.metric_col)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the source of model \"%s\" has a row for each value", model_name),
				 errhint("Use amad_detect().")));
	for (int i = 0; i < s->spec.nseries; i++)
		if (!is_written_as_in_keys(s->series_types[i], s->series_collations[i]))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("series column \"%s\" has type %s", s->spec.series_cols[i],
							format_type_be(s->series_types[i])),
					 errdetail("The text of its values can differ from that in the model."),
					 errhint("Use amad_detect().")));
}

static char *
list_key_columns(const Source *s)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(&out, "%s, ", quote_identifier(s->spec.series_cols[i]));
	return out.data;
}

/* Appends the features as arguments; as an array, if a function cannot have so many. */
static void
append_features(StringInfo out, const Source *s)
{
	const bool	array = s->spec.nfeatures + OTHER_ARGS > FUNC_MAX_ARGS;

	appendStringInfoString(out, array ? ", ARRAY[" : ", ");
	for (int i = 0; i < s->spec.nfeatures; i++)
		appendStringInfo(out, "%s%s%s%s", i > 0 ? ", " : "", quote_identifier(s->spec.features[i]),
						 array && getBaseType(s->feature_types[i]) == BOOLOID ? "::pg_catalog.int4"
																			  : "",
						 array ? "::pg_catalog.float8" : "");
	if (array)
		appendStringInfoChar(out, ']');
}

/* The call of amad_explain, with its window. */
static char *
write_explain(const Detection *d, const char *schema, bool only_anomalies)
{
	const Source *s = detect_source(d);
	const char *ts = quote_identifier(s->spec.timestamp_col);
	char	   *keys = list_key_columns(s);
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "%s((%s), ",
					 quote_qualified_identifier(schema,
												only_anomalies ? "amad_explain_anomalies"
															   : "amad_explain"),
					 detect_model_query(d));
	if (s->spec.nseries > 0)
	{
		appendStringInfoString(&out, "pg_catalog.jsonb_build_object(");
		for (int i = 0; i < s->spec.nseries; i++)
		{
			const char *column = s->spec.series_cols[i];

			appendStringInfo(&out, "%s%s, %s", i > 0 ? ", " : "", quote_literal_cstr(column),
							 source_series_value(s, i, quote_identifier(column)));
		}
		appendStringInfoString(&out, "), ");
	}
	appendStringInfo(&out, "%s::pg_catalog.%s", ts, source_ts_read_name(s));
	append_features(&out, s);
	if (s->spec.nseries > 0)
		keys[strlen(keys) - 2] = '\0';	/* the last comma */
	appendStringInfo(&out, ") OVER (%s%sORDER BY %s)", s->spec.nseries > 0 ? "PARTITION BY " : "",
					 s->spec.nseries > 0 ? psprintf("%s ", keys) : "", ts);
	return out.data;
}

static char *
write_detection(const Detection *d, const char *schema, bool only_anomalies)
{
	const Source *s = detect_source(d);
	const SourceRange *range = detect_range(d);
	const char *ts = quote_identifier(s->spec.timestamp_col);
	const char *keys = list_key_columns(s);
	StringInfoData read;
	StringInfoData returned;
	StringInfoData out;

	initStringInfo(&read);
	if (range->has_since && range->read_since > PG_INT64_MIN)
		source_append_bound(&read, s, ts, ">=", range->read_since);
	if (range->has_until)
		source_append_bound(&read, s, ts, "<", range->read_until);
	if (range->series)
		source_append_series(&read, s, range->series);
	initStringInfo(&returned);
	source_append_range(&returned, s, range);
	if (only_anomalies)
		appendStringInfo(&returned, "%s(amad).is_anomaly", returned.len > 0 ? " AND " : "");

	initStringInfo(&out);
	appendStringInfo(&out, "SELECT %s%s", keys, ts);
	for (int i = 0; i < lengthof(result_columns); i++)
		appendStringInfo(&out, ", (amad).%s", result_columns[i]);
	appendStringInfo(&out,
					 ", %d AS model_version FROM (SELECT %s%s, %s AS amad FROM %s%s%s) AS scored",
					 detect_model(d)->version, keys, ts, write_explain(d, schema, only_anomalies),
					 s->from, read.len > 0 ? " WHERE " : "", read.data);
	if (returned.len > 0)
		appendStringInfo(&out, " WHERE %s", returned.data);
	return out.data;
}

/* (model_name, since, until, series, source, timestamp_col, only_anomalies, version) → text */
Datum
amad_detect_sql(PG_FUNCTION_ARGS)
{
	DetectSpec	spec = read_detect_arguments(fcinfo, ARG_SINCE, ARG_SOURCE, ARG_TIMESTAMP_COL);
	char	   *schema = function_schema(spec.function);
	const Detection *detection;

	spec.version = registry_version(fcinfo, ARG_VERSION);
	if (!PG_ARGISNULL(ARG_SERIES))
		spec.series = PG_GETARG_JSONB_P(ARG_SERIES);
	detection = detect_open(&spec);
	check_source(detect_source(detection), spec.model_name);
	PG_RETURN_TEXT_P(cstring_to_text(
		write_detection(detection, schema,
						!PG_ARGISNULL(ARG_ONLY_ANOMALIES) && PG_GETARG_BOOL(ARG_ONLY_ANOMALIES))));
}
