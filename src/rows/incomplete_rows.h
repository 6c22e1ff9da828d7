/*
 * rows/incomplete_rows.h
 *	  The share of the last rows of a stretch in which a feature is missing.
 *
 * While features are missing, and for some rows after that, the model knows less about the
 * others, and its residuals are larger.  A row here and there does not matter.
 */
#ifndef AMAD_ROWS_INCOMPLETE_ROWS_H
#define AMAD_ROWS_INCOMPLETE_ROWS_H

#include "port/pg_bitutils.h"

typedef struct IncompleteRows
{
	int			rows;			/* number of rows, 1 … 64 */
	uint64		map;			/* bit i: the row i rows before the newest is incomplete */
} IncompleteRows;

/* As many rows as a row's score may depend on, including the row. */
static inline int
incomplete_rows_most(int context)
{
	return Min(context + 1, 64);
}

static inline void
incomplete_rows_reset(IncompleteRows *incomplete)
{
	incomplete->map = 0;
}

/* Adds a row; returns the share. */
static inline double
incomplete_rows_add(IncompleteRows *incomplete, bool missing)
{
	uint64		mask = ~UINT64CONST(0) >> (64 - incomplete->rows);

	incomplete->map = (incomplete->map << 1 | missing) & mask;
	return (double) pg_popcount64(incomplete->map) / incomplete->rows;
}

#endif							/* AMAD_ROWS_INCOMPLETE_ROWS_H */
