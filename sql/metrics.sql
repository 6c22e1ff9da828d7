-- ---- metrics of watches -----------------------------------------------------------------

-- The body is parsed here, so a search_path cannot change it. All are gauges, which have the same form in OpenMetrics and
-- in the older text format of Prometheus: no number only grows, because runs and incidents are deleted some time. Nothing may
-- follow the end but a line break, which psql adds. Not RETURN (…), which Citus cannot parse when it has a query on a reference table.
CREATE FUNCTION amad_metrics() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
	SET jit = off
BEGIN ATOMIC
	WITH s AS MATERIALIZED (SELECT * FROM amad_status),
		-- a role that was renamed, and another one that has its name now, can have watches of the same name
		w AS MATERIALIZED (SELECT s.*, pg_catalog.format(CASE pg_catalog.count(*) OVER (PARTITION BY s.owner, s.model_name)
				WHEN 1 THEN 'owner="%s",model="%s"' ELSE 'owner="%s",model="%s",watch="%s"' END, e.owner, e.model, s.watch) AS labels
			FROM s CROSS JOIN LATERAL (SELECT
				pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(s.owner::text, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') AS owner,
				pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(s.model_name, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') AS model) e),
		i AS MATERIALIZED (SELECT i.watch, i.kind, pg_catalog.count(*) AS open
			FROM amad_incidents i WHERE i.state = 'open' GROUP BY i.watch, i.kind),
		-- the number of a metric is its place
		samples(number, name, help, labels, value) AS (
			SELECT m.number, m.name, m.help, w.labels, m.value
			FROM w CROSS JOIN LATERAL (VALUES
				(2, 'lag_seconds', 'Time since the newest row that was scored.', pg_catalog.date_part('epoch', w.lag)),
				(3, 'last_success_age_seconds', 'Time since the start of the last refresh that succeeded.',
					pg_catalog.date_part('epoch', pg_catalog.now() - w.last_done)),
				(4, 'failures', 'Refreshes since the last one that succeeded.', w.failures::float8),
				(5, 'last_run_duration_seconds', 'Time that the last refresh took.', pg_catalog.date_part('epoch', w.last_duration)),
				(6, 'last_run_rows', 'Rows that the last refresh scored.', w.last_rows::float8),
				(7, 'changes', 'Entries of the change log.', w.changes::float8),
				(8, 'oldest_change_age_seconds', 'Age of the oldest entry of the change log.',
					pg_catalog.date_part('epoch', pg_catalog.now() - w.oldest_change)),
				(9, 'pending', 'Changes that a refresh has taken from the log and not scored yet.', w.pending::float8),
				(10, 'overflow', 'Whether the next refresh scores everything, because the change log was full.', w.overflow::int::float8),
				(11, 'series', 'Series that have scores.', w.series::float8),
				(12, 'learning_series', 'Series that the model does not contain.', w.learning_series::float8),
				(13, 'silent_series', 'Series that have stopped.', w.silent_series::float8),
				(15, 'alarms_last_day', 'Incidents that were announced in the last day.', w.alarms_last_day::float8),
				(16, 'alerts_per_day', 'Number of alarms a day that the rule for incidents was chosen for.', w.alerts_per_day),
				(17, 'undelivered', 'Announcements that nobody has confirmed.', w.undelivered::float8),
				(18, 'flagged_ratio', 'Share of anomalies among the rows scored in the last day.', w.flagged_share),
				(19, 'learning_ratio', 'Share of rows scored in the last day whose series the model does not contain.', w.learning_share),
				(20, 'model_version', 'Version of the model that the last refresh used.', w.model_version::float8)) m(number, name, help, value)
			WHERE m.value IS NOT NULL
			UNION ALL
			SELECT 1, 'state', 'Whether the watch is in this state.', pg_catalog.format('%s,state="%s"', w.labels, v.state),
				(w.state = v.state)::int::float8
			FROM w CROSS JOIN (VALUES ('ok'), ('paused'), ('no model'), ('failing'), ('overdue')) v(state)
			UNION ALL
			SELECT 14, 'open_incidents', 'Incidents that are open.', pg_catalog.format('%s,kind="%s"', w.labels, k.kind),
				coalesce(i.open, 0)::float8
			FROM w CROSS JOIN (VALUES ('anomaly'), ('silent'), ('drift'), ('job')) k(kind)
			LEFT JOIN i ON i.watch = w.watch AND i.kind = k.kind)
	SELECT pg_catalog.concat(pg_catalog.string_agg(f.text, '' ORDER BY f.number), '# EOF')
	FROM (SELECT s.number, pg_catalog.format(E'# HELP amad_watch_%s %s\n# TYPE amad_watch_%s gauge\n%s', s.name, s.help, s.name,
			pg_catalog.string_agg(pg_catalog.format(E'amad_watch_%s{%s} %s\n', s.name, s.labels, s.value), ''
				ORDER BY s.labels COLLATE "C")) AS text
		FROM samples s GROUP BY s.number, s.name, s.help) f;
END;
COMMENT ON FUNCTION amad_metrics IS
	'state of the watches that the caller can see, in the text formats of OpenMetrics and Prometheus';
