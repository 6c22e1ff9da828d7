/*
 * model/feature_names.c
 *	  Names of the features of a model.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "model/feature_names.h"

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

const char *
feature_names_repeated(int n, char **names)
{
	const char *repeated = NULL;
	char	  **sorted;

	if (n < 2)
		return NULL;
	sorted = palloc(sizeof(char *) * n);
	memcpy(sorted, names, sizeof(char *) * n);
	qsort(sorted, n, sizeof(char *), compare_names);
	for (int i = 1; i < n && repeated == NULL; i++)
		if (strcmp(sorted[i - 1], sorted[i]) == 0)
			repeated = sorted[i];
	pfree(sorted);
	return repeated;
}
