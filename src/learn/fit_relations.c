/*
 * learn/fit_relations.c
 *	  Relations between the features of a row: their matrix and figures.
 *
 * All series share the matrix, because residuals are relative to the rho of their series.
 * Matrix and means come from rows that were not learned.  The limit is twice a high quantile
 * over all rows: only what goes far beyond every learned row is evidence, so that ordinary
 * data lose nothing by it.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"

#include "core/evidence/relations.h"
#include "learn/fit_relations.h"

const double relation_quantile = 0.999; /* of the relation of a row … */
#define BEYOND 2.0				/* … which the limit exceeds by this factor */

Size
fit_relations_bytes(const Model *m, int64 rows)
{
	return !m->plan.has_relations ? 0
								  : nn_relations_bytes(m->features) +
			2 * sizeof(double) * m->features + sizeof(double) * rows;
}

static nn_row
visited_row(const CalibrationRows *r, int64 row, const float *expected)
{
	nn_row		values = {
		.scaled = r->dataset->rows + row * r->dataset->features,
		.expected = expected,
		.imputed = r->imputed,
		.incomplete = r->incomplete,
	};

	return values;
}

/* ---- the matrix ---------------------------------------------------------------------------- */

RelationFit
open_relation_matrix(const Model *m)
{
	RelationFit fit = {
		.model = m,
		.sums = palloc_extended(nn_relations_bytes(m->features), MCXT_ALLOC_HUGE),
		.mean = palloc(sizeof(double) * m->features),
	};

	nn_relations_begin(fit.sums, m->features);
	return fit;
}

void
add_relation_residuals(const CalibrationRows *r, int64 row, const float *expected,
					   const float *signals, void *arg)
{
	RelationFit *fit = arg;
	const nn_calibration *cal = &fit->calibration;
	const nn_row values = visited_row(r, row, expected);
	double	   *q = fit->mean;

	if (calibration_rows_use(r, row) != ROW_KEPT)
		return;
	/* a constant has no relations: its residual is the network's error, which depends on the others */
	for (int c = 0; c < cal->features; c++)
		q[c] = fit->std[c] == 0
			? 0.0
			: (nn_clipped(cal->clip, values.scaled[c]) - (double) expected[c]) / sqrt(cal->rho[c]);
	nn_relations_add(fit->sums, cal->features, q, values.imputed);
}

void
close_relation_matrix(RelationFit *fit, Model *m)
{
	CHECK_FOR_INTERRUPTS();
	if (!nn_relations_end(fit->sums, m->features, m->precision))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("the relations between features could not be computed"),
				 errhint("Set the advanced option \"relation_weight\" to 0.")));
	pfree(fit->sums);
	pfree(fit->mean);
}

/* ---- means ----------------------------------------------------------------------------------- */

RelationFit
open_relation_means(const Model *m)
{
	RelationFit fit = {
		.model = m,
		.mean = palloc0(sizeof(double) * m->features),
		.given = palloc0(sizeof(int64) * m->features),
	};

	return fit;
}

void
add_relation_terms(const CalibrationRows *r, int64 row, const float *expected, const float *signals,
				   void *arg)
{
	RelationFit *fit = arg;
	nn_calibration calibration = fit->calibration;
	const nn_row values = visited_row(r, row, expected);
	float		terms[NN_RELATION_FEATURES];

	if (calibration_rows_use(r, row) != ROW_KEPT)
		return;
	calibration.relation_mean = NULL;
	nn_row_relation(&calibration, &values, terms);
	for (int c = 0; c < calibration.features; c++)
		if (!NN_IMPUTED(values.imputed, c))
		{
			fit->mean[c] += terms[c];
			fit->given[c]++;
		}
}

void
close_relation_means(RelationFit *fit, const CalibrationRows *r, ModelStats *stats)
{
	for (int c = 0; c < fit->model->features; c++)
	{
		double		mean = fit->given[c] > 0 ? fit->mean[c] / fit->given[c] : 0.0;
		double		old = stats->relation_mean[c];

		/* a feature that never deviates, or has no value, gets the expected value of a term */
		if (mean < FLT_EPSILON)
			mean = old > 0 ? old : 1.0;
		stats->relation_mean[c] = calibration_rows_may_fall(r, stats) ? mean : Max(mean, old);
	}
	pfree(fit->mean);
	pfree(fit->given);
}

/* ---- the limit and the evidence ------------------------------------------------------------ */

double
relation_limit_of_quantile(double quantile)
{
	return Max(BEYOND * quantile, CALIBRATE_LEAST);
}

void
fit_relation_limit(CalibrationRows *r, RunRange runs, ModelStats *stats)
{
	const Dataset *d = r->dataset;
	double		sum = 0.0;
	int64		n = 0;

	for (int i = runs.first; i < runs.last; i++)
		for (int64 row = d->runs[i].first; row < d->runs[i].first + d->runs[i].rows; row++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!(r->raw[row] >= 0) || calibration_rows_use(r, row) != ROW_KEPT)
				continue;
			r->scratch[n++] = r->relation[row];
			sum += r->raw[row];
		}
	if (n > 0)
	{
		double		limit = relation_limit_of_quantile(
			calibration_rows_quantile(r, n, relation_quantile));

		/* as with flatlines, a mean without suspicious rows is too low */
		if (calibration_rows_may_fall(r, stats))
		{
			stats->relation_limit = limit;
			stats->relation = r->model->options.relation_weight * sum / n;
		}
		else
			stats->relation_limit = Max(limit, stats->relation_limit);
	}
	else if (!(stats->relation_limit > 0))
		stats->relation_limit = 1.0;	/* without rows there is no evidence */
}

void
add_relation_evidence(CalibrationRows *r, const DatasetRun *run, const ModelStats *stats)
{
	nn_calibration calibration = model_calibration(r->model, stats);

	for (int64 row = run->first; row < run->first + run->rows; row++)
	{
		CHECK_FOR_INTERRUPTS();
		if (r->raw[row] >= 0)
			r->raw[row] += nn_relation_evidence(&calibration, r->relation[row]);
	}
}
