/*
 * source_parallel.h
 *	  Whether a source can be read in parallel mode.
 */
#ifndef AMAD_SOURCE_PARALLEL_H
#define AMAD_SOURCE_PARALLEL_H

#include "source.h"

/* No part of the query that reads it, views included, is parallel unsafe, as what writes is. */
extern bool source_parallel_mode_ok(const Source *source, const SourceRange *range);

#endif							/* AMAD_SOURCE_PARALLEL_H */
