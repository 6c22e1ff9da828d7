/*
 * rows/source.h
 *	  A relation or query that rows come from, with its columns bound by name.
 *
 * source_open() finds the columns and their types and, for a relation, takes a lock that
 * lasts until the transaction ends.  source_scan() reads the rows with a query that runs
 * with the caller's privileges, sorted by series and time, and passes them on one by one.  Each
 * time it checks that the types of the columns are still those found by source_open().
 */
#ifndef AMAD_ROWS_SOURCE_H
#define AMAD_ROWS_SOURCE_H

#include "rows/features.h"
#include "utils/jsonb.h"

/* The description of a source, by its user or as stored with a model. */
typedef struct SourceSpec
{
	char	   *source;			/* name of a relation, or a query */
	char	   *timestamp_col;	/* NULL: the only column of a timestamp type */
	int			nfeatures;		/* 0: every numeric or boolean column that is not a key */
	char	  **features;
	int			nseries;
	char	  **series_cols;
	char	   *label_col;		/* true or not 0: a row known to be bad; may be NULL */
	char	   *search_path;	/* for a query: the one to look names up in; NULL: current */
	bool		stored;			/* comes from amad_models: see source_from_jsonb() */
	char	   *usual_timestamp_col;	/* instead of NULL, if the source has such a column */
	char	   *usual_label_col;	/* likewise */
} SourceSpec;

/* A source whose columns have been found. */
typedef struct Source
{
	SourceSpec	spec;			/* with defaults filled in, the relation's name qualified */
	char	   *from;			/* what follows FROM in a query */
	Oid			ts_column_type; /* base type of the time column */
	Oid			ts_type;		/* timestamps_scored_type() of it */
	Oid		   *series_types;	/* (nseries) */
	Oid		   *series_collations;	/* (nseries) */
	Oid		   *feature_types;	/* (nfeatures) */
	Oid			label_type;
} Source;

/* The rows to read; times in units of the scored type. */
typedef struct SourceRange
{
	bool		has_since;
	int64		since;			/* first timestamp */
	bool		has_until;
	int64		until;			/* first timestamp after the range */
	int64		read_until;		/* with until: end of what is read; last_n ends at until */
	int64		last_n;			/* newest timestamps of each series; 0: all */
	Jsonb	   *series;			/* values that series columns must have; NULL: all series */
} SourceRange;

/*
 * A row.  Of the rows of a series with the same timestamp, one counts: the first in the order
 * of the values of all features, missing values last, a row not known to be bad before
 * one that is.  The others are duplicates; they are passed on before it.
 */
typedef struct SourceRow
{
	const char *new_series;		/* its key if the row is the first of a series, else NULL */
	const Datum *series;		/* (nseries) values, with new_series */
	int64		number_from_end;	/* 1: newest timestamp of the series; 0 without last_n */
	int64		ts;
	bool		ts_valid;		/* a finite time */
	bool		duplicate;
	const double *values;		/* (nfeatures) NaN: missing */
	bool		bad;			/* by the label column */
} SourceRow;

typedef void (*source_visit) (const SourceRow *row, void *arg);

/*
 * Opens a source and finds its columns, in the current context.  ERROR if the source does not
 * exist, or columns are missing, ambiguous or of a wrong type; the error lists them.
 */
extern Source *source_open(const SourceSpec *spec);

/* The query that reads it. */
extern char *source_query(const Source *source, const SourceRange *range);

/*
 * Calls visit for every row, ordered by series and time.  Without series columns all rows
 * form one series, whose first row has new_series "".  read_only: the query uses the
 * snapshot of the calling query.
 */
extern void source_scan(const Source *source, const SourceRange *range, bool read_only,
						source_visit visit, void *arg);

/*
 * Finds the first and the last finite time of the rows from since to until, in all series; false
 * if there are no rows.  A query of its own, which an index on the time column can serve.
 */
extern bool source_span(const Source *source, const SourceRange *range, int64 *first, int64 *last);

/*
 * Finds the n-th distinct finite time of a series after (or before) a time; n at least 1.  False if
 * there are fewer.  series: values of the series columns; NULL: the only series.
 */
extern bool source_nth_time(const Source *source, Jsonb *series, bool after, int64 from, int64 n,
							int64 *ts);

/* Whether no part of the query, views included, is parallel unsafe, as data changes are. */
extern bool source_parallel_mode_ok(const Source *source, const SourceRange *range);

/* The stored form, for amad_models. */
extern Jsonb *source_to_jsonb(const SourceSpec *spec);

/*
 * The source stored in a row of amad_models.  It is opened and read in a security-restricted
 * operation: it cannot reset the role of a session that became the model's owner by
 * SET ROLE.
 */
extern SourceSpec source_from_jsonb(Jsonb *json);

/* Sets the usual column names from the source stored in a row of amad_models. */
extern void source_take_names(SourceSpec *spec, Jsonb *json, bool label);

#endif							/* AMAD_ROWS_SOURCE_H */
