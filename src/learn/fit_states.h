/*
 * learn/fit_states.h
 *	  The states of a model: centres of the rows it was trained on (docs/model.md,
 *	  States).
 */
#ifndef AMAD_LEARN_FIT_STATES_H
#define AMAD_LEARN_FIT_STATES_H

#include "core/poll.h"
#include "rows/dataset.h"

/* Bytes that states_fit() allocates. */
extern Size states_bytes(const ModelPlan *plan);

/*
 * Learns the states of a model that has some, into its params: from a sample of the rows
 * that its network is trained on, evenly spread, and the ranges of values in all rows.
 */
extern void states_fit(Model *model, const Dataset *dataset, nn_poll poll);

#endif							/* AMAD_LEARN_FIT_STATES_H */
