/*
 * rows/dataset_private.h
 *	  Functions that dataset.c and dataset_sampling.c share.
 */
#ifndef AMAD_ROWS_DATASET_PRIVATE_H
#define AMAD_ROWS_DATASET_PRIVATE_H

struct Dataset;
struct DatasetRun;				/* rows/dataset.h */

#define DATASET_CHECK_ROWS 4096 /* rows between checks of the budget and for interrupts */

extern void dataset_append_run(struct Dataset *dataset, struct DatasetRun run);

/* Releases the memory behind the last scaled row. */
extern void dataset_shrink(struct Dataset *dataset);

/* Whether the row with a number in the open series is part of the sample. */
extern bool dataset_keeps_row(const struct Dataset *dataset, int64 number);

/* Leaves out rows until the others fit.  ERROR if no number of rows does. */
extern void dataset_keep_within_limit(struct Dataset *dataset);

/* Leaves out as many as the numbers of all rows say; when all series have ended. */
extern void dataset_settle_level(struct Dataset *dataset);

#endif							/* AMAD_ROWS_DATASET_PRIVATE_H */
