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
	source jsonb,
	min_severity float8 NOT NULL DEFAULT 1,
	min_rows integer NOT NULL DEFAULT 1,
	merge_gap interval,
	min_duration interval NOT NULL DEFAULT '0',
	alerts_per_day float8,
	tuned_version integer,
	critical_severity float8 NOT NULL DEFAULT 3,
	labels jsonb,
	notify text,
	care boolean NOT NULL DEFAULT true,
	newest_version integer,
	notify_failures bigint NOT NULL DEFAULT 0,
	cooldown interval NOT NULL DEFAULT '6 hours',
	tuned_at timestamptz
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
COMMENT ON COLUMN amad_watches.silence IS 'a series without rows for this time and delay is silent; null: 20 of its steps';
COMMENT ON COLUMN amad_watches.step IS 'median distance of rows when the model was trained: microseconds, or the integer';
COMMENT ON COLUMN amad_watches.source IS 'what the last refresh read, in the form of amad_models; everything is scored again if that changes';
COMMENT ON COLUMN amad_watches.min_severity IS 'a row belongs to an incident if its severity is greater';
COMMENT ON COLUMN amad_watches.min_rows IS 'an incident has at least this number of such rows';
COMMENT ON COLUMN amad_watches.merge_gap IS 'such rows at most this far apart belong to the same incident; null: 10 steps of the model';
COMMENT ON COLUMN amad_watches.min_duration IS 'an incident lasts at least this long, from its first row to its last';
COMMENT ON COLUMN amad_watches.alerts_per_day IS 'number of alarms a day that the rule was chosen for, by amad_tune(); null: the rule was specified';
COMMENT ON COLUMN amad_watches.tuned_version IS 'version of the model that was deployed then; a refresh chooses the rule again after another deployment';

COMMENT ON COLUMN amad_watches.critical_severity IS 'incidents with at least this peak severity have the class critical, others the class warning';
COMMENT ON COLUMN amad_watches.labels IS 'members that are added to announcements, for routing; null: none';
COMMENT ON COLUMN amad_watches.notify IS 'channel on which a refresh sends a notification when it has written announcements; null: none';
COMMENT ON COLUMN amad_watches.care IS 'whether amad_care() recalibrates and retrains the model';
COMMENT ON COLUMN amad_watches.newest_version IS 'newest version of the model that a run has found deployed; if an older one is deployed now, amad_care() does not replace it';
COMMENT ON COLUMN amad_watches.notify_failures IS 'notifications that could not be sent';
COMMENT ON COLUMN amad_watches.cooldown IS 'an incident that begins within this time after another one of its series, with the same leading feature and less than twice the severity, is not announced';
COMMENT ON COLUMN amad_watches.tuned_at IS 'as_of of the refresh that has last examined the rule for alerts_per_day';

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
	newest_ts bigint NOT NULL,
	key jsonb,
	heard timestamptz,
	heard_ts bigint,
	step bigint,
	features jsonb,
	names bigint,
	retired timestamptz,
	adopted timestamptz,
	calibrated timestamptz,
	PRIMARY KEY (watch, id)
);
COMMENT ON TABLE amad_series IS 'series of the sources of watches, as of the last refresh that scored their newest row';
COMMENT ON COLUMN amad_series.watch IS 'the watch, as in amad_watches';
COMMENT ON COLUMN amad_series.id IS 'SHA-256 of the text of series';
COMMENT ON COLUMN amad_series.series IS 'values of the series columns in their order';
COMMENT ON COLUMN amad_series.newest IS 'time of the newest row that was scored; null for integers';
COMMENT ON COLUMN amad_series.learning IS 'whether the model that scored it does not contain the series';
COMMENT ON COLUMN amad_series.newest_ts IS 'the same as newest, as in amad_changes';
COMMENT ON COLUMN amad_series.key IS 'the series as amad_detect() returns it; null: the model has none';
COMMENT ON COLUMN amad_series.heard IS 'time of the newest row that was scored and has a value; null for integers';
COMMENT ON COLUMN amad_series.heard_ts IS 'the same as heard, as in amad_changes';
COMMENT ON COLUMN amad_series.step IS 'median distance of its rows in microseconds: when the model was trained, or, if the model does not contain it, in scored rows; null: not known';
COMMENT ON COLUMN amad_series.features IS 'last: time of the last value (null: none) of features that have none in the newest row, as in amad_changes; usual: usual distance of the values of features that have few, in microseconds';
COMMENT ON COLUMN amad_series.names IS 'hash of the names of the features that the model had then';
COMMENT ON COLUMN amad_series.retired IS 'time of amad_retire(), unless newer rows have arrived since; null: silences are reported';
COMMENT ON COLUMN amad_series.adopted IS 'as_of of the amad_care() that has adopted the series, or has tried to; null: it was in the training, or is new';
COMMENT ON COLUMN amad_series.calibrated IS 'as_of of the last amad_care() that has calibrated the series that it has adopted';

CREATE TABLE amad_runs (
	watch uuid NOT NULL,
	kind text NOT NULL,
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
	PRIMARY KEY (watch, started, kind)
);
CREATE INDEX ON amad_runs (watch, run);
COMMENT ON TABLE amad_runs IS 'runs of amad_refresh() and amad_care()';
COMMENT ON COLUMN amad_runs.watch IS 'the watch, as in amad_watches';
COMMENT ON COLUMN amad_runs.kind IS 'refresh, or what amad_care() did: recalibrate or retrain';
COMMENT ON COLUMN amad_runs.run IS 'number of the run among those of the watch; one that was skipped can have that of a run in an open transaction';
COMMENT ON COLUMN amad_runs.started IS 'time at which it started';
COMMENT ON COLUMN amad_runs.ended IS 'time at which it ended; of a killed run, the time at which that was noticed';
COMMENT ON COLUMN amad_runs.state IS 'running, done, failed, cancelled, skipped (another run was not finished), or killed (its process ended)';
COMMENT ON COLUMN amad_runs.as_of IS 'the time that counted as the present';
COMMENT ON COLUMN amad_runs.changes IS 'entries of the change log that were taken';
COMMENT ON COLUMN amad_runs.series IS 'series that were scored, of which one that had several ranges can count more than once; of kind recalibrate: series that were checked';
COMMENT ON COLUMN amad_runs.rows_scored IS 'rows written to the target';
COMMENT ON COLUMN amad_runs.rows_flagged IS 'those of them that are anomalies';
COMMENT ON COLUMN amad_runs.rows_learning IS 'those of them whose series the model does not contain';
COMMENT ON COLUMN amad_runs.model_version IS 'version that scored them; otherwise the one that was deployed at the end';
COMMENT ON COLUMN amad_runs.sqlstate IS 'error code of a run that failed or was cancelled';
COMMENT ON COLUMN amad_runs.message IS 'its error message';
COMMENT ON COLUMN amad_runs.notices IS 'remarks of the run, for example on new partitions';

-- Without a key, rows of a table in a publication could not be deleted otherwise.
ALTER TABLE amad_changes REPLICA IDENTITY FULL;
ALTER TABLE amad_overflow REPLICA IDENTITY FULL;

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
		since timestamptz DEFAULT NULL, silence interval DEFAULT NULL, min_severity double precision DEFAULT NULL,
		min_rows integer DEFAULT NULL, merge_gap interval DEFAULT NULL, min_duration interval DEFAULT NULL,
		alerts_per_day double precision DEFAULT NULL, critical_severity double precision DEFAULT NULL, labels jsonb DEFAULT NULL,
		notify text DEFAULT NULL, care boolean DEFAULT NULL, cooldown interval DEFAULT NULL) RETURNS jsonb
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

CREATE FUNCTION amad_silent_after(delay interval, silence interval, step bigint) RETURNS interval
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN least(delay, interval '1000 years') + coalesce(CASE WHEN silence > interval '1000 years' THEN interval '1000 years' ELSE silence END,
		pg_catalog.make_interval(secs => 20 * CASE WHEN step < 0 THEN 0 WHEN step > 1000000000000000 THEN 1000000000000000 ELSE step END / 1000000.0));
COMMENT ON FUNCTION amad_silent_after IS
	'the time after which a series with a step, in microseconds, is silent, by the settings of its watch';

CREATE FUNCTION amad_retire(model_name text, series jsonb) RETURNS bigint
	AS 'MODULE_PATHNAME', 'amad_retire' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_retire IS
	'note that series of a watch have been taken out of use, so that their silence is not reported; returns how many';

CREATE PROCEDURE amad_care(model_name text, as_of timestamptz DEFAULT pg_catalog.now())
	AS 'MODULE_PATHNAME', 'amad_care' LANGUAGE C;
COMMENT ON PROCEDURE amad_care IS
	'keep the model of a watch up to date, if it is due: recalibrate series that have drifted and adopt new ones, daily; retrain, weekly';
