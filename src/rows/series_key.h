/*
 * rows/series_key.h
 *	  The key of a series: a JSON object of its series columns.
 *
 * For example {"site": 3, "device": "a"}, with the columns in order.  Numbers and booleans
 * are JSON numbers and booleans, everything else is text that does not depend on the session's
 * settings.  Equal values of built-in scalar types have the same text: 1.0 and 1.00, 0 and
 * -0, 1 day and 24 hours.
 */
#ifndef AMAD_ROWS_SERIES_KEY_H
#define AMAD_ROWS_SERIES_KEY_H

#include "model/model.h"

/* The key from the values of a row's series columns, in the current context. */
extern char *series_key_of_row(int ncols, char **cols, const Oid *types, const Datum *values,
							   const bool *nulls);

/*
 * The key from the user's description of a series: an object, with its members in any order,
 * an array of the values, or, for one column, the value.  ERROR if there are too few or
 * too many members.
 */
extern char *series_key_of_jsonb(const Model *model, Jsonb *json);

/* The text of a value by the output function of its type, independent of the session's settings. */
extern char *series_output_text(Oid type, Datum value);

/* The text of a member of a key, numbers without trailing zeros; NULL for null. */
extern char *series_value_text(const JsonbValue *value);

/*
 * Finds the series of a model that a row belongs to if its key is not identical to a
 * series' key: by the column's equality operator where values with different texts can be
 * equal, and by text where the column had another type in training (1 and '1').
 */
typedef struct SeriesFinder SeriesFinder;

/*
 * types and collations: of the series columns, or NULL if they are not known; then values
 * are compared by text only.  Allocates in the current context.
 */
extern SeriesFinder *series_finder_open(const Model *model, const Oid *types,
										const Oid *collations);

/*
 * The key in the model of the series with this key and these values (NULL if types are not
 * known), or NULL if the model has no such series.
 */
extern const char *series_finder_find(SeriesFinder *finder, const char *key, const Datum *values);

#endif							/* AMAD_ROWS_SERIES_KEY_H */
