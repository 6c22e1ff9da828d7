/*
 * score/earlier_rows.h
 *	  Rows of a series before those that were read, which the status of a row can depend on.
 */
#ifndef AMAD_SCORE_EARLIER_ROWS_H
#define AMAD_SCORE_EARLIER_ROWS_H

#include "rows/source.h"
#include "score/scorer.h"

typedef struct EarlierRows EarlierRows;

/* Opens them for a source whose form is by index, in the current context. */
extern EarlierRows *earlier_rows_open(const LoadedModel *loaded, const Source *source);

/* The series of a row in one piece of memory, for scorer_cut_series(). */
extern void *earlier_rows_origin(const EarlierRows *earlier, const SourceRow *row);

/* A scorer_earlier; arg: the EarlierRows. */
extern const nn_level *earlier_rows_level(const void *origin, const char *series, int64 before,
										  int scores, void *arg);

#endif							/* AMAD_SCORE_EARLIER_ROWS_H */
