/*
 * operate/recalibrate_rows.h
 *	  A recalibration by recent rows: of all series that it is asked for, or of those of a shard.
 */
#ifndef AMAD_OPERATE_RECALIBRATE_ROWS_H
#define AMAD_OPERATE_RECALIBRATE_ROWS_H

#include "operate/recalibrate_options.h"
#include "operate/recent.h"

/* A series with recent rows. */
typedef struct RecalibratedSeries
{
	const char *key;			/* NULL: the only one */
	bool		adopted;
	int64 learning; /* rows with a score of a new series that has too few; -1: another series */
} RecalibratedSeries;

typedef struct Recalibration
{
	Recalibrated result;
	int64		labelled;		/* rows known to be bad */
	int64		scored_before;	/* as in Recent */
	int64		flagged_before;
	int			nseries;
	RecalibratedSeries *series; /* in the order of the source */
	int			adopted;
	int			learning;
	int64		most_learning;	/* rows with a score of a series that has too few */
	List	   *rescaled;		/* features that were rescaled: JSON objects (char *) */
} Recalibration;

/* Reads the rows. */
extern Recent *recalibrate_read(const DetectSpec *spec, const Choices *choices);

/*
 * Recalibrates a model by these rows, to which it then has pointers.  part: there are others elsewhere, so too
 * few are no error.
 */
extern Recalibration recalibrate_rows(const DetectSpec *spec, const Choices *choices, bool part,
									  Recent *recent, Model *model);

/* ERROR if there are only new series, each with too few rows. */
extern void recalibration_check_adopted(const Model *model, const Recalibration *recalibration);

#endif							/* AMAD_OPERATE_RECALIBRATE_ROWS_H */
