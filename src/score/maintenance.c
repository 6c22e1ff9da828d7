/*
 * score/maintenance.c
 *	  Maintenance windows: times at which anomalies of a series are ignored.
 *
 * All windows are read once, in order of their begin, and kept in memory (rows/series_windows.c).
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "pg/json.h"
#include "pg/timestamps.h"
#include "rows/relation.h"
#include "rows/series_key.h"
#include "rows/series_windows.h"
#include "score/maintenance.h"

#define FETCH_ROWS 1000

struct Maintenance
{
	/* columns of the source */
	Oid			time_type;
	int			ncols;			/* series columns */
	char	  **cols;			/* (ncols) names */
	Oid		   *types;			/* (ncols) */

	SeriesWindows *windows;
};

/* ---- columns -------------------------------------------------------------------------------- */

static bool
is_series_column(const char *name, const Model *model)
{
	for (int i = 0; i < model->nseries_cols; i++)
		if (strcmp(model->series_cols[i], name) == 0)
			return true;
	return false;
}

static void
refuse_time_columns(Oid time_type, int n, const char *list)
{
	const char *what = time_type == INT8OID ? "an integer type"
											: "type timestamp with or without time zone, or date";

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("maintenance must have two time columns, begin and end"),
			 n == 0 ? errdetail("It has no column of %s.", what)
					: errdetail("It has %d of %s: %s.", n, what, list),
			 errhint("Give a query that selects these two columns and, if needed, series "
					 "columns.")));
}

static void
add_series_column(Maintenance *m, const char *name, Oid type)
{
	for (int i = 0; i < m->ncols; i++)
		if (strcmp(m->cols[i], name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_AMBIGUOUS_COLUMN),
					 errmsg("maintenance has more than one column \"%s\"", name)));
	m->cols[m->ncols] = pstrdup(name);
	m->types[m->ncols++] = type;
}

/*
 * Finds the columns, and returns the query that reads the windows: begin, end, series
 * columns.  It refers to columns by position, because those of a query need not have
 * unique names.
 */
static char *
build_windows_query(Maintenance *m, RelationSource *source, const Model *model)
{
	TupleDesc	desc = relation_columns(source, "maintenance");
	StringInfoData times;		/* expressions of the time columns */
	StringInfoData names;		/* and their names, for messages */
	StringInfoData series;
	StringInfoData aliases;
	int			ntimes = 0;

	initStringInfo(&times);
	initStringInfo(&names);
	initStringInfo(&series);
	initStringInfo(&aliases);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		char	   *name = NameStr(column->attname);
		Oid			scored_type = timestamps_scored_type(column->atttypid);

		appendStringInfo(&aliases, "%sc%d", i > 0 ? ", " : "", i);
		if (is_series_column(name, model))
		{
			add_series_column(m, name, column->atttypid);
			appendStringInfo(&series, ", c%d", i);
		}
		else if (OidIsValid(scored_type) && (scored_type == INT8OID) == (m->time_type == INT8OID))
		{
			appendStringInfo(&times, "%sc%d::pg_catalog.%s", ntimes > 0 ? ", " : "", i,
							 timestamps_type_name(m->time_type));
			appendStringInfo(&names, "%s\"%s\"", ntimes++ > 0 ? ", " : "", name);
		}
	}
	if (ntimes != 2)
		refuse_time_columns(m->time_type, ntimes, names.data);
	return psprintf("SELECT %s%s FROM %s(%s) ORDER BY 1 NULLS FIRST", times.data, series.data,
					source->from, aliases.data);
}

/* ---- values of series columns ------------------------------------------------------------ */

/* The text of a series column's value in a series key; NULL: null. */
static char *
key_value_text(const char *key, const char *col)
{
	Jsonb	   *json = json_to_jsonb(key);

	return series_value_text(json_get(&json->root, col));
}

/* ---- reading ------------------------------------------------------------------------------ */

/* Adds the window of a row; called in a context that is reset afterwards. */
static void
add_window(Maintenance *m, HeapTuple tuple, TupleDesc desc)
{
	char	  **values = palloc0(sizeof(char *) * Max(m->ncols, 1));
	bool	   *any = palloc0(sizeof(bool) * Max(m->ncols, 1));
	int64		begin;
	int64		end;
	bool		isnull;
	Datum		ts;

	ts = SPI_getbinval(tuple, desc, 1, &isnull);
	begin = isnull ? PG_INT64_MIN : DatumGetInt64(ts);
	ts = SPI_getbinval(tuple, desc, 2, &isnull);
	end = isnull ? PG_INT64_MAX : DatumGetInt64(ts);
	if (begin > end)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("maintenance window ends before it begins"),
				 errdetail("It begins at %s and ends at %s.", timestamps_text(m->time_type, begin),
						   timestamps_text(m->time_type, end)),
				 errhint("The first time column is the begin, the second is the end.")));
	for (int i = 0; i < m->ncols; i++)
	{
		Datum		value = SPI_getbinval(tuple, desc, i + 3, &isnull);

		/* written as in series keys, so that texts can be compared */
		any[i] = isnull;
		if (!isnull)
			values[i] = key_value_text(series_key_of_row(1, &m->cols[i], &m->types[i], &value,
														 &isnull),
									   m->cols[i]);
	}
	series_windows_add(m->windows, begin, end, values, any);
}

static void
read_windows(Maintenance *m, const char *query)
{
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "amad window",
													  ALLOCSET_DEFAULT_SIZES);
	/* in the snapshot of the calling query */
	Portal portal = SPI_cursor_parse_open(NULL, query, &(SPIParseOpenOptions){.read_only = true});

	for (int i = 0; i < m->ncols + 2; i++)
		relation_check_column("maintenance", portal->tupDesc, i,
							  i < 2 ? m->time_type : m->types[i - 2], InvalidOid);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			MemoryContext old = MemoryContextSwitchTo(row_context);

			add_window(m, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
			MemoryContextSwitchTo(old);
			MemoryContextReset(row_context);
		}
		SPI_freetuptable(SPI_tuptable);
		if (series_windows_bytes(m->windows) > (Size) work_mem * 1024)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("maintenance windows do not fit in work_mem (%d kB)", work_mem),
					 errhint("Raise work_mem, or give a query that selects the windows of the "
							 "range.")));
	}
	SPI_cursor_close(portal);
}

Maintenance *
maintenance_open(const char *source, Oid time_type, const Model *model)
{
	Maintenance *m = palloc0(sizeof(Maintenance));
	RelationSource relation = relation_open_source(source, "maintenance");
	char	   *query;

	m->time_type = time_type;
	m->cols = palloc(sizeof(char *) * Max(model->nseries_cols, 1));
	m->types = palloc(sizeof(Oid) * Max(model->nseries_cols, 1));
	query = build_windows_query(m, &relation, model);
	m->windows = series_windows_open(m->ncols, m->cols);
	SPI_connect();
	read_windows(m, query);
	SPI_finish();
	return m;
}

/* ---- the selected series ------------------------------------------------------------------ */

void
maintenance_select_series(Maintenance *m, const char *series)
{
	Jsonb	   *key = series ? json_to_jsonb(series) : NULL;

	series_windows_select(m->windows, key);
	if (key)
		pfree(key);
}

bool
maintenance_next(const Maintenance *m, int64 ts, int64 *begin, int64 *end)
{
	return series_windows_next(m->windows, ts, begin, end);
}

bool
maintenance_covers(const Maintenance *m, int64 ts)
{
	return series_windows_cover(m->windows, ts);
}

char *
maintenance_query(const Maintenance *m)
{
	return series_windows_query(m->windows, m->time_type);
}
