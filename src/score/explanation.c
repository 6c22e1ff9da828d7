/*
 * score/explanation.c
 *	  The result of a scored row: the columns of amad_result.
 *
 * The jsonb objects have one member per feature.  Their keys are the same in all rows, so
 * an object whose members are null is made once per model, and its copies get the values of
 * a row: numbers, which jsonb stores behind the keys, in the order of the keys.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "core/evidence/band.h"
#include "core/evidence/severity.h"
#include "rows/series.h"
#include "score/explanation.h"

#define DIGITS 7				/* significant digits of an expected value, which is a float */
#define SHARE_DIGITS 6			/* decimal places of a contribution */
#define MOST_DIGITS 15			/* decimal places of any number */

static const double power[MOST_DIGITS + 1] = {1e0, 1e1, 1e2,  1e3,	1e4,  1e5,	1e6,  1e7,
											  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

struct ExplanationWriter
{
	const Model *model;
	int			version;
	Datum	   *name;			/* (features) text */
	int		   *feature;		/* (features) number of each member's feature */
	Jsonb	   *nulls;			/* object whose members are null */
	Numeric    *number;			/* (features) values of its members; NULL: null */
	double	   *share;			/* (features) */
	nn_bands	bands;			/* of the series with these figures: */
	const ModelStats *bands_stats;
	double	   *lower;			/* (features) scaled */
	double	   *upper;			/* (features) scaled */
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
	JsonbPair  *pairs = palloc0(sizeof(JsonbPair) * m->features);
	JsonbValue	object = {.type = jbvObject};

	w->model = m;
	w->version = loaded->version;
	w->name = palloc(sizeof(Datum) * m->features);
	w->feature = palloc(sizeof(int) * m->features);
	w->number = palloc(sizeof(Numeric) * m->features);
	w->share = palloc(sizeof(double) * m->features);
	w->bands.relation = palloc(sizeof(double) * m->features);
	w->lower = palloc(sizeof(double) * m->features);
	w->upper = palloc(sizeof(double) * m->features);
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
		pairs[i].key.type = jbvString;
		pairs[i].key.val.string.val = unconstify(char *, members[i].name);
		pairs[i].key.val.string.len = strlen(members[i].name);
		pairs[i].value.type = jbvNull;
	}
	object.val.object.nPairs = m->features;
	object.val.object.pairs = pairs;
	w->nulls = JsonbValueToJsonb(&object);
	pfree(pairs);
	pfree(members);
	return w;
}

/* ---- numbers ------------------------------------------------------------------------- */

/* A number with `digits` decimal places. */
static Numeric
decimal_number(double x, int digits)
{
	return int64_div_fast_to_numeric((int64) rint(x * power[digits]), digits);
}

/* A number with DIGITS significant digits; NULL if it is not finite. */
static Numeric
significant_number(double x)
{
	const double size = fabs(x);
	int			digits = DIGITS;	/* decimal places */

	if (!isfinite(x))
		return NULL;
	if (size == 0)
		return decimal_number(0.0, DIGITS - 1);
	if (size < 1e-9 || size >= power[MOST_DIGITS])
		return DatumGetNumeric(DirectFunctionCall1(float8_numeric, Float8GetDatum(x)));
	while (size >= power[DIGITS - digits])
		digits--;
	while (size < 1.0 && digits < MOST_DIGITS && size * power[digits - DIGITS + 1] < 1.0)
		digits++;
	return decimal_number(x, Max(digits, 0));
}

/* The object whose members are the numbers. */
static Datum
build_object(const ExplanationWriter *w)
{
	const int	n = w->model->features;
	const Size	head = VARSIZE(w->nulls);
	Size		size = head;
	Jsonb	   *object;
	JEntry	   *entry;
	char	   *data;
	char	   *at;

	for (int i = 0; i < n; i++)
		size = INTALIGN(size) + (w->number[i] ? VARSIZE(w->number[i]) : 0);
	object = palloc0(size);
	memcpy(object, w->nulls, head);
	entry = object->root.children;
	data = (char *) (entry + 2 * n);
	entry += n;
	at = (char *) object + head;
	for (int i = 0; i < n; i++)
	{
		const char *start = at;
		uint32		type = JENTRY_ISNULL;

		/* numbers are aligned, and their length includes the padding before them */
		if (w->number[i])
		{
			type = JENTRY_ISNUMERIC;
			at = (char *) object + INTALIGN(at - (char *) object);
			memcpy(at, w->number[i], VARSIZE(w->number[i]));
			at += VARSIZE(w->number[i]);
		}
		entry[i] = (i + n) % JB_OFFSET_STRIDE == 0 ? type | JENTRY_HAS_OFF | (uint32) (at - data)
												   : type | (uint32) (at - start);
	}
	SET_VARSIZE(object, at - (char *) object);
	return JsonbPGetDatum(object);
}

/* ---- columns ----------------------------------------------------------------------------- */

double
explanation_severity(const Scorer *scorer, const ScoredRow *row)
{
	return nn_severity(row->score, scorer_stats(scorer)->threshold);
}

static nn_row
judged_row(const Model *m, const ScoredRow *row)
{
	return (nn_row){
		.scaled = row->scaled,
		.expected = row->expected,
		.signals = row->signals,
		.activity = row->activity,
		.imputed = row->missing,
		.incomplete = row->incomplete,
		.time = model_calendar_time(m, row->ts),
	};
}

bool
explanation_shares(const Scorer *scorer, const Model *m, const ScoredRow *row, double *shares)
{
	const nn_row values = judged_row(m, row);
	double		sum = 0.0;

	if (row->expected == NULL)
		return false;
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

/* A scaled value in the feature's own unit. */
static double
unscale_value(const Model *m, const ModelStats *stats, const ScoredRow *row, int c, double z)
{
	const nn_scaling scaling = model_scaling(m, stats);
	double		value = nn_unscale(&scaling, c, z);

	return row->inverse ? transform_invert(m->transforms.kind[c], &row->inverse[c], value) : value;
}

static Datum
build_expected(ExplanationWriter *w, const ModelStats *stats, const ScoredRow *row)
{
	for (int i = 0; i < w->model->features; i++)
	{
		int			c = w->feature[i];

		w->number[i] = significant_number(unscale_value(w->model, stats, row, c, row->expected[c]));
	}
	return build_object(w);
}

static Datum
build_edges(ExplanationWriter *w, const ModelStats *stats, const ScoredRow *row, const double *edge)
{
	for (int i = 0; i < w->model->features; i++)
	{
		int			c = w->feature[i];

		/* no value of a row is beyond the bound */
		w->number[i] = fabs(edge[c]) <= w->model->plan.bound
			? significant_number(unscale_value(w->model, stats, row, c, edge[c]))
			: NULL;
	}
	return build_object(w);
}

static Datum
build_contributions(ExplanationWriter *w)
{
	for (int i = 0; i < w->model->features; i++)
		w->number[i] = decimal_number(w->share[w->feature[i]], SHARE_DIGITS);
	return build_object(w);
}

static Datum
build_directions(ExplanationWriter *w, const ModelStats *stats, const ScoredRow *row)
{
	for (int i = 0; i < w->model->features; i++)
		w->number[i] = w->sign[explanation_direction(stats, row, w->feature[i]) + 1];
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
	const nn_row judged = judged_row(w->model, row);
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
	nulls[EXPLANATION_LOWER] = nulls[EXPLANATION_UPPER] = false;
	if (w->bands_stats != stats)
		nn_bands_begin(&w->bands, scorer_calibration(scorer));
	w->bands_stats = stats;
	nn_row_bands(&w->bands, scorer_calibration(scorer), &judged, w->lower, w->upper);
	values[EXPLANATION_EXPECTED] = build_expected(w, stats, row);
	values[EXPLANATION_LOWER] = build_edges(w, stats, row, w->lower);
	values[EXPLANATION_UPPER] = build_edges(w, stats, row, w->upper);
	values[EXPLANATION_DIRECTION] = build_directions(w, stats, row);
	nulls[EXPLANATION_CONTRIBUTIONS] = !explanation_shares(scorer, w->model, row, w->share);
	if (!nulls[EXPLANATION_CONTRIBUTIONS])
		values[EXPLANATION_CONTRIBUTIONS] = build_contributions(w);
}
