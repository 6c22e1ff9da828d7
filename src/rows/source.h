/*
 * rows/source.h
 *	  A relation or query that rows come from, with its columns bound by name.
 *
 * source_open() finds the columns and their types and, for a relation, takes a lock that
 * lasts until the transaction ends.  source_scan() reads the rows with a query that runs
 * with the caller's privileges, sorted by series and time, and passes them on one by one.  Each
 * time it checks that the types of the columns are still those found by source_open().
 *
 * Rows on which the scores of a range depend are read by count, if an index helps: `before`
 * timestamps of each series before the range and `after` timestamps after it.  Otherwise one
 * pass reads all rows from read_since to read_until (source_form.c).
 */
#ifndef AMAD_ROWS_SOURCE_H
#define AMAD_ROWS_SOURCE_H

#include "rows/features.h"
#include "rows/series_windows.h"
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
	Oid			reader;			/* see source_read_as(); InvalidOid: the current role */
	char	   *usual_timestamp_col;	/* instead of NULL, if the source has such a column */
	char	   *usual_label_col;	/* likewise */

	/* a narrow source has a row for each value of a feature */
	char	   *metric_col;		/* names the feature; NULL: the features are columns */
	char	   *value_col;
	char	   *bucket;			/* width: an interval, or a number if times are; NULL: none */
	char	   *aggregate;		/* of the values in a bucket (pivot.h); NULL: avg */
	bool		all_metrics;	/* the features are all metrics that were found in training */
	bool		usual_shape;	/* these apply if the source has such columns */
	Oid			function;		/* the calling SQL function, in the schema of the extension */
} SourceSpec;

/* A source whose columns have been found. */
typedef struct Source
{
	SourceSpec	spec;			/* with defaults filled in, the relation's name qualified */
	char	   *from;			/* what follows FROM in a query */
	Oid			relation;		/* InvalidOid: a query */
	Oid			ts_column_type; /* base type of the time column */
	Oid			ts_type;		/* timestamps_scored_type() of it */
	Oid		   *series_types;	/* (nseries) */
	Oid		   *series_collations;	/* (nseries) */
	Oid		   *feature_types;	/* (nfeatures) */
	Oid			label_type;
	Oid			metric_type;	/* of metric_col */
	int64		bucket;			/* width in units of the scored type; 0: none */
	bool		serial;			/* no parallel queries, because visitors of its rows write */
	bool		label_is_number;	/* in a narrow source */
	SeriesWindows *bad;			/* rows in these are bad, too; NULL: none */
} Source;

/* The form of the query that reads a range. */
typedef enum SourceForm
{
	SOURCE_ONCE,				/* one pass over all series */
	/* by index and count: */
	SOURCE_SINGLE,				/* one series */
	SOURCE_IN_RANGE,			/* each series that has rows in the range; with last_n, all */
	SOURCE_STEPS				/* the same; the index also finds one series after another */
} SourceForm;

/* A sample of whole blocks of rows (dataset_sampling.c). */
typedef struct SourceSample
{
	int			level;
	int64		block_rows;
} SourceSample;

/* The rows to read; times in units of the scored type. */
typedef struct SourceRange
{
	bool		has_since;
	int64		since;			/* first timestamp */
	bool		has_until;
	int64		until;			/* first timestamp after the range */
	int64		last_n;			/* newest timestamps of each series before until; 0: all */
	Jsonb	   *series;			/* values that series columns must have; NULL: all series */
	const Datum *series_values; /* (nseries) values of all series columns, instead */
	const bool *series_nulls;
	const SourceSample *sample; /* rows not in it are not read; NULL: all */

	/* rows around the range, of each series */
	bool		around;			/* the members below are set */
	int			before;			/* timestamps before since, or before the last_n newest */
	int			after;			/* timestamps from until on */
	int64		read_since;		/* SOURCE_ONCE: times that include them; PG_INT64_MIN: no bound */
	int64		read_until;
	SourceForm	form;			/* by source_choose_form() */
} SourceRange;

/*
 * A row.  Of the rows of a series with the same timestamp, one counts: the first in the order
 * of the values of all features, missing values last, a row not known to be bad before
 * one that is.  The others are duplicates; they are passed on before it.
 */
typedef struct SourceRow
{
	const char *new_series;		/* its key if the row is the first of a series, else NULL */
	const Datum *series;		/* (nseries) values … */
	const bool *series_nulls;	/* … and whether they are null, with new_series */
	bool		unread;			/* with new_series: read the series by its values instead … */
	bool		cut;			/* … or without SOURCE_SINGLE, because of its duplicates */
	int64		number_from_end;	/* 1: newest timestamp of the series; 0 without last_n */
	int64		place;			/* in a sample: number of its timestamp in the series, from 0 */
	int64		ts;
	bool		ts_valid;		/* a finite time */
	bool		duplicate;
	const double *values;		/* (nfeatures) NaN: missing */
	bool		bad;			/* by the label column, or in a window of source->bad */
} SourceRow;

typedef void (*source_visit) (const SourceRow *row, void *arg);

/* What is restored when a source is left. */
typedef struct SourceScope
{
	bool		stored;
	int			guc_level;
	Oid			user;
	int			security_context;
} SourceScope;

/*
 * Sets up what a source is looked up and read with, until source_leave() or an ERROR: the
 * search_path stored with its query, and a security-restricted operation if the source
 * itself was stored.  Functions of the types of its columns run in it, too.
 */
extern SourceScope source_enter(const SourceSpec *spec);
extern void source_leave(const SourceScope *scope);

/*
 * Opens a source and finds its columns, in the current context.  ERROR if the source does not
 * exist, or columns are missing, ambiguous or of a wrong type; the error lists them.
 */
extern Source *source_open(const SourceSpec *spec);

/*
 * Makes rows bad that belong to confirmed incidents (verdicts_of_model()).  In the context of the source.
 */
extern void source_leave_out_incidents(Source *source, const List *verdicts);

/* The form in which the rows of a range and around it are best read. */
extern SourceForm source_choose_form(const Source *source, const SourceRange *range);

/* The query that reads it, for EXPLAIN: with literals instead of parameters. */
extern char *source_query(const Source *source, const SourceRange *range);

/*
 * Calls visit for every row, ordered by series and time.  Without series columns all rows
 * form one series, whose first row has new_series "".  read_only: the query uses the
 * snapshot of the calling query.
 *
 * By count, rows are counted with duplicates: if there are duplicates among the rows around
 * the range, a visitor that needs `before` timestamps scans again, in the form SOURCE_ONCE.
 */
extern void source_scan(const Source *source, const SourceRange *range, bool read_only,
						source_visit visit, void *arg);

/*
 * Calls visit for the rows with the newest timestamps of one series before a time, oldest first.  An
 * index must be able to serve it (source_choose_form()).  values and nulls: of the series columns.
 */
extern void source_scan_before(const Source *source, const Datum *values, const bool *nulls,
							   int64 until, int64 timestamps, source_visit visit, void *arg);

/*
 * Calls visit with the key of each series that has rows before read_since, and the time of the last
 * of them; or from read_until on, and the first.
 */
typedef void (*source_outside_visit) (const char *key, int64 ts, void *arg);

extern void source_scan_outside(const Source *source, const SourceRange *range, bool before,
								source_outside_visit visit, void *arg);

/*
 * Finds the first and the last finite time of the rows from since to until, in all series; false
 * if there are no rows.  A query of its own, which an index on the time column can serve.
 */
extern bool source_span(const Source *source, const SourceRange *range, int64 *first, int64 *last);

/*
 * Finds the n-th distinct finite time of a series after (or before) a time; n at least 1.  False if
 * there are fewer.  series: values of all series columns; NULL: there are none.
 */
extern bool source_nth_time(const Source *source, Jsonb *series, bool after, int64 from, int64 n,
							int64 *ts);

/*
 * The time of the row of the model that a row of the source contributes to: that row's own time, or
 * the start of its bucket.  And the last time of that bucket.
 */
extern int64 source_bucket_start(const Source *source, int64 ts);
extern int64 source_bucket_end(const Source *source, int64 ts);

/* The rows of a source. */
typedef struct SourceSize
{
	int64		rows;
	int64		series;
	int64		used_rows;		/* of series with at least `least` rows */
	int64		used_series;
	int64		largest;		/* rows of the longest series */
	double		span;			/* from the first to the last time, in all series */
	double		seconds;		/* that counting took */
} SourceSize;

extern SourceSize source_count(const Source *source, int64 least);

/* Counts a row for amad_progress, with the planner's estimate of all once reading takes long. */
extern void source_report_row(const Source *source, const SourceRange *range);

/* Features of a narrow source at most: they are columns of a query. */
#define METRICS_MAX 1500

/*
 * Makes the metrics of a narrow source, sorted, its features: those of the rows from since to
 * until.  ERROR if no metric is found, or more than METRICS_MAX are.
 */
extern void source_find_metrics(Source *source, const SourceRange *range);

/*
 * Among the newest rows of a narrow source from since to until, of which `rows` receives the
 * number: those that repeat the series, metric and time of another one.
 */
extern int64 source_repeated_rows(const Source *source, const SourceRange *range, int64 *rows);

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

/*
 * Lets a stored source be read with the privileges of its owner, for a caller who has been granted
 * that (rows/source_owner.c).
 */
extern void source_read_as(SourceSpec *spec, Oid owner);

/* Sets the usual column names and shape from the source stored in a row of amad_models. */
extern void source_take_names(SourceSpec *spec, Jsonb *json, bool label);

/* ---- parts of other queries of the source, and of tables with its columns ------------------- */

/* The type that the query casts the time column to; dates are converted by timestamps_value(). */
extern Oid	source_ts_read_type(const Source *source);

/* Its name, in pg_catalog. */
extern const char *source_ts_read_name(const Source *source);

/* Appends a condition on the bare time column, so that indexes and partitions can be used. */
extern void source_append_bound(StringInfo out, const Source *source, const char *column,
								const char *operator, int64 ts);

/* Appends conditions that it is in a range, without the rows around it. */
extern void source_append_range(StringInfo where, const Source *source, const SourceRange *range);

/* Appends conditions that it is from first to last; PG_INT64_MIN and PG_INT64_MAX: no bound. */
extern void source_append_times(StringInfo out, const Source *source, int64 first, int64 last);

/*
 * Appends conditions that the series columns equal what is called prefix1, prefix2 … (from the number
 * first on); with nulls, that they are null where these are true.
 */
extern void source_append_equalities(StringInfo out, const Source *source, const char *prefix,
									 int first, const bool *nulls);

/*
 * The query for the first and the last finite time in a relation that has the time column of the source;
 * where: conditions, to which others are added.  And its result in SPI; false if there are no rows.
 */
extern char *source_span_query(const Source *source, const char *from, StringInfo where);
extern bool source_read_span(const Source *source, int64 *first, int64 *last);

/* Appends the conditions that select series; the head of source_series.c has the forms of `series`. */
extern void source_append_series(StringInfo where, const Source *source, Jsonb *series);

/*
 * An expression for the value of series column `number` in `column`, which as text, or in a JSON object, is
 * the same for equal values in any session, and as in series keys; not for intervals.
 */
extern char *source_series_value(const Source *source, int number, const char *column);

#endif							/* AMAD_ROWS_SOURCE_H */
