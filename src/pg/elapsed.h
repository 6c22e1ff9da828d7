/*
 * pg/elapsed.h
 *	  The time that something has taken.
 */
#ifndef AMAD_PG_ELAPSED_H
#define AMAD_PG_ELAPSED_H

#include "portability/instr_time.h"

static inline double
seconds_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_DOUBLE(now);
}

#endif							/* AMAD_PG_ELAPSED_H */
