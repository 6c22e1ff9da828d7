/*
 * pg/progress.h
 *	  The progress of long commands, which any session can see: amad_progress.
 *
 * A command calls progress_begin() and progress_end(); in between it names its phases and
 * counts rows.  If one command runs within another, as in a source query, the outer one is
 * reported.  An ERROR ends the report.
 */
#ifndef AMAD_PG_PROGRESS_H
#define AMAD_PG_PROGRESS_H

typedef enum ProgressCommand
{
	PROGRESS_TRAIN = 1,
	PROGRESS_RETRAIN,
	PROGRESS_DETECT,
	PROGRESS_EVENTS,
	PROGRESS_DRIFT,
	PROGRESS_RECALIBRATE,
	PROGRESS_EVALUATE,
	PROGRESS_ESTIMATE
} ProgressCommand;

typedef enum ProgressPhase
{
	PROGRESS_STARTING = 1,
	PROGRESS_READING,			/* rows of a source or a group, for training */
	PROGRESS_PREPARING,			/* them: transforms, scales, season */
	PROGRESS_TRAINING,			/* the network; each row counts as often as it is used */
	PROGRESS_CALIBRATING,		/* likewise */
	PROGRESS_STORING,
	PROGRESS_SCORING,			/* rows of a source, while they are read */
	PROGRESS_CALIBRATING_SERIES /* calibrating on all rows, after a training on a sample */
} ProgressPhase;

/* progress_end() gets what progress_begin() has returned. */
extern bool progress_begin(ProgressCommand command);
extern void progress_end(bool begun);

/*
 * Begins a phase of `total` rows, 0 if unknown.  later: the work that follows the phase, in
 * rows of this phase that take as long.
 */
extern void progress_phase(ProgressPhase phase, double total, double later);

/* Counts rows.  Cheap enough to be called for each row. */
extern void progress_add(int64 rows);

/* Whether the phase has lasted so long that its total is worth a query; true once. */
extern bool progress_wants_total(void);
extern void progress_set_total(double total);

/* The number of parallel workers now at work. */
extern void progress_set_workers(int workers);

/* Whether amad.report_progress is on and five seconds have passed since the last NOTICE. */
extern bool progress_notice_due(void);

#endif							/* AMAD_PG_PROGRESS_H */
