/*
 * rows/features.h
 *	  The features of a row, from the arguments of a call, as double precision.
 *
 * They are the last arguments of the call, each of a numeric type or boolean (false is 0,
 * true is 1), or one array of such a type.  NULL, NaN and infinite values are missing and
 * are returned as NaN.
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
	int			nargs;			/* number of arguments from there on */
	bool		array;			/* the only argument is an array */
	int			count;			/* features of a row; for an array, 0 until the first one */
	FeatureType *type;			/* (nargs) type of the argument or element */
} Features;

/* How values of a type or domain are read; false if it is neither numeric nor boolean. */
extern bool features_type(Oid type, FeatureType *how);

/*
 * Checks the types of the call's arguments.  Allocates in the current context.  names
 * (nnames, which may be 0) are names of the features, for messages.
 */
extern Features *features_open(FmgrInfo *flinfo, int first, int nargs, int nnames, char **names);

/* The value of one argument, column or array element. */
extern double features_value(FeatureType type, Datum value, bool isnull);

/*
 * For an array argument: its number of elements, which is that of the features, and its
 * elements as values (count); in a null array all are missing.
 */
extern int	features_array_length(Datum array);
extern void features_array_values(const Features *features, Datum array, bool isnull,
								  double *values);

#endif							/* AMAD_ROWS_FEATURES_H */
