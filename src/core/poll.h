/*
 * core/poll.h
 *	  Lets the caller interrupt long computations.
 *
 * Functions that may take long accept a callback, or NULL, and call it between
 * pieces of work of a few milliseconds.  It need not return, so they must hold
 * nothing that has to be released.
 */
#ifndef AMAD_CORE_POLL_H
#define AMAD_CORE_POLL_H

#include <stddef.h>

typedef void (*nn_poll) (void);

static inline void
nn_rest(nn_poll poll)
{
	if (poll != NULL)
		poll();
}

#endif							/* AMAD_CORE_POLL_H */
