/*
 * learn/estimate.c
 *	  amad_estimate: what a training will need, without training.
 *
 *		amad_estimate(source, timestamp_col, feature_cols, series_cols, label_col, options)
 *			→ one row
 *
 * The rows of each series are counted by a query.  Memory and the size of the stored version
 * follow from their numbers and the options.  Time is measured on samples:
 *
 *	- reading: the first rows of the source are read as in a training.  Two samples of
 *	  different size are compared, so that what does not depend on the number of rows, such
 *	  as the start of the query, is counted once.
 *	- training: some steps of the optimizer, with the workers that the training would have,
 *	  on random rows of the same shape.  Again two runs are compared.
 *	- calibration: that of the model trained in these steps, on the same random rows.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/rng.h"
#include "learn/binary_features.h"
#include "learn/calibrate.h"
#include "learn/fit_season.h"
#include "learn/fit_states.h"
#include "learn/optimizer.h"
#include "learn/train_model.h"
#include "model/codec.h"
#include "pg/call_arguments.h"
#include "pg/elapsed.h"
#include "pg/progress.h"
#include "rows/holidays.h"
#include "rows/relation.h"
#include "rows/source.h"

#define RNG_ROWS 9				/* stream of random numbers for the rows */
#define RANDOM_ROWS 4000 /* random rows for steps and calibration, if the series are so long */
#define BASELINE_ROWS 20000		/* likewise for the methods without a network, which are faster */
#define SAMPLE_ROWS 20000		/* rows of the source that are read */
#define FIRST_STEPS 1			/* of the short run */
#define RUN_SECONDS 0.4			/* of the long run */
#define MOST_STEPS 200			/* likewise */

/* Seconds of the parts of a training. */
typedef struct Seconds
{
	double		read;
	double		train;
	double		calibrate;
} Seconds;

/* A training to be estimated. */
typedef struct Estimate
{
	/* input */
	Options		options;
	Source	   *source;
	SourceSize	size;

	/* what fits */
	Size		required;		/* maintenance_work_mem for all rows */
	double		share;			/* of the rows that are used; 0: no training is possible */

	/* the random rows, and a model trained on them */
	Dataset    *dataset;
	double		scale;			/* rows of the training for each of these */
	Model	   *model;
	Size		version_bytes;

	/* the training */
	int64		steps;
	double		passes;
	int			workers;
	Size		memory;
	bool		missing;		/* rows of the source have missing values */
	Seconds		seconds;
} Estimate;

/* ---- rows and memory -------------------------------------------------------------------- */

static void
count_rows(Estimate *e)
{
	const ModelPlan plan = plan_make(&e->options, e->source->spec.nfeatures);

	e->size = source_count(e->source, plan.chunk_rows);
	if (e->size.rows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has no rows", source_label(e->source->spec.source)),
				 source_errcontext(e->source->spec.source)));
	if (e->size.used_series == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("too few rows to train a model: " INT64_FORMAT, e->size.rows),
				 errdetail("The longest series has " INT64_FORMAT " rows, and a training needs %d.",
						   e->size.largest, plan.chunk_rows)));
}

/* Computes which memory all rows need, and the share of them that fits. */
static void
compare_memory(Estimate *e)
{
	const SourceSize *size = &e->size;
	const int	C = e->source->spec.nfeatures;
	Dataset    *d = dataset_open(CurrentMemoryContext, &e->options, C, e->source->ts_type);
	int			level = 0;

	dataset_begin_sample(d, train_bytes(&e->options, C), 0);
	e->required = dataset_bytes(d, size->used_series, size->used_rows, size->largest);
	if (!budget_fits(e->required))
		level = dataset_sample_level(d, size->used_series, size->used_rows, size->largest);
	e->share = level < 30 && size->used_rows >> level >= dataset_least_rows(d) ? ldexp(1.0, -level)
																			   : 0.0;
	dataset_close(d);
}

/* ---- reading ---------------------------------------------------------------------------- */

typedef struct ReadingSample
{
	Dataset    *dataset;
	int			features;
	int64		rows;
	bool		missing;
} ReadingSample;

static void
read_sample_row(const SourceRow *row, void *arg)
{
	ReadingSample *s = arg;

	for (int i = 0; i < s->features && !s->missing; i++)
		s->missing = isnan(row->values[i]);
	dataset_add(s->dataset, s->rows++, row->values);
}

/* Reads the first n rows of the source as in a training; returns the seconds. */
static double
time_reading(Estimate *e, int64 n)
{
	const SourceRange everything = {.last_n = 0};
	const int	C = e->source->spec.nfeatures;
	Source		some = *e->source;
	ReadingSample sample = {.features = C};
	instr_time	start;
	double		seconds;

	some.from = psprintf("(SELECT * FROM %s LIMIT " INT64_FORMAT ") AS source", e->source->from, n);
	sample.dataset = dataset_open(CurrentMemoryContext, &e->options, C, INT8OID);
	dataset_begin(sample.dataset, NULL);
	INSTR_TIME_SET_CURRENT(start);
	source_scan(&some, &everything, false, read_sample_row, &sample);
	seconds = seconds_since(start);
	e->missing = e->missing || sample.missing;
	dataset_close(sample.dataset);
	return seconds;
}

static void
measure_reading(Estimate *e)
{
	const Size	fits = budget_rest() / 2 / series_row_bytes(e->source->spec.nfeatures);
	const int64 n = Min(e->size.rows, (int64) Min(SAMPLE_ROWS, fits));
	const double few = time_reading(e, n / 10);
	const double many = time_reading(e, n);

	e->seconds.read = e->size.seconds + few +
		Max(many - few, 0) / Max(n - n / 10, 1) * (e->size.rows - n / 10);
}

/* ---- random rows ------------------------------------------------------------------------- */

/* Adds rows of a series: waves with noise. */
static void
add_random_series(Dataset *d, const char *key, int64 n, int64 step, nn_rng *rng)
{
	double	   *values = palloc(sizeof(double) * d->features);

	dataset_begin(d, key);
	for (int64 row = 0; row < n; row++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int c = 0; c < d->features; c++)
		{
			/* positive, for logarithms, and growing, for rates */
			values[c] = 2 + sin(row / (5.0 + c)) + nn_rng_double(rng);
			if (options_transform(d->options, c) == TRANSFORM_RATE)
				values[c] += 3.0 * row;
		}
		dataset_add(d, row * step, values);
	}
	pfree(values);
}

/* Creates random rows in series as long as those of the source are on average. */
static void
create_random_rows(Estimate *e)
{
	const SourceSize *size = &e->size;
	const bool	fleet = e->source->spec.nseries > 0;
	const int	C = e->source->spec.nfeatures;
	const int64 most = e->options.method == METHOD_AMAD ? RANDOM_ROWS : BASELINE_ROWS;
	const double mean = e->share * size->used_rows / size->used_series;
	Dataset    *d = dataset_open(CurrentMemoryContext, &e->options, C, e->source->ts_type);
	int64		rows = Max((int64) Min(mean, most), dataset_least_rows(d));
	int			n = fleet ? (int) Min(ceil((double) most / rows), size->used_series) : 1;
	int64		step = (int64) Max(Min(size->span / Max(size->largest - 1, 1), 1e18 / rows), 1);
	nn_rng		rng;

	nn_rng_seed(&rng, e->options.seed, RNG_ROWS);
	for (int i = 0; i < n; i++)
		add_random_series(d, fleet ? psprintf("{\"series\": %d}", i) : NULL, rows, step, &rng);
	e->dataset = d;
	e->scale = e->share * size->used_rows / ((double) n * rows);
}

/* The season that rows of the span of the source's show. */
static nn_season
choose_season(const Estimate *e)
{
	const SourceSize *size = &e->size;
	int64		ts[2] = {0, (int64) Min(size->span, 9e18)};
	DatasetRun	run = {.rows = 2};
	DatasetSeries series = {.rows = 2};
	const Dataset d = {
		.options = &e->options,
		.ts_type = e->source->ts_type,
		.ts = ts,
		.nrows = 2,
		.runs = &run,
		.nruns = 1,
		.series = &series,
		.nseries = 1,
	};

	return fit_season_periods(&e->options, &d, size->span / Max(size->largest - 1, 1));
}

/* ---- steps and calibration ---------------------------------------------------------------- */

static double
time_steps(OptimizerPlan *plan, const OptimizerRows *rows, Model *m, int workers, int64 steps)
{
	OptimizerReport report;
	instr_time	start;

	plan->steps = steps;
	INSTR_TIME_SET_CURRENT(start);
	optimizer_run(plan, rows, m->params, workers, &report);
	return seconds_since(start);
}

/* Trains some steps of the network. */
static void
measure_training_steps(Estimate *e)
{
	const Options *o = &e->options;
	OptimizerRows rows;
	OptimizerPlan plan = optimizer_plan(e->dataset, &rows);
	double		batch = (double) o->batch_size * o->chunk_length;
	double		trained = e->scale * plan.steps * batch / plan.passes;
	double		few;
	double		many;
	int64		more;

	e->steps = o->steps > 0 ? o->steps : Max((int64) ceil(o->epochs * trained / batch), 1);
	e->passes = e->steps * batch / trained;

	/* as many workers as the training would have */
	plan.steps = e->steps;
	plan.rows = (int64) (e->share * e->size.used_rows);
	e->workers = optimizer_workers(&plan, e->memory);
	e->memory += optimizer_shared_bytes(&plan, e->workers);
	plan.rows = e->dataset->nrows;

	few = time_steps(&plan, &rows, e->model, e->workers, FIRST_STEPS);
	more = (int64) Min(Max(RUN_SECONDS / Max(few / FIRST_STEPS, 1e-6), 2), MOST_STEPS);
	many = time_steps(&plan, &rows, e->model, e->workers, FIRST_STEPS + more);
	e->seconds.train = few + Max(many - few, 0) / more * Max(e->steps - FIRST_STEPS, 0);
}

/* The most that a training allocates at a time, workers not included. */
static Size
peak_memory(const Estimate *e)
{
	const Model *m = e->model;
	const Options *o = &e->options;
	const SourceSize *size = &e->size;
	const Size	C = m->features;
	const int64 rows = (int64) (e->share * size->used_rows);
	const int64 largest = (int64) (e->share * size->largest);
	Size scaled = rows * (sizeof(float) * C + sizeof(int64) + (e->missing ? IMPUTED_BYTES(C) : 0));
	Size		series = size->used_series * (sizeof(DatasetSeries) + 3 * sizeof(double) * C);
	Size		weights = sizeof(float) * m->plan.params_size;
	Size		sort = Min((Size) work_mem * 1024, rows * (sizeof(Datum) * (C + 1) + 48));
	Size		reading = scaled + largest * series_row_bytes(C) +
		(e->source->spec.nseries > 0 ? scaled / 8 + sort : 0);
	Size		training = scaled + rows + weights +
		(m->plan.has_network ? optimizer_bytes(&m->plan.shape, o->batch_size, o->chunk_length) : 0);
	Size		calibration = scaled + rows + weights + calibrate_bytes(m, rows) +
		size->used_series * (sizeof(ModelSeries) + figures_bytes(&m->sizes));

	return series + Max(reading, Max(training, calibration));
}

/* Trains a model on the random rows as train_model() does, and measures the parts. */
static void
measure_training(Estimate *e)
{
	Dataset    *d = e->dataset;
	const nn_season season = choose_season(e);
	instr_time	start;
	double		passed;

	e->model = model_create(&e->options, d->features, 0);
	e->model->ts_type = d->ts_type;
	INSTR_TIME_SET_CURRENT(start);
	dataset_finish(d, &e->model->stats);
	e->seconds.read += seconds_since(start) * e->scale;
	/* the source is read until memory is full, for the sample, and for the calibration */
	if (e->share < 1)
		e->seconds.read *= 3;
	model_set_season(e->model, &season);
	find_binary_features(e->model, d);
	e->memory = peak_memory(e);
	if (d->plan.has_network)
	{
		measure_training_steps(e);
		/* states are fitted to a sample of the rows, so their number hardly matters */
		INSTR_TIME_SET_CURRENT(start);
		fit_states(e->model, d);
		e->seconds.train += seconds_since(start);
	}
	else if (e->options.method == METHOD_PCA)
	{
		INSTR_TIME_SET_CURRENT(start);
		train_components(e->model, d, CurrentMemoryContext);
		e->seconds.train = seconds_since(start) * e->scale;
	}
	passed = calibrate_passed_rows(e->model, d, e->scale) / calibrate_passed_rows(e->model, d, 1);
	INSTR_TIME_SET_CURRENT(start);
	calibrate_model(e->model, d);
	/* when the sample has been calibrated on, each series is, on all of its rows */
	if (e->share < 1)
		passed += e->scale / e->share;
	e->seconds.calibrate = seconds_since(start) * passed;
	e->model->nseries_cols = e->source->spec.nseries;
	e->model->series_cols = e->source->spec.series_cols;
	e->version_bytes = VARSIZE(model_encode(e->model)) +
		(e->size.used_series - Max(e->model->nseries, 1)) *
			(figures_stored_bytes(&e->model->sizes) +
			 (e->model->nseries > 0 ? strlen(e->model->series[0].key) : 0));
	/* it is encoded while the model is in memory */
	e->memory = Max(e->memory, 2 * e->version_bytes);
}

/* ---- amad_estimate ------------------------------------------------------------------------ */

enum
{
	ARG_SOURCE,
	ARG_TIMESTAMP_COL,
	ARG_FEATURE_COLS,
	ARG_SERIES_COLS,
	ARG_LABEL_COL,
	ARG_OPTIONS
};

enum
{
	COL_ROWS,
	COL_SERIES,
	COL_SHORT_SERIES,
	COL_FEATURES,
	COL_SAMPLED,
	COL_STEPS,
	COL_PASSES,
	COL_WORKERS,
	COL_SECONDS,
	COL_READ_SECONDS,
	COL_TRAIN_SECONDS,
	COL_CALIBRATE_SECONDS,
	COL_MEMORY,
	COL_MEMORY_REQUIRED,
	COL_MAINTENANCE_WORK_MEM,
	COL_VERSION_BYTES,
	COL_COUNT
};

SQL_FUNCTION(amad_estimate);

Datum
amad_estimate(PG_FUNCTION_ARGS)
{
	const bool	begun = progress_begin(PROGRESS_ESTIMATE);
	Estimate	e = {.missing = false};
	SourceSpec	spec = {
		.source = required_text_argument(fcinfo, ARG_SOURCE, "source"),
		.timestamp_col = text_argument(fcinfo, ARG_TIMESTAMP_COL),
		.label_col = text_argument(fcinfo, ARG_LABEL_COL),
	};
	Datum		values[COL_COUNT] = {0};
	bool		nulls[COL_COUNT] = {false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	spec.nfeatures = names_argument(fcinfo, ARG_FEATURE_COLS, "feature_cols", FEATURES_MAX,
									&spec.features);
	spec.nseries = names_argument(fcinfo, ARG_SERIES_COLS, "series_cols", FEATURES_MAX,
								  &spec.series_cols);
	options_parse(&e.options,
				  PG_ARGISNULL(ARG_OPTIONS) ? NULL : holidays_read(PG_GETARG_JSONB_P(ARG_OPTIONS)));
	e.source = source_open(&spec);
	e.options.nnames = e.source->spec.nfeatures;
	e.options.names = e.source->spec.features;
	options_check_transforms(&e.options, e.options.nnames);

	count_rows(&e);
	compare_memory(&e);
	if (e.share > 0)
	{
		measure_reading(&e);
		create_random_rows(&e);
		measure_training(&e);
	}
	progress_end(begun);

	values[COL_ROWS] = Int64GetDatum(e.size.rows);
	values[COL_SERIES] = Int64GetDatum(e.size.used_series);
	values[COL_SHORT_SERIES] = Int64GetDatum(e.size.series - e.size.used_series);
	values[COL_FEATURES] = Int32GetDatum(e.source->spec.nfeatures);
	values[COL_SAMPLED] = Float8GetDatum(e.share);
	values[COL_STEPS] = Int64GetDatum(e.steps);
	values[COL_PASSES] = Float8GetDatum(e.passes);
	values[COL_WORKERS] = Int32GetDatum(e.workers);
	values[COL_SECONDS] = Float8GetDatum(e.seconds.read + e.seconds.train + e.seconds.calibrate);
	values[COL_READ_SECONDS] = Float8GetDatum(e.seconds.read);
	values[COL_TRAIN_SECONDS] = Float8GetDatum(e.seconds.train);
	values[COL_CALIBRATE_SECONDS] = Float8GetDatum(e.seconds.calibrate);
	values[COL_MEMORY] = Int64GetDatum(e.memory);
	values[COL_MEMORY_REQUIRED] = Int64GetDatum(e.required);
	values[COL_MAINTENANCE_WORK_MEM] = Int64GetDatum((int64) maintenance_work_mem * 1024);
	values[COL_VERSION_BYTES] = Int64GetDatum(e.version_bytes);
	for (int i = COL_STEPS; e.share == 0 && i < COL_COUNT; i++)
		nulls[i] = i != COL_MEMORY_REQUIRED && i != COL_MAINTENANCE_WORK_MEM;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
