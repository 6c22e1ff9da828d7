/*
 * rows/duplicate_rows.h
 *	  Which of several rows of a series with the same timestamp counts.
 *
 * The first one in the order defined here counts, the others are duplicates.  So neither
 * the plan of a query nor the order in which rows come changes a model or a score.
 */
#ifndef AMAD_ROWS_DUPLICATE_ROWS_H
#define AMAD_ROWS_DUPLICATE_ROWS_H

/* A greater share of duplicates means that rows of several series were mixed. */
#define DUPLICATE_SHARE 0.1

/*
 * Whether a row comes before another one: by the first feature whose values differ, missing
 * values last; of identical rows, one that is not known to be bad.  values: (count) NaN:
 * missing.
 */
extern bool duplicate_rows_precedes(int count, const double *values, bool bad, const double *other,
									bool other_bad);

#endif							/* AMAD_ROWS_DUPLICATE_ROWS_H */
