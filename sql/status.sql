-- ---- the state of watches ---------------------------------------------------------------

-- The rights of the role that reads it apply, as on the tables.
CREATE VIEW amad_status WITH (security_invoker = true) AS
	SELECT w.watch, w.owner, w.model_name, w.target,
		CASE WHEN w.paused THEN 'paused'
			WHEN v.version IS NULL THEN 'no model'
			WHEN f.failures > 0 THEN 'failing'
			WHEN w."every" IS NOT NULL AND pg_catalog.now() - coalesce(f.done, w.created_at) > least(w."every", interval '1000 years') * 2 THEN 'overdue'
			ELSE 'ok' END AS state,
		n.newest, pg_catalog.now() - n.newest AS lag,
		r.run AS last_run, r.state AS last_state, r.started AS last_started, r.ended - r.started AS last_duration,
		r.rows_scored AS last_rows, r.model_version, r.sqlstate, r.message, f.done AS last_done, f.failures,
		c.changes, c.oldest_change, (SELECT pg_catalog.count(*) FROM amad_pending p WHERE p.watch = w.watch) AS pending,
		EXISTS (SELECT FROM amad_overflow o WHERE o.watch = w.watch) AS overflow,
		d.flagged_share, d.learning_share, s.series, s.learning_series,
		CASE WHEN w.time_type <> 'int8' THEN s.silent_series END AS silent_series, t.silent_after,
		i.open_incidents, i.undelivered, i.alarms_last_day, w.alerts_per_day, j.scheduler, j.job, j.state AS job_state, j.message AS job_message, u.unseen,
		(SELECT pg_catalog.max(a.started) FROM amad_runs a WHERE a.watch = w.watch AND a.kind <> 'refresh' AND a.state = 'done') AS last_care,
		v.version < w.newest_version AS rolled_back
	FROM amad_watches w
	LEFT JOIN LATERAL (SELECT m.version FROM amad_models m WHERE m.deployed AND m.model_name = w.model_name
		AND (m.owner = w.owner OR (m.owner_oid = w.owner_oid AND m.owner_cluster = w.owner_cluster)) ORDER BY m.version DESC LIMIT 1) v ON true
	CROSS JOIN LATERAL (SELECT CASE w.time_type
			WHEN 'timestamptz' THEN timestamptz '2000-01-01 00:00+00' + w.newest_ts * interval '1 microsecond'
			WHEN 'timestamp' THEN (timestamp '2000-01-01 00:00' + w.newest_ts * interval '1 microsecond')::timestamptz
		END AS newest) n
	LEFT JOIN LATERAL (SELECT * FROM amad_runs r WHERE r.watch = w.watch AND r.kind = 'refresh' AND r.state <> 'skipped'
		ORDER BY r.run DESC LIMIT 1) r ON true
	LEFT JOIN LATERAL (SELECT a.run, a.started FROM amad_runs a WHERE a.watch = w.watch AND a.kind = 'refresh' AND a.state = 'done'
		ORDER BY a.run DESC LIMIT 1) g ON true
	CROSS JOIN LATERAL (SELECT g.started AS done, pg_catalog.count(*) AS failures FROM amad_runs a
		WHERE a.watch = w.watch AND a.kind = 'refresh' AND a.run > coalesce(g.run, 0) AND a.state IN ('failed', 'cancelled', 'killed')) f
	CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS changes, pg_catalog.min(c.logged_at) AS oldest_change
		FROM amad_changes c WHERE c.watch = w.watch) c
	CROSS JOIN LATERAL (SELECT pg_catalog.sum(a.rows_flagged)::float8 / nullif(pg_catalog.sum(a.rows_scored), 0)::float8 AS flagged_share,
			pg_catalog.sum(a.rows_learning)::float8 / nullif(pg_catalog.sum(a.rows_scored), 0)::float8 AS learning_share
		FROM amad_runs a WHERE a.watch = w.watch AND a.kind = 'refresh' AND a.started > pg_catalog.now() - interval '1 day') d
	CROSS JOIN LATERAL (SELECT amad_silent_after(w.delay, w.silence, CASE WHEN w.time_type <> 'int8' THEN w.step END) AS silent_after) t
	CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS series, pg_catalog.count(*) FILTER (WHERE a.learning) AS learning_series,
			pg_catalog.count(*) FILTER (WHERE a.retired IS NULL
				AND a.heard < pg_catalog.now() - amad_silent_after(w.delay, w.silence, coalesce(a.step, w.step))) AS silent_series
		FROM amad_series a WHERE a.watch = w.watch) s
	CROSS JOIN LATERAL (SELECT (SELECT pg_catalog.count(*) FROM amad_incidents a WHERE a.watch = w.watch AND a.state = 'open') AS open_incidents,
			(SELECT pg_catalog.count(*) FROM amad_outbox a WHERE a.watch = w.watch AND a.delivered IS NULL) AS undelivered,
			(SELECT pg_catalog.count(*) FROM amad_incidents a WHERE a.watch = w.watch AND a.announced_severity IS NOT NULL
				AND coalesce(a.leader, a.id) = a.id AND a.opened_at > pg_catalog.now() - interval '1 day') AS alarms_last_day) i
	CROSS JOIN LATERAL amad_find_job(w.watch, w.model_name, w.owner) j
	CROSS JOIN LATERAL (
		SELECT pg_catalog.array_agg(what ORDER BY what) AS unseen FROM (
			SELECT pg_catalog.format('rows more than %s late, which are not scored again', w.late) AS what WHERE w.late IS NOT NULL
			UNION ALL
			SELECT pg_catalog.format(CASE t.tgenabled WHEN 'D' THEN 'changes of %s that its disabled trigger %I does not log'
				ELSE 'changes of %s by sessions whose replication role keeps trigger %I from firing' END, t.tgrelid::regclass, t.tgname)
			FROM pg_catalog.pg_trigger t
			WHERE t.tgfoid = 'amad_log_change'::regproc AND t.tgenabled <> 'A'
				AND pg_catalog.substr(t.tgargs, 1, 36) = pg_catalog.convert_to(w.watch::text, 'UTF8')
			UNION ALL
			SELECT pg_catalog.format('statements that name %s, which has no triggers', p.relid::regclass)
			FROM pg_catalog.pg_partition_tree(w.source_oid::regclass) p
			WHERE w.late IS NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = p.relid::oid
				AND t.tgfoid = 'amad_log_change'::regproc
				AND pg_catalog.substr(t.tgargs, 1, 36) = pg_catalog.convert_to(w.watch::text, 'UTF8'))
			UNION ALL
			SELECT 'changes of the source, which was dropped or replaced; refresh or alter the watch'
			WHERE w.late IS NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = w.source_oid)) s) u;
COMMENT ON VIEW amad_status IS 'watches: how far and how well their refreshes are, and what they cannot see';
COMMENT ON COLUMN amad_status.watch IS 'the watch, as in amad_watches';
COMMENT ON COLUMN amad_status.owner IS 'role that its refreshes run as';
COMMENT ON COLUMN amad_status.model_name IS 'name of its model';
COMMENT ON COLUMN amad_status.target IS 'table of scores';
COMMENT ON COLUMN amad_status.state IS 'ok, paused, no model (no version of it is deployed), failing (the last run did not succeed), or overdue (no successful run for twice the time "every")';
COMMENT ON COLUMN amad_status.newest IS 'latest time that was scored; null for integers';
COMMENT ON COLUMN amad_status.lag IS 'time since then';
COMMENT ON COLUMN amad_status.last_run IS 'number of the last run that was not skipped';
COMMENT ON COLUMN amad_status.last_state IS 'its state, as in amad_runs';
COMMENT ON COLUMN amad_status.last_started IS 'time at which it started';
COMMENT ON COLUMN amad_status.last_duration IS 'how long it took';
COMMENT ON COLUMN amad_status.last_rows IS 'rows it wrote';
COMMENT ON COLUMN amad_status.model_version IS 'version that scored them';
COMMENT ON COLUMN amad_status.sqlstate IS 'its error code';
COMMENT ON COLUMN amad_status.message IS 'its error message';
COMMENT ON COLUMN amad_status.last_done IS 'start of the last run that succeeded';
COMMENT ON COLUMN amad_status.failures IS 'runs that have failed, or were cancelled or killed, since then';
COMMENT ON COLUMN amad_status.changes IS 'entries in amad_changes';
COMMENT ON COLUMN amad_status.oldest_change IS 'start of the transaction of the oldest of them';
COMMENT ON COLUMN amad_status.pending IS 'entries in amad_pending';
COMMENT ON COLUMN amad_status.overflow IS 'whether the next refresh will score everything, because the change log was full';
COMMENT ON COLUMN amad_status.flagged_share IS 'share of anomalies among the rows scored by runs of the last day';
COMMENT ON COLUMN amad_status.learning_share IS 'share of rows whose series the model does not contain, likewise';
COMMENT ON COLUMN amad_status.series IS 'series that have scores';
COMMENT ON COLUMN amad_status.learning_series IS 'those of them that the model does not contain';
COMMENT ON COLUMN amad_status.silent_series IS 'those that have been without a row for longer than amad_silent_after() and are not retired; null for integers';
COMMENT ON COLUMN amad_status.silent_after IS 'amad_silent_after() for a series with the step of the model; series can have steps of their own';
COMMENT ON COLUMN amad_status.open_incidents IS 'incidents that are open';
COMMENT ON COLUMN amad_status.undelivered IS 'entries of amad_outbox that nobody has confirmed';
COMMENT ON COLUMN amad_status.alarms_last_day IS 'incidents that were announced in the last day; those announced as one count once';
COMMENT ON COLUMN amad_status.alerts_per_day IS 'number of alarms a day that the rule was chosen for';
COMMENT ON COLUMN amad_status.scheduler IS 'extension that has a job for it, pg_cron or timescaledb; null: no job that the role can see';
COMMENT ON COLUMN amad_status.job IS 'identifier of the job';
COMMENT ON COLUMN amad_status.job_state IS 'not scheduled, scheduled, inactive, or failing (its last run failed); null: jobs cannot be seen from here';
COMMENT ON COLUMN amad_status.job_message IS 'what pg_cron reported about the last run, if that failed';
COMMENT ON COLUMN amad_status.unseen IS 'what the watch cannot see; null: nothing that is known';
COMMENT ON COLUMN amad_status.last_care IS 'start of the last recalibration or training by amad_care() that succeeded';
COMMENT ON COLUMN amad_status.rolled_back IS 'whether an older version is deployed than one that was before, so that amad_care() replaces nothing';

ALTER VIEW amad_status OWNER TO @extowner@;
GRANT SELECT ON amad_status TO PUBLIC;
