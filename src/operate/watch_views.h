/*
 * operate/watch_views.h
 *	  Views of the table of scores of a watch, for dashboards.
 */
#ifndef AMAD_OPERATE_WATCH_VIEWS_H
#define AMAD_OPERATE_WATCH_VIEWS_H

#include "rows/source.h"

/*
 * Creates the views of a table of scores whose names are free: its name with _grafana and _annotations.
 * A NOTICE says why one is missing.
 */
extern void watch_create_views(const char *target, const Source *source);

#endif							/* AMAD_OPERATE_WATCH_VIEWS_H */
