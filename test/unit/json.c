/*
 * json.c
 *	  A small JSON reader for the reference values.
 *
 * It supports what the reference file needs, so no \u escapes.  Depth is bounded, and
 * the text ends with a 0 byte that no rule accepts, so nothing reads past its end.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

#define DEPTH_MAX 16

typedef struct reader
{
	const char *at;
	int			depth;
} reader;

static bool read_value(reader *r, json_value *value);

static void *
grow(void *p, size_t bytes)
{
	void	   *q = realloc(p, bytes);

	if (q == NULL)
	{
		perror("realloc");
		exit(EXIT_FAILURE);
	}
	return q;
}

static void
skip_space(reader *r)
{
	r->at += strspn(r->at, " \t\r\n");
}

/* Consumes the next character after white space if it is c. */
static bool
accept_char(reader *r, char c)
{
	skip_space(r);
	if (*r->at != c)
		return false;
	r->at++;
	return true;
}

static bool
read_string(reader *r, char **text)
{
	const char *from;
	const char *end;
	char	   *to;

	if (!accept_char(r, '"'))
		return false;
	from = r->at;
	for (end = from; *end != '"'; end++)
		if (*end == '\0' || (*end == '\\' && *++end == '\0'))
			return false;
	to = *text = grow(NULL, end - from + 1);
	for (; from < end; from++)
	{
		if (*from == '\\')
		{
			if (strchr("\"\\/", *++from) == NULL)
				return false;
		}
		*to++ = *from;
	}
	*to = '\0';
	r->at = end + 1;
	return true;
}

/* Appends a child; room grows by powers of two. */
static json_value *
add_child(json_value *value)
{
	size_t		n = value->count;

	if ((n & (n - 1)) == 0)
	{
		size_t		room = n > 0 ? 2 * n : 1;

		value->child = grow(value->child, room * sizeof(json_value));
		if (value->type == JSON_OBJECT)
			value->key = grow(value->key, room * sizeof(char *));
	}
	memset(&value->child[n], 0, sizeof(json_value));
	if (value->type == JSON_OBJECT)
		value->key[n] = NULL;
	value->count++;
	return &value->child[n];
}

static bool
read_children(reader *r, json_value *value, char close)
{
	if (accept_char(r, close))
		return true;
	do
	{
		json_value *child = add_child(value);

		if (value->type == JSON_OBJECT &&
			(!read_string(r, &value->key[value->count - 1]) || !accept_char(r, ':')))
			return false;
		if (!read_value(r, child))
			return false;
	} while (accept_char(r, ','));
	return accept_char(r, close);
}

static bool
read_word(reader *r, json_value *value)
{
	static const struct
	{
		const char *word;
		json_type	type;
		double		number;
	} words[] = {{"null", JSON_NULL, 0}, {"true", JSON_BOOL, 1}, {"false", JSON_BOOL, 0}};
	char	   *end;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncmp(r->at, words[i].word, strlen(words[i].word)) == 0)
		{
			value->type = words[i].type;
			value->number = words[i].number;
			r->at += strlen(words[i].word);
			return true;
		}
	if (*r->at != '-' && (*r->at < '0' || *r->at > '9'))
		return false;
	value->type = JSON_NUMBER;
	value->number = strtod(r->at, &end);
	if (end == r->at)
		return false;
	r->at = end;
	return true;
}

static bool
read_value(reader *r, json_value *value)
{
	bool		good;

	if (++r->depth > DEPTH_MAX)
		return false;
	skip_space(r);
	if (*r->at == '"')
	{
		value->type = JSON_STRING;
		good = read_string(r, &value->text);
	}
	else if (accept_char(r, '{'))
	{
		value->type = JSON_OBJECT;
		good = read_children(r, value, '}');
	}
	else if (accept_char(r, '['))
	{
		value->type = JSON_ARRAY;
		good = read_children(r, value, ']');
	}
	else
		good = read_word(r, value);
	r->depth--;
	return good;
}

/* Returns the file's bytes and a 0, or NULL. */
static char *
read_file(const char *path)
{
	FILE	   *file = fopen(path, "rb");
	char	   *text = NULL;
	size_t		room = 1 << 16;
	size_t		have = 0;
	size_t		got;

	if (file == NULL)
	{
		perror(path);
		return NULL;
	}
	do
	{
		text = grow(text, room + 1);
		got = fread(text + have, 1, room - have, file);
		have += got;
		room *= 2;
	} while (got > 0);
	text[have] = '\0';
	fclose(file);
	return text;
}

static void
free_children(json_value *value)
{
	for (size_t i = 0; i < value->count; i++)
	{
		free_children(&value->child[i]);
		if (value->key)
			free(value->key[i]);
	}
	free(value->child);
	free(value->key);
	free(value->text);
}

json_value *
json_read(const char *path)
{
	char	   *text = read_file(path);
	reader		r = {.at = text};
	json_value *value;

	if (text == NULL)
		return NULL;
	value = grow(NULL, sizeof(json_value));
	memset(value, 0, sizeof(json_value));
	if (!read_value(&r, value) || (skip_space(&r), *r.at != '\0'))
	{
		fprintf(stderr, "%s: invalid JSON at byte %td\n", path, r.at - text);
		json_free(value);
		value = NULL;
	}
	free(text);
	return value;
}

void
json_free(json_value *value)
{
	if (value == NULL)
		return;
	free_children(value);
	free(value);
}

const json_value *
json_get(const json_value *object, const char *key)
{
	if (object->type == JSON_OBJECT)
		for (size_t i = 0; i < object->count; i++)
			if (strcmp(object->key[i], key) == 0)
				return &object->child[i];
	fprintf(stderr, "reference file does not have \"%s\"\n", key);
	exit(EXIT_FAILURE);
}

void
json_doubles(const json_value *array, size_t n, double *to)
{
	if (array->type != JSON_ARRAY || array->count != n)
	{
		fprintf(stderr, "reference file has an array of %zu values, not %zu\n", array->count, n);
		exit(EXIT_FAILURE);
	}
	for (size_t i = 0; i < n; i++)
		to[i] = array->child[i].type == JSON_NUMBER ? array->child[i].number : NAN;
}

void
json_floats(const json_value *array, size_t n, float *to)
{
	double	   *values = grow(NULL, (n + 1) * sizeof(double));

	json_doubles(array, n, values);
	for (size_t i = 0; i < n; i++)
		to[i] = (float) values[i];
	free(values);
}
