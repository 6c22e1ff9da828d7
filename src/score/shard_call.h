/*
 * score/shard_call.h
 *	  A function of a model's source that is called once for each of its shards.
 *
 * A function F has a variant F_on_shard with three more arguments: the shard, what the caller has found
 * out (a JSON object), and the model.  So a node needs neither the row of the model nor what belongs to
 * it.  Both are implemented by the same C function.
 */
#ifndef AMAD_SCORE_SHARD_CALL_H
#define AMAD_SCORE_SHARD_CALL_H

#include "pg/rowset.h"
#include "rows/source_shards.h"
#include "score/detect.h"

#define SHARD_ARGS 3

/*
 * The last arguments of the variant, of which `first` is the number of the first one; NULL: it is the
 * function itself.  Sets session parameters on which results depend, until shard_call_end() or an ERROR.
 */
extern ShardCall *shard_call_read(FunctionCallInfo fcinfo, int first);
extern void shard_call_end(const ShardCall *call);

/* The query that calls the variant of a function with its arguments. */
typedef struct ShardQuery
{
	const Detection *detection;
	const char *column;			/* the distribution column */
	const char *schema;			/* of the function, … */
	const char *variant;		/* … and its name, to which _on_shard is appended */
	const char *more;			/* arguments after those of the call, each with a comma; or "" */
	int			nargs;			/* of the function; those of the query have the call after them */
	Oid		   *types;			/* (nargs + 1) */
	Datum	   *values;
	char	   *nulls;			/* as for SPI */
} ShardQuery;

/*
 * The query for a call with `nargs` arguments; NULL: the source has no shards, or this is the variant.  The
 * caller may change the values.  spans: functions need the time that all shards cover.
 */
extern ShardQuery *shard_query_open(FunctionCallInfo fcinfo, int nargs, const Detection *detection,
									bool spans);

/* The same for a variant of no function, NAME_on_shard; its arguments are null. */
extern ShardQuery *shard_query_open_named(const Detection *detection, const char *name, int nargs);

/* The row type with columns of these types. */
extern TupleDesc shard_result_columns(int n, const Oid *types);

/* Runs it and visits the rows, which must have the types of `desc`; order: of the query, or "". */
extern void shard_query_run(const ShardQuery *query, TupleDesc desc, const char *order,
							source_row_visit visit, void *arg);

/* The same for a function whose rows are those of its variant. */
extern void shard_query_fill(const ShardQuery *query, Rowset *rowset);

/* Its text, for EXPLAIN: with literals instead of parameters. */
extern char *shard_query_text(const ShardQuery *query);

#endif							/* AMAD_SCORE_SHARD_CALL_H */
