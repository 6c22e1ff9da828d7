/*
 * pg/parallel.h
 *	  Parallel workers: their shared memory, launch and end.
 *
 * parallel_open() enters parallel mode and sets up the shared memory, which the leader
 * fills; parallel_launch() launches the workers, whose entry point begins with
 * parallel_begin_worker(); parallel_close() waits for them and leaves parallel mode.
 */
#ifndef AMAD_PG_PARALLEL_H
#define AMAD_PG_PARALLEL_H

#include "access/parallel.h"

/* A piece of the shared memory; leader and workers find it by shm_toc_lookup(). */
typedef struct ParallelChunk
{
	uint64		key;
	Size		bytes;			/* 0: no such chunk */
} ParallelChunk;

/*
 * Enters parallel mode for up to `workers` workers that run the function `entry`, and sets
 * up shared memory with the chunks.  NULL, and no parallel mode, if there is no such memory,
 * because /dev/shm or the disk behind it is full or all segments are in use: the caller then
 * works alone.
 */
extern ParallelContext *parallel_open(const char *entry, int workers, const ParallelChunk *chunks,
									  int nchunks);

/* Launches the workers; false, with the context closed, if none could be started. */
extern bool parallel_launch(ParallelContext *pcxt);

/* Waits for the workers to finish, and leaves parallel mode. */
extern void parallel_close(ParallelContext *pcxt);

/* Copies data of any size, with checks for interrupts. */
extern void parallel_copy(void *to, const void *from, Size bytes);

/* The first call in a worker: reports the leader's query as its activity. */
extern void parallel_begin_worker(shm_toc *toc);

#endif							/* AMAD_PG_PARALLEL_H */
