/*
 * operate/series_ends.h
 *	  The table amad_series during a refresh: where each series and each of its features ends.
 */
#ifndef AMAD_OPERATE_SERIES_ENDS_H
#define AMAD_OPERATE_SERIES_ENDS_H

#include "operate/refresh.h"

typedef struct SeriesEnds SeriesEnds;

/*
 * Reads what is stored of the series of n ranges, of which those of a series are neighbours.  In the
 * current context, as the watch's owner.
 */
extern SeriesEnds *series_ends_open(Refresh *refresh, const LoadedModel *loaded,
									const Source *source, const Datum *series, int n);

/* Begins range i, whose rows from first on are scored.  condition: on the series columns. */
extern void series_ends_begin(SeriesEnds *ends, int i, Jsonb *condition, int64 first);

/* Takes the next scored row; stats: the figures it was scored with. */
extern void series_ends_add_row(SeriesEnds *ends, const ScoredRow *row, const ModelStats *stats);

/*
 * Ends the range, whose rows up to last were scored; to_end: and no later row of the series has
 * scores.  key: of the series, as amad_detect() returns it; NULL: not known.
 */
extern void series_ends_finish(SeriesEnds *ends, int64 last, bool to_end, Jsonb *key);

/* Writes what has changed. */
extern void series_ends_store(SeriesEnds *ends);

#endif							/* AMAD_OPERATE_SERIES_ENDS_H */
