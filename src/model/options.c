/*
 * model/options.c
 *	  Options of a training: one table of keys, types, ranges and defaults.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "model/feature_names.h"
#include "pg/json.h"
#include "core/evidence/activity.h"
#include "core/evidence/scaling.h"
#include "core/evidence/states.h"
#include "core/network/network.h"
#include "model/options.h"

typedef enum OptionType
{
	OPTION_INT,					/* int */
	OPTION_BIGINT,				/* int64 */
	OPTION_REAL					/* double */
} OptionType;

typedef struct OptionSpec
{
	const char *key;
	OptionType	type;
	size_t		offset;
	double		least;
	double		most;
	double		preset;			/* the default */
} OptionSpec;

#define SPEC(field, type, least, most, preset) \
	{#field, type, offsetof(Options, field), least, most, preset}

#define MAX_HORIZON 65536

/* Ranges keep every size computed from them far below overflow. */
static const OptionSpec specs[] = {
	SPEC(window, OPTION_INT, 1, 4096, 64),
	SPEC(d_model, OPTION_INT, 4, 2048, 64),
	SPEC(heads, OPTION_INT, 1, 64, 4),
	SPEC(layers, OPTION_INT, 1, 16, 2),
	SPEC(batch_size, OPTION_INT, 1, 1024, 8),
	SPEC(chunk_length, OPTION_INT, 2, 16384, 0),
	SPEC(skip, OPTION_INT, 0, 16383, -1),
	SPEC(ahead, OPTION_INT, 0, 1, 1),
	SPEC(steps, OPTION_BIGINT, 1, 10000000, 500),
	SPEC(epochs, OPTION_REAL, 1e-3, 1e6, 0),
	SPEC(learning_rate, OPTION_REAL, 1e-8, 1, 2e-3),
	SPEC(pct_start, OPTION_REAL, 0, 1, 0.1),
	SPEC(div_factor, OPTION_REAL, 1, 1e6, 25),
	SPEC(final_div_factor, OPTION_REAL, 1, 1e12, 1e4),
	SPEC(adam_beta1, OPTION_REAL, 0, 0.999999, 0.9),
	SPEC(adam_beta2, OPTION_REAL, 0, 0.999999, 0.999),
	SPEC(adam_epsilon, OPTION_REAL, 1e-12, 1, 1e-8),
	SPEC(gradient_clip, OPTION_REAL, 0, 1e6, 1),
	SPEC(maxmin_weight, OPTION_REAL, 0, 100, 1),
	SPEC(contrast_weight, OPTION_REAL, 0, 100, 0.02),
	SPEC(contrast_temperature, OPTION_REAL, 0.02, 100, 0.1),
	SPEC(validation_fraction, OPTION_REAL, 0.01, 0.9, 0.1),
	SPEC(seed, OPTION_BIGINT, 0, 9007199254740991.0, 0),
	SPEC(clip, OPTION_REAL, 0.1, 1000, 5),
	SPEC(fill_limit, OPTION_INT, 0, 65536, -1),
	SPEC(max_gap, OPTION_REAL, 1e-6, 1e15, 0),
	SPEC(variance, OPTION_REAL, 0.01, 1, 0.9),
	SPEC(contamination, OPTION_REAL, 1e-6, 0.5, 0.01),
	SPEC(discrepancy_weight, OPTION_REAL, 0, 4, 0.25),
	SPEC(residual_floor, OPTION_REAL, 0, 1, 0.1),
	SPEC(state_weight, OPTION_REAL, 0, 4, 0.75),
	SPEC(flatline_weight, OPTION_REAL, 0, 100, 0.6),
	SPEC(flag_weight, OPTION_REAL, 0.001, OPTIONS_MOST_FLAG_WEIGHT, 0.1),
	SPEC(horizon_quantile, OPTION_REAL, 0.01, 0.9999, 0.9),
	SPEC(lookahead, OPTION_INT, 0, MAX_HORIZON / 2, 0),
	SPEC(release, OPTION_REAL, 0, 1e6, 3),
	SPEC(season_harmonics, OPTION_INT, 1, NN_SEASON_HARMONICS, 4),
	SPEC(season_weight, OPTION_REAL, 0, 100, 0.5),
};

#define MOST_ACTIVITY_ROWS 32
#define LEAST_PERIOD 1e-3		/* of a season */
#define MOST_PERIOD 1e12

static const char *const missing_names[] = {"locf", "linear", "error"};
static const char *const method_names[] = {"amad", "pca", "zscore"};
/* bit i of Options.without: the i-th */
static const char *const part_names[] = {"automask", "mixup", "multiscale"};

StaticAssertDecl(NN_WITHOUT_AUTOMASK == 1 << 0 && NN_WITHOUT_MIXUP == 1 << 1 &&
				 NN_WITHOUT_MULTISCALE == 1 << 2, "names of parts have another order");

/* Keys that are not numbers. */
static const char *const other_keys[] = {
	"horizons", "season", "method", "missing", "features", "without", "preset"
};

static void
assign(Options *options, const OptionSpec *spec, double value)
{
	void	   *field = (char *) options + spec->offset;

	switch (spec->type)
	{
		case OPTION_INT:
			*(int *) field = (int) value;
			break;
		case OPTION_BIGINT:
			*(int64 *) field = (int64) value;
			break;
		case OPTION_REAL:
			*(double *) field = value;
			break;
	}
}

static double
value_of(const Options *options, const OptionSpec *spec)
{
	const void *field = (const char *) options + spec->offset;

	switch (spec->type)
	{
		case OPTION_INT:
			return *(const int *) field;
		case OPTION_BIGINT:
			return (double) *(const int64 *) field;
		case OPTION_REAL:
			break;
	}
	return *(const double *) field;
}

/* "1", "0.001": for messages */
static char *
number_text(const OptionSpec *spec, double value)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (spec->type != OPTION_REAL)
		return psprintf(INT64_FORMAT, (int64) value);
	double_to_shortest_decimal_buf(value, text);
	return pstrdup(text);
}

static void
out_of_range(const OptionSpec *spec, const char *got)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": %s", spec->key, got),
			 errdetail("It must be %s from %s to %s.",
					   spec->type == OPTION_REAL ? "a number" : "an integer",
					   number_text(spec, spec->least), number_text(spec, spec->most))));
}

static void
parse_number(Options *options, const OptionSpec *spec, JsonbValue *value)
{
	double		x = json_number(value, NAN);

	if (!(x >= spec->least && x <= spec->most) ||
		(spec->type != OPTION_REAL && x != floor(x)))
		out_of_range(spec, json_value_text(value));
	assign(options, spec, x);
}

static int
compare_ints(const void *a, const void *b)
{
	return *(const int *) a - *(const int *) b;
}

static void
invalid_horizons(JsonbValue *value)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"horizons\": %s", json_value_text(value)),
			 errdetail("It must be an array of 1 to %d different integers from 1 to %d.",
					   NN_HORIZONS_MAX, MAX_HORIZON)));
}

static void
parse_horizons(Options *options, JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;

	if (value->type != jbvBinary || !JsonContainerIsArray(array) ||
		JsonContainerSize(array) < 1 || JsonContainerSize(array) > NN_HORIZONS_MAX)
		invalid_horizons(value);
	options->nhorizons = JsonContainerSize(array);
	for (int i = 0; i < options->nhorizons; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);
		double		x = json_number(element, 0);

		if (!(x >= 1 && x <= MAX_HORIZON) || x != floor(x))
			invalid_horizons(value);
		options->horizons[i] = (int) x;
	}
	qsort(options->horizons, options->nhorizons, sizeof(int), compare_ints);
	for (int i = 1; i < options->nhorizons; i++)
		if (options->horizons[i] == options->horizons[i - 1])
			invalid_horizons(value);
}

static void
parse_names(Options *options, JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;
	bool		valid = value->type == jbvBinary && JsonContainerIsArray(array) &&
		JsonContainerSize(array) > 0;

	if (valid && JsonContainerSize(array) > FEATURES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("option \"features\" has %d names, the limit is %d",
						(int) JsonContainerSize(array), FEATURES_MAX)));
	if (valid)
	{
		options->nnames = JsonContainerSize(array);
		options->names = palloc(sizeof(char *) * options->nnames);
	}
	for (int i = 0; valid && i < options->nnames; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		valid = element->type == jbvString && element->val.string.len > 0;
		if (valid)
			options->names[i] = pnstrdup(element->val.string.val, element->val.string.len);
	}
	if (!valid || feature_names_repeated(options->nnames, options->names) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"features\": %s", json_value_text(value)),
				 errdetail("It must be an array of the features' names, all different.")));
}

static bool
is_string(const JsonbValue *value, const char *text)
{
	return value->type == jbvString && value->val.string.len == strlen(text) &&
		memcmp(value->val.string.val, text, strlen(text)) == 0;
}

/* The place of a string among three names; -1: nowhere. */
static int
find_choice(const char *const names[3], const JsonbValue *value)
{
	for (int i = 0; i < 3; i++)
		if (is_string(value, names[i]))
			return i;
	return -1;
}

static int
parse_choice(const char *key, const char *const names[3], JsonbValue *value)
{
	int			i = find_choice(names, value);

	if (i >= 0)
		return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": %s", key, json_value_text(value)),
			 errdetail("It must be \"%s\", \"%s\" or \"%s\".", names[0], names[1], names[2])));
	return 0;					/* not reached */
}

static void
parse_without(Options *options, JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;
	bool		valid = value->type == jbvBinary && JsonContainerIsArray(array);

	options->without = 0;
	for (int i = 0; valid && i < JsonContainerSize(array); i++)
	{
		int			part = find_choice(part_names, getIthJsonbValueFromContainer(array, i));

		valid = part >= 0 && (options->without & 1u << part) == 0;
		if (valid)
			options->without |= 1u << part;
	}
	if (!valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"without\": %s", json_value_text(value)),
				 errdetail("It must be an array of different names among \"%s\", \"%s\" and \"%s\".",
						   part_names[0], part_names[1], part_names[2])));
}

/* Tells what the interval was for. */
static void
interval_context(void *arg)
{
	errcontext("option \"%s\"", (const char *) arg);
}

/* Seconds of an interval, as EXTRACT (EPOCH) has them: months of 30 days, years of 365.25. */
static double
interval_seconds(const char *key, JsonbValue *value)
{
	ErrorContextCallback context = {.callback = interval_context, .arg = (void *) key};
	char	   *text = pnstrdup(value->val.string.val, value->val.string.len);
	Interval   *interval;

	context.previous = error_context_stack;
	error_context_stack = &context;
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	error_context_stack = context.previous;
	return interval->time / (double) USECS_PER_SEC +
		SECS_PER_DAY * (interval->day + DAYS_PER_YEAR * (interval->month / MONTHS_PER_YEAR) +
						(double) DAYS_PER_MONTH * (interval->month % MONTHS_PER_YEAR));
}

/* A number of seconds (of units when the time column is bigint), or an interval. */
static void
parse_max_gap(Options *options, const OptionSpec *spec, JsonbValue *value)
{
	if (value->type != jbvString)
	{
		parse_number(options, spec, value);
		return;
	}
	options->max_gap = interval_seconds(spec->key, value);
	if (!(options->max_gap >= spec->least && options->max_gap <= spec->most))
		out_of_range(spec, json_value_text(value));
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static void
invalid_season(JsonbValue *value)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"season\": %s", json_value_text(value)),
			 errdetail("It must be \"auto\", \"none\", or an array of at most %d different periods: "
					   "intervals, or numbers of seconds or of units of a bigint time column.",
					   NN_SEASON_PERIODS)));
}

static void
parse_periods(Options *options, JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;

	options->nperiods = JsonContainerSize(array);
	if (options->nperiods > NN_SEASON_PERIODS)
		invalid_season(value);
	for (int i = 0; i < options->nperiods; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);
		double		x = element->type == jbvString ? interval_seconds("season", element)
			: json_number(element, 0);

		if (!(x >= LEAST_PERIOD && x <= MOST_PERIOD))
			invalid_season(value);
		options->periods[i] = x;
	}
	qsort(options->periods, options->nperiods, sizeof(double), compare_doubles);
	for (int i = 1; i < options->nperiods; i++)
		if (options->periods[i] == options->periods[i - 1])
			invalid_season(value);
}

static void
parse_season(Options *options, JsonbValue *value)
{
	options->season = SEASON_GIVEN;
	options->nperiods = 0;
	if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data))
		parse_periods(options, value);
	else if (is_string(value, "auto"))
		options->season = SEASON_AUTO;
	else if (!is_string(value, "none"))
		invalid_season(value);
}

/* Presets replace defaults; keys beside them override the preset. */
static void
apply_preset(Options *options, JsonbValue *value)
{
	if (is_string(value, "paper"))
	{
		options->window = 100;
		options->d_model = 512;
		options->heads = 8;
		options->layers = 3;
		options->learning_rate = 1e-4;
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"preset\": %s", json_value_text(value)),
			 errdetail("The only preset is \"paper\".")));
}

static void
unknown_option(const char *key)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(specs); i++)
		appendStringInfo(&list, "%s, ", specs[i].key);
	for (int i = 0; i < lengthof(other_keys); i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", other_keys[i]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized option \"%s\"", key),
			 errhint("Valid options are: %s.", list.data)));
}

static void
parse_key(Options *options, const char *key, JsonbValue *value)
{
	for (int i = 0; i < lengthof(specs); i++)
		if (strcmp(key, specs[i].key) == 0)
		{
			if (strcmp(key, "max_gap") == 0)
				parse_max_gap(options, &specs[i], value);
			else
				parse_number(options, &specs[i], value);
			return;
		}
	if (strcmp(key, "horizons") == 0)
		parse_horizons(options, value);
	else if (strcmp(key, "season") == 0)
		parse_season(options, value);
	else if (strcmp(key, "missing") == 0)
		options->missing = parse_choice(key, missing_names, value);
	else if (strcmp(key, "method") == 0)
		options->method = parse_choice(key, method_names, value);
	else if (strcmp(key, "features") == 0)
		parse_names(options, value);
	else if (strcmp(key, "without") == 0)
		parse_without(options, value);
	else if (strcmp(key, "preset") != 0)	/* was applied first */
		unknown_option(key);
}

static void
set_defaults(Options *options)
{
	static const int horizons[] = {4, 16, 32};

	memset(options, 0, sizeof(*options));
	for (int i = 0; i < lengthof(specs); i++)
		assign(options, &specs[i], specs[i].preset);
	options->method = METHOD_AMAD;
	options->missing = MISSING_LOCF;
	options->season = SEASON_AUTO;
	options->nhorizons = lengthof(horizons);
	memcpy(options->horizons, horizons, sizeof(horizons));
}

/* Sets what other options imply: without the AutoMask no discrepancy has a weight. */
static void
imply(Options *options)
{
	/* both associations are the same: their discrepancy is rounding at most */
	if (options->without & NN_WITHOUT_AUTOMASK)
		options->maxmin_weight = options->discrepancy_weight = 0;
}

static void
check_relations(Options *options, bool steps_given)
{
	if (options->d_model % NN_SCALES != 0 || options->d_model % options->heads != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"d_model\": %d", options->d_model),
				 errdetail("It must be a multiple of %d and of the number of heads, %d.",
						   NN_SCALES, options->heads)));
	if (options->epochs > 0 && steps_given)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options \"steps\" and \"epochs\" exclude each other"),
				 errhint("Give one of them.")));
	if (options->epochs > 0)
		options->steps = 0;
	imply(options);
	if (options->chunk_length == 0)
		options->chunk_length = 2 * options->window;
	if (options->fill_limit < 0)
		options->fill_limit = options->window;
	if (options->skip < 0)
		options->skip = Min(options->window / 2, options->chunk_length - options->ahead - 1);
	if (options->skip >= options->chunk_length - options->ahead)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"skip\": %d", options->skip),
				 errdetail("It must be less than chunk_length - ahead, %d.",
						   options->chunk_length - options->ahead)));
	if (options->lookahead > options_max_horizon(options) / 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"lookahead\": %d", options->lookahead),
				 errdetail("It must be at most half of the longest horizon, %d.",
						   options_max_horizon(options) / 2)));
}

void
options_parse(Options *options, Jsonb *json)
{
	JsonbIterator *it;
	JsonbValue	value;
	JsonbIteratorToken token;
	JsonbValue *preset;

	set_defaults(options);
	if (json != NULL && !JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("For example '{\"window\": 64}'.")));
	if (json != NULL)
	{
		preset = json_get(&json->root, "preset");
		if (preset != NULL)
			apply_preset(options, preset);
		it = JsonbIteratorInit(&json->root);
		JsonbIteratorNext(&it, &value, true);	/* the object's beginning */
		while ((token = JsonbIteratorNext(&it, &value, true)) == WJB_KEY)
		{
			char	   *key = pnstrdup(value.val.string.val, value.val.string.len);

			JsonbIteratorNext(&it, &value, true);
			parse_key(options, key, &value);
		}
	}
	check_relations(options, json != NULL && json_get(&json->root, "steps") != NULL);
}

static void
write_without(const Options *options, StringInfo out)
{
	char	   *names[lengthof(part_names)];
	int			n = 0;

	for (int i = 0; i < lengthof(part_names); i++)
		if (options->without & 1u << i)
			names[n++] = unconstify(char *, part_names[i]);
	json_put_strings(out, "without", n, names);
}

void
options_write(const Options *options, StringInfo out)
{
	appendStringInfoChar(out, '{');
	for (int i = 0; i < lengthof(specs); i++)
	{
		double		value = value_of(options, &specs[i]);

		/* of steps and epochs only the one in force is within its range */
		if (value < specs[i].least)
			continue;
		json_put_double(out, specs[i].key, value);
	}
	json_put_ints(out, "horizons", options->nhorizons, options->horizons);
	if (options->season == SEASON_AUTO)
		json_put_string(out, "season", "auto");
	else if (options->nperiods == 0)
		json_put_string(out, "season", "none");
	else
		json_put_doubles(out, "season", options->nperiods, options->periods);
	json_put_string(out, "method", method_names[options->method]);
	json_put_string(out, "missing", missing_names[options->missing]);
	if (options->nnames > 0)
		json_put_strings(out, "features", options->nnames, options->names);
	if (options->without != 0)
		write_without(options, out);
	appendStringInfoChar(out, '}');
}

nn_shape
options_shape(const Options *options, int features)
{
	nn_shape	shape = {
		.features = features,
		.window = options->window,
		.d_model = options->d_model,
		.heads = options->heads,
		.layers = options->layers,
	};

	return shape;
}

nn_season
options_season(const Options *options)
{
	nn_season	season = {0};

	if (options->season == SEASON_GIVEN)
		season.nperiods = options->nperiods;
	/* without being asked, baselines stay what they are */
	else if (options->method == METHOD_AMAD)
		season.nperiods = SEASON_AUTO_PERIODS;
	for (int i = 0; i < season.nperiods; i++)
		season.harmonics[i] = options->season_harmonics;
	return season;
}

int
options_blocks(const Options *options)
{
	return options->method == METHOD_AMAD ? options->layers : 0;
}

bool
options_states(const Options *options)
{
	return options->method == METHOD_AMAD && options->state_weight > 0;
}

size_t
options_states_size(const Options *options, int features)
{
	return options_states(options) ? nn_states_size(features) : 0;
}

bool
options_flatline(const Options *options)
{
	return options->method == METHOD_AMAD && options->flatline_weight > 0;
}

int
options_activity_rows(const Options *options, int features)
{
	int			most = Min(options_context(options, features), MOST_ACTIVITY_ROWS);
	int			rows = NN_ACTIVITY_FEW; /* the context is longer */

	while (2 * rows <= most)
		rows *= 2;
	return rows;
}

double
options_bound(const Options *options)
{
	return options->method == METHOD_AMAD ? NN_BOUND : options->clip;
}

int
options_signals(const Options *options)
{
	return options_blocks(options) + options_states(options);
}

int
options_context(const Options *options, int features)
{
	nn_shape	shape = options_shape(options, features);

	return options->method == METHOD_AMAD ? nn_context(&shape) + options->ahead : 0;
}

int
options_max_horizon(const Options *options)
{
	return options->horizons[options->nhorizons - 1];
}

int
options_warmup(const Options *options, int features)
{
	return options_context(options, features) + options_max_horizon(options) - 1;
}
