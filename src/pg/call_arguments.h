/*
 * pg/call_arguments.h
 *	  Arguments of SQL functions: what several of them need.
 */
#ifndef AMAD_PG_CALL_ARGUMENTS_H
#define AMAD_PG_CALL_ARGUMENTS_H

#include "fmgr.h"
#include "utils/jsonb.h"

/*
 * Whether an argument is null, or missing because the function was created by an earlier version
 * of the extension, which declared fewer.
 */
extern bool argument_is_null(FunctionCallInfo fcinfo, int number);

/* The name of the schema of a function.  ERROR if the function was dropped. */
extern char *function_schema(Oid function);

/* A text argument, or NULL; and one that must not be null or empty. */
extern char *text_argument(FunctionCallInfo fcinfo, int number);
extern char *required_text_argument(FunctionCallInfo fcinfo, int number, const char *name);

/* An array of at most `most` names; 0 and NULL if it is null. */
extern int	names_argument(FunctionCallInfo fcinfo, int number, const char *name, int most,
						  char ***names);

/*
 * The base type of the argument ts, which is number `number` and may be declared "any", for
 * timestamps_value().  ERROR unless time columns can have it: the message names the
 * function, the hint shows its arguments.
 */
extern Oid	time_argument_type(FmgrInfo *flinfo, int number, const char *function,
							  const char *arguments);

/* Whether a jsonb argument differs from that of the first row; NULL: it was null. */
extern bool jsonb_argument_changed(FunctionCallInfo fcinfo, int number, Jsonb *first);

/* The memory context of an aggregate's group.  ERROR outside of an aggregate. */
extern MemoryContext aggregate_group_context(FunctionCallInfo fcinfo, const char *function);

#endif							/* AMAD_PG_CALL_ARGUMENTS_H */
