/*
 * operate/recalibrate_rows.c
 *	  A recalibration by recent rows: of all series that it is asked for, or of those of a shard.
 *
 * It is not known which of the recent rows are anomalous.  So the rows with the greatest
 * severities do not count for the scales and cannot raise the threshold (threshold.c).
 *
 * Series that a fleet's model does not contain are read with a scaling of their own (adopt.c).
 * Those with enough rows become series of the model before it is calibrated, and all of their
 * rows count, as in a training; rows of the others do not.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "learn/calibrate.h"
#include "learn/fit_season.h"
#include "operate/adopt.h"
#include "operate/recalibrate_rows.h"
#include "pg/json.h"

#define SEASON_HELD_OUT 0.1		/* share of the rows of a new series that measure its season */

/* ---- options ------------------------------------------------------------------------------- */

/* Sets options of the model, and the weights of evidence among its figures. */
static void
update_options(Model *m, Jsonb *others)
{
	const Options old = m->options;
	ModelPlan	plan;

	options_update(&m->options, others);
	plan = plan_make(&m->options, m->features);
	if (plan.has_states != m->plan.has_states || plan.evidence != m->plan.evidence)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a recalibration cannot change a weight from or to 0"),
				 errdetail("The model would have other figures."),
				 errhint("Set the option when training.")));
	for (int i = -1; i < m->nseries; i++)
	{
		ModelStats *stats = i < 0 ? &m->stats : &m->series[i].stats;

		CHECK_FOR_INTERRUPTS();
		if (plan.has_flatlines)
			stats->flatline *= m->options.flatline_weight / old.flatline_weight;
		if (plan.has_relations)
			stats->relation *= m->options.relation_weight / old.relation_weight;
	}
}

/* ---- new series ---------------------------------------------------------------------------- */

void
recalibration_check_adopted(const Model *m, const Recalibration *r)
{
	if (r->learning == 0 || r->learning < r->nseries)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("too few rows to adopt a series: " INT64_FORMAT, r->most_learning),
			 m->season.nperiods > 0
				 ? errdetail("At least " INT64_FORMAT
							 " rows with a score are needed, and the rows have to span %d times "
							 "the shortest period of the season.",
							 adopt_least_rows(&m->options), ADOPT_PERIODS)
				 : errdetail("At least " INT64_FORMAT " rows with a score are needed.",
							 adopt_least_rows(&m->options)),
			 errhint("Specify an earlier since or a greater last_n.")));
}

/*
 * Adds the new series that have figures and at least `least` rows with a score to the model.
 * The rows of others count for nothing.
 */
static void
adopt_new_series(Recent *recent, Model *m, Recalibration *r)
{
	const Dataset *d = recent->dataset;
	const int64 least = adopt_least_rows(&m->options);
	Size		bytes = sizeof(ModelSeries) * (2 * (Size) d->nseries + m->nseries);
	ModelSeries *added;

	budget_check(&recent->budget, "series", bytes);
	added = palloc_extended(sizeof(ModelSeries) * Max(d->nseries, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < d->nseries; i++)
	{
		RecentSeries *s = &recent->series[i];

		CHECK_FOR_INTERRUPTS();
		if (!s->learning)
			continue;
		if (s->scored < least)
			s->figures = NULL;
		/* all rows with a score count, as in a training; old severities do not */
		for (int64 row = s->first; row < s->first + s->rows; row++)
		{
			if (s->figures == NULL)
				recent->use[row] = ROW_CONTEXT;
			else if (recent->use[row] != ROW_CONTEXT)
				recent->use[row] = ROW_KEPT;
			recent->severity[row] = NAN;
		}
		if (s->figures)
		{
			added[r->adopted++] = (ModelSeries){d->series[i].key, *s->figures};
			r->series[i].adopted = true;
			continue;
		}
		r->learning++;
		r->series[i].learning = s->scored;
		r->most_learning = Max(r->most_learning, s->scored);
	}
	if (r->adopted > 0)
		model_add_series(m, r->adopted, added);
}

/*
 * Fits the season of each series that has been adopted to its rows, some of which measure how
 * well it fits.
 */
static void
fit_new_seasons(const Recent *recent, const Model *m)
{
	const Dataset *d = recent->dataset;

	for (RunRange runs = {0, 0}; runs.last < d->nruns;)
	{
		int			i = d->runs[runs.last].series;
		DatasetSeries *series = &d->series[i];

		CHECK_FOR_INTERRUPTS();
		runs = dataset_series_runs(d, runs.last);
		if (!recent->series[i].learning || recent->series[i].figures == NULL)
			continue;
		series->held = held_out_plan(series->rows, SEASON_HELD_OUT, 1, 0);
		fit_season_weights(m, d, runs, &m->stats, recent->series[i].figures);
		series->held.blocks = 0;	/* in a recalibration all rows are like held-out ones */
	}
}

/* ---- moved levels ------------------------------------------------------------------------- */

/* A feature that was rescaled, as JSON. */
static char *
describe_rescaled(const Model *m, const char *key, int feature, double shift)
{
	StringInfoData object;

	initStringInfo(&object);
	appendStringInfoChar(&object, '{');
	if (key)
		json_put_json(&object, "series", key);
	json_put_string(&object, "feature", options_feature_name(&m->options, feature));
	/* null for a constant, which has no standard deviation */
	json_put_double(&object, "shift", shift);
	appendStringInfoChar(&object, '}');
	return object.data;
}

/* Takes over the scaling of the series that were rescaled. */
static void
take_over_scaling(const Recent *recent, Model *m, Recalibration *r)
{
	const Dataset *d = recent->dataset;

	for (int i = 0; i < d->nseries; i++)
	{
		const char *key = d->series[i].key;
		const ModelStats *from = recent->series[i].figures;
		ModelStats *to = (ModelStats *) model_known_stats(m, key);

		CHECK_FOR_INTERRUPTS();
		if (from == NULL || recent->series[i].learning)
			continue;
		for (int c = 0; c < m->features; c++)
		{
			if (from->mean[c] == to->mean[c] && from->std[c] == to->std[c])
				continue;
			r->rescaled = lappend(r->rescaled,
								  describe_rescaled(m, key, c,
													(from->mean[c] - to->mean[c]) / to->std[c]));
			to->mean[c] = from->mean[c];
			to->std[c] = from->std[c];
		}
	}
}

/*
 * Decides which series get new scales: those that have drifted together with the values of
 * their features, and new ones; all of them if the options say so.
 */
static bool *
find_refit(const Recent *recent, const Choices *choices)
{
	bool	   *refit = palloc(sizeof(bool) * Max(recent->dataset->nseries, 1));
	bool		all = choices->trim == 0 ||
		(choices->others != NULL && JsonContainerSize(&choices->others->root) > 0);

	for (int i = 0; i < recent->dataset->nseries; i++)
	{
		const RecentSeries *s = &recent->series[i];

		CHECK_FOR_INTERRUPTS();
		refit[i] = !choices->threshold_only &&
			(all || (s->learning ? s->figures != NULL : s->fit.drifted && s->shifted));
	}
	return refit;
}

/* ---- the whole ------------------------------------------------------------------------------ */

Recent *
recalibrate_read(const DetectSpec *spec, const Choices *choices)
{
	return recent_read(spec, choices->trim,
					   choices->threshold_only ? RECENT_CALIBRATE : RECENT_RESCALE);
}

Recalibration
recalibrate_rows(const DetectSpec *spec, const Choices *choices, bool part, Recent *recent,
				 Model *model)
{
	const Dataset *d = recent->dataset;
	Recalibration r = {
		.labelled = recent->labelled,
		.scored_before = recent->scored_before,
		.flagged_before = recent->flagged_before,
		.nseries = d->nseries,
		.series = palloc_extended(sizeof(RecalibratedSeries) * Max(d->nseries, 1), MCXT_ALLOC_HUGE),
	};
	Recorded	recorded = {
		.expected = recent->expected,
		.signals = recent->signals,
		.use = recent->use,
		.severity = recent->severity,
		.trim = choices->trim,
		.some_series = spec->series != NULL,
		.part = part,
		.new_contamination = choices->others != NULL &&
			json_get(&choices->others->root, "contamination") != NULL,
	};

	for (int i = 0; i < d->nseries; i++)
		r.series[i] = (RecalibratedSeries){
			.key = d->series[i].key ? pstrdup(d->series[i].key) : NULL,
			.learning = -1,
		};
	if (choices->others)
		update_options(model, choices->others);
	take_over_scaling(recent, model, &r);
	adopt_new_series(recent, model, &r);
	if (!part)
		recalibration_check_adopted(model, &r);
	recorded.refit = find_refit(recent, choices);
	budget_check(&recent->dataset->budget, "recalibration",
				 recalibrate_bytes(model, d->nrows) + fit_season_bytes(model));
	if (r.adopted > 0 && model->season.nperiods > 0 && !choices->threshold_only)
		fit_new_seasons(recent, model);
	if (d->nruns > 0 || !part)
		recalibrate_model(model, d, &recorded, &r.result);
	return r;
}
