/*
 * operate/crontab.h
 *	  Schedules in the syntax of crontab, and lines of a crontab.
 */
#ifndef AMAD_OPERATE_CRONTAB_H
#define AMAD_OPERATE_CRONTAB_H

#include "utils/timestamp.h"

/* Whether a text consists of the five fields of crontab. */
extern bool crontab_is_schedule(const char *text);

/*
 * The schedule that runs at least every `every`.  Rounds with a NOTICE what crontab cannot express.
 * seconds: the scheduler also understands "30 seconds", up to 59.
 */
extern char *crontab_round_interval(const Interval *every, bool seconds);

/* A text as an SQL literal without line breaks. */
extern char *crontab_sql_literal(const char *text);

/* The line that runs a statement by psql; NULL if a name contains a line break. */
extern char *crontab_psql_line(const char *schedule, const char *database, const char *role,
							   const char *statement);

#endif							/* AMAD_OPERATE_CRONTAB_H */
