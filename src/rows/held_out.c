/*
 * rows/held_out.c
 *	  Which rows of a series are held out of training.
 *
 * Blocks are counted from the end of the series: block i = 0, 1, … consists of the last
 * `block` of the rows before row rows - i · every.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "rows/held_out.h"

#define MOST_BLOCKS 10
#define ENOUGH_FOR_TWO 20		/* blocks of rows of a series of which two are held out */

HeldOut
held_out_plan(int64 rows, double fraction, int64 least, int64 warmup)
{
	/* one block says little of the other times, but must not take much of a short series */
	int64		fewest = rows >= ENOUGH_FOR_TWO * least ? 2 : 1;
	int64		all = Max(fewest * least, (int64) ceil(fraction * rows));
	int64		blocks = Min(all / least, MOST_BLOCKS);
	HeldOut		held = {.rows = rows, .block = all / blocks, .every = rows / blocks};

	while (held.blocks < blocks && rows - held.blocks * held.every - held.block >= warmup)
		held.blocks++;
	if (held.blocks == 0)
		held.block = 0;
	return held;
}

bool
held_out_stretch(const HeldOut *held, int64 number, int64 *rows)
{
	int64		back = held->rows - 1 - number; /* rows after it */
	int64		block = held->block > 0 ? back / held->every : 0;
	int64		place = held->block > 0 ? back % held->every : back;	/* from the block's end */

	if (block < held->blocks && place < held->block)
	{
		*rows = place + 1;
		return true;
	}
	/* up to the beginning of the block before, counted from the end */
	if (block >= held->blocks)
		*rows = held->blocks == 0 ? back + 1
								  : back - (held->blocks - 1) * held->every - held->block + 1;
	else
		*rows = place - held->block + 1;
	return false;
}

int64
held_out_rows(const HeldOut *held)
{
	return held->blocks * held->block;
}
