/*
 * learn/exchange.h
 *	  How the participants of a training exchange gradients.
 *
 * A participant writes the gradients of its shards, calls meet(), and then reads those of
 * all shards.  There are two sets of gradients, for even and odd steps, so one meeting per
 * step is enough: while a slow participant still reads the gradients of this step, a fast
 * one writes those of the next step to the other set.  Shared memory
 * (optimizer_parallel.c) is the only implementation so far.
 */
#ifndef AMAD_LEARN_EXCHANGE_H
#define AMAD_LEARN_EXCHANGE_H

#include "core/network/network.h"

typedef struct GradientExchange
{
	int			participants;
	int			me;				/* 0: leader */
	float	   *grads;			/* (2, shards, weights) */
	nn_losses  *losses;			/* (2, shards) */
	void		(*meet) (void *arg);	/* returns when all participants have called it */
	void	   *arg;
} GradientExchange;

#endif							/* AMAD_LEARN_EXCHANGE_H */
