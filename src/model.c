/*
 * model.c
 *	  The value of type amad_model: layout, encoding, decoding, input and output.
 *
 * Layout (format 1), the same on disk, on the wire and, in hexadecimal, as text;
 * numbers are little-endian, floats are IEEE 754:
 *
 *		4 bytes		"AMAD"
 *		uint32		format, 1
 *		uint32		CRC-32C of all that follows
 *		uint32		features C, layers N, horizons n, bytes of JSON
 *		uint64		number of weights
 *		float8		mean[C], std[C], rho[C], mu[N], theta[n], threshold
 *		float4		weights, in the order of nn_params.c
 *		JSON text	{"options": …, "training": …, "core": …}, in UTF-8
 *
 * A reader recomputes every length and checks every number, for a value can
 * come from anywhere.  A new format gets a new number, and this file keeps
 * reading the old ones.
 */
#include "postgres.h"
#include "compat.h"

#include <float.h>
#include <math.h>

#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"

#include "feature.h"
#include "json.h"
#include "model.h"

#define FORMAT 1
#define PREFIX_BYTES 12			/* magic, format, checksum */
#define HEADER_BYTES 36

static const char magic[4] = {'A', 'M', 'A', 'D'};

/* ---- models in memory ------------------------------------------------------------ */

Model *
model_create(const Options *options, int features)
{
	Model	   *m = palloc0(sizeof(Model));
	nn_shape	shape = options_shape(options, features);

	m->options = *options;
	m->features = features;
	m->mean = palloc0(sizeof(double) * features);
	m->std = palloc0(sizeof(double) * features);
	m->rho = palloc0(sizeof(double) * features);
	m->mu = palloc0(sizeof(double) * options->layers);
	m->theta = palloc0(sizeof(double) * options->nhorizons);
	m->nparams = nn_params_size(&shape);
	m->params = palloc_extended(sizeof(float) * m->nparams, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	m->training = pstrdup("{}");
	m->core = pstrdup("");
	return m;
}

nn_shape
model_shape(const Model *m)
{
	return options_shape(&m->options, m->features);
}

nn_scaling
model_scaling(const Model *m)
{
	nn_scaling	scaling = {
		.features = m->features,
		.mean = m->mean,
		.std = m->std,
		.clip = m->options.clip,
	};

	return scaling;
}

nn_calibration
model_calibration(const Model *m)
{
	nn_calibration calibration = {
		.features = m->features,
		.layers = m->options.layers,
		.nhorizons = m->options.nhorizons,
		.horizons = m->options.horizons,
		.gamma = m->options.discrepancy_weight,
		.rho = m->rho,
		.mu = m->mu,
		.theta = m->theta,
		.threshold = m->threshold,
	};

	return calibration;
}

const char *
model_feature_name(const Model *m, int feature)
{
	return m->options.nnames > 0 ? m->options.names[feature] : psprintf("%d", feature + 1);
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

static void
put_doubles(StringInfo out, int n, const double *x)
{
	for (int i = 0; i < n; i++)
	{
		uint64		bits;

		memcpy(&bits, &x[i], sizeof(bits));
		put_uint64(out, bits);
	}
}

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
	appendBinaryStringInfo(out, (const char *) x, sizeof(float) * n);
#endif
}

static uint32
checksum(const char *data, size_t bytes)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, data, bytes);
	FIN_CRC32C(crc);
	return crc;
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
	json_key(&text, "options");
	appendStringInfoString(&text, options.data);
	json_key(&text, "training");
	appendStringInfoString(&text, m->training);
	json_key(&text, "core");
	json_string(&text, m->core);
	appendStringInfoChar(&text, '}');
	return text.data;
}

struct varlena *
model_encode(const Model *m)
{
	StringInfoData body;
	StringInfoData out;
	char	   *text = metadata(m);
	char	   *json = pg_server_to_any(text, strlen(text), PG_UTF8);

	initStringInfo(&body);
	put_uint32(&body, m->features);
	put_uint32(&body, m->options.layers);
	put_uint32(&body, m->options.nhorizons);
	put_uint32(&body, strlen(json));
	put_uint64(&body, m->nparams);
	put_doubles(&body, m->features, m->mean);
	put_doubles(&body, m->features, m->std);
	put_doubles(&body, m->features, m->rho);
	put_doubles(&body, m->options.layers, m->mu);
	put_doubles(&body, m->options.nhorizons, m->theta);
	put_doubles(&body, 1, &m->threshold);
	put_floats(&body, m->nparams, m->params);
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

/* Of errors that the metadata's JSON and options cause by themselves. */
static void
metadata_context(void *arg)
{
	errcontext("metadata of a value of type amad_model");
}

/* The model of the metadata's options, its arrays still empty. */
static Model *
create_from_metadata(const char *text, int features, uint64 nparams)
{
	Jsonb	   *json = json_to_jsonb(text);
	JsonbValue *core;
	Options		options;
	nn_shape	shape;
	Model	   *m;

	if (!JB_ROOT_IS_OBJECT(json))
		invalid("Its metadata is incomplete.");
	options_parse(&options, json_to_jsonb(member_text(json, "options")));
	if (options.nnames > 0 && options.nnames != features)
		invalid("It has not as many names as features.");
	shape = options_shape(&options, features);
	if (nn_params_size(&shape) != nparams)
		invalid("It has not as many weights as its options say.");
	m = model_create(&options, features);
	m->training = member_text(json, "training");
	core = json_get(&json->root, "core");
	if (core != NULL && core->type == jbvString)
		m->core = pnstrdup(core->val.string.val, core->val.string.len);
	return m;
}

/* A body of so many bytes, after the varlena header. */
static Model *
decode(const char *data, size_t bytes)
{
	Reader		in = {data + sizeof(magic)};
	uint32		features,
				layers,
				horizons,
				json_bytes;
	uint64		nparams,
				expected;
	ErrorContextCallback context = {.callback = metadata_context};
	char	   *json;
	Model	   *m;

	if (bytes < HEADER_BYTES || memcmp(data, magic, sizeof(magic)) != 0)
		invalid("It does not begin as a model does.");
	if (get_uint32(&in) != FORMAT)
		invalid("Its format is not known to this version of amad.");
	if (get_uint32(&in) != checksum(data + PREFIX_BYTES, bytes - PREFIX_BYTES))
		invalid("Its checksum is wrong.");
	features = get_uint32(&in);
	layers = get_uint32(&in);
	horizons = get_uint32(&in);
	json_bytes = get_uint32(&in);
	nparams = get_uint64(&in);
	if (features < 1 || features > FEATURES_MAX || layers > 1024 ||
		horizons > NN_HORIZONS_MAX || nparams > bytes / sizeof(float))
		invalid("A size is out of range.");
	expected = HEADER_BYTES + sizeof(double) * (3 * (uint64) features + layers + horizons + 1) +
		sizeof(float) * nparams + json_bytes;
	if (expected != bytes)
		invalid("Its length is wrong.");

	context.previous = error_context_stack;
	error_context_stack = &context;
	/* also refuses what is not UTF-8 */
	json = pg_any_to_server(pnstrdup(data + bytes - json_bytes, json_bytes), json_bytes, PG_UTF8);
	m = create_from_metadata(json, features, nparams);
	error_context_stack = context.previous;
	if (m->options.layers != layers || m->options.nhorizons != horizons)
		invalid("Its sizes do not agree with its options.");
	get_doubles(&in, features, -DBL_MAX, m->mean);
	get_doubles(&in, features, 0, m->std);
	get_doubles(&in, features, DBL_MIN, m->rho);
	get_doubles(&in, layers, DBL_MIN, m->mu);
	get_doubles(&in, horizons, DBL_MIN, m->theta);
	get_doubles(&in, 1, DBL_MIN, &m->threshold);
	get_floats(&in, nparams, m->params);
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
	model_decode(value);
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
	model_decode(value);
	PG_RETURN_POINTER(value);
}

Datum
amad_model_send(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P((bytea *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
}
