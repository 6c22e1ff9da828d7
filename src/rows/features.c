/*
 * rows/features.c
 *	  The features of a row, from the arguments of a call, as double precision.
 *
 * The types of the arguments are looked up once per call; then each value of each row is
 * converted by a switch over the type, without a function call through the catalog.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "rows/features.h"

bool
features_type(Oid type, FeatureType *how)
{
	switch (getBaseType(type))
	{
		case BOOLOID:
			*how = FEATURE_BOOL;
			return true;
		case INT2OID:
			*how = FEATURE_INT2;
			return true;
		case INT4OID:
			*how = FEATURE_INT4;
			return true;
		case INT8OID:
			*how = FEATURE_INT8;
			return true;
		case FLOAT4OID:
			*how = FEATURE_FLOAT4;
			return true;
		case FLOAT8OID:
			*how = FEATURE_FLOAT8;
			return true;
		case NUMERICOID:
			*how = FEATURE_NUMERIC;
			return true;
		case UNKNOWNOID:
			*how = FEATURE_NULL;
			return true;
		default:
			return false;
	}
}

/* A hint how to make a feature of a value of another type. */
static const char *
conversion_hint(Oid type)
{
	Oid			function;

	switch (getBaseType(type))
	{
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case INTERVALOID:
			return "Use extract(epoch FROM ...), or omit the column.";
		case MONEYOID:
			return "Cast it to numeric, or omit it.";
	}
	if (find_coercion_pathway(FLOAT8OID, type, COERCION_EXPLICIT, &function) != COERCION_PATH_NONE)
		return "Cast it to double precision, or omit it.";
	return "Convert it to a number, for example with CASE, or omit it.";
}

/* The type of feature `number` (from 0); ERROR if it cannot be one. */
static FeatureType
require_type(Oid type, int number, int nnames, char **names)
{
	FeatureType how = FEATURE_NULL;

	if (!features_type(type, &how))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 number < nnames
					 ? errmsg("feature \"%s\" has type %s, which is neither numeric nor boolean",
							  names[number], format_type_be(type))
					 : errmsg("feature %d has type %s, which is neither numeric nor boolean",
							  number + 1, format_type_be(type)),
				 errhint("%s", conversion_hint(type))));
	return how;
}

Features *
features_open(FmgrInfo *flinfo, int first, int nargs, int nnames, char **names)
{
	Features   *f = palloc0(sizeof(Features));

	f->first = first;
	f->nargs = nargs - first;
	f->type = palloc(sizeof(FeatureType) * Max(f->nargs, 1));
	if (f->nargs < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("no features specified"),
				 errhint("Specify at least one numeric or boolean column after the timestamp.")));
	if (f->nargs == 1)
	{
		/* calls of window functions do not record whether VARIADIC was written */
		Oid			element = get_base_element_type(get_fn_expr_argtype(flinfo, first));

		f->array = OidIsValid(element);
		if (f->array)
		{
			f->type[0] = require_type(element, 0, nnames, names);
			return f;
		}
	}
	f->count = f->nargs;
	for (int i = 0; i < f->nargs; i++)
		f->type[i] = require_type(get_fn_expr_argtype(flinfo, first + i), i, nnames, names);
	return f;
}

double
features_value(FeatureType type, Datum value, bool isnull)
{
	double		x = NAN;

	if (isnull)
		return NAN;
	switch (type)
	{
		case FEATURE_BOOL:
			return DatumGetBool(value) ? 1.0 : 0.0;
		case FEATURE_INT2:
			return DatumGetInt16(value);
		case FEATURE_INT4:
			return DatumGetInt32(value);
		case FEATURE_INT8:
			return (double) DatumGetInt64(value);
		case FEATURE_FLOAT4:
			x = DatumGetFloat4(value);
			break;
		case FEATURE_FLOAT8:
			x = DatumGetFloat8(value);
			break;
		case FEATURE_NUMERIC:
			/* beyond the range of double: infinite, so missing */
			x = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));
			break;
		case FEATURE_NULL:
			/* a literal other than NULL that was not given a type */
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("a feature cannot be a literal of unknown type"),
					 errhint("Cast it to double precision.")));
	}
	return isfinite(x) ? x + 0.0 : NAN; /* 0 instead of -0, so that equal rows are identical */
}

static void
check_array(ArrayType *a)
{
	int			n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));

	if (ARR_NDIM(a) != 1 || n < 1 || n > FEATURES_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("features must be a one-dimensional array of 1 to %d elements",
						FEATURES_MAX)));
}

int
features_array_length(Datum array)
{
	ArrayType  *a = DatumGetArrayTypeP(array);

	check_array(a);
	return ARR_DIMS(a)[0];
}

void
features_array_values(const Features *f, Datum array, bool isnull, double *values)
{
	ArrayType  *a;
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	int16		length;
	bool		byval;
	char		align;

	if (isnull)
	{
		for (int i = 0; i < f->count; i++)
			values[i] = NAN;
		return;
	}
	a = DatumGetArrayTypeP(array);
	check_array(a);
	get_typlenbyvalalign(ARR_ELEMTYPE(a), &length, &byval, &align);
	deconstruct_array(a, ARR_ELEMTYPE(a), length, byval, align, &elements, &nulls, &n);
	if (n != f->count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("array has %d features instead of %d", n, f->count),
				 errhint("All rows must have the same features in the same order.")));
	for (int i = 0; i < n; i++)
		values[i] = features_value(f->type[0], elements[i], nulls[i]);
}
