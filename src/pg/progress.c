/*
 * pg/progress.c
 *	  The progress of long commands, which any session can see: amad_progress.
 *
 * PostgreSQL has a place in shared memory where a backend reports the progress of its command:
 * the command's number and twenty integers, for views such as pg_stat_progress_vacuum.  A
 * command of ours reports there with a number that PostgreSQL does not use, so its views
 * ignore it.  That needs no shared memory of our own, and the library need not be preloaded.
 *
 * There is one place for each backend.  A command of PostgreSQL that runs within ours, such as
 * ANALYZE in a function that a source query calls, takes the place and clears it at the end;
 * our next report takes it again.  A command of PostgreSQL that ours runs in, such as COPY,
 * keeps it, and ours is not reported.  At an ERROR, PostgreSQL clears the place, and callbacks
 * clear the state kept here.
 *
 * The remaining time is extrapolated from the time that the rows of the phase have taken.
 * The share is the time spent as a share of the time that the whole command will take.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "pg/progress.h"
#include "pg/rowset.h"
#include "pg/settings.h"

/* The number of our commands: "amad" in ASCII. */
#define PROGRESS_COMMAND_AMAD ((ProgressCommandType) 0x616D6164)

#define MOST_DEPTH 16			/* commands within commands; any more are not noted */
#define CHECK_ROWS 64			/* rows between looks at the clock */
#define PUBLISH_USECS (100 * 1000)
#define TOTAL_USECS USECS_PER_SEC
#define NOTICE_USECS (5 * USECS_PER_SEC)

/* The integers that are reported. */
enum
{
	PARAM_FORMAT,				/* of the others: PROGRESS_FORMAT */
	PARAM_COMMAND,
	PARAM_PHASE,
	PARAM_SHARE,				/* in millionths, or -1: unknown */
	PARAM_STARTED,				/* time */
	PARAM_ETA,					/* time, or -1: unknown */
	PARAM_ROWS_DONE,
	PARAM_ROWS_TOTAL,			/* or -1: unknown */
	PARAM_WORKERS,
	PARAM_COUNT
};

#define PROGRESS_FORMAT 1
#define SHARE_UNIT 1000000

static const char *const commands[] = {
	[PROGRESS_TRAIN] = "train",		  [PROGRESS_RETRAIN] = "retrain",
	[PROGRESS_DETECT] = "detect",	  [PROGRESS_EVENTS] = "events",
	[PROGRESS_DRIFT] = "drift",		  [PROGRESS_RECALIBRATE] = "recalibrate",
	[PROGRESS_EVALUATE] = "evaluate", [PROGRESS_ESTIMATE] = "estimate",
};

static const char *const phases[] = {
	[PROGRESS_STARTING] = "starting",		 [PROGRESS_READING] = "reading rows",
	[PROGRESS_PREPARING] = "preparing rows", [PROGRESS_TRAINING] = "training",
	[PROGRESS_CALIBRATING] = "calibrating",	 [PROGRESS_STORING] = "storing",
	[PROGRESS_SCORING] = "scoring rows",	 [PROGRESS_CALIBRATING_SERIES] = "calibrating series",
};

/* The commands that run in this backend; the outermost is reported. */
static struct
{
	/* nesting */
	int			depth;
	int			levels[MOST_DEPTH]; /* of transactions, in which they began */

	/* the phase */
	int64		params[PARAM_COUNT];
	TimestampTz phase_started;
	double		total;			/* 0: unknown */
	double		later;
	bool		asked;			/* progress_wants_total() has returned true */

	/* reports */
	int64		unseen;			/* rows since the last look at the clock */
	TimestampTz published;
	TimestampTz noticed;
} live;

/* ---- ends of transactions ----------------------------------------------------------------- */

static void
forget_commands(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT)
		live.depth = 0;
}

static void
forget_subcommands(SubXactEvent event, SubTransactionId me, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (live.depth > 0 && live.levels[live.depth - 1] >= GetCurrentTransactionNestLevel())
		live.depth--;
}

/* ---- reporting -------------------------------------------------------------------------- */

static void
publish_progress(TimestampTz now)
{
	static int	numbers[PARAM_COUNT];

	live.published = now;
	if (MyBEEntry == NULL)
		return;
	if (MyBEEntry->st_progress_command == PROGRESS_COMMAND_INVALID)
		pgstat_progress_start_command(PROGRESS_COMMAND_AMAD, InvalidOid);
	if (MyBEEntry->st_progress_command != PROGRESS_COMMAND_AMAD)
		return;
	for (int i = 0; i < PARAM_COUNT; i++)
		numbers[i] = i;
	pgstat_progress_update_multi_param(PARAM_COUNT, numbers, live.params);
}

/* Updates the share and the expected end; an unknown total leaves those reported last. */
static void
extrapolate_end(TimestampTz now)
{
	const double done = live.params[PARAM_ROWS_DONE];
	const double spent = Max(now - live.params[PARAM_STARTED], 1);
	double		rest;

	if (live.total <= 0 || done <= 0)
		return;
	rest = (now - live.phase_started) / done * (Max(live.total - done, 0) + live.later);
	live.params[PARAM_SHARE] = (int64) (SHARE_UNIT * (spent / (spent + rest)));
	live.params[PARAM_ETA] = now + (int64) Min(rest, 1e15);
}

static void
report_notice(void)
{
	const int64 *p = live.params;

	if (p[PARAM_PHASE] == PROGRESS_TRAINING || !progress_notice_due())
		return;
	if (p[PARAM_ROWS_TOTAL] > 0)
		ereport(NOTICE,
				(errmsg("%s: " INT64_FORMAT " of about " INT64_FORMAT " rows",
						phases[p[PARAM_PHASE]], p[PARAM_ROWS_DONE], p[PARAM_ROWS_TOTAL])));
	else
		ereport(NOTICE,
				(errmsg("%s: " INT64_FORMAT " rows", phases[p[PARAM_PHASE]], p[PARAM_ROWS_DONE])));
}

bool
progress_begin(ProgressCommand command)
{
	static bool registered = false;
	TimestampTz now;

	if (!registered)
	{
		RegisterXactCallback(forget_commands, NULL);
		RegisterSubXactCallback(forget_subcommands, NULL);
		registered = true;
	}
	if (live.depth == MOST_DEPTH)
		return false;
	live.levels[live.depth++] = GetCurrentTransactionNestLevel();
	if (live.depth > 1)
		return true;
	now = GetCurrentTimestamp();
	live.params[PARAM_FORMAT] = PROGRESS_FORMAT;
	live.params[PARAM_COMMAND] = command;
	live.params[PARAM_SHARE] = live.params[PARAM_ETA] = -1;
	live.params[PARAM_STARTED] = now;
	live.params[PARAM_WORKERS] = 0;
	live.noticed = now;
	progress_phase(PROGRESS_STARTING, 0, 0);
	return true;
}

void
progress_end(bool begun)
{
	if (begun && --live.depth == 0 && MyBEEntry &&
		MyBEEntry->st_progress_command == PROGRESS_COMMAND_AMAD)
		pgstat_progress_end_command();
}

void
progress_phase(ProgressPhase phase, double total, double later)
{
	if (live.depth != 1)
		return;
	live.params[PARAM_PHASE] = phase;
	live.params[PARAM_ROWS_DONE] = 0;
	live.phase_started = GetCurrentTimestamp();
	live.later = later;
	live.asked = false;
	live.unseen = 0;
	progress_set_total(total);
	publish_progress(live.phase_started);
}

void
progress_add(int64 rows)
{
	TimestampTz now;

	if (live.depth != 1)
		return;
	live.params[PARAM_ROWS_DONE] += rows;
	live.unseen += rows;
	if (live.unseen < CHECK_ROWS)
		return;
	live.unseen = 0;
	now = GetCurrentTimestamp();
	if (now - live.published < PUBLISH_USECS && MyBEEntry &&
		MyBEEntry->st_progress_command == PROGRESS_COMMAND_AMAD)
		return;
	extrapolate_end(now);
	publish_progress(now);
	report_notice();
}

bool
progress_wants_total(void)
{
	if (live.depth != 1 || live.asked || live.total > 0 ||
		live.published - live.phase_started < TOTAL_USECS)
		return false;
	live.asked = true;
	return true;
}

void
progress_set_total(double total)
{
	if (live.depth != 1)
		return;
	live.total = total;
	live.params[PARAM_ROWS_TOTAL] = total > 0 ? (int64) Min(total, 1e15) : -1;
}

void
progress_set_workers(int workers)
{
	if (live.depth != 1)
		return;
	live.params[PARAM_WORKERS] = workers;
	publish_progress(live.published);
}

bool
progress_notice_due(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!settings_report_progress || live.depth != 1 || now - live.noticed < NOTICE_USECS)
		return false;
	live.noticed = now;
	return true;
}

/* ---- amad_progress() ---------------------------------------------------------------------- */

enum
{
	COL_PID,
	COL_DATID,
	COL_USESYSID,
	COL_COMMAND,
	COL_PHASE,
	COL_SHARE,
	COL_STARTED,
	COL_ETA,
	COL_ROWS_DONE,
	COL_ROWS_TOTAL,
	COL_WORKERS,
	COL_COUNT
};

/* The name of a number in a list, or null. */
static void
put_name(Datum *value, bool *null, int64 number, const char *const *names, int n)
{
	*null = number < 1 || number >= n || names[number] == NULL;
	if (!*null)
		*value = CStringGetTextDatum(names[number]);
}

/* A number of `least` to `most`, or null. */
static bool
put_number(Datum *value, bool *null, int64 number, int64 least, int64 most)
{
	*null = number < least || number > most;
	*value = Int64GetDatum(number);
	return !*null;
}

/* The progress of a backend.  Another library could use the same number, so values are checked. */
static void
put_backend(Rowset *rowset, const PgBackendStatus *backend)
{
	const int64 *p = backend->st_progress_param;
	Datum		values[COL_COUNT] = {0};
	bool		nulls[COL_COUNT] = {false};

	values[COL_PID] = Int32GetDatum(backend->st_procpid);
	values[COL_DATID] = ObjectIdGetDatum(backend->st_databaseid);
	values[COL_USESYSID] = ObjectIdGetDatum(backend->st_userid);
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) &&
		!has_privs_of_role(GetUserId(), backend->st_userid))
		memset(nulls + COL_COMMAND, true, COL_COUNT - COL_COMMAND);
	else
	{
		put_name(&values[COL_COMMAND], &nulls[COL_COMMAND], p[PARAM_COMMAND], commands,
				 lengthof(commands));
		put_name(&values[COL_PHASE], &nulls[COL_PHASE], p[PARAM_PHASE], phases, lengthof(phases));
		if (put_number(&values[COL_SHARE], &nulls[COL_SHARE], p[PARAM_SHARE], 0, SHARE_UNIT))
			values[COL_SHARE] = Float8GetDatum((double) p[PARAM_SHARE] / SHARE_UNIT);
		put_number(&values[COL_STARTED], &nulls[COL_STARTED], p[PARAM_STARTED], 0,
				   END_TIMESTAMP - 1);
		put_number(&values[COL_ETA], &nulls[COL_ETA], p[PARAM_ETA], 0, END_TIMESTAMP - 1);
		put_number(&values[COL_ROWS_DONE], &nulls[COL_ROWS_DONE], p[PARAM_ROWS_DONE], 0,
				   PG_INT64_MAX);
		put_number(&values[COL_ROWS_TOTAL], &nulls[COL_ROWS_TOTAL], p[PARAM_ROWS_TOTAL], 0,
				   PG_INT64_MAX);
		if (put_number(&values[COL_WORKERS], &nulls[COL_WORKERS], p[PARAM_WORKERS], 0,
					   PG_INT16_MAX))
			values[COL_WORKERS] = Int32GetDatum((int32) p[PARAM_WORKERS]);
	}
	rowset_add(rowset, values, nulls);
}

SQL_FUNCTION(amad_progress);

/* → one row for each backend that runs a command of ours */
Datum
amad_progress(PG_FUNCTION_ARGS)
{
	Rowset		rowset = rowset_open(fcinfo);
	const int	n = pgstat_fetch_stat_numbackends();

	for (int i = 1; i <= n; i++)
	{
		LocalPgBackendStatus *backend = pgstat_get_local_beentry_by_index(i);

		if (backend && backend->backendStatus.st_progress_command == PROGRESS_COMMAND_AMAD &&
			backend->backendStatus.st_progress_param[PARAM_FORMAT] == PROGRESS_FORMAT)
			put_backend(&rowset, &backend->backendStatus);
	}
	return (Datum) 0;
}
