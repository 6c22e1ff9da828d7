/*
 * series_key.h
 *	  The name of a series: a JSON object of the columns that tell series apart.
 *
 * For example {"site": 3, "device": "a"}; keys in the columns' order.  Numbers and
 * booleans are themselves, all else is text.
 */
#ifndef AMAD_SERIES_KEY_H
#define AMAD_SERIES_KEY_H

#include "model.h"

/* From values of the columns of a row, in the current context. */
extern char *series_key_of_row(int ncols, char **cols, const Oid *types, const Datum *values,
							   const bool *nulls);

/*
 * From what a user gives for a model's series: the object, with its members in any
 * order; an array of the values; or, for one column, the value.  ERROR when members
 * are missing or too many.
 */
extern char *series_key_of_jsonb(const Model *model, Jsonb *json);

#endif							/* AMAD_SERIES_KEY_H */
