/*
 * rows/source.c
 *	  Opening a source, and storing it with a model.
 *
 * source_open() looks the relation up, or parses the query, under the search_path it was
 * first named with, and binds its columns (source_columns.c).  source_query.c writes the query
 * (source_narrow.c that of a narrow source), source_scan.c reads the rows.  A source that comes from the table amad_models was written by
 * its owner, perhaps another role: it is opened and read as a security-restricted operation.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "model/verdicts.h"
#include "pg/json.h"
#include "rows/relation.h"
#include "rows/source.h"
#include "rows/source_private.h"

SourceScope
source_enter(const SourceSpec *spec)
{
	SourceScope scope = {.stored = spec->stored};

	GetUserIdAndSecContext(&scope.user, &scope.security_context);
	if (spec->stored)
		SetUserIdAndSecContext(OidIsValid(spec->reader) ? spec->reader : scope.user,
							   scope.security_context | SECURITY_LOCAL_USERID_CHANGE |
								   SECURITY_RESTRICTED_OPERATION);
	scope.guc_level = NewGUCNestLevel();
	/* compiling a query takes longer than reading most ranges */
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
	/* Citus cannot plan all of the queries without the values of their parameters */
	(void) set_config_option("plan_cache_mode", "auto", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	if (OidIsValid(spec->reader))
		source_set_reader();
	if (spec->search_path)
		(void) set_config_option("search_path", spec->search_path, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return scope;
}

void
source_leave(const SourceScope *scope)
{
	AtEOXact_GUC(!scope->stored, scope->guc_level);
	SetUserIdAndSecContext(scope->user, scope->security_context);
}

/*
 * The search_path to store with a query.  If the query reads no temporary relation, pg_temp
 * comes last, so that none created later hides a relation that it reads.
 */
static char *
search_path_to_store(const RelationSource *relation)
{
	const char *path = namespace_search_path;

	if (relation->temporary || strstr(path, "pg_temp") != NULL)
		return pstrdup(path);
	return psprintf("%s%spg_temp", path, path[strspn(path, " ")] == '\0' ? "" : ", ");
}

Source *
source_open(const SourceSpec *spec)
{
	Source	   *s = palloc0(sizeof(Source));
	SourceScope scope = source_enter(spec);
	RelationSource relation = relation_open_source(spec->source, "source");
	TupleDesc	desc;

	if (OidIsValid(spec->reader))
	{
		SPI_connect();
		(void) source_prepare(spec, psprintf("SELECT FROM %s", relation.from), 0, NULL, 0);
		SPI_finish();
	}
	desc = relation_columns(&relation, "source");
	s->spec = *spec;
	source_check_narrow(&s->spec);
	s->spec.source = relation.text;
	s->from = relation.from;
	s->relation = relation.relation;
	if (OidIsValid(relation.relation) && !OidIsValid(spec->reader))
		s->spec.search_path = NULL; /* its name is qualified */
	else if (s->spec.search_path == NULL)
		s->spec.search_path = search_path_to_store(&relation);
	source_bind_columns(s, desc, relation.relation);
	source_leave(&scope);
	return s;
}

void
source_leave_out_incidents(Source *s, const List *verdicts)
{
	s->bad = series_windows_of_verdicts(verdicts, VERDICT_INCIDENT, s->spec.nseries,
										s->spec.series_cols, s->ts_type == INT8OID, NULL);
}

/* ---- the stored form -------------------------------------------------------------------- */

Jsonb *
source_to_jsonb(const SourceSpec *spec)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_put_string(&text, "source", spec->source);
	json_put_string(&text, "timestamp_col", spec->timestamp_col);
	json_put_strings(&text, "feature_cols", spec->nfeatures, spec->features);
	json_put_strings(&text, "series_cols", spec->nseries, spec->series_cols);
	if (spec->label_col)
		json_put_string(&text, "label_col", spec->label_col);
	if (spec->metric_col)
	{
		json_put_string(&text, "metric_col", spec->metric_col);
		json_put_string(&text, "value_col", spec->value_col);
		if (spec->bucket)
			json_put_string(&text, "bucket", spec->bucket);
		json_put_string(&text, "aggregate", spec->aggregate);
		if (spec->all_metrics)
			json_put_json(&text, "all_metrics", "true");
	}
	if (spec->search_path)
		json_put_string(&text, "search_path", spec->search_path);
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}

/* The strings of a member that is an array; their number. */
static int
read_names(Jsonb *json, const char *key, char ***names)
{
	JsonbValue *value = json_get(&json->root, key);
	JsonbContainer *array;
	int			n = 0;

	*names = NULL;
	if (value == NULL || value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		return 0;
	array = value->val.binary.data;
	*names = palloc(sizeof(char *) * Max(JsonContainerSize(array), 1));
	for (int i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (element->type == jbvString)
			(*names)[n++] = pnstrdup(element->val.string.val, element->val.string.len);
	}
	return n;
}

/* Reads what describes a narrow source; source_check_narrow() checks it. */
static void
read_narrow_shape(SourceSpec *spec, Jsonb *json)
{
	JsonbValue *all = json_get(&json->root, "all_metrics");

	spec->metric_col = json_string_text(json_get(&json->root, "metric_col"));
	spec->value_col = json_string_text(json_get(&json->root, "value_col"));
	spec->bucket = json_string_text(json_get(&json->root, "bucket"));
	spec->aggregate = json_string_text(json_get(&json->root, "aggregate"));
	spec->all_metrics = all && all->type == jbvBool && all->val.boolean;
}

void
source_take_names(SourceSpec *spec, Jsonb *json, bool label)
{
	spec->usual_timestamp_col = json_string_text(json_get(&json->root, "timestamp_col"));
	spec->usual_label_col = label ? json_string_text(json_get(&json->root, "label_col")) : NULL;
	spec->usual_shape = true;
	read_narrow_shape(spec, json);
}

SourceSpec
source_from_jsonb(Jsonb *json)
{
	SourceSpec	spec = {
		.source = json_string_text(json_get(&json->root, "source")),
		.timestamp_col = json_string_text(json_get(&json->root, "timestamp_col")),
		.label_col = json_string_text(json_get(&json->root, "label_col")),
		.search_path = json_string_text(json_get(&json->root, "search_path")),
		.stored = true,
	};

	spec.nfeatures = read_names(json, "feature_cols", &spec.features);
	spec.nseries = read_names(json, "series_cols", &spec.series_cols);
	read_narrow_shape(&spec, json);
	if (spec.source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the source stored in amad_models is invalid")));
	return spec;
}
