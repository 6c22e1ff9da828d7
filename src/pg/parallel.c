/*
 * pg/parallel.c
 *	  What trainings and detections with parallel workers have in common.
 *
 * InitializeParallelDSM() raises an ERROR when the operating system has no shared
 * memory left, as in a container with a small /dev/shm.  Workers only save time, so
 * that is no reason to fail: the memory is taken and given back first, in a way that
 * reports a failure instead of raising it.  Another process may take the memory between
 * these two moments; then it is an ERROR after all.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/parallel.h"
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
 * The operating system fills a segment with zeros in one call that no signal
 * interrupts, at some gigabytes a second.
 */
#define MOST_SHARED MaxAllocSize

/* What InitializeParallelDSM() adds to the estimate: the state of the session … */
#define SESSION_STATE (1024 * 1024)
#define WORKER_STATE (32 * 1024)	/* … and the queue of each worker */

/* Whether a segment of this size can be created. */
static bool
segment_fits(Size bytes)
{
	/* even, as handles of segments are that do not lie in the main shared memory */
	dsm_handle	handle = pg_prng_uint32(&pg_global_prng_state) << 1;
	void	   *private = NULL;
	void	   *address = NULL;
	Size		mapped = 0;

	if (handle == DSM_HANDLE_INVALID ||
		!dsm_impl_op(DSM_OP_CREATE, handle, bytes, &private, &address, &mapped, DEBUG1))
		return false;
	return dsm_impl_op(DSM_OP_DESTROY, handle, 0, &private, &address, &mapped, WARNING);
}

bool
workers_share_memory(ParallelContext *pcxt)
{
	Size		bytes;

	if (debug_query_string)
	{
		shm_toc_estimate_chunk(&pcxt->estimator, strlen(debug_query_string) + 1);
		shm_toc_estimate_keys(&pcxt->estimator, 1);
	}
	bytes = add_size(shm_toc_estimate(&pcxt->estimator),
					 SESSION_STATE + (Size) pcxt->nworkers * WORKER_STATE);
	if (bytes > MOST_SHARED || !segment_fits(bytes))
	{
		ereport(DEBUG1,
				(errmsg_internal("no workers, for there are no %zu bytes of shared memory", bytes)));
		return false;
	}
	InitializeParallelDSM(pcxt);
	if (pcxt->seg == NULL)
		return false;
	if (debug_query_string)
		strcpy(workers_allocate(pcxt, KEY_QUERY, strlen(debug_query_string) + 1),
			   debug_query_string);
	return true;
}

void *
workers_allocate(ParallelContext *pcxt, uint64 key, Size bytes)
{
	void	   *chunk = shm_toc_allocate(pcxt->toc, bytes);

	shm_toc_insert(pcxt->toc, key, chunk);
	return chunk;
}

#define COPY_BYTES (2 * 1024 * 1024)	/* some milliseconds */

void
workers_copy(void *to, const void *from, Size bytes)
{
	for (Size at = 0; at < bytes; at += COPY_BYTES)
	{
		CHECK_FOR_INTERRUPTS();
		memcpy((char *) to + at, (const char *) from + at, Min(bytes - at, COPY_BYTES));
	}
}

void
workers_begin(shm_toc *toc)
{
	debug_query_string = shm_toc_lookup(toc, KEY_QUERY, true);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
}
