/*
 * pg/interrupts.h
 *	  PostgreSQL's check for interrupts as the callback that src/core polls (nn_poll).
 */
#ifndef AMAD_PG_INTERRUPTS_H
#define AMAD_PG_INTERRUPTS_H

#include "miscadmin.h"

/* May raise an ERROR, so the computation that polls must own nothing but palloc'd memory. */
static inline void
check_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
}

#endif							/* AMAD_PG_INTERRUPTS_H */
