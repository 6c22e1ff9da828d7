/*
 * pg/window_row.h
 *	  The arguments of a window function for the rows of its partition.
 */
#ifndef AMAD_PG_WINDOW_ROW_H
#define AMAD_PG_WINDOW_ROW_H

#include "windowapi.h"

/*
 * Fetches the row `offset` rows from the current one and returns its argument `number`;
 * sets *isout if there is no such row.
 */
extern Datum window_row_seek(WindowObject window, int number, int offset, bool *isnull,
							 bool *isout);

/* Another argument of the row fetched last. */
extern Datum window_row_argument(WindowObject window, int number, int offset, bool *isnull);

#endif							/* AMAD_PG_WINDOW_ROW_H */
