/*
 * rows/dataset_private.h
 *	  Functions that dataset.c and dataset_sampling.c share.
 */
#ifndef AMAD_ROWS_DATASET_PRIVATE_H
#define AMAD_ROWS_DATASET_PRIVATE_H

struct Dataset;					/* rows/dataset.h */

#define DATASET_CHECK_ROWS 4096 /* rows between checks of the limit */

/* Ends the open series, if there is one. */
extern void dataset_end_series(struct Dataset *dataset);

/* Counts a row of a sample; whether it is kept. */
extern bool dataset_take_row(struct Dataset *dataset);

/* The sample is full if it and the training do not fit.  ERROR if no number of rows does. */
extern void dataset_check_limit(struct Dataset *dataset);

/* Notes the number of rows of the series that ends. */
extern void dataset_count_series(struct Dataset *dataset);

#endif							/* AMAD_ROWS_DATASET_PRIVATE_H */
