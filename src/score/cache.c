/*
 * score/cache.c
 *	  Decoded models, cached for the session.
 *
 * An entry is a model in its own memory context, and the row of amad_models that it was
 * decoded from.  It is found by that row: an update of the row (its xmin, cmin or ctid)
 * makes it stale.  Users pin entries.  When the cache exceeds CACHE_BYTES, entries that are
 * not pinned are dropped, the least recently used first.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "lib/ilist.h"
#include "utils/memutils.h"

#include "model/codec.h"
#include "model/registry.h"
#include "score/cache.h"

#define CACHE_BYTES (16 * 1024 * 1024)

typedef struct CacheEntry
{
	LoadedModel loaded;			/* must be first: callers have a pointer to it */
	RegistryEntry row;			/* where it is stored; unused if passed by value */

	/* memory */
	MemoryContext context;
	Size		bytes;
	int			pins;

	/* list, most recently used first */
	bool		listed;			/* false if passed by value */
	dlist_node	node;
} CacheEntry;

static dlist_head entries = DLIST_STATIC_INIT(entries);
static Size total_bytes = 0;

static void
drop_entry(CacheEntry *entry)
{
	if (entry->listed)
	{
		dlist_delete(&entry->node);
		total_bytes -= entry->bytes;
	}
	MemoryContextDelete(entry->context);
}

/*
 * Decodes a value and lays it out for inference; row: where it is stored, or NULL.  The
 * context is a child of the current one until that has succeeded, so an ERROR frees it.
 */
static CacheEntry *
load_model(struct varlena *value, const RegistryEntry *row)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "amad model",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CacheEntry *entry = palloc0(sizeof(CacheEntry));
	Model	   *m = row != NULL ? registry_decode(row, value) : model_decode(value);

	if (row != NULL)
	{
		entry->row = *row;
		entry->row.model_name = pstrdup(row->model_name);
		entry->loaded.version = row->version;
	}
	entry->context = context;
	entry->loaded.model = m;
	entry->loaded.predictor = predict_open(m);
	/* the relations are used with the figures, not by the predictor */
	if (m->precision)
		m->precision = memcpy(palloc_extended(sizeof(float) * m->plan.relations_size,
											  MCXT_ALLOC_HUGE),
							  m->precision, sizeof(float) * m->plan.relations_size);
	pfree(m->params);
	m->params = NULL;
	entry->bytes = MemoryContextMemAllocated(context, true);
	entry->pins = 1;
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, CacheMemoryContext);
	return entry;
}

/* Drops entries until the cache is no larger than CACHE_BYTES. */
static void
evict_entries(void)
{
	dlist_node *node = dlist_is_empty(&entries) ? NULL : dlist_tail_node(&entries);

	while (node != NULL && total_bytes > CACHE_BYTES)
	{
		CacheEntry *entry = dlist_container(CacheEntry, node, node);

		node = dlist_has_prev(&entries, node) ? dlist_prev_node(&entries, node) : NULL;
		if (entry->pins == 0)
			drop_entry(entry);
	}
}

/* Finds the entry of a row, and drops stale entries of earlier versions of that row. */
static CacheEntry *
find_entry(const RegistryEntry *row)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &entries)
	{
		CacheEntry *entry = dlist_container(CacheEntry, node, iter.cur);

		if (entry->row.table != row->table || entry->row.version != row->version ||
			strcmp(NameStr(entry->row.owner), NameStr(row->owner)) != 0 ||
			strcmp(entry->row.model_name, row->model_name) != 0)
			continue;
		if (entry->row.xmin == row->xmin && entry->row.cmin == row->cmin &&
			ItemPointerEquals(&entry->row.tid, (ItemPointer) &row->tid))
			return entry;
		if (entry->pins == 0)
			drop_entry(entry);
	}
	return NULL;
}

LoadedModel *
cache_by_name(Oid function, const char *name, int version)
{
	RegistryEntry row = registry_find(function, name, version);
	CacheEntry *entry = find_entry(&row);

	if (entry != NULL)
	{
		entry->pins++;
		dlist_move_head(&entries, &entry->node);
		return &entry->loaded;
	}
	entry = load_model(registry_value(function, &row), &row);
	entry->listed = true;
	dlist_push_head(&entries, &entry->node);
	total_bytes += entry->bytes;
	evict_entries();
	return &entry->loaded;
}

LoadedModel *
cache_by_value(struct varlena *value)
{
	return &load_model(value, NULL)->loaded;
}

void
cache_release(LoadedModel *loaded)
{
	CacheEntry *entry = (CacheEntry *) loaded;

	if (--entry->pins == 0 && !entry->listed)
		drop_entry(entry);
}
