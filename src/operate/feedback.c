/*
 * operate/feedback.c
 *	  What people say of incidents: the functions amad_feedback and amad_drop_verdict.
 *
 * A verdict is a row of amad_verdicts: on the times of an incident, which it follows as long as
 * the incident grows, or on times that were specified.  It takes effect where it is read
 * (model/verdicts.c):
 *
 *	incident	the rows are left out of trainings and calibrations (rows/source.c), and count as
 *				labelled in a comparison of versions
 *	false_alarm	incidents of the series with the same leading feature and direction, and a peak
 *				that is not much greater, are not announced (refresh_incidents.c)
 *	expected	the rows belong to no incident (refresh_incidents.c)
 *
 * amad_tune respects all of them.  Incidents that are no anomalies only keep the verdict.  An
 * incident that was announced as open and gets one of the last two verdicts is closed for its
 * receivers.
 *
 * Whoever may refresh the watch may give a verdict.  The model and its source are looked at as the
 * watch's owner, as in a refresh.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "model/registry.h"
#include "operate/feedback.h"
#include "operate/watch_tables.h"
#include "pg/call_arguments.h"
#include "pg/json.h"
#include "pg/timestamps.h"
#include "rows/series_key.h"
#include "score/detect.h"

enum
{
	ARG_ID,
	ARG_VERDICT,
	ARG_NOTE,
	ARG_UNTIL
};

enum
{
	RANGE_ARG_MODEL_NAME,
	RANGE_ARG_SERIES,
	RANGE_ARG_SINCE,
	RANGE_ARG_UNTIL,
	RANGE_ARG_VERDICT,
	RANGE_ARG_NOTE
};

SQL_FUNCTION(amad_feedback);
SQL_FUNCTION(amad_feedback_range);
SQL_FUNCTION(amad_drop_verdict);

/* What is looked at as the watch's owner. */
typedef struct Inspection
{
	FunctionCallInfo fcinfo;
	const Watch *watch;
	bool		for_other;		/* the caller does not have the privileges of that role */
	int			training_version;

	/* an incident; for the direction of a false alarm */
	Jsonb	   *series;
	Jsonb	   *top_features;
	bool		has_peak;
	int64		peak;
	char	   *feature;		/* NULL: none */
	const char *direction;		/* NULL: not known */

	/* times that were specified */
	int64		first;
	int64		last;
	Oid			ts_type;
} Inspection;

/* ---- the peak ---------------------------------------------------------------------------- */

/* The values of the peak's row of the source. */
typedef struct PeakRow
{
	const Source *source;
	MemoryContext context;
	Datum		values;			/* jsonb; 0: no such row */
} PeakRow;

static void
take_peak_row(const SourceRow *row, void *arg)
{
	PeakRow    *peak = arg;
	StringInfoData json;
	MemoryContext old;

	if (row->duplicate || peak->values)
		return;
	/* visitors run in a context that is reset */
	old = MemoryContextSwitchTo(peak->context);
	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int c = 0; c < peak->source->spec.nfeatures; c++)
		if (isfinite(row->values[c]))
			json_put_json(&json, peak->source->spec.features[c], psprintf("%.7g", row->values[c]));
	appendStringInfoChar(&json, '}');
	peak->values = JsonbPGetDatum(json_to_jsonb(json.data));
	MemoryContextSwitchTo(old);
}

Datum
feedback_actual_values(const Source *source, Jsonb *series, int64 ts)
{
	const SourceRange range = {
		.has_since = true,
		.since = ts,
		.has_until = true,
		.until = ts + 1,
		.series = series,
		.form = SOURCE_SINGLE,
	};
	PeakRow		peak = {.source = source, .context = CurrentMemoryContext};

	if (ts < PG_INT64_MAX)
		source_scan(source, &range, false, take_peak_row, &peak);
	return peak.values;
}

/* A number in an object; NaN if the object does not have it. */
static double
member_number(Jsonb *object, const char *key)
{
	return object && JB_ROOT_IS_OBJECT(object) ? json_number(json_get(&object->root, key), NAN)
											   : NAN;
}

bool
feedback_direction(Datum expected, Datum actual, const char *feature, bool *above)
{
	const double e = member_number(expected ? DatumGetJsonbP(expected) : NULL, feature);
	const double a = member_number(actual ? DatumGetJsonbP(actual) : NULL, feature);

	*above = a > e;
	return a > e || a < e;
}

/* Opens the model's source as the current role. */
static Detection *
open_source(const Inspection *i)
{
	const DetectSpec spec = {
		.function = i->fcinfo->flinfo->fn_oid,
		.model_name = i->watch->model_name,
		.for_other = i->for_other,
	};

	return detect_open(&spec);
}

/* Finds the leading feature of an incident, and its direction at the peak. */
static void
find_direction(Inspection *i)
{
	JsonbValue *value = i->top_features && JB_ROOT_IS_ARRAY(i->top_features)
		? getIthJsonbValueFromContainer(&i->top_features->root, 0)
		: NULL;
	JsonbContainer *top;
	double		expected;
	double		actual;

	if (value == NULL || value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return;
	top = value->val.binary.data;
	i->feature = json_string_text(json_get(top, "feature"));
	expected = json_number(json_get(top, "expected"), NAN);
	actual = json_number(json_get(top, "actual"), NAN);
	/* it was not read, because the incident was not announced */
	if (i->feature && isnan(actual) && i->has_peak && !(i->series && !JB_ROOT_IS_OBJECT(i->series)))
	{
		Datum values = feedback_actual_values(detect_source(open_source(i)), i->series, i->peak);

		actual = member_number(values ? DatumGetJsonbP(values) : NULL, i->feature);
	}
	if (actual > expected)
		i->direction = "above";
	else if (actual < expected)
		i->direction = "below";
}

/* ---- as the watch's owner ----------------------------------------------------------------- */

/*
 * Calls a function as the watch's owner, in a security-restricted operation, after it has found
 * the version of the model's training.
 */
static void
inspect_as_owner(Inspection *i, void (*inspect)(Inspection *))
{
	const Oid	function = i->fcinfo->flinfo->fn_oid;
	const StatementScope scope = watch_owner_enter(i->watch, i->for_other);
	RegistryEntry entry = registry_find(function, i->watch->model_name, 0);

	i->training_version = registry_training(entry.version, registry_facts(function, &entry));
	if (inspect)
		inspect(i);
	watch_owner_leave(&scope);
}

/* ---- writing ------------------------------------------------------------------------------ */

/* A verdict to be written; NULL or 0: null. */
typedef struct NewVerdict
{
	pg_uuid_t	watch;
	int64		incident;
	Datum		series_id;
	Jsonb	   *series;
	const char *verdict;
	int64		first;
	int64		last;
	bool		has_times;		/* for people */
	TimestampTz started;
	TimestampTz ended;
	const char *feature;
	const char *direction;
	bool		has_severity;
	double		peak_severity;
	int			training_version;
	bool		has_until;
	TimestampTz until;
	Datum		note;
} NewVerdict;

/* Inserts a verdict; returns its identifier. */
static int64
insert_verdict(const WatchTables *t, const NewVerdict *v)
{
	const Oid	types[] = {UUIDOID, INT8OID,		  BYTEAOID,		  JSONBOID, TEXTOID, INT8OID,
						 INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID,	TEXTOID, FLOAT8OID,
						 INT4OID, TIMESTAMPTZOID, TEXTOID,		  NAMEOID};
	NameData	role;
	const Datum values[] = {
		UUIDPGetDatum(&v->watch),
		Int64GetDatum(v->incident),
		v->series_id,
		JsonbPGetDatum(v->series),
		CStringGetTextDatum(v->verdict),
		Int64GetDatum(v->first),
		Int64GetDatum(v->last),
		TimestampTzGetDatum(v->started),
		TimestampTzGetDatum(v->ended),
		v->feature ? CStringGetTextDatum(v->feature) : 0,
		v->direction ? CStringGetTextDatum(v->direction) : 0,
		Float8GetDatum(v->peak_severity),
		Int32GetDatum(v->training_version),
		TimestampTzGetDatum(v->until),
		v->note,
		NameGetDatum(&role),
	};
	const bool	isnull[] = {
		false,
		v->incident == 0,
		!v->series_id,
		!v->series,
		false,
		false,
		false,
		!v->has_times,
		!v->has_times,
		!v->feature,
		!v->direction,
		!v->has_severity,
		v->training_version == 0,
		!v->has_until,
		!v->note,
		false,
	};
	char		nulls[lengthof(types) + 1] = {0};

	namestrcpy(&role, GetUserNameFromId(t->caller, false));
	for (int i = 0; i < lengthof(types); i++)
		nulls[i] = isnull[i] ? 'n' : ' ';
	if (watch_tables_execute(t,
							 "INSERT INTO {verdicts} (watch, incident, series_id, series, verdict, "
							 "first_ts, last_ts, started, ended, feature, direction, "
							 "peak_severity, training_version, until, note, given_at, given_by)"
							 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
							 "$14, $15, clock_timestamp(), $16) RETURNING id",
							 lengthof(types), types, values, nulls) != 1)
		elog(ERROR, "table \"%s\" did not accept the verdict", VERDICTS_TABLE);
	return DatumGetInt64(watch_tables_value(0, 1, INT8OID, NULL));
}

static void
refuse_verdict(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unrecognized verdict \"%s\"", name),
			 errhint("Valid verdicts are \"incident\", \"false_alarm\" and \"expected\".")));
}

/* ---- an incident -------------------------------------------------------------------------- */

/* What is read of an incident; in the context of the tables. */
typedef struct MarkedIncident
{
	int64		id;
	pg_uuid_t	watch;
	Datum		series_id;
	Jsonb	   *series;
	bool		anomaly;
	bool		silent;
	char	   *state;
	int64		first;
	int64		last;
	bool		has_times;
	TimestampTz started;
	TimestampTz ended;
	bool		has_peak;
	int64		peak;
	bool		has_severity;
	double		peak_severity;
	Jsonb	   *top_features;
	int64		merged_into;
} MarkedIncident;

static Jsonb *
copy_jsonb_value(int row, int number)
{
	bool		isnull;
	Datum		value = watch_tables_value(row, number, JSONBOID, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

/* Reads and locks an incident of a watch that the caller may operate.  ERROR if there is none. */
static MarkedIncident
lock_incident(const WatchTables *t, int64 id)
{
	const Oid	types[] = {INT8OID, UUIDARRAYOID};
	const Datum values[] = {Int64GetDatum(id), watch_list_operated(t)};
	MarkedIncident m = {.id = id};
	MemoryContext old;
	char	   *kind;
	bool		isnull[6];
	Datum		value[6];

	if (watch_tables_execute(t,
							 "SELECT i.watch, i.series_id, coalesce((SELECT key FROM {series} AS s "
							 "WHERE s.watch = i.watch AND s.id = i.series_id), i.series), i.kind, "
							 "i.state, i.first_ts, i.last_ts, i.started, i.ended, i.peak_ts, "
							 "i.peak_severity, i.top_features, i.merged_into"
							 " FROM {incidents} AS i WHERE i.id = $1 AND i.watch = ANY ($2) FOR "
							 "UPDATE OF i",
							 lengthof(types), types, values, NULL) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no incident " INT64_FORMAT, id),
				 errhint(
					 "The table amad_incidents lists the incidents of watches that you can see. "
					 "A verdict can be given on those of models that you may operate.")));
	old = MemoryContextSwitchTo(t->context);
	m.watch = *DatumGetUUIDP(watch_tables_value(0, 1, UUIDOID, NULL));
	m.series_id = PointerGetDatum(PG_DETOAST_DATUM_COPY(watch_tables_value(0, 2, BYTEAOID, NULL)));
	m.series = copy_jsonb_value(0, 3);
	kind = TextDatumGetCString(watch_tables_value(0, 4, TEXTOID, NULL));
	m.anomaly = strcmp(kind, "anomaly") == 0;
	m.silent = strcmp(kind, "silent") == 0;
	m.state = TextDatumGetCString(watch_tables_value(0, 5, TEXTOID, NULL));
	m.first = DatumGetInt64(watch_tables_value(0, 6, INT8OID, NULL));
	m.last = DatumGetInt64(watch_tables_value(0, 7, INT8OID, NULL));
	value[0] = watch_tables_value(0, 8, TIMESTAMPTZOID, &isnull[0]);
	value[1] = watch_tables_value(0, 9, TIMESTAMPTZOID, &isnull[1]);
	value[2] = watch_tables_value(0, 10, INT8OID, &isnull[2]);
	value[3] = watch_tables_value(0, 11, FLOAT8OID, &isnull[3]);
	value[4] = watch_tables_value(0, 13, INT8OID, &isnull[4]);
	m.top_features = copy_jsonb_value(0, 12);
	m.has_times = !isnull[0];
	m.started = isnull[0] ? 0 : DatumGetTimestampTz(value[0]);
	/* a silence that lasts */
	m.ended = isnull[1] ? m.started : DatumGetTimestampTz(value[1]);
	m.has_peak = !isnull[2];
	m.peak = isnull[2] ? 0 : DatumGetInt64(value[2]);
	m.has_severity = !isnull[3];
	m.peak_severity = isnull[3] ? 0 : DatumGetFloat8(value[3]);
	m.merged_into = isnull[4] ? 0 : DatumGetInt64(value[4]);
	MemoryContextSwitchTo(old);
	return m;
}

/* Deletes the verdict on an incident. */
static void
delete_verdict(const WatchTables *t, int64 incident, const pg_uuid_t *watch)
{
	const Oid	types[] = {INT8OID, UUIDOID};
	const Datum values[] = {Int64GetDatum(incident), UUIDPGetDatum(watch)};

	(void) watch_tables_execute(t, "DELETE FROM {verdicts} WHERE incident = $1 AND watch = $2", 2,
								types, values, NULL);
}

/*
 * Sets verdict and note of an incident; NULL: no verdict any more.  An anomaly is muted until a
 * refresh looks at it, and can announce it again.
 */
static void
set_verdict(const WatchTables *t, int64 incident, const char *verdict, Datum note)
{
	const Oid	types[] = {INT8OID, TEXTOID, TEXTOID};
	const Datum values[] = {Int64GetDatum(incident), verdict ? CStringGetTextDatum(verdict) : 0,
							note};
	char		nulls[] = "   ";

	nulls[1] = verdict ? ' ' : 'n';
	nulls[2] = note ? ' ' : 'n';
	(void) watch_tables_execute(t,
								"UPDATE {incidents} SET verdict = $2, note = coalesce($3, note),"
								"   muted = muted AND ($2 IS NOT NULL OR kind = 'anomaly')"
								" WHERE id = $1",
								3, types, values, nulls);
}

/*
 * Closes an incident for its receivers, once.  Silences and others that are not made of rows stay
 * open in the table as long as they last.
 */
static void
mute_incident(const WatchTables *t, int64 incident)
{
	const Oid	types[] = {INT8OID};
	const Datum values[] = {Int64GetDatum(incident)};

	(void) watch_tables_execute(t,
								"WITH o AS (SELECT id, state FROM {incidents} WHERE id = $1),"
								" i AS (UPDATE {incidents} AS u SET muted = true,"
								"   state = CASE WHEN u.kind = 'anomaly' AND u.state = 'open' "
								"THEN 'closed' ELSE u.state END,"
								"   ended_at = CASE WHEN u.kind = 'anomaly' AND u.state = 'open' "
								"THEN clock_timestamp() ELSE u.ended_at END"
								"   FROM o WHERE u.id = o.id RETURNING u.id, u.watch, u.leader, "
								"u.announced_severity, o.state AS was)"
								" INSERT INTO {outbox} (incident, transition, number, watch, "
								"leader, created, as_of, delivered)"
								" SELECT id, 'closed', 0, watch, coalesce(leader, id), "
								"clock_timestamp(), clock_timestamp(),"
								"   CASE WHEN leader <> id THEN clock_timestamp() END"
								" FROM i WHERE was = 'open' AND announced_severity IS NOT NULL"
								" ON CONFLICT DO NOTHING",
								1, types, values, NULL);
}

/* ERROR if a verdict makes no sense. */
static void
check_marked(const MarkedIncident *m, VerdictKind kind, bool has_until, TimestampTz until)
{
	if (strcmp(m->state, "merged") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("incident " INT64_FORMAT " was merged into incident " INT64_FORMAT, m->id,
						m->merged_into),
				 errhint("Give the verdict on that one.")));
	if (strcmp(m->state, "withdrawn") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("incident " INT64_FORMAT " was withdrawn", m->id),
				 errdetail("Its rows are normal now."),
				 errhint("Give the verdict on a range of time.")));
	if (!has_until)
		return;
	if (kind == VERDICT_INCIDENT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("until cannot be specified for the verdict \"incident\"")));
	if (kind == VERDICT_EXPECTED && !m->has_times)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("until needs a time column that is not an integer")));
	if (kind == VERDICT_EXPECTED && until <= m->started)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("until must be after the begin of the incident")));
}

/* Sets the end of what is expected, in units of the time column. */
static void
find_expected_end(Inspection *i)
{
	const Detection *detection = open_source(i);

	i->ts_type = detect_ts_type(detection);
	i->last = DatumGetInt64(detect_convert_bound(i->fcinfo->flinfo->fn_oid, TIMESTAMPTZOID,
												 i->ts_type, i->fcinfo->args[ARG_UNTIL].value));
	if (i->last > PG_INT64_MIN && i->last < PG_INT64_MAX)
		i->last--;				/* exclusive */
}

/* (id, verdict, note, until) */
Datum
amad_feedback(PG_FUNCTION_ARGS)
{
	char	   *name = text_argument(fcinfo, ARG_VERDICT);
	const bool	has_until = !PG_ARGISNULL(ARG_UNTIL);
	const Datum note = PG_ARGISNULL(ARG_NOTE) ? 0 : PG_GETARG_DATUM(ARG_NOTE);
	VerdictKind kind = VERDICT_INCIDENT;
	Inspection	inspection = {.fcinfo = fcinfo};
	NewVerdict	verdict;
	MarkedIncident m;
	Watch		watch;
	WatchTables t;

	if (PG_ARGISNULL(ARG_ID))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("id must not be null")));
	if (name && !verdict_kind(name, &kind))
		refuse_verdict(name);
	PreventCommandIfReadOnly("amad_feedback()");
	watch_tables_enter(&t, fcinfo->flinfo->fn_oid);
	m = lock_incident(&t, PG_GETARG_INT64(ARG_ID));
	if (name == NULL)
	{
		delete_verdict(&t, m.id, &m.watch);
		set_verdict(&t, m.id, NULL, note);
		watch_tables_leave(&t);
		PG_RETURN_VOID();
	}
	check_marked(&m, kind, has_until, has_until ? PG_GETARG_TIMESTAMPTZ(ARG_UNTIL) : 0);
	if (!watch_read(&t, &m.watch, &watch))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the watch was concurrently dropped")));
	watch_tables_leave(&t);

	inspection.watch = &watch;
	inspection.for_other = watch_acts_for_other(&t, &watch);
	inspection.series = m.series;
	inspection.top_features = m.top_features;
	inspection.has_peak = m.has_peak;
	inspection.peak = m.peak;
	inspect_as_owner(&inspection,
					 kind == VERDICT_FALSE_ALARM				 ? find_direction
						 : kind == VERDICT_EXPECTED && has_until ? find_expected_end
																 : NULL);
	if (m.anomaly && kind == VERDICT_FALSE_ALARM && !(m.has_severity && inspection.direction))
		ereport(NOTICE,
				(errmsg("no other incidents are muted, because it is not known which feature was "
						"above or below its expected value")));
	verdict = (NewVerdict){
		.watch = m.watch,
		.incident = m.id,
		.series_id = m.series_id,
		.series = m.series,
		.verdict = name,
		.first = m.first,
		.last = m.last,
		.has_times = m.has_times,
		.started = m.started,
		.ended = m.ended,
		.feature = inspection.feature,
		.direction = inspection.direction,
		.has_severity = kind == VERDICT_FALSE_ALARM && m.has_severity,
		.peak_severity = m.peak_severity,
		.training_version = inspection.training_version,
		.has_until = has_until,
		.until = has_until ? PG_GETARG_TIMESTAMPTZ(ARG_UNTIL) : 0,
		.note = note,
	};
	if (kind == VERDICT_EXPECTED && has_until)
	{
		verdict.last = inspection.last;
		verdict.ended = verdict.until;
	}
	watch_tables_enter(&t, fcinfo->flinfo->fn_oid);
	delete_verdict(&t, m.id, &m.watch);
	/* the times of others say nothing of rows; but after a silence, there can be anomalies until then */
	if (m.anomaly || (m.silent && kind == VERDICT_EXPECTED && has_until))
		(void) insert_verdict(&t, &verdict);
	set_verdict(&t, m.id, name, note);
	if (kind != VERDICT_INCIDENT)
		mute_incident(&t, m.id);
	watch_tables_leave(&t);
	PG_RETURN_VOID();
}

/* ---- a range ------------------------------------------------------------------------------ */

static int
find_series_member(const Source *s, const char *name)
{
	for (int i = 0; i < s->spec.nseries; i++)
		if (strcmp(s->spec.series_cols[i], name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("column \"%s\" is not a series column of the model", name)));
	return -1;					/* not reached */
}

/* Writes the values of an object as they are in series keys: what is compared later are texts. */
static Jsonb *
normalize_series(const Source *s, Jsonb *series)
{
	JsonbIterator *it;
	JsonbValue	value;
	StringInfoData json;
	SourceScope scope;
	char	   *name;

	if (!JB_ROOT_IS_OBJECT(series))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("series must be a JSON object"),
				 errhint("For example '{\"device\": 3}', or null for all series.")));
	scope = source_enter(&s->spec);
	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	it = JsonbIteratorInit(&series->root);
	while ((name = json_next_member(&it, &value)) != NULL)
	{
		const int	column = find_series_member(s, name);
		char	   *col = s->spec.series_cols[column];
		Oid			type = s->series_types[column];
		bool		isnull = value.type == jbvNull;
		Datum		datum = 0;
		Jsonb	   *key;
		JsonbValue *member;
		Oid			input;
		Oid			parameter;

		if (value.type == jbvBinary)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the value of \"%s\" in series must be a number, a string, a boolean "
							"or "
							"null",
							name)));
		if (!isnull)
		{
			getTypeInputInfo(type, &input, &parameter);
			datum = OidInputFunctionCall(input, series_value_text(&value), parameter, -1);
		}
		key = json_to_jsonb(series_key_of_row(1, &col, &type, &datum, &isnull));
		member = json_get(&key->root, col);
		if (member == NULL || member->type == jbvNull)
			json_put_string(&json, name, NULL);
		else if (member->type == jbvString)
			json_put_string(&json, name, json_string_text(member));
		else
			json_put_json(&json, name, json_scalar_text(member));
	}
	appendStringInfoChar(&json, '}');
	source_leave(&scope);
	return json_to_jsonb(json.data);
}

/* Converts times and series. */
static void
inspect_range(Inspection *i)
{
	const FunctionCallInfo fcinfo = i->fcinfo;
	const Oid	function = fcinfo->flinfo->fn_oid;
	const Source *source = detect_source(open_source(i));

	i->ts_type = source->ts_type;
	if (source->ts_type == INT8OID)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a verdict on a range needs a time column that is not an integer"),
				 errhint("Call amad_feedback() with the id of an incident.")));
	i->first = DatumGetInt64(detect_convert_bound(function, TIMESTAMPTZOID, source->ts_type,
												  PG_GETARG_DATUM(RANGE_ARG_SINCE)));
	i->last = DatumGetInt64(detect_convert_bound(function, TIMESTAMPTZOID, source->ts_type,
												 PG_GETARG_DATUM(RANGE_ARG_UNTIL)));
	i->first = source_bucket_start(source, i->first);
	if (i->last > PG_INT64_MIN && i->last < PG_INT64_MAX)
		i->last--;				/* exclusive */
	/* a time that is skipped when clocks are set forward */
	i->last = Max(i->last, i->first);
	if (!PG_ARGISNULL(RANGE_ARG_SERIES))
		i->series = normalize_series(source, PG_GETARG_JSONB_P(RANGE_ARG_SERIES));
	/* all series */
	if (i->series && JB_ROOT_COUNT(i->series) == 0)
		i->series = NULL;
}

/* (model_name, series, since, until, verdict, note) → bigint, the verdict */
Datum
amad_feedback_range(PG_FUNCTION_ARGS)
{
	char	   *model_name = text_argument(fcinfo, RANGE_ARG_MODEL_NAME);
	char	   *name = text_argument(fcinfo, RANGE_ARG_VERDICT);
	Inspection	inspection = {.fcinfo = fcinfo};
	NewVerdict	verdict;
	VerdictKind kind;
	Watch		watch;
	WatchTables t;
	int64		id;

	if (model_name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("model_name must not be null")));
	if (PG_ARGISNULL(RANGE_ARG_SINCE) || PG_ARGISNULL(RANGE_ARG_UNTIL))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("since and until must not be null")));
	if (PG_GETARG_TIMESTAMPTZ(RANGE_ARG_SINCE) >= PG_GETARG_TIMESTAMPTZ(RANGE_ARG_UNTIL))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("since must be before until")));
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("verdict must not be null"),
				 errhint("Remove a verdict on a range with amad_drop_verdict().")));
	if (!verdict_kind(name, &kind))
		refuse_verdict(name);
	if (kind == VERDICT_FALSE_ALARM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the verdict \"false_alarm\" cannot be given on a range"),
				 errhint("Give it on an incident, or use \"expected\".")));
	PreventCommandIfReadOnly("amad_feedback()");
	watch_tables_enter(&t, fcinfo->flinfo->fn_oid);
	watch_require(&t, model_name, false, &watch);
	/* and locks it */
	if (!watch_read(&t, &watch.id, &watch))
		watch_report_missing(model_name);
	watch_tables_leave(&t);

	inspection.watch = &watch;
	inspection.for_other = watch_acts_for_other(&t, &watch);
	inspect_as_owner(&inspection, inspect_range);
	verdict = (NewVerdict){
		.watch = watch.id,
		.series = inspection.series,
		.verdict = name,
		.first = inspection.first,
		.last = inspection.last,
		.has_times = true,
		.started = PG_GETARG_TIMESTAMPTZ(RANGE_ARG_SINCE),
		.ended = PG_GETARG_TIMESTAMPTZ(RANGE_ARG_UNTIL),
		.training_version = inspection.training_version,
		.note = PG_ARGISNULL(RANGE_ARG_NOTE) ? 0 : PG_GETARG_DATUM(RANGE_ARG_NOTE),
	};
	watch_tables_enter(&t, fcinfo->flinfo->fn_oid);
	id = insert_verdict(&t, &verdict);
	watch_tables_leave(&t);
	PG_RETURN_INT64(id);
}

/* (id) */
Datum
amad_drop_verdict(PG_FUNCTION_ARGS)
{
	const Oid	types[] = {INT8OID, UUIDARRAYOID};
	Datum		values[] = {PG_GETARG_DATUM(0), 0};
	WatchTables t;

	PreventCommandIfReadOnly("amad_drop_verdict()");
	watch_tables_enter(&t, fcinfo->flinfo->fn_oid);
	values[1] = watch_list_operated(&t);
	/* in the order in which a refresh locks them */
	(void) watch_tables_execute(&t,
								"SELECT FROM {incidents} WHERE id = (SELECT incident FROM "
								"{verdicts} WHERE id = $1) AND watch = ANY ($2) FOR UPDATE",
								lengthof(types), types, values, NULL);
	if (watch_tables_execute(&t,
							 "WITH d AS (DELETE FROM {verdicts} WHERE id = $1 AND watch = ANY ($2) "
							 "RETURNING id, incident, watch),"
							 " i AS (UPDATE {incidents} AS u SET verdict = NULL FROM d WHERE "
							 "u.id = d.incident AND u.watch = d.watch)"
							 " SELECT id FROM d",
							 lengthof(types), types, values, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no verdict " INT64_FORMAT, DatumGetInt64(values[0])),
				 errhint("The table amad_verdicts lists the verdicts on watches that you can see. "
						 "Those of models that you may operate can be removed.")));
	watch_tables_leave(&t);
	PG_RETURN_VOID();
}
