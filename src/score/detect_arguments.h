/*
 * score/detect_arguments.h
 *	  The arguments of functions that detect: model, range and source.
 */
#ifndef AMAD_SCORE_DETECT_ARGUMENTS_H
#define AMAD_SCORE_DETECT_ARGUMENTS_H

#include "score/detect.h"

/*
 * The detection that a function (model_name, since, until, …) asks for by its first three
 * arguments and the arguments number `source` and `timestamp_col`.  ERROR if model_name is
 * null.
 */
extern DetectSpec read_detect_arguments(FunctionCallInfo fcinfo, int source, int timestamp_col);

/* The argument last_n, or 0.  ERROR if it is less than 1 or since is given. */
extern int64 read_last_n_argument(FunctionCallInfo fcinfo, int number, const DetectSpec *spec);

#endif							/* AMAD_SCORE_DETECT_ARGUMENTS_H */
