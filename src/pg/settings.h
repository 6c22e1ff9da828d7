/*
 * pg/settings.h
 *	  The settings amad.* (docs/sql.md, Settings).
 */
#ifndef AMAD_PG_SETTINGS_H
#define AMAD_PG_SETTINGS_H

/* amad.report_progress: commands report their progress as NOTICEs. */
extern bool settings_report_progress;

/* amad.change_log_limit: entries in the change log beyond which series are not logged one by one. */
extern int	settings_change_log_limit;

/* Defines the settings, when the library is loaded. */
extern void settings_define(void);

/* The number of parallel workers that amad.max_parallel_workers allows, 0 or more. */
extern int	settings_parallel_workers(void);

#endif							/* AMAD_PG_SETTINGS_H */
