/*
 * score/outside_rows.h
 *	  Which series have rows outside the times that were read once.
 */
#ifndef AMAD_SCORE_OUTSIDE_ROWS_H
#define AMAD_SCORE_OUTSIDE_ROWS_H

#include "rows/source.h"

typedef struct OutsideRows OutsideRows;

/* Keeps pointers to the source and the range, whose form is SOURCE_ONCE. */
extern OutsideRows *outside_rows_open(const Source *source, const SourceRange *range);

/*
 * Finds the last row of a series before the times that were read, or the first one after them;
 * key: as in SourceRow.  False if there is none.
 */
extern bool outside_rows_find(OutsideRows *outside, const char *key, bool before, int64 *ts);

#endif							/* AMAD_SCORE_OUTSIDE_ROWS_H */
