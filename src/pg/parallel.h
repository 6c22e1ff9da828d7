/*
 * pg/parallel.h
 *	  What trainings and detections with parallel workers have in common.
 */
#ifndef AMAD_PG_PARALLEL_H
#define AMAD_PG_PARALLEL_H

#include "access/parallel.h"

/*
 * Sets up the shared memory that was estimated in pcxt, and room for the text of the
 * query.  False when there is no such memory, because /dev/shm or the disk behind it is
 * full or all segments are in use: the caller then works alone.
 */
extern bool workers_share_memory(ParallelContext *pcxt);

/* A chunk of the shared memory under a key. */
extern void *workers_allocate(ParallelContext *pcxt, uint64 key, Size bytes);

/* Copies data of any size, with checks for interrupts. */
extern void workers_copy(void *to, const void *from, Size bytes);

/* The first call in a worker: reports the leader's query as its activity. */
extern void workers_begin(shm_toc *toc);

#endif							/* AMAD_PG_PARALLEL_H */
