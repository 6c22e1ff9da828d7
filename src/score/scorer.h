/*
 * score/scorer.h
 *	  Scores the rows of one series after another.
 *
 * The caller adds rows to the scorer and takes them back with their scores:
 *
 *		scorer_begin(scorer, key, NULL);
 *		for each row of the series:
 *			scorer_add(scorer, …);
 *			if (scorer_full(scorer))
 *				while (scorer_next(scorer, &row)) …
 *		scorer_end(scorer);
 *		while (scorer_next(scorer, &row)) …
 *
 * Rows are returned in the order in which they were added, each once, when they are
 * scored: block by block, and with the option lookahead when that many rows of the series
 * have followed.  A row depends on the model, on scorer_depth() rows before it and
 * `lookahead` rows after it, but not on how rows are cut into blocks.  Only its status can depend
 * on rows further back, which the scorer asks for when it needs them.
 */
#ifndef AMAD_SCORE_SCORER_H
#define AMAD_SCORE_SCORER_H

#include "core/evidence/level.h"
#include "score/cache.h"
#include "score/scored_row.h"

typedef struct Scorer Scorer;

/*
 * Returns at least `scores` raw scores of the rows of a series before a time, or all there are;
 * NULL: there are none.  origin: of scorer_cut_series().
 */
typedef const nn_level *(*scorer_earlier) (const void *origin, const char *series, int64 before,
										  int scores, void *arg);

/*
 * Opens a scorer in the current context; it keeps a pointer to the model.  parallel: it
 * may start workers.  ERROR if it needs more than work_mem.
 */
extern Scorer *scorer_open(const LoadedModel *loaded, bool parallel);

/*
 * Begins a series.  Rows of the previous one may be left: take them before adding any.
 * key: of the series (series_key.h); NULL: the only one, or not given.  figures: to score it
 * with, as long as it lasts; NULL: those of the model.
 */
extern void scorer_begin(Scorer *scorer, const char *key, const ModelStats *figures);

/* Sets the function that returns raw scores of series that are cut. */
extern void scorer_set_earlier(Scorer *scorer, scorer_earlier earlier, void *arg);

/*
 * The series begun last has rows before those that will be added.  origin: what finds them, in
 * memory that the scorer frees.
 */
extern void scorer_cut_series(Scorer *scorer, void *origin);

/* Adds the next row of the series.  ts_valid: ts is neither null nor infinite. */
extern void scorer_add(Scorer *scorer, int64 ts, bool ts_valid, const double *values, int mark);

/*
 * Adds a row that repeats the timestamp of another row of the series, before or after it,
 * which is the one to be scored.
 */
extern void scorer_add_duplicate(Scorer *scorer, int64 ts, int mark);

/* Whether rows must be taken before more are added. */
extern bool scorer_full(const Scorer *scorer);

/* No more rows follow, of any series: all can be taken. */
extern void scorer_end(Scorer *scorer);

/*
 * Takes the next scored row.  False if there is none yet; after scorer_end(), if there are
 * no more.  The arrays of the row are valid until the next call.
 */
extern bool scorer_next(Scorer *scorer, ScoredRow *row);

/* Drops the rows that were not taken. */
extern void scorer_abandon(Scorer *scorer);

/* Key and figures in use of the series of the row taken last. */
extern const char *scorer_series(const Scorer *scorer);
extern const ModelStats *scorer_stats(const Scorer *scorer);
extern const nn_calibration *scorer_calibration(const Scorer *scorer);

/*
 * Whether workers are available and enough rows were added for them to be worth starting.
 * Never true while there are rows to be taken.
 */
extern bool scorer_wants_workers(const Scorer *scorer);

/*
 * Starts them, if it can.  From here until the last row has been taken the session is in
 * parallel mode and must not write.
 */
extern void scorer_start_workers(Scorer *scorer);

/* The raw scores of the last rows of the series of the row taken last. */
extern const nn_level *scorer_level(const Scorer *scorer);

/* Rows before a row that its score can depend on; with status, that its status can depend on. */
extern int	scorer_depth(const Model *model, bool status);

/* "warmup" …; NULL for SCORE_FINE. */
extern const char *scorer_status_text(ScoreStatus status);

#endif							/* AMAD_SCORE_SCORER_H */
