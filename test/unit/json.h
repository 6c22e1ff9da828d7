/*
 * json.h
 *	  A small JSON reader for the reference values: makes a tree of a file.
 */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>

typedef enum json_type
{
	JSON_NULL,
	JSON_BOOL,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
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

/* Returns NULL, after a message on stderr, if the file is missing or invalid. */
extern json_value *json_read(const char *path);
extern void json_free(json_value *value);

/* Returns a member of an object; ends the program if it does not exist. */
extern const json_value *json_get(const json_value *object, const char *key);

/*
 * Copies the n numbers of an array; null becomes NaN.  Ends the program if the array
 * has another length.
 */
extern void json_doubles(const json_value *array, size_t n, double *to);
extern void json_floats(const json_value *array, size_t n, float *to);

#endif							/* JSON_H */
