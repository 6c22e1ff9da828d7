/*
 * core/memory.h
 *	  Cutting one block of the caller's memory into arrays.
 *
 * A layout function takes everything it needs from an arena.  Run on an empty
 * arena it only counts, so sizes and pointers come from the same lines.
 */
#ifndef AMAD_CORE_MEMORY_H
#define AMAD_CORE_MEMORY_H

#include <stddef.h>
#include <string.h>

#include "core/poll.h"

#define NN_ALIGN 64				/* a cache line */
#define NN_TOUCH 2097152		/* bytes first touched between two polls: some milliseconds */

typedef struct nn_arena
{
	char	   *base;			/* NULL: count only */
	size_t		used;
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

/* Start of the arena in memory of nn_arena_bytes(used) bytes. */
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

/* Sets large memory to zeros, with polls: its pages may be touched for the first time. */
static inline void
nn_zero(void *memory, size_t bytes, nn_poll poll)
{
	for (size_t at = 0; at < bytes; at += NN_TOUCH)
	{
		memset((char *) memory + at, 0, bytes - at < NN_TOUCH ? bytes - at : NN_TOUCH);
		if (poll)
			poll();
	}
}

/* Copies large memory, with polls. */
static inline void
nn_copy(void *to, const void *from, size_t bytes, nn_poll poll)
{
	for (size_t at = 0; at < bytes; at += NN_TOUCH)
	{
		memcpy((char *) to + at, (const char *) from + at,
			   bytes - at < NN_TOUCH ? bytes - at : NN_TOUCH);
		if (poll)
			poll();
	}
}

#endif							/* AMAD_CORE_MEMORY_H */
