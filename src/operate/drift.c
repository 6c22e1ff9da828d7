/*
 * operate/drift.c
 *	  The function amad_drift: whether recent rows still fit the model, and which
 *	  features do not.
 *
 *		amad_drift(model_name, since, until, last_n, series, source, timestamp_col,
 *				   label_col) → rows: one for each series, then one for each feature
 *
 * Figures of features are computed from the ROW_KEPT rows, so that anomalies do not count as
 * drift; `flagged` and `severity` from all rows.  A series has drifted if the level of a feature
 * has moved (levels.h), or if its severities are too high for too long for an incident
 * (threshold.h).  The share of flagged rows alone is not a criterion.
 *
 * A series that the model does not contain has not drifted from anything: it is learning.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"

#include "core/evidence/quantile.h"
#include "operate/recent.h"
#include "pg/json.h"
#include "pg/progress.h"
#include "pg/rowset.h"
#include "score/shard_call.h"

#define MOST_RESIDUAL 4.0		/* mean squared residual, in units of rho */
#define MOST_CLIPPED 0.5		/* share of the values that the network sees only as clipped */

/* Columns, in their order. */
enum
{
	DRIFT_SERIES,
	DRIFT_FEATURE,
	DRIFT_ROWS,
	DRIFT_FLAGGED,
	DRIFT_SEVERITY,
	DRIFT_SHIFT,
	DRIFT_SCALE,
	DRIFT_CLIPPED,
	DRIFT_RESIDUAL,
	DRIFT_DRIFTED,
	DRIFT_ACTION,
	DRIFT_COLUMNS
};

SQL_FUNCTION(amad_drift);

typedef struct FeatureDrift
{
	int64		rows;			/* kept rows with a value */
	double		shift;			/* mean of the scaled values */
	double		scale;			/* standard deviation of the scaled values */
	double		clipped;		/* share of clipped values */
	double		residual;		/* mean squared residual / rho */
	bool		moved;			/* its level has; recalibration gives it a new mean */
} FeatureDrift;

typedef struct Output
{
	const Recent *recent;
	const Model *model;
	bool		learning;		/* the model does not contain the current series */
	Rowset		rowset;
} Output;

/* ---- one feature ---------------------------------------------------------------------- */

static FeatureDrift
measure_drift(const Output *out, const RecentSeries *s, int feature, double rho)
{
	const Recent *r = out->recent;
	const int	C = out->model->features;
	const float clip = (float) out->model->options.clip;
	FeatureDrift f = {.moved = s->moved && s->moved[feature]};
	double		squares = 0;
	double		residual = 0;
	int64		clipped = 0;

	for (int64 row = s->first; row < s->first + s->rows; row++)
	{
		double		z = nn_clipped(clip, r->dataset->rows[row * C + feature]);
		double		e = r->expected[row * C + feature] - z;
		double		before = f.shift;

		if (r->use[row] != ROW_KEPT || NN_IMPUTED(dataset_imputed(r->dataset, row), feature))
			continue;
		f.rows++;
		f.shift += (z - before) / f.rows;	/* Welford */
		squares += (z - before) * (z - f.shift);
		clipped += fabs(z) >= clip;
		residual += e * e;
	}
	if (f.rows > 0)
	{
		f.scale = sqrt(squares / f.rows);
		f.clipped = (double) clipped / f.rows;
		f.residual = residual / f.rows / rho;
	}
	return f;
}

/* Whether most values are clipped, although the level has not moved. */
static bool
is_blind_to(const FeatureDrift *f)
{
	return f->clipped >= MOST_CLIPPED && !f->moved;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static void
put_row(Output *out, int series, Datum *values, bool *nulls)
{
	const char *key = out->recent->dataset->series[series].key;

	nulls[DRIFT_SERIES] = key == NULL;
	if (key)
		values[DRIFT_SERIES] = JsonbPGetDatum(json_to_jsonb(key));
	rowset_add(&out->rowset, values, nulls);
}

static void
put_verdict(const Output *out, Datum *values, bool *nulls, bool is_drifted, bool is_blind)
{
	const char *action = out->learning ? "learning" : is_blind ? "retrain" : "recalibrate";

	nulls[DRIFT_DRIFTED] = out->learning;
	values[DRIFT_DRIFTED] = BoolGetDatum(is_drifted);
	nulls[DRIFT_ACTION] = !out->learning && !is_drifted;
	if (!nulls[DRIFT_ACTION])
		values[DRIFT_ACTION] = CStringGetTextDatum(action);
}

/* Returns the row of a feature; without values its figures are null. */
static void
put_feature(Output *out, int series, int feature, const FeatureDrift *f, bool constant)
{
	Datum		values[DRIFT_COLUMNS] = {0};
	bool		nulls[DRIFT_COLUMNS] = {false};
	bool		none = f->rows == 0;

	values[DRIFT_FEATURE] = CStringGetTextDatum(
		options_feature_name(&out->model->options, feature));
	values[DRIFT_ROWS] = Int64GetDatum(f->rows);
	nulls[DRIFT_FLAGGED] = nulls[DRIFT_SEVERITY] = true;
	/* a constant has no standard deviation as a unit */
	nulls[DRIFT_SHIFT] = nulls[DRIFT_SCALE] = none || constant;
	values[DRIFT_SHIFT] = Float8GetDatum(f->shift);
	values[DRIFT_SCALE] = Float8GetDatum(f->scale);
	nulls[DRIFT_CLIPPED] = nulls[DRIFT_RESIDUAL] = none;
	values[DRIFT_CLIPPED] = Float8GetDatum(f->clipped);
	values[DRIFT_RESIDUAL] = Float8GetDatum(f->residual);
	put_verdict(out, values, nulls, f->moved || is_blind_to(f) || f->residual >= MOST_RESIDUAL,
				is_blind_to(f));
	put_row(out, series, values, nulls);
}

/* Returns the row of all features: the median of their residuals, the mean of clipped. */
static void
put_overall(Output *out, int series, const FeatureDrift *features)
{
	const RecentSeries *s = &out->recent->series[series];
	Datum		values[DRIFT_COLUMNS] = {0};
	bool		nulls[DRIFT_COLUMNS] = {false};
	double	   *residual = palloc(sizeof(double) * out->model->features);
	double		flagged = s->scored > 0 ? (double) s->flagged / s->scored : 0;
	double		clipped = 0;
	int			n = 0;
	bool		any_moved = false;
	bool		any_blind = false;

	for (int c = 0; c < out->model->features; c++)
	{
		if (features[c].rows == 0)
			continue;
		residual[n++] = features[c].residual;
		clipped += features[c].clipped;
		any_moved = any_moved || features[c].moved;
		any_blind = any_blind || is_blind_to(&features[c]);
	}
	nulls[DRIFT_FEATURE] = true;
	values[DRIFT_ROWS] = Int64GetDatum(s->scored);
	nulls[DRIFT_FLAGGED] = nulls[DRIFT_SEVERITY] = s->scored == 0;
	values[DRIFT_FLAGGED] = Float8GetDatum(flagged);
	values[DRIFT_SEVERITY] = Float8GetDatum(s->fit.median);
	nulls[DRIFT_SHIFT] = nulls[DRIFT_SCALE] = true;
	nulls[DRIFT_CLIPPED] = nulls[DRIFT_RESIDUAL] = n == 0;
	if (n > 0)
	{
		values[DRIFT_CLIPPED] = Float8GetDatum(clipped / n);
		values[DRIFT_RESIDUAL] = Float8GetDatum(nn_quantile(residual, n, 0.5));
	}
	put_verdict(out, values, nulls, any_moved || s->fit.drifted, any_blind);
	put_row(out, series, values, nulls);
	pfree(residual);
}

static void
put_series(Output *out, int series)
{
	const Model *m = out->model;
	const RecentSeries *s = &out->recent->series[series];
	const ModelStats *stats = model_series_stats(m, out->recent->dataset->series[series].key);
	FeatureDrift *features = palloc(sizeof(FeatureDrift) * m->features);

	out->learning = s->learning;
	if (stats == NULL)
		stats = &m->stats;		/* as in scoring */
	for (int c = 0; c < m->features; c++)
	{
		CHECK_FOR_INTERRUPTS();
		features[c] = measure_drift(out, s, c, stats->rho[c]);
	}
	put_overall(out, series, features);
	for (int c = 0; c < m->features; c++)
		put_feature(out, series, c, &features[c], stats->std[c] == 0);
	pfree(features);
}

Datum
amad_drift(PG_FUNCTION_ARGS)
{
	DetectSpec	spec = recent_spec(fcinfo);
	ShardCall  *shard = shard_call_read(fcinfo, RECENT_ARGS);
	const bool	begun = progress_begin(PROGRESS_DRIFT);
	ShardQuery *shards = NULL;
	Recent	   *recent;
	Output		out;

	spec.shard = shard;
	out.rowset = rowset_open(fcinfo);
	if (shard == NULL)
		shards = shard_query_open(fcinfo, RECENT_ARGS, detect_open(&spec), false);
	if (shards)
	{
		shard_query_fill(shards, &out.rowset);
		progress_end(begun);
		return (Datum) 0;
	}
	recent = recent_read(&spec, RECENT_TRIM, RECENT_DRIFT);
	out.recent = recent;
	out.model = detect_model(recent->detection)->model;
	for (int i = 0; i < recent->dataset->nseries; i++)
		put_series(&out, i);
	shard_call_end(shard);
	progress_end(begun);
	return (Datum) 0;
}
