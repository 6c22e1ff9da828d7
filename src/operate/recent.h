/*
 * operate/recent.h
 *	  Recent rows of a source with their reconstructions, for amad_recalibrate and
 *	  amad_drift.
 *
 * They are read and scored as by amad_detect, and kept in up to maintenance_work_mem.
 */
#ifndef AMAD_OPERATE_RECENT_H
#define AMAD_OPERATE_RECENT_H

#include "nodes/pg_list.h"

#include "learn/calibrate.h"
#include "score/detect.h"

#define RECENT_TRIM 0.2			/* share of the rows that can be anomalous, by default */

/* The arguments that both functions begin with, in their order. */
enum
{
	RECENT_MODEL_NAME,
	RECENT_SINCE,
	RECENT_UNTIL,
	RECENT_LAST_N,
	RECENT_SERIES,
	RECENT_SOURCE,
	RECENT_TIMESTAMP_COL,
	RECENT_LABEL_COL,
	RECENT_ARGS
};

/* A series of the rows. */
typedef struct RecentSeries
{
	int64		first;			/* row */
	int64		rows;			/* with a reconstruction */
	int64		scored;			/* rows with a score, not labelled */
	int64		flagged;		/* rows with a severity above 1 */
	RowFit		fit;			/* of the model to the rows with a score */
	bool		learning;		/* the model does not contain it */
	ModelStats *figures;		/* by which it was scored; NULL: those of the model */
	bool	   *moved;			/* (features) whose level has moved; NULL: none */
	bool		shifted;		/* values of a feature have another level or spread (levels.h) */
} RecentSeries;

/* What the rows are read for. */
typedef enum RecentPurpose
{
	RECENT_DRIFT,				/* scored by the figures of the model */
	RECENT_CALIBRATE,			/* new series are scored by figures of their own (adopt.h) */
	RECENT_RESCALE /* so are series in which the level of a feature has moved (levels.h) */
} RecentPurpose;

/* The features of a series that have moved. */
typedef struct MovedLevels
{
	char	   *series;			/* series_key.h; NULL: the only one */
	bool	   *moved;			/* (features) */
} MovedLevels;

typedef struct Recent
{
	MemoryContext context;
	Budget		budget;
	double		trim;
	Detection  *detection;
	Dataset    *dataset;		/* rows with a reconstruction: scaled, in runs, by series */
	int64		room;
	float	   *expected;		/* (rows, C) */
	float	   *signals;		/* (rows, N) */
	double	   *severity;		/* (rows) NaN: no score, or labelled */
	uint8	   *use;			/* (rows) RowUse */
	RecentSeries *series;		/* (dataset->nseries) */
	List	   *figures;		/* RecentSeries.figures, until the rows have been read */
	int64		scored_before;	/* rows with a score of series that the model contains, … */
	int64		flagged_before; /* … and those that it flags */
	int64		labelled;		/* rows known to be bad */
	int			nlevels;		/* series to be rescaled */
	MovedLevels *levels;
	unsigned	next_level;		/* the next one, but for whole rounds */
	const bool *moved;			/* (features) of the series being collected */
	bool		broken;			/* the next row begins a new run */
} Recent;

/* What to read, from the arguments of a call. */
extern DetectSpec recent_spec(FunctionCallInfo fcinfo);

/*
 * Reads the rows, in a child of the current context.  In each series, the share `trim` of the
 * scored rows with the greatest severities is suspicious (ROW_SCORED); the others are
 * ROW_KEPT.  Rows without a score, and labelled ones, are ROW_CONTEXT.  New series with too
 * few rows are scored by the figures of all series.  If the level of a feature has moved, the
 * rows are read twice for RECENT_RESCALE.
 */
extern Recent *recent_read(const DetectSpec *spec, double trim, RecentPurpose purpose);

#endif							/* AMAD_OPERATE_RECENT_H */
