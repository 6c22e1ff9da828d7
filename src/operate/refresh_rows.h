/*
 * operate/refresh_rows.h
 *	  The rows that a refresh writes: ranges of series, scored here or on the shards of the source.
 */
#ifndef AMAD_OPERATE_REFRESH_ROWS_H
#define AMAD_OPERATE_REFRESH_ROWS_H

#include "score/shard_call.h"

/* Rows of a series that are to be scored, in units of the source. */
typedef struct ScoreRange
{
	Jsonb	   *condition;		/* on the series columns; NULL: the model has none */
	int64		first;			/* PG_INT64_MIN: no bound */
	int64		until;			/* exclusive; PG_INT64_MAX: no bound */
} ScoreRange;

/* The columns of the table of scores, but for those of the series and the version. */
enum
{
	OUT_TS,						/* int8, in units of the source */
	OUT_SEVERITY,
	OUT_STATUS,
	OUT_EXPECTED,				/* of flagged rows, like the next */
	OUT_CONTRIBUTIONS,
	OUT_COLUMNS
};

/* A scored row that has a place in its series. */
typedef struct RefreshRow
{
	Datum		values[OUT_COLUMNS];
	bool		nulls[OUT_COLUMNS];
	bool		flagged;
	bool		learning;		/* its status */
	const char *key;			/* of its series, as the model has it; NULL: it has none */
	const uint8 *empty;			/* bitmap of the features without a value */
	const ModelStats *stats;	/* the figures that it was scored with */
} RefreshRow;

/* Called for the rows of each range in order of time; range: its number. */
typedef void (*refresh_visit) (const RefreshRow *row, int range, void *arg);

/*
 * Scores ranges: the rows of range 0, then those of range 1 …  begin is called before the rows of each, also
 * if there are none.
 */
extern void refresh_score_ranges(Detection *detection, const ScoreRange *ranges, int n,
								 void (*begin)(int range, void *arg), refresh_visit visit,
								 void *arg);

#endif							/* AMAD_OPERATE_REFRESH_ROWS_H */
