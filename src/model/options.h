/*
 * model/options.h
 *	  Options of a training: the jsonb argument, checked (docs/sql.md, Options).
 */
#ifndef AMAD_MODEL_OPTIONS_H
#define AMAD_MODEL_OPTIONS_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "core/evidence/horizons.h"
#include "core/evidence/season.h"
#include "core/shape.h"
#include "pg/calendar.h"

#define OPTIONS_HOLIDAYS 4096	/* most dates of the option "holidays" */

/* What to do with NULL, NaN and infinite features of training rows. */
typedef enum MissingPolicy
{
	MISSING_LOCF,				/* last observation carried forward */
	MISSING_LINEAR,				/* on the line between the neighbours, by time */
	MISSING_ERROR				/* refuse */
} MissingPolicy;

/* Which periods a season has. */
typedef enum SeasonChoice
{
	SEASON_AUTO,				/* a day and a week, where the training rows show enough of them */
	SEASON_GIVEN				/* those given, or none */
} SeasonChoice;

#define SEASON_AUTO_PERIODS 2

/* What a feature is replaced by before it is scaled (rows/transform.c). */
typedef enum Transform
{
	TRANSFORM_NONE,
	TRANSFORM_LOG,
	TRANSFORM_DIFFERENCE,
	TRANSFORM_RATE,
	TRANSFORM_DETREND,
	TRANSFORM_AUTO				/* to be decided in training (rows/choose_transform.c) */
} Transform;

/* What reconstructs a row. */
typedef enum Method
{
	METHOD_AMAD,				/* the network */
	METHOD_PCA,					/* the first principal components */
	METHOD_ZSCORE				/* the mean */
} Method;

/* Where a key is written: beside "advanced", or in that object. */
typedef enum OptionLevel
{
	OPTION_ORDINARY,
	OPTION_ADVANCED
} OptionLevel;

typedef struct Options
{
	int			method;			/* Method */
	double		variance;		/* share of it that the components of METHOD_PCA keep */
	/* network */
	int			window;
	int			d_model;
	int			heads;
	int			layers;
	unsigned	without;		/* NN_WITHOUT_*: parts that are switched off */
	/* training */
	int			batch_size;
	int			chunk_length;	/* T; 0 until resolved: 2·window */
	int			ahead;			/* 1: a row is expected from those before it; 0: from itself, too */
	int64		steps;			/* 0: by epochs */
	bool		default_steps;	/* neither steps nor epochs were chosen */
	double		epochs;			/* 0: by steps */
	double		learning_rate;
	double		maxmin_weight;
	double		contrast_weight;
	double		input_missing;	/* share of the chunks with missing features */
	double		input_outliers; /* share of the chunks with wrong readings */
	double		validation_fraction;
	int64		seed;
	/* data */
	double		clip;
	int			missing;		/* MissingPolicy */
	int			fill_limit;		/* rows a missing value is carried; -1 until resolved: window */
	double		max_gap;		/* between rows, seconds or units of ts; 0: by the median step */
	int			transform;		/* Transform of the features without one of their own */
	int			ntransforms;	/* features with one of their own */
	char	  **transform_names;
	int		   *transforms;
	/* score */
	double		contamination;
	double		discrepancy_weight;
	double		residual_floor;
	double		state_weight;	/* of the distance from the states; 0: there are none */
	double		flatline_weight;	/* of features that do not move; 0: they have none */
	double		relation_weight;
	double		recurrence;
	double		level_weight;
	double		flag_weight;	/* of all flags, at most, in terms of all other features */
	double		horizon_quantile;
	int			season;			/* SeasonChoice */
	int			nperiods;
	double		periods[NN_SEASON_PERIODS]; /* seconds, or units of ts; ascending */
	char	   *timezone;		/* name; NULL: UTC */
	Calendar	calendar;
	int			season_harmonics;	/* of each period, at most */
	double		season_weight;	/* of the deviation from the season in the score */
	int			nhorizons;
	int			horizons[NN_HORIZONS_MAX];	/* ascending */
	int			lookahead;		/* rows after a row that its score may see */
	double		fade;			/* of the rows of a horizon */
	double		burst;			/* most that one row counts in it */
	double		release; /* of a horizon's evidence, by that of the next shorter one; 0: any */
	/* schema */
	int			nnames;			/* features, or 0 if their names are not known */
	char	  **names;			/* palloc'd */
} Options;

/* Defaults overridden by json (NULL: none).  ERRORs name key, range and remedy. */
extern void options_parse(Options *options, Jsonb *json);

/* Options in force, overridden by a JSON object.  The same ERRORs. */
extern void options_update(Options *options, Jsonb *json);

/* The preset "short" instead of the options that determine how many rows are needed. */
extern void options_shorten(Options *options);

/* The level of a key that exists. */
extern OptionLevel options_level(const char *key);

/* ERROR with a HINT where to write a key unless it is given at its level. */
extern void options_check_level(const char *key, OptionLevel level, OptionLevel given);

/* The object that is the value of the key "advanced".  ERROR if it is something else. */
extern JsonbContainer *options_advanced(JsonbValue *value);

/* The name of a feature (from 0), or its number (from 1) as text if it has no name. */
extern const char *options_feature_name(const Options *options, int feature);

/* The Transform of a feature. */
extern int	options_transform(const Options *options, int feature);

/* ERROR if the option "transform" names a feature that does not exist. */
extern void options_check_transforms(const Options *options, int features);

/* "rate" for TRANSFORM_RATE, and the reverse: -1 if there is no transform of that name. */
extern const char *options_transform_name(int transform);
extern int	options_find_transform(const char *name);

/* The options in force, as a JSON object that options_parse() accepts. */
extern void options_write(const Options *options, StringInfo out);

#endif							/* AMAD_MODEL_OPTIONS_H */
