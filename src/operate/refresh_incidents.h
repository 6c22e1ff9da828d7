/*
 * operate/refresh_incidents.h
 *	  From the scores that a refresh has written to incidents with an identity.
 */
#ifndef AMAD_OPERATE_REFRESH_INCIDENTS_H
#define AMAD_OPERATE_REFRESH_INCIDENTS_H

#include "operate/refresh.h"

/* A range of a series whose scores were written. */
typedef struct IncidentRange
{
	Datum		series;			/* text[] */
	const bool *nulls;			/* series columns that are null */
	Jsonb	   *condition;		/* on the series columns; NULL: the model has none */
	Jsonb	   *key;			/* series, as amad_detect() returns it; NULL likewise */
	int64		first;			/* PG_INT64_MIN: no bound */
	int64		last;			/* PG_INT64_MAX: no bound */
} IncidentRange;

typedef struct IncidentFold IncidentFold;

/* Opened for the ranges of a batch, in the current context, while connected to SPI. */
extern IncidentFold *incidents_open(Refresh *refresh, const Source *source, const char *target);

/* Brings the incidents of a range up to date. */
extern void incidents_fold(IncidentFold *fold, const IncidentRange *range);

/* Closes incidents, finds series that have stopped, and joins announcements, at the end of a run. */
extern void incidents_finish(Refresh *refresh);

#endif							/* AMAD_OPERATE_REFRESH_INCIDENTS_H */
