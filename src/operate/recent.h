/*
 * operate/recent.h
 *	  Recent rows of a model's source, with what the model says of them.
 *
 * They are read and scored as amad_detect does, and kept in memory, up to
 * maintenance_work_mem, for amad_recalibrate and amad_drift to look at.
 */
#ifndef AMAD_OPERATE_RECENT_H
#define AMAD_OPERATE_RECENT_H

#include "learn/calibrate.h"
#include "score/detect.h"

#define RECENT_TRIM 0.2			/* share of the rows that may be anomalous, unless told */

/* The arguments that both functions begin with, in their order. */
enum
{
	RECENT_MODEL_NAME,
	RECENT_SINCE,
	RECENT_UNTIL,
	RECENT_LAST_N,
	RECENT_SOURCE,
	RECENT_TIMESTAMP_COL,
	RECENT_LABEL_COL,
	RECENT_ARGS
};

/* A series of the rows. */
typedef struct RecentSeries
{
	int64		first;			/* row */
	int64		rows;			/* scored ones and those after a gap */
	int64		scored;			/* rows with a score, not labelled */
	int64		flagged;		/* of them, with a severity of 1 and more */
	double		severity;		/* their median */
} RecentSeries;

typedef struct Recent
{
	MemoryContext context;
	Budget		budget;
	double		trim;
	Detection  *detection;
	Dataset    *dataset;		/* rows with an expectation: scaled, in runs, by series */
	int64		room;
	float	   *expected;		/* (rows, C) */
	float	   *signals;		/* (rows, N) */
	double	   *severity;		/* (rows) NaN: no score, or labelled */
	uint8	   *use;			/* (rows) RowUse */
	RecentSeries *series;		/* those of the dataset */
	int64		labelled;		/* rows known to be bad */
	bool		broken;			/* the last row is no neighbour of the next */
} Recent;

/* What to read, from the arguments of a call. */
extern DetectSpec recent_spec(FunctionCallInfo fcinfo);

/*
 * Reads the rows, in the current context.  Of each series the share `trim` of the
 * rows with a score, those of the greatest, is suspicious: ROW_SCORED; the others
 * are ROW_KEPT; rows without a score and labelled ones ROW_CONTEXT.
 */
extern Recent *recent_read(const DetectSpec *spec, double trim);

#endif							/* AMAD_OPERATE_RECENT_H */
