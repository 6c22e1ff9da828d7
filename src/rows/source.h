/*
 * rows/source.h
 *	  A relation or query that rows come from, with its columns bound by name.
 *
 * It is read by SQL with the caller's rights, sorted by series and time, row by
 * row: nothing is collected.  The relation is locked when it is opened, and the types
 * of the rows are compared with those of the columns each time rows begin to come.
 */
#ifndef AMAD_ROWS_SOURCE_H
#define AMAD_ROWS_SOURCE_H

#include "rows/features.h"
#include "utils/jsonb.h"

/* What names a source; also what a model remembers of it. */
typedef struct SourceSpec
{
	char	   *source;			/* name of a relation, or a query */
	char	   *timestamp_col;	/* NULL: the only column of such a type */
	int			nfeatures;		/* 0: every numeric column that is no key */
	char	  **features;
	int			nseries;
	char	  **series_cols;
	char	   *label_col;		/* true or not 0: a row known to be bad; NULL: none */
	char	   *search_path;	/* of a query, as it was when the query was named; NULL: as it is */
	bool		stored;			/* comes from amad_models: see source_from_jsonb() */
	char	   *usual_timestamp_col;	/* in place of NULL, if the source has such a column */
	char	   *usual_label_col;	/* the same */
} SourceSpec;

/* A source whose columns were found. */
typedef struct Source
{
	SourceSpec	spec;			/* with defaults filled in, the relation's name qualified */
	char	   *from;			/* what follows FROM */
	Oid			ts_column_type; /* base type of the column, by which it is read */
	Oid			ts_type;		/* by which its rows are scored: timestamps_scored_type() */
	Oid		   *series_types;	/* (nseries) */
	Oid		   *series_collations;	/* (nseries) */
	Oid		   *feature_types;	/* (nfeatures) */
	Oid			label_type;
} Source;

/* Rows to be read, in units of ts as they are scored. */
typedef struct SourceRange
{
	bool		has_since;
	int64		since;			/* first timestamp */
	bool		has_until;
	int64		until;			/* first timestamp beyond */
	int64		read_until;		/* with until: what is read, too, and no row of last_n */
	int64		last_n;			/* newest timestamps of each series; 0: all */
	Jsonb	   *series;			/* values of columns of series_cols; NULL: any */
} SourceRange;

/*
 * A row.  Of the rows of a series with one timestamp, one has its place in the series:
 * the first in the order of the values of all features, missing ones last, a row not
 * known to be bad before one that is.  The others are duplicates; they come before it.
 */
typedef struct SourceRow
{
	const char *new_series;		/* series_key.h, when the row is the first of its series */
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
 * Finds the source's columns, in the current context.  ERROR when the source or a
 * column does not exist, or has the wrong type; the difference is listed.
 */
extern Source *source_open(const SourceSpec *spec);

/* The query that reads it. */
extern char *source_query(const Source *source, const SourceRange *range);

/*
 * Reads it, and calls visit for every row, by series, then by time; rows without
 * series columns are one series, whose first row has new_series "".  read_only:
 * in the snapshot of the calling query.
 */
extern void source_scan(const Source *source, const SourceRange *range, bool read_only,
						source_visit visit, void *arg);

/* No part of the query that reads it, views included, is parallel unsafe, as what writes is. */
extern bool source_parallel_mode_ok(const Source *source, const SourceRange *range);

/* As jsonb, for amad_models. */
extern Jsonb *source_to_jsonb(const SourceSpec *spec);

/*
 * The source in a row of amad_models.  It is read in a security-restricted operation:
 * what somebody wrote into it cannot reset the role of a session that has become the
 * owner of the model by SET ROLE.
 */
extern SourceSpec source_from_jsonb(Jsonb *json);

/* The usual names of the columns of another source, from a row of amad_models. */
extern void source_take_names(SourceSpec *spec, Jsonb *json, bool label);

#endif							/* AMAD_ROWS_SOURCE_H */
