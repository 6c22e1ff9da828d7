/*
 * learn/merge_calibrations.c
 *	  A model with the calibrations of its series, which were computed one by one.
 *
 * Calibrations are sorted by the keys of their series before anything is added up.  So the
 * result does not depend on the order in which they come, nor on the places they come from.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "learn/calibrate.h"
#include "learn/merge_calibrations.h"
#include "rows/dataset.h"

#define FIRST_LIST 64

Calibrations *
calibrations_open(void)
{
	Calibrations *c = palloc0(sizeof(Calibrations));

	c->context = AllocSetContextCreate(CurrentMemoryContext, "amad calibrations",
									   ALLOCSET_DEFAULT_SIZES);
	budget_open(&c->budget, c->context, "Raise maintenance_work_mem.");
	return c;
}

void
calibrations_add(Calibrations *c, const char *key, const bytea *value)
{
	const Size	bytes = VARSIZE_ANY(value);
	KeyedCalibration *added;
	bytea	   *copy;

	/* the length is a power of two, or 0 */
	if (c->n == 0 || (c->n >= FIRST_LIST && (c->n & (c->n - 1)) == 0))
	{
		const int	room = c->n == 0 ? FIRST_LIST : c->n;

		budget_claim(&c->budget, "calibrations", sizeof(KeyedCalibration) * room);
		c->list = budget_enlarge(c->context, c->list, sizeof(KeyedCalibration) * (c->n + room));
	}
	budget_claim(&c->budget, "calibrations", bytes + (key ? strlen(key) + 1 : 0));
	copy = MemoryContextAlloc(c->context, bytes);
	memcpy(copy, value, bytes);
	added = &c->list[c->n++];
	added->key = key ? MemoryContextStrdup(c->context, key) : NULL;
	added->value = copy;
}

static int
compare_keys(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();		/* qsort() is PostgreSQL's own, so an ERROR can leave it */
	return strcmp(((const KeyedCalibration *) a)->key, ((const KeyedCalibration *) b)->key);
}

/* Sorts them.  ERROR unless their keys are those of different series of the model. */
static void
sort_calibrations(const Model *m, Calibrations *c)
{
	if (m->nseries_cols == 0)
	{
		if (c->n > 1)
			ereport(ERROR,
					(errcode(ERRCODE_CARDINALITY_VIOLATION),
					 errmsg("a model without series has one calibration, not %d", c->n)));
		return;
	}
	qsort(c->list, c->n, sizeof(KeyedCalibration), compare_keys);
	for (int i = 1; i < c->n; i++)
		if (strcmp(c->list[i - 1].key, c->list[i].key) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("series %s has more than one calibration", c->list[i].key)));
}

/* What is read of one of them. */
typedef struct MergedSeries
{
	ModelStats	stats;
	bool		own;
} MergedSeries;

/* Reads all of them in their order; adds their summaries, and fills rows for dataset_pool(). */
static SeriesSummary *
read_calibrations(const Model *m, uint32 model_id, const Calibrations *c, MergedSeries *series,
				  DatasetSeries *rows)
{
	SeriesSummary *sum = summary_open(m->features, m->plan.signals);
	MemoryContext memory = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(memory, "amad calibration",
												  ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < c->n; i++)
	{
		SeriesCalibration one;

		MemoryContextReset(scratch);
		MemoryContextSwitchTo(scratch);
		one = calibration_decode(m, model_id, c->list[i].value, memory);
		MemoryContextSwitchTo(memory);
		summary_add(sum, one.summary);
		series[i] = (MergedSeries){.stats = one.stats, .own = one.own};
		rows[i] = (DatasetSeries){
			.mean = one.stats.mean,
			.std = one.stats.std,
			.known = palloc(sizeof(int64) * m->features),
			.step = one.stats.step,
			.max_gap = one.stats.max_gap,
		};
		memcpy(rows[i].known, one.summary->given[SUMMARY_KNOWN], sizeof(int64) * m->features);
	}
	MemoryContextDelete(scratch);
	return sum;
}

/* Gives a series the figures of all. */
static void
take_figures(const Model *m, MergedSeries *series)
{
	if (series->stats.profile == PROFILE_OWN)
		figures_drop_profile(&series->stats);
	figures_copy_calibration(&m->sizes, &m->stats, &series->stats);
}

static void
report_left_out_profiles(const Model *m, int profiles)
{
	ereport(NOTICE,
			(errmsg("what recurs was learned for " INT64_FORMAT
					" of the %d series in which something recurs",
					figures_most_profiles(&m->sizes), profiles),
			 errdetail("The others have the figures of all series."),
			 errhint("Raise maintenance_work_mem to learn it for more series.")));
}

/* Adds the series, or replaces their figures. */
static void
set_series(Model *m, const Calibrations *c, const MergedSeries *merged)
{
	ModelSeries *added = palloc_extended(sizeof(ModelSeries) * Max(c->n, 1), MCXT_ALLOC_HUGE);
	int			n = 0;

	for (int i = 0; i < c->n; i++)
	{
		ModelStats *known = (ModelStats *) model_series_stats(m, c->list[i].key);

		if (known)
			*known = merged[i].stats;
		else
			added[n++] = (ModelSeries){.key = pstrdup(c->list[i].key), .stats = merged[i].stats};
	}
	model_add_series(m, n, added);
	pfree(added);
}

/* A model without series has the figures of its rows. */
static void
set_only_series(Model *m, const MergedSeries *merged)
{
	ModelStats	all = m->stats;

	if (!merged->own)
		return;
	m->stats = merged->stats;
	if (merged->stats.profile != PROFILE_ALL)
		return;
	m->stats.profile = all.profile;
	m->stats.recurrence = all.recurrence;
	m->stats.recurrence_slots = all.recurrence_slots;
	m->stats.recurrence_mean = all.recurrence_mean;
	m->stats.recurrence_scale = all.recurrence_scale;
}

SeriesSummary *
merge_calibrations(Model *m, uint32 model_id, Calibrations *c)
{
	MergedSeries *series = palloc_extended(sizeof(MergedSeries) * Max(c->n, 1), MCXT_ALLOC_HUGE);
	DatasetSeries *rows = palloc_extended(sizeof(DatasetSeries) * Max(c->n, 1), MCXT_ALLOC_HUGE);
	const int64 most = figures_most_profiles(&m->sizes);
	SeriesSummary *sum;
	int			profiles = 0;

	sort_calibrations(m, c);
	sum = read_calibrations(m, model_id, c, series, rows);
	if (c->n == 0)
		return sum;
	dataset_pool(&m->options, m->ts_type, m->features, c->n, rows, &m->stats);
	calibrate_merged(m, sum);
	if (m->nseries_cols == 0)
	{
		set_only_series(m, &series[0]);
		return sum;
	}
	for (int i = 0; i < c->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		series[i].stats.step = rows[i].step;
		series[i].stats.max_gap = rows[i].max_gap;
		if (!series[i].own || (series[i].stats.profile == PROFILE_OWN && ++profiles > most))
			take_figures(m, &series[i]);
	}
	if (profiles > most)
		report_left_out_profiles(m, profiles);
	set_series(m, c, series);
	return sum;
}
