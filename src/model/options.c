/*
 * model/options.c
 *	  Options of a training: one table of keys, types, ranges and defaults.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "core/network/network.h"
#include "model/feature_names.h"
#include "model/options.h"
#include "pg/json.h"

typedef enum OptionType
{
	OPTION_INT,					/* int */
	OPTION_BIGINT,				/* int64 */
	OPTION_REAL					/* double */
} OptionType;

typedef struct OptionSpec
{
	const char *key;
	OptionLevel level;
	OptionType	type;
	size_t		offset;
	double		least;
	double		most;
	double		preset;			/* the default */
} OptionSpec;

#define SPEC(field, level, type, least, most, preset) \
	{ \
#field, level, type, offsetof(Options, field), least, most, preset \
	}

#define MAX_HORIZON 65536
#define DEFAULT_STEPS 500

/* Ranges keep every size computed from them far below overflow. */
static const OptionSpec specs[] = {
	SPEC(window, OPTION_ORDINARY, OPTION_INT, 1, 4096, 64),
	SPEC(d_model, OPTION_ORDINARY, OPTION_INT, 4, 2048, 64),
	SPEC(heads, OPTION_ORDINARY, OPTION_INT, 1, 64, 4),
	SPEC(layers, OPTION_ORDINARY, OPTION_INT, 1, 16, 2),
	SPEC(steps, OPTION_ORDINARY, OPTION_BIGINT, 1, 10000000, DEFAULT_STEPS),
	SPEC(epochs, OPTION_ORDINARY, OPTION_REAL, 1e-3, 1e6, 0),
	SPEC(learning_rate, OPTION_ORDINARY, OPTION_REAL, 1e-8, 1, 2e-3),
	SPEC(contamination, OPTION_ORDINARY, OPTION_REAL, 1e-6, 0.5, 0.01),
	SPEC(lookahead, OPTION_ORDINARY, OPTION_INT, 0, MAX_HORIZON / 2, 0),
	SPEC(fill_limit, OPTION_ORDINARY, OPTION_INT, 0, 65536, -1),
	SPEC(max_gap, OPTION_ORDINARY, OPTION_REAL, 1e-6, 1e15, 0),
	SPEC(validation_fraction, OPTION_ORDINARY, OPTION_REAL, 0.01, 0.9, 0.05),
	SPEC(seed, OPTION_ORDINARY, OPTION_BIGINT, 0, 9007199254740991.0, 0),

	SPEC(batch_size, OPTION_ADVANCED, OPTION_INT, 1, 1024, 8),
	SPEC(chunk_length, OPTION_ADVANCED, OPTION_INT, 2, 16384, 0),
	SPEC(ahead, OPTION_ADVANCED, OPTION_INT, 0, 1, 1),
	SPEC(maxmin_weight, OPTION_ADVANCED, OPTION_REAL, 0, 100, 1),
	SPEC(input_missing, OPTION_ADVANCED, OPTION_REAL, 0, 1, 0.25),
	SPEC(input_outliers, OPTION_ADVANCED, OPTION_REAL, 0, 1, 0.2),
	SPEC(contrast_weight, OPTION_ADVANCED, OPTION_REAL, 0, 100, 0.02),
	SPEC(clip, OPTION_ADVANCED, OPTION_REAL, 0.1, 1000, 5),
	SPEC(variance, OPTION_ADVANCED, OPTION_REAL, 0.01, 1, 0.9),
	SPEC(discrepancy_weight, OPTION_ADVANCED, OPTION_REAL, 0, 4, 0.1),
	SPEC(residual_floor, OPTION_ADVANCED, OPTION_REAL, 0, 1, 0.1),
	SPEC(state_weight, OPTION_ADVANCED, OPTION_REAL, 0, 4, 0.75),
	SPEC(flatline_weight, OPTION_ADVANCED, OPTION_REAL, 0, 100, 1.2),
	SPEC(relation_weight, OPTION_ADVANCED, OPTION_REAL, 0, 1000, 20),
	SPEC(recurrence, OPTION_ADVANCED, OPTION_REAL, 0, 1, 1),
	SPEC(level_weight, OPTION_ADVANCED, OPTION_REAL, 0, 10, 0.6),
	SPEC(flag_weight, OPTION_ADVANCED, OPTION_REAL, 0.001, 10000, 0.1),
	SPEC(horizon_quantile, OPTION_ADVANCED, OPTION_REAL, 0.01, 0.9999, 0.9),
	SPEC(release, OPTION_ADVANCED, OPTION_REAL, 0, 1e6, 3),
	SPEC(fade, OPTION_ADVANCED, OPTION_REAL, 0, 1, 1),
	SPEC(burst, OPTION_ADVANCED, OPTION_REAL, 0, 1e6, 3),
	SPEC(season_harmonics, OPTION_ADVANCED, OPTION_INT, 1, NN_SEASON_HARMONICS, 4),
	SPEC(season_weight, OPTION_ADVANCED, OPTION_REAL, 0, 100, 0.5),
};

/*
 * Options that replace defaults.  "short" is for series of 100 to 500 rows: so few show
 * little of how long a feature may stand still.
 */
static const struct
{
	const char *name;
	const char *options;
} presets[] = {
	{"paper",
	 "{\"window\": 100, \"d_model\": 512, \"heads\": 8, \"layers\": 3, \"learning_rate\": 1e-4}"},
	{"short",
	 "{\"window\": 16, \"d_model\": 32, \"layers\": 1, \"horizons\": [4, 8], \"steps\": 200, "
	 "\"advanced\": {\"flatline_weight\": 0}}"},
};

#define PRESET_SHORT 1

#define LEAST_PERIOD 1e-3		/* of a season */
#define MOST_PERIOD 1e12

static const char *const missing_names[] = {"locf", "linear", "error"};
static const char *const transform_names[] = {"none", "log",	 "difference",
											  "rate", "detrend", "auto"};
static const char *const method_names[] = {"amad", "pca", "zscore"};
/* bit i of Options.without: the i-th */
static const char *const part_names[] = {"automask", "mixup", "multiscale"};

StaticAssertDecl(NN_WITHOUT_AUTOMASK == 1 << 0 && NN_WITHOUT_MIXUP == 1 << 1 &&
					 NN_WITHOUT_MULTISCALE == 1 << 2,
				 "names of parts have another order");

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
refuse_number(const OptionSpec *spec, JsonbValue *value)
{
	json_refuse_option(spec->key, value,
					   psprintf("%s from %s to %s",
								spec->type == OPTION_REAL ? "a number" : "an integer",
								number_text(spec, spec->least), number_text(spec, spec->most)));
}

static void
parse_number(Options *options, const OptionSpec *spec, JsonbValue *value)
{
	double		x = json_number(value, NAN);

	if (!(x >= spec->least && x <= spec->most) || (spec->type != OPTION_REAL && x != floor(x)))
		refuse_number(spec, value);
	assign(options, spec, x);
}

static int
compare_ints(const void *a, const void *b)
{
	return *(const int *) a - *(const int *) b;
}

static void
refuse_horizons(JsonbValue *value)
{
	json_refuse_option("horizons", value,
					   psprintf("an array of 1 to %d different integers from 1 to %d",
								NN_HORIZONS_MAX, MAX_HORIZON));
}

static void
parse_horizons(Options *options, JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;

	if (value->type != jbvBinary || !JsonContainerIsArray(array) || JsonContainerSize(array) < 1 ||
		JsonContainerSize(array) > NN_HORIZONS_MAX)
		refuse_horizons(value);
	options->nhorizons = JsonContainerSize(array);
	for (int i = 0; i < options->nhorizons; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);
		double		x = json_number(element, 0);

		if (!(x >= 1 && x <= MAX_HORIZON) || x != floor(x))
			refuse_horizons(value);
		options->horizons[i] = (int) x;
	}
	qsort(options->horizons, options->nhorizons, sizeof(int), compare_ints);
	for (int i = 1; i < options->nhorizons; i++)
		if (options->horizons[i] == options->horizons[i - 1])
			refuse_horizons(value);
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
		json_refuse_option("features", value, "an array of the features' names, all different");
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
	json_refuse_option(key, value,
					   psprintf("\"%s\", \"%s\" or \"%s\"", names[0], names[1], names[2]));
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
		json_refuse_option("without", value,
						   psprintf("an array of different names among \"%s\", \"%s\" and \"%s\"",
									part_names[0], part_names[1], part_names[2]));
}

/* Adds the option to errors of the interval's input function. */
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
		SECS_PER_DAY *
		(interval->day + DAYS_PER_YEAR * (interval->month / MONTHS_PER_YEAR) +
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
		refuse_number(spec, value);
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static void
refuse_season(JsonbValue *value)
{
	json_refuse_option("season", value,
					   psprintf("\"auto\", \"none\", or an array of at most %d different periods: "
								"intervals, or numbers of seconds or of units of a bigint time "
								"column",
								NN_SEASON_PERIODS));
}

static void
parse_periods(Options *options, JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;

	options->nperiods = JsonContainerSize(array);
	if (options->nperiods > NN_SEASON_PERIODS)
		refuse_season(value);
	for (int i = 0; i < options->nperiods; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);
		double		x = element->type == jbvString ? interval_seconds("season", element)
											  : json_number(element, 0);

		if (!(x >= LEAST_PERIOD && x <= MOST_PERIOD))
			refuse_season(value);
		options->periods[i] = x;
	}
	qsort(options->periods, options->nperiods, sizeof(double), compare_doubles);
	for (int i = 1; i < options->nperiods; i++)
		if (options->periods[i] == options->periods[i - 1])
			refuse_season(value);
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
		refuse_season(value);
}

static void
parse_timezone(Options *options, JsonbValue *value)
{
	options->timezone = json_string_text(value);
	options->calendar.zone = options->timezone ? calendar_zone(options->timezone) : NULL;
	if (options->calendar.zone == NULL)
		json_refuse_option("timezone", value,
						   "the name of a time zone, such as \"Europe/Berlin\" (see "
						   "pg_timezone_names)");
}

static void
parse_holidays(Options *options, JsonbValue *value)
{
	JsonbContainer *array = value->type == jbvBinary ? value->val.binary.data : NULL;
	Calendar   *calendar = &options->calendar;

	if (array == NULL || !JsonContainerIsArray(array) ||
		JsonContainerSize(array) > OPTIONS_HOLIDAYS)
		json_refuse_option("holidays", value,
						   psprintf("an array of at most %d dates", OPTIONS_HOLIDAYS));
	calendar->nholidays = JsonContainerSize(array);
	calendar->holidays = palloc(sizeof(DateADT) * Max(calendar->nholidays, 1));
	for (int i = 0; i < calendar->nholidays; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);
		char	   *text = json_string_text(element);
		size_t		year = text ? strspn(text, "0123456789") : 0;

		/* other formats depend on the session, which amad_fit() must not, as it is immutable */
		if (year < 4 || text[year] != '-')
			json_refuse_option("holidays", element, "a date, such as \"2026-12-25\"");
		calendar->holidays[i] = DatumGetDateADT(
			DirectFunctionCall1(date_in, CStringGetDatum(text)));
	}
	qsort(calendar->holidays, calendar->nholidays, sizeof(DateADT), calendar_compare_dates);
}

static void
refuse_transform(JsonbValue *value)
{
	json_refuse_option("transform", value,
					   "\"auto\", \"none\", \"log\", \"difference\", \"rate\", \"detrend\", or an "
					   "object with one of these for each feature");
}

const char *
options_transform_name(int transform)
{
	return transform_names[transform];
}

int
options_find_transform(const char *name)
{
	for (int i = 0; i < lengthof(transform_names); i++)
		if (strcmp(transform_names[i], name) == 0)
			return i;
	return -1;
}

/* A transform's name as a value; -1 if it is something else. */
static int
transform_of(const JsonbValue *value)
{
	const char *name = json_string_text(value);

	return name ? options_find_transform(name) : -1;
}

static void
parse_transform(Options *options, JsonbValue *value)
{
	JsonbContainer *object = value->val.binary.data;
	JsonbIterator *it;
	JsonbValue	member;
	char	   *key;

	options->transform = TRANSFORM_AUTO;
	options->ntransforms = 0;
	if (value->type != jbvBinary)
	{
		options->transform = transform_of(value);
		if (options->transform < 0)
			refuse_transform(value);
		return;
	}
	if (!JsonContainerIsObject(object))
		refuse_transform(value);
	options->transform_names = palloc(sizeof(char *) * Max(JsonContainerSize(object), 1));
	options->transforms = palloc(sizeof(int) * Max(JsonContainerSize(object), 1));
	it = JsonbIteratorInit(object);
	while ((key = json_next_member(&it, &member)) != NULL)
	{
		int			transform = transform_of(&member);

		if (transform < 0)
			refuse_transform(&member);
		options->transform_names[options->ntransforms] = key;
		options->transforms[options->ntransforms++] = transform;
	}
}

static void
parse_method(Options *options, JsonbValue *value)
{
	options->method = parse_choice("method", method_names, value);
}

static void
parse_missing(Options *options, JsonbValue *value)
{
	options->missing = parse_choice("missing", missing_names, value);
}

/* The preset was applied before all keys, which override it. */
static void
skip_preset(Options *options, JsonbValue *value)
{
}

/* Keys whose values are not numbers. */
static const struct
{
	const char *key;
	OptionLevel level;
	void		(*parse) (Options *options, JsonbValue *value);
} other_keys[] = {
	{"method", OPTION_ORDINARY, parse_method},		 {"horizons", OPTION_ORDINARY, parse_horizons},
	{"season", OPTION_ORDINARY, parse_season},		 {"missing", OPTION_ORDINARY, parse_missing},
	{"transform", OPTION_ORDINARY, parse_transform}, {"features", OPTION_ORDINARY, parse_names},
	{"timezone", OPTION_ORDINARY, parse_timezone},	 {"holidays", OPTION_ORDINARY, parse_holidays},
	{"preset", OPTION_ORDINARY, skip_preset},		 {"without", OPTION_ADVANCED, parse_without},
};

/* The keys of a level, as a list for messages. */
static char *
list_keys(OptionLevel level)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(specs); i++)
		if (specs[i].level == level)
			appendStringInfo(&list, "%s%s", list.len > 0 ? ", " : "", specs[i].key);
	for (int i = 0; i < lengthof(other_keys); i++)
		if (other_keys[i].level == level)
			appendStringInfo(&list, ", %s", other_keys[i].key);
	return list.data;
}

static void
unknown_option(const char *key, OptionLevel level)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 level == OPTION_ORDINARY ? errmsg("unrecognized option \"%s\"", key)
									  : errmsg("unrecognized advanced option \"%s\"", key),
			 level == OPTION_ORDINARY
				 ? errhint("Valid options are: %s, advanced.", list_keys(level))
				 : errhint("Valid advanced options are: %s.", list_keys(level))));
}

OptionLevel
options_level(const char *key)
{
	for (int i = 0; i < lengthof(specs); i++)
		if (strcmp(key, specs[i].key) == 0)
			return specs[i].level;
	for (int i = 0; i < lengthof(other_keys); i++)
		if (strcmp(key, other_keys[i].key) == 0)
			return other_keys[i].level;
	return OPTION_ORDINARY;
}

void
options_check_level(const char *key, OptionLevel level, OptionLevel given)
{
	if (given == level)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 level == OPTION_ADVANCED ? errmsg("\"%s\" is an advanced option", key)
									  : errmsg("\"%s\" is not an advanced option", key),
			 level == OPTION_ADVANCED ? errhint("Write it as {\"advanced\": {\"%s\": ...}}.", key)
									  : errhint("Write it outside \"advanced\".")));
}

JsonbContainer *
options_advanced(JsonbValue *value)
{
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		json_refuse_option("advanced", value, "an object of advanced options");
	return value->val.binary.data;
}

/* Sets the option of a key that is written at a level. */
static void
parse_key(Options *options, const char *key, JsonbValue *value, OptionLevel level)
{
	for (int i = 0; i < lengthof(specs); i++)
		if (strcmp(key, specs[i].key) == 0)
		{
			options_check_level(key, specs[i].level, level);
			if (strcmp(key, "max_gap") == 0)
				parse_max_gap(options, &specs[i], value);
			else
				parse_number(options, &specs[i], value);
			return;
		}
	for (int i = 0; i < lengthof(other_keys); i++)
		if (strcmp(key, other_keys[i].key) == 0)
		{
			options_check_level(key, other_keys[i].level, level);
			other_keys[i].parse(options, value);
			return;
		}
	unknown_option(key, level);
}

/* Sets all options of an object, which is "advanced" or the one that contains it. */
static void
parse_object(Options *options, JsonbContainer *object, OptionLevel level)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue	value;
	char	   *key;

	while ((key = json_next_member(&it, &value)) != NULL)
		if (level == OPTION_ADVANCED || strcmp(key, "advanced") != 0)
			parse_key(options, key, &value, level);
		else
			parse_object(options, options_advanced(&value), OPTION_ADVANCED);
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
	options->transform = TRANSFORM_AUTO;
	options->nhorizons = lengthof(horizons);
	memcpy(options->horizons, horizons, sizeof(horizons));
}

static void
apply_preset(Options *options, JsonbValue *value)
{
	for (int i = 0; i < lengthof(presets); i++)
		if (is_string(value, presets[i].name))
		{
			parse_object(options, &json_to_jsonb(presets[i].options)->root, OPTION_ORDINARY);
			return;
		}
	json_refuse_option("preset", value, "\"paper\" or \"short\"");
}

static void
check_option_relations(Options *options, bool steps_given)
{
	if (options->d_model % NN_SCALES != 0 || options->d_model % options->heads != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"d_model\": %d", options->d_model),
				 errdetail("It must be a multiple of %d and of the number of heads, %d.", NN_SCALES,
						   options->heads)));
	if (options->epochs > 0 && steps_given)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options \"steps\" and \"epochs\" cannot be specified together")));
	if (options->epochs > 0)
		options->steps = 0;
	/* without the AutoMask both associations are the same: their discrepancy is rounding */
	if (options->without & NN_WITHOUT_AUTOMASK)
		options->maxmin_weight = options->discrepancy_weight = 0;
	if (options->chunk_length == 0)
		options->chunk_length = 2 * options->window;
	if (options->fill_limit < 0)
		options->fill_limit = options->window;
	if (options->lookahead > options->horizons[options->nhorizons - 1] / 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"lookahead\": %d", options->lookahead),
				 errdetail("It must be at most half of the longest horizon, %d.",
						   options->horizons[options->nhorizons - 1] / 2)));
}

void
options_parse(Options *options, Jsonb *json)
{
	JsonbValue *preset;
	bool		steps_given;

	set_defaults(options);
	if (json != NULL)
	{
		if (!JB_ROOT_IS_OBJECT(json))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("options must be a JSON object"),
					 errhint("For example '{\"window\": 64}'.")));
		preset = json_get(&json->root, "preset");
		if (preset != NULL)
			apply_preset(options, preset);
		parse_object(options, &json->root, OPTION_ORDINARY);
	}
	steps_given = json != NULL && json_get(&json->root, "steps") != NULL;
	check_option_relations(options, steps_given);
	options->default_steps = !steps_given && options->steps == DEFAULT_STEPS;
}

void
options_update(Options *options, Jsonb *json)
{
	parse_object(options, &json->root, OPTION_ORDINARY);
	check_option_relations(options, false);
}

void
options_shorten(Options *options)
{
	parse_object(options, &json_to_jsonb(presets[PRESET_SHORT].options)->root, OPTION_ORDINARY);
	options->chunk_length = 2 * options->window;
}

const char *
options_feature_name(const Options *options, int feature)
{
	return options->nnames > 0 ? options->names[feature] : psprintf("%d", feature + 1);
}

int
options_transform(const Options *options, int feature)
{
	const char *name = options->ntransforms > 0 ? options_feature_name(options, feature) : NULL;

	for (int i = 0; i < options->ntransforms; i++)
		if (strcmp(options->transform_names[i], name) == 0)
			return options->transforms[i];
	return options->transform;
}

void
options_check_transforms(const Options *options, int features)
{
	bool	   *found = palloc0(sizeof(bool) * Max(options->ntransforms, 1));

	for (int c = 0; c < features && options->ntransforms > 0; c++)
	{
		const char *name = options_feature_name(options, c);

		for (int i = 0; i < options->ntransforms; i++)
			found[i] = found[i] || strcmp(options->transform_names[i], name) == 0;
	}
	for (int i = 0; i < options->ntransforms; i++)
		if (!found[i])
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("option \"transform\" names a feature that does not exist: \"%s\"",
							options->transform_names[i]),
					 options->nnames > 0
						 ? 0
						 : errhint("Features without names are called \"1\", \"2\" and so on.")));
	pfree(found);
}

static void
write_transform(const Options *options, StringInfo out)
{
	if (options->ntransforms == 0)
	{
		json_put_string(out, "transform", transform_names[options->transform]);
		return;
	}
	json_key(out, "transform");
	appendStringInfoChar(out, '{');
	for (int i = 0; i < options->ntransforms; i++)
		json_put_string(out, options->transform_names[i], transform_names[options->transforms[i]]);
	appendStringInfoChar(out, '}');
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

/* Dates in ISO format, regardless of the session's DateStyle. */
static void
write_holidays(const Calendar *calendar, StringInfo out)
{
	json_key(out, "holidays");
	appendStringInfoChar(out, '[');
	for (int i = 0; i < calendar->nholidays; i++)
	{
		struct pg_tm tm;
		char		text[MAXDATELEN + 1];

		j2date(calendar->holidays[i] + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
		EncodeDateOnly(&tm, USE_ISO_DATES, text);
		if (i > 0)
			appendStringInfoString(out, ", ");
		json_string(out, text);
	}
	appendStringInfoChar(out, ']');
}

static void
write_numbers(const Options *options, OptionLevel level, StringInfo out)
{
	for (int i = 0; i < lengthof(specs); i++)
	{
		double		value = value_of(options, &specs[i]);

		/* of steps and epochs only the one in force is within its range */
		if (specs[i].level != level || value < specs[i].least)
			continue;
		json_put_double(out, specs[i].key, value);
	}
}

void
options_write(const Options *options, StringInfo out)
{
	appendStringInfoChar(out, '{');
	write_numbers(options, OPTION_ORDINARY, out);
	json_put_ints(out, "horizons", options->nhorizons, options->horizons);
	if (options->season == SEASON_AUTO)
		json_put_string(out, "season", "auto");
	else if (options->nperiods == 0)
		json_put_string(out, "season", "none");
	else
		json_put_doubles(out, "season", options->nperiods, options->periods);
	if (options->timezone)
		json_put_string(out, "timezone", options->timezone);
	if (options->calendar.nholidays > 0)
		write_holidays(&options->calendar, out);
	json_put_string(out, "method", method_names[options->method]);
	json_put_string(out, "missing", missing_names[options->missing]);
	write_transform(options, out);
	if (options->nnames > 0)
		json_put_strings(out, "features", options->nnames, options->names);
	json_key(out, "advanced");
	appendStringInfoChar(out, '{');
	write_numbers(options, OPTION_ADVANCED, out);
	if (options->without != 0)
		write_without(options, out);
	appendStringInfoString(out, "}}");
}
