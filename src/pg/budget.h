/*
 * pg/budget.h
 *	  The memory that training and evaluation may use: maintenance_work_mem.
 *
 * GROUP BY keeps the rows of many groups at once, and the planner cannot estimate their size,
 * so the limit applies to all holders in this backend together.
 */
#ifndef AMAD_PG_BUDGET_H
#define AMAD_PG_BUDGET_H

/* The claims of one holder, released when its memory context is reset or deleted. */
typedef struct Budget
{
	const char *remedy;			/* hint if the limit is exceeded */
	Size		bytes;
	MemoryContextCallback forget;
} Budget;

#define BUDGET_TRAINING "Raise maintenance_work_mem, or train on fewer rows or a smaller network."

extern void budget_open(Budget *budget, MemoryContext context, const char *remedy);

/* Whether `bytes` more fit, and how many more do. */
extern bool budget_fits(Size bytes);
extern Size budget_rest(void);

/* ERROR unless `bytes` more fit; what: what they are for, such as "training rows". */
extern void budget_check(const Budget *budget, const char *what, Size bytes);

/* Checks and counts a claim; and takes one back. */
extern void budget_claim(Budget *budget, const char *what, Size bytes);
extern void budget_release(Budget *budget, Size bytes);

/* Allocates (array NULL) or enlarges an array to a size that has been claimed. */
extern void *budget_enlarge(MemoryContext context, void *array, Size bytes);

#endif							/* AMAD_PG_BUDGET_H */
