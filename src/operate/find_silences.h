/*
 * operate/find_silences.h
 *	  Silences: series and features that have stopped, as incidents.
 */
#ifndef AMAD_OPERATE_FIND_SILENCES_H
#define AMAD_OPERATE_FIND_SILENCES_H

#include "operate/watch_tables.h"

extern PGDLLEXPORT Datum amad_retire(PG_FUNCTION_ARGS);

/*
 * Closes silences that have ended, and opens those that have begun; announce: the latter are to be
 * announced.  The time column is not an integer.
 */
extern void silences_find(const WatchTables *t, const Watch *watch, Oid ts_type, TimestampTz as_of,
						  bool announce);

#endif							/* AMAD_OPERATE_FIND_SILENCES_H */
