/*
 * flags.h
 *	  Which features of a training are flags (docs/model.md, Flags).
 */
#ifndef AMAD_FLAGS_H
#define AMAD_FLAGS_H

#include "dataset.h"

/* Sets the model's flags, and what its features weigh. */
extern void flags_find(Model *model, const Dataset *dataset);

#endif							/* AMAD_FLAGS_H */
