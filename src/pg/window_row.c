/*
 * pg/window_row.c
 *	  The arguments of a window function for the rows of its partition.
 *
 * WinGetFuncArgInPartition() fetches and copies the row for each argument; with twenty
 * features this costs as much as the network.  The row it fetched remains in the
 * executor's expression context, so the other arguments can be evaluated there.  To reach
 * them, this file repeats the first fields of a struct that is private to nodeWindowAgg.c
 * and unchanged from PostgreSQL 8.4 to 19.  They are used only if they look as expected;
 * otherwise every argument is fetched.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "executor/executor.h"
#include "nodes/execnodes.h"

#include "pg/window_row.h"

/* Copied from src/backend/executor/nodeWindowAgg.c, not exported; first fields only. */
typedef struct WindowObjectHead
{
	NodeTag		type;
	WindowAggState *winstate;	/* parent WindowAggState */
	List	   *argstates;		/* ExprState trees for fn's arguments */
} WindowObjectHead;

Datum
window_row_seek(WindowObject window, int number, int offset, bool *isnull, bool *isout)
{
	return WinGetFuncArgInPartition(window, number, offset, WINDOW_SEEK_CURRENT, false, isnull,
									isout);
}

Datum
window_row_argument(WindowObject window, int number, int offset, bool *isnull)
{
#if PG_VERSION_NUM < 200000
	const WindowObjectHead *head = (const WindowObjectHead *) window;

	if (IsA(head, WindowObjectData) && IsA(head->winstate, WindowAggState) &&
		IsA(head->argstates, List) && number < list_length(head->argstates))
		return ExecEvalExpr((ExprState *) list_nth(head->argstates, number),
							head->winstate->ss.ps.ps_ExprContext, isnull);
#endif
	return window_row_seek(window, number, offset, isnull, NULL);
}
