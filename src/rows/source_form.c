/*
 * rows/source_form.c
 *	  In which form a range of a source is read: by index and count, or once.
 *
 * The planner's costs do not decide: they count a random page for each row, so that a scan of
 * the whole table often looks cheaper.  Reading by count never reads more rows than scores
 * depend on, and scoring a row takes much longer than finding it in an index.  So the form
 * depends on whether there are indexes that can serve it.  To find out, a query for one series
 * is planned.  Its plan shows which tables the rows of a partitioned table, a hypertable, a
 * view or a query come from, and with which of their columns the series and the time are compared.
 * Each table must have an index on these columns.  The table of a compressed chunk of TimescaleDB
 * has a row for some hundred rows of a series, so an index on the series is enough.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "executor/spi.h"
#include "nodes/extensible.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "rows/source.h"
#include "rows/source_private.h"

/* What an index is needed for. */
typedef enum IndexUse
{
	FIND_HISTORY,				/* the columns of the series in any order, then the time */
	FIND_RANGE,					/* first the time */
	FIND_STEP					/* first the columns of the series in their order */
} IndexUse;

/* The columns of a table that a query compares with its parameters. */
typedef struct ComparedColumns
{
	PlannedStmt *statement;
	Oid			index;			/* of an index-only scan */
	IndexUse	use;
	bool		compressed;		/* the table has rows of a compressed chunk */
	int			nseries;
	AttrNumber	ts;				/* 0: none */
	AttrNumber *series;			/* (nseries) */
	Bitmapset  *constant;		/* columns that equal a constant, as in a view or a policy */
	Bitmapset  *decided;		/* parameters of series that must equal such a constant */
} ComparedColumns;

/* The column of the table that an index has at a place; 0: none. */
static AttrNumber
index_column(Oid index, AttrNumber place)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	AttrNumber	column = 0;

	if (!HeapTupleIsValid(tuple))
		return 0;
	if (place <= ((Form_pg_index) GETSTRUCT(tuple))->indnatts)
		column = ((Form_pg_index) GETSTRUCT(tuple))->indkey.values[place - 1];
	ReleaseSysCache(tuple);
	return column;
}

/* Notes which column is compared with a parameter or a constant. */
static void
note_comparison(ComparedColumns *c, Node *left, Node *right, Oid operator)
{
	AttrNumber	column;

	while (left && IsA(left, RelabelType))
		left = (Node *) ((RelabelType *) left)->arg;
	while (right && IsA(right, RelabelType))
		right = (Node *) ((RelabelType *) right)->arg;
	if (left == NULL || right == NULL || !IsA(left, Var))
		return;
	column = ((Var *) left)->varattno;
	/* the conditions of an index-only scan name columns of its index */
	if (((Var *) left)->varno == INDEX_VAR && column > 0)
		column = index_column(c->index, column);
	if (column > 0 && OidIsValid(operator) && get_oprrest(operator) == F_EQSEL &&
		!IsA(right, Param) && !contain_var_clause(right))
		c->constant = bms_add_member(c->constant, column);
	if (!IsA(right, Param) || ((Param *) right)->paramkind != PARAM_EXTERN)
		return;
	if (((Param *) right)->paramid == PARAM_SINCE)
		c->ts = column;
	else if (((Param *) right)->paramid >= PARAM_SERIES)
		c->series[((Param *) right)->paramid - PARAM_SERIES] = column;
}

/* Notes the parameters in a condition that does not depend on rows. */
static bool
note_decided(Node *node, ComparedColumns *c)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
		c->decided = bms_add_member(c->decided, ((Param *) node)->paramid);
	return expression_tree_walker(node, note_decided, c);
}

/* Notes the comparisons among conditions. */
static void
note_conditions(ComparedColumns *c, List *conditions)
{
	ListCell   *cell;
	ListCell   *left;
	ListCell   *right;

	foreach(cell, conditions)
	{
		OpExpr	   *op = lfirst(cell);
		RowCompareExpr *rows = lfirst(cell);

		if (IsA(op, OpExpr) && list_length(op->args) == 2)
			note_comparison(c, linitial(op->args), lsecond(op->args), op->opno);
		else if (IsA(rows, RowCompareExpr))
			forboth(left, rows->largs, right, rows->rargs)
				note_comparison(c, lfirst(left), lfirst(right), InvalidOid);
	}
}

/* Whether the columns of an index are those that are needed. */
static bool
index_serves(const ComparedColumns *c, const Form_pg_index index)
{
	int			needed = 0;
	int			at = 0;

	if (c->use == FIND_RANGE)
		return index->indkey.values[0] == c->ts;
	for (int i = 0; i < c->nseries; i++)
	{
		if (c->use == FIND_STEP &&
			(i >= index->indnkeyatts || index->indkey.values[i] != c->series[i]))
			return false;
		needed += c->series[i] != 0;
	}
	if (c->use == FIND_STEP)
		return true;
	for (; at < index->indnkeyatts; at++)
	{
		bool		is_series = false;

		for (int i = 0; i < c->nseries; i++)
			is_series = is_series || index->indkey.values[at] == c->series[i];
		if (!is_series &&
			(index->indkey.values[at] <= 0 ||
			 !bms_is_member(index->indkey.values[at], c->constant)))
			break;
		needed -= is_series;
	}
	return needed == 0 &&
		(c->compressed || (at < index->indnkeyatts && index->indkey.values[at] == c->ts));
}

static bool
is_btree(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_class) GETSTRUCT(tuple))->relam == BTREE_AM_OID;
	ReleaseSysCache(tuple);
	return result;
}

/* Whether a table has such an index. */
static bool
table_has_index(const ComparedColumns *c, Oid table)
{
	Relation	relation = relation_open(table, AccessShareLock);
	List	   *indexes = RelationGetIndexList(relation);
	ListCell   *cell;
	bool		result = false;

	foreach(cell, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(tuple))
			continue;
		result = result ||
			(((Form_pg_index) GETSTRUCT(tuple))->indisvalid &&
			 heap_attisnull(tuple, Anum_pg_index_indpred, NULL) && is_btree(lfirst_oid(cell)) &&
			 index_serves(c, (Form_pg_index) GETSTRUCT(tuple)));
		ReleaseSysCache(tuple);
	}
	relation_close(relation, NoLock);
	return result;
}

/* Whether the table that a scan reads has an index. */
static bool
scan_has_index(ComparedColumns *c, Plan *plan, List *conditions)
{
	RangeTblEntry *table = rt_fetch(((Scan *) plan)->scanrelid, c->statement->rtable);

	c->ts = 0;
	memset(c->series, 0, sizeof(AttrNumber) * c->nseries);
	c->constant = NULL;
	note_conditions(c, plan->qual);
	note_conditions(c, conditions);
	for (int i = 0; i < c->nseries; i++)
		if (c->use != FIND_RANGE && c->series[i] == 0 &&
			(c->use == FIND_STEP || !bms_is_member(PARAM_SERIES + i, c->decided)))
			return false;
	return (c->ts != 0 || c->use == FIND_STEP || c->compressed) && table->rtekind == RTE_RELATION &&
		table_has_index(c, table->relid);
}

/* Whether all tables that a plan reads have indexes. */
static bool
plan_has_indexes(ComparedColumns *c, Plan *plan)
{
	List	   *plans = NIL;
	ListCell   *cell;
	const char *name;
	bool		compressed = false;

	if (plan == NULL)
		return true;
	switch (nodeTag(plan))
	{
		case T_SeqScan:
			return scan_has_index(c, plan, NIL);
		case T_IndexScan:
			return scan_has_index(c, plan, ((IndexScan *) plan)->indexqualorig);
		case T_IndexOnlyScan:
			c->index = ((IndexOnlyScan *) plan)->indexid;
			return scan_has_index(c, plan, ((IndexOnlyScan *) plan)->recheckqual);
		case T_BitmapHeapScan:
			return scan_has_index(c, plan, ((BitmapHeapScan *) plan)->bitmapqualorig);
		case T_Result:
			(void) note_decided(((Result *) plan)->resconstantqual, c);
			return plan_has_indexes(c, plan->lefttree);
		case T_Limit:
		case T_Sort:
		case T_IncrementalSort:
			return plan_has_indexes(c, plan->lefttree);
		case T_SubqueryScan:
			return plan_has_indexes(c, ((SubqueryScan *) plan)->subplan);
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
			name = ((CustomScan *) plan)->methods->CustomName;
			compressed = c->use == FIND_HISTORY &&
				(strcmp(name, "ColumnarScan") == 0 || strcmp(name, "DecompressChunk") == 0);
			break;
		default:
			return false;
	}
	foreach(cell, plans)
	{
		bool		served;

		c->compressed = compressed;
		served = plan_has_indexes(c, lfirst(cell));
		c->compressed = false;
		if (!served)
			return false;
	}
	return true;
}

/* Whether indexes can serve a query with parameters. */
static bool
indexes_can_serve(const Source *s, const char *query, IndexUse use)
{
	SPIPlanPtr	plan = source_plan(s, query, CURSOR_OPT_GENERIC_PLAN);
	CachedPlanSource *planned = linitial(SPI_plan_get_plan_sources(plan));
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);
	ComparedColumns c = {.use = use, .nseries = s->spec.nseries};
	bool		result;

	if (cached == NULL)
		return false;
	c.statement = linitial_node(PlannedStmt, cached->stmt_list);
	c.series = palloc(sizeof(AttrNumber) * Max(c.nseries, 1));
	result = plan_has_indexes(&c, c.statement->planTree);
	ReleaseCachedPlan(cached, planned->is_saved ? CurrentResourceOwner : NULL);
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
	if (indexes_can_serve(s, source_history_query(s, range->before + 1), FIND_HISTORY))
	{
		if (source_single_series(s, range, values, nulls))
			form = SOURCE_SINGLE;
		else if (range->last_n == 0 && indexes_can_serve(s, source_series_query(s), FIND_RANGE))
			form = SOURCE_IN_RANGE;
		else
		{
			step = source_step_query(s);
			form = step && indexes_can_serve(s, step, FIND_STEP) ? SOURCE_STEPS : SOURCE_IN_RANGE;
		}
	}
	SPI_finish();
	source_leave(&scope);
	return form;
}
