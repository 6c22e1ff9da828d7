/*
 * rows/duplicate_rows.c
 *	  Which of several rows of a series with the same timestamp counts.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "rows/duplicate_rows.h"

bool
duplicate_rows_precedes(int count, const double *values, bool bad, const double *other,
						bool other_bad)
{
	for (int c = 0; c < count; c++)
	{
		if (isnan(values[c]) != isnan(other[c]))
			return isnan(other[c]);
		if (values[c] < other[c] || values[c] > other[c])
			return values[c] < other[c];
	}
	return !bad && other_bad;
}
