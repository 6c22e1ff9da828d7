/*
 * score/maintenance.c
 *	  Maintenance windows: times at which anomalies of a series are ignored.
 *
 * All windows are read once, in order of their begin, and kept in memory.  Values of series
 * columns are kept as the text that they have in series keys.  For each series, the windows
 * with its values are merged into disjoint ones, which are searched by bisection.
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
#include "score/maintenance.h"

#define FETCH_ROWS 1000

typedef struct Window
{
	int64		begin;
	int64		end;			/* exclusive */
	char	  **value;			/* (ncols) of the series concerned; NULL: any */
} Window;

struct Maintenance
{
	/* columns of the source */
	Oid			time_type;
	int			ncols;			/* series columns */
	char	  **cols;			/* (ncols) names */
	Oid		   *types;			/* (ncols) */

	/* all windows */
	MemoryContext context;
	int			nwindows;
	int			room;
	Window	   *window;			/* (room) by their begin */

	/* those of the selected series */
	MemoryContext series_context;
	int			nmerged;
	Window	   *merged;			/* (nmerged) disjoint, ascending */
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
	m->cols[m->ncols] = MemoryContextStrdup(m->context, name);
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

/* Whether a window is for the series with these values (ncols). */
static bool
window_concerns(const Maintenance *m, const Window *window, char **value)
{
	for (int i = 0; i < m->ncols; i++)
		if (window->value[i] && (value[i] == NULL || strcmp(window->value[i], value[i]) != 0))
			return false;
	return true;
}

/* ---- reading ------------------------------------------------------------------------------ */

static void
add_window(Maintenance *m, HeapTuple tuple, TupleDesc desc)
{
	Window	   *window;
	bool		isnull;
	Datum		ts;

	if (m->nwindows == m->room)
	{
		m->room = m->room == 0 ? 64 : 2 * m->room;
		m->window = m->window == NULL ? MemoryContextAlloc(m->context, sizeof(Window) * m->room)
									  : repalloc_huge(m->window, sizeof(Window) * (Size) m->room);
	}
	window = &m->window[m->nwindows++];
	ts = SPI_getbinval(tuple, desc, 1, &isnull);
	window->begin = isnull ? PG_INT64_MIN : DatumGetInt64(ts);
	ts = SPI_getbinval(tuple, desc, 2, &isnull);
	window->end = isnull ? PG_INT64_MAX : DatumGetInt64(ts);
	if (window->begin > window->end)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("maintenance window ends before it begins"),
				 errdetail("It begins at %s and ends at %s.",
						   timestamps_text(m->time_type, window->begin),
						   timestamps_text(m->time_type, window->end)),
				 errhint("The first time column is the begin, the second is the end.")));
	window->value = MemoryContextAllocZero(m->context, sizeof(char *) * Max(m->ncols, 1));
	for (int i = 0; i < m->ncols; i++)
	{
		Datum		value = SPI_getbinval(tuple, desc, i + 3, &isnull);
		char	   *text;

		if (isnull)
			continue;
		/* written as in series keys, so that texts can be compared */
		text = key_value_text(series_key_of_row(1, &m->cols[i], &m->types[i], &value, &isnull),
							  m->cols[i]);
		window->value[i] = MemoryContextStrdup(m->context, text);
	}
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
		if (MemoryContextMemAllocated(m->context, true) > (Size) work_mem * 1024)
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

	m->time_type = time_type;
	m->cols = palloc(sizeof(char *) * Max(model->nseries_cols, 1));
	m->types = palloc(sizeof(Oid) * Max(model->nseries_cols, 1));
	m->context = AllocSetContextCreate(CurrentMemoryContext, "amad maintenance",
									   ALLOCSET_DEFAULT_SIZES);
	m->series_context = AllocSetContextCreate(CurrentMemoryContext, "amad maintenance of a series",
											  ALLOCSET_DEFAULT_SIZES);
	SPI_connect();
	read_windows(m, build_windows_query(m, &relation, model));
	SPI_finish();
	return m;
}

/* ---- the selected series ------------------------------------------------------------------ */

void
maintenance_select_series(Maintenance *m, const char *series)
{
	MemoryContext old;
	char	  **value;

	MemoryContextReset(m->series_context);
	old = MemoryContextSwitchTo(m->series_context);
	value = palloc0(sizeof(char *) * Max(m->ncols, 1));
	for (int i = 0; series && i < m->ncols; i++)
		value[i] = key_value_text(series, m->cols[i]);
	m->nmerged = 0;
	m->merged = palloc_extended(sizeof(Window) * Max((Size) m->nwindows, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < m->nwindows; i++)
	{
		Window	   *last = m->nmerged > 0 ? &m->merged[m->nmerged - 1] : NULL;

		if (!window_concerns(m, &m->window[i], value))
			continue;
		if (last && m->window[i].begin <= last->end)
			last->end = Max(last->end, m->window[i].end);
		else
			m->merged[m->nmerged++] = m->window[i];
	}
	MemoryContextSwitchTo(old);
}

bool
maintenance_next(const Maintenance *m, int64 ts, int64 *begin, int64 *end)
{
	int			low = 0;
	int			high = m->nmerged;

	/* windows are disjoint: their ends ascend, too */
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (m->merged[middle].end <= ts)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == m->nmerged)
		return false;
	*begin = m->merged[low].begin;
	*end = m->merged[low].end;
	return true;
}

bool
maintenance_covers(const Maintenance *m, int64 ts)
{
	int64		begin;
	int64		end;

	return maintenance_next(m, ts, &begin, &end) && begin <= ts;
}
