/*
 * score/learning_rows.c
 *	  The rows of a series, as the source returned them.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "utils/memutils.h"

#include "score/learning_rows.h"

#define LEAST_ROOM 256			/* rows that memory is allocated for at once */

static Size
learning_row_bytes(const LearningRows *r)
{
	return offsetof(LearningRow, values) + sizeof(double) * r->features;
}

LearningRows *
learning_rows_open(int features)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "amad learning rows",
												  ALLOCSET_DEFAULT_SIZES);
	LearningRows *r = MemoryContextAllocZero(context, sizeof(LearningRows));

	r->context = context;
	r->features = features;
	budget_open(&r->budget, context, "Raise maintenance_work_mem, or read fewer rows.");
	return r;
}

void
learning_rows_begin(LearningRows *r, const char *key)
{
	if (r->key)
		pfree(r->key);
	r->key = key ? MemoryContextStrdup(r->context, key) : NULL;
	r->nrows = r->counting = 0;
}

void
learning_rows_add(LearningRows *r, const SourceRow *from, int mark, bool counts)
{
	const Size	bytes = learning_row_bytes(r);
	LearningRow *row;

	if (r->nrows == r->room)
	{
		int64		room = r->room + Max(LEAST_ROOM, r->room / 8);

		budget_claim(&r->budget, "rows of a series", (room - r->room) * bytes);
		r->rows = budget_enlarge(r->context, r->rows, room * bytes);
		r->room = room;
	}
	row = (LearningRow *) (r->rows + r->nrows++ * bytes);
	row->ts = from->ts;
	row->mark = mark;
	row->ts_valid = from->ts_valid;
	row->duplicate = from->duplicate;
	row->counts = counts;
	memcpy(row->values, from->values, sizeof(double) * r->features);
	r->counting += counts;
}

LearningRow *
learning_rows_get(const LearningRows *r, int64 number)
{
	return (LearningRow *) (r->rows + number * learning_row_bytes(r));
}
