/*
 * rows/held_out.h
 *	  Which rows of a series are held out of training.
 *
 * Calibration needs rows that the network has not learned, from all the time that the
 * training rows cover.  So whole blocks of consecutive rows are held out, spread evenly
 * over the series; the last one ends with its last row.  The network gets these rows as
 * input, but they have no loss.
 */
#ifndef AMAD_ROWS_HELD_OUT_H
#define AMAD_ROWS_HELD_OUT_H

typedef struct HeldOut
{
	int64		rows;			/* of the series */
	int64		block;			/* rows of a block; 0: no row is held out */
	int64		every;			/* from the end of a block to the end of the next one */
	int			blocks;
} HeldOut;

/*
 * Holds out the share `fraction` of `rows` rows, in blocks of at least `least` rows, none
 * of which begins before row `warmup`.  No row if there are too few for one block.
 */
extern HeldOut held_out_plan(int64 rows, double fraction, int64 least, int64 warmup);

/* Whether a row is held out, and how many rows from it on, including it, are like it. */
extern bool held_out_stretch(const HeldOut *held, int64 number, int64 *rows);

/* Rows held out. */
extern int64 held_out_rows(const HeldOut *held);

#endif							/* AMAD_ROWS_HELD_OUT_H */
