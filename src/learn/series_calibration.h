/*
 * learn/series_calibration.h
 *	  The calibration of one series of a trained model on all of its rows.
 */
#ifndef AMAD_LEARN_SERIES_CALIBRATION_H
#define AMAD_LEARN_SERIES_CALIBRATION_H

#include "learn/calibration_value.h"
#include "rows/dataset.h"

/*
 * The rows of a series that are used at most when they come in order of time: the newest that fit in
 * half of maintenance_work_mem.  ERROR if none do.
 */
extern int64 series_calibration_rows(const Model *model);

/*
 * Ends the series of a dataset of dataset_open_calibration(), in which the caller has counted
 * duplicates and the like, and calibrates it.  The value is allocated in the current context; NULL
 * if the series has fewer rows than those that a training leaves out.  Closes the dataset.
 */
extern bytea *series_calibration_finish(Model *model, uint32 model_id, Dataset *dataset);

#endif							/* AMAD_LEARN_SERIES_CALIBRATION_H */
