/*
 * model/model.c
 *	  The value of type amad_model: layout, encoding, decoding, input and output.
 *
 * Layout (format 4), the same on disk, on the wire and, in hexadecimal, as text;
 * numbers are little-endian, floats are IEEE 754:
 *
 *		4 bytes		"AMAD"
 *		uint32		format, 4
 *		uint32		CRC-32C of all that follows
 *		uint32		features C, signals N, horizons n, bytes of JSON
 *		uint64		number of weights
 *		uint32		number of series, terms of the season, features with an activity: C or 0
 *		figures		of all rows together
 *		float4		weights, in the order of params.c, and states (states.c) where the
 *					options ask for them; or components (k, C)
 *		figures		of each series
 *		JSON text	{"options": …, "training": …, "core": …, …}, in UTF-8
 *
 * Figures are float8 mean[C], std[C], rho[C], mu[N], theta[n], threshold, step,
 * max_gap, of a season weights[C, terms], gain[C], spread[C] and, where the options ask
 * for it, flatline, activity[C].  Format 3 lacks what concerns activity; format 2 has no
 * season and 0 for its terms; format 1 lacks what concerns series, step and max_gap, too.
 *
 * A reader recomputes every length and checks every number, for a value can
 * come from anywhere.  Input checks the envelope only, so that a damaged row of
 * a dump does not take the others with it; decoding checks all.  A new format
 * gets a new number, and this file keeps reading the old ones.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>
#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "core/evidence/states.h"
#include "core/network/network.h"
#include "model/feature_names.h"
#include "pg/json.h"
#include "model/model.h"

#define FORMAT 4
#define PREFIX_BYTES 12			/* magic, format, checksum */
#define HEADER1_BYTES 36		/* of format 1 */
#define HEADER3_BYTES 44		/* of formats 2 and 3 */
#define HEADER_BYTES 48
#define SEASON_MOST 9e18		/* units in a period at most */

static const char magic[4] = {'A', 'M', 'A', 'D'};

/* ---- models in memory ------------------------------------------------------------ */

static void
create_stats(ModelStats *s, const Options *options, int features)
{
	s->mean = palloc0(sizeof(double) * features);
	s->std = palloc0(sizeof(double) * features);
	s->rho = palloc0(sizeof(double) * features);
	s->mu = palloc0(sizeof(double) * Max(options_signals(options), 1));
	s->theta = palloc0(sizeof(double) * options->nhorizons);
	s->activity = palloc0(sizeof(double) * features);
}

/* Room for the season's figures; none without a season. */
static void
create_season(const Model *m, ModelStats *s)
{
	int			terms = nn_season_terms(&m->season);

	if (terms == 0)
		return;
	s->season = palloc_extended(sizeof(double) * terms * m->features,
								MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	s->season_gain = palloc0(sizeof(double) * m->features);
	s->season_spread = palloc0(sizeof(double) * m->features);
	s->season_scale = palloc0(sizeof(double) * m->features);
}

Model *
model_create(const Options *options, int features, size_t nparams)
{
	Model	   *m = palloc0(sizeof(Model));
	nn_shape	shape = options_shape(options, features);

	m->format = FORMAT;
	m->options = *options;
	m->features = features;
	create_stats(&m->stats, options, features);
	m->nparams = options->method != METHOD_AMAD ? nparams : nn_params_size(&shape) +
		options_states_size(options, features);
	/* whoever learns or reads them sets them all */
	m->params = palloc_extended(sizeof(float) * Max(m->nparams, 1), MCXT_ALLOC_HUGE);
	m->flag = palloc0(sizeof(bool) * features);
	m->weight = palloc(sizeof(double) * features);
	model_weigh_features(m);
	m->training = pstrdup("{}");
	m->core = pstrdup("");
	return m;
}

/* Flags weigh as others do, but all together no more than flag_weight of all others. */
void
model_weigh_features(Model *m)
{
	int			flags = 0;
	double		weight = 1.0;
	double		sum = 0.0;

	for (int c = 0; c < m->features; c++)
		flags += m->flag[c];
	if (flags > 0 && flags < m->features && m->options.method == METHOD_AMAD)
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
	create_season(m, &m->stats);
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
		create_stats(&m->series[i].stats, &m->options, m->features);
		create_season(m, &m->series[i].stats);
	}
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

size_t
model_network_size(const Model *m)
{
	nn_shape	shape = model_shape(m);

	return nn_params_size(&shape);
}

nn_shape
model_shape(const Model *m)
{
	return options_shape(&m->options, m->features);
}

nn_scaling
model_scaling(const Model *m, const ModelStats *stats)
{
	nn_scaling	scaling = {
		.features = m->features,
		.mean = stats->mean,
		.std = stats->std,
		.clip = m->options.clip,
		.bound = options_bound(&m->options),
	};

	return scaling;
}

nn_calibration
model_calibration(const Model *m, const ModelStats *stats)
{
	nn_calibration calibration = {
		.features = m->features,
		.layers = options_blocks(&m->options),
		.nhorizons = m->options.nhorizons,
		.horizons = m->options.horizons,
		.lookahead = m->options.lookahead,
		.release = m->options.release,
		.clip = m->options.clip,
		.gamma = m->options.discrepancy_weight,
		.delta = options_states(&m->options) ? m->options.state_weight : 0,
		.weight = m->weight,
		.rho = stats->rho,
		.mu = stats->mu,
		.season = &m->season,
		.season_weights = stats->season,
		.season_scale = stats->season_scale,
		.flatline = stats->flatline,
		.activity = stats->activity,
		.theta = stats->theta,
		.threshold = stats->threshold,
	};

	return calibration;
}

Size
model_activity_bytes(const Model *m, int features)
{
	return !options_flatline(&m->options) ? 0
		: nn_activity_bytes(features, options_activity_rows(&m->options, m->features));
}

nn_activity *
model_activity_open(const Model *m, int features, void *memory)
{
	return nn_activity_open(memory, features, options_activity_rows(&m->options, m->features),
							m->options.clip);
}

const char *
model_feature_name(const Model *m, int feature)
{
	return m->options.nnames > 0 ? m->options.names[feature] : psprintf("%d", feature + 1);
}

void
model_write_names(const Model *m, const bool *set, StringInfo out)
{
	char	  **names = palloc(sizeof(char *) * m->features);
	int			n = 0;

	for (int c = 0; c < m->features; c++)
		if (set == NULL || set[c])
			names[n++] = (char *) model_feature_name(m, c);
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

/* ---- encoding ----------------------------------------------------------------------- */

static void
put_uint32(StringInfo out, uint32 x)
{
#ifdef WORDS_BIGENDIAN
	x = pg_bswap32(x);
#endif
	appendBinaryStringInfo(out, (char *) &x, sizeof(x));
}

static void
put_uint64(StringInfo out, uint64 x)
{
#ifdef WORDS_BIGENDIAN
	x = pg_bswap64(x);
#endif
	appendBinaryStringInfo(out, (char *) &x, sizeof(x));
}

/* ERROR where one is not finite: the value could not be read again. */
static void
put_doubles(StringInfo out, int n, const double *x)
{
	for (int i = 0; i < n; i++)
	{
		uint64		bits;

		if (!isfinite(x[i]))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("a number of the model is not finite")));
		memcpy(&bits, &x[i], sizeof(bits));
		put_uint64(out, bits);
	}
}

#define PIECE_BYTES (2 * 1024 * 1024)	/* between checks for interrupts */

static void
put_floats(StringInfo out, size_t n, const float *x)
{
#ifdef WORDS_BIGENDIAN
	for (size_t i = 0; i < n; i++)
	{
		uint32		bits;

		memcpy(&bits, &x[i], sizeof(bits));
		put_uint32(out, bits);
	}
#else
	enlargeStringInfo(out, sizeof(float) * n);
	for (size_t at = 0; at < sizeof(float) * n; at += PIECE_BYTES)
	{
		CHECK_FOR_INTERRUPTS();
		appendBinaryStringInfo(out, (const char *) x + at, Min(sizeof(float) * n - at, PIECE_BYTES));
	}
#endif
}

static uint32
checksum(const char *data, size_t bytes)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	for (size_t at = 0; at < bytes; at += PIECE_BYTES)
	{
		CHECK_FOR_INTERRUPTS();
		COMP_CRC32C(crc, data + at, Min(bytes - at, PIECE_BYTES));
	}
	FIN_CRC32C(crc);
	return crc;
}

/* The numbers of the features that are flags, from 0. */
static void
write_flags(const Model *m, StringInfo out)
{
	int		   *flags = palloc(sizeof(int) * m->features);
	int			n = 0;

	for (int c = 0; c < m->features; c++)
		if (m->flag[c])
			flags[n++] = c;
	json_ints(out, n, flags);
	pfree(flags);
}

/* Its periods and harmonics, by turns. */
static void
write_season(const Model *m, StringInfo out)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < m->season.nperiods; i++)
		appendStringInfo(out, "%s" INT64_FORMAT ", %d", i > 0 ? ", " : "", m->season.period[i],
						 m->season.harmonics[i]);
	appendStringInfoChar(out, ']');
}

static char *
metadata(const Model *m)
{
	StringInfoData text;
	StringInfoData options;

	initStringInfo(&text);
	initStringInfo(&options);
	options_write(&m->options, &options);
	appendStringInfoChar(&text, '{');
	json_put_json(&text, "options", options.data);
	json_put_json(&text, "training", m->training);
	json_put_string(&text, "core", m->core);
	json_put_string(&text, "ts_type",
					m->ts_type == TIMESTAMPTZOID ? "timestamptz"
					: m->ts_type == TIMESTAMPOID ? "timestamp"
					: m->ts_type == INT8OID ? "bigint" : "");
	json_key(&text, "season");
	write_season(m, &text);
	json_key(&text, "flags");
	write_flags(m, &text);
	json_put_strings(&text, "types", m->ntypes, m->types);
	json_put_strings(&text, "series_cols", m->nseries_cols, m->series_cols);
	json_key(&text, "series");
	appendStringInfoChar(&text, '[');
	for (int i = 0; i < m->nseries; i++)
	{
		if (i > 0)
			appendStringInfoString(&text, ", ");
		json_string(&text, m->series[i].key);
	}
	appendStringInfoString(&text, "]}");
	return text.data;
}

static void
put_stats(StringInfo out, const Model *m, const ModelStats *s)
{
	put_doubles(out, m->features, s->mean);
	put_doubles(out, m->features, s->std);
	put_doubles(out, m->features, s->rho);
	put_doubles(out, options_signals(&m->options), s->mu);
	put_doubles(out, m->options.nhorizons, s->theta);
	put_doubles(out, 1, &s->threshold);
	put_doubles(out, 1, &s->step);
	put_doubles(out, 1, &s->max_gap);
	if (m->season.nperiods > 0)
	{
		put_doubles(out, m->features * nn_season_terms(&m->season), s->season);
		put_doubles(out, m->features, s->season_gain);
		put_doubles(out, m->features, s->season_spread);
	}
	if (options_flatline(&m->options))
	{
		put_doubles(out, 1, &s->flatline);
		put_doubles(out, m->features, s->activity);
	}
}

/* Bytes of the figures of a series, or of all rows, in the present format. */
static uint64
figures_bytes(uint64 features, uint64 signals, uint64 horizons, uint64 terms, uint64 active)
{
	return sizeof(double) * (3 * features + signals + horizons + 3 +
							 (terms > 0 ? (terms + 2) * features : 0) +
							 (active > 0 ? 1 + active : 0));
}

/* Before memory is taken for it. */
static void
check_size(const Model *m, size_t json_bytes)
{
	uint64		figures = figures_bytes(m->features, options_signals(&m->options),
										m->options.nhorizons, nn_season_terms(&m->season),
										options_flatline(&m->options) ? m->features : 0);
	uint64		bytes = HEADER_BYTES + figures * (1 + (uint64) m->nseries) +
		sizeof(float) * (uint64) m->nparams + json_bytes;

	if (bytes > MODEL_MOST_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a model of " UINT64_FORMAT " bytes is too large to be stored", bytes),
				 errdetail("The limit is %d bytes.", MODEL_MOST_BYTES),
				 m->nseries > 0 ?
				 errhint("Train several models, each of some of the series.") :
				 errhint("Choose a smaller d_model or fewer layers.")));
}

/* ERROR if a value cannot be decoded: it would be lost. */
static void
check_readable(struct varlena *value)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller, "amad model check",
												  ALLOCSET_DEFAULT_SIZES);

	PG_TRY();
	{
		MemoryContextSwitchTo(scratch);
		(void) model_decode(value);
	}
	PG_CATCH();
	{
		ErrorData  *error;
		char	   *reason;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		reason = model_damage(error);
		if (reason == NULL)
			ReThrowError(error);
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("the trained model is not valid"),
				 errdetail("%s", reason)));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
}

struct varlena *
model_encode(const Model *m)
{
	StringInfoData body;
	StringInfoData out;
	char	   *text = metadata(m);
	char	   *json = pg_server_to_any(text, strlen(text), PG_UTF8);

	check_size(m, strlen(json));
	initStringInfo(&body);
	put_uint32(&body, m->features);
	put_uint32(&body, options_signals(&m->options));
	put_uint32(&body, m->options.nhorizons);
	put_uint32(&body, strlen(json));
	put_uint64(&body, m->nparams);
	put_uint32(&body, m->nseries);
	put_uint32(&body, nn_season_terms(&m->season));
	put_uint32(&body, options_flatline(&m->options) ? m->features : 0);
	put_stats(&body, m, &m->stats);
	put_floats(&body, m->nparams, m->params);
	for (int i = 0; i < m->nseries; i++)
		put_stats(&body, m, &m->series[i].stats);
	appendStringInfoString(&body, json);

	initStringInfo(&out);
	enlargeStringInfo(&out, VARHDRSZ + PREFIX_BYTES + body.len);
	appendStringInfoSpaces(&out, VARHDRSZ);
	appendBinaryStringInfo(&out, magic, sizeof(magic));
	put_uint32(&out, FORMAT);
	put_uint32(&out, checksum(body.data, body.len));
	appendBinaryStringInfo(&out, body.data, body.len);
	SET_VARSIZE(out.data, out.len);
	pfree(body.data);
	check_readable((struct varlena *) out.data);
	return (struct varlena *) out.data;
}

/* ---- decoding -------------------------------------------------------------------------- */

static void
invalid(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid value of type amad_model"),
			 errdetail("%s", detail)));
}

char *
model_damage(const ErrorData *error)
{
	if (error->sqlerrcode == ERRCODE_INVALID_BINARY_REPRESENTATION && error->detail != NULL)
		return error->detail;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			return NULL;
		case ERRCODE_INTERNAL_ERROR:
			if (error->sqlerrcode != ERRCODE_DATA_CORRUPTED)
				return NULL;
	}
	/* of its JSON or its options */
	return psprintf("It cannot be read: %s.%s%s", error->message, error->detail ? " " : "",
					error->detail ? error->detail : "");
}

/* Bytes still to be read.  The total was checked against the header before. */
typedef struct Reader
{
	const char *at;
} Reader;

static uint32
get_uint32(Reader *in)
{
	uint32		x;

	memcpy(&x, in->at, sizeof(x));
	in->at += sizeof(x);
#ifdef WORDS_BIGENDIAN
	x = pg_bswap32(x);
#endif
	return x;
}

static uint64
get_uint64(Reader *in)
{
	uint64		x;

	memcpy(&x, in->at, sizeof(x));
	in->at += sizeof(x);
#ifdef WORDS_BIGENDIAN
	x = pg_bswap64(x);
#endif
	return x;
}

/* Finite numbers of at least `least`. */
static void
get_doubles(Reader *in, int n, double least, double *x)
{
	for (int i = 0; i < n; i++)
	{
		uint64		bits = get_uint64(in);

		memcpy(&x[i], &bits, sizeof(bits));
		if (!isfinite(x[i]) || x[i] < least)
			invalid("A number is out of range.");
	}
}

static void
get_floats(Reader *in, size_t n, float *x)
{
	for (size_t i = 0; i < n; i++)
	{
		uint32		bits = get_uint32(in);

		if (i % (PIECE_BYTES / sizeof(float)) == 0)
			CHECK_FOR_INTERRUPTS();
		memcpy(&x[i], &bits, sizeof(bits));
		if (!isfinite(x[i]))
			invalid("A weight is not finite.");
	}
}

static char *
member_text(Jsonb *json, const char *key)
{
	JsonbValue *value = json_get(&json->root, key);

	if (value == NULL || value->type != jbvBinary)
		invalid("Its metadata is incomplete.");
	return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
}

/* The text of a member that is an object. */
static char *
member_object(Jsonb *json, const char *key)
{
	JsonbValue *value = json_get(&json->root, key);

	if (value != NULL && value->type == jbvBinary &&
		!JsonContainerIsObject(value->val.binary.data))
		invalid("Its metadata is incomplete.");
	return member_text(json, key);
}

/* Of errors that the metadata's JSON and options cause by themselves. */
static void
metadata_context(void *arg)
{
	errcontext("metadata of a value of type amad_model");
}

/* A member that is a string, or an empty one. */
static char *
member_string(Jsonb *json, const char *key)
{
	JsonbValue *value = json_get(&json->root, key);

	return value == NULL || value->type != jbvString ? pstrdup("")
		: pnstrdup(value->val.string.val, value->val.string.len);
}

/* The array that a value, which must be there, is. */
static JsonbContainer *
array_of(const JsonbValue *value)
{
	if (value == NULL || value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		invalid("Its metadata is incomplete.");
	return value->val.binary.data;
}

/* A member that is an array of strings, if it is there; their number. */
static int
member_strings(Jsonb *json, const char *key, char ***strings)
{
	JsonbValue *value = json_get(&json->root, key);
	JsonbContainer *array;
	int			n;

	*strings = NULL;
	if (value == NULL)
		return 0;
	array = array_of(value);
	n = JsonContainerSize(array);
	*strings = palloc_extended(sizeof(char *) * Max(n, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (element->type != jbvString)
			invalid("Its metadata is incomplete.");
		(*strings)[i] = pnstrdup(element->val.string.val, element->val.string.len);
	}
	return n;
}

static nn_season
read_season(Jsonb *json)
{
	nn_season	season = {0};
	JsonbValue *value = json_get(&json->root, "season");
	JsonbContainer *array;
	int			n;

	if (value == NULL)
		return season;			/* of an older format */
	array = array_of(value);
	n = JsonContainerSize(array);
	if (n % 2 != 0 || n / 2 > NN_SEASON_PERIODS)
		invalid("Its season is not one.");
	season.nperiods = n / 2;
	for (int i = 0; i < season.nperiods; i++)
	{
		double		period = json_number(getIthJsonbValueFromContainer(array, 2 * i), 0);
		double		harmonics = json_number(getIthJsonbValueFromContainer(array, 2 * i + 1), 0);

		if (!(period >= 2 && period <= SEASON_MOST && period == floor(period) && harmonics >= 1 &&
			  harmonics <= NN_SEASON_HARMONICS && harmonics == floor(harmonics)))
			invalid("Its season is not one.");
		season.period[i] = (int64) period;
		season.harmonics[i] = (int) harmonics;
	}
	return season;
}

static void
read_flags(Model *m, Jsonb *json)
{
	JsonbContainer *array;
	double		last = -1;

	if (m->format < 4)
		return;
	array = array_of(json_get(&json->root, "flags"));
	for (int i = 0; i < JsonContainerSize(array); i++)
	{
		double		c = json_number(getIthJsonbValueFromContainer(array, i), -1);

		if (!(c > last && c < m->features && c == floor(c)))
			invalid("Its flags are not among its features, in order.");
		m->flag[(int) c] = true;
		last = c;
	}
	model_weigh_features(m);
}

static Oid
ts_type_of(const char *name)
{
	return strcmp(name, "timestamptz") == 0 ? TIMESTAMPTZOID
		: strcmp(name, "timestamp") == 0 ? TIMESTAMPOID
		: strcmp(name, "bigint") == 0 ? INT8OID : InvalidOid;
}

static void
read_series_keys(Model *m, Jsonb *json, uint32 nseries)
{
	char	  **keys;

	if (member_strings(json, "series", &keys) != nseries)
		invalid("It has not as many names of series as series.");
	model_create_series(m, nseries);
	for (int i = 0; i < nseries; i++)
		m->series[i].key = keys[i];
}

static int
compare_series(const void *a, const void *b)
{
	return strcmp(((const ModelSeries *) a)->key, ((const ModelSeries *) b)->key);
}

/* The order of the keys is that of the database's encoding, which was perhaps another. */
static void
sort_series(Model *m)
{
	qsort(m->series, m->nseries, sizeof(ModelSeries), compare_series);
	for (int i = 1; i < m->nseries; i++)
		if (strcmp(m->series[i - 1].key, m->series[i].key) == 0)
			invalid("Two of its series have the same key.");
}

/* Sizes as the header tells them. */
typedef struct Header
{
	uint32		format;
	uint32		features;
	uint32		signals;
	uint32		horizons;
	uint32		json_bytes;
	uint64		nparams;
	uint32		nseries;
	uint32		terms;			/* of the season */
	uint32		active;			/* features with an activity */
} Header;

/* The network's weights; or whole components, as many as features at most. */
static bool
params_fit(const Options *options, const Header *h)
{
	nn_shape	shape = options_shape(options, h->features);

	switch ((Method) options->method)
	{
		case METHOD_AMAD:
			return nn_params_size(&shape) + options_states_size(options, h->features) == h->nparams;
		case METHOD_PCA:
			return h->nparams % h->features == 0 && h->nparams / h->features <= h->features;
		case METHOD_ZSCORE:
			break;
	}
	return h->nparams == 0;
}

/* The model of the metadata's options, its arrays of numbers still empty. */
static Model *
create_from_metadata(const char *text, const Header *h)
{
	Jsonb	   *json = json_to_jsonb(text);
	Jsonb	   *stored;
	Options		options;
	nn_season	season;
	Model	   *m;

	if (!JB_ROOT_IS_OBJECT(json))
		invalid("Its metadata is incomplete.");
	stored = json_to_jsonb(member_text(json, "options"));
	options_parse(&options, stored);
	/* models without these options are from before them */
	if (json_get(&stored->root, "ahead") == NULL)
		options.ahead = 0;
	if (json_get(&stored->root, "release") == NULL)
		options.release = 0;
	if (json_get(&stored->root, "state_weight") == NULL)
		options.state_weight = 0;
	if (json_get(&stored->root, "flatline_weight") == NULL)
		options.flatline_weight = 0;
	if (json_get(&stored->root, "flag_weight") == NULL)
		options.flag_weight = OPTIONS_MOST_FLAG_WEIGHT;
	if (options.nnames > 0 && options.nnames != h->features)
		invalid("It has not as many names as features.");
	if (!params_fit(&options, h))
		invalid("It has not as many weights as its options say.");
	if (options_signals(&options) != h->signals || options.nhorizons != h->horizons ||
		h->active != (options_flatline(&options) ? h->features : 0))
		invalid("Its sizes do not agree with its options.");
	season = read_season(json);
	if (nn_season_terms(&season) != h->terms)
		invalid("Its season is not one.");
	m = model_create(&options, h->features, h->nparams);
	model_set_season(m, &season);
	m->format = h->format;
	read_flags(m, json);
	m->training = member_object(json, "training");
	m->core = member_string(json, "core");
	m->ts_type = ts_type_of(member_string(json, "ts_type"));
	if (h->format > 1 && !OidIsValid(m->ts_type))
		invalid("Its type of time is not known to this version of amad.");
	m->ntypes = member_strings(json, "types", &m->types);
	m->nseries_cols = member_strings(json, "series_cols", &m->series_cols);
	if (m->ntypes != 0 && m->ntypes != h->features)
		invalid("It has not as many types as features.");
	read_series_keys(m, json, h->nseries);
	return m;
}

static void
get_season(Reader *in, const Model *m, ModelStats *s)
{
	get_doubles(in, m->features * nn_season_terms(&m->season), -DBL_MAX, s->season);
	get_doubles(in, m->features, 0, s->season_gain);
	get_doubles(in, m->features, DBL_MIN, s->season_spread);
	model_scale_season(m, s);
}

static void
get_stats(Reader *in, const Header *h, const Model *m, ModelStats *s)
{
	get_doubles(in, h->features, -DBL_MAX, s->mean);
	get_doubles(in, h->features, 0, s->std);
	get_doubles(in, h->features, DBL_MIN, s->rho);
	get_doubles(in, h->signals, DBL_MIN, s->mu);
	get_doubles(in, h->horizons, DBL_MIN, s->theta);
	get_doubles(in, 1, DBL_MIN, &s->threshold);
	if (h->format > 1)
	{
		get_doubles(in, 1, 0, &s->step);
		get_doubles(in, 1, 0, &s->max_gap);
	}
	if (h->terms > 0)
		get_season(in, m, s);
	if (h->active > 0)
	{
		get_doubles(in, 1, 0, &s->flatline);
		get_doubles(in, h->active, 0, s->activity);
	}
}

/* Whether bytes can be a model at all: what the type's input asks for. */
static void
check_envelope(const char *data, size_t bytes)
{
	if (bytes < HEADER1_BYTES || memcmp(data, magic, sizeof(magic)) != 0)
		invalid("It does not begin as a model does.");
}

/* The header, and whether the length is what it says. */
static Header
read_header(Reader *in, const char *data, size_t bytes)
{
	Header		h = {0};
	uint64		figures;
	size_t		header_bytes;

	check_envelope(data, bytes);
	h.format = get_uint32(in);
	if (h.format < 1 || h.format > FORMAT)
		invalid("Its format is not known to this version of amad.");
	header_bytes = h.format == 1 ? HEADER1_BYTES : h.format < 4 ? HEADER3_BYTES : HEADER_BYTES;
	if (bytes < header_bytes)
		invalid("Its length is wrong.");
	if (get_uint32(in) != checksum(data + PREFIX_BYTES, bytes - PREFIX_BYTES))
		invalid("Its checksum is wrong.");
	h.features = get_uint32(in);
	h.signals = get_uint32(in);
	h.horizons = get_uint32(in);
	h.json_bytes = get_uint32(in);
	h.nparams = get_uint64(in);
	if (h.format > 1)
	{
		h.nseries = get_uint32(in);
		h.terms = get_uint32(in);
		if (h.format == 2 && h.terms != 0)
			invalid("It has flags not known to this version of amad.");
	}
	if (h.format > 3)
		h.active = get_uint32(in);
	if (h.features < 1 || h.features > FEATURES_MAX || h.signals > 1024 ||
		h.horizons < 1 || h.horizons > NN_HORIZONS_MAX || h.nparams > bytes / sizeof(float) ||
		h.nseries > bytes / sizeof(double) || h.terms > NN_SEASON_TERMS ||
		h.active > h.features)
		invalid("A size is out of range.");
	figures = figures_bytes(h.features, h.signals, h.horizons, h.terms, h.active) -
		(h.format == 1 ? 2 * sizeof(double) : 0);
	if (header_bytes + figures * (1 + (uint64) h.nseries) + sizeof(float) * h.nparams +
		h.json_bytes != bytes)
		invalid("Its length is wrong.");
	return h;
}

/* What values are weighted by, and what is added to each distance. */
static void
check_states(const Model *m)
{
	const float *weights = m->params + model_network_size(m);

	for (int i = 0; options_states(&m->options) && i < m->features + 1; i++)
		if (!(weights[i] > 0))
			invalid("A number is out of range.");
}

/* A body of so many bytes, after the varlena header. */
static Model *
decode(const char *data, size_t bytes)
{
	Reader		in = {data + sizeof(magic)};
	Header		h = read_header(&in, data, bytes);
	ErrorContextCallback context = {.callback = metadata_context};
	char	   *json;
	Model	   *m;

	context.previous = error_context_stack;
	error_context_stack = &context;
	/* also refuses what is not UTF-8 */
	json = pg_any_to_server(pnstrdup(data + bytes - h.json_bytes, h.json_bytes), h.json_bytes,
							PG_UTF8);
	m = create_from_metadata(json, &h);
	error_context_stack = context.previous;
	get_stats(&in, &h, m, &m->stats);
	get_floats(&in, h.nparams, m->params);
	check_states(m);
	for (int i = 0; i < m->nseries; i++)
		get_stats(&in, &h, m, &m->series[i].stats);
	sort_series(m);
	return m;
}

Model *
model_decode(struct varlena *value)
{
	return decode(VARDATA(value), VARSIZE(value) - VARHDRSZ);
}

/* ---- SQL: input and output ------------------------------------------------------------------ */

SQL_FUNCTION(amad_model_in);
SQL_FUNCTION(amad_model_out);
SQL_FUNCTION(amad_model_recv);
SQL_FUNCTION(amad_model_send);
SQL_FUNCTION(amad_model_error);

/* Text is bytea's hexadecimal form: exact, and free of surprises. */
Datum
amad_model_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	struct varlena *value;

	if (strncmp(text, "\\x", 2) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type amad_model"),
				 errhint("Models are made by amad_fit() and amad_train().")));
	value = (struct varlena *) DatumGetPointer(DirectFunctionCall1(byteain, CStringGetDatum(text)));
	check_envelope(VARDATA(value), VARSIZE(value) - VARHDRSZ);
	PG_RETURN_POINTER(value);
}

Datum
amad_model_out(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_DETOAST_DATUM(PG_GETARG_DATUM(0));
	size_t		bytes = VARSIZE(value) - VARHDRSZ;
	char	   *text = palloc_extended(2 * bytes + 3, MCXT_ALLOC_HUGE);

	/* not byteaout, which obeys bytea_output */
	memcpy(text, "\\x", 2);
	text[2 + hex_encode(VARDATA(value), bytes, text + 2)] = '\0';
	PG_RETURN_CSTRING(text);
}

Datum
amad_model_recv(PG_FUNCTION_ARGS)
{
	StringInfo	in = (StringInfo) PG_GETARG_POINTER(0);
	int			bytes = in->len - in->cursor;
	struct varlena *value = palloc(VARHDRSZ + bytes);

	SET_VARSIZE(value, VARHDRSZ + bytes);
	pq_copymsgbytes(in, VARDATA(value), bytes);
	check_envelope(VARDATA(value), bytes);
	PG_RETURN_POINTER(value);
}

Datum
amad_model_send(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P((bytea *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
}

/* (model) → text, why it cannot be decoded; NULL: it can. */
Datum
amad_model_error(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller, "amad model check",
												  ALLOCSET_DEFAULT_SIZES);
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;
	char	   *reason;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(scratch);
		(void) DatumGetModel(PG_GETARG_DATUM(0));
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	if (error == NULL)
		PG_RETURN_NULL();
	reason = model_damage(error);
	if (reason == NULL)
		ReThrowError(error);
	PG_RETURN_TEXT_P(cstring_to_text(reason));
}
