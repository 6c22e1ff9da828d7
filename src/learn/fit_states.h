/*
 * learn/fit_states.h
 *	  The states of a model: cluster centres of windows of its training rows
 *	  (docs/model.md, States).
 */
#ifndef AMAD_LEARN_FIT_STATES_H
#define AMAD_LEARN_FIT_STATES_H

#include "rows/dataset.h"

/* Bytes that fit_states() allocates. */
extern Size fit_states_bytes(const ModelPlan *plan);

/*
 * Sets the states in the params of a model that has states, from an even sample of the rows
 * that its network is trained on and from the ranges of the values in all rows.
 */
extern void fit_states(Model *model, const Dataset *dataset);

#endif							/* AMAD_LEARN_FIT_STATES_H */
