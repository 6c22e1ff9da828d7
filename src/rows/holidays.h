/*
 * rows/holidays.h
 *	  The option "holidays" as the name of a relation or a query: read once, when a model is
 *	  trained.
 */
#ifndef AMAD_ROWS_HOLIDAYS_H
#define AMAD_ROWS_HOLIDAYS_H

#include "utils/jsonb.h"

/*
 * Returns the options with an array of dates as holidays: if the option is a string, those in
 * the first column of type date of the relation or query.  NULL if options is NULL.  ERROR
 * if there is no such column.
 */
extern Jsonb *holidays_read(Jsonb *options);

#endif							/* AMAD_ROWS_HOLIDAYS_H */
