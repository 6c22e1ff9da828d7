/*
 * relation.c
 *	  What a user names as a source of rows: a relation or a query.
 */
#include "postgres.h"
#include "compat.h"

#include <ctype.h>

#include "catalog/namespace.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/varlena.h"

#include "relation.h"

static bool
begins_with(const char *text, const char *word)
{
	size_t		n = strlen(word);

	return pg_strncasecmp(text, word, n) == 0 && !isalnum((unsigned char) text[n]) &&
		text[n] != '_' && text[n] != '.' && text[n] != '"' && text[n] != '$';
}

static bool
is_query(const char *source)
{
	while (isspace((unsigned char) *source))
		source++;
	return *source == '(' || begins_with(source, "select") || begins_with(source, "with") ||
		begins_with(source, "values") || begins_with(source, "table");
}

/* Without the semicolon and blanks at the end. */
static char *
trimmed(const char *query)
{
	char	   *text = pstrdup(query);
	size_t		n = strlen(text);

	while (n > 0 && (isspace((unsigned char) text[n - 1]) || text[n - 1] == ';'))
		text[--n] = '\0';
	return text;
}

static Oid
relation_of(const char *name)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(name));

	return RangeVarGetRelid(makeRangeVarFromNameList(names), NoLock, false);
}

/* Independent of the search_path. */
static char *
qualified_name(Oid relation)
{
	char	   *schema = get_namespace_name_or_temp(get_rel_namespace(relation));

	return quote_qualified_identifier(schema, get_rel_name(relation));
}

RelationSource
relation_open_source(const char *source, const char *alias)
{
	RelationSource r = {.relation = InvalidOid};

	if (is_query(source))
	{
		r.text = trimmed(source);
		/* a line of its own, for the query may end in a comment */
		r.from = psprintf("(%s\n) AS %s", r.text, alias);
		return r;
	}
	r.relation = relation_of(source);
	r.text = qualified_name(r.relation);
	r.from = psprintf("%s AS %s", r.text, alias);
	return r;
}

TupleDesc
relation_columns(const RelationSource *source, const char *what)
{
	MemoryContext caller = CurrentMemoryContext;
	SPIPlanPtr	plan;
	TupleDesc	desc;
	List	   *sources;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	plan = SPI_prepare(psprintf("SELECT * FROM %s", source->from), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(plan);
	desc = list_length(sources) == 1 ? ((CachedPlanSource *) linitial(sources))->resultDesc : NULL;
	if (desc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be the name of a relation, or one query", what)));
	MemoryContextSwitchTo(caller);
	desc = CreateTupleDescCopy(desc);
	SPI_finish();
	return desc;
}
