/*
 * score/held_rows.c
 *	  With the option lookahead: rows that are held until later rows have arrived.
 *
 * Rows are returned in the order in which they were added.  So the first row that waits
 * for its score holds back all rows behind it: those fed to the model, which wait, too,
 * and those that are not in order.  Blocks are filled again, so they are copied here.
 *
 * At most `lookahead` rows that were fed wait at a time.  The ring has room for twice as
 * many, because rows of a block are added before the rows held earlier are returned.  The
 * number of rows that were not fed has no such limit.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "storage/shmem.h"

#include "score/held_rows.h"

Size
held_rows_bytes(const Model *m, const Predictor *p)
{
	int			arrays = 2 + m->plan.has_flatlines;

	return mul_size(2 * m->options.lookahead,
					sizeof(float) * (arrays * m->features + p->signals) +
						(m->transforms.any ? sizeof(Inverse) * m->features : 0));
}

void
held_rows_open(HeldRows *h, const Model *m, const Predictor *p)
{
	const Size	rows = 2 * m->options.lookahead;
	const int	C = m->features;

	memset(h, 0, sizeof(HeldRows));
	h->features = C;
	h->nsignals = p->signals;
	if (rows == 0)
		return;
	h->room = h->ring = rows;
	h->row = palloc_extended(sizeof(BlockRow) * rows, MCXT_ALLOC_HUGE);
	h->missing = palloc_extended(rows * MISSING_BYTES(C), MCXT_ALLOC_HUGE);
	h->scaled = palloc_extended(sizeof(float) * rows * C, MCXT_ALLOC_HUGE);
	h->expected = palloc_extended(sizeof(float) * rows * C, MCXT_ALLOC_HUGE);
	h->signals = palloc_extended(sizeof(float) * rows * Max(p->signals, 1), MCXT_ALLOC_HUGE);
	if (m->plan.has_flatlines)
		h->activity = palloc_extended(sizeof(float) * rows * C, MCXT_ALLOC_HUGE);
	if (m->transforms.any)
		h->inverse = palloc_extended(sizeof(Inverse) * rows * C, MCXT_ALLOC_HUGE);
}

void
held_rows_add(HeldRows *h, const BlockRow *row, const ScoredRow *data)
{
	const int	C = h->features;
	const int	N = h->nsignals;
	const Size	bytes = MISSING_BYTES(C);
	BlockRow   *to;
	Size		at;

	/* room at the end: rows move to the front if half of it is free there */
	if (h->first + h->rows == h->room)
	{
		if (h->first > h->room / 2)
		{
			memmove(h->row, h->row + h->first, sizeof(BlockRow) * h->rows);
			memmove(h->missing, h->missing + h->first * bytes, h->rows * bytes);
			h->first = 0;
		}
		else
		{
			h->room *= 2;
			h->row = repalloc_huge(h->row, sizeof(BlockRow) * h->room);
			h->missing = repalloc_huge(h->missing, h->room * bytes);
		}
	}

	at = h->first + h->rows++;
	to = &h->row[at];
	*to = *row;
	memcpy(h->missing + at * bytes, data->missing, bytes);
	if (row->fed < 0)
		return;
	to->fed = h->next;
	h->next = (h->next + 1) % h->ring;
	memcpy(h->scaled + (size_t) to->fed * C, data->scaled, sizeof(float) * C);
	memcpy(h->expected + (size_t) to->fed * C, data->expected, sizeof(float) * C);
	if (N > 0)
		memcpy(h->signals + (size_t) to->fed * N, data->signals, sizeof(float) * N);
	if (h->activity)
		memcpy(h->activity + (size_t) to->fed * C, data->activity, sizeof(float) * C);
	if (h->inverse)
		memcpy(h->inverse + (size_t) to->fed * C, data->inverse, sizeof(Inverse) * C);
}

void
held_rows_drop(HeldRows *h, int n)
{
	h->rows -= n;
	h->first = h->rows == 0 ? 0 : h->first + n;
}
