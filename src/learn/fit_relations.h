/*
 * learn/fit_relations.h
 *	  Relations between the features of a row (docs/model.md, Relations).
 */
#ifndef AMAD_LEARN_FIT_RELATIONS_H
#define AMAD_LEARN_FIT_RELATIONS_H

#include "learn/calibration_rows.h"

/* Bytes that a fit, and the relations of `rows` rows, need at most. */
extern Size fit_relations_bytes(const Model *model, int64 rows);

/* What rows are added to: residuals for the matrix, or terms for their means. */
typedef struct RelationFit
{
	const Model *model;
	nn_calibration calibration; /* of the series whose rows are added */
	const double *std;			/* for the matrix: of its features */
	void	   *sums;			/* for the matrix; NULL: for the means */
	double	   *mean;			/* (features) sums of the terms */
	int64	   *given;			/* (features) */
} RelationFit;

/*
 * Fits the parameters of relations to the residuals of rows, whose rho is set, and sets them
 * in the model.  add_relation_residuals() is a calibration_visit for a RelationFit.
 */
extern RelationFit open_relation_matrix(const Model *model);
extern void add_relation_residuals(const CalibrationRows *rows, int64 row, const float *expected,
								   const float *signals, void *fit);
extern void close_relation_matrix(RelationFit *fit, Model *model);

/* Sets relation_mean in stats from the terms of rows; add_relation_terms() visits them. */
extern RelationFit open_relation_means(const Model *model);
extern void add_relation_terms(const CalibrationRows *rows, int64 row, const float *expected,
							   const float *signals, void *fit);
extern void close_relation_means(RelationFit *fit, const CalibrationRows *rows, ModelStats *stats);

/*
 * Sets relation_limit and relation in stats from the relations and raw scores of the rows of
 * runs.  A recalibration can raise the limit only, and relation stays.
 */
extern void fit_relation_limit(CalibrationRows *rows, RunRange runs, ModelStats *stats);

/* The quantile of the relations of rows that the limit follows from, and the limit. */
extern const double relation_quantile;
extern double relation_limit_of_quantile(double quantile);

/* Adds the evidence of relations to the raw scores of a run. */
extern void add_relation_evidence(CalibrationRows *rows, const DatasetRun *run,
								  const ModelStats *stats);

#endif							/* AMAD_LEARN_FIT_RELATIONS_H */
