/*
 * amad.c
 *	  The module: settings and amad_version().
 *
 * Where things are, in the order data flows:
 *
 *	fit.c			aggregates amad_fit, amad_train: rows from SQL
 *	feature.c		features of a row, from arguments of any numeric type
 *	timestamps.c	the time column
 *	series.c		rows sorted, filled, scaled
 *	options.c		the options jsonb
 *	train.c			a series to a model, by way of
 *	steps.c			chunks through the network: weights; steps_parallel.c: on workers
 *	calibrate.c		weights and rows: scales and threshold
 *	model.c			the type amad_model
 *	registry.c		the table amad_models
 *	cache.c			models ready to score
 *	predict.c		rows through a model; predict_parallel.c: on workers
 *	score.c			window function amad_score; window_row.c: its arguments
 *	describe.c		amad_describe, amad_weights
 *	blas.c, json.c	small helpers
 *	nn/				the network; knows no PostgreSQL
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
