/*
 * pg/json.h
 *	  Writing JSON text, number by number; reading values of jsonb.
 *
 * json_key() puts a comma before every key but the first of its object.
 */
#ifndef AMAD_PG_JSON_H
#define AMAD_PG_JSON_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

extern void json_key(StringInfo out, const char *key);
extern void json_string(StringInfo out, const char *value);

/* Shortest text that reads back as the same double; null unless finite. */
extern void json_double(StringInfo out, double value);
extern void json_doubles(StringInfo out, int n, const double *values);
extern void json_int(StringInfo out, int64 value);
extern void json_ints(StringInfo out, int n, const int *values);
extern void json_strings(StringInfo out, int n, char **values);

/* The text of an object without its closing brace, for more members to follow. */
extern void json_reopen(StringInfo out, Jsonb *object);

/* JSON text as jsonb, and the value of a key of an object (NULL: none). */
extern Jsonb *json_to_jsonb(const char *text);
extern JsonbValue *json_get(JsonbContainer *object, const char *key);

/* A number, infinite beyond double's range; `otherwise` when it is none, or NULL. */
extern double json_number(const JsonbValue *value, double otherwise);

#endif							/* AMAD_PG_JSON_H */
