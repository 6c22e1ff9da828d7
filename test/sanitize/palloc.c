/*
 * palloc.c
 *	  Memory contexts that AddressSanitizer can look into.
 *
 * A server that is not instrumented cuts what palloc() returns from blocks of
 * its own, in which the sanitizer sees no borders.  In the sanitized build the
 * linker puts these functions in the place of PostgreSQL's (ld --wrap): every
 * chunk that amad asks for is large enough to get a malloc() block to itself,
 * which goes back to free() with it, and what lies around the size asked for is
 * poisoned.  So an access beyond the end, one just before the start and one
 * after pfree(), or after the reset of the context, are reported.
 *
 * A value that is detoasted is copied likewise, because what the server returns
 * often lies in the middle of a tuple.
 *
 * MemoryContextMemAllocated() does not count the padding of the chunks, so that
 * limits of memory have the same effect.
 *
 * A server with MEMORY_CONTEXT_CHECKING wipes whole chunks when it frees them,
 * poisoned parts included, so there nothing is poisoned.
 */
#include "postgres.h"

#include <sanitizer/asan_interface.h>

#include "utils/memutils.h"

/* More than any memory context cuts from a shared block (ALLOC_CHUNK_LIMIT) */
#define OWN_BLOCK 8193

/* Approximate size of the header of a malloc() block of a context */
#define ALLOC_BLOCK_OVERHEAD 40

/* What is poisoned before a chunk: part of its header in any version */
#define BEFORE 8

extern void *__real_MemoryContextAlloc(MemoryContext context, Size size);
extern void *__real_MemoryContextAllocExtended(MemoryContext context, Size size, int flags);
extern void *__real_repalloc(void *pointer, Size size);
extern void *__real_repalloc_huge(void *pointer, Size size);
extern struct varlena *__real_pg_detoast_datum(struct varlena *datum);
extern struct varlena *__real_pg_detoast_datum_slice(struct varlena *datum, int32 first,
													 int32 count);
extern struct varlena *__real_pg_detoast_datum_packed(struct varlena *datum);

extern Size __real_MemoryContextMemAllocated(MemoryContext context, bool recurse);

extern Size __wrap_MemoryContextMemAllocated(MemoryContext context, bool recurse);
extern void *__wrap_palloc(Size size);
extern void *__wrap_palloc0(Size size);
extern void *__wrap_palloc_extended(Size size, int flags);
extern void *__wrap_MemoryContextAlloc(MemoryContext context, Size size);
extern void *__wrap_MemoryContextAllocZero(MemoryContext context, Size size);
extern void *__wrap_MemoryContextAllocZeroAligned(MemoryContext context, Size size);
extern void *__wrap_MemoryContextAllocExtended(MemoryContext context, Size size, int flags);
extern void *__wrap_MemoryContextAllocHuge(MemoryContext context, Size size);
extern void *__wrap_repalloc(void *pointer, Size size);
extern void *__wrap_repalloc_huge(void *pointer, Size size);
extern char *__wrap_MemoryContextStrdup(MemoryContext context, const char *string);
extern char *__wrap_pstrdup(const char *string);
extern char *__wrap_pnstrdup(const char *string, Size length);
extern struct varlena *__wrap_pg_detoast_datum(struct varlena *datum);
extern struct varlena *__wrap_pg_detoast_datum_copy(struct varlena *datum);
extern struct varlena *__wrap_pg_detoast_datum_slice(struct varlena *datum, int32 first,
													 int32 count);
extern struct varlena *__wrap_pg_detoast_datum_packed(struct varlena *datum);

/* Padding of all chunks of a context; freeing a chunk does not subtract its padding. */
typedef struct Padding
{
	MemoryContext context;
	Size		bytes;
	MemoryContextCallback forget;
	struct Padding *next;
} Padding;

static Padding *paddings[1024];

static Padding **
padding_at(MemoryContext context)
{
	Padding   **at = &paddings[(uintptr_t) context / 64 % lengthof(paddings)];

	while (*at != NULL && (*at)->context != context)
		at = &(*at)->next;
	return at;
}

static void
padding_forget(void *context)
{
	Padding   **at = padding_at(context);
	Padding    *gone = *at;

	*at = gone->next;
	free(gone);
}

static void
padding_add(MemoryContext context, Size size)
{
	Padding   **at;

	if (size >= OWN_BLOCK)
		return;
	at = padding_at(context);
	if (*at == NULL)
	{
		Padding    *padding = calloc(1, sizeof(Padding));

		if (padding == NULL)
			return;
		padding->context = context;
		padding->forget.func = padding_forget;
		padding->forget.arg = context;
		MemoryContextRegisterResetCallback(context, &padding->forget);
		*at = padding;
	}
	(*at)->bytes += MAXALIGN(OWN_BLOCK) - MAXALIGN(size) + ALLOC_BLOCK_OVERHEAD;
}

Size
__wrap_MemoryContextMemAllocated(MemoryContext context, bool recurse)
{
	Size		bytes = __real_MemoryContextMemAllocated(context, recurse);
	Size		padding = 0;

	for (int i = 0; i < lengthof(paddings); i++)
		for (Padding *p = paddings[i]; p != NULL; p = p->next)
			for (MemoryContext c = p->context; c != NULL; c = recurse ? c->parent : NULL)
				if (c == context)
					padding += p->bytes;
	return bytes - Min(bytes, padding);
}

/* Poisons what surrounds the first `size` bytes of a chunk made by enlarged(size). */
static void *
fence(void *chunk, Size size)
{
#ifndef MEMORY_CONTEXT_CHECKING
	if (chunk != NULL)
	{
		char	   *start = chunk;

		ASAN_UNPOISON_MEMORY_REGION(start, size);
		ASAN_POISON_MEMORY_REGION(start - BEFORE, BEFORE);
		ASAN_POISON_MEMORY_REGION(start + size, MAXALIGN(Max(size, OWN_BLOCK)) - size);
	}
#endif
	return chunk;
}

/* A size that is too large for palloc() is not changed. */
static Size
enlarged(Size size)
{
	return Max(size, OWN_BLOCK);
}

void *
__wrap_MemoryContextAllocExtended(MemoryContext context, Size size, int flags)
{
	padding_add(context, size);
	return fence(__real_MemoryContextAllocExtended(context, enlarged(size), flags), size);
}

void *
__wrap_MemoryContextAlloc(MemoryContext context, Size size)
{
	padding_add(context, size);
	return fence(__real_MemoryContextAlloc(context, enlarged(size)), size);
}

void *
__wrap_MemoryContextAllocZero(MemoryContext context, Size size)
{
	return __wrap_MemoryContextAllocExtended(context, size, MCXT_ALLOC_ZERO);
}

void *
__wrap_MemoryContextAllocZeroAligned(MemoryContext context, Size size)
{
	return __wrap_MemoryContextAllocExtended(context, size, MCXT_ALLOC_ZERO);
}

void *
__wrap_MemoryContextAllocHuge(MemoryContext context, Size size)
{
	return __wrap_MemoryContextAllocExtended(context, size, MCXT_ALLOC_HUGE);
}

void *
__wrap_palloc(Size size)
{
	return __wrap_MemoryContextAlloc(CurrentMemoryContext, size);
}

void *
__wrap_palloc0(Size size)
{
	return __wrap_MemoryContextAllocExtended(CurrentMemoryContext, size, MCXT_ALLOC_ZERO);
}

void *
__wrap_palloc_extended(Size size, int flags)
{
	return __wrap_MemoryContextAllocExtended(CurrentMemoryContext, size, flags);
}

/* The padding beyond the old size is copied as well, which is harmless. */
void *
__wrap_repalloc(void *pointer, Size size)
{
	return fence(__real_repalloc(pointer, enlarged(size)), size);
}

void *
__wrap_repalloc_huge(void *pointer, Size size)
{
	return fence(__real_repalloc_huge(pointer, enlarged(size)), size);
}

char *
__wrap_MemoryContextStrdup(MemoryContext context, const char *string)
{
	Size		size = strlen(string) + 1;

	return memcpy(__wrap_MemoryContextAlloc(context, size), string, size);
}

char *
__wrap_pstrdup(const char *string)
{
	return __wrap_MemoryContextStrdup(CurrentMemoryContext, string);
}

char *
__wrap_pnstrdup(const char *string, Size length)
{
	Size		size = strnlen(string, length);
	char	   *copy = __wrap_palloc(size + 1);

	memcpy(copy, string, size);
	copy[size] = '\0';
	return copy;
}

static struct varlena *
fenced_copy(const struct varlena *value)
{
	Size		size = VARSIZE_ANY(value);

	return memcpy(__wrap_MemoryContextAllocHuge(CurrentMemoryContext, size), value, size);
}

struct varlena *
__wrap_pg_detoast_datum(struct varlena *datum)
{
	return fenced_copy(__real_pg_detoast_datum(datum));
}

struct varlena *
__wrap_pg_detoast_datum_copy(struct varlena *datum)
{
	return fenced_copy(__real_pg_detoast_datum(datum));
}

struct varlena *
__wrap_pg_detoast_datum_packed(struct varlena *datum)
{
	return fenced_copy(__real_pg_detoast_datum_packed(datum));
}

struct varlena *
__wrap_pg_detoast_datum_slice(struct varlena *datum, int32 first, int32 count)
{
	return fenced_copy(__real_pg_detoast_datum_slice(datum, first, count));
}
