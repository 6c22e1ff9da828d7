/*
 * score/outside_rows.c
 *	  Which series have rows outside the times that were read once.
 *
 * The times that a range is read from and to are chosen so that a gap separates it from all
 * other rows that are needed (detect.c).  Whether there are any rows beyond the gap decides whether
 * the rows after it have the status gap or warmup, and whether the rows before it wait for
 * others.  That matters for few series.  For the first of them, one query finds the last, or
 * the first, such row of all series.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "score/outside_rows.h"

/* A series; keys are replaced by their hash values. */
typedef struct OutsideRow
{
	uint64		key;
	int64		ts;
} OutsideRow;

#define ENTRY_BYTES (sizeof(OutsideRow) + 4 * sizeof(void *))

struct OutsideRows
{
	const Source *source;
	const SourceRange *range;
	MemoryContext context;
	HTAB	   *tables[2];		/* after, before; NULL: not read */
	HTAB	   *filling;
};

OutsideRows *
outside_rows_open(const Source *source, const SourceRange *range)
{
	OutsideRows *o = palloc0(sizeof(OutsideRows));

	o->source = source;
	o->range = range;
	o->context = CurrentMemoryContext;
	return o;
}

static uint64
hash_key(const char *key)
{
	return DatumGetUInt64(hash_any_extended((const unsigned char *) key, strlen(key), 0));
}

static void
add_outside_row(const char *key, int64 ts, void *arg)
{
	OutsideRows *o = arg;
	uint64		hash = hash_key(key);
	OutsideRow *row;

	if (hash_get_num_entries(o->filling) * ENTRY_BYTES >= (Size) work_mem * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("series of the source do not fit in work_mem (%d kB)", work_mem),
				 errhint(
					 "Create an index on the series columns and the time column of the source, or "
					 "raise work_mem.")));
	row = hash_search(o->filling, &hash, HASH_ENTER, NULL);
	row->ts = ts;
}

bool
outside_rows_find(OutsideRows *o, const char *key, bool before, int64 *ts)
{
	HASHCTL		control = {
		.keysize = sizeof(uint64),
		.entrysize = sizeof(OutsideRow),
		.hcxt = o->context,
	};
	uint64		hash = hash_key(key);
	OutsideRow *row;

	if (o->tables[before] == NULL)
	{
		o->filling = hash_create("amad outside rows", 256, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		source_scan_outside(o->source, o->range, before, add_outside_row, o);
		o->tables[before] = o->filling;
	}
	row = hash_search(o->tables[before], &hash, HASH_FIND, NULL);
	if (row)
		*ts = row->ts;
	return row != NULL;
}
