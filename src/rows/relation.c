/*
 * rows/relation.c
 *	  A source of rows as the user specifies it: the name of a relation, or a query.
 *
 * A name is resolved and locked at once, so that nobody can drop, rename or alter the
 * relation until the transaction ends.  A query is parsed alone first, so that it cannot
 * close the parentheses it is put in, and then used as a subquery in FROM.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <ctype.h>

#include "catalog/namespace.h"
#include "executor/spi.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/varlena.h"

#include "rows/relation.h"

static bool
begins_with(const char *text, const char *word)
{
	size_t		n = strlen(word);

	return pg_strncasecmp(text, word, n) == 0 && !isalnum((unsigned char) text[n]) &&
		text[n] != '_' && text[n] != '.' && text[n] != '"' && text[n] != '$';
}

/* The text after white space and comments; C-style comments nest. */
static const char *
skip_comments(const char *text)
{
	int			depth = 0;

	for (;;)
	{
		if (text[0] == '/' && text[1] == '*')
		{
			depth++;
			text += 2;
		}
		else if (depth > 0 && text[0] == '*' && text[1] == '/')
		{
			depth--;
			text += 2;
		}
		else if (*text != '\0' && (depth > 0 || isspace((unsigned char) *text)))
			text++;
		else if (text[0] == '-' && text[1] == '-')
			text += strcspn(text, "\r\n");
		else
			return text;
	}
}

static bool
is_query(const char *source)
{
	source = skip_comments(source);
	return *source == '(' || begins_with(source, "select") || begins_with(source, "with") ||
		begins_with(source, "values") || begins_with(source, "table");
}

char *
source_label(const char *source)
{
	return is_query(source) ? "source query" : psprintf("source %s", source);
}

int
source_errcontext(const char *source)
{
	return is_query(source) ? errcontext("source query \"%s\"", source) : 0;
}

/* Makes the position of a syntax error refer to the source's text, not to the caller's query. */
static void
parse_context(void *arg)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(arg);
	}
}

/* The text of a single query, without its semicolon; ERROR if the text is anything else. */
static char *
only_query(const char *source, const char *what)
{
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = parse_context,
		.arg = unconstify(char *, source),
	};
	List	   *statements;
	RawStmt    *statement;
	SelectStmt *query;
	char	   *text;
	size_t		n;

	error_context_stack = &context;
	statements = raw_parser(source, RAW_PARSE_DEFAULT);
	error_context_stack = context.previous;
	statement = statements == NIL ? NULL : linitial_node(RawStmt, statements);
	query = statement && IsA(statement->stmt, SelectStmt) ? (SelectStmt *) statement->stmt : NULL;
	if (list_length(statements) != 1 || query == NULL || query->intoClause != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be the name of a relation or a single query", what)));
	/* keeps comments before the query; stmt_len 0 means the rest of the text */
	text = pstrdup(source);
	if (statement->stmt_len > 0)
		text[statement->stmt_location + statement->stmt_len] = '\0';
	for (n = strlen(text); n > 0 && isspace((unsigned char) text[n - 1]);)
		text[--n] = '\0';
	return text;
}

/* Looks a relation up and locks it as a query that reads it does. */
static Oid
lock_relation(const char *name)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(name));

	return RangeVarGetRelid(makeRangeVarFromNameList(names), AccessShareLock, false);
}

/* The name of a relation with its schema. */
static char *
qualified_name(Oid relation)
{
	char	   *schema = get_namespace_name_or_temp(get_rel_namespace(relation));
	char	   *name = get_rel_name(relation);

	/* the schema is not locked */
	if (schema == NULL || name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u was concurrently dropped", relation)));
	return quote_qualified_identifier(schema, name);
}

RelationSource
relation_open_source(const char *source, const char *alias)
{
	RelationSource r = {.relation = InvalidOid};

	if (is_query(source))
	{
		r.text = only_query(source, alias);
		/* the parenthesis on a new line, because the query may end in a comment */
		r.from = psprintf("(%s\n) AS %s", r.text, alias);
		return r;
	}
	r.relation = lock_relation(source);
	r.text = qualified_name(r.relation);
	r.from = psprintf("%s AS %s", r.text, alias);
	return r;
}

TupleDesc
relation_columns(RelationSource *source, const char *what)
{
	MemoryContext caller = CurrentMemoryContext;
	SPIPlanPtr	plan;
	TupleDesc	desc;
	List	   *sources;
	ListCell   *cell;

	SPI_connect();
	plan = SPI_prepare(psprintf("SELECT * FROM %s", source->from), 0, NULL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	sources = SPI_plan_get_plan_sources(plan);
	desc = list_length(sources) == 1 ? ((CachedPlanSource *) linitial(sources))->resultDesc : NULL;
	if (desc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be the name of a relation or a single query", what)));
	foreach(cell, ((CachedPlanSource *) linitial(sources))->relationOids)
		if (isAnyTempNamespace(get_rel_namespace(lfirst_oid(cell))))
			source->temporary = true;
	MemoryContextSwitchTo(caller);
	desc = CreateTupleDescCopy(desc);
	SPI_finish();
	return desc;
}

void
relation_check_column(const char *what, TupleDesc desc, int i, Oid type, Oid collation)
{
	if (desc == NULL || i >= desc->natts || TupleDescAttr(desc, i)->atttypid != type ||
		(OidIsValid(collation) && TupleDescAttr(desc, i)->attcollation != collation))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s was changed while it was in use", what),
				 errdetail("The type of a column has changed since the columns were looked up."),
				 errhint("Repeat the command.")));
}
