/*
 * score/detect_arguments.h
 *	  Arguments of SQL functions that several of them have.
 */
#ifndef AMAD_SCORE_DETECT_ARGUMENTS_H
#define AMAD_SCORE_DETECT_ARGUMENTS_H

#include "score/detect.h"

/* A text argument; NULL when it is null. */
extern char *arguments_text(FunctionCallInfo fcinfo, int number);

/*
 * Of a function (model_name, since, until, …): what its first arguments and those
 * for source and timestamp_col say.  ERROR when model_name is null.
 */
extern DetectSpec arguments_detect(FunctionCallInfo fcinfo, int source, int timestamp_col);

/* The argument last_n, 0 when it is null.  ERROR when it is not positive, or since is given. */
extern int64 arguments_last_n(FunctionCallInfo fcinfo, int number, const DetectSpec *spec);

#endif							/* AMAD_SCORE_DETECT_ARGUMENTS_H */
