/*
 * cache.c
 *	  Models ready to score, kept in the backend.
 *
 * Each stands in a memory context of its own.  Users hold pins; beyond
 * CACHE_BYTES the models least recently used that nobody holds are dropped.
 */
#include "postgres.h"
#include "compat.h"

#include "lib/ilist.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "cache.h"
#include "registry.h"

#define CACHE_BYTES (16 * 1024 * 1024)

typedef struct CacheEntry
{
	LoadedModel loaded;			/* first: what callers see */
	MemoryContext context;
	Size		bytes;
	int			pins;
	bool		listed;
	dlist_node	node;			/* most recently used first */
	Oid			schema;			/* of the table that the row is in */
	RegistryEntry row;
} CacheEntry;

static dlist_head entries = DLIST_STATIC_INIT(entries);
static Size total_bytes = 0;

static void
drop(CacheEntry *entry)
{
	if (entry->listed)
	{
		dlist_delete(&entry->node);
		total_bytes -= entry->bytes;
	}
	MemoryContextDelete(entry->context);
}

/* Decodes and packs; on an ERROR the context goes with its parent. */
static CacheEntry *
load(struct varlena *value)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "amad model",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CacheEntry *entry = palloc0(sizeof(CacheEntry));
	Model	   *m = model_decode(value);

	entry->context = context;
	entry->loaded.model = m;
	entry->loaded.predictor = predict_open(m);
	pfree(m->params);
	m->params = NULL;
	entry->bytes = MemoryContextMemAllocated(context, true);
	entry->pins = 1;
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, CacheMemoryContext);
	return entry;
}

static void
make_room(void)
{
	dlist_node *node = dlist_is_empty(&entries) ? NULL : dlist_tail_node(&entries);

	while (node != NULL && total_bytes > CACHE_BYTES)
	{
		CacheEntry *entry = dlist_container(CacheEntry, node, node);

		node = dlist_has_prev(&entries, node) ? dlist_prev_node(&entries, node) : NULL;
		if (entry->pins == 0)
			drop(entry);
	}
}

/* The entry of a row as it is now; entries of the same row as it was are dropped. */
static CacheEntry *
lookup(Oid schema, const RegistryEntry *row)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &entries)
	{
		CacheEntry *entry = dlist_container(CacheEntry, node, iter.cur);

		if (entry->row.id != row->id || entry->schema != schema)
			continue;
		if (entry->row.xmin == row->xmin && entry->row.cmin == row->cmin &&
			ItemPointerEquals(&entry->row.tid, (ItemPointer) &row->tid))
			return entry;
		if (entry->pins == 0)
			drop(entry);
	}
	return NULL;
}

LoadedModel *
cache_by_name(Oid function, const char *name)
{
	RegistryEntry row = registry_find(function, name, 0);
	Oid			schema = get_func_namespace(function);
	CacheEntry *entry = lookup(schema, &row);

	if (entry != NULL)
	{
		entry->pins++;
		dlist_move_head(&entries, &entry->node);
		return &entry->loaded;
	}
	entry = load(registry_value(function, row.id));
	entry->row = row;
	entry->loaded.version = row.version;
	entry->schema = schema;
	entry->listed = true;
	dlist_push_head(&entries, &entry->node);
	total_bytes += entry->bytes;
	make_room();
	return &entry->loaded;
}

LoadedModel *
cache_by_value(struct varlena *value)
{
	return &load(value)->loaded;
}

void
cache_release(LoadedModel *loaded)
{
	CacheEntry *entry = (CacheEntry *) loaded;

	if (--entry->pins == 0 && !entry->listed)
		drop(entry);
}
