/*
 * learn/merge_calibrations.h
 *	  A model with the calibrations of its series, which were computed one by one.
 */
#ifndef AMAD_LEARN_MERGE_CALIBRATIONS_H
#define AMAD_LEARN_MERGE_CALIBRATIONS_H

#include "learn/calibration_value.h"
#include "pg/budget.h"

typedef struct KeyedCalibration
{
	const char *key;			/* NULL: of the only series */
	const bytea *value;
} KeyedCalibration;

/* Calibrations that are collected, in any order. */
typedef struct Calibrations
{
	MemoryContext context;
	Budget		budget;
	KeyedCalibration *list;
	int			n;
} Calibrations;

/* In the current context. */
extern Calibrations *calibrations_open(void);

/* Adds copies.  ERROR if they do not fit in maintenance_work_mem. */
extern void calibrations_add(Calibrations *calibrations, const char *key, const bytea *value);

/*
 * Sets the figures of the model: those of its series with a calibration, whether it contains them
 * or not, and those of all series, from the series with one.  Other series keep theirs.  Returns
 * what the calibrations count.
 */
extern SeriesSummary *merge_calibrations(Model *model, uint32 model_id, Calibrations *calibrations);

#endif							/* AMAD_LEARN_MERGE_CALIBRATIONS_H */
