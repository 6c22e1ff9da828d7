/*
 * score/explanation.c
 *	  The result of a scored row: the columns of amad_result.
 *
 * The jsonb objects have one member per feature.  Their keys are the same in all rows, so
 * they are sorted into jsonb's order once per model, and only values are set for each row.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "core/evidence/severity.h"
#include "rows/series.h"
#include "score/explanation.h"

#define DIGITS 7				/* significant digits of an expected value, which is a float */
#define SHARE_DIGITS 6			/* decimal places of a contribution */
#define MOST_DIGITS 15			/* decimal places of any number */

struct ExplanationWriter
{
	const Model *model;
	int			version;
	Datum	   *name;			/* (features) text */
	int		   *feature;		/* (features) number of each member's feature */
	JsonbPair  *pair;			/* (features) members, in jsonb's order; keys are set */
	double	   *share;			/* (features) */
	Numeric		sign[3];		/* -1, 0, 1 */
};

typedef struct Member
{
	const char *name;
	int			feature;
} Member;

/* Compares keys as jsonb does: by length, then by bytes. */
static int
compare_members(const void *a, const void *b)
{
	const char *x = ((const Member *) a)->name;
	const char *y = ((const Member *) b)->name;
	size_t		nx = strlen(x);
	size_t		ny = strlen(y);

	return nx != ny ? (nx > ny) - (nx < ny) : memcmp(x, y, nx);
}

ExplanationWriter *
explanation_open(const LoadedModel *loaded)
{
	const Model *m = loaded->model;
	ExplanationWriter *w = palloc0(sizeof(ExplanationWriter));
	Member	   *members = palloc(sizeof(Member) * m->features);

	w->model = m;
	w->version = loaded->version;
	w->name = palloc(sizeof(Datum) * m->features);
	w->feature = palloc(sizeof(int) * m->features);
	w->pair = palloc0(sizeof(JsonbPair) * m->features);
	w->share = palloc(sizeof(double) * m->features);
	for (int i = 0; i < 3; i++)
		w->sign[i] = int64_to_numeric(i - 1);
	for (int c = 0; c < m->features; c++)
	{
		members[c].name = options_feature_name(&m->options, c);
		members[c].feature = c;
		w->name[c] = CStringGetTextDatum(members[c].name);
	}
	qsort(members, m->features, sizeof(Member), compare_members);
	for (int i = 0; i < m->features; i++)
	{
		w->feature[i] = members[i].feature;
		w->pair[i].key.type = jbvString;
		w->pair[i].key.val.string.val = pstrdup(members[i].name);
		w->pair[i].key.val.string.len = strlen(members[i].name);
	}
	pfree(members);
	return w;
}

/* ---- numbers ------------------------------------------------------------------------- */

/* Sets a number with `digits` decimal places. */
static void
set_decimal(JsonbValue *value, double x, int digits)
{
	static const double power[MOST_DIGITS + 1] = {1e0, 1e1, 1e2,  1e3,	1e4,  1e5,	1e6,  1e7,
												  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

	value->type = jbvNumeric;
	value->val.numeric = int64_div_fast_to_numeric((int64) rint(x * power[digits]), digits);
}

/* Sets a number with DIGITS significant digits; null if it is not finite. */
static void
set_number(JsonbValue *value, double x)
{
	int			before;

	if (!isfinite(x))
	{
		value->type = jbvNull;
		return;
	}
	before = x == 0 ? 1 : (int) floor(log10(fabs(x))) + 1;
	if (before > MOST_DIGITS || DIGITS - before > MOST_DIGITS)
	{
		value->type = jbvNumeric;
		value->val.numeric = DatumGetNumeric(
			DirectFunctionCall1(float8_numeric, Float8GetDatum(x)));
	}
	else
		set_decimal(value, x, Max(DIGITS - before, 0));
}

/* ---- columns ----------------------------------------------------------------------------- */

double
explanation_severity(const Scorer *scorer, const ScoredRow *row)
{
	return nn_severity(row->score, scorer_stats(scorer)->threshold);
}

bool
explanation_shares(const Scorer *scorer, const Model *m, const ScoredRow *row, double *shares)
{
	double		sum = 0.0;
	nn_row		values;

	if (row->expected == NULL)
		return false;
	values = (nn_row){
		.scaled = row->scaled,
		.expected = row->expected,
		.signals = row->signals,
		.activity = row->activity,
		.imputed = row->missing,
		.incomplete = row->incomplete,
		.time = model_calendar_time(m, row->ts),
	};
	nn_raw_score(scorer_calibration(scorer), &values, shares);
	for (int c = 0; c < m->features; c++)
		sum += shares[c];
	if (!(sum > 0) || !isfinite(sum))
		return false;
	for (int c = 0; c < m->features; c++)
		shares[c] /= sum;
	return true;
}

int
explanation_direction(const ModelStats *stats, const ScoredRow *row, int c)
{
	float		expected;

	if (row->expected == NULL || NN_IMPUTED(row->missing, c))
		return 0;
	/* a constant feature is expected at its mean; the output of the network does not count */
	expected = stats->std[c] > 0 ? row->expected[c] : 0.0f;
	return (row->scaled[c] > expected) - (row->scaled[c] < expected);
}

/* Makes an object of the members. */
static Datum
build_object(ExplanationWriter *w)
{
	JsonbValue	value;

	value.type = jbvObject;
	value.val.object.nPairs = w->model->features;
	value.val.object.pairs = w->pair;
	return JsonbPGetDatum(JsonbValueToJsonb(&value));
}

/* A scaled value in the units of the feature. */
static double
value_of_scaled(const Model *m, const ModelStats *stats, const ScoredRow *row, int c, double scaled)
{
	double		value = stats->mean[c] + scaled * stats->std[c];

	return row->inverse ? transform_invert(m->transforms.kind[c], &row->inverse[c], value) : value;
}

static Datum
build_expected(ExplanationWriter *w, const ModelStats *stats, const ScoredRow *row)
{
	for (int i = 0; i < w->model->features; i++)
	{
		int			c = w->feature[i];

		set_number(&w->pair[i].value, value_of_scaled(w->model, stats, row, c, row->expected[c]));
	}
	return build_object(w);
}

static Datum
build_contributions(ExplanationWriter *w)
{
	for (int i = 0; i < w->model->features; i++)
		set_decimal(&w->pair[i].value, w->share[w->feature[i]], SHARE_DIGITS);
	return build_object(w);
}

static Datum
build_directions(ExplanationWriter *w, const ModelStats *stats, const ScoredRow *row)
{
	for (int i = 0; i < w->model->features; i++)
	{
		w->pair[i].value.type = jbvNumeric;
		w->pair[i].value.val.numeric =
			w->sign[explanation_direction(stats, row, w->feature[i]) + 1];
	}
	return build_object(w);
}

/* The names of the features that were missing; 0 if there are none. */
static Datum
build_imputed(const ExplanationWriter *w, const ScoredRow *row)
{
	Datum	   *names = palloc(sizeof(Datum) * w->model->features);
	int			n = 0;

	for (int c = 0; c < w->model->features; c++)
		if (NN_IMPUTED(row->missing, c))
			names[n++] = w->name[c];
	return n == 0 ? (Datum) 0
				  : PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
}

void
explanation_columns(ExplanationWriter *w, const Scorer *scorer, const ScoredRow *row, bool details,
					Datum	   *values, bool *nulls)
{
	const ModelStats *stats = scorer_stats(scorer);
	const char *status = scorer_status_text(row->status);
	double		severity = explanation_severity(scorer, row);
	bool		scored = !isnan(row->score);

	memset(nulls, true, sizeof(bool) * EXPLANATION_COLUMNS);
	nulls[EXPLANATION_SCORE] = nulls[EXPLANATION_SEVERITY] = !scored;
	nulls[EXPLANATION_ANOMALY] = !scored || !score_is_judged(row->status);
	values[EXPLANATION_SCORE] = Float8GetDatum(row->score);
	values[EXPLANATION_SEVERITY] = Float8GetDatum(severity);
	values[EXPLANATION_ANOMALY] = BoolGetDatum(severity > 1.0);
	nulls[EXPLANATION_THRESHOLD] = false;
	values[EXPLANATION_THRESHOLD] = Float8GetDatum(stats->threshold);
	nulls[EXPLANATION_STATUS] = status == NULL;
	if (status)
		values[EXPLANATION_STATUS] = CStringGetTextDatum(status);
	nulls[EXPLANATION_VERSION] = w->version == 0;
	values[EXPLANATION_VERSION] = Int32GetDatum(w->version);
	if (!details)
		return;
	values[EXPLANATION_IMPUTED] = build_imputed(w, row);
	nulls[EXPLANATION_IMPUTED] = values[EXPLANATION_IMPUTED] == (Datum) 0;
	if (row->expected == NULL)
		return;
	nulls[EXPLANATION_EXPECTED] = nulls[EXPLANATION_DIRECTION] = false;
	values[EXPLANATION_EXPECTED] = build_expected(w, stats, row);
	values[EXPLANATION_DIRECTION] = build_directions(w, stats, row);
	nulls[EXPLANATION_CONTRIBUTIONS] = !explanation_shares(scorer, w->model, row, w->share);
	if (!nulls[EXPLANATION_CONTRIBUTIONS])
		values[EXPLANATION_CONTRIBUTIONS] = build_contributions(w);
}
