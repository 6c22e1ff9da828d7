/*
 * measure/evaluate.h
 *	  Options of the aggregate amad_evaluate, and its result as JSON.
 */
#ifndef AMAD_MEASURE_EVALUATE_H
#define AMAD_MEASURE_EVALUATE_H

#include "utils/jsonb.h"

#include "measure/metrics.h"

typedef struct EvaluateOptions
{
	double		threshold;
	int			window;			/* of VUS, rows */
	double		rows_per_day;	/* NaN: unknown */
} EvaluateOptions;

/* Defaults overridden by json (NULL: none).  ERRORs name key, range and remedy. */
extern void evaluate_options_parse(EvaluateOptions *options, Jsonb *json);

/* All that is reported; NaN: undefined or unknown. */
typedef struct Evaluation
{
	int64		rows;
	int64		anomalies;
	int64		excluded;
	int64		events;
	MetricsDetection detection;
	MetricsRanking ranking;
	double		vus_pr;
	double		vus_roc;
	double		affiliation_precision;
	double		affiliation_recall;
	double		delay_rows_mean;
	double		delay_rows_median;
	double		delay_seconds_mean;
	double		delay_seconds_median;
	double		days;			/* that the rows span */
} Evaluation;

extern Jsonb *evaluate_result(const EvaluateOptions *options, const Evaluation *evaluation);

#endif							/* AMAD_MEASURE_EVALUATE_H */
