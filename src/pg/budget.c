/*
 * pg/budget.c
 *	  The memory that training and evaluation may use: maintenance_work_mem.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "miscadmin.h"

#include "pg/budget.h"

static Size live_bytes = 0;		/* claims of all holders */

static void
forget(void *arg)
{
	live_bytes -= ((Budget *) arg)->bytes;
}

void
budget_open(Budget *budget, MemoryContext context, const char *remedy)
{
	budget->remedy = remedy;
	budget->bytes = 0;
	budget->forget.func = forget;
	budget->forget.arg = budget;
	MemoryContextRegisterResetCallback(context, &budget->forget);
}

Size
budget_rest(void)
{
	Size		limit = (Size) maintenance_work_mem * 1024;

	return live_bytes < limit ? limit - live_bytes : 0;
}

bool
budget_fits(Size bytes)
{
	return bytes <= budget_rest();
}

void
budget_check(const Budget *budget, const char *what, Size bytes)
{
	if (!budget_fits(bytes))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("memory required for %s is %zu MB, maintenance_work_mem is %d MB", what,
						(live_bytes + bytes) / (1024 * 1024) + 1, maintenance_work_mem / 1024),
				 errhint("%s", budget->remedy)));
}

void
budget_claim(Budget *budget, const char *what, Size bytes)
{
	budget_check(budget, what, bytes);
	budget->bytes += bytes;
	live_bytes += bytes;
}

void
budget_release(Budget *budget, Size bytes)
{
	budget->bytes -= bytes;
	live_bytes -= bytes;
}

void *
budget_enlarge(MemoryContext context, void *array, Size bytes)
{
	return array ? repalloc_huge(array, bytes) : MemoryContextAllocHuge(context, bytes);
}
