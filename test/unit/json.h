/*
 * json.h
 *	  A small reader for the reference values: whole file in, a tree out.
 */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>

typedef enum json_type
{
	JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT
} json_type;

typedef struct json_value
{
	json_type	type;
	double		number;			/* of a number; 0 or 1 of a boolean */
	char	   *text;			/* of a string */
	size_t		count;			/* of an array's or object's children */
	struct json_value *child;
	char	  **key;			/* of an object's children */
} json_value;

/* NULL, after a message on stderr, when the file is missing or no JSON. */
extern json_value *json_read(const char *path);
extern void json_free(json_value *value);

/* An object's member; ends the program when there is none. */
extern const json_value *json_get(const json_value *object, const char *key);

/*
 * The numbers of an array, as many as it must have; null gives NaN.  Ends the
 * program when the array has another length.
 */
extern void json_doubles(const json_value *array, size_t n, double *to);
extern void json_floats(const json_value *array, size_t n, float *to);

#endif							/* JSON_H */
