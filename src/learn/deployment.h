/*
 * learn/deployment.h
 *	  Whether a new version is deployed, and which versions are kept.
 */
#ifndef AMAD_LEARN_DEPLOYMENT_H
#define AMAD_LEARN_DEPLOYMENT_H

#include "model/registry.h"
#include "score/detect.h"

/* The argument deploy. */
typedef enum DeployWhen
{
	DEPLOY_NEVER,
	DEPLOY_ALWAYS,
	DEPLOY_IF_BETTER			/* than the deployed version (if_better.h) */
} DeployWhen;

typedef struct DeployArguments
{
	DeployWhen	when;
	int			keep;			/* newest trainings to keep; 0: all */
} DeployArguments;

/*
 * The arguments number `deploy` ("any": boolean or text) and `keep` (integer).  ERROR if they are
 * invalid, or if keep is given and the caller may not drop versions.
 */
extern DeployArguments read_deploy_arguments(FunctionCallInfo fcinfo, int deploy, int keep);

/* A version on its way into amad_models. */
typedef struct Deployment
{
	DeployArguments arguments;
	DetectSpec	rows;			/* that it was computed from, for the model's name */
	int			from_version;	/* that it replaces; 0: whichever is deployed */
	StoredVersion stored;
	char	   *verdict;		/* JSON object; NULL unless DEPLOY_IF_BETTER */
} Deployment;

/*
 * Before a model is computed: for DEPLOY_IF_BETTER, ERROR unless the deployed version can read the
 * rows.  from_version is the version that the new one is computed from, or 0.
 */
extern Deployment deployment_open(const DeployArguments *arguments, const DetectSpec *rows,
								  int from_version);

/* Stores the model, and deploys it if that is asked for. */
extern void deployment_store(Deployment *deployment, const Model *model, Jsonb *training,
							 Jsonb *source);

/* Adds what has been done to the summary of a training or recalibration. */
extern Jsonb *deployment_summary(const Deployment *deployment, Jsonb *summary);

#endif							/* AMAD_LEARN_DEPLOYMENT_H */
