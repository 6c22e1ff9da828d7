/*
 * amad.c
 *	  The module: initialisation and amad_version().
 *
 * Each folder of src/ is a wing.  A file includes only headers of its own wing and of
 * those above it in this list; docs/architecture.md has the whole map.
 *
 *	core/		the network and what else is evidence; no PostgreSQL
 *	pg/			helpers around PostgreSQL's own facilities, and the settings
 *	model/		options, the type amad_model, the table amad_models
 *	rows/		rows from arguments and sources, to series, to the rows of a training
 *	measure/	amad_evaluate and its measures
 *	score/		rows to scores: amad_score, amad_explain, amad_detect, amad_events
 *	learn/		rows to a model: amad_train, amad_fit, amad_retrain
 *	operate/	models in use: amad_recalibrate, amad_drift
 */
#include "postgres.h"
#include "pg/compat.h"

#include "core/kernels/kernels.h"
#include "pg/blas.h"
#include "pg/json.h"
#include "pg/settings.h"

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
	settings_define();
}

Datum
amad_version(PG_FUNCTION_ARGS)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_put_string(&text, "amad", AMAD_VERSION);
	json_put_string(&text, "postgresql", PG_VERSION);
	json_put_string(&text, "kernels", nn_kernel_name());
	json_key(&text, "blas");
	blas_describe(&text);
	appendStringInfoChar(&text, '}');
	PG_RETURN_JSONB_P(json_to_jsonb(text.data));
}
