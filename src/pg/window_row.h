/*
 * pg/window_row.h
 *	  Arguments of a window function for rows of the partition.
 */
#ifndef AMAD_PG_WINDOW_ROW_H
#define AMAD_PG_WINDOW_ROW_H

#include "windowapi.h"

/*
 * Go to the row `offset` rows from the current one and return its argument
 * `number`; *isout when there is no such row.
 */
extern Datum window_row_seek(WindowObject window, int number, int offset, bool *isnull,
							 bool *isout);

/* Another argument of the row gone to last. */
extern Datum window_row_argument(WindowObject window, int number, int offset, bool *isnull);

#endif							/* AMAD_PG_WINDOW_ROW_H */
