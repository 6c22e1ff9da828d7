/*
 * core/poll.h
 *	  The callback by which long computations can be interrupted.
 */
#ifndef AMAD_CORE_POLL_H
#define AMAD_CORE_POLL_H

/*
 * Called between pieces of work of a few milliseconds; it may not return.  Functions
 * that may take longer are given one (NULL: none) and call it in between.
 */
typedef void (*nn_poll) (void);

#endif							/* AMAD_CORE_POLL_H */
