/*
 * rows/series_windows.c
 *	  Windows of time, each for the series with some values.
 *
 * Values of series columns are kept as the text that they have in series keys.  For the series
 * that is selected, the windows with its values are merged into disjoint ones, which are searched
 * by bisection.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "model/verdicts.h"
#include "pg/json.h"
#include "pg/timestamps.h"
#include "rows/series_key.h"
#include "rows/series_windows.h"

typedef struct SeriesWindow
{
	int64		begin;
	int64		end;			/* exclusive */
	char	  **values;			/* (ncols) */
	bool	   *any;			/* (ncols) */
} SeriesWindow;

typedef struct Stretch
{
	int64		begin;
	int64		end;
} Stretch;

struct SeriesWindows
{
	MemoryContext context;
	int			ncols;
	char	  **cols;			/* (ncols) */
	int			n;
	int			room;
	SeriesWindow *window;		/* (room) by their begin */

	/* those of the selected series */
	MemoryContext series_context;
	int			nselected;
	int		   *selected;		/* (nselected) numbers */
	int			nmerged;
	Stretch    *merged;			/* (nmerged) disjoint, ascending */
};

SeriesWindows *
series_windows_open(int ncols, char **cols)
{
	SeriesWindows *w = palloc0(sizeof(SeriesWindows));

	w->context = AllocSetContextCreate(CurrentMemoryContext, "amad windows",
									   ALLOCSET_DEFAULT_SIZES);
	w->series_context = AllocSetContextCreate(CurrentMemoryContext, "amad windows of a series",
											  ALLOCSET_DEFAULT_SIZES);
	w->ncols = ncols;
	w->cols = cols;
	return w;
}

void
series_windows_add(SeriesWindows *w, int64 begin, int64 end, char **values, const bool *any)
{
	const int	ncols = Max(w->ncols, 1);
	SeriesWindow *window;

	if (w->n == w->room)
	{
		w->room = w->room == 0 ? 64 : 2 * w->room;
		w->window = w->window == NULL
			? MemoryContextAlloc(w->context, sizeof(SeriesWindow) * w->room)
			: repalloc_huge(w->window, sizeof(SeriesWindow) * (Size) w->room);
	}
	window = &w->window[w->n++];
	window->begin = begin;
	window->end = end;
	window->values = MemoryContextAllocZero(w->context, sizeof(char *) * ncols);
	window->any = MemoryContextAllocZero(w->context, sizeof(bool) * ncols);
	for (int i = 0; i < w->ncols; i++)
	{
		window->any[i] = any[i];
		if (values[i] && !any[i])
			window->values[i] = MemoryContextStrdup(w->context, values[i]);
	}
}

Size
series_windows_bytes(const SeriesWindows *w)
{
	return MemoryContextMemAllocated(w->context, true);
}

/* Appends a time, or null for one of the ends of int64. */
static void
append_time(StringInfo out, Oid time_type, int64 ts)
{
	if (ts == PG_INT64_MIN || ts == PG_INT64_MAX)
		appendStringInfoString(out, "NULL");
	else
		appendStringInfoString(out, quote_literal_cstr(timestamps_literal(time_type, ts)));
}

char *
series_windows_query(const SeriesWindows *w, Oid time_type)
{
	const char *type = timestamps_type_name(time_type);
	StringInfoData out;
	StringInfoData nulls;

	initStringInfo(&out);
	initStringInfo(&nulls);
	appendStringInfo(&out, "SELECT amad_begin::pg_catalog.%s, amad_end::pg_catalog.%s", type, type);
	for (int i = 0; i < w->ncols; i++)
	{
		appendStringInfo(&out, ", amad_%d::pg_catalog.text AS %s", i, quote_identifier(w->cols[i]));
		appendStringInfoString(&nulls, ", NULL");
	}
	appendStringInfoString(&out, " FROM (VALUES ");
	for (int i = 0; i < w->n; i++)
	{
		const SeriesWindow *window = &w->window[i];

		CHECK_FOR_INTERRUPTS();
		appendStringInfoChar(&out, '(');
		append_time(&out, time_type, window->begin);
		appendStringInfoString(&out, ", ");
		append_time(&out, time_type, window->end);
		for (int c = 0; c < w->ncols; c++)
			appendStringInfo(&out, ", %s",
							 window->values[c] ? quote_literal_cstr(window->values[c]) : "NULL");
		appendStringInfoString(&out, "), ");
	}
	/* VALUES needs a row */
	appendStringInfo(&out, "(NULL, NULL%s)) AS w(amad_begin, amad_end", nulls.data);
	for (int c = 0; c < w->ncols; c++)
		appendStringInfo(&out, ", amad_%d", c);
	appendStringInfo(&out, ") LIMIT %d", w->n);
	return out.data;
}

/* ---- the selected series ------------------------------------------------------------------ */

/* Whether a window is for the series with these values (ncols). */
static bool
window_concerns(const SeriesWindows *w, const SeriesWindow *window, char **values)
{
	for (int i = 0; i < w->ncols; i++)
		if (!window->any[i] &&
			(values[i] && window->values[i] ? strcmp(window->values[i], values[i]) != 0
											: values[i] != window->values[i]))
			return false;
	return true;
}

void
series_windows_select(SeriesWindows *w, const Jsonb *key)
{
	MemoryContext old;
	char	  **values;

	MemoryContextReset(w->series_context);
	old = MemoryContextSwitchTo(w->series_context);
	values = palloc0(sizeof(char *) * Max(w->ncols, 1));
	for (int i = 0; key && i < w->ncols; i++)
		values[i] = series_value_text(
			json_get(unconstify(JsonbContainer *, &key->root), w->cols[i]));
	w->nselected = w->nmerged = 0;
	w->selected = palloc_extended(sizeof(int) * Max((Size) w->n, 1), MCXT_ALLOC_HUGE);
	w->merged = palloc_extended(sizeof(Stretch) * Max((Size) w->n, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < w->n; i++)
	{
		const SeriesWindow *window = &w->window[i];
		Stretch    *last = w->nmerged > 0 ? &w->merged[w->nmerged - 1] : NULL;

		CHECK_FOR_INTERRUPTS();
		if (!window_concerns(w, window, values))
			continue;
		w->selected[w->nselected++] = i;
		if (last && window->begin <= last->end)
			last->end = Max(last->end, window->end);
		else
			w->merged[w->nmerged++] = (Stretch){window->begin, window->end};
	}
	MemoryContextSwitchTo(old);
}

const int *
series_windows_selected(const SeriesWindows *w, int *n)
{
	*n = w->nselected;
	return w->selected;
}

bool
series_windows_next(const SeriesWindows *w, int64 ts, int64 *begin, int64 *end)
{
	int			low = 0;
	int			high = w->nmerged;

	/* windows are disjoint: their ends ascend, too */
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (w->merged[middle].end <= ts)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == w->nmerged)
		return false;
	*begin = w->merged[low].begin;
	*end = w->merged[low].end;
	return true;
}

bool
series_windows_cover(const SeriesWindows *w, int64 ts)
{
	int64		begin;
	int64		end;

	return series_windows_next(w, ts, &begin, &end) && begin <= ts;
}

/* ---- verdicts ----------------------------------------------------------------------------- */

/*
 * Reads the values that a verdict's series has, in the order of the columns.  False if it has
 * members that are no columns: then it is for series of another kind.
 */
static bool
read_condition(const Jsonb *series, int ncols, char **cols, char **values, bool *any)
{
	int			found = 0;

	for (int i = 0; i < ncols; i++)
	{
		JsonbValue *value = series ? json_get(unconstify(JsonbContainer *, &series->root), cols[i])
								   : NULL;

		any[i] = value == NULL;
		values[i] = any[i] || value->type == jbvBinary ? NULL : series_value_text(value);
		found += !any[i];
	}
	return series == NULL || found == JsonContainerSize(&series->root);
}

SeriesWindows *
series_windows_of_verdicts(const List *verdicts, int kinds, int ncols, char **cols, bool integers,
						   int **numbers)
{
	SeriesWindows *w = NULL;
	char	  **values = palloc(sizeof(char *) * Max(ncols, 1));
	bool	   *any = palloc(sizeof(bool) * Max(ncols, 1));

	if (numbers)
		*numbers = palloc_extended(sizeof(int) * Max((Size) list_length(verdicts), 1),
								   MCXT_ALLOC_HUGE);
	for (int i = 0; i < list_length(verdicts); i++)
	{
		const GivenVerdict *v = list_nth(verdicts, i);

		CHECK_FOR_INTERRUPTS();
		if ((v->kind & kinds) == 0 || v->integers != integers ||
			!read_condition(v->series, ncols, cols, values, any))
			continue;
		if (w == NULL)
			w = series_windows_open(ncols, cols);
		if (numbers)
			(*numbers)[w->n] = i;
		series_windows_add(w, v->first, v->last < PG_INT64_MAX ? v->last + 1 : PG_INT64_MAX, values,
						   any);
	}
	return w;
}
