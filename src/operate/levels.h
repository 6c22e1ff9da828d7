/*
 * operate/levels.h
 *	  Features whose level has moved since the training, and their new scaling.
 */
#ifndef AMAD_OPERATE_LEVELS_H
#define AMAD_OPERATE_LEVELS_H

#include "learn/calibration_rows.h"
#include "model/model.h"
#include "score/learning_rows.h"

/* Whether the values of any feature differ from those of the training. */
typedef struct Levels
{
	bool		any_moved;		/* its level, so far that the network cannot see it */
	bool any_shifted; /* its level or its spread, by more than a day or an incident explains */
} Levels;

/*
 * Marks the features of a series whose level has moved.  Its rows are `rows` of a dataset, and
 * what they count for is in `use`; scratch has room for them.
 */
extern Levels levels_find(const Model *model, const Dataset *dataset, int64 first, int64 rows,
						  const uint8 *use, double *scratch, bool *moved);

/*
 * The figures of a series with another mean for the features that have moved; their values
 * from before the level moved are shifted to it.  In the current context, claimed from the
 * budget; mean and std are its own, the rest is that of stats.
 */
extern ModelStats *levels_rescale(const Model *model, const ModelStats *stats, LearningRows *rows,
								  const bool *moved, Budget *budget);

#endif							/* AMAD_OPERATE_LEVELS_H */
