/*
 * score/learning_rows.h
 *	  The rows of a series, as the source returned them.
 *
 * They are kept until the series has ended, because its new scaling depends on all of them.
 */
#ifndef AMAD_SCORE_LEARNING_ROWS_H
#define AMAD_SCORE_LEARNING_ROWS_H

#include "pg/budget.h"
#include "rows/source.h"

typedef struct LearningRow
{
	int64		ts;
	int			mark;			/* of the detection */
	bool		ts_valid;
	bool		duplicate;
	bool		counts;			/* it is in the range, has a place and is not known to be bad */
	double		values[FLEXIBLE_ARRAY_MEMBER];	/* (features) NaN: missing */
} LearningRow;

typedef struct LearningRows
{
	MemoryContext context;
	Budget		budget;
	int			features;
	char	   *key;			/* series_key.h; NULL: the only series */
	int64		nrows;
	int64		counting;		/* rows that count */
	int64		room;
	char	   *rows;
} LearningRows;

/* In a child of the current context. */
extern LearningRows *learning_rows_open(int features);

/* Begins a series: drops the rows of the one before. */
extern void learning_rows_begin(LearningRows *rows, const char *key);

/* ERROR if the rows do not fit in maintenance_work_mem. */
extern void learning_rows_add(LearningRows *rows, const SourceRow *row, int mark, bool counts);

extern LearningRow *learning_rows_get(const LearningRows *rows, int64 number);

#endif							/* AMAD_SCORE_LEARNING_ROWS_H */
