/*
 * operate/adopt.h
 *	  The figures of a series that the model does not contain, until it is calibrated.
 */
#ifndef AMAD_OPERATE_ADOPT_H
#define AMAD_OPERATE_ADOPT_H

#include "model/model.h"
#include "score/learning_rows.h"

#define ADOPT_PERIODS 2			/* of the season's shortest one, that rows have to span */

/* The least number of rows with a score for a series to be adopted. */
extern int64 adopt_least_rows(const Options *options);

/*
 * The scaling, step and max_gap of the rows that count, with the calibration of all series.
 * Values of an incident become missing; it takes at most the share trim of the rows.  NULL
 * if there are too few rows.  In the current context; the figures are claimed from the budget.
 */
extern ModelStats *adopt_figures(const Model *model, LearningRows *rows, Oid ts_type, double trim,
								 Budget *budget);

#endif							/* AMAD_OPERATE_ADOPT_H */
