/*
 * pg/time_argument.h
 *	  The argument ts of a function that is declared with "any" there.
 */
#ifndef AMAD_PG_TIME_ARGUMENT_H
#define AMAD_PG_TIME_ARGUMENT_H

#include "fmgr.h"

/*
 * The base type of argument `number` of a call, for timestamps_value().  ERROR unless it is
 * a type of time columns; the message names the function, the hint shows its call syntax.
 */
extern Oid	time_argument_type(FmgrInfo *flinfo, int number, const char *function,
							   const char *syntax);

#endif							/* AMAD_PG_TIME_ARGUMENT_H */
