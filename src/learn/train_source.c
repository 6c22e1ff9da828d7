/*
 * learn/train_source.c
 *	  The functions amad_train on a source, and amad_retrain.
 *
 *		amad_train(model_name, source, timestamp_col, feature_cols, series_cols,
 *				   label_col, options, since, until, last_n, metric_col, value_col, bucket,
 *				   aggregate, deploy, keep) → jsonb
 *		amad_retrain(model_name, warm_start, since, until, last_n, deploy, keep) → jsonb
 *
 * The source is read once, sorted by series and time, in the range given by since, until and
 * last_n.  The source is stored without the range, so detection reads all of it.
 *
 * When the rows do not fit in maintenance_work_mem, the source is read again: first whole blocks of
 * rows, a sample that the network is trained on, then all rows, series by series, on which the
 * model is calibrated (calibrate_source.c).
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "learn/calibrate_source.h"
#include "learn/deployment.h"
#include "learn/train_model.h"
#include "model/registry.h"
#include "model/verdicts.h"
#include "pg/call_arguments.h"
#include "pg/elapsed.h"
#include "pg/json.h"
#include "pg/progress.h"
#include "pg/timestamps.h"
#include "rows/dataset.h"
#include "rows/duplicate_rows.h"
#include "rows/holidays.h"
#include "rows/relation.h"
#include "rows/source.h"
#include "rows/source_groups.h"
#include "score/detect_arguments.h"

/* Arguments, in their order. */
enum
{
	ARG_MODEL_NAME,
	ARG_SOURCE,
	ARG_TIMESTAMP_COL,
	ARG_FEATURE_COLS,
	ARG_SERIES_COLS,
	ARG_LABEL_COL,
	ARG_OPTIONS,
	ARG_SINCE,
	ARG_UNTIL,
	ARG_LAST_N,
	ARG_METRIC_COL,
	ARG_VALUE_COL,
	ARG_BUCKET,
	ARG_AGGREGATE,
	ARG_DEPLOY,
	ARG_KEEP
};

enum
{
	RETRAIN_ARG_MODEL_NAME,
	RETRAIN_ARG_WARM_START,
	RETRAIN_ARG_SINCE,
	RETRAIN_ARG_UNTIL,
	RETRAIN_ARG_LAST_N,
	RETRAIN_ARG_DEPLOY,
	RETRAIN_ARG_KEEP
};

SQL_FUNCTION(amad_train_source);
SQL_FUNCTION(amad_retrain);

/* ---- reading -------------------------------------------------------------------------- */

typedef struct Reading
{
	const Source *source;
	SourceRange range;
	Dataset    *dataset;
	int64		rows;
} Reading;

static void
read_row(const SourceRow *row, void *arg)
{
	Reading    *r = arg;
	DatasetFacts *facts = &r->dataset->facts;

	r->rows++;
	source_report_row(r->source, &r->range);
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

/* ---- a sample of rows that are on other nodes --------------------------------------------- */

/* The numbers of rows of a series. */
typedef struct SeriesCount
{
	char	   *key;
	int64		rows;
	int64		valid;			/* with a finite time */
	int64		times;			/* different ones */
} SeriesCount;

/* A sample that is read with the numbers of all rows. */
typedef struct SampleReading
{
	Reading    *reading;
	MemoryContext context;
	SeriesCount *counts;		/* in the order in which series are read */
	int			n;
	int			next;			/* the first that has not begun */
	int			open;			/* the open one; -1: none, or one without a count */
} SampleReading;

static void
receive_count(const char *key, const Datum *values, const bool *nulls, void *arg)
{
	SampleReading *s = arg;
	SeriesCount *count;

	/* the length is a power of two */
	if (s->n == 0)
		s->counts = MemoryContextAlloc(s->context, sizeof(SeriesCount));
	else if ((s->n & (s->n - 1)) == 0)
		s->counts = repalloc_huge(s->counts, sizeof(SeriesCount) * 2 * s->n);
	count = &s->counts[s->n++];
	count->key = MemoryContextStrdup(s->context, key);
	count->rows = DatumGetInt64(values[0]);
	count->valid = DatumGetInt64(values[1]);
	count->times = DatumGetInt64(values[2]);
}

static void
count_series(SampleReading *s)
{
	static const Oid types[] = {INT8OID, INT8OID, INT8OID};
	StringInfoData finite;

	initStringInfo(&finite);
	source_append_finite(&finite, s->reading->source);
	source_scan_groups(s->reading->source, &s->reading->range,
					   &(SourceAggregates){
						   .select = psprintf("pg_catalog.count(*), "
											  "pg_catalog.count(*) FILTER (WHERE %s), "
											  "pg_catalog.count(DISTINCT c0) FILTER (WHERE %s)",
											  finite.data, finite.data),
						   .n = lengthof(types),
						   .types = types,
					   },
					   receive_count, s);
}

/* The level at which the dataset can be read. */
static int
choose_sample_level(const SampleReading *s)
{
	int64	   *rows = palloc_extended(sizeof(int64) * Max(s->n, 1), MCXT_ALLOC_HUGE);
	int			level;

	for (int i = 0; i < s->n; i++)
		rows[i] = s->counts[i].times;
	level = dataset_choose_level(s->reading->dataset, s->n, rows);
	pfree(rows);
	return level;
}

/* Begins the counted series before number `end`; none of their rows has come. */
static void
begin_series_before(SampleReading *s, int end)
{
	Dataset    *d = s->reading->dataset;

	if (s->open >= 0)
		dataset_skip_to(d, s->counts[s->open].times);
	s->open = -1;
	for (; s->next < end; s->next++)
	{
		CHECK_FOR_INTERRUPTS();
		dataset_begin(d, s->counts[s->next].key);
		dataset_skip_to(d, s->counts[s->next].times);
	}
}

/* Begins the series of a row, which was not counted if it is new. */
static void
begin_sampled_series(SampleReading *s, const char *key)
{
	int			number = s->next;

	while (number < s->n && strcmp(s->counts[number].key, key) != 0)
		number++;
	if (number < s->n)
	{
		begin_series_before(s, number);
		s->open = number;
		s->next = number + 1;
	}
	else
		begin_series_before(s, s->next);
	dataset_begin(s->reading->dataset, key);
}

static void
read_sampled_row(const SourceRow *row, void *arg)
{
	SampleReading *s = arg;
	Dataset    *d = s->reading->dataset;

	source_report_row(s->reading->source, &s->reading->range);
	if (row->new_series)
		begin_sampled_series(s, row->new_series);
	if (!row->ts_valid || row->duplicate)
		return;
	dataset_skip_to(d, row->place);
	if (row->bad)
		dataset_skip(d);
	else
		dataset_add(d, row->ts, row->values);
}

/* Reads a sample at a level, and sets what is known of the other rows. */
static void
read_remote_sample(SampleReading *s, int level)
{
	Reading    *r = s->reading;
	SourceRange range = r->range;
	const SourceSample sample = {
		.level = level,
		.block_rows = dataset_block_rows(r->dataset),
	};
	DatasetFacts *facts = &r->dataset->facts;

	range.sample = &sample;
	s->next = 0;
	s->open = -1;
	source_scan(r->source, &range, false, read_sampled_row, s);
	begin_series_before(s, s->n);
	for (int i = 0; i < s->n; i++)
	{
		r->rows += s->counts[i].rows;
		facts->without_ts += s->counts[i].rows - s->counts[i].valid;
		facts->duplicates += s->counts[i].valid - s->counts[i].times;
	}
}

/* ---- the source ----------------------------------------------------------------------------- */

/* Reads all rows or, if they do not fit, a sample. */
static void
read_source(Reading *r, const Options *options)
{
	const int	features = options->nnames;
	const Size	reserve = train_bytes(options, features);
	SampleReading sample = {.reading = r, .context = CurrentMemoryContext};
	bool		counted = false;

	for (int level = 0; level >= 0;)
	{
		if (r->dataset)
			dataset_close(r->dataset);
		r->rows = 0;
		progress_phase(PROGRESS_READING, 0, 0);
		r->dataset = dataset_open(CurrentMemoryContext, options, features, r->source->ts_type);
		dataset_begin_sample(r->dataset, reserve, level);
		if (!counted && calibrated_remotely(r->source))
		{
			count_series(&sample);
			counted = true;
			level = choose_sample_level(&sample);
			dataset_begin_sample(r->dataset, reserve, level);
		}
		if (counted && level > 0)
			read_remote_sample(&sample, level);
		else
			source_scan(r->source, &r->range, false, read_row, r);
		level = dataset_end_sample(r->dataset);
	}
}

static void
check_reading(const Reading *r)
{
	const bool	limited = r->range.has_since || r->range.has_until;

	if (r->rows == 0 || (limited && r->rows == r->dataset->facts.without_ts))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 limited
					 ? errmsg("%s has no rows in the range", source_label(r->source->spec.source))
					 : errmsg("%s has no rows", source_label(r->source->spec.source)),
				 r->source->spec.metric_col
					 ? errhint("The names in feature_cols must be values of metric_col.")
					 : 0,
				 source_errcontext(r->source->spec.source)));
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

/* A bound as JSON: a number or, in UTC, a time. */
static void
write_bound(StringInfo out, const char *key, const Source *source, int64 ts)
{
	if (source->ts_type == INT8OID)
		json_put_int(out, key, ts);
	else
		json_put_string(out, key, timestamps_literal(source->ts_type, ts));
}

/* Adds the range to facts or a summary. */
static Jsonb *
add_range(Jsonb *object, const Source *source, const SourceRange *range)
{
	StringInfoData members;
	StringInfoData text;

	if (!range->has_since && !range->has_until && range->last_n == 0)
		return object;
	initStringInfo(&members);
	appendStringInfoChar(&members, '{');
	if (range->has_since)
		write_bound(&members, "since", source, range->since);
	if (range->has_until)
		write_bound(&members, "until", source, range->until);
	if (range->last_n > 0)
		json_put_int(&members, "last_n", range->last_n);
	appendStringInfoChar(&members, '}');
	initStringInfo(&text);
	json_reopen(&text, object);
	json_put_json(&text, "range", members.data);
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}

/* Calibrates a model that was trained on a sample. */
static void
calibrate_sampled(Model *model, const Source *source, const SourceRange *range, TrainFacts *facts)
{
	SeriesSummary *summary;
	int			nseries;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	progress_phase(PROGRESS_CALIBRATING_SERIES, facts->passed, 0);
	summary = calibrate_source(model, source, range, &nseries);
	train_set_calibrated(model, summary, nseries, facts);
	facts->seconds += seconds_since(start);
}

/* What one of the functions asks for. */
typedef struct TrainCall
{
	char	   *name;
	SourceSpec	spec;
	Options		options;
	const Model *initial;		/* see train_model() */
	DetectSpec	range;
	DeployArguments deploy;
	int			from_version;	/* that it replaces; 0: whichever is deployed */
} TrainCall;

/* Reads the source, trains and stores a model. */
static Jsonb *
train_on_source(TrainCall *call)
{
	char	   *name = call->name;
	Options    *options = &call->options;
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = train_error_context,
		.arg = name,
	};
	Source	   *source = source_open(&call->spec);
	SourceRange range = range_of_source(&call->range, source->ts_type);
	Reading		reading = {.source = source, .range = range};
	TrainFacts	facts;
	Deployment	deployment;
	Model	   *model;
	Jsonb	   *summary;

	error_context_stack = &context;
	source_leave_out_incidents(source,
							   verdicts_of_model(call->range.function, GetUserId(), name,
												 VERDICT_INCIDENT));
	if (source->spec.nfeatures == 0)
		source_find_metrics(source, &range);
	notice_mistakes(source, &range);
	options->nnames = source->spec.nfeatures;
	options->names = source->spec.features;
	options_check_transforms(options, options->nnames);
	call->range.model_name = name;
	call->range.given = &source->spec;
	/* of whichever type the time column is */
	call->range.bound_type = source->ts_type;
	call->range.has_since = range.has_since;
	call->range.since = Int64GetDatum(range.since);
	call->range.has_until = range.has_until;
	call->range.until = Int64GetDatum(range.until);
	deployment = deployment_open(&call->deploy, &call->range, call->from_version);
	read_source(&reading, options);
	check_reading(&reading);
	model = train_model(reading.dataset, call->initial, &facts);
	set_columns(model, source);
	if (facts.sampled > 1)
		calibrate_sampled(model, source, &range, &facts);
	model->training =
		JsonbToCString(NULL, &add_range(json_to_jsonb(model->training), source, &range)->root, -1);
	progress_phase(PROGRESS_STORING, 0, 0);
	deployment_store(&deployment, model, train_facts_to_jsonb(model, &facts),
					 source_to_jsonb(&source->spec));
	error_context_stack = context.previous;
	summary = train_summary(name, deployment.stored.version, model, &facts);
	return deployment_summary(&deployment, add_range(summary, source, &range));
}

/* ---- arguments ---------------------------------------------------------------------------- */

/* The arguments that describe a narrow source. */
static void
read_narrow_arguments(FunctionCallInfo fcinfo, SourceSpec *spec)
{
	spec->function = fcinfo->flinfo->fn_oid;
	spec->metric_col = text_argument(fcinfo, ARG_METRIC_COL);
	spec->value_col = text_argument(fcinfo, ARG_VALUE_COL);
	spec->bucket = text_argument(fcinfo, ARG_BUCKET);
	spec->aggregate = text_argument(fcinfo, ARG_AGGREGATE);
}

Datum
amad_train_source(PG_FUNCTION_ARGS)
{
	TrainCall	call = {
		.name = required_text_argument(fcinfo, ARG_MODEL_NAME, "model_name"),
		.spec.source = required_text_argument(fcinfo, ARG_SOURCE, "source"),
		.spec.timestamp_col = text_argument(fcinfo, ARG_TIMESTAMP_COL),
		.spec.label_col = text_argument(fcinfo, ARG_LABEL_COL),
		.range = read_range_arguments(fcinfo, ARG_SINCE),
		.deploy = read_deploy_arguments(fcinfo, ARG_DEPLOY, ARG_KEEP),
	};
	SourceSpec *spec = &call.spec;
	bool		begun = progress_begin(PROGRESS_TRAIN);
	Jsonb	   *summary;

	/* not after an hour of training */
	PreventCommandIfReadOnly("amad_train()");
	spec->nfeatures = names_argument(fcinfo, ARG_FEATURE_COLS, "feature_cols", FEATURES_MAX,
									 &spec->features);
	if (!PG_ARGISNULL(ARG_FEATURE_COLS) && spec->nfeatures == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("feature_cols must not be empty"),
				 errhint("Omit it to use all numeric and boolean columns, or all metrics.")));
	spec->nseries = names_argument(fcinfo, ARG_SERIES_COLS, "series_cols", FEATURES_MAX,
								   &spec->series_cols);
	read_narrow_arguments(fcinfo, spec);
	options_parse(&call.options,
				  PG_ARGISNULL(ARG_OPTIONS) ? NULL : holidays_read(PG_GETARG_JSONB_P(ARG_OPTIONS)));
	if (call.options.nnames > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"features\" cannot be combined with a source"),
				 errhint("Specify the columns in feature_cols.")));
	summary = train_on_source(&call);
	progress_end(begun);
	PG_RETURN_JSONB_P(summary);
}

/*
 * Trains again on the current rows, with the source, columns and options of the deployed
 * version.  warm_start: its weights are the initial ones.
 */
Datum
amad_retrain(PG_FUNCTION_ARGS)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	TrainCall	call = {
		.name = required_text_argument(fcinfo, RETRAIN_ARG_MODEL_NAME, "model_name"),
		.range = read_range_arguments(fcinfo, RETRAIN_ARG_SINCE),
		.deploy = read_deploy_arguments(fcinfo, RETRAIN_ARG_DEPLOY, RETRAIN_ARG_KEEP),
	};
	RegistryEntry entry;
	bool		begun = progress_begin(PROGRESS_RETRAIN);
	Jsonb	   *summary;

	PreventCommandIfReadOnly("amad_retrain()");
	entry = registry_find(function, call.name, 0);
	call.from_version = entry.version;
	call.spec = source_from_jsonb(registry_trusted_source(function, &entry, call.name));
	call.spec.function = function;
	options_parse(&call.options, registry_options(function, &entry));
	if (!PG_ARGISNULL(RETRAIN_ARG_WARM_START) && PG_GETARG_BOOL(RETRAIN_ARG_WARM_START))
		call.initial = registry_model(function, &entry);
	summary = train_on_source(&call);
	progress_end(begun);
	PG_RETURN_JSONB_P(summary);
}
