/*
 * rows/series_key.h
 *	  The name of a series: a JSON object of the columns that tell series apart.
 *
 * For example {"site": 3, "device": "a"}; keys in the columns' order.  Numbers and
 * booleans are themselves, all else is text, the same in every session.  Equal values
 * of built-in scalar types have one text: 1.0 and 1.00, 0 and -0, 1 day and 24 hours.
 */
#ifndef AMAD_ROWS_SERIES_KEY_H
#define AMAD_ROWS_SERIES_KEY_H

#include "model/model.h"

/* From values of the columns of a row, in the current context. */
extern char *series_key_of_row(int ncols, char **cols, const Oid *types, const Datum *values,
							   const bool *nulls);

/*
 * From what a user gives for a model's series: the object, with its members in any
 * order; an array of the values; or, for one column, the value.  ERROR when members
 * are missing or too many.
 */
extern char *series_key_of_jsonb(const Model *model, Jsonb *json);

/* The text of a key's member, with numbers without trailing zeros; NULL: null. */
extern char *series_value_text(const JsonbValue *value);

/*
 * Finds series of a model by values that are equal to theirs but have another key: by
 * the column's own equality where its type or collation calls different texts equal,
 * and by text where the column had another type in training (1 and '1').
 */
typedef struct SeriesFinder SeriesFinder;

/*
 * types and collations: of the columns (model->nseries_cols); NULL: not known, and values
 * are found by text only.  In the current context.
 */
extern SeriesFinder *series_finder_open(const Model *model, const Oid *types,
										const Oid *collations);

/*
 * The model's key of the series with a row's key and values (NULL when types are not
 * known); NULL: it has none.
 */
extern const char *series_finder_find(SeriesFinder *finder, const char *key, const Datum *values);

#endif							/* AMAD_ROWS_SERIES_KEY_H */
