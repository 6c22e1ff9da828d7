/*
 * measure/evaluate.h
 *	  Options and result of the aggregate amad_evaluate, from and to JSON.
 */
#ifndef AMAD_MEASURE_EVALUATE_H
#define AMAD_MEASURE_EVALUATE_H

#include "utils/jsonb.h"

#include "measure/metrics.h"

typedef struct EvaluateOptions
{
	double		threshold;
	int			window;			/* widest buffer of VUS, in rows */
	double		rows_per_day;	/* NaN if unknown */
} EvaluateOptions;

/* Sets the defaults, then the options in json, which may be NULL. */
extern void evaluate_options_parse(EvaluateOptions *options, Jsonb *json);

/* All metrics; NaN if undefined or unknown. */
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
	double		days;			/* spanned by the rows */
} Evaluation;

extern Jsonb *evaluate_result(const EvaluateOptions *options, const Evaluation *evaluation);

#endif							/* AMAD_MEASURE_EVALUATE_H */
