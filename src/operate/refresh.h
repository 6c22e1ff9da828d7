/*
 * operate/refresh.h
 *	  A run of a watch, by amad_refresh or amad_care: what their files share.
 */
#ifndef AMAD_OPERATE_REFRESH_H
#define AMAD_OPERATE_REFRESH_H

#include "operate/watch_tables.h"
#include "score/detect.h"

/* What a run has done, as in amad_runs. */
typedef struct RefreshSums
{
	int64		changes;
	int64		series;
	int64		rows;
	int64		flagged;
	int64		learning;
} RefreshSums;

typedef struct Refresh
{
	/* the call */
	Oid			function;		/* of the extension */
	TimestampTz as_of;
	bool		has_since;
	TimestampTz since;
	bool		has_until;
	TimestampTz until;
	bool		atomic;			/* it cannot commit */
	MemoryContext context;		/* lasts as long as the call */
	const char *kind;			/* of the run, as in amad_runs */
	WatchLock	lock;
	bool		locked;			/* it is held; an error at commit can release it */

	/* the watch */
	Oid			watches;		/* the table amad_watches */
	Watch		watch;
	bool		for_other;		/* the caller does not have the privileges of its owner */
	int64		run;			/* number of the run */
	int			version;		/* of the model, for the whole run; 0 at first */
	Oid			ts_type;		/* of its source */
	bool		had_newest;		/* rows had been scored before, … */
	int64		newest_before;	/* … up to this time */

	/* what was done */
	struct Care *care;			/* by amad_care */
	RefreshSums sums;
	StringInfoData notices;
} Refresh;

extern PGDLLEXPORT Datum amad_refresh(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum amad_care(PG_FUNCTION_ARGS);

/* ---- runs: watch_run.c ---------------------------------------------------------------------- */

/*
 * Begins a call of a procedure whose first argument is the name of a model, and connects to SPI.
 * ERROR if the transaction does not allow it.
 */
extern Refresh *run_enter(FunctionCallInfo fcinfo, const char *procedure);

/*
 * Finds and locks the watch; doing: what another session may be doing with it.  False, with a NOTICE and
 * disconnected from SPI, if it is locked or paused.
 */
extern bool run_lock(Refresh *refresh, const char *kind, WatchLock lock, const char *model_name,
					 const char *doing);

/* Begins a record in the state running or skipped. */
extern void run_begin(Refresh *refresh, const char *state);

/*
 * Runs a step in a transaction of its own, if that is possible, and commits it.  It runs as the watch's
 * owner in a security-restricted operation, and returns whether there is more to do.  A failure is
 * recorded; run_step() raises it again, run_try_step() returns it.
 */
extern bool run_step(Refresh *refresh, bool (*step)(Refresh *));
extern ErrorData *run_try_step(Refresh *refresh, bool (*step)(Refresh *), bool *more);

/* Whether an error means that somebody stopped the run, rather than that it cannot succeed. */
extern bool run_is_cancel(const ErrorData *error);

/* Ends the record of a run that has succeeded, in its last step. */
extern void run_end(Refresh *refresh);

/* Tells listeners that announcements wait, in a transaction of its own; a failure is counted. */
extern void run_notify(Refresh *refresh);

/* Releases the lock. */
extern void run_leave(Refresh *refresh);

/* Adds a remark to the record of the run. */
extern void refresh_add_notice(Refresh *refresh, const char *notice);

/* Opens the version of the run, at first the deployed one; writes: as in DetectSpec. */
extern Detection *refresh_open_detection(const Refresh *refresh, bool writes);

/*
 * Prepares a statement on the rows of a series in the table of scores, while connected to SPI.  begin ends
 * where a subquery follows, end continues the conditions.  $1: values of the series columns (text[]),
 * which are null where nulls says so; $2, $3: first and last time; $4: of another type, unless that is
 * InvalidOid.
 */
extern SPIPlanPtr refresh_prepare_series(const Source *source, const bool *nulls, const char *begin,
										 const char *end, Oid parameter);

/*
 * Steps of a refresh; each is a transaction if the refresh can commit.  They run as the watch's
 * owner in a security-restricted operation.
 */

/* Finds model and source, looks after the triggers, and moves the change log to amad_pending. */
extern bool refresh_take_changes(Refresh *refresh);

/* Scores some of the ranges in amad_pending; false if all were scored. */
extern bool refresh_score_batch(Refresh *refresh);

/* The time up to which rows are scored, in units of the source; buckets when they have ended. */
extern int64 refresh_horizon(const Refresh *refresh, const Source *source);

/* ---- incidents: refresh_incidents.c, finish_incidents.c ------------------------------------- */

/* A range of a series whose scores were written. */
typedef struct IncidentRange
{
	Datum		series;			/* text[] */
	const bool *nulls;			/* series columns that are null */
	Jsonb	   *condition;		/* on the series columns; NULL: the model has none */
	Jsonb	   *key;			/* series, as amad_detect() returns it; NULL likewise */
	int64		first;			/* PG_INT64_MIN: no bound */
	int64		last;			/* PG_INT64_MAX: no bound */
	bool		anomalous;		/* a row of it is */
} IncidentRange;

/*
 * Brings the incidents of ranges up to date, of at most one for each series; while connected to SPI, as
 * the watch's owner.
 */
extern void incidents_fold(Refresh *refresh, const Source *source, const char *target,
						   const IncidentRange *ranges, int n);

/* The longest distance between the anomalous rows of an incident, in units of the time column. */
extern int64 incidents_merge_gap(const Refresh *refresh, Oid ts_type);

/* Closes incidents, finds series that have stopped, and joins announcements, at the end of a run. */
extern void incidents_finish(Refresh *refresh);

/* ---- other troubles: report_trouble.c ------------------------------------------------------- */

/*
 * Takes the lock that a refresh holds, until the transaction ends, before rows are written that it writes,
 * too.
 */
extern void trouble_lock(const Refresh *refresh);

/* Opens an incident of the kind job if runs of this kind keep failing, or closes it. */
extern void trouble_report_failure(Refresh *refresh, const char *message);
extern void trouble_report_success(Refresh *refresh);

/* A series that has been checked for drift. */
typedef struct CheckedSeries
{
	Datum		id;				/* bytea, as in amad_series */
	Jsonb	   *key;			/* NULL: the model has no series */
	const char *drift;			/* what to do about it; NULL: it has not drifted */
} CheckedSeries;

/* Closes incidents of the kind drift of series that have no rows since then, or are retired. */
extern void trouble_close_drifts(Refresh *refresh, TimestampTz since);

/* Opens and closes incidents of the kind drift. */
extern void trouble_report_drift(Refresh *refresh, const CheckedSeries *series, int n);

#endif							/* AMAD_OPERATE_REFRESH_H */
