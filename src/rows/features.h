/*
 * rows/features.h
 *	  Features of a row: the arguments of a call, as double precision.
 *
 * They are the call's last arguments, each of a numeric type or boolean (false is 0,
 * true is 1), or one array of such a type.  NULL, NaN and infinite values are missing;
 * they come back as NaN.
 */
#ifndef AMAD_ROWS_FEATURES_H
#define AMAD_ROWS_FEATURES_H

#include "model/feature_names.h"

typedef enum FeatureType
{
	FEATURE_BOOL,
	FEATURE_INT2,
	FEATURE_INT4,
	FEATURE_INT8,
	FEATURE_FLOAT4,
	FEATURE_FLOAT8,
	FEATURE_NUMERIC,
	FEATURE_NULL				/* an untyped NULL: always missing */
} FeatureType;

typedef struct Features
{
	int			first;			/* number of the first argument, from 0 */
	int			nargs;			/* arguments from there on */
	bool		array;			/* one array argument holds them all */
	int			count;			/* features of a row; 0: not known yet (array) */
	FeatureType *type;			/* (nargs); of the elements when array */
} Features;

/* How a type (or a domain over it) is read; false: it is neither numeric nor boolean. */
extern bool features_type(Oid type, FeatureType *how);

/* Why a type is no feature's, as a hint: the cast that exists, or another way to a number. */
extern const char *features_type_hint(Oid type);

/*
 * Look at the argument types of the call, once.  Allocates in the current context.
 * names (nnames, which may be 0) are those of the features, for messages.
 */
extern Features *features_open(FmgrInfo *flinfo, int first, int nargs, int nnames, char **names);

/* One argument that is not an array. */
extern double features_value(FeatureType type, Datum value, bool isnull);

/*
 * The order of two rows' features (count): by the first feature whose values differ,
 * missing values last.
 */
extern int	features_compare(int count, const double *a, const double *b);

/* A greater share of duplicates means that rows of several series were mixed. */
#define DUPLICATE_SHARE 0.1

/*
 * For an array argument: the number of its elements, which is that of the
 * features, and the elements as values (count); a null array is all missing.
 */
extern int	features_array_length(Datum array);
extern void features_array_values(const Features *features, Datum array, bool isnull,
								 double *values);

#endif							/* AMAD_ROWS_FEATURES_H */
