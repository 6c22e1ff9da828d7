/*
 * pg/budget.h
 *	  What trainings and evaluations of this backend may hold in memory:
 *	  maintenance_work_mem.
 *
 * GROUP BY keeps the rows of many groups at once, and the planner knows nothing
 * of their size, so all holders are counted together.
 */
#ifndef AMAD_PG_BUDGET_H
#define AMAD_PG_BUDGET_H

/* What one holder has claimed; it is given back with the holder's context. */
typedef struct Budget
{
	const char *remedy;			/* hint when it is exceeded */
	Size		bytes;
	MemoryContextCallback forget;
} Budget;

#define BUDGET_TRAINING "Raise maintenance_work_mem, or train on fewer rows or a smaller network."

extern void budget_open(Budget *budget, MemoryContext context, const char *remedy);

/* Whether so many more bytes fit; the rest of the limit, 0 when it is exceeded. */
extern bool budget_fits(Size bytes);
extern Size budget_rest(void);

/* ERROR unless so many more bytes fit; what: "training rows" … */
extern void budget_check(const Budget *budget, const char *what, Size bytes);

/* The same, and count them; and give some back. */
extern void budget_claim(Budget *budget, const char *what, Size bytes);
extern void budget_release(Budget *budget, Size bytes);

/* An array (NULL: none yet) with room for so many bytes, which were claimed. */
extern void *budget_enlarge(MemoryContext context, void *array, Size bytes);

#endif							/* AMAD_PG_BUDGET_H */
