/*
 * rows/source_plan.c
 *	  Plans of the queries that read sources, kept by the session.
 *
 * PostgreSQL plans them again when the relations, the role or what else they depend on has
 * changed.  A plan is found by the text of its query, the search_path and the types of the
 * parameters.  At most PLANS are kept, the most recently used ones.
 *
 * Plans of sources that are queries are not kept: PostgreSQL does not notice when a new relation
 * hides one that such a query names.  Nor are those of sources that are read for another role: each
 * must be checked (source_owner.c).
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/namespace.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "pg/citus.h"
#include "rows/source.h"
#include "rows/source_private.h"

#define PLANS 32
#define LONGEST_QUERY (64 * 1024)	/* longer ones are not kept */

typedef struct KeptPlan
{
	dlist_node	node;
	MemoryContext context;
	SPIPlanPtr	plan;
	int			pins;			/* scans that use it */

	/* key */
	char	   *query;
	char	   *search_path;
	Oid			user;
	int			cursor_options;
	int			nparams;
	Oid		   *types;			/* (nparams) */
} KeptPlan;

/* Most recently used first */
static dlist_head plans = DLIST_STATIC_INIT(plans);
static int	nplans = 0;

static void
unpin_plan(void *arg)
{
	((KeptPlan *) arg)->pins--;
}

/* Keeps a plan from being dropped until the current context is reset. */
static SPIPlanPtr
pin_plan(KeptPlan *kept)
{
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));

	callback->func = unpin_plan;
	callback->arg = kept;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	kept->pins++;
	return kept->plan;
}

static void
drop_plan(KeptPlan *kept)
{
	dlist_delete(&kept->node);
	nplans--;
	SPI_freeplan(kept->plan);
	MemoryContextDelete(kept->context);
}

/* Drops the plan that was used least recently, of those not in use. */
static void
make_room_for_plan(void)
{
	dlist_node *node = dlist_is_empty(&plans) ? NULL : dlist_tail_node(&plans);

	while (node != NULL && nplans >= PLANS)
	{
		KeptPlan   *kept = dlist_container(KeptPlan, node, node);

		node = dlist_has_prev(&plans, node) ? dlist_prev_node(&plans, node) : NULL;
		if (kept->pins == 0)
			drop_plan(kept);
	}
}

SPIPlanPtr
source_prepare(const SourceSpec *spec, const char *query, int nargs, Oid *types, int cursor_options)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(query, nargs, types, cursor_options);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	source_check_plan(spec, plan);
	return plan;
}

int
source_generic_plan(void)
{
	return citus_installed() ? CURSOR_OPT_CUSTOM_PLAN : CURSOR_OPT_GENERIC_PLAN;
}

SPIPlanPtr
source_plan(const Source *s, const char *query, int cursor_options)
{
	const int	nparams = PARAM_SERIES - 1 + s->spec.nseries;
	Oid		   *types = palloc(sizeof(Oid) * nparams);
	MemoryContext context;
	KeptPlan   *kept;
	SPIPlanPtr	plan;
	dlist_iter	iter;

	types[PARAM_SINCE - 1] = types[PARAM_UNTIL - 1] = s->ts_type;
	for (int i = 0; i < s->spec.nseries; i++)
		types[PARAM_SERIES - 1 + i] = s->series_types[i];
	dlist_foreach(iter, &plans)
	{
		kept = dlist_container(KeptPlan, node, iter.cur);
		if (!OidIsValid(s->spec.reader) && kept->nparams == nparams &&
			kept->cursor_options == cursor_options && kept->user == GetUserId() &&
			strcmp(kept->query, query) == 0 &&
			strcmp(kept->search_path, namespace_search_path) == 0 &&
			memcmp(kept->types, types, sizeof(Oid) * nparams) == 0)
		{
			dlist_move_head(&plans, &kept->node);
			return pin_plan(kept);
		}
	}
	plan = source_prepare(&s->spec, query, nparams, types, cursor_options);
	if (!OidIsValid(s->relation) || OidIsValid(s->spec.reader) || strlen(query) > LONGEST_QUERY)
		return plan;

	make_room_for_plan();
	context = AllocSetContextCreate(CurrentMemoryContext, "amad source plan", ALLOCSET_SMALL_SIZES);
	kept = MemoryContextAllocZero(context, sizeof(KeptPlan));
	kept->context = context;
	kept->user = GetUserId();
	kept->cursor_options = cursor_options;
	kept->query = MemoryContextStrdup(context, query);
	kept->search_path = MemoryContextStrdup(context, namespace_search_path);
	kept->nparams = nparams;
	kept->types = MemoryContextAlloc(context, sizeof(Oid) * nparams);
	memcpy(kept->types, types, sizeof(Oid) * nparams);
	kept->plan = plan;
	/* from here on nothing fails */
	if (SPI_keepplan(plan) != 0)
		return plan;
	MemoryContextSetParent(context, CacheMemoryContext);
	dlist_push_head(&plans, &kept->node);
	nplans++;
	return pin_plan(kept);
}
