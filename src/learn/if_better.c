/*
 * learn/if_better.c
 *	  Whether a new version of a model is better than the one that it is to replace.
 *
 * Both versions score the newest tenth of the source (more if that is less than TAIL_ROWS), and
 * with a label column or confirmed incidents all rows from the since on by which the new version was
 * computed.  The new one is better unless
 *
 *	- it misses a labelled incident that the old one finds;
 *	- it flags more rows than the option contamination allows, and more than MOST_ALARMS times as many
 *	  rows or events as the old one;
 *	- it finds clearly fewer of the anomalies that are put into the newest rows;
 *	- it flags almost nothing, although the rows contain injected anomalies.
 *
 * The injected anomalies are windows of WINDOW rows, one in SPACING: a feature has another
 * level, one row is a spike, all features stand still, or two features are swapped.  They differ
 * from the rows around them by standard deviations of the rows, so they are the same for both
 * versions.  A window is found if one of its rows is flagged.  A version that flags
 * many rows finds windows by chance, therefore the share of the same windows that it flags without
 * an injection is subtracted.  If there are few windows, the rows are read again with windows in
 * other places, up to ROUNDS times.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "core/rng.h"
#include "learn/if_better.h"
#include "model/codec.h"
#include "model/verdicts.h"
#include "pg/budget.h"
#include "pg/json.h"
#include "pg/timestamps.h"
#include "score/comparison.h"
#include "score/detect_arguments.h"
#include "score/explanation.h"

#define TAIL_SHARE 0.1
#define TAIL_ROWS 20000			/* of all series, if there are not enough in that share … */
#define TAIL_LEAST_STEPS 256	/* … as rows of one series, within these bounds */
#define TAIL_STEPS 2000
#define TAIL_MOST_STEPS 20000
#define MOST_ALARMS 1.5
#define LEAST_FLAGGED 0.2		/* share of contamination */
#define TOLERANCE 0.05			/* share of the windows, if there are many */

#define WINDOW 16				/* rows */
#define ROUNDS 8
#define SPACING (ROUNDS * WINDOW)
#define ENOUGH_WINDOWS 200
#define SEED 20260101
#define LEVEL 3.0				/* standard deviations */
#define SPIKE 6.0

typedef enum Injection
{
	INJECT_LEVEL,
	INJECT_SPIKE,
	INJECT_FLAT,
	INJECT_SWAP,
	INJECTIONS					/* their number */
} Injection;

/* Windows of a version, by round. */
typedef struct Windows
{
	int64		windows[ROUNDS];
	int64		found[ROUNDS];
	int64		scored;			/* rows, in all rounds */
	int64		flagged;
} Windows;

typedef struct Trial
{
	/* settings */
	const DetectSpec *rows;
	DetectSpec	spec[2];		/* of the old and the new version */
	int64		tail;			/* first timestamp of the newest rows */
	int			ncommon;		/* features that both versions have … */
	int		   *common[2];		/* … and their numbers in each of them */

	/* the version whose rows are read */
	int			which;
	Detection  *detection;
	Comparison *comparison;		/* NULL: with injections */
	const List *verdicts;		/* false alarms, and what was expected */
	SeriesWindows *ignored;		/* their rows are not compared; NULL: none */
	int			round;			/* of the injections */
	Windows    *windows;		/* that are counted */

	/* the current series */
	int64		place;			/* number of the next row, from tail on */
	bool		hit;			/* a row of the current window is flagged */

	/* result */
	Windows		usual[2];		/* without injections */
	Windows		injected[2];
} Trial;

/* ---- rows ------------------------------------------------------------------------------ */

static int
round_of_place(int64 place)
{
	return (int) (place % SPACING / WINDOW);
}

static void
visit_trial_row(const DetectedRow *row, void *arg)
{
	Trial	   *t = arg;
	const bool	newest = !row->row.ts_valid || row->row.ts >= t->tail;
	Windows    *w = t->windows;
	double		severity;
	bool		flagged;
	int			round;

	if (row->new_series)
	{
		t->place = 0;
		if (t->ignored)
			series_windows_select(t->ignored, row->series ? json_to_jsonb(row->series) : NULL);
	}
	if (t->comparison)
		comparison_add(t->comparison, row,
					   newest &&
						   !(t->ignored && row->row.ts_valid &&
							 series_windows_cover(t->ignored, row->row.ts)));
	if (!newest || !score_has_place(row->row.status))
		return;
	severity = explanation_severity(detect_scorer(t->detection), &row->row);
	flagged = score_is_anomaly(row->row.status, severity);
	w->scored += !isnan(severity);
	w->flagged += flagged;
	round = round_of_place(t->place);
	t->hit = flagged || (t->place % WINDOW > 0 && t->hit);
	if (++t->place % WINDOW != 0 || (t->comparison == NULL && round != t->round))
		return;
	w->windows[round]++;
	w->found[round] += t->hit;
}

/* ---- injections -------------------------------------------------------------------------- */

/* Means and standard deviations of the rows of a series that count. */
static void
measure_trial_rows(const LearningRows *rows, double *mean, double *std)
{
	int64	   *n = palloc0(sizeof(int64) * rows->features);

	for (int c = 0; c < rows->features; c++)
		mean[c] = std[c] = 0;
	for (int64 i = 0; i < rows->nrows; i++)
	{
		const LearningRow *row = learning_rows_get(rows, i);

		for (int c = 0; row->counts && c < rows->features; c++)
		{
			double		before = mean[c];

			if (isnan(row->values[c]))
				continue;
			mean[c] += (row->values[c] - before) / ++n[c];	/* Welford */
			std[c] += (row->values[c] - before) * (row->values[c] - mean[c]);
		}
	}
	for (int c = 0; c < rows->features; c++)
		std[c] = n[c] > 0 && isfinite(std[c]) ? sqrt(std[c] / n[c]) : 0;
	pfree(n);
}

/* A feature that varies, after a random one; -1: none does. */
static int
choose_feature(const Trial *t, nn_rng *rng, const double *std)
{
	int			first = (int) nn_rng_below(rng, t->ncommon);

	for (int i = 0; i < t->ncommon; i++)
	{
		int			c = t->common[t->which][(first + i) % t->ncommon];

		if (std[c] > 0)
			return c;
	}
	return -1;
}

/*
 * Changes the rows of a series before they are scored: in each SPACING rows, the window of
 * the round.
 */
static const ModelStats *
inject_anomalies(LearningRows *rows, void *arg)
{
	const Trial *t = arg;
	const Size	bytes = sizeof(double) * rows->features;
	const char *key = rows->key ? rows->key : "";
	const uint64 stream = hash_bytes((const unsigned char *) key, strlen(key));
	double	   *mean = palloc(bytes);
	double	   *std = palloc(bytes);
	double	   *first = palloc(bytes);
	Injection	kind = INJECT_LEVEL;
	int			feature = -1;
	int			other = -1;
	double		sign = 1;
	int64		place = 0;

	measure_trial_rows(rows, mean, std);
	for (int64 i = 0; i < rows->nrows; i++)
	{
		LearningRow *row = learning_rows_get(rows, i);
		double	   *x = row->values;

		CHECK_FOR_INTERRUPTS();
		if (!row->counts || round_of_place(place) != t->round)
		{
			place += row->counts;
			continue;
		}
		if (place % WINDOW == 0)
		{
			nn_rng		rng;

			nn_rng_seed(&rng, SEED + place, stream);
			kind = (Injection) ((place / SPACING + t->round) % INJECTIONS);
			feature = choose_feature(t, &rng, std);
			other = choose_feature(t, &rng, std);
			sign = nn_rng_below(&rng, 2) == 0 ? 1 : -1;
			memcpy(first, x, bytes);
		}
		if (feature >= 0)
			switch (kind)
			{
				case INJECT_LEVEL:
					x[feature] += sign * LEVEL * std[feature];
					break;
				case INJECT_SPIKE:
					if (place % WINDOW == WINDOW / 4)
						x[feature] += sign * SPIKE * std[feature];
					break;
				case INJECT_FLAT:
					for (int c = 0; c < t->ncommon; c++)
						x[t->common[t->which][c]] = first[t->common[t->which][c]];
					break;
				case INJECT_SWAP:
				{
					double		z = (x[feature] - mean[feature]) / std[feature];

					x[feature] = mean[feature] +
						std[feature] * (x[other] - mean[other]) / std[other];
					x[other] = mean[other] + std[other] * z;
					break;
				}
				case INJECTIONS:
					break;
			}
		place++;
	}
	pfree(mean);
	pfree(std);
	pfree(first);
	return NULL;
}

static bool
collect_every_series(const char *series, const ModelStats *stats, void *arg)
{
	return true;
}

/* ---- the trial ---------------------------------------------------------------------------- */

/* Lists the features that both models have, in the order of the first. */
static void
find_common_features(Trial *t, const Model *a, const Model *b)
{
	t->common[0] = palloc(sizeof(int) * a->features);
	t->common[1] = palloc(sizeof(int) * a->features);
	for (int i = 0; i < a->features; i++)
		for (int j = 0; j < b->features; j++)
			if (strcmp(a->options.names[i], b->options.names[j]) == 0)
			{
				t->common[0][t->ncommon] = i;
				t->common[1][t->ncommon++] = j;
			}
}

/*
 * Finds where the newest rows begin, in units of the time column.  The rows of a series from
 * there on have to fit in memory.  False if the source has no rows.
 */
static bool
find_tail(Trial *t, const Model *model)
{
	DetectSpec	spec = t->spec[0];
	const Size	bytes = offsetof(LearningRow, values) + sizeof(double) * model->features;
	const double most = Max(Min(TAIL_MOST_STEPS, (double) budget_rest() / 2 / bytes), SPACING);
	Detection  *detection;
	SourceRange range;
	DetectSpan	span;
	double		step = model->stats.step;
	double		length;
	double		least;
	double		tail;
	bool		whole;

	for (int i = 0; i < model->nseries; i++)
		step = Min(step, model->series[i].stats.step);
	spec.has_since = spec.has_until = false;
	spec.last_n = 0;
	detection = detect_open(&spec);
	span = detect_span(detection);
	if (!span.has_begin)
		return false;
	range = range_of_source(t->rows, detect_ts_type(detection));
	if (range.has_since)
		span.begin = Max(span.begin, range.since);
	if (range.has_until)
		span.end = Min(span.end, range.until);
	if (span.begin > span.end)
		return false;
	length = timestamps_distance(span.begin, span.end);
	least = Max(Min(TAIL_ROWS / Max(model->nseries, 1), TAIL_STEPS), TAIL_LEAST_STEPS);
	tail = Min(Max(length * TAIL_SHARE, Min(length, step * least)), step * most);
	/* anything may be stored as the step of a model that was recalibrated */
	if (tail < length && tail <= (double) PG_INT64_MAX / 2)
		t->tail = span.end - (int64) Max(tail, 0);
	else
		t->tail = span.begin;
	/* in the type of the time column; labelled rows count wherever they are */
	whole = detect_has_labels(detection) && range.last_n == 0;
	for (int i = 0; i < 2; i++)
	{
		DetectSpec *s = &t->spec[i];

		s->bound_type = detect_ts_type(detection);
		s->has_until = range.has_until;
		s->until = Int64GetDatum(range.until);
		s->has_since = !whole || range.has_since;
		s->since = Int64GetDatum(whole ? range.since : t->tail);
		s->last_n = 0;
	}
	return true;
}

/* Reads the rows with one of the versions, in memory that is freed afterwards. */
static void
run_trial(Trial *t, int which, const DetectSpec *spec)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "amad trial",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	const Source *source;

	t->which = which;
	t->detection = detect_open(spec);
	source = detect_source(t->detection);
	t->ignored = series_windows_of_verdicts(t->verdicts, VERDICT_FALSE_ALARM | VERDICT_EXPECTED,
											source->spec.nseries, source->spec.series_cols,
											source->ts_type == INT8OID, NULL);
	if (t->comparison)
		comparison_begin(t->comparison, which, t->detection);
	detect_run(t->detection, visit_trial_row, t);
	if (t->comparison)
		comparison_end(t->comparison);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Both versions with injections, in as many rounds as are needed for ENOUGH_WINDOWS. */
static void
run_injections(Trial *t)
{
	int64		windows = 0;

	for (t->round = 0; t->round < ROUNDS && windows < ENOUGH_WINDOWS; t->round++)
	{
		for (int i = 0; i < 2; i++)
		{
			DetectSpec	spec = t->spec[i];

			spec.labels = false;
			spec.has_since = true;
			spec.since = Int64GetDatum(t->tail);
			spec.collect = collect_every_series;
			spec.adopt = inject_anomalies;
			spec.adopt_arg = t;
			t->windows = &t->injected[i];
			run_trial(t, i, &spec);
		}
		windows += t->usual[0].windows[t->round];
	}
}

/* ---- the verdict ---------------------------------------------------------------------------- */

/* Sums of the rounds that took place. */
static int64
sum_rounds(const int64 *of_rounds, int rounds)
{
	int64		sum = 0;

	for (int i = 0; i < rounds; i++)
		sum += of_rounds[i];
	return sum;
}

static void
write_figures(StringInfo out, const char *key, const ComparedVersion *v, const Compared *both,
			  double found, double by_chance)
{
	json_key(out, key);
	appendStringInfoChar(out, '{');
	json_put_int(out, "rows", v->scored);
	json_put_int(out, "flagged", v->flagged);
	json_put_int(out, "events", v->events);
	if (both->incidents > 0)
		json_put_int(out, "incidents", v->incidents);
	json_put_double(out, "injected_found", found);
	json_put_double(out, "found_by_chance", by_chance);
	appendStringInfoChar(out, '}');
}

static void
add_reason(StringInfo reasons, const char *reason)
{
	appendStringInfo(reasons, "%s%s", reasons->len > 0 ? "; " : "", reason);
}

static Verdict
decide(const Trial *t, const Compared *c, int version, double contamination)
{
	const ComparedVersion *old = &c->version[0];
	const ComparedVersion *new = &c->version[1];
	const int64 windows = sum_rounds(t->injected[0].windows, t->round);
	const Windows *replay = &t->injected[1];
	double		found[2];
	double		by_chance[2];
	double		gain[2];
	Verdict		verdict;
	StringInfoData reasons;
	StringInfoData json;

	for (int i = 0; i < 2; i++)
	{
		found[i] = (double) sum_rounds(t->injected[i].found, t->round) / windows;
		by_chance[i] = (double) sum_rounds(t->usual[i].found, t->round) / windows;
		gain[i] = found[i] - by_chance[i];
	}
	initStringInfo(&reasons);
	if (new->scored == 0)
		add_reason(&reasons, "none of the newest rows has a score");
	if (c->incidents_both < old->incidents)
		add_reason(&reasons,
				   psprintf("it misses " INT64_FORMAT " of the " INT64_FORMAT
							" labelled incidents that version %d finds",
							old->incidents - c->incidents_both, old->incidents, version));
	if (new->flagged > contamination *new->scored &&
		(new->events > MOST_ALARMS * old->events || new->flagged > MOST_ALARMS * old->flagged))
		add_reason(&reasons,
				   psprintf("it flags " INT64_FORMAT " rows in " INT64_FORMAT
							" events instead of " INT64_FORMAT " in " INT64_FORMAT,
							new->flagged, new->events, old->flagged, old->events));
	if (windows > 0 && gain[1] < gain[0] - Max(TOLERANCE, 1 / sqrt(windows)))
		add_reason(&reasons,
				   psprintf("it finds %.0f instead of %.0f %% of injected anomalies",
							100 * Max(gain[1], 0), 100 * Max(gain[0], 0)));
	if (replay->flagged < LEAST_FLAGGED * contamination * replay->scored)
		add_reason(&reasons,
				   psprintf("it flags only " INT64_FORMAT " of " INT64_FORMAT
							" rows, those with injected anomalies included",
							replay->flagged, replay->scored));
	verdict.better = reasons.len == 0;
	verdict.reason = reasons.data;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	json_put_string(&json, "decision", verdict.better ? "deploy" : "reject");
	json_put_string(&json, "reason", verdict.better ? NULL : verdict.reason);
	json_put_int(&json, "from_version", version);
	json_put_int(&json, "windows", windows);
	if (c->incidents > 0)
		json_put_int(&json, "incidents", c->incidents);
	write_figures(&json, "old", old, c, found[0], by_chance[0]);
	write_figures(&json, "new", new, c, found[1], by_chance[1]);
	appendStringInfoChar(&json, '}');
	verdict.json = json.data;
	return verdict;
}

void
if_better_check(const DetectSpec *rows, int version)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "amad comparison",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	DetectSpec	spec = *rows;

	spec.version = version;
	(void) detect_open(&spec);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

Verdict
if_better_judge(const DetectSpec *rows, int version, const Model *model)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "amad comparison",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Trial	   *t = palloc0(sizeof(Trial));
	Compared	compared = {.incidents = 0};
	Detection  *detection;
	Verdict		verdict;

	t->rows = rows;
	for (int i = 0; i < 2; i++)
	{
		t->spec[i] = *rows;
		t->spec[i].version = version;
		t->spec[i].labels = true;
		t->spec[i].collect = NULL;
		t->spec[i].adopt = NULL;
	}
	t->spec[1].value = model_encode(model);
	detection = detect_open(&t->spec[0]);
	find_common_features(t, detect_model(detection)->model, model);
	t->verdicts = verdicts_of_model(rows->function, detect_owner(detection), rows->model_name,
									VERDICT_FALSE_ALARM | VERDICT_EXPECTED);
	if (find_tail(t, model))
	{
		t->comparison = comparison_open();
		for (int i = 0; i < 2; i++)
		{
			t->windows = &t->usual[i];
			run_trial(t, i, &t->spec[i]);
		}
		compared = comparison_result(t->comparison);
		t->comparison = NULL;
		if (t->ncommon > 0)
			run_injections(t);
	}
	MemoryContextSwitchTo(old);
	verdict = decide(t, &compared, version, model->options.contamination);
	MemoryContextDelete(context);
	return verdict;
}
