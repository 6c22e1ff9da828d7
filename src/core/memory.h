/*
 * core/memory.h
 *	  Divides one block of the caller's memory into arrays.
 *
 * A lay_out_*() function takes all arrays of an object from an arena and sets the
 * object's pointers.  On an arena without memory it only counts, so the size of the
 * block and the pointers come from the same lines.
 */
#ifndef AMAD_CORE_MEMORY_H
#define AMAD_CORE_MEMORY_H

#include <stddef.h>
#include <string.h>

#include "core/poll.h"

#define NN_ALIGN 64				/* a cache line */
#define NN_TOUCH 2097152		/* bytes written between two polls: a few milliseconds */

typedef struct nn_arena
{
	char	   *base;			/* NULL: count only */
	size_t		used;			/* bytes taken */
} nn_arena;

static inline void *
nn_take(nn_arena *arena, size_t bytes)
{
	void	   *p = arena->base ? arena->base + arena->used : NULL;

	arena->used += (bytes + NN_ALIGN - 1) / NN_ALIGN * NN_ALIGN;
	return p;
}

static inline float *
nn_take_floats(nn_arena *arena, size_t n)
{
	return nn_take(arena, n * sizeof(float));
}

/* The aligned start of an arena in memory of nn_arena_bytes(used) bytes. */
static inline char *
nn_arena_start(void *memory)
{
	return (char *) (((size_t) memory + NN_ALIGN - 1) / NN_ALIGN * NN_ALIGN);
}

static inline size_t
nn_arena_bytes(size_t used)
{
	return used + NN_ALIGN;
}

/* Sets memory to zeros, with polls, as its pages may be touched for the first time. */
static inline void
nn_zero(void *memory, size_t bytes, nn_poll poll)
{
	for (size_t at = 0; at < bytes; at += NN_TOUCH)
	{
		memset((char *) memory + at, 0, bytes - at < NN_TOUCH ? bytes - at : NN_TOUCH);
		nn_rest(poll);
	}
}

/* Copies memory, with polls. */
static inline void
nn_copy(void *to, const void *from, size_t bytes, nn_poll poll)
{
	for (size_t at = 0; at < bytes; at += NN_TOUCH)
	{
		memcpy((char *) to + at, (const char *) from + at,
			   bytes - at < NN_TOUCH ? bytes - at : NN_TOUCH);
		nn_rest(poll);
	}
}

#endif							/* AMAD_CORE_MEMORY_H */
