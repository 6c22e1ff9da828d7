/*
 * learn/calibration_value.h
 *	  The calibration of one series as a value, which amad_calibrate() returns and amad_merge()
 *	  reads.
 */
#ifndef AMAD_LEARN_CALIBRATION_VALUE_H
#define AMAD_LEARN_CALIBRATION_VALUE_H

#include "learn/series_summary.h"

typedef struct SeriesCalibration
{
	bool		own;			/* the series has figures of its own, not only scaling */
	ModelStats	stats;
	SeriesSummary *summary;
} SeriesCalibration;

/* What identifies the model that a calibration was computed with: a checksum of its value. */
extern uint32 calibration_model_id(struct varlena *model);

extern bytea *calibration_encode(const Model *model, uint32 model_id,
								 const SeriesCalibration *calibration);

/*
 * Checks everything, because a value can come from anywhere.  ERROR if it was computed with another
 * model.  The figures are allocated in `figures`, the rest in the current context.
 */
extern SeriesCalibration calibration_decode(const Model *model, uint32 model_id, const bytea *value,
											MemoryContext figures);

#endif							/* AMAD_LEARN_CALIBRATION_VALUE_H */
