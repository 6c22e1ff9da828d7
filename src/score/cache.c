/*
 * score/cache.c
 *	  Models ready to score, kept in the backend.
 *
 * Each stands in a memory context of its own.  Users hold pins; beyond
 * CACHE_BYTES the models least recently used that nobody holds are dropped.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "lib/ilist.h"
#include "utils/memutils.h"

#include "model/codec.h"
#include "score/cache.h"
#include "model/registry.h"

#define CACHE_BYTES (16 * 1024 * 1024)

typedef struct CacheEntry
{
	LoadedModel loaded;			/* first: what callers see */
	MemoryContext context;
	Size		bytes;
	int			pins;
	bool		listed;
	dlist_node	node;			/* most recently used first */
	RegistryEntry row;			/* if it is stored */
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

/*
 * Decodes and packs a value, which a row (NULL: none) holds; on an ERROR the context
 * goes with its parent.
 */
static CacheEntry *
load(struct varlena *value, const RegistryEntry *row)
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

static bool
same_key(const RegistryEntry *a, const RegistryEntry *b)
{
	return a->table == b->table && a->version == b->version &&
		strcmp(NameStr(a->owner), NameStr(b->owner)) == 0 &&
		strcmp(a->model_name, b->model_name) == 0;
}

/* The entry of a row as it is now; entries of the same row as it was are dropped. */
static CacheEntry *
lookup(const RegistryEntry *row)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &entries)
	{
		CacheEntry *entry = dlist_container(CacheEntry, node, iter.cur);

		if (!same_key(&entry->row, row))
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
	CacheEntry *entry = lookup(&row);

	if (entry != NULL)
	{
		entry->pins++;
		dlist_move_head(&entries, &entry->node);
		return &entry->loaded;
	}
	entry = load(registry_value(function, &row), &row);
	entry->listed = true;
	dlist_push_head(&entries, &entry->node);
	total_bytes += entry->bytes;
	make_room();
	return &entry->loaded;
}

LoadedModel *
cache_by_value(struct varlena *value)
{
	return &load(value, NULL)->loaded;
}

void
cache_release(LoadedModel *loaded)
{
	CacheEntry *entry = (CacheEntry *) loaded;

	if (--entry->pins == 0 && !entry->listed)
		drop(entry);
}
