/*
 * operate/incidents.c
 *	  Functions for people and programs that look after incidents: acknowledging them, and taking their
 *	  announcements out of the database.
 *
 * An announcement is taken by one transaction at a time: amad_deliveries() locks its row and skips those
 * that are locked.  It is delivered when amad_delivered() has been called in a transaction that
 * commits, so each arrives at least once.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "operate/watch_tables.h"
#include "pg/call_arguments.h"
#include "pg/rowset.h"

SQL_FUNCTION(amad_acknowledge);
SQL_FUNCTION(amad_deliveries);
SQL_FUNCTION(amad_delivered);

/* (id, note) */
Datum
amad_acknowledge(PG_FUNCTION_ARGS)
{
	const Oid	types[] = {INT8OID, UUIDARRAYOID, TEXTOID, NAMEOID};
	Datum		values[4];
	char		nulls[] = "    ";
	NameData	role;
	WatchTables t;

	PreventCommandIfReadOnly("amad_acknowledge()");
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("id must not be null")));
	watch_tables_enter(&t, fcinfo->flinfo->fn_oid);
	namestrcpy(&role, GetUserNameFromId(t.caller, false));
	values[0] = PG_GETARG_DATUM(0);
	values[1] = watch_list_operated(&t);
	values[2] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	values[3] = NameGetDatum(&role);
	nulls[2] = PG_ARGISNULL(1) ? 'n' : ' ';
	if (watch_tables_execute(&t,
							 "UPDATE {incidents} SET acknowledged_at = clock_timestamp(), "
							 "acknowledged_by = $4, note = coalesce($3, note)"
							 " WHERE id = $1 AND watch = ANY ($2) RETURNING id",
							 lengthof(types), types, values, nulls) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no incident " INT64_FORMAT, DatumGetInt64(values[0])),
				 errhint(
					 "The table amad_incidents lists the incidents of watches that you can see. "
					 "Those of models that you may operate can be acknowledged.")));
	watch_tables_leave(&t);
	PG_RETURN_VOID();
}

/* (max_rows) → (incident, transition, number, model_name, incidents, message) */
Datum
amad_deliveries(PG_FUNCTION_ARGS)
{
	static const Oid columns[] = {INT8OID, TEXTOID, INT4OID, TEXTOID, INT8OID, JSONBOID};
	const Oid	types[] = {UUIDARRAYOID, INT4OID};
	const int	most = PG_ARGISNULL(0) ? PG_INT32_MAX : PG_GETARG_INT32(0);
	Rowset		rowset = rowset_open(fcinfo);
	Datum		values[2] = {0, Int32GetDatum(Max(most, 0))};
	WatchTables t;
	int			n;

	PreventCommandIfReadOnly("amad_deliveries()");
	watch_tables_enter(&t, fcinfo->flinfo->fn_oid);
	values[0] = watch_list_operated(&t);
	/*
	 * The end of a group is announced when all of it have ended.  Those that were the same trouble again
	 * delay it, but do not make a group.
	 */
	n = (int) watch_tables_execute(&t,
								   "SELECT o.incident, o.transition, o.number, w.model_name, g.n,"
								   " jsonb_build_object('incident', o.incident, 'transition', "
								   "o.transition,"
								   "   'number', o.number, 'as_of', o.as_of, 'model', "
								   "w.model_name, 'kind', i.kind,"
								   "   'state', i.state, 'series', i.series, 'started', "
								   "coalesce(to_jsonb(i.started), to_jsonb(i.first_ts)),"
								   "   'ended', coalesce(to_jsonb(i.ended), CASE WHEN w.time_type "
								   "= 'int8' THEN to_jsonb(i.last_ts) END),"
								   "   'peak', coalesce(to_jsonb(i.peak), to_jsonb(i.peak_ts)),"
								   "   'peak_severity', i.peak_severity, 'rows', i.rows, "
								   "'top_features', i.top_features, 'feature', i.feature,"
								   "'detail', i.detail,"
								   "   'incidents', g.n, 'all_series', g.series, 'acknowledged', "
								   "i.acknowledged_at IS NOT NULL,"
								   "   'class', CASE WHEN i.kind = 'job' OR (i.kind = 'silent' AND "
								   "i.series IS NULL AND i.feature IS NULL)"
								   "     OR greatest(i.peak_severity, g.peak) >= "
								   "w.critical_severity THEN 'critical' ELSE 'warning' END,"
								   "   'labels', CASE jsonb_typeof(w.labels) WHEN 'object' THEN "
								   "w.labels ELSE jsonb_build_object() END)"
								   " FROM {outbox} AS o JOIN {incidents} AS i ON i.id = o.incident"
								   " JOIN {watches} AS w ON w.watch = o.watch"
								   " CROSS JOIN LATERAL (SELECT greatest(count(*), 1) AS n, "
								   "jsonb_agg(m.series) FILTER (WHERE m.number <= 100) AS series,"
								   "   max(m.peak_severity) AS peak FROM (SELECT series, "
								   "peak_severity, row_number() OVER (ORDER BY id) AS number"
								   "     FROM {incidents} WHERE leader = o.incident AND "
								   "announced_severity IS NOT NULL) AS m) AS g"
								   " WHERE o.watch = ANY ($1) AND o.delivered IS NULL AND o.leader "
								   "= o.incident"
								   " AND NOT (o.transition IN ('closed', 'withdrawn') AND EXISTS "
								   "(SELECT FROM "
								   "{incidents} AS m"
								   "   WHERE m.leader = o.incident AND m.state = 'open'))"
								   " ORDER BY o.created, o.incident, o.number LIMIT $2 FOR UPDATE "
								   "OF o SKIP LOCKED",
								   lengthof(types), types, values, NULL);
	for (int i = 0; i < n; i++)
	{
		Datum		row[lengthof(columns)];
		bool		nulls[lengthof(columns)];

		for (int c = 0; c < lengthof(columns); c++)
			row[c] = watch_tables_value(i, c + 1, columns[c], &nulls[c]);
		rowset_add(&rowset, row, nulls);
	}
	watch_tables_leave(&t);
	return (Datum) 0;
}

/* (incident, transition, number) → boolean */
Datum
amad_delivered(PG_FUNCTION_ARGS)
{
	const Oid	types[] = {INT8OID, TEXTOID, INT4OID, UUIDARRAYOID};
	Datum		values[4];
	WatchTables t;
	bool		found;

	PreventCommandIfReadOnly("amad_delivered()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	watch_tables_enter(&t, fcinfo->flinfo->fn_oid);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_ARGISNULL(2) ? Int32GetDatum(0) : PG_GETARG_DATUM(2);
	values[3] = watch_list_operated(&t);
	found = watch_tables_execute(&t,
								 "UPDATE {outbox} SET delivered = clock_timestamp() WHERE incident "
								 "= $1 AND transition = $2 AND number = $3"
								 " AND watch = ANY ($4) AND delivered IS NULL RETURNING incident",
								 lengthof(types), types, values, NULL) > 0;
	watch_tables_leave(&t);
	PG_RETURN_BOOL(found);
}
