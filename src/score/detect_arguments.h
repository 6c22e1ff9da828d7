/*
 * score/detect_arguments.h
 *	  Arguments that several SQL functions share.
 */
#ifndef AMAD_SCORE_DETECT_ARGUMENTS_H
#define AMAD_SCORE_DETECT_ARGUMENTS_H

#include "score/detect.h"

/* A text argument, or NULL. */
extern char *arguments_text(FunctionCallInfo fcinfo, int number);

/*
 * The detection that a function (model_name, since, until, …) asks for by its first three
 * arguments and the arguments number `source` and `timestamp_col`.  ERROR if model_name is
 * null.
 */
extern DetectSpec arguments_detect(FunctionCallInfo fcinfo, int source, int timestamp_col);

/* The argument last_n, or 0.  ERROR if it is less than 1 or since is given. */
extern int64 arguments_last_n(FunctionCallInfo fcinfo, int number, const DetectSpec *spec);

#endif							/* AMAD_SCORE_DETECT_ARGUMENTS_H */
