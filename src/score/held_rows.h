/*
 * score/held_rows.h
 *	  With the option lookahead: rows that are held until later rows have arrived.
 */
#ifndef AMAD_SCORE_HELD_ROWS_H
#define AMAD_SCORE_HELD_ROWS_H

#include "score/blocks.h"

typedef struct HeldRows
{
	/* settings */
	int			features;
	int			nsignals;

	/* all rows, in their order */
	int			first;			/* index of the first row in row and missing */
	int			rows;
	int			room;
	BlockRow   *row;			/* (room) */
	uint8	   *missing;		/* (room, MISSING_BYTES) */

	/* those fed to the model, in a ring: BlockRow.fed is the place there */
	int			ring;			/* 2 · lookahead */
	int			next;			/* place of the next row */
	float	   *scaled;			/* (ring, features) */
	float	   *expected;		/* (ring, features) */
	float	   *signals;		/* (ring, signals) */
	float	   *activity;		/* (ring, features) NULL: the model does not use it */
	Inverse    *inverse;		/* (ring, features) NULL: no feature is transformed */
} HeldRows;

/* Memory that held_rows_open() allocates, without that of the rows not fed. */
extern Size held_rows_bytes(const Model *model, const Predictor *predictor);

/* In the current context. */
extern void held_rows_open(HeldRows *held, const Model *model, const Predictor *predictor);

/* Holds a row of a block behind the others. */
extern void held_rows_add(HeldRows *held, const BlockRow *row, const ScoredRow *data);

/* Drops the first n rows. */
extern void held_rows_drop(HeldRows *held, int n);

#endif							/* AMAD_SCORE_HELD_ROWS_H */
