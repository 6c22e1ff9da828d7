/*
 * score/comparison.c
 *	  What two versions of a model make of the same rows.
 *
 * The rows of each version arrive by series, then by time.  Flagged rows, events and labelled
 * incidents of both versions are written to one sort as byte strings
 *
 *		kind, series, 0, first timestamp, version, last timestamp
 *
 * in which what both have in common is side by side.  The two severities in the middle come from
 * one more sort for each version.  Sorts use files beyond work_mem, so memory does not depend on
 * the number of rows.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_operator_d.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"

#include "pg/timestamps.h"
#include "score/comparison.h"
#include "score/explanation.h"

#define SORTS 3					/* that share work_mem */
#define LEAST_SORT_KB 64

/* Kinds of findings, in the order of the sort. */
enum
{
	FLAGGED_ROW,
	EVENT,
	INCIDENT
};

/* Consecutive rows of the current series. */
typedef struct Stretch
{
	bool		active;
	bool		found;			/* a row of it is flagged */
	int64		start;
	int64		end;
} Stretch;

struct Comparison
{
	Compared	result;
	Tuplesortstate *findings;
	Tuplesortstate *severities[2];
	bool		has_days;
	bool		has_time;
	int64		first;			/* time of the rows */
	int64		last;
	double		step;

	/* the version whose rows are being added */
	int			which;
	const Scorer *scorer;

	/* the current series */
	StringInfoData key;			/* NUL-terminated; "" without series columns */
	bool		any;
	int64		last_ts;
	Stretch		event;			/* flagged rows */
	Stretch		incident;		/* labelled rows */
	StringInfoData finding;
};

/* A finding, as the sort returns it. */
typedef struct Finding
{
	Datum		datum;			/* to be freed */
	const char *text;
	int			prefix;			/* bytes of kind and series */
	int			kind;
	int			which;
	uint64		start;			/* in the order of timestamps */
	uint64		end;
	bool		kept;			/* it has been counted as such */
} Finding;

#define FINDING_TIMES (8 + 1 + 8)	/* bytes after the series */

static Tuplesortstate *
open_sort(Oid type, Oid operator)
{
	return tuplesort_begin_datum(type, operator, InvalidOid, false,
								 Max(work_mem / SORTS, LEAST_SORT_KB), NULL, TUPLESORT_NONE);
}

Comparison *
comparison_open(void)
{
	Comparison *c = palloc0(sizeof(Comparison));

	initStringInfo(&c->key);
	initStringInfo(&c->finding);
	c->findings = open_sort(BYTEAOID, ByteaLessOperator);
	for (int i = 0; i < 2; i++)
		c->severities[i] = open_sort(FLOAT8OID, Float8LessOperator);
	return c;
}

/* ---- the rows of a version --------------------------------------------------------------- */

/* A timestamp as eight bytes that sort like it. */
static void
append_time(StringInfo out, int64 ts)
{
	uint64		bytes = pg_hton64((uint64) ts ^ ((uint64) 1 << 63));

	appendBinaryStringInfo(out, (const char *) &bytes, sizeof(bytes));
}

static void
put_finding(Comparison *c, int kind, int64 start, int64 end)
{
	StringInfo	out = &c->finding;

	resetStringInfo(out);
	appendStringInfoSpaces(out, VARHDRSZ);
	appendStringInfoChar(out, (char) kind);
	appendBinaryStringInfo(out, c->key.data, c->key.len + 1);
	append_time(out, start);
	appendStringInfoChar(out, (char) c->which);
	append_time(out, end);
	SET_VARSIZE(out->data, out->len);
	tuplesort_putdatum(c->findings, PointerGetDatum(out->data), false);
}

static void
close_stretch(Comparison *c, Stretch *s, int kind)
{
	ComparedVersion *v = &c->result.version[c->which];

	if (!s->active)
		return;
	s->active = false;
	if (kind == EVENT)
		v->events++;
	else if (c->which == 0)
		c->result.incidents++;
	if (kind == INCIDENT && s->found)
		v->incidents++;
	if (kind == EVENT || s->found)
		put_finding(c, kind, s->start, s->end);
}

static void
extend_stretch(Stretch *s, int64 ts, bool found)
{
	if (!s->active)
		*s = (Stretch){.active = true, .start = ts};
	s->end = ts;
	s->found |= found;
}

static void
end_compared_series(Comparison *c)
{
	close_stretch(c, &c->event, EVENT);
	close_stretch(c, &c->incident, INCIDENT);
	c->any = false;
}

void
comparison_begin(Comparison *c, int which, const Detection *d)
{
	const ModelStats *stats = &detect_model(d)->model->stats;

	c->which = which;
	c->scorer = detect_scorer(d);
	c->has_days = detect_ts_type(d) != INT8OID;
	c->step = which == 0 ? stats->step : Min(c->step, stats->step);
}

void
comparison_add(Comparison *c, const DetectedRow *detected, bool counted)
{
	const ScoredRow *row = &detected->row;
	ComparedVersion *v = &c->result.version[c->which];
	const double max_gap = scorer_stats(c->scorer)->max_gap;
	const double severity = explanation_severity(c->scorer, row);
	const bool	flagged = score_is_anomaly(row->status, severity);

	if (detected->new_series)
	{
		end_compared_series(c);
		resetStringInfo(&c->key);
		appendStringInfoString(&c->key, detected->series ? detected->series : "");
	}
	if (counted && !detected->bad)
	{
		v->rows++;
		v->scored += !isnan(severity);
		v->flagged += flagged;
		v->learning += row->status == SCORE_LEARNING;
		v->drift += row->status == SCORE_DRIFT;
		if (!isnan(severity))
			tuplesort_putdatum(c->severities[c->which], Float8GetDatum(severity), false);
	}
	if (!score_has_place(row->status))
		return;

	/* a gap, and a row that does not belong to it, end a stretch */
	if (c->any && max_gap > 0 && timestamps_distance(c->last_ts, row->ts) > max_gap)
		end_compared_series(c);
	c->any = true;
	c->last_ts = row->ts;
	if (detected->bad)
		extend_stretch(&c->incident, row->ts, flagged);
	else
		close_stretch(c, &c->incident, INCIDENT);
	if (counted && !detected->bad && flagged)
	{
		extend_stretch(&c->event, row->ts, true);
		put_finding(c, FLAGGED_ROW, row->ts, row->ts);
	}
	else if (detected->bad || !isnan(row->score))
		close_stretch(c, &c->event, EVENT);

	if (!counted)
		return;
	c->first = c->has_time ? Min(c->first, row->ts) : row->ts;
	c->last = c->has_time ? Max(c->last, row->ts) : row->ts;
	c->has_time = true;
}

void
comparison_end(Comparison *c)
{
	end_compared_series(c);
}

/* ---- the result ---------------------------------------------------------------------------- */

static double
find_median(Tuplesortstate *sort, int64 n)
{
	double		middle[2] = {NAN, NAN};
	bool		isnull;

	tuplesort_performsort(sort);
	if (n > 0 && tuplesort_skiptuples(sort, (n - 1) / 2, true))
		for (int i = 0; i < 2; i++)
		{
			Datum		value;

			if (!tuplesort_next_datum(sort, &value, &isnull))
				break;
			middle[i] = DatumGetFloat8(value);
		}
	tuplesort_end(sort);
	return n % 2 == 1 ? middle[0] : (middle[0] + middle[1]) / 2;
}

static uint64
read_finding_time(const char *bytes)
{
	uint64		ts;

	memcpy(&ts, bytes, sizeof(ts));
	return pg_ntoh64(ts);
}

static bool
next_finding(Comparison *c, Finding *f)
{
	bool		isnull;
	int			length;

	if (!tuplesort_next_datum(c->findings, &f->datum, &isnull))
		return false;
	f->text = VARDATA(DatumGetPointer(f->datum));
	length = VARSIZE(DatumGetPointer(f->datum)) - VARHDRSZ;
	f->prefix = length - FINDING_TIMES;
	f->kind = f->text[0];
	f->start = read_finding_time(f->text + f->prefix);
	f->which = f->text[f->prefix + 8];
	f->end = read_finding_time(f->text + f->prefix + 9);
	f->kept = false;
	return true;
}

/* Whether a finding is of the same kind and series as one with this text. */
static bool
is_same_group(const Finding *f, const StringInfo text)
{
	return f->prefix == text->len && memcmp(f->text, text->data, f->prefix) == 0;
}

/* Counts an event as kept, once. */
static void
keep_event(Comparison *c, Finding *event)
{
	if (!event->kept)
		c->result.version[event->which].kept++;
	event->kept = true;
}

/*
 * Goes through the findings in their order.  The events of a version do not overlap, so an event can
 * only overlap the last one of the other version, or later ones.
 */
static void
match_findings(Comparison *c)
{
	StringInfoData group;
	Finding		last[2];
	bool		has_last[2] = {false, false};
	Finding		f;

	initStringInfo(&group);
	tuplesort_performsort(c->findings);
	while (next_finding(c, &f))
	{
		const int	other = 1 - f.which;

		CHECK_FOR_INTERRUPTS();
		if (!is_same_group(&f, &group))
		{
			resetStringInfo(&group);
			appendBinaryStringInfo(&group, f.text, f.prefix);
			has_last[0] = has_last[1] = false;
		}
		if (has_last[other] &&
			(f.kind == EVENT ? last[other].end >= f.start : last[other].start == f.start))
		{
			if (f.kind == EVENT)
			{
				keep_event(c, &last[other]);
				keep_event(c, &f);
			}
			else if (f.kind == INCIDENT)
				c->result.incidents_both++;
			else
				c->result.flagged_both++;
		}
		pfree(DatumGetPointer(f.datum));
		has_last[f.which] = true;
		last[f.which] = f;
	}
	tuplesort_end(c->findings);
}

Compared
comparison_result(Comparison *c)
{
	for (int i = 0; i < 2; i++)
		c->result.version[i].median = find_median(c->severities[i], c->result.version[i].scored);
	match_findings(c);
	c->result.days = c->has_days && c->has_time
		? (timestamps_distance(c->first, c->last) + c->step) / USECS_PER_DAY
		: NAN;
	return c->result;
}
