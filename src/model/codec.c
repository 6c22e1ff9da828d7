/*
 * model/codec.c
 *	  The value of type amad_model: layout, encoding and decoding.
 *
 * Layout (format 1), the same on disk, on the wire and, in hexadecimal, as text;
 * numbers are little-endian, floats are IEEE 754:
 *
 *		4 bytes		"AMAD"
 *		uint32		format, 1
 *		uint32		CRC-32C of all that follows
 *		uint32		features C, signals N, horizons n, bytes of JSON
 *		uint64		number of weights
 *		uint32		number of series, terms of the season, set of evidence (FIGURES_*), bins of a
 *					profile of recurrence, number of profiles
 *		figures		of all rows together
 *		float4		weights, in the order of params.c, and states (states.c) where the
 *					options ask for them; or components (k, C)
 *		figures		of each series
 *		JSON text	{"options": …, "training": …, "core": …, …}, in UTF-8
 *
 * Figures are float8, in the order of the list figures[] (figures.c).  Those of a profile of
 * recurrence follow only where the figure "profile" is PROFILE_OWN.
 *
 * Decoding recomputes every length and checks every number, because a value can come from
 * anywhere.  Encoding decodes its result, so that a value that cannot be read is never
 * stored.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "utils/memutils.h"

#include "model/codec.h"
#include "model/feature_names.h"
#include "pg/json.h"

#define PREFIX_BYTES 12			/* magic, format, checksum */
#define HEADER_BYTES 56
#define SEASON_MOST 9e18		/* units in a period at most */
#define SIGNALS_MOST 1024		/* more than any options make */

static const char magic[4] = {'A', 'M', 'A', 'D'};

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

/* ERROR if a number is not finite: decoding would refuse it. */
static void
put_doubles(StringInfo out, uint64 n, const double *x)
{
	for (uint64 i = 0; i < n; i++)
	{
		uint64		bits;

		if (!isfinite(x[i]))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("model contains a non-finite number")));
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
		appendBinaryStringInfo(out, (const char *) x + at,
							   Min(sizeof(float) * n - at, PIECE_BYTES));
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

/* Writes the numbers (from 0) of the features that are flags. */
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

/* Writes the transform of each feature, or nothing if no feature has one. */
static void
write_transform_names(const Model *m, StringInfo out)
{
	const int	n = m->transforms.any ? m->features : 0;
	char	  **names = palloc(sizeof(char *) * Max(n, 1));

	for (int c = 0; c < n; c++)
		names[c] = unconstify(char *, options_transform_name(m->transforms.kind[c]));
	json_put_strings(out, "transforms", n, names);
	pfree(names);
}

/* Writes the periods of the season, each followed by the numbers of its harmonics and bins. */
static void
write_season_periods(const Model *m, StringInfo out)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < m->season.nperiods; i++)
		appendStringInfo(out, "%s" INT64_FORMAT ", %d, %d", i > 0 ? ", " : "", m->season.period[i],
						 m->season.harmonics[i], m->season.bins[i]);
	appendStringInfoChar(out, ']');
	if (m->season.month_bins > 0)
		json_put_int(out, "month_bins", m->season.month_bins);
}

/* The metadata as JSON text. */
static char *
write_metadata(const Model *m)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_key(&text, "options");
	options_write(&m->options, &text);
	json_put_json(&text, "training", m->training);
	json_put_string(&text, "core", m->core);
	json_put_string(&text, "ts_type",
					m->ts_type == TIMESTAMPTZOID	 ? "timestamptz"
						: m->ts_type == TIMESTAMPOID ? "timestamp"
						: m->ts_type == INT8OID		 ? "bigint"
													 : "");
	json_key(&text, "season");
	write_season_periods(m, &text);
	json_key(&text, "flags");
	write_flags(m, &text);
	write_transform_names(m, &text);
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
put_figures(StringInfo out, const Model *m, const ModelStats *stats)
{
	for (int i = 0; i < figures_count; i++)
		if (figures[i].origin != FIGURE_DERIVED)
			put_doubles(out, figure_count(&figures[i], &m->sizes, stats),
						figure_values(&figures[i], stats));
}

/* Series, and all rows, that have a profile of recurrence of their own. */
static uint32
count_profiles(const Model *m)
{
	uint32		n = m->stats.profile == PROFILE_OWN;

	for (int i = 0; i < m->nseries; i++)
		n += m->series[i].stats.profile == PROFILE_OWN;
	return n;
}

/* Bytes of a value without its JSON text. */
static uint64
count_bytes(const FigureSizes *sizes, uint64 nseries, uint64 profiles, uint64 nparams)
{
	return HEADER_BYTES + figures_stored_bytes(sizes) * (1 + nseries) +
		figures_profile_bytes(sizes) * profiles + sizeof(float) * nparams;
}

/* ERROR if a value would be too large; called before its memory is allocated. */
static void
check_value_size(const Model *m, size_t json_bytes)
{
	uint64 bytes = count_bytes(&m->sizes, m->nseries, count_profiles(m), m->nparams) + json_bytes;

	if (bytes > MODEL_MOST_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a model of " UINT64_FORMAT " bytes is too large to be stored", bytes),
				 errdetail("The limit is %d bytes.", MODEL_MOST_BYTES),
				 m->nseries > 0 ? errhint("Train several models, each of some of the series.")
								: errhint("Choose a smaller d_model or fewer layers.")));
}

/* ERROR if a value cannot be decoded. */
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
				(errcode(ERRCODE_DATA_EXCEPTION), errmsg("the trained model is not valid"),
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
	char	   *text = write_metadata(m);
	char	   *json = pg_server_to_any(text, strlen(text), PG_UTF8);

	check_value_size(m, strlen(json));
	initStringInfo(&body);
	put_uint32(&body, m->features);
	put_uint32(&body, m->plan.signals);
	put_uint32(&body, m->options.nhorizons);
	put_uint32(&body, strlen(json));
	put_uint64(&body, m->nparams);
	put_uint32(&body, m->nseries);
	put_uint32(&body, nn_season_terms(&m->season));
	put_uint32(&body, m->plan.evidence);
	put_uint32(&body, m->sizes.count[FIGURE_RECURRENCE_BINS]);
	put_uint32(&body, count_profiles(m));
	put_figures(&body, m, &m->stats);
	put_floats(&body, m->nparams, m->params);
	for (int i = 0; i < m->nseries; i++)
		put_figures(&body, m, &m->series[i].stats);
	appendStringInfoString(&body, json);

	initStringInfo(&out);
	enlargeStringInfo(&out, VARHDRSZ + PREFIX_BYTES + body.len);
	appendStringInfoSpaces(&out, VARHDRSZ);
	appendBinaryStringInfo(&out, magic, sizeof(magic));
	put_uint32(&out, MODEL_FORMAT);
	put_uint32(&out, checksum(body.data, body.len));
	appendBinaryStringInfo(&out, body.data, body.len);
	SET_VARSIZE(out.data, out.len);
	pfree(body.data);
	check_readable((struct varlena *) out.data);
	return (struct varlena *) out.data;
}

/* ---- decoding -------------------------------------------------------------------------- */

static void
report_invalid_model(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid value of type amad_model"), errdetail("%s", detail)));
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
	/* the metadata or the options in it */
	return psprintf("It cannot be read: %s.%s%s", error->message, error->detail ? " " : "",
					error->detail ? error->detail : "");
}

/* The position in a value, whose length was compared with the header before. */
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

/* Reads n numbers, which must be finite and at least `least`. */
static void
get_doubles(Reader *in, uint64 n, double least, double *x)
{
	for (uint64 i = 0; i < n; i++)
	{
		uint64		bits = get_uint64(in);

		memcpy(&x[i], &bits, sizeof(bits));
		if (!isfinite(x[i]) || x[i] < least)
			report_invalid_model("A number is out of range.");
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
			report_invalid_model("A weight is not finite.");
	}
}

static char *
member_text(Jsonb *json, const char *key)
{
	JsonbValue *value = json_get(&json->root, key);

	if (value == NULL || value->type != jbvBinary)
		report_invalid_model("The metadata is incomplete.");
	return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
}

/* The text of a member, which must be an object. */
static char *
member_object(Jsonb *json, const char *key)
{
	JsonbValue *value = json_get(&json->root, key);

	if (value != NULL && value->type == jbvBinary && !JsonContainerIsObject(value->val.binary.data))
		report_invalid_model("The metadata is incomplete.");
	return member_text(json, key);
}

/* Context of errors in the JSON text and in the options. */
static void
metadata_context(void *arg)
{
	errcontext("metadata of a value of type amad_model");
}

/* A member that is a string; otherwise an empty string. */
static char *
member_string(Jsonb *json, const char *key)
{
	char	   *text = json_string_text(json_get(&json->root, key));

	return text ? text : pstrdup("");
}

/* The array of a value; ERROR if the value is missing or is not an array. */
static JsonbContainer *
get_array(const JsonbValue *value)
{
	if (value == NULL || value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		report_invalid_model("The metadata is incomplete.");
	return value->val.binary.data;
}

/* Reads a member that is an array of strings, if it exists; returns their number. */
static int
member_strings(Jsonb *json, const char *key, char ***strings)
{
	JsonbValue *value = json_get(&json->root, key);
	JsonbContainer *array;
	int			n;

	*strings = NULL;
	if (value == NULL)
		return 0;
	array = get_array(value);
	n = JsonContainerSize(array);
	*strings = palloc_extended(sizeof(char *) * Max(n, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (element->type != jbvString)
			report_invalid_model("The metadata is incomplete.");
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
	double		month_bins;
	int			n;

	array = get_array(value);
	n = JsonContainerSize(array);
	if (n % 3 != 0 || n / 3 > NN_SEASON_PERIODS)
		report_invalid_model("The season is invalid.");
	season.nperiods = n / 3;
	for (int i = 0; i < season.nperiods; i++)
	{
		double		period = json_number(getIthJsonbValueFromContainer(array, 3 * i), 0);
		double		harmonics = json_number(getIthJsonbValueFromContainer(array, 3 * i + 1), 0);
		double		bins = json_number(getIthJsonbValueFromContainer(array, 3 * i + 2), 0);

		if (!(period >= 2 && period <= SEASON_MOST && period == floor(period) && harmonics >= 1 &&
			  harmonics <= NN_SEASON_HARMONICS && harmonics == floor(harmonics) && bins >= 1 &&
			  bins <= NN_SEASON_BINS && bins == floor(bins)))
			report_invalid_model("The season is invalid.");
		season.period[i] = (int64) period;
		season.harmonics[i] = (int) harmonics;
		season.bins[i] = (int) bins;
	}
	month_bins = json_number(json_get(&json->root, "month_bins"), 0);
	if (!(month_bins >= 0 && month_bins <= NN_SEASON_FIRST_BINS &&
		  month_bins == floor(month_bins)) ||
		(month_bins > 0 && n == 0))
		report_invalid_model("The season is invalid.");
	season.month_bins = (int) month_bins;
	return season;
}

static void
read_flags(Model *m, Jsonb *json)
{
	JsonbContainer *array;
	double		last = -1;

	array = get_array(json_get(&json->root, "flags"));
	for (int i = 0; i < JsonContainerSize(array); i++)
	{
		double		c = json_number(getIthJsonbValueFromContainer(array, i), -1);

		if (!(c > last && c < m->features && c == floor(c)))
			report_invalid_model("The flags are not ascending feature numbers.");
		m->flag[(int) c] = true;
		last = c;
	}
	model_weigh_features(m);
}

static void
read_transforms(Model *m, Jsonb *json)
{
	char	  **names;
	int			n = member_strings(json, "transforms", &names);

	if (n != 0 && n != m->features)
		report_invalid_model("The number of transforms does not match the number of features.");
	for (int c = 0; c < n; c++)
	{
		int			kind = options_find_transform(names[c]);

		if (kind < 0 || kind == TRANSFORM_AUTO)
			report_invalid_model("A transform does not exist.");
		m->transforms.kind[c] = kind;
	}
	transforms_settle(&m->transforms);
}

static Oid
ts_type_of(const char *name)
{
	return strcmp(name, "timestamptz") == 0 ? TIMESTAMPTZOID
		: strcmp(name, "timestamp") == 0	? TIMESTAMPOID
		: strcmp(name, "bigint") == 0		? INT8OID
											: InvalidOid;
}

static void
read_series_keys(Model *m, Jsonb *json, uint32 nseries)
{
	char	  **keys;

	if (member_strings(json, "series", &keys) != nseries)
		report_invalid_model("The number of series keys does not match the number of series.");
	model_create_series(m, nseries);
	for (int i = 0; i < nseries; i++)
		m->series[i].key = keys[i];
}

/* The header behind the checksum. */
typedef struct Header
{
	uint32		features;
	uint32		signals;
	uint32		horizons;
	uint32		json_bytes;
	uint64		nparams;
	uint32		nseries;
	uint32		terms;			/* of the season */
	uint32		evidence;		/* FIGURES_* */
	uint32		bins;			/* of a profile */
	uint32		profiles;		/* of all rows and of series */
} Header;

/* Whether the number of weights is what the options ask for. */
static bool
params_fit(const Options *options, const Header *h)
{
	ModelPlan	plan = plan_make(options, h->features);

	switch ((Method) options->method)
	{
		case METHOD_AMAD:
			return h->nparams == plan.params_size;
		case METHOD_PCA:
			/* whole components, as many as features at most */
			return h->nparams % h->features == 0 && h->nparams / h->features <= h->features;
		case METHOD_ZSCORE:
			break;
	}
	return h->nparams == 0;
}

/* A model from the metadata; its figures and weights are read later. */
static Model *
create_from_metadata(const char *text, const Header *h)
{
	Jsonb	   *json = json_to_jsonb(text);
	Options		options;
	nn_season	season;
	Model	   *m;

	if (!JB_ROOT_IS_OBJECT(json))
		report_invalid_model("The metadata is incomplete.");
	options_parse(&options, json_to_jsonb(member_text(json, "options")));
	if (options.nnames > 0 && options.nnames != h->features)
		report_invalid_model("The number of names does not match the number of features.");
	if (!params_fit(&options, h))
		report_invalid_model("The number of weights does not match the options.");
	season = read_season(json);
	if (nn_season_terms(&season) != h->terms)
		report_invalid_model("The season is invalid.");
	m = model_create(&options, h->features, h->nparams);
	model_set_season(m, &season);
	if (m->plan.signals != h->signals || options.nhorizons != h->horizons ||
		m->plan.evidence != h->evidence || m->sizes.count[FIGURE_RECURRENCE_BINS] != h->bins)
		report_invalid_model("The sizes do not match the options.");
	read_flags(m, json);
	read_transforms(m, json);
	m->training = member_object(json, "training");
	m->core = member_string(json, "core");
	m->ts_type = ts_type_of(member_string(json, "ts_type"));
	if (!OidIsValid(m->ts_type))
		report_invalid_model(
			"The type of the time column is not supported by this version of amad.");
	m->ntypes = member_strings(json, "types", &m->types);
	m->nseries_cols = member_strings(json, "series_cols", &m->series_cols);
	if (m->ntypes != 0 && m->ntypes != h->features)
		report_invalid_model("The number of types does not match the number of features.");
	if (h->nseries > 0 && m->nseries_cols == 0)
		report_invalid_model("A model with series has no series columns.");
	read_series_keys(m, json, h->nseries);
	return m;
}

/* Allocates a profile of recurrence if it follows; profiles: how many can. */
static void
open_profile(const Model *m, ModelStats *stats, uint32 *profiles)
{
	const RecurrenceProfile all = m->stats.profile;

	if (stats->profile != PROFILE_NONE && stats->profile != PROFILE_OWN &&
		!(stats->profile == PROFILE_ALL && stats != &m->stats && all == PROFILE_OWN))
		report_invalid_model("A number is out of range.");
	if (stats->profile != PROFILE_OWN)
		return;
	if ((*profiles)-- == 0)
		report_invalid_model("The number of profiles is wrong.");
	figures_create_profile(stats, &m->sizes);
}

static void
get_figures(Reader *in, const Model *m, ModelStats *stats, uint32 *profiles)
{
	for (int i = 0; i < figures_count; i++)
	{
		double	   *values = figure_values(&figures[i], stats);

		if (figures[i].origin == FIGURE_DERIVED)
			continue;
		get_doubles(in, figure_count(&figures[i], &m->sizes, stats), figures[i].least, values);
		if (values == &stats->profile)
			open_profile(m, stats, profiles);
	}
	model_scale_season(m, stats);
}

void
model_check_envelope(const char *data, size_t bytes)
{
	if (bytes < HEADER_BYTES || memcmp(data, magic, sizeof(magic)) != 0)
		report_invalid_model("The magic number is wrong.");
}

/* The header, and whether the length is what it says. */
static Header
read_header(Reader *in, const char *data, size_t bytes)
{
	Header		h = {0};
	FigureSizes sizes;

	model_check_envelope(data, bytes);
	if (get_uint32(in) != MODEL_FORMAT)
		report_invalid_model("The format is not supported by this version of amad.");
	if (get_uint32(in) != checksum(data + PREFIX_BYTES, bytes - PREFIX_BYTES))
		report_invalid_model("The checksum is wrong.");
	h.features = get_uint32(in);
	h.signals = get_uint32(in);
	h.horizons = get_uint32(in);
	h.json_bytes = get_uint32(in);
	h.nparams = get_uint64(in);
	h.nseries = get_uint32(in);
	h.terms = get_uint32(in);
	h.evidence = get_uint32(in);
	h.bins = get_uint32(in);
	h.profiles = get_uint32(in);
	if (h.features < 1 || h.features > FEATURES_MAX || h.signals > SIGNALS_MOST || h.horizons < 1 ||
		h.horizons > NN_HORIZONS_MAX || h.nparams > bytes / sizeof(float) ||
		h.nseries > bytes / sizeof(double) || h.terms > NN_SEASON_TERMS ||
		h.evidence > FIGURES_EVIDENCE ||
		h.bins > NN_SEASON_PERIODS * NN_SEASON_BINS + 2 * NN_SEASON_FIRST_BINS ||
		h.profiles > (h.bins > 0 ? 1 + (uint64) h.nseries : 0))
		report_invalid_model("A size is out of range.");
	sizes = figure_sizes(h.features, h.signals, h.horizons, h.terms, h.bins, h.evidence);
	if (count_bytes(&sizes, h.nseries, h.profiles, h.nparams) + h.json_bytes != bytes)
		report_invalid_model("The length is wrong.");
	return h;
}

/* ERROR unless the weights of the features and the constant of the distances are positive. */
static void
check_states(const Model *m)
{
	const float *weights = m->params + m->plan.network_size;

	for (int i = 0; m->plan.has_states && i < m->features + 1; i++)
		if (!(weights[i] > 0))
			report_invalid_model("A number is out of range.");
}

/* ERROR unless the diagonal of the relations' matrix, which divides, is positive. */
static void
check_relations(const Model *m)
{
	for (int c = 0; m->precision && c < m->features; c++)
		if (!(m->precision[(size_t) c * m->features + c] > 0))
			report_invalid_model("A number is out of range.");
}

/* Decodes `bytes` bytes that follow the varlena header. */
static Model *
decode(const char *data, size_t bytes)
{
	Reader		in = {data + sizeof(magic)};
	Header		h = read_header(&in, data, bytes);
	uint32		profiles = h.profiles;
	ErrorContextCallback context = {.callback = metadata_context};
	char	   *json = palloc_extended((Size) h.json_bytes + 1, MCXT_ALLOC_HUGE);
	Model	   *m;

	/* not pnstrdup(), which would allocate less if there is a zero byte */
	memcpy(json, data + bytes - h.json_bytes, h.json_bytes);
	json[h.json_bytes] = '\0';
	context.previous = error_context_stack;
	error_context_stack = &context;
	/* also refuses what is not UTF-8 */
	m = create_from_metadata(pg_any_to_server(json, h.json_bytes, PG_UTF8), &h);
	error_context_stack = context.previous;
	get_figures(&in, m, &m->stats, &profiles);
	get_floats(&in, h.nparams, m->params);
	check_states(m);
	check_relations(m);
	for (int i = 0; i < m->nseries; i++)
		get_figures(&in, m, &m->series[i].stats, &profiles);
	if (profiles > 0)
		report_invalid_model("The number of profiles is wrong.");
	/* again, because the value can come from a database with another encoding */
	model_sort_series(m);
	for (int i = 1; i < m->nseries; i++)
		if (strcmp(m->series[i - 1].key, m->series[i].key) == 0)
			report_invalid_model("Two series have the same key.");
	return m;
}

Model *
model_decode(struct varlena *value)
{
	return decode(VARDATA(value), VARSIZE(value) - VARHDRSZ);
}
