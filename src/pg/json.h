/*
 * pg/json.h
 *	  Writing JSON text member by member, and reading values of jsonb.
 */
#ifndef AMAD_PG_JSON_H
#define AMAD_PG_JSON_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* Appends a member to an object, with a comma in front unless it is the first. */
extern void json_put_json(StringInfo out, const char *key, const char *json);
extern void json_put_string(StringInfo out, const char *key, const char *value);	/* NULL: null */
extern void json_put_strings(StringInfo out, const char *key, int n, char **values);
extern void json_put_int(StringInfo out, const char *key, int64 value);
extern void json_put_exact(StringInfo out, const char *key, int64 value);	/* as a string */
extern void json_put_ints(StringInfo out, const char *key, int n, const int *values);

/* Shortest text that reads back as the same double; null if it is not finite. */
extern void json_put_double(StringInfo out, const char *key, double value);
extern void json_put_doubles(StringInfo out, const char *key, int n, const double *values);

/* The key alone, and values alone. */
extern void json_key(StringInfo out, const char *key);
extern void json_string(StringInfo out, const char *value);
extern void json_strings(StringInfo out, int n, char **values);
extern void json_ints(StringInfo out, int n, const int *values);

/* Writes an object without its closing brace, for members to be appended. */
extern void json_reopen(StringInfo out, Jsonb *object);

/* JSON text as jsonb, and the value of a key of an object, or NULL. */
extern Jsonb *json_to_jsonb(const char *text);
extern JsonbValue *json_get(JsonbContainer *object, const char *key);

/*
 * The next key of the object that an iterator was opened for, and its value; NULL at the
 * end.
 */
extern char *json_next_member(JsonbIterator **iterator, JsonbValue *value);

/* Reads what json_put_exact() has written; false if the key is missing or has no string. */
extern bool json_exact(JsonbContainer *object, const char *key, int64 *value);

/* The text of a string; NULL if the value is NULL or not a string. */
extern char *json_string_text(const JsonbValue *value);

/* The text of a scalar: that of a string, otherwise as JSON. */
extern char *json_scalar_text(JsonbValue *value);

/* A value as text for a message, truncated to fit a line. */
extern char *json_value_text(JsonbValue *value);

/* ERROR: the value of an option is invalid.  must_be: "a number from 0 to 1". */
extern void json_refuse_option(const char *key, JsonbValue *value, const char *must_be);

/* A number, infinite beyond double's range; `otherwise` if the value is NULL or not a number. */
extern double json_number(const JsonbValue *value, double otherwise);

#endif							/* AMAD_PG_JSON_H */
