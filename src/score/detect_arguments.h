/*
 * score/detect_arguments.h
 *	  The arguments of functions that detect: model, range and source.
 */
#ifndef AMAD_SCORE_DETECT_ARGUMENTS_H
#define AMAD_SCORE_DETECT_ARGUMENTS_H

#include "score/detect.h"

/*
 * The detection that a function asks for by its arguments number 0 (model_name), `since`, since + 1
 * (until), `source` and `timestamp_col`.  ERROR if model_name is null.
 */
extern DetectSpec read_detect_arguments(FunctionCallInfo fcinfo, int since, int source,
										int timestamp_col);

/*
 * The range that a function asks for by its arguments since, until and last_n, the first of which is
 * number `since`, and the function itself.  ERROR if it is empty whatever the rows are.
 */
extern DetectSpec read_range_arguments(FunctionCallInfo fcinfo, int since);

/* The range with bounds of the type of a source's time column. */
extern SourceRange range_of_source(const DetectSpec *spec, Oid ts_type);

/* The argument last_n, or 0.  ERROR if it is less than 1 or since is given. */
extern int64 read_last_n_argument(FunctionCallInfo fcinfo, int number, const DetectSpec *spec);

#endif							/* AMAD_SCORE_DETECT_ARGUMENTS_H */
