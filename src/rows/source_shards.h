/*
 * rows/source_shards.h
 *	  The shards of a source that Citus distributes by a series column.
 *
 * All rows of a series are in one shard, so what is computed series by series can be computed by a
 * function that is called once for each shard, on the node that has it.
 */
#ifndef AMAD_ROWS_SOURCE_SHARDS_H
#define AMAD_ROWS_SOURCE_SHARDS_H

#include "access/tupdesc.h"

#include "rows/source.h"

/* Whether the source is a table that Citus distributes in any way: it has no triggers of its own. */
extern bool source_is_distributed(const Source *source);

/*
 * Whether it is distributed by the hash of one of its series columns.  *column: that column, quoted.
 */
extern bool source_is_sharded(const Source *source, const char **column);

/*
 * The query for the shards with rows of a range, one row for each: shard, its row type
 * on its node.  column: as above.
 */
extern char *source_shards_query(const Source *source, const SourceRange *range,
								 const char *column);

/* The qualified name of the relation with a row type; ERROR if there is none. */
extern char *source_shard_name(Oid row_type);

/* Called for each row of a query, in a memory context that is reset afterwards. */
typedef void (*source_row_visit) (Datum *values, bool *nulls, void *arg);

/*
 * Runs such a query with the privileges with which the source is read, in the snapshot of the calling
 * query, and visits its rows, which must have the types of `desc`.  nulls: as for SPI.
 */
extern void source_run_query(const Source *source, const char *query, int nargs, Oid *types,
							 Datum *values, const char *nulls, TupleDesc desc,
							 source_row_visit visit, void *arg);

#endif							/* AMAD_ROWS_SOURCE_SHARDS_H */
