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

void
watch_create_views(const char *target, const Source *s)
{
	RangeVar   *name = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(target)));
	const char *ts = quote_identifier(s->spec.timestamp_col);
	const char *series = series_text(s);

	SPI_connect();
	for (int i = 0; i < lengthof(views); i++)
	{
		char	   *view = makeObjectName(name->relname, NULL, views[i].suffix);
		char	   *qualified = quote_qualified_identifier(name->schemaname, view);
		Oid			oid = get_relname_relid(view, get_namespace_oid(name->schemaname, false));
		StringInfoData create;

		if (OidIsValid(oid))
		{
			if (get_rel_relkind(oid) != RELKIND_VIEW)
				ereport(NOTICE,
						(errmsg("view %s was not created", qualified),
						 errdetail("A relation of that name exists already.")));
			continue;
		}
		initStringInfo(&create);
		appendStringInfo(&create, "CREATE VIEW %s AS ", qualified);
		appendStringInfo(&create, views[i].query, ts, series, target);
		if (SPI_execute(create.data, false, 0) < 0 ||
			SPI_execute(psprintf("COMMENT ON VIEW %s IS %s", qualified,
								 quote_literal_cstr(views[i].comment)),
						false, 0) < 0)
			elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(SPI_result));
	}
	SPI_finish();
}
