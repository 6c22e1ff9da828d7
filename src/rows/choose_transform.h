/*
 * rows/choose_transform.h
 *	  Which features of a series are counters or trends.
 */
#ifndef AMAD_ROWS_CHOOSE_TRANSFORM_H
#define AMAD_ROWS_CHOOSE_TRANSFORM_H

#include "model/transforms.h"
#include "rows/series.h"

/*
 * Replaces TRANSFORM_AUTO in transforms by the choice for the values of a sorted series, except
 * for features that are constant in it.
 */
extern void choose_transforms(const Series *series, Oid ts_type, double max_gap,
							  Transforms *transforms);

#endif							/* AMAD_ROWS_CHOOSE_TRANSFORM_H */
