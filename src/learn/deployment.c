/*
 * learn/deployment.c
 *	  Whether a new version is deployed, and which versions are kept.
 *
 * A version that was computed from a deployed one is only deployed if that one still is:
 * otherwise somebody has deployed another version in the meantime, and would find it
 * replaced.  registry_store() checks this when it has the lock of the name.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "learn/deployment.h"
#include "learn/if_better.h"
#include "pg/call_arguments.h"
#include "pg/json.h"

/* The argument deploy is declared "any", as there is no implicit cast from boolean to text. */
static DeployWhen
read_deploy(FunctionCallInfo fcinfo, int number)
{
	Oid			type;
	bool		deploy;
	char	   *word;

	if (argument_is_null(fcinfo, number))
		return DEPLOY_ALWAYS;
	type = getBaseType(get_fn_expr_argtype(fcinfo->flinfo, number));
	if (type == BOOLOID)
		return PG_GETARG_BOOL(number) ? DEPLOY_ALWAYS : DEPLOY_NEVER;
	if (type == UNKNOWNOID)
		word = PG_GETARG_CSTRING(number);
	else if (type == TEXTOID || type == VARCHAROID)
		word = text_to_cstring(PG_GETARG_TEXT_PP(number));
	else
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("argument deploy must have type boolean or text, not %s",
						format_type_be(type))));
	if (pg_strcasecmp(word, "if_better") == 0)
		return DEPLOY_IF_BETTER;
	if (!parse_bool(word, &deploy))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument deploy: \"%s\"", word),
				 errhint("Valid values are true, false, and \"if_better\".")));
	return deploy ? DEPLOY_ALWAYS : DEPLOY_NEVER;
}

DeployArguments
read_deploy_arguments(FunctionCallInfo fcinfo, int deploy, int keep)
{
	DeployArguments arguments = {.when = read_deploy(fcinfo, deploy)};

	registry_check_change(fcinfo, NULL, NULL);
	if (argument_is_null(fcinfo, keep))
		return arguments;
	arguments.keep = PG_GETARG_INT32(keep);
	if (arguments.keep < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("keep must be at least 1")));
	registry_check_drop(fcinfo->flinfo->fn_oid);
	return arguments;
}

Deployment
deployment_open(const DeployArguments *arguments, const DetectSpec *rows, int from_version)
{
	Deployment	deployment = {
		.arguments = *arguments,
		.rows = *rows,
		.from_version = from_version,
	};
	RegistryEntry entry;

	if (arguments->when != DEPLOY_IF_BETTER)
		return deployment;
	/* a new training replaces the deployed version, if there is one */
	if (from_version == 0 && registry_find_own(rows->function, rows->model_name, &entry))
		deployment.from_version = entry.version;
	if (deployment.from_version > 0)
		if_better_check(rows, deployment.from_version);
	return deployment;
}

void
deployment_store(Deployment *d, const Model *model, Jsonb *training, Jsonb *source)
{
	StoreRule	rule = {
		.deploy = d->arguments.when != DEPLOY_NEVER,
		.from_version = d->from_version,
		.keep = d->arguments.keep,
	};
	Verdict		verdict = {.better = true};

	if (d->arguments.when == DEPLOY_IF_BETTER && d->from_version > 0)
	{
		verdict = if_better_judge(&d->rows, d->from_version, model);
		rule.deploy = verdict.better;
		d->verdict = verdict.json;
	}
	d->stored = registry_store(d->rows.function, d->rows.model_name, model, training, source,
							   &rule);
	if (!verdict.better)
		ereport(NOTICE,
				(errmsg("version %d of model \"%s\" is not deployed", d->stored.version,
						d->rows.model_name),
				 errdetail("It is not better than version %d: %s.", d->from_version,
						   verdict.reason),
				 errhint("Deploy it with amad_deploy() to use it nevertheless.")));
}

Jsonb *
deployment_summary(const Deployment *d, Jsonb *summary)
{
	StringInfoData text;

	initStringInfo(&text);
	json_reopen(&text, summary);
	json_put_json(&text, "deployed", d->stored.deployed ? "true" : "false");
	if (d->verdict)
		json_put_json(&text, "deploy", d->verdict);
	if (d->arguments.keep > 0)
		json_put_ints(&text, "dropped", d->stored.ndropped, d->stored.dropped);
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}
