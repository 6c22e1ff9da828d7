/*
 * rows/holidays.h
 *	  The option "holidays" as the name of a relation or a query: read once, when a model is
 *	  trained.
 */
#ifndef AMAD_ROWS_HOLIDAYS_H
#define AMAD_ROWS_HOLIDAYS_H

#include "utils/jsonb.h"

/*
 * Options in which holidays are an array of dates: those of the first column of type date
 * of the relation or query, if the option is a string.  NULL stays NULL.  ERROR if there is
 * no such column.
 */
extern Jsonb *holidays_read(Jsonb *options);

#endif							/* AMAD_ROWS_HOLIDAYS_H */
