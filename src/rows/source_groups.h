/*
 * rows/source_groups.h
 *	  Values of the series of a source, computed where its rows are.
 *
 * They are the results of aggregates, grouped by the series columns.  If the rows are in shards on
 * several nodes (Citus), and one of these columns distributes them, all rows of a series are in
 * one shard, and only the results are sent.
 */
#ifndef AMAD_ROWS_SOURCE_GROUPS_H
#define AMAD_ROWS_SOURCE_GROUPS_H

#include "rows/source.h"

/*
 * Aggregates over the rows of a series, in SQL.  They use the columns c0 (the time), the series columns, the
 * features and the label, which source_row_columns() lists, of rows in order of time.
 */
typedef struct SourceAggregates
{
	const char *select;
	int			n;
	const Oid  *types;			/* (n) */
	/* a value that is sent once to each node, for the query (SELECT value FROM amad_value) */
	Oid			value_type;		/* InvalidOid: none */
	Datum		value;
} SourceAggregates;

/* Appends the condition that the time c0 of a row is finite. */
extern void source_append_finite(StringInfo out, const Source *source);

/* The time, the features, and whether the row is known to be bad, as a ROW(). */
extern char *source_row_columns(const Source *source);

/*
 * Calls visit with the key of each series in the range, in the order of source_scan(), and the
 * results of the aggregates.
 */
typedef void (*source_group_visit) (const char *key, const Datum *values, const bool *nulls,
								   void *arg);

extern void source_scan_groups(const Source *source, const SourceRange *range,
							   const SourceAggregates *aggregates, source_group_visit visit,
							   void *arg);

#endif							/* AMAD_ROWS_SOURCE_GROUPS_H */
