/*
 * amad.c
 *	  The module: settings and amad_version().
 *
 * Where things are, in the order data flows:
 *
 *	rows
 *		fit.c			aggregates amad_fit, amad_train: rows from arguments
 *		train_source.c	amad_train by name, amad_retrain: rows from
 *		source.c		a relation or query (relation.c), its columns bound by name
 *		feature.c		features of a row, of any numeric type or boolean
 *		timestamps.c	the time column
 *		series_key.c	the name of a series
 *	a training
 *		options.c		the options jsonb
 *		series.c		rows of one series: sorted, cut at gaps, filled, scaled
 *		dataset.c		those of all series, held out and sampled; budget.c: bounded
 *		train.c			a dataset to a model, by way of
 *		steps.c			chunks through the network: weights; steps_parallel.c: on workers
 *		calibrate.c		weights and rows: scales of errors, raw scores
 *		threshold.c		raw scores: scales of horizons, the threshold
 *		flags.c			features of two values, which weigh less
 *		states.c		where the rows of a training stand
 *		season.c		what the time of a row makes one expect
 *		flatline.c		how little features move
 *	a model
 *		model.c			the type amad_model
 *		registry.c		the table amad_models; models_table.c: statements on it, run as its owner;
 *						lifecycle.c: amad_deploy, amad_drop
 *		cache.c			models ready to score
 *		describe.c		amad_describe, amad_weights
 *	scores
 *		predict.c		what a model expects of rows, whatever its method;
 *						predict_parallel.c: on workers; workers.c: their shared memory
 *		scorer.c		rows of a series to scores, block by block
 *		result.c		the columns that are told of a row
 *		score.c			window functions amad_score, amad_explain; window_row.c: their arguments
 *		detect.c		a source, scored; detect_sql.c: amad_detect
 *		events.c		amad_events: flagged rows to intervals; maintenance.c: times to leave out
 *	recent rows
 *		recent.c		those of a source, with what the model says of them
 *		recalibrate.c	amad_recalibrate: to new scales and threshold
 *		drift.c			amad_drift: have they changed, and where
 *	measures
 *		evaluate.c		aggregate amad_evaluate; metrics*.c: what it computes
 *	arguments.c, blas.c, json.c, rowset.c	small helpers
 *	nn/					the network; knows no PostgreSQL
 */
#include "postgres.h"
#include "compat.h"

#include "utils/guc.h"

#include "blas.h"
#include "json.h"
#include "nn/nn.h"
#include "steps.h"

#ifdef PG_MODULE_MAGIC_EXT
PG_MODULE_MAGIC_EXT(.name = "amad", .version = AMAD_VERSION);
#else
PG_MODULE_MAGIC;
#endif

SQL_FUNCTION(amad_version);

void
_PG_init(void)
{
	blas_init();
	DefineCustomBoolVariable("amad.report_progress",
							 "Reports the progress of trainings as notices",
							 NULL,
							 &steps_report_progress,
							 false,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("amad.max_parallel_workers",
							"Maximum number of parallel workers of a training or a detection",
							"-1 takes max_parallel_maintenance_workers.",
							&steps_max_workers,
							-1, -1, 1024,
							PGC_USERSET,
							0,
							NULL, NULL, NULL);
	MarkGUCPrefixReserved("amad");
}

Datum
amad_version(PG_FUNCTION_ARGS)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_key(&text, "amad");
	json_string(&text, AMAD_VERSION);
	json_key(&text, "postgresql");
	json_string(&text, PG_VERSION);
	json_key(&text, "kernels");
	json_string(&text, nn_kernel_name());
	json_key(&text, "blas");
	blas_describe(&text);
	appendStringInfoChar(&text, '}');
	PG_RETURN_JSONB_P(json_to_jsonb(text.data));
}
