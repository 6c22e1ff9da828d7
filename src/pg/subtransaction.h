/*
 * pg/subtransaction.h
 *	  Work whose errors can be caught.
 */
#ifndef AMAD_PG_SUBTRANSACTION_H
#define AMAD_PG_SUBTRANSACTION_H

/*
 * Does some work in a subtransaction, in the current memory context.  Returns NULL, or the error
 * that it raised, after the subtransaction was rolled back.
 */
extern ErrorData *subtransaction_run(void (*work)(void *), void *arg);

#endif							/* AMAD_PG_SUBTRANSACTION_H */
