/*
 * rows/relation.h
 *	  A source of rows as the user specifies it: the name of a relation, or a query.
 *
 * A text that begins with SELECT, WITH, VALUES, TABLE or a parenthesis, ignoring comments,
 * is a query; any other is the name of a relation.
 */
#ifndef AMAD_ROWS_RELATION_H
#define AMAD_ROWS_RELATION_H

#include "access/tupdesc.h"

typedef struct RelationSource
{
	Oid			relation;		/* InvalidOid: a query */
	char	   *text;			/* qualified name, or the query without its semicolon */
	char	   *from;			/* what follows FROM, including the alias */
	bool		temporary;		/* reads a temporary relation; set by relation_columns() */
} RelationSource;

/*
 * Looks a name up in the search_path and locks the relation until the transaction ends, or
 * parses a query.  alias: name of the argument, which is also the alias in FROM.  ERROR if
 * there is no such relation, or the text is not a single query.
 */
extern RelationSource relation_open_source(const char *source, const char *alias);

/*
 * What to call a source in a message: "source" and the relation's name, or "source query".
 * The context of the message then has the query, whose text can be long.
 */
extern char *source_label(const char *source);
extern int	source_errcontext(const char *source);

/* The columns of the source, in the current context; what: name of the argument. */
extern TupleDesc relation_columns(RelationSource *source, const char *what);

/*
 * ERROR unless column i of the rows that a query returns has this type (and collation, if
 * valid).  Called when the first row comes: since the columns were looked up, other
 * statements may have changed the source.
 */
extern void relation_check_column(const char *what, TupleDesc desc, int i, Oid type, Oid collation);

#endif							/* AMAD_ROWS_RELATION_H */
