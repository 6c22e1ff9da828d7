/*
 * pg/settings.c
 *	  The settings amad.* (docs/sql.md, Settings).
 */
#include "postgres.h"
#include "pg/compat.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"

#include "pg/settings.h"

bool settings_report_progress = false;
int settings_change_log_limit = 1000000;

/* amad.max_parallel_workers; -1: max_parallel_maintenance_workers */
static int	max_parallel_workers_setting = -1;

void
settings_define(void)
{
	DefineCustomBoolVariable("amad.report_progress",
							 "Reports progress as a notice every five seconds", NULL,
							 &settings_report_progress, false, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("amad.max_parallel_workers",
							"Maximum number of parallel workers of a training or a detection",
							"-1 takes max_parallel_maintenance_workers.",
							&max_parallel_workers_setting, -1, -1, 1024, PGC_USERSET, 0, NULL, NULL,
							NULL);
	DefineCustomIntVariable("amad.change_log_limit",
							"Number of entries in amad_changes beyond which no more are added",
							"The next refresh then scores everything again.",
							&settings_change_log_limit, 1000000, 0, INT_MAX, PGC_SUSET, 0, NULL,
							NULL, NULL);
	MarkGUCPrefixReserved("amad");
}

int
settings_parallel_workers(void)
{
	return max_parallel_workers_setting < 0 ? max_parallel_maintenance_workers
											: max_parallel_workers_setting;
}
