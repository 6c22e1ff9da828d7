/*
 * learn/train_source.c
 *	  The functions amad_train on a source, and amad_retrain.
 *
 *		amad_train(model_name, source, timestamp_col, feature_cols, series_cols,
 *				   label_col, options,
 *				   metric_col, value_col, bucket, aggregate) → jsonb
 *		amad_retrain(model_name, warm_start) → jsonb
 *
 * The source is read once, sorted by series and time.  When the rows do not fit in
 * maintenance_work_mem, the dataset samples whole blocks of them.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "learn/train_model.h"
#include "rows/duplicate_rows.h"
#include "model/registry.h"
#include "pg/call_arguments.h"
#include "rows/holidays.h"
#include "rows/source.h"

SQL_FUNCTION(amad_train_source);
SQL_FUNCTION(amad_retrain);

/* ---- reading -------------------------------------------------------------------------- */

typedef struct Reading
{
	const Source *source;
	Dataset    *dataset;
	int64		rows;
} Reading;

static void
read_row(const SourceRow *row, void *arg)
{
	Reading    *r = arg;
	DatasetFacts *facts = &r->dataset->facts;

	r->rows++;
	if (row->new_series)
		dataset_begin(r->dataset, r->source->spec.nseries > 0 ? row->new_series : NULL);
	if (!row->ts_valid)
		facts->without_ts++;
	else if (row->duplicate)
		facts->duplicates++;
	else if (row->bad)
	{
		facts->labelled++;
		dataset_skip(r->dataset);
	}
	else
		dataset_add(r->dataset, row->ts, row->values);
}

static void
check_reading(const Reading *r)
{
	if (r->rows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source %s has no rows", r->source->spec.source),
				 r->source->spec.metric_col
					 ? errhint("The names in feature_cols must be values of metric_col.")
					 : 0));
	if (r->dataset->facts.duplicates > DUPLICATE_SHARE * r->rows)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg(INT64_FORMAT " of " INT64_FORMAT " rows repeat a timestamp of their series",
						r->dataset->facts.duplicates, r->rows),
				 errhint(
					 "Specify the series columns as series_cols, or aggregate the rows first.")));
}

/* ---- training --------------------------------------------------------------------------- */

/* Stores types and series columns in the model. */
static void
set_columns(Model *model, const Source *source)
{
	const SourceSpec *spec = &source->spec;

	model->ntypes = spec->nfeatures;
	model->types = palloc(sizeof(char *) * spec->nfeatures);
	for (int i = 0; i < spec->nfeatures; i++)
		model->types[i] = format_type_be(source->feature_types[i]);
	model->nseries_cols = spec->nseries;
	model->series_cols = spec->series_cols;
}

/*
 * Reports likely mistakes.  A narrow table that is taken for a wide one has one feature, and its
 * metrics are series.  In a narrow table without all of its series columns, rows of different
 * series have the same metric and time.
 */
static void
notice_mistakes(const Source *source, const SourceRange *range)
{
	const SourceSpec *spec = &source->spec;
	int64		rows = 0;
	int64 repeated = spec->metric_col && !spec->stored ? source_repeated_rows(source, range, &rows)
													   : 0;
	const char *last = spec->nseries > 1 ? spec->series_cols[spec->nseries - 1] : NULL;
	Oid			type = last ? getBaseType(source->series_types[spec->nseries - 1]) : InvalidOid;

	if (spec->metric_col == NULL && !spec->stored && spec->nfeatures == 1 &&
		(type == TEXTOID || type == VARCHAROID || type == BPCHAROID || type == NAMEOID))
		ereport(NOTICE,
				(errmsg("each combination of the series columns is a series with only one feature"),
				 errhint("If \"%s\" names what is measured, specify metric_col and value_col.",
						 last)));
	if (repeated > DUPLICATE_SHARE * rows)
		ereport(NOTICE,
				(errmsg(INT64_FORMAT " of the newest " INT64_FORMAT
									 " rows repeat the series, metric and time of another row",
						repeated, rows),
				 errdetail("Their values are combined by %s.", spec->aggregate),
				 errhint("If the values belong to several series, specify series_cols.")));
}

/* Reads the source, trains and stores a model; initial: see train_model(). */
static Jsonb *
train_on_source(Oid function, char *name, const SourceSpec *spec, Options *options,
				const Model *initial)
{
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = train_error_context,
		.arg = name,
	};
	SourceRange everything = {.last_n = 0};
	Source	   *source = source_open(spec);
	Reading		reading = {.source = source};
	TrainFacts	facts;
	Model	   *model;
	int			version;

	error_context_stack = &context;
	if (source->spec.nfeatures == 0)
		source_find_metrics(source, &everything);
	notice_mistakes(source, &everything);
	options->nnames = source->spec.nfeatures;
	options->names = source->spec.features;
	options_check_transforms(options, options->nnames);
	reading.dataset = dataset_open(CurrentMemoryContext, options, options->nnames, source->ts_type,
								   true, train_bytes(options, options->nnames));
	source_scan(source, &everything, false, read_row, &reading);
	check_reading(&reading);
	model = train_model(reading.dataset, initial, &facts);
	set_columns(model, source);
	version = registry_store(function, name, model, train_facts_to_jsonb(model, &facts),
							 source_to_jsonb(&source->spec));
	error_context_stack = context.previous;
	return train_summary(name, version, model, &facts);
}

/* ---- arguments ---------------------------------------------------------------------------- */

static char *
required_text(FunctionCallInfo fcinfo, int number, const char *name)
{
	char	   *text = text_argument(fcinfo, number);

	if (text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
	if (text[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be empty", name)));
	return text;
}

static int
optional_names(FunctionCallInfo fcinfo, int number, const char *name, char ***names)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	*names = NULL;
	if (PG_ARGISNULL(number))
		return 0;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(number), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	if (n > FEATURES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("%s has %d names, the limit is %d", name, n, FEATURES_MAX)));
	*names = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain nulls", name)));
		(*names)[i] = TextDatumGetCString(elements[i]);
	}
	return n;
}

/* The arguments that describe a narrow source, from number `first` on. */
static void
read_narrow_arguments(FunctionCallInfo fcinfo, int first, SourceSpec *spec)
{
	spec->function = fcinfo->flinfo->fn_oid;
	spec->metric_col = text_argument(fcinfo, first);
	spec->value_col = text_argument(fcinfo, first + 1);
	spec->bucket = text_argument(fcinfo, first + 2);
	spec->aggregate = text_argument(fcinfo, first + 3);
}

Datum
amad_train_source(PG_FUNCTION_ARGS)
{
	char	   *name = required_text(fcinfo, 0, "model_name");
	SourceSpec	spec = {
		.source = required_text(fcinfo, 1, "source"),
		.timestamp_col = text_argument(fcinfo, 2),
		.label_col = text_argument(fcinfo, 5),
	};
	Options		options;

	/* not after an hour of training */
	PreventCommandIfReadOnly("amad_train()");
	spec.nfeatures = optional_names(fcinfo, 3, "feature_cols", &spec.features);
	if (!PG_ARGISNULL(3) && spec.nfeatures == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("feature_cols must not be empty"),
				 errhint("Omit it to use all numeric and boolean columns, or all metrics.")));
	spec.nseries = optional_names(fcinfo, 4, "series_cols", &spec.series_cols);
	read_narrow_arguments(fcinfo, 7, &spec);
	options_parse(&options, PG_ARGISNULL(6) ? NULL : holidays_read(PG_GETARG_JSONB_P(6)));
	if (options.nnames > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"features\" cannot be combined with a source"),
				 errhint("Specify the columns in feature_cols.")));
	PG_RETURN_JSONB_P(train_on_source(fcinfo->flinfo->fn_oid, name, &spec, &options, NULL));
}

/*
 * Trains again on the current rows, with the source, columns and options of the deployed
 * version.  warm_start: its weights are the initial ones.
 */
Datum
amad_retrain(PG_FUNCTION_ARGS)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	char	   *name = required_text(fcinfo, 0, "model_name");
	bool		warm = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	RegistryEntry entry;
	SourceSpec	spec;
	Options		options;

	PreventCommandIfReadOnly("amad_retrain()");
	entry = registry_find(function, name, 0);
	spec = source_from_jsonb(registry_trusted_source(function, &entry, name));
	spec.function = function;
	options_parse(&options, registry_options(function, &entry));
	PG_RETURN_JSONB_P(train_on_source(function, name, &spec, &options,
									  warm ? registry_model(function, &entry) : NULL));
}
