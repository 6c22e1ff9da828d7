/*
 * learn/calibration_value.c
 *	  The calibration of one series as a value.
 *
 * Layout (format 1); numbers are little-endian, floats are IEEE 754:
 *
 *		4 bytes		"AMAC"
 *		uint32		format, 1
 *		uint32		CRC-32C of all that follows
 *		uint32		checksum of the model, as in its value
 *		uint32		1 if the series has figures of its own, otherwise 0
 *		figures		in the order of the list figures[]: all, or only those of its rows
 *		varint		counts; then values given, of each feature
 *		float8		sums: of each feature, of each signal, of raw scores; the level
 *		sketches	varints, each: number of buckets with values, then for each of them the distance from
 *					the bucket before and the count
 *
 * A varint consists of groups of seven bits, the lowest first; the eighth bit says that another follows.
 * The model says how many numbers there are.  Decoding checks each of them: a value can come
 * from anywhere.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <float.h>
#include <math.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"

#include "learn/calibration_value.h"

#define CALIBRATION_FORMAT 1
#define PREFIX_BYTES 12			/* magic, format, checksum */
#define MODEL_ID_OFFSET 8		/* in the value of a model: its checksum */

static const char magic[4] = {'A', 'M', 'A', 'C'};

uint32
calibration_model_id(struct varlena *model)
{
	uint32		id;

	memcpy(&id, VARDATA(model) + MODEL_ID_OFFSET, sizeof(id));
#ifdef WORDS_BIGENDIAN
	id = pg_bswap32(id);
#endif
	return id;
}

static uint32
value_checksum(const char *data, Size bytes)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, data, bytes);
	FIN_CRC32C(crc);
	return crc;
}

/* ---- encoding ----------------------------------------------------------------------- */

static void
write_uint32(StringInfo out, uint32 x)
{
#ifdef WORDS_BIGENDIAN
	x = pg_bswap32(x);
#endif
	appendBinaryStringInfo(out, (char *) &x, sizeof(x));
}

static void
write_uint64(StringInfo out, uint64 x)
{
#ifdef WORDS_BIGENDIAN
	x = pg_bswap64(x);
#endif
	appendBinaryStringInfo(out, (char *) &x, sizeof(x));
}

static void
write_doubles(StringInfo out, uint64 n, const double *x)
{
	for (uint64 i = 0; i < n; i++)
	{
		uint64		bits;

		memcpy(&bits, &x[i], sizeof(bits));
		write_uint64(out, bits);
	}
}

static void
write_varint(StringInfo out, uint64 x)
{
	for (; x >= 0x80; x >>= 7)
		appendStringInfoCharMacro(out, (char) (0x80 | (x & 0x7F)));
	appendStringInfoCharMacro(out, (char) x);
}

static void
write_counts(StringInfo out, uint64 n, const int64 *x)
{
	for (uint64 i = 0; i < n; i++)
		write_varint(out, (uint64) x[i]);
}

static void
write_sketch(StringInfo out, const nn_sketch *s)
{
	uint64		buckets = 0;
	int			last = -1;

	for (int i = 0; i < NN_SKETCH_BUCKETS; i++)
		buckets += s->count[i] > 0;
	write_varint(out, buckets);
	for (int i = 0; i < NN_SKETCH_BUCKETS; i++)
		if (s->count[i] > 0)
		{
			write_varint(out, i - last);
			write_varint(out, s->count[i]);
			last = i;
		}
}

/* Whether a figure is in the value. */
static bool
has_figure(const Figure *f, bool own)
{
	return f->origin == FIGURE_OF_ROWS || (own && f->origin == FIGURE_CALIBRATED);
}

bytea *
calibration_encode(const Model *m, uint32 model_id, const SeriesCalibration *c)
{
	const SeriesSummary *s = c->summary;
	StringInfoData out;
	uint32		crc;

	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ);
	appendBinaryStringInfo(&out, magic, sizeof(magic));
	write_uint32(&out, CALIBRATION_FORMAT);
	write_uint32(&out, 0);		/* the checksum */
	write_uint32(&out, model_id);
	write_uint32(&out, c->own);
	for (int i = 0; i < figures_count; i++)
		if (has_figure(&figures[i], c->own))
			write_doubles(&out, figure_count(&figures[i], &m->sizes, &c->stats),
						  figure_values(&figures[i], &c->stats));
	write_counts(&out, SUMMARY_COUNTS, s->counts);
	for (int i = 0; i < SUMMARY_GIVENS; i++)
		write_counts(&out, s->features, s->given[i]);
	for (int i = 0; i < SUMMARY_SUMS; i++)
		write_doubles(&out, s->features, s->sums[i]);
	write_doubles(&out, s->signals, s->signal);
	write_doubles(&out, s->signals, s->signal_held_out);
	write_doubles(&out, 1, &s->raw);
	write_doubles(&out, 1, &s->raw_relation);
	write_doubles(&out, 1, &s->level);
	for (int i = 0; i < SUMMARY_SKETCHES; i++)
		write_sketch(&out, s->sketches[i]);
	crc = value_checksum(out.data + VARHDRSZ + PREFIX_BYTES, out.len - VARHDRSZ - PREFIX_BYTES);
#ifdef WORDS_BIGENDIAN
	crc = pg_bswap32(crc);
#endif
	memcpy(out.data + VARHDRSZ + PREFIX_BYTES - sizeof(crc), &crc, sizeof(crc));
	SET_VARSIZE(out.data, out.len);
	return (bytea *) out.data;
}

/* ---- decoding ------------------------------------------------------------------------- */

typedef struct ValueReader
{
	const char *at;
	const char *end;
} ValueReader;

static void
report_invalid_calibration(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION), errmsg("invalid calibration"),
			 errdetail("%s", detail), errhint("Calibrations are computed by amad_calibrate().")));
}

static void
read_bytes(ValueReader *in, void *to, Size bytes)
{
	if ((Size) (in->end - in->at) < bytes)
		report_invalid_calibration("It is too short.");
	memcpy(to, in->at, bytes);
	in->at += bytes;
}

static uint32
read_uint32(ValueReader *in)
{
	uint32		x;

	read_bytes(in, &x, sizeof(x));
#ifdef WORDS_BIGENDIAN
	x = pg_bswap32(x);
#endif
	return x;
}

static uint64
read_uint64(ValueReader *in)
{
	uint64		x;

	read_bytes(in, &x, sizeof(x));
#ifdef WORDS_BIGENDIAN
	x = pg_bswap64(x);
#endif
	return x;
}

/* Reads n numbers, which must be finite and at least `least`. */
static void
read_doubles(ValueReader *in, uint64 n, double least, double *x)
{
	for (uint64 i = 0; i < n; i++)
	{
		uint64		bits = read_uint64(in);

		memcpy(&x[i], &bits, sizeof(bits));
		if (!isfinite(x[i]) || x[i] < least)
			report_invalid_calibration("A number is out of range.");
	}
}

static uint64
read_varint(ValueReader *in)
{
	uint64		x = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint8		group;

		read_bytes(in, &group, 1);
		if (shift == 63 && group > 1)
			break;
		x |= (uint64) (group & 0x7F) << shift;
		if (group < 0x80)
			return x;
	}
	report_invalid_calibration("A number is out of range.");
	return 0;
}

static void
read_counts(ValueReader *in, uint64 n, int64 *x)
{
	for (uint64 i = 0; i < n; i++)
	{
		x[i] = (int64) read_varint(in);
		if (x[i] < 0)
			report_invalid_calibration("A number is out of range.");
	}
}

static void
read_sketch(ValueReader *in, nn_sketch *s)
{
	uint64		buckets = read_varint(in);
	int			bucket = -1;

	for (uint64 i = 0; i < buckets; i++)
	{
		uint64		distance = read_varint(in);
		uint64		count = read_varint(in);

		if (distance == 0 || distance >= NN_SKETCH_BUCKETS - bucket || count == 0)
			report_invalid_calibration("A number is out of range.");
		bucket += (int) distance;
		if (!nn_sketch_add_count(s, bucket, count))
			report_invalid_calibration("A number is out of range.");
	}
}

/* Reads the figures; allocates a profile of recurrence if it follows. */
static void
read_figures(ValueReader *in, const Model *m, bool own, ModelStats *stats)
{
	for (int i = 0; i < figures_count; i++)
	{
		double	   *values = figure_values(&figures[i], stats);

		if (!has_figure(&figures[i], own))
			continue;
		read_doubles(in, figure_count(&figures[i], &m->sizes, stats), figures[i].least, values);
		if (values != &stats->profile || m->sizes.count[FIGURE_RECURRENCE_ONE] == 0)
			continue;
		if (stats->profile == PROFILE_OWN)
			figures_create_profile(stats, &m->sizes);
		else if (stats->profile != PROFILE_NONE &&
				 !(stats->profile == PROFILE_ALL && m->stats.profile == PROFILE_OWN))
			report_invalid_calibration("A number is out of range.");
	}
	model_scale_season(m, stats);
}

static void
read_header(ValueReader *in, uint32 model_id)
{
	char		begin[sizeof(magic)];

	read_bytes(in, begin, sizeof(begin));
	if (memcmp(begin, magic, sizeof(magic)) != 0)
		report_invalid_calibration("The magic number is wrong.");
	if (read_uint32(in) != CALIBRATION_FORMAT)
		report_invalid_calibration("The format is not supported by this version of amad.");
	if (read_uint32(in) != value_checksum(in->at, in->end - in->at))
		report_invalid_calibration("The checksum is wrong.");
	if (read_uint32(in) != model_id)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("calibration was computed with another model"),
				 errhint("Pass the same model to amad_calibrate() and amad_merge().")));
}

SeriesCalibration
calibration_decode(const Model *m, uint32 model_id, const bytea *value, MemoryContext memory)
{
	const Size	bytes = VARSIZE_ANY_EXHDR(value);
	ValueReader in = {VARDATA_ANY(value), VARDATA_ANY(value) + bytes};
	SeriesCalibration c = {.summary = summary_open(m->features, m->plan.signals)};
	SeriesSummary *s = c.summary;
	MemoryContext old;
	uint32		own;

	CHECK_FOR_INTERRUPTS();
	read_header(&in, model_id);
	own = read_uint32(&in);
	if (own > 1)
		report_invalid_calibration("A number is out of range.");
	c.own = own == 1;
	old = MemoryContextSwitchTo(memory);
	figures_create(&c.stats, &m->sizes);
	read_figures(&in, m, c.own, &c.stats);
	MemoryContextSwitchTo(old);
	read_counts(&in, SUMMARY_COUNTS, s->counts);
	for (int i = 0; i < SUMMARY_GIVENS; i++)
		read_counts(&in, s->features, s->given[i]);
	for (int i = 0; i < SUMMARY_SUMS; i++)
		read_doubles(&in, s->features, 0, s->sums[i]);
	read_doubles(&in, s->signals, -DBL_MAX, s->signal);
	read_doubles(&in, s->signals, -DBL_MAX, s->signal_held_out);
	read_doubles(&in, 1, 0, &s->raw);
	read_doubles(&in, 1, 0, &s->raw_relation);
	read_doubles(&in, 1, 0, &s->level);
	for (int i = 0; i < SUMMARY_SKETCHES; i++)
		read_sketch(&in, s->sketches[i]);
	if (in.at != in.end)
		report_invalid_calibration("It is too long.");
	return c;
}
