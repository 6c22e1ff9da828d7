/*
 * model/figures.h
 *	  The figures of a model: scaling and calibration, of each series and of all rows.
 *
 * figures[] lists them once.  Code that handles all of them loops over the list: it creates,
 * encodes, decodes, describes and copies them, and computes their sizes.
 */
#ifndef AMAD_MODEL_FIGURES_H
#define AMAD_MODEL_FIGURES_H

/* Which profile of recurrence applies to the rows of a series. */
typedef enum RecurrenceProfile
{
	PROFILE_NONE,				/* nothing recurs */
	PROFILE_ALL,				/* that of all rows, which has one of its own */
	PROFILE_OWN					/* its own */
} RecurrenceProfile;

/* Figures of one series, or of all rows together. */
typedef struct ModelStats
{
	/* scaling */
	double	   *mean;			/* (features) */
	double	   *std;			/* (features) 0: constant */
	double		step;			/* median distance of neighbouring timestamps; 0: not known */
	double		max_gap;		/* distance at which a new warm-up begins; 0: none */

	/* calibration */
	double	   *rho;			/* (features) mean squared residual */
	double	   *rho_incomplete; /* (features) the same while features are missing, at least rho */
	double	   *mu;				/* (signals) mean */
	double	   *theta;			/* (horizons) scale of the raw scores' means */
	double		threshold;		/* of the anomaly score */

	/* season; NULL without one */
	double	   *season;			/* (features, terms) weights, of scaled values */
	double	   *season_gain;	/* (features) 0 … 1: share of the variance that it explains */
	double	   *season_spread;	/* (features) mean squared deviation from it */
	double	   *season_scale;	/* (features) nn_calibration.season_scale, from the others */

	/* recurrence; NULL without a profile of its own */
	double		profile;		/* a RecurrenceProfile */
	double	   *recurrence;		/* (bins of all periods) nn_calibration has the meaning of these */
	double	   *recurrence_slots;	/* (slots) */
	double	   *recurrence_mean;	/* (slots, features) */
	double	   *recurrence_scale;	/* (slots, features) */

	/* flatlines; NULL without their evidence */
	double		flatline;		/* evidence of a feature that does not move at all */
	double	   *activity;		/* (features) a flatline moves less than this; 0: none is one */

	/* relations; NULL without their evidence */
	double		relation;		/* nn_calibration has the meaning of these */
	double		relation_limit;
	double	   *relation_mean;	/* (features) */

	/* levels */
	double		level;			/* the highest of the training; 0: none is known */

	bool		borrowed;		/* the calibration is that of all series, not its own; not stored */
} ModelStats;

/* How many numbers a figure has. */
typedef enum FigureSize
{
	FIGURE_ONE,
	FIGURE_FLATLINE_ONE,		/* 0 without flatlines */
	FIGURE_RELATION_ONE,		/* 0 without relations */
	FIGURE_RECURRENCE_ONE,		/* 0 without recurrence */
	FIGURE_LEVEL_ONE,			/* 0 without levels; the last single number */
	FIGURE_FEATURES,
	FIGURE_SIGNALS,
	FIGURE_HORIZONS,
	FIGURE_SEASON_WEIGHTS,		/* features · terms; 0 without a season, like the next */
	FIGURE_SEASON_FEATURES,
	FIGURE_RECURRENCE_BINS,		/* of a profile; 0 without a season or recurrence */
	FIGURE_RECURRENCE_SLOTS,	/* of a profile; 0 without recurrence, like the next */
	FIGURE_RECURRENCE_FEATURES,
	FIGURE_FLATLINE_FEATURES,	/* 0 without flatlines */
	FIGURE_RELATION_FEATURES,	/* 0 without relations */
	FIGURE_SIZES
} FigureSize;

/* Where a series takes a figure from. */
typedef enum FigureOrigin
{
	FIGURE_OF_ROWS,				/* always its own rows */
	FIGURE_CALIBRATED,			/* its own rows, or those of all series when it has too few */
	FIGURE_DERIVED				/* its other figures, after calibration; not stored */
} FigureOrigin;

typedef struct Figure
{
	const char *name;			/* in amad_describe() */
	const char *section;		/* object there; NULL: it is described in another way */
	FigureSize	size;
	FigureOrigin origin;
	double		least;			/* value that a model can have */
	size_t		offset;			/* in ModelStats, of a double or of a pointer to several */
} Figure;

extern const Figure figures[];
extern const int figures_count;

/* The number of numbers of each size. */
typedef struct FigureSizes
{
	uint64		count[FIGURE_SIZES];
} FigureSizes;

/* Evidence that only some models have, as a set. */
#define FIGURES_FLATLINES 1
#define FIGURES_RELATIONS 2
#define FIGURES_LEVEL 4
#define FIGURES_EVIDENCE 7		/* all of it */

extern FigureSizes figure_sizes(int features, int signals, int horizons, int terms, int bins,
								unsigned evidence);

/* Whether a figure is an array of its size, or a single number. */
extern bool figure_is_array(const Figure *figure);

/* The numbers of a figure, and how many there are: the profile is optional. */
extern double *figure_values(const Figure *figure, const ModelStats *stats);
extern uint64 figure_count(const Figure *figure, const FigureSizes *sizes, const ModelStats *stats);

/* Allocates, in the current context, the arrays except those of the profile; zeroed. */
extern void figures_create(ModelStats *stats, const FigureSizes *sizes);

/* Gives it a profile of its own, zeroed, and takes it away. */
extern void figures_create_profile(ModelStats *stats, const FigureSizes *sizes);
extern void figures_drop_profile(ModelStats *stats);

/* Bytes of the figures that are stored, of all in memory, and of a profile, which they omit. */
extern uint64 figures_stored_bytes(const FigureSizes *sizes);
extern uint64 figures_bytes(const FigureSizes *sizes);
extern uint64 figures_profile_bytes(const FigureSizes *sizes);

/* How many series can have a profile of their own: an eighth of maintenance_work_mem is for these. */
extern int64 figures_most_profiles(const FigureSizes *sizes);

/* Copies the figures that calibration sets from those of all rows to those of a series. */
extern void figures_copy_calibration(const FigureSizes *sizes, const ModelStats *all,
									 ModelStats *series);

#endif							/* AMAD_MODEL_FIGURES_H */
