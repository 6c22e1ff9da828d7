/*
 * learn/binary_features.h
 *	  Which features of a training are flags (docs/model.md, Flags).
 */
#ifndef AMAD_LEARN_BINARY_FEATURES_H
#define AMAD_LEARN_BINARY_FEATURES_H

#include "rows/dataset.h"

/* Sets the model's flags, and what its features weigh. */
extern void find_binary_features(Model *model, const Dataset *dataset);

#endif							/* AMAD_LEARN_BINARY_FEATURES_H */
