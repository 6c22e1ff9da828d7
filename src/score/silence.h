/*
 * score/silence.h
 *	  Series and columns that stop: silences (docs/events.md).
 */
#ifndef AMAD_SCORE_SILENCE_H
#define AMAD_SCORE_SILENCE_H

#include "score/detect.h"
#include "score/maintenance.h"

typedef struct SilentEvent
{
	int			feature;		/* the column; -1: the whole series */
	int64		start;
	int64		end;
	int64		rows;			/* without a value of the column */
	bool		open;			/* it lasts until the end of the range */
} SilentEvent;

typedef void (*silence_report) (const SilentEvent *event, void *arg);

typedef struct Silence Silence;

/*
 * shortest: in units of the time column.  maintenance: the windows of the current series
 * are selected by the caller; NULL: none.
 */
extern Silence *silence_open(const Model *model, double shortest, const DetectSpan *span,
							 const Maintenance *maintenance, silence_report report, void *arg);

/* Begins a series.  stats: its figures in the model; NULL: the model does not contain it. */
extern void silence_begin_series(Silence *silence, const ModelStats *stats);

/* A row of the range, in order of time.  empty: bitmap of the features without a value. */
extern void silence_add_row(Silence *silence, int64 ts, const uint8 *empty);

/* Reports the silences of the series. */
extern void silence_end_series(Silence *silence);

/*
 * The key of the next series of the model that has not begun and matches the filter, an object
 * of values of series columns (NULL: any).  "" for the only series.  NULL: no more.
 */
extern const char *silence_absent_series(Silence *silence, Jsonb *filter);

#endif							/* AMAD_SCORE_SILENCE_H */
