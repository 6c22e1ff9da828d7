/*
 * rows/pivot.h
 *	  How the values of a metric in the same bucket of time become one: the aggregate amad_pivot.
 */
#ifndef AMAD_ROWS_PIVOT_H
#define AMAD_ROWS_PIVOT_H

typedef enum PivotKind
{
	PIVOT_AVG,
	PIVOT_MAX,
	PIVOT_MIN,
	PIVOT_SUM,
	PIVOT_LAST
} PivotKind;

/* The kind of a name; ERROR if it is not the name of an aggregate. */
extern PivotKind pivot_kind(const char *name);

#endif							/* AMAD_ROWS_PIVOT_H */
