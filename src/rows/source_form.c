/*
 * rows/source_form.c
 *	  In which form a range of a source is read: by index and count, or once.
 *
 * The planner's costs do not decide: they count a random page for each row, so that a scan of
 * the whole table often looks cheaper.  Reading by count never reads more rows than scores
 * depend on, and scoring a row takes much longer than finding it in an index.  So the form
 * depends on whether an index can serve it.  To find out, queries for one series are planned, with
 * sequential scans and sorts disabled, and their plans are searched for anything else than scans of
 * indexes by the series columns and then the time column.  That works for partitioned
 * tables, hypertables, views and queries, too.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "executor/spi.h"
#include "nodes/bitmapset.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "utils/guc.h"
#include "utils/plancache.h"

#include "rows/source.h"
#include "rows/source_private.h"

/* What the scans of a plan must use an index for. */
typedef enum IndexUse
{
	FIND_HISTORY,				/* for each series column, and after them the time */
	FIND_RANGE,					/* first for the time */
	FIND_STEP					/* first for a series column */
} IndexUse;

/* The parameters in a condition. */
static bool
collect_parameters(Node *node, Bitmapset **parameters)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
		*parameters = bms_add_member(*parameters, ((Param *) node)->paramid);
	return expression_tree_walker(node, collect_parameters, parameters);
}

/* The column of the index that a condition is about, or that it begins with; 0: unknown. */
static AttrNumber
index_column(Node *condition)
{
	Node	   *left = NULL;

	if (IsA(condition, OpExpr))
		left = linitial(((OpExpr *) condition)->args);
	else if (IsA(condition, RowCompareExpr))
		left = linitial(((RowCompareExpr *) condition)->largs);
	return left && IsA(left, Var) ? ((Var *) left)->varattno : 0;
}

/* Whether the conditions of an index scan are those that make it read few rows. */
static bool
index_serves(List *conditions, IndexUse use, int nseries)
{
	AttrNumber	last_series = 0;
	AttrNumber	ts = 0;
	Bitmapset  *found = NULL;
	ListCell   *cell;

	foreach(cell, conditions)
	{
		AttrNumber	column = index_column(lfirst(cell));
		Bitmapset  *parameters = NULL;

		(void) collect_parameters(lfirst(cell), &parameters);
		if (column == 0 || bms_is_empty(parameters))
			continue;
		if (bms_is_member(PARAM_SINCE, parameters))
			ts = column;
		else
			last_series = Max(last_series, column);
		found = bms_add_members(found, parameters);
	}
	switch (use)
	{
		case FIND_HISTORY:
			return ts > last_series && bms_num_members(found) == nseries + 1;
		case FIND_RANGE:
			return ts == 1;
		default:
			return last_series == 1;
	}
}

/* Whether all scans of a plan use an index in this way. */
static bool
plan_uses_index(Plan *plan, IndexUse use, int nseries)
{
	List	   *plans = NIL;
	ListCell   *cell;

	if (plan == NULL)
		return true;
	switch (nodeTag(plan))
	{
		case T_IndexScan:
			return index_serves(((IndexScan *) plan)->indexqual, use, nseries);
		case T_IndexOnlyScan:
			return index_serves(((IndexOnlyScan *) plan)->indexqual, use, nseries);
		case T_Limit:
		case T_Result:
			return plan_uses_index(plan->lefttree, use, nseries);
		case T_SubqueryScan:
			return plan_uses_index(((SubqueryScan *) plan)->subplan, use, nseries);
		case T_Append:
			plans = ((Append *) plan)->appendplans;
			break;
		case T_MergeAppend:
			plans = ((MergeAppend *) plan)->mergeplans;
			break;
		case T_CustomScan:		/* the chunks of a hypertable */
			plans = ((CustomScan *) plan)->custom_plans;
			if (plans == NIL)
				return false;
			break;
		default:
			return false;
	}
	foreach(cell, plans)
		if (!plan_uses_index(lfirst(cell), use, nseries))
			return false;
	return true;
}

int
source_count_rows(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("random_page_cost", "0", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	(void) set_config_option("seq_page_cost", "0", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	return level;
}

/* Whether an index can serve a query with parameters. */
static bool
index_can_serve(const Source *s, const char *query, IndexUse use)
{
	static const char *const settings[][2] = {
		{"enable_seqscan", "off"},	{"enable_bitmapscan", "off"},	{"enable_sort", "off"},
		{"enable_indexscan", "on"}, {"enable_indexonlyscan", "on"},
	};
	int			level = source_count_rows();
	SPIPlanPtr	plan;
	CachedPlanSource *planned;
	CachedPlan *cached;
	PlannedStmt *statement;
	bool		result;

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	plan = source_plan(s, query, CURSOR_OPT_GENERIC_PLAN);
	planned = linitial(SPI_plan_get_plan_sources(plan));
	cached = SPI_plan_get_cached_plan(plan);
	statement = cached ? linitial_node(PlannedStmt, cached->stmt_list) : NULL;
	result = statement && plan_uses_index(statement->planTree, use, s->spec.nseries);
	if (cached)
		ReleaseCachedPlan(cached, planned->is_saved ? CurrentResourceOwner : NULL);
	AtEOXact_GUC(true, level);
	return result;
}

SourceForm
source_choose_form(const Source *s, const SourceRange *range)
{
	SourceForm	form = SOURCE_ONCE;
	SourceScope scope;
	Datum	   *values = palloc(sizeof(Datum) * Max(s->spec.nseries, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(s->spec.nseries, 1));
	const char *step;

	if (!range->has_since && range->last_n == 0)
		return SOURCE_ONCE;
	scope = source_enter(&s->spec);
	SPI_connect();
	if (index_can_serve(s, source_history_query(s, range->before + 1), FIND_HISTORY))
	{
		if (source_single_series(s, range, values, nulls))
			form = SOURCE_SINGLE;
		else if (range->last_n == 0 && index_can_serve(s, source_series_query(s), FIND_RANGE))
			form = SOURCE_IN_RANGE;
		else
		{
			step = source_step_query(s);
			form = step && index_can_serve(s, step, FIND_STEP) ? SOURCE_STEPS : SOURCE_IN_RANGE;
		}
	}
	SPI_finish();
	source_leave(&scope);
	return form;
}
