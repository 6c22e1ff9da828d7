/*
 * rows/source_private.h
 *	  What the files of a source share: its context, and its columns.
 */
#ifndef AMAD_ROWS_SOURCE_PRIVATE_H
#define AMAD_ROWS_SOURCE_PRIVATE_H

#include "access/tupdesc.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"

struct Source;
struct SourceRange;
struct SourceSpec;				/* rows/source.h */

/*
 * Chooses the columns that are not specified, and finds the types of all; desc: the source's
 * row type, relation: InvalidOid for a query.
 */
extern void source_bind_columns(struct Source *source, TupleDesc desc, Oid relation);

/*
 * What to append to a series column, and to values that it is compared with: a cast to the base type
 * where the operators of enums or arrays do not accept the domain, otherwise nothing.
 */
extern char *source_cast(const struct Source *source, int number);

/* Appends an operator with its schema. */
extern void source_append_operator(StringInfo out, Oid operator);

/*
 * Parameters of a query.  Those of a series are used when one series is read, and by the
 * queries of source_form.c.
 */
enum
{
	PARAM_SINCE = 1,
	PARAM_UNTIL,
	PARAM_SERIES				/* the first of them */
};

/* The query that reads a range, with parameters. */
extern char *source_parameter_query(const struct Source *source, const struct SourceRange *range);

/* The query for the last row of each series before what is read once, or the first one after it. */
extern char *source_outside_query(const struct Source *source, const struct SourceRange *range,
								  bool before);

/* The query for the n-th time of a series from since on, or before it; the range has that series. */
extern char *source_nth_query(const struct Source *source, const struct SourceRange *range,
							  bool after, int64 n);

/* The values of the parameters of such queries. */
extern ParamListInfo source_parameters(const struct Source *source,
									   const struct SourceRange *range);

/*
 * Queries whose plans show whether an index helps: the newest rows of a series before a time, the
 * series of the rows from a time on, and the series after another one (NULL if no operator
 * of pg_catalog finds it).
 */
extern char *source_history_query(const struct Source *source, int rows);
extern char *source_series_query(const struct Source *source);
extern char *source_step_query(const struct Source *source);

/*
 * Whether a range contains one series only, because it gives all of the series columns one
 * value.  values and nulls: (nseries) receive them.
 */
extern bool source_single_series(const struct Source *source, const struct SourceRange *range,
								 Datum *values, bool *nulls);

/* Whether a column of the source cannot be null. */
extern bool source_not_null(const struct Source *source, const char *column);

/*
 * Returns a plan for a query with the parameters above, from those that the session keeps, or
 * new.  It is valid until the current context is reset.  Call it between SPI_connect() and
 * SPI_finish().
 */
extern SPIPlanPtr source_plan(const struct Source *source, const char *query, int cursor_options);

/* The option for a plan that does not depend on parameters; Citus cannot plan most queries so. */
extern int	source_generic_plan(void);

/* Prepares a query of the source, after source_enter() and SPI_connect(). */
extern SPIPlanPtr source_prepare(const struct SourceSpec *spec, const char *query, int nargs,
								 Oid *types, int cursor_options);

/* ---- sources that are read as their owner for another role: source_owner.c ------------------ */

/* Sets what the session could otherwise change the meaning of the source with. */
extern void source_set_reader(void);

/* ERROR unless all that a plan reads and calls belongs to roles that spec->reader relies on. */
extern void source_check_plan(const struct SourceSpec *spec, SPIPlanPtr plan);

/*
 * In PG_CATCH(): raises the error again, without what it may contain of rows that the caller cannot
 * read.  context: that of before PG_TRY().
 */
extern void source_rethrow(const struct SourceSpec *spec, MemoryContext context);

/* Appends a name to a list for a message: "a", "b". */
extern void source_append_name(StringInfo list, const char *name);

/* ---- narrow sources: source_narrow.c ------------------------------------------------------- */

/* Checks the arguments that describe a narrow source, before its columns are looked up. */
extern void source_check_narrow(struct SourceSpec *spec);

/* Reads the bucket and checks the metrics, when the columns have been found. */
extern void source_bind_narrow(struct Source *source);

/*
 * The first time of the time column that belongs to a bucket which begins at ts or later:
 * labels from a to b are those of times from this of a to this of b.
 */
extern int64 source_first_time(const struct Source *source, int64 ts);

/*
 * Appends queries for c0, c1 ... of the rows that meet conditions on columns of the source: in
 * groups, in the groups with the n newest or oldest times, and for the time and the series
 * columns without grouping.
 */
extern void source_append_narrow(StringInfo out, const struct Source *source, const char *where);
extern void source_append_newest(StringInfo out, const struct Source *source, const char *where,
								 int64 n);
extern void source_append_oldest(StringInfo out, const struct Source *source, const char *where,
								 int64 n);
extern void source_append_keys(StringInfo out, const struct Source *source, const char *where);

/* Appends the condition that a row's metric is one of the features. */
extern void source_append_metrics(StringInfo where, const struct Source *source);

#endif							/* AMAD_ROWS_SOURCE_PRIVATE_H */
