/*
 * pg/parallel.c
 *	  Parallel workers: their shared memory, launch and end.
 *
 * InitializeParallelDSM() raises an ERROR if the operating system has no shared memory
 * left, as in a container with a small /dev/shm.  Workers only save time, so this is no
 * reason to fail.  Therefore a segment of the same size is first created and destroyed in a
 * way that reports a failure instead of raising it.  If another process takes the memory
 * between these two steps, it is an ERROR after all.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/dsm_impl.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

#include "pg/parallel.h"

#define KEY_QUERY UINT64CONST(0xA3AD000000000201)

/*
 * Largest segment.  The operating system fills it with zeros in one call that no signal
 * interrupts, at some gigabytes per second.
 */
#define MAX_SEGMENT MaxAllocSize

/* What InitializeParallelDSM() adds to the estimate, at most. */
#define SESSION_STATE (1024 * 1024)
#define WORKER_QUEUE (32 * 1024)	/* per worker */

/* Whether a segment of this size can be created. */
static bool
segment_fits(Size bytes)
{
	/* handles of segments outside the main shared memory are even */
	dsm_handle	handle = pg_prng_uint32(&pg_global_prng_state) << 1;
	void	   *private = NULL;
	void	   *address = NULL;
	Size		mapped = 0;

	if (handle == DSM_HANDLE_INVALID ||
		!dsm_impl_op(DSM_OP_CREATE, handle, bytes, &private, &address, &mapped, DEBUG1))
		return false;
	return dsm_impl_op(DSM_OP_DESTROY, handle, 0, &private, &address, &mapped, WARNING);
}

/* Leaves parallel mode. */
static void
destroy_context(ParallelContext *pcxt)
{
	DestroyParallelContext(pcxt);
	ExitParallelMode();
}

ParallelContext *
parallel_open(const char *entry, int workers, const ParallelChunk *chunks, int nchunks)
{
	const char *query = debug_query_string;
	ParallelContext *pcxt;
	Size		bytes;

	EnterParallelMode();
	pcxt = CreateParallelContext("amad", entry, workers);
	for (int i = 0; i < nchunks; i++)
		if (chunks[i].bytes > 0)
			shm_toc_estimate_chunk(&pcxt->estimator, chunks[i].bytes);
	if (query)
		shm_toc_estimate_chunk(&pcxt->estimator, strlen(query) + 1);
	shm_toc_estimate_keys(&pcxt->estimator, nchunks + 1);
	bytes = add_size(shm_toc_estimate(&pcxt->estimator),
					 SESSION_STATE + (Size) pcxt->nworkers * WORKER_QUEUE);
	if (bytes > MAX_SEGMENT || !segment_fits(bytes))
	{
		ereport(DEBUG1,
				(errmsg_internal("no parallel workers, because %zu bytes of shared memory "
								 "are not available",
								 bytes)));
		destroy_context(pcxt);
		return NULL;
	}

	InitializeParallelDSM(pcxt);
	if (pcxt->seg == NULL)
	{
		destroy_context(pcxt);
		return NULL;
	}
	for (int i = 0; i < nchunks; i++)
		if (chunks[i].bytes > 0)
			shm_toc_insert(pcxt->toc, chunks[i].key, shm_toc_allocate(pcxt->toc, chunks[i].bytes));
	if (query)
	{
		char	   *copy = shm_toc_allocate(pcxt->toc, strlen(query) + 1);

		strcpy(copy, query);
		shm_toc_insert(pcxt->toc, KEY_QUERY, copy);
	}
	return pcxt;
}

bool
parallel_launch(ParallelContext *pcxt)
{
	LaunchParallelWorkers(pcxt);
	if (pcxt->nworkers_launched > 0)
		return true;
	parallel_close(pcxt);
	return false;
}

void
parallel_close(ParallelContext *pcxt)
{
	WaitForParallelWorkersToFinish(pcxt);
	destroy_context(pcxt);
}

#define COPY_BYTES (2 * 1024 * 1024)	/* some milliseconds */

void
parallel_copy(void *to, const void *from, Size bytes)
{
	for (Size at = 0; at < bytes; at += COPY_BYTES)
	{
		CHECK_FOR_INTERRUPTS();
		memcpy((char *) to + at, (const char *) from + at, Min(bytes - at, COPY_BYTES));
	}
}

void
parallel_begin_worker(shm_toc *toc)
{
	debug_query_string = shm_toc_lookup(toc, KEY_QUERY, true);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
}
