/*
 * score/shard_call.c
 *	  A function of a model's source that is called once for each of its shards.
 *
 * On the caller's node, shard_query_open() passes the arguments of the function on, together with an object
 * that has what the nodes of the shards cannot look up: the columns of the source, confirmed
 * incidents, the time that all shards cover, and session parameters on which results depend.  The model is a
 * subquery on amad_models, whose result is sent to each node once, or read there if the table is a
 * reference table.  rows/source_shards.c has the form of the query.
 *
 * On the node of a shard, shard_call_read() reads the object.  Anybody can call the variant with any
 * object: it reads the relation with the privileges of the current role.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "model/codec.h"
#include "model/verdicts.h"
#include "pg/call_arguments.h"
#include "pg/json.h"
#include "score/shard_call.h"

/*
 * Session parameters that are sent with a call, and those under which its arguments are written.
 * DateStyle keeps its order, by which values of series are read.
 */
static const char *const sent_settings[] = {"TimeZone", "DateStyle", "IntervalStyle"};
static const char *const written_with[][2] = {
	{"DateStyle", "ISO"},
	{"IntervalStyle", "postgres"},
	{"extra_float_digits", "3"},
	{"bytea_output", "hex"},
};

/* ---- the object ---------------------------------------------------------------------------- */

static void
refuse_call(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid description of a shard")));
}

static int64
read_int64(JsonbContainer *object, const char *key)
{
	int64		value = 0;

	if (!json_exact(object, key, &value))
		refuse_call();
	return value;
}

static bool
read_bool(JsonbContainer *object, const char *key)
{
	JsonbValue *value = json_get(object, key);

	return value != NULL && value->type == jbvBool && value->val.boolean;
}

/* A member that is an object or an array; NULL if there is none. */
static JsonbContainer *
read_container(JsonbContainer *object, const char *key)
{
	JsonbValue *value = json_get(object, key);

	return value != NULL && value->type == jbvBinary ? value->val.binary.data : NULL;
}

static void
put_span(StringInfo out, const DetectSpan *span)
{
	json_key(out, "span");
	appendStringInfoChar(out, '{');
	json_put_json(out, "since", span->since ? "true" : "false");
	if (span->has_begin)
		json_put_exact(out, "begin", span->begin);
	if (span->has_end)
		json_put_exact(out, "end", span->end);
	appendStringInfoChar(out, '}');
}

static DetectSpan
read_span(JsonbContainer *call)
{
	JsonbContainer *object = read_container(call, "span");
	DetectSpan	span = {.since = false};

	if (object == NULL || !JsonContainerIsObject(object))
		return span;
	span.since = read_bool(object, "since");
	span.has_begin = json_get(object, "begin") != NULL;
	span.begin = span.has_begin ? read_int64(object, "begin") : 0;
	span.has_end = json_get(object, "end") != NULL;
	span.end = span.has_end ? read_int64(object, "end") : 0;
	return span;
}

static void
put_incidents(StringInfo out, const List *incidents)
{
	ListCell   *cell;

	json_key(out, "incidents");
	appendStringInfoChar(out, '[');
	foreach(cell, incidents)
	{
		const GivenVerdict *v = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		appendStringInfoString(out, foreach_current_index(cell) > 0 ? ", {" : "{");
		json_put_exact(out, "first", v->first);
		json_put_exact(out, "last", v->last);
		json_put_json(out, "integers", v->integers ? "true" : "false");
		if (v->series)
			json_put_json(out, "series", JsonbToCString(NULL, &v->series->root, -1));
		appendStringInfoChar(out, '}');
	}
	appendStringInfoChar(out, ']');
}

static List *
read_incidents(JsonbContainer *call)
{
	JsonbContainer *array = read_container(call, "incidents");
	List	   *incidents = NIL;

	for (int i = 0; array != NULL && JsonContainerIsArray(array) && i < JsonContainerSize(array);
		 i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);
		JsonbContainer *object = element->type == jbvBinary ? element->val.binary.data : NULL;
		GivenVerdict *v = palloc0(sizeof(GivenVerdict));
		JsonbValue *series;

		CHECK_FOR_INTERRUPTS();
		if (object == NULL || !JsonContainerIsObject(object))
			refuse_call();
		v->kind = VERDICT_INCIDENT;
		v->first = read_int64(object, "first");
		v->last = read_int64(object, "last");
		v->integers = read_bool(object, "integers");
		series = json_get(object, "series");
		v->series = series ? JsonbValueToJsonb(series) : NULL;
		if (v->series && !JB_ROOT_IS_OBJECT(v->series))
			refuse_call();
		incidents = lappend(incidents, v);
	}
	return incidents;
}

static Jsonb *
write_call(const Detection *d, const DetectSpan *span)
{
	const Source *source = detect_source(d);
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_put_json(&text, "source", JsonbToCString(NULL, &source_to_jsonb(&source->spec)->root, -1));
	json_put_int(&text, "version", detect_model(d)->version);
	for (int i = 0; i < lengthof(sent_settings); i++)
		json_put_string(&text, sent_settings[i], GetConfigOption(sent_settings[i], false, false));
	if (span)
		put_span(&text, span);
	put_incidents(&text, detect_incidents(d));
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}

/* ---- on the node of a shard ----------------------------------------------------------------- */

/* Restores session parameters when the function's memory is freed. */
static void
set_sent_settings(JsonbContainer *call)
{
	for (int i = 0; i < lengthof(sent_settings); i++)
	{
		char	   *value = json_string_text(json_get(call, sent_settings[i]));

		if (value != NULL)
			(void) set_config_option(sent_settings[i], value, PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
	}
}

ShardCall *
shard_call_read(FunctionCallInfo fcinfo, int first)
{
	ShardCall  *call;
	Jsonb	   *json;
	JsonbContainer *root;
	JsonbContainer *source;
	double		number;

	if (PG_NARGS() <= first)
		return NULL;
	for (int i = 0; i < SHARD_ARGS; i++)
		if (PG_ARGISNULL(first + i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("shard, call and model must not be null")));
	call = palloc0(sizeof(ShardCall));
	json = PG_GETARG_JSONB_P(first + 1);
	root = &json->root;
	source = JB_ROOT_IS_OBJECT(json) ? read_container(root, "source") : NULL;
	if (source == NULL || !JsonContainerIsObject(source))
		refuse_call();
	number = json_number(json_get(root, "version"), 0);
	call->version = number >= 0 && number <= PG_INT32_MAX ? (int) number : 0;
	call->source = source_from_jsonb(JsonbValueToJsonb(json_get(root, "source")));
	call->source.source = source_shard_name(PG_GETARG_OID(first));
	call->source.search_path = NULL;
	call->model = PG_DETOAST_DATUM(PG_GETARG_DATUM(first + 2));
	call->span = read_span(root);
	call->incidents = read_incidents(root);
	call->guc_level = NewGUCNestLevel();
	set_sent_settings(root);
	return call;
}

void
shard_call_end(const ShardCall *call)
{
	if (call != NULL)
		AtEOXact_GUC(false, call->guc_level);
}

/* ---- on the caller's node ------------------------------------------------------------------- */

ShardQuery *
shard_query_open_named(const Detection *detection, const char *name, int nargs)
{
	const Oid	function = detect_source(detection)->spec.function;
	const char *column;
	ShardQuery *q;

	if (detect_model_query(detection) == NULL ||
		!source_is_sharded(detect_source(detection), &column))
		return NULL;
	q = palloc0(sizeof(ShardQuery));
	q->schema = function_schema(function);
	q->detection = detection;
	q->column = column;
	q->variant = name;
	q->more = "";
	q->nargs = nargs;
	q->types = palloc0(sizeof(Oid) * (nargs + 1));
	q->values = palloc0(sizeof(Datum) * (nargs + 1));
	q->nulls = palloc0(nargs + 2);
	memset(q->nulls, 'n', nargs);
	q->types[nargs] = JSONBOID;
	q->values[nargs] = JsonbPGetDatum(write_call(detection, NULL));
	q->nulls[nargs] = ' ';
	return q;
}

ShardQuery *
shard_query_open(FunctionCallInfo fcinfo, int nargs, const Detection *detection, bool spans)
{
	char	   *name = get_func_name(fcinfo->flinfo->fn_oid);
	ShardQuery *q = name ? shard_query_open_named(detection, name, nargs) : NULL;

	if (q == NULL)
		return NULL;
	for (int i = 0; i < nargs; i++)
	{
		q->types[i] = get_fn_expr_argtype(fcinfo->flinfo, i);
		if (argument_is_null(fcinfo, i))
			continue;
		q->values[i] = PG_GETARG_DATUM(i);
		q->nulls[i] = ' ';
	}
	if (spans)
	{
		DetectSpan	span = detect_span(detection);

		q->values[nargs] = JsonbPGetDatum(write_call(detection, &span));
	}
	return q;
}

/* Appends argument number i, as a parameter or as a literal. */
static void
append_shard_argument(StringInfo out, const ShardQuery *q, int i, bool literals)
{
	Oid			output;
	bool		varlena;

	if (!literals)
		appendStringInfo(out, "$%d", i + 1);
	else if (q->nulls[i] == 'n')
		appendStringInfoString(out, "NULL");
	else
	{
		getTypeOutputInfo(q->types[i], &output, &varlena);
		appendStringInfoString(out,
							   quote_literal_cstr(OidOutputFunctionCall(output, q->values[i])));
	}
	if (literals)
		appendStringInfo(out, "::%s",
						 format_type_extended(q->types[i], -1, FORMAT_TYPE_FORCE_QUALIFY));
}

static char *
write_shard_query(const ShardQuery *q, bool literals)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "SELECT r.* FROM (%s) AS s CROSS JOIN LATERAL %s(",
					 source_shards_query(detect_source(q->detection), detect_range(q->detection),
										 q->column),
					 quote_qualified_identifier(q->schema, psprintf("%s_on_shard", q->variant)));
	for (int i = 0; i < q->nargs; i++)
	{
		append_shard_argument(&out, q, i, literals);
		appendStringInfoString(&out, ", ");
	}
	appendStringInfo(&out, "%ss.shard, ", q->more);
	append_shard_argument(&out, q, q->nargs, literals);
	appendStringInfo(&out, ", (%s)) AS r", detect_model_query(q->detection));
	return out.data;
}

/* Sets how values are written for other nodes, until the level of settings ends. */
static int
set_written_with(void)
{
	const int	level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(written_with); i++)
		(void) set_config_option(written_with[i][0], written_with[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

char *
shard_query_text(const ShardQuery *q)
{
	const int	level = set_written_with();
	char	   *text = write_shard_query(q, true);

	AtEOXact_GUC(false, level);
	return text;
}

TupleDesc
shard_result_columns(int n, const Oid *types)
{
	TupleDesc	desc = CreateTemplateTupleDesc(n);

	for (int i = 0; i < n; i++)
		TupleDescInitEntry(desc, i + 1, NULL, types[i], -1, 0);
	return desc;
}

void
shard_query_run(const ShardQuery *q, TupleDesc desc, const char *order, source_row_visit visit,
				void *arg)
{
	const char *text = psprintf("%s%s", write_shard_query(q, false), order);
	const int	level = set_written_with();

	ereport(DEBUG1, (errmsg_internal("amad asks the shards of its source by: %s", text)));
	source_run_query(detect_source(q->detection), text, q->nargs + 1, q->types, q->values, q->nulls,
					 desc, visit, arg);
	AtEOXact_GUC(false, level);
}

static void
fill_rowset(Datum *values, bool *nulls, void *rowset)
{
	rowset_add(rowset, values, nulls);
}

void
shard_query_fill(const ShardQuery *q, Rowset *rowset)
{
	shard_query_run(q, rowset->desc, "", fill_rowset, rowset);
}
