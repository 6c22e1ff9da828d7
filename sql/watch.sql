-- ---- watches: scores that keep themselves up to date ---------------------------------

CREATE TABLE amad_watches (
	watch uuid PRIMARY KEY,
	owner name NOT NULL,
	owner_oid oid,
	owner_cluster bigint,
	model_name text NOT NULL,
	target text NOT NULL,
	"every" interval,
	delay interval NOT NULL DEFAULT '0',
	late interval,
	retain interval,
	paused boolean NOT NULL DEFAULT false,
	source_oid oid,
	depth integer NOT NULL DEFAULT 0,
	lookahead integer NOT NULL DEFAULT 0,
	time_type text,
	newest_ts bigint,
	polled_until bigint,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	silence interval,
	step bigint,
	source jsonb
);
COMMENT ON TABLE amad_watches IS 'models whose scores amad_refresh() keeps up to date in a table';
COMMENT ON COLUMN amad_watches.watch IS 'identifier, which the triggers on the source have as an argument';
COMMENT ON COLUMN amad_watches.owner IS 'role that the refreshes run as, the owner of the model';
COMMENT ON COLUMN amad_watches.owner_oid IS 'oid of that role in owner_cluster; elsewhere, or if null, the name counts';
COMMENT ON COLUMN amad_watches.owner_cluster IS 'system identifier of the cluster to which owner_oid and source_oid belong';
COMMENT ON COLUMN amad_watches.model_name IS 'name of the model; its deployed version scores';
COMMENT ON COLUMN amad_watches.target IS 'qualified name of the table that the scores are written to';
COMMENT ON COLUMN amad_watches."every" IS 'how often amad_refresh() is to be called; later than that, amad_status reports the watch as overdue';
COMMENT ON COLUMN amad_watches.delay IS 'rows are scored when they are at least this old';
COMMENT ON COLUMN amad_watches.late IS 'the source has no triggers: each refresh scores the rows of this time again; null: triggers log what changes';
COMMENT ON COLUMN amad_watches.retain IS 'scores older than this are deleted; null: all are kept';
COMMENT ON COLUMN amad_watches.paused IS 'whether amad_refresh() does nothing';
COMMENT ON COLUMN amad_watches.source_oid IS 'the relation whose changes are logged; null: a query, or a source that is polled';
COMMENT ON COLUMN amad_watches.depth IS 'most rows after a row that can depend on it, by any version that scored rows of the target';
COMMENT ON COLUMN amad_watches.lookahead IS 'most rows before a row that can depend on it, likewise';
COMMENT ON COLUMN amad_watches.time_type IS 'type that times are handled as: timestamptz, timestamp or int8; null before the first refresh';
COMMENT ON COLUMN amad_watches.newest_ts IS 'latest time that was scored, as in amad_changes';
COMMENT ON COLUMN amad_watches.polled_until IS 'time up to which a polled source has been scored, as in amad_changes';
COMMENT ON COLUMN amad_watches.created_at IS 'time at which the watch was created';
COMMENT ON COLUMN amad_watches.silence IS 'amad_status counts a series without rows for this time as silent; null: 20 steps of the model';
COMMENT ON COLUMN amad_watches.step IS 'median distance of rows when the model was trained: microseconds, or the integer';
COMMENT ON COLUMN amad_watches.source IS 'what the last refresh read, in the form of amad_models; everything is scored again if that changes';

-- No index: each statement that changes the source adds rows here.
CREATE TABLE amad_changes (
	watch uuid NOT NULL,
	series text[],
	first_ts bigint,
	last_ts bigint,
	logged_at timestamptz NOT NULL
);
COMMENT ON TABLE amad_changes IS 'changes of the sources of watches since their last refresh';
COMMENT ON COLUMN amad_changes.watch IS 'the watch, as in amad_watches';
COMMENT ON COLUMN amad_changes.series IS 'values of the series columns in their order; null: all series';
COMMENT ON COLUMN amad_changes.first_ts IS 'first time that changed: microseconds since 2000-01-01, in UTC for timestamptz, or the integer; null: no bound';
COMMENT ON COLUMN amad_changes.last_ts IS 'last time that changed; null: no bound';
COMMENT ON COLUMN amad_changes.logged_at IS 'start of the transaction that made the change';

-- A table of its own, because triggers look for rows in it.
CREATE TABLE amad_overflow (
	watch uuid NOT NULL,
	logged_at timestamptz NOT NULL
);
COMMENT ON TABLE amad_overflow IS 'watches that must score everything again, because amad_changes was full';
COMMENT ON COLUMN amad_overflow.watch IS 'the watch, as in amad_watches';
COMMENT ON COLUMN amad_overflow.logged_at IS 'start of the transaction that made the first change that was not logged';

CREATE TABLE amad_pending (
	watch uuid NOT NULL,
	number bigint NOT NULL,
	series text[] NOT NULL,
	first_ts bigint,
	last_ts bigint,
	PRIMARY KEY (watch, number)
);
COMMENT ON TABLE amad_pending IS 'changes that a refresh has taken from amad_changes and not scored yet, one range or more for each series';
COMMENT ON COLUMN amad_pending.watch IS 'the watch, as in amad_watches';
COMMENT ON COLUMN amad_pending.number IS 'order in which they are scored';
COMMENT ON COLUMN amad_pending.series IS 'values of the series columns in their order';
COMMENT ON COLUMN amad_pending.first_ts IS 'first time that changed, as in amad_changes';
COMMENT ON COLUMN amad_pending.last_ts IS 'last time that changed, as in amad_changes';

-- The key is a hash, because values of series may be too long for an index.
CREATE TABLE amad_series (
	watch uuid NOT NULL,
	id bytea NOT NULL,
	series text[] NOT NULL,
	newest timestamptz,
	learning boolean NOT NULL,
	PRIMARY KEY (watch, id)
);
COMMENT ON TABLE amad_series IS 'series of the sources of watches, as of the last refresh that scored their newest row';
COMMENT ON COLUMN amad_series.watch IS 'the watch, as in amad_watches';
COMMENT ON COLUMN amad_series.id IS 'SHA-256 of the text of series';
COMMENT ON COLUMN amad_series.series IS 'values of the series columns in their order';
COMMENT ON COLUMN amad_series.newest IS 'time of the newest row that was scored; null for integers';
COMMENT ON COLUMN amad_series.learning IS 'whether the model that scored it does not contain the series';

CREATE TABLE amad_runs (
	watch uuid NOT NULL,
	run bigint NOT NULL,
	started timestamptz NOT NULL,
	ended timestamptz,
	state text NOT NULL,
	as_of timestamptz,
	changes bigint NOT NULL DEFAULT 0,
	series bigint NOT NULL DEFAULT 0,
	rows_scored bigint NOT NULL DEFAULT 0,
	rows_flagged bigint NOT NULL DEFAULT 0,
	rows_learning bigint NOT NULL DEFAULT 0,
	model_version integer,
	sqlstate text,
	message text,
	notices text,
	PRIMARY KEY (watch, started)
);
COMMENT ON TABLE amad_runs IS 'runs of amad_refresh()';
COMMENT ON COLUMN amad_runs.watch IS 'the watch, as in amad_watches';
COMMENT ON COLUMN amad_runs.run IS 'number of the run among those of the watch; one that was skipped can have that of a run in an open transaction';
COMMENT ON COLUMN amad_runs.started IS 'time at which it started';
COMMENT ON COLUMN amad_runs.ended IS 'time at which it ended; of a killed run, the time at which that was noticed';
COMMENT ON COLUMN amad_runs.state IS 'running, done, failed, cancelled, skipped (another run was not finished), or killed (its process ended)';
COMMENT ON COLUMN amad_runs.as_of IS 'the time that counted as the present';
COMMENT ON COLUMN amad_runs.changes IS 'entries of the change log that were taken';
COMMENT ON COLUMN amad_runs.series IS 'series that were scored; one that had several ranges can count more than once';
COMMENT ON COLUMN amad_runs.rows_scored IS 'rows written to the target';
COMMENT ON COLUMN amad_runs.rows_flagged IS 'those of them that are anomalies';
COMMENT ON COLUMN amad_runs.rows_learning IS 'those of them whose series the model does not contain';
COMMENT ON COLUMN amad_runs.model_version IS 'version that scored them';
COMMENT ON COLUMN amad_runs.sqlstate IS 'error code of a run that failed or was cancelled';
COMMENT ON COLUMN amad_runs.message IS 'its error message';
COMMENT ON COLUMN amad_runs.notices IS 'remarks of the run, for example on new partitions';

ALTER TABLE amad_watches OWNER TO @extowner@;
ALTER TABLE amad_changes OWNER TO @extowner@;
ALTER TABLE amad_overflow OWNER TO @extowner@;
ALTER TABLE amad_pending OWNER TO @extowner@;
ALTER TABLE amad_series OWNER TO @extowner@;
ALTER TABLE amad_runs OWNER TO @extowner@;

-- Only functions and triggers of the extension write.
ALTER TABLE amad_watches ENABLE ROW LEVEL SECURITY;
ALTER TABLE amad_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE amad_overflow ENABLE ROW LEVEL SECURITY;
ALTER TABLE amad_pending ENABLE ROW LEVEL SECURITY;
ALTER TABLE amad_series ENABLE ROW LEVEL SECURITY;
ALTER TABLE amad_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY amad_watches_select ON amad_watches FOR SELECT
	USING (amad_may_read(owner, owner_oid, owner_cluster, model_name));
CREATE POLICY amad_changes_select ON amad_changes FOR SELECT
	USING (EXISTS (SELECT FROM amad_watches w WHERE w.watch OPERATOR(pg_catalog.=) amad_changes.watch));
CREATE POLICY amad_overflow_select ON amad_overflow FOR SELECT
	USING (EXISTS (SELECT FROM amad_watches w WHERE w.watch OPERATOR(pg_catalog.=) amad_overflow.watch));
CREATE POLICY amad_pending_select ON amad_pending FOR SELECT
	USING (EXISTS (SELECT FROM amad_watches w WHERE w.watch OPERATOR(pg_catalog.=) amad_pending.watch));
CREATE POLICY amad_series_select ON amad_series FOR SELECT
	USING (EXISTS (SELECT FROM amad_watches w WHERE w.watch OPERATOR(pg_catalog.=) amad_series.watch));
CREATE POLICY amad_runs_select ON amad_runs FOR SELECT
	USING (EXISTS (SELECT FROM amad_watches w WHERE w.watch OPERATOR(pg_catalog.=) amad_runs.watch));
COMMENT ON POLICY amad_watches_select ON amad_watches IS 'watches of the role and of roles that it is a member of, and of models that it has a grant on';
COMMENT ON POLICY amad_changes_select ON amad_changes IS 'those of watches that the role can see';
COMMENT ON POLICY amad_overflow_select ON amad_overflow IS 'those of watches that the role can see';
COMMENT ON POLICY amad_pending_select ON amad_pending IS 'those of watches that the role can see';
COMMENT ON POLICY amad_series_select ON amad_series IS 'those of watches that the role can see';
COMMENT ON POLICY amad_runs_select ON amad_runs IS 'those of watches that the role can see';
GRANT SELECT ON amad_watches, amad_changes, amad_overflow, amad_pending, amad_series, amad_runs TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('amad_watches', '');
SELECT pg_catalog.pg_extension_config_dump('amad_changes', '');
SELECT pg_catalog.pg_extension_config_dump('amad_overflow', '');
SELECT pg_catalog.pg_extension_config_dump('amad_pending', '');
SELECT pg_catalog.pg_extension_config_dump('amad_series', '');
SELECT pg_catalog.pg_extension_config_dump('amad_runs', '');

CREATE FUNCTION amad_log_change() RETURNS trigger
	AS 'MODULE_PATHNAME', 'amad_log_change' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_log_change IS
	'trigger function that adds the changes of a statement to amad_changes; amad_watch() creates its triggers';

CREATE FUNCTION amad_watch(model_name text, target text DEFAULT NULL, "every" interval DEFAULT NULL,
		delay interval DEFAULT NULL, late interval DEFAULT NULL, retain interval DEFAULT NULL,
		since timestamptz DEFAULT NULL, silence interval DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_watch' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_watch IS
	'create a watch of one of your own models, whose scores amad_refresh() then keeps up to date in a table, or alter it';

CREATE FUNCTION amad_unwatch(model_name text) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_unwatch' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_unwatch IS
	'drop a watch and its triggers; the table of scores is kept';

CREATE FUNCTION amad_pause(model_name text) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_pause' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_pause IS
	'pause a watch: amad_refresh() does nothing until amad_resume(); changes are still logged';

CREATE FUNCTION amad_resume(model_name text) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_resume' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_resume IS
	'resume a watch that was paused';

CREATE PROCEDURE amad_refresh(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		as_of timestamptz DEFAULT pg_catalog.now())
	AS 'MODULE_PATHNAME', 'amad_refresh' LANGUAGE C;
COMMENT ON PROCEDURE amad_refresh IS
	'score what has changed since the last refresh of a watch, and the rows from since until until; commits after each batch of series';

-- The rights of the role that reads it apply, as on the tables.
CREATE VIEW amad_status WITH (security_invoker = true) AS
	SELECT w.watch, w.owner, w.model_name, w.target,
		CASE WHEN w.paused THEN 'paused'
			WHEN NOT EXISTS (SELECT FROM amad_models m WHERE m.deployed AND m.model_name = w.model_name
				AND (m.owner = w.owner OR (m.owner_oid = w.owner_oid AND m.owner_cluster = w.owner_cluster))) THEN 'no model'
			WHEN f.failures > 0 THEN 'failing'
			WHEN w."every" IS NOT NULL AND pg_catalog.now() - coalesce(f.done, w.created_at) > w."every" * 2 THEN 'overdue'
			ELSE 'ok' END AS state,
		n.newest, pg_catalog.now() - n.newest AS lag,
		r.run AS last_run, r.state AS last_state, r.started AS last_started, r.ended - r.started AS last_duration,
		r.rows_scored AS last_rows, r.model_version, r.sqlstate, r.message, f.done AS last_done, f.failures,
		c.changes, c.oldest_change, (SELECT pg_catalog.count(*) FROM amad_pending p WHERE p.watch = w.watch) AS pending,
		EXISTS (SELECT FROM amad_overflow o WHERE o.watch = w.watch) AS overflow,
		d.flagged_share, d.learning_share, s.series, s.learning_series,
		CASE WHEN w.time_type <> 'int8' THEN s.silent_series END AS silent_series, t.silent_after,
		j.scheduler, j.job, j.state AS job_state, j.message AS job_message, u.unseen
	FROM amad_watches w
	CROSS JOIN LATERAL (SELECT CASE w.time_type
			WHEN 'timestamptz' THEN timestamptz '2000-01-01 00:00+00' + w.newest_ts * interval '1 microsecond'
			WHEN 'timestamp' THEN (timestamp '2000-01-01 00:00' + w.newest_ts * interval '1 microsecond')::timestamptz
		END AS newest) n
	LEFT JOIN LATERAL (SELECT * FROM amad_runs r WHERE r.watch = w.watch AND r.state <> 'skipped'
		ORDER BY r.run DESC LIMIT 1) r ON true
	CROSS JOIN LATERAL (SELECT pg_catalog.max(a.started) FILTER (WHERE a.state = 'done') AS done,
			pg_catalog.count(*) FILTER (WHERE a.state IN ('failed', 'cancelled', 'killed') AND a.run > coalesce(
				(SELECT pg_catalog.max(b.run) FROM amad_runs b WHERE b.watch = w.watch AND b.state = 'done'), 0)) AS failures
		FROM amad_runs a WHERE a.watch = w.watch) f
	CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS changes, pg_catalog.min(c.logged_at) AS oldest_change
		FROM amad_changes c WHERE c.watch = w.watch) c
	CROSS JOIN LATERAL (SELECT pg_catalog.sum(a.rows_flagged)::float8 / nullif(pg_catalog.sum(a.rows_scored), 0)::float8 AS flagged_share,
			pg_catalog.sum(a.rows_learning)::float8 / nullif(pg_catalog.sum(a.rows_scored), 0)::float8 AS learning_share
		FROM amad_runs a WHERE a.watch = w.watch AND a.started > pg_catalog.now() - interval '1 day') d
	CROSS JOIN LATERAL (SELECT w.delay + coalesce(w.silence, CASE WHEN w.time_type <> 'int8'
			THEN pg_catalog.make_interval(secs => w.step * 20 / 1000000.0) END) AS silent_after) t
	CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS series, pg_catalog.count(*) FILTER (WHERE a.learning) AS learning_series,
			pg_catalog.count(*) FILTER (WHERE a.newest < pg_catalog.now() - t.silent_after) AS silent_series
		FROM amad_series a WHERE a.watch = w.watch) s
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
COMMENT ON COLUMN amad_status.silent_series IS 'those without a row for the time silent_after: amad_series has their newest; null for integers';
COMMENT ON COLUMN amad_status.silent_after IS 'the setting silence of the watch, or 20 steps of the model, and delay';
COMMENT ON COLUMN amad_status.scheduler IS 'extension that has a job for it, pg_cron or timescaledb; null: no job that the role can see';
COMMENT ON COLUMN amad_status.job IS 'identifier of the job';
COMMENT ON COLUMN amad_status.job_state IS 'not scheduled, scheduled, inactive, or failing (its last run failed); null: jobs cannot be seen from here';
COMMENT ON COLUMN amad_status.job_message IS 'what pg_cron reported about the last run, if that failed';
COMMENT ON COLUMN amad_status.unseen IS 'what the watch cannot see; null: nothing that is known';
ALTER VIEW amad_status OWNER TO @extowner@;
GRANT SELECT ON amad_status TO PUBLIC;
