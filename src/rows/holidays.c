/*
 * rows/holidays.c
 *	  The option "holidays" as the name of a relation or a query: read once, when a model is
 *	  trained.
 *
 * The model stores the dates, so that no query of its owner runs when other roles score with
 * it.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/date.h"

#include "model/options.h"
#include "pg/json.h"
#include "rows/holidays.h"
#include "rows/relation.h"

#define OPTION "holidays"

/* The first column of type date, quoted. */
static const char *
date_column(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (!column->attisdropped && column->atttypid == DATEOID)
			return quote_identifier(pstrdup(NameStr(column->attname)));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"" OPTION "\" has no column of type date")));
	return NULL;
}

/* The dates as a JSON object with the option, in ISO format. */
static char *
read_dates(const char *query)
{
	MemoryContext caller = CurrentMemoryContext;
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, "{\"" OPTION "\": [");
	SPI_connect();
	if (SPI_execute(query, true, OPTIONS_HOLIDAYS + 1) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed");
	if (SPI_processed > 0)
		relation_check_column(OPTION, SPI_tuptable->tupdesc, 0, TEXTOID, InvalidOid);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		const char *date = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext spi = MemoryContextSwitchTo(caller);

		if (i > 0)
			appendStringInfoString(&text, ", ");
		json_string(&text, date);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	appendStringInfoString(&text, "]}");
	return text.data;
}

Jsonb *
holidays_read(Jsonb *options)
{
	char	   *text = options && JB_ROOT_IS_OBJECT(options)
		? json_string_text(json_get(&options->root, OPTION))
		: NULL;
	RelationSource source;
	const char *column;
	char	   *dates;

	if (text == NULL)
		return options;
	source = relation_open_source(text, OPTION);
	column = date_column(relation_columns(&source, OPTION));
	dates = read_dates(psprintf("SELECT DISTINCT pg_catalog.to_char(" OPTION
								".%s, 'YYYY-MM-DD BC') "
								"FROM %s WHERE pg_catalog.isfinite(" OPTION ".%s)",
								column, source.from, column));
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(options),
											  JsonbPGetDatum(json_to_jsonb(dates))));
}
