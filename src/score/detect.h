/*
 * score/detect.h
 *	  Reads a model's source and scores its rows.
 *
 * Rows are visited by series, then by time.  Rows outside the range on which its scores
 * depend are read, too, but not visited.
 */
#ifndef AMAD_SCORE_DETECT_H
#define AMAD_SCORE_DETECT_H

#include "score/learning_rows.h"
#include "score/scorer.h"

/*
 * Whether to collect the rows of a series.  stats: its figures in the model; NULL: the model
 * does not contain it.
 */
typedef bool (*detect_collect) (const char *series, const ModelStats *stats, void *arg);

/*
 * Returns the figures to score the collected rows of a series with; NULL: those of the model.
 * It may change the values of the rows.
 */
typedef const ModelStats *(*detect_adopt) (LearningRows *rows, void *arg);

/* The time that a detection covers, as far as it is known. */
typedef struct DetectSpan
{
	bool		since;			/* begin is the bound asked for */
	bool		has_begin;
	int64		begin;			/* otherwise: the first row */
	bool		has_end;
	int64		end;			/* until, unless it is in the future; otherwise: the last row */
} DetectSpan;

/* A shard of a source, with what its node cannot look up. */
typedef struct ShardCall
{
	SourceSpec	source;			/* the shard */
	struct varlena *model;
	int			version;
	DetectSpan	span;			/* of all shards */
	List	   *incidents;		/* confirmed ones: GivenVerdict (model/verdicts.h) */
	int			guc_level;
} ShardCall;

/* What to detect on.  since and until are of bound_type. */
typedef struct DetectSpec
{
	Oid			function;		/* the calling SQL function */
	const char *model_name;
	int			version;		/* 0: the deployed one */
	struct varlena *value;		/* a model to use in its place, with its stored source; or NULL */

	const ShardCall *shard; /* what to read, instead of a stored model and its source; or NULL */

	/* columns */
	const SourceSpec *given;	/* the source, instead of the stored one; or NULL */
	const char *source;			/* NULL: the stored one */
	const char *timestamp_col;	/* NULL: the stored one, or the only time column */
	bool		for_other;		/* the current role acts for one without its privileges */
	bool		writes;			/* visits write, so that no query may be parallel */
	bool		labels;			/* whether to read the label column and confirmed incidents */
	const char *label_col;		/* NULL: the stored one, if there is one */

	/* range */
	Oid			bound_type;		/* int8, timestamp or timestamptz; 0: that of the source */
	bool		has_since;
	Datum		since;			/* inclusive */
	bool		has_until;
	Datum		until;			/* exclusive */
	int64		last_n;			/* newest timestamps of each series; 0: all */
	Jsonb	   *series;			/* values of series columns; NULL: all series */

	bool		scores_only;	/* the visit does not use the status of a row */
	bool		parallel;		/* workers may score: the visit does not write */
	detect_collect collect;		/* NULL: rows are not collected */
	detect_adopt adopt;
	void	   *adopt_arg;
} DetectSpec;

typedef struct Detection Detection;

/* A row of the range. */
typedef struct DetectedRow
{
	const char *series;			/* series_key.h; NULL: the model has no series */
	bool		new_series;		/* the first row of its series to be visited */
	bool		bad;			/* labelled as bad, or of a confirmed incident */
	ScoredRow	row;
} DetectedRow;

/* Called in a memory context that is reset afterwards. */
typedef void (*detect_visit) (const DetectedRow *row, void *arg);

/* Finds model and source, in the current context; the model is released with it. */
extern Detection *detect_open(const DetectSpec *spec);

/* Calls visit for every row of the range. */
extern void detect_run(Detection *detection, detect_visit visit, void *arg);

/*
 * Sets the range of the next detect_run(), in units of the source; NULL: no bound.  series: as in
 * DetectSpec.
 */
extern void detect_set_range(Detection *detection, const int64 *since, const int64 *until,
							 Jsonb *series);

/* Finds out what it covers; may read the first and last time from the source. */
extern DetectSpan detect_span(const Detection *detection);

/* Whether its source has a label column that is read, or confirmed incidents. */
extern bool detect_has_labels(const Detection *detection);

/* The query that reads the rows. */
extern char *detect_query(const Detection *detection);

/*
 * What is read, the confirmed incidents that are bad, and the query for the model's value, which is NULL on
 * a shard.
 */
extern const SourceRange *detect_range(const Detection *detection);
extern List *detect_incidents(const Detection *detection);
extern char *detect_model_query(const Detection *detection);

extern const Source *detect_source(const Detection *detection);

/* The owner of the model. */
extern Oid	detect_owner(const Detection *detection);

extern const LoadedModel *detect_model(const Detection *detection);
extern const Scorer *detect_scorer(const Detection *detection);

/* The type by which the source's rows are scored (pg/timestamps.h). */
extern Oid	detect_ts_type(const Detection *detection);

/*
 * Converts a time between timestamptz, timestamp and int8; a time out of range becomes
 * infinite.  ERROR if only one type is int8; it names the variant of the function to use.
 */
extern Datum detect_convert_bound(Oid function, Oid from, Oid to, Datum ts);

/* Converts a timestamp of the source to bound_type, for output. */
extern Datum detect_timestamp(const Detection *detection, int64 ts);

#endif							/* AMAD_SCORE_DETECT_H */
