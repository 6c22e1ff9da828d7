/*
 * model/model.c
 *	  A trained model in memory.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"

#include "model/model.h"
#include "pg/json.h"

/* Chosen on real data: with 1, their size counts too much in the order of rows. */
#define BEYOND_CLIP 0.5
#define LEVEL_MARGIN 1.2		/* of the highest level of the training */

Model *
model_create(const Options *options, int features, size_t nparams)
{
	Model	   *m = palloc0(sizeof(Model));

	m->options = *options;
	m->features = features;
	m->plan = plan_make(options, features);
	m->nparams = m->plan.has_network ? m->plan.params_size : nparams;
	/* not zeroed: training or decoding sets all of them */
	m->params = palloc_extended(sizeof(float) * Max(m->nparams, 1), MCXT_ALLOC_HUGE);
	if (m->plan.has_relations)
		m->precision = m->params + m->plan.network_size + m->plan.states_size;
	m->flag = palloc0(sizeof(bool) * features);
	m->weight = palloc(sizeof(double) * features);
	model_weigh_features(m);
	m->transforms = transforms_make(options, features);
	m->training = pstrdup("{}");
	m->core = pstrdup("");
	model_set_season(m, &(nn_season){0});
	return m;
}

int
model_warmup(const Model *m)
{
	return m->plan.warmup + m->transforms.lead;
}

/* All flags together weigh at most flag_weight of all other features together. */
void
model_weigh_features(Model *m)
{
	int			flags = 0;
	double		weight = 1.0;
	double		sum = 0.0;

	for (int c = 0; c < m->features; c++)
		flags += m->flag[c];
	if (flags > 0 && flags < m->features && m->plan.has_network)
		weight = Min(1.0, m->options.flag_weight * (m->features - flags) / flags);
	for (int c = 0; c < m->features; c++)
		sum += m->weight[c] = m->flag[c] ? weight : 1.0;
	for (int c = 0; c < m->features; c++)
		m->weight[c] *= m->features / sum;
}

void
model_set_season(Model *m, const nn_season *season)
{
	m->season = *season;
	m->sizes = plan_figure_sizes(&m->plan, season);
	figures_create(&m->stats, &m->sizes);
}

void
model_scale_season(const Model *m, ModelStats *s)
{
	if (m->season.nperiods == 0)
		return;
	for (int c = 0; c < m->features; c++)
		s->season_scale[c] = m->options.season_weight * s->season_gain[c] / s->season_spread[c];
}

void
model_create_series(Model *m, int nseries)
{
	m->nseries = nseries;
	m->series = palloc_extended(sizeof(ModelSeries) * Max(nseries, 1),
								MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < nseries; i++)
	{
		CHECK_FOR_INTERRUPTS();
		figures_create(&m->series[i].stats, &m->sizes);
	}
}

static int
compare_series(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();		/* qsort() is PostgreSQL's own, so an ERROR can leave it */
	return strcmp(((const ModelSeries *) a)->key, ((const ModelSeries *) b)->key);
}

void
model_sort_series(Model *m)
{
	qsort(m->series, m->nseries, sizeof(ModelSeries), compare_series);
}

void
model_add_series(Model *m, int n, const ModelSeries *added)
{
	ModelSeries *series = palloc_extended(sizeof(ModelSeries) * (m->nseries + (Size) n),
										  MCXT_ALLOC_HUGE);

	memcpy(series, m->series, sizeof(ModelSeries) * m->nseries);
	memcpy(series + m->nseries, added, sizeof(ModelSeries) * n);
	m->series = series;
	m->nseries += n;
	model_sort_series(m);
}

const ModelStats *
model_series_stats(const Model *m, const char *key)
{
	int			low = 0;
	int			high = m->nseries - 1;

	while (key != NULL && low <= high)
	{
		int			middle = low + (high - low) / 2;
		int			order = strcmp(key, m->series[middle].key);

		if (order == 0)
			return &m->series[middle].stats;
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return NULL;
}

const ModelStats *
model_known_stats(const Model *m, const char *key)
{
	return m->nseries > 0 ? model_series_stats(m, key) : &m->stats;
}

nn_scaling
model_scaling(const Model *m, const ModelStats *stats)
{
	nn_scaling	scaling = {
		.features = m->features,
		.mean = stats->mean,
		.std = stats->std,
		.clip = m->options.clip,
		.bound = m->plan.bound,
	};

	return scaling;
}

/*
 * The level from which on rows are not anomalies.  Rows that all have the raw score x have
 * the anomaly score x / the least theta.
 */
static double
level_limit(const Model *m, const ModelStats *stats)
{
	double		theta = DBL_MAX;

	if (!m->plan.has_levels || stats->level == 0)
		return 0.0;
	for (int i = 0; i < m->options.nhorizons; i++)
		theta = Min(theta, stats->theta[i]);
	return Max(LEVEL_MARGIN * stats->level, m->options.level_weight * stats->threshold * theta);
}

nn_calibration
model_calibration(const Model *m, const ModelStats *stats)
{
	/* without a profile, its arrays are NULL */
	const ModelStats *profile = stats->profile == PROFILE_ALL ? &m->stats : stats;
	nn_calibration calibration = {
		.features = m->features,
		.layers = m->plan.blocks,
		.nhorizons = m->options.nhorizons,
		.horizons = m->options.horizons,
		.lookahead = m->options.lookahead,
		.release = m->options.release,
		.fade = m->options.fade,
		.burst = m->options.burst,
		.clip = m->options.clip,
		.beyond = BEYOND_CLIP,
		.gamma = m->options.discrepancy_weight,
		.delta = m->plan.has_states ? m->options.state_weight : 0,
		.weight = m->weight,
		.rho = stats->rho,
		.rho_incomplete = stats->rho_incomplete,
		.mu = stats->mu,
		.season = &m->season,
		.season_weights = stats->season,
		.season_scale = stats->season_scale,
		.recurrence = profile->recurrence,
		.recurrence_slots = profile->recurrence_slots,
		.recurrence_mean = profile->recurrence_mean,
		.recurrence_scale = profile->recurrence_scale,
		.level_limit = level_limit(m, stats),
		.flatline = stats->flatline,
		.activity = stats->activity,
		.precision = m->precision,
		.relation_mean = stats->relation_mean,
		.relation_limit = stats->relation_limit,
		.relation = stats->relation,
		.theta = stats->theta,
		.threshold = stats->threshold,
	};

	return calibration;
}

int64
model_calendar_time(const Model *m, int64 ts)
{
	return m->ts_type == INT8OID ? ts : calendar_time(&m->options.calendar, ts);
}

Size
model_activity_bytes(const Model *m, int features)
{
	return m->plan.has_flatlines ? nn_activity_bytes(features, m->plan.activity_rows) : 0;
}

nn_activity *
model_activity_open(const Model *m, int features, void *memory)
{
	return nn_activity_open(memory, features, m->plan.activity_rows, m->options.clip);
}

void
model_write_names(const Model *m, const bool *set, StringInfo out)
{
	char	  **names = palloc(sizeof(char *) * m->features);
	int			n = 0;

	for (int c = 0; c < m->features; c++)
		if (set == NULL || set[c])
			names[n++] = (char *) options_feature_name(&m->options, c);
	json_strings(out, n, names);
	pfree(names);
}

char *
model_feature_list(const Model *m)
{
	StringInfoData list;

	initStringInfo(&list);
	appendStringInfo(&list, "%d", m->features);
	for (int i = 0; i < m->options.nnames; i++)
		appendStringInfo(&list, "%s%s", i == 0 ? " (" : ", ", m->options.names[i]);
	if (m->options.nnames > 0)
		appendStringInfoChar(&list, ')');
	return list.data;
}
