/*
 * score/detect.h
 *	  Detection: a model's source, read and scored.
 *
 * Rows come by series, then by time.  The rows before the range that its scores
 * depend on are read, too, and not shown.
 */
#ifndef AMAD_SCORE_DETECT_H
#define AMAD_SCORE_DETECT_H

#include "score/scorer.h"
#include "rows/source.h"

/* What to detect on.  since and until are of bound_type. */
typedef struct DetectSpec
{
	Oid			function;		/* the SQL function that asks */
	const char *model_name;
	const char *source;			/* NULL: the one that the model remembers */
	const char *timestamp_col;	/* NULL: the remembered one, or the only one */
	bool		labels;			/* the label column is read: */
	const char *label_col;		/* NULL: the remembered one, if there is one */
	Oid			bound_type;		/* int8, timestamp or timestamptz */
	bool		has_since;
	Datum		since;			/* first timestamp */
	bool		has_until;
	Datum		until;			/* first timestamp beyond */
	int64		last_n;			/* newest timestamps of each series; 0: all */
	Jsonb	   *series;			/* values of series columns; NULL: all series */
	bool		parallel;		/* visit does not write: workers may score */
} DetectSpec;

typedef struct Detection Detection;

/* A row of the range. */
typedef struct DetectedRow
{
	const char *series;			/* series_key.h; NULL: the model has no series */
	bool		new_series;		/* the first row shown of its series */
	bool		bad;			/* by the label column */
	ScoredRow	row;
} DetectedRow;

/* Called in a memory context that is reset afterwards. */
typedef void (*detect_visit) (const DetectedRow *row, void *arg);

/* Finds model and source, in the current context, which releases the model. */
extern Detection *detect_open(const DetectSpec *spec);

/* Calls visit for every row of the range. */
extern void detect_run(Detection *detection, detect_visit visit, void *arg);

/* The query that reads the rows. */
extern char *detect_query(const Detection *detection);

extern const LoadedModel *detect_model(const Detection *detection);
extern const Scorer *detect_scorer(const Detection *detection);

/* The type by which the source's rows are scored (timestamps.h). */
extern Oid	detect_ts_type(const Detection *detection);

/* A timestamp of the source as a value of bound_type, to be shown. */
extern Datum detect_timestamp(const Detection *detection, int64 ts);

#endif							/* AMAD_SCORE_DETECT_H */
