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
	bool		any_moved;		/* its level, beyond the clip */
	bool any_shifted; /* its level or its spread, by more than a daily cycle or an incident */
} Levels;

/*
 * Marks the features of a series whose level has moved.  The series has `rows` rows of a
 * dataset, from `first` on; use: RowUse of each row of the dataset; drifted: whether its severities
 * have; scratch has room for `rows` values.
 */
extern Levels levels_find(const Model *model, const Dataset *dataset, int64 first, int64 rows,
						  const uint8 *use, bool drifted, double *scratch, bool *moved);

/*
 * The figures of a series with a new mean of the features that have moved.  Their values from
 * before the move are shifted to the new level.  The result is allocated in the current
 * context and claimed from the budget; mean and std are copies, all else is shared with stats.
 */
extern ModelStats *levels_rescale(const Model *model, const ModelStats *stats, LearningRows *rows,
								  const bool *moved, Budget *budget);

#endif							/* AMAD_OPERATE_LEVELS_H */
