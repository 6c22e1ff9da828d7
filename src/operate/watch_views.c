/*
 * operate/watch_views.c
 *	  Views of the table of scores of a watch, for dashboards.
 *
 * They have the columns that Grafana expects of a time series in long format and of annotations.  The
 * time column is not cast, and there is no aggregation, so the condition on the time of a panel reaches
 * the indexes and partitions of the table.  They belong to the owner of the watch, like the table.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/varlena.h"

#include "operate/watch_views.h"
#include "pg/subtransaction.h"

/* %1$s: time column, %2$s: text of the series or null, %3$s: table */
static const struct
{
	const char *suffix;
	const char *query;
	const char *comment;
} views[] = {
	{"grafana",
	 "SELECT %1$s AS \"time\", coalesce(%2$s, 'severity') AS metric, severity AS value FROM %3$s",
	 "anomaly scores as a time series of Grafana"},
	{"annotations",
	 "SELECT %1$s AS \"time\", %1$s AS timeend, pg_catalog.concat_ws(': ', %2$s, (SELECT c.key "
	 "FROM "
	 "pg_catalog.jsonb_each(contributions) AS c ORDER BY c.value DESC LIMIT 1)) AS text, "
	 "'anomaly'::pg_catalog.text AS tags FROM %3$s WHERE severity OPERATOR(pg_catalog.>) 1 AND "
	 "status IS NULL",
	 "anomalies as annotations of Grafana: the series, and the column that contributed most"},
};

/* The values of the series columns as a text; null if there are none. */
static char *
series_text(const Source *s)
{
	StringInfoData text;

	if (s->spec.nseries == 0)
		return "NULL::pg_catalog.text";
	initStringInfo(&text);
	appendStringInfoString(&text, "pg_catalog.concat_ws(' '");
	for (int i = 0; i < s->spec.nseries; i++)
		appendStringInfo(&text, ", %s", quote_identifier(s->spec.series_cols[i]));
	appendStringInfoChar(&text, ')');
	return text.data;
}

/* What create_view() is to do. */
typedef struct NewView
{
	const char *name;			/* qualified, quoted */
	const char *query;
	const char *comment;
} NewView;

static void
create_view(void *arg)
{
	const NewView *view = arg;

	if (SPI_execute(psprintf("CREATE VIEW %s AS %s", view->name, view->query), false, 0) < 0 ||
		SPI_execute(psprintf("COMMENT ON VIEW %s IS %s", view->name,
							 quote_literal_cstr(view->comment)),
					false, 0) < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(SPI_result));
}

static void
report_no_view(const char *name, const char *detail)
{
	ereport(NOTICE, (errmsg("view %s was not created", name), errdetail("%s", detail)));
}

void
watch_create_views(const char *target, const Source *s)
{
	RangeVar   *name = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(target)));
	const char *ts = quote_identifier(s->spec.timestamp_col);
	const char *series = series_text(s);

	SPI_connect();
	for (int i = 0; i < lengthof(views); i++)
	{
		char	   *relname = makeObjectName(name->relname, NULL, views[i].suffix);
		Oid			oid = get_relname_relid(relname, get_namespace_oid(name->schemaname, false));
		NewView		view = {
			.name = quote_qualified_identifier(name->schemaname, relname),
			.query = psprintf(views[i].query, ts, series, target),
			.comment = views[i].comment,
		};
		ErrorData  *error;

		if (OidIsValid(oid))
		{
			if (get_rel_relkind(oid) != RELKIND_VIEW)
				report_no_view(view.name, "A relation of that name exists already.");
			continue;
		}
		/* the owner of the watch may not be allowed to create relations beside the table */
		error = subtransaction_run(create_view, &view);
		if (error && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		if (error)
			report_no_view(view.name, error->message);
	}
	SPI_finish();
}
