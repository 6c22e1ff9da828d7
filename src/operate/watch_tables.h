/*
 * operate/watch_tables.h
 *	  The tables of watches: statements that run as their owner.
 *
 * watch_tables_enter() locks the tables, becomes their owner in a security-restricted
 * operation and connects to SPI; statements follow; watch_tables_leave() ends it.  Nothing that
 * anybody attaches to the tables runs with the caller's rights.
 */
#ifndef AMAD_OPERATE_WATCH_TABLES_H
#define AMAD_OPERATE_WATCH_TABLES_H

#include "executor/spi.h"
#include "storage/lockdefs.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "model/verdicts.h"
#include "pg/statements.h"

#define CHANGES_TABLE "amad_changes"
#define OVERFLOW_TABLE "amad_overflow"
#define PENDING_TABLE "amad_pending"
#define SERIES_TABLE "amad_series"
#define RUNS_TABLE "amad_runs"
#define INCIDENTS_TABLE "amad_incidents"
#define OUTBOX_TABLE "amad_outbox"

/* Columns of amad_watches and amad_changes that the trigger reads and writes, from 1. */
enum
{
	WATCHES_WATCH = 1,
	WATCHES_CLUSTER = 4,
	WATCHES_SOURCE = 12
};
enum
{
	CHANGES_WATCH = 1,
	CHANGES_SERIES,
	CHANGES_FIRST,
	CHANGES_LAST,
	CHANGES_LOGGED,
	CHANGES_COLUMNS = CHANGES_LOGGED
};
enum
{
	OVERFLOW_WATCH = 1,
	OVERFLOW_LOGGED,
	OVERFLOW_COLUMNS = OVERFLOW_LOGGED
};

/* The tables, while their owner is the current role. */
typedef struct WatchTables
{
	Oid			schema;
	Oid			owner;
	Oid			watches;		/* the table amad_watches */
	Oid			caller;
	MemoryContext context;		/* that of the caller, for results */
	StatementScope scope;
} WatchTables;

/* A row of amad_watches. */
typedef struct Watch
{
	pg_uuid_t	id;
	Oid			role;			/* the owner now; InvalidOid if there is no such role */
	char	   *model_name;
	char	   *target;
	Interval   *every;			/* NULL: not set */
	Interval	delay;
	Interval   *late;			/* NULL: triggers log what changes */
	Interval   *retain;			/* NULL: scores are kept */
	bool		paused;
	bool		same_cluster;	/* source_oid is one of this cluster */
	Oid			source;			/* InvalidOid: no relation with triggers */
	int			depth;
	int			lookahead;
	bool		integer_time;	/* the time column is an integer, as far as is known */
	int64		step;
	Interval   *silence;		/* NULL: by the step */
	double		min_severity;
	int			min_rows;
	Interval   *merge_gap;		/* NULL: by the step */
	Interval	min_duration;
	Interval	cooldown;
	double		alerts_per_day; /* 0: the rule was specified */
	int			tuned_version;	/* 0: none */
	TimestampTz tuned_at;		/* as_of; DT_NOBEGIN: never */
	int			newest_version; /* that a run has found deployed; 0: none */
	char	   *notify;			/* channel; NULL: none */
	bool		care;
	bool		has_newest;
	int64		newest;
	bool		has_polled;
	int64		polled_until;
} Watch;

/* The time of some steps of the model, at most 64, in units of the time column. */
extern int64 watch_steps(const Watch *watch, int steps);

/* An interval in these units, of a time column that is not an integer. */
extern int64 watch_interval_units(const Interval *interval);

/* Steps between the anomalous rows of an incident at most, unless merge_gap is set. */
#define MERGE_STEPS 10

/* Incidents of more series than this that are opened within minutes are one alarm. */
#define ALONE_SERIES 3

/* Whether the tables exist: the extension's version 0.1.0, which this library serves, too, has none. */
extern bool watch_tables_exist(Oid function);

/*
 * Becomes the owner of the tables in the schema of a function.  An ERROR needs no
 * watch_tables_leave(): the abort of the (sub)transaction restores everything.
 */
extern void watch_tables_enter(WatchTables *t, Oid function);
extern void watch_tables_leave(const WatchTables *t);

/*
 * Runs a statement with parameters and returns the number of rows; {changes} in its text stands
 * for the qualified name of amad_changes, and so on.  It sees what was committed before it.
 */
extern uint64 watch_tables_execute(const WatchTables *t, const char *text, int nargs,
								   const Oid *types, const Datum *values, const char *nulls);

/* A value of the last result.  ERROR if its type differs, or if it is null and isnull is NULL. */
extern Datum watch_tables_value(int row, int number, Oid type, bool *isnull);

/*
 * Finds the watch of a model: the caller's own, or that of the only role whose privileges the
 * caller has, or of the only model that it may operate.  False if no such watch exists.  own: only
 * the caller's own.
 */
extern bool watch_find(const WatchTables *t, const char *model_name, bool own, Watch *watch);

/* The same; ERROR instead of false. */
extern void watch_require(const WatchTables *t, const char *model_name, bool own, Watch *watch);

/* The same by its identifier, locked against being dropped until the transaction ends. */
extern bool watch_read(const WatchTables *t, const pg_uuid_t *id, Watch *watch);

/* The watches that the caller may refresh: uuid[], in t->context. */
extern Datum watch_list_operated(const WatchTables *t);

extern void watch_report_missing(const char *model_name);

/*
 * Whether the caller acts for the owner of a watch without having the privileges of that role.  ERROR if
 * the row could be forged then.
 */
extern bool watch_acts_for_other(const WatchTables *t, const Watch *watch);

/* Becomes the owner of a watch, in a security-restricted operation; for_other: see above. */
extern StatementScope watch_owner_enter(const Watch *watch, bool for_other);
extern void watch_owner_leave(const StatementScope *scope);

/* Deletes the rows of a watch from a table, such as "changes". */
extern void watch_clear(const WatchTables *t, const pg_uuid_t *id, const char *table);

/* Deletes the rows of a watch from all of the tables. */
extern void watch_delete_rows(const WatchTables *t, const pg_uuid_t *id);

/*
 * Adds an entry to the change log.  series: text[], 0: all series; first and last: NULL: no
 * bound.
 */
extern void watch_log_range(const WatchTables *t, const pg_uuid_t *id, Datum series,
							const int64 *first, const int64 *last);

/*
 * Locks of a watch.  WATCH_REFRESH: held by a refresh or an alteration, of which there is one at a
 * time.  WATCH_OVERFLOW: shared by transactions whose changes are covered by a row of amad_overflow
 * only; that row may be deleted under the exclusive lock.  WATCH_CARE: held by amad_care.
 */
typedef enum WatchLock
{
	WATCH_REFRESH = 1,
	WATCH_OVERFLOW,
	WATCH_CARE
} WatchLock;

/* Takes a lock, for the session or the transaction; false: it is not free. */
extern bool watch_lock(Oid watches, const pg_uuid_t *id, WatchLock lock, LOCKMODE mode,
					   bool session, bool wait);
extern void watch_unlock_session(Oid watches, const pg_uuid_t *id, WatchLock lock);

extern char *watch_id_text(const pg_uuid_t *id);

#endif							/* AMAD_OPERATE_WATCH_TABLES_H */
