-- amad 0.1.0 -> 0.2.0

DROP POLICY amad_models_select ON amad_models;
DROP FUNCTION amad_detect(text, timestamptz, timestamptz, bigint, jsonb, text, text, boolean, boolean);
DROP FUNCTION amad_detect_query(text, timestamptz, timestamptz, bigint, jsonb, text, text);
DROP FUNCTION amad_detect_bigint(text, bigint, bigint, bigint, jsonb, text, text, boolean, boolean);
DROP FUNCTION amad_detect_query_bigint(text, bigint, bigint, bigint, jsonb, text, text);
DROP FUNCTION amad_events(text, timestamptz, timestamptz, interval, interval, interval, double precision, text, integer, integer, text, jsonb, text, text, boolean, interval);
DROP FUNCTION amad_events_bigint(text, bigint, bigint, bigint, bigint, bigint, double precision, text, integer, integer, text, jsonb, text, text, boolean, bigint);
DROP FUNCTION amad_train(text, text, text, text[], text[], text, jsonb);
DROP FUNCTION amad_retrain(text, boolean);
DROP FUNCTION amad_recalibrate(text, timestamptz, timestamptz, bigint, jsonb, text, text, text, jsonb);
DROP FUNCTION amad_recalibrate_bigint(text, bigint, bigint, bigint, jsonb, text, text, text, jsonb);

CREATE FUNCTION amad_may_read(owner name, owner_oid oid, owner_cluster bigint, model_name text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_may_read' LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION amad_may_read IS
	'whether the current role has the privileges of the owner of a model, or a grant on the model';

CREATE POLICY amad_models_select ON amad_models FOR SELECT
	USING (amad_may_read(owner, owner_oid, owner_cluster, model_name));

COMMENT ON POLICY amad_models_select ON amad_models IS
	'models owned by the role or by roles that it is a member of, and those that it has a grant on';

COMMENT ON FUNCTION amad_deploy IS
	'deploy a version of a model that you own or may operate: scoring by name then uses it';

CREATE TABLE amad_grants (
	owner name NOT NULL,
	owner_oid oid,
	owner_cluster bigint,
	model_name text NOT NULL,
	grantee name NOT NULL,
	grantee_oid oid,
	grantee_cluster bigint,
	privilege text NOT NULL CHECK (privilege OPERATOR(pg_catalog.=) 'read' OR privilege OPERATOR(pg_catalog.=) 'operate'),
	granted_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (model_name, owner, grantee, privilege, granted_at)
);

COMMENT ON TABLE amad_grants IS 'what owners of models allow other roles to do with them';

COMMENT ON COLUMN amad_grants.owner IS 'owner of the model';

COMMENT ON COLUMN amad_grants.owner_oid IS 'oid of that role in owner_cluster; elsewhere, or if null, the name counts';

COMMENT ON COLUMN amad_grants.owner_cluster IS 'system identifier of the cluster to which owner_oid belongs';

COMMENT ON COLUMN amad_grants.model_name IS 'name of the model; a grant is on all of its versions';

COMMENT ON COLUMN amad_grants.grantee IS 'role that has the privilege, with its members; public: all roles';

COMMENT ON COLUMN amad_grants.grantee_oid IS 'oid of that role in grantee_cluster; elsewhere, or if null, the name counts';

COMMENT ON COLUMN amad_grants.grantee_cluster IS 'system identifier of the cluster to which grantee_oid belongs';

COMMENT ON COLUMN amad_grants.privilege IS 'read: see the model and its watch, and score by it; operate: also deploy, refresh, pause and schedule';

COMMENT ON COLUMN amad_grants.granted_at IS 'time at which it was granted';

ALTER TABLE amad_grants OWNER TO @extowner@;

ALTER TABLE amad_grants ENABLE ROW LEVEL SECURITY;

CREATE POLICY amad_grants_select ON amad_grants FOR SELECT
	USING (amad_may_use(owner, owner_oid, owner_cluster) OR amad_may_use(grantee, grantee_oid, grantee_cluster)
		OR grantee OPERATOR(pg_catalog.=) 'public');

COMMENT ON POLICY amad_grants_select ON amad_grants IS
	'grants by and to the role and roles that it is a member of, and grants to all roles';

GRANT SELECT ON amad_grants TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('amad_grants', '');

CREATE FUNCTION amad_grant(model_name text, role name, privilege text) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_grant' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_grant IS
	'grant a role, or public, the privilege read or operate on one of your own models';

CREATE FUNCTION amad_revoke(model_name text, role name, privilege text DEFAULT NULL) RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_revoke' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_revoke IS
	'revoke a privilege on one of your own models, and those that include it; null: all; false if the role did not have it';

CREATE FUNCTION amad_progress() RETURNS TABLE (pid integer, datid oid, usesysid oid, command text, phase text,
		share double precision, started timestamptz, eta timestamptz, rows_done bigint, rows_total bigint, workers integer)
	AS 'MODULE_PATHNAME', 'amad_progress' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;

COMMENT ON FUNCTION amad_progress IS
	'progress of the trainings, detections and recalibrations that run now; the view amad_progress also has names';

CREATE VIEW amad_progress AS
	SELECT p.pid, p.datid, d.datname, pg_catalog.pg_get_userbyid(p.usesysid) AS usename, p.command, p.phase, p.share, p.started,
		p.eta, p.rows_done, p.rows_total, p.workers
	FROM amad_progress() AS p LEFT JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) p.datid;

COMMENT ON VIEW amad_progress IS 'progress of the trainings, detections and recalibrations that run now, in all databases';

COMMENT ON COLUMN amad_progress.pid IS 'process of the backend, as in pg_stat_activity';

COMMENT ON COLUMN amad_progress.datid IS 'database';

COMMENT ON COLUMN amad_progress.datname IS 'name of the database';

COMMENT ON COLUMN amad_progress.usename IS 'role of the session';

COMMENT ON COLUMN amad_progress.command IS
	'train, retrain, detect, events, drift, recalibrate, evaluate or estimate; null, like all that follows, without privileges of the role';

COMMENT ON COLUMN amad_progress.phase IS
	'starting, reading rows, preparing rows, training, calibrating, storing or scoring rows';

COMMENT ON COLUMN amad_progress.share IS 'time spent as a share of the expected time, 0 to 1; null: not known yet';

COMMENT ON COLUMN amad_progress.started IS 'time at which the command began';

COMMENT ON COLUMN amad_progress.eta IS 'time at which the command is expected to end';

COMMENT ON COLUMN amad_progress.rows_done IS 'rows processed in this phase; in training, each time that a row is used';

COMMENT ON COLUMN amad_progress.rows_total IS 'rows to process in this phase, partly estimated';

COMMENT ON COLUMN amad_progress.workers IS 'parallel workers at work, without the backend itself';

GRANT SELECT ON amad_progress TO PUBLIC;

CREATE FUNCTION amad_pivot_step(internal, text, "any", "any", text[], text) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_pivot_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION amad_pivot_final(internal) RETURNS float8[]
	AS 'MODULE_PATHNAME', 'amad_pivot_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION amad_pivot_step IS
	'transition function of amad_pivot';

COMMENT ON FUNCTION amad_pivot_final IS
	'final function of amad_pivot';

CREATE AGGREGATE amad_pivot(metric text, value "any", ts "any", metrics text[], aggregate text) (
	SFUNC = amad_pivot_step, STYPE = internal, SSPACE = 512,
	FINALFUNC = amad_pivot_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);

COMMENT ON AGGREGATE amad_pivot(metric text, value "any", ts "any", metrics text[], aggregate text) IS
	'values of several metrics as one array, each by avg, max, min, sum or last; used in the queries that read narrow sources';

DO $do$
DECLARE
	f record;
BEGIN
	FOR f IN
		SELECT pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments
		FROM pg_catalog.pg_proc p
		WHERE p.pronamespace OPERATOR(pg_catalog.=) '@extschema@'::pg_catalog.regnamespace
			AND p.proname OPERATOR(pg_catalog.=) 'amad_explain'
		ORDER BY 1
	LOOP
		EXECUTE pg_catalog.format($$ CREATE FUNCTION amad_explain_anomalies(%s) RETURNS amad_result
			AS 'MODULE_PATHNAME', 'amad_explain_anomalies' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300 $$, f.arguments);
		EXECUTE pg_catalog.format($$ COMMENT ON FUNCTION amad_explain_anomalies(%s) IS
			'as amad_explain, with what explains the severity for anomalies only, which is faster; OVER (ORDER BY ts)' $$, f.arguments);
	END LOOP;
END $do$;

CREATE FUNCTION amad_detect(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		only_anomalies boolean DEFAULT false, "explain" boolean DEFAULT true, version integer DEFAULT NULL)
	RETURNS TABLE (series jsonb, ts timestamptz, anomaly_score double precision, threshold double precision,
		severity double precision, is_anomaly boolean, expected_values jsonb, expected_lower jsonb,
		expected_upper jsonb, contributions jsonb, direction jsonb, imputed text[], status text, model_version integer)
	AS 'MODULE_PATHNAME', 'amad_detect' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 10000;

COMMENT ON FUNCTION amad_detect IS
	'score the rows of a model''s source; returns severity, expected values and their bands, contributions and status';

CREATE FUNCTION amad_detect_query(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		version integer DEFAULT NULL)
	RETURNS text
	AS 'MODULE_PATHNAME', 'amad_detect_query' LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_detect_query IS
	'the query that amad_detect runs, for use with EXPLAIN';

CREATE FUNCTION amad_detect_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		only_anomalies boolean DEFAULT false, "explain" boolean DEFAULT true, version integer DEFAULT NULL)
	RETURNS TABLE (series jsonb, ts bigint, anomaly_score double precision, threshold double precision,
		severity double precision, is_anomaly boolean, expected_values jsonb, expected_lower jsonb,
		expected_upper jsonb, contributions jsonb, direction jsonb, imputed text[], status text, model_version integer)
	AS 'MODULE_PATHNAME', 'amad_detect' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 10000;

COMMENT ON FUNCTION amad_detect_bigint IS
	'score the rows of a model''s source that has an integer time column; otherwise as amad_detect';

CREATE FUNCTION amad_detect_query_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		version integer DEFAULT NULL)
	RETURNS text
	AS 'MODULE_PATHNAME', 'amad_detect_query' LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_detect_query_bigint IS
	'the query that amad_detect_bigint runs, for use with EXPLAIN';

CREATE FUNCTION amad_detect_sql(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		only_anomalies boolean DEFAULT false, version integer DEFAULT NULL)
	RETURNS text
	AS 'MODULE_PATHNAME', 'amad_detect_sql' LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_detect_sql IS
	'a query that scores the rows of a model''s source, for use in other statements and in distributed databases';

CREATE FUNCTION amad_detect_sql_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		only_anomalies boolean DEFAULT false, version integer DEFAULT NULL)
	RETURNS text
	AS 'MODULE_PATHNAME', 'amad_detect_sql' LANGUAGE C STABLE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_detect_sql_bigint IS
	'a query that scores the rows of a model''s source, for use in other statements and in distributed databases; for an integer time column';

CREATE FUNCTION amad_events(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		min_duration interval DEFAULT NULL, merge_gap interval DEFAULT NULL, cooldown interval DEFAULT NULL,
		min_severity double precision DEFAULT 1.0, direction text DEFAULT NULL,
		k integer DEFAULT 1, n integer DEFAULT 1, maintenance text DEFAULT NULL,
		series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		learning boolean DEFAULT false, silence interval DEFAULT NULL, version integer DEFAULT NULL)
	RETURNS TABLE (series jsonb, kind text, start_ts timestamptz, end_ts timestamptz, peak_ts timestamptz,
		peak_severity double precision, n_points bigint, top_features jsonb, open boolean, status text)
	AS 'MODULE_PATHNAME', 'amad_events' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100;

COMMENT ON FUNCTION amad_events IS
	'the anomalies of a model''s source as intervals, each with its peak and main contributing features; with silence, also series and columns that have stopped';

CREATE FUNCTION amad_events_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		min_duration bigint DEFAULT NULL, merge_gap bigint DEFAULT NULL, cooldown bigint DEFAULT NULL,
		min_severity double precision DEFAULT 1.0, direction text DEFAULT NULL,
		k integer DEFAULT 1, n integer DEFAULT 1, maintenance text DEFAULT NULL,
		series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		learning boolean DEFAULT false, silence bigint DEFAULT NULL, version integer DEFAULT NULL)
	RETURNS TABLE (series jsonb, kind text, start_ts bigint, end_ts bigint, peak_ts bigint,
		peak_severity double precision, n_points bigint, top_features jsonb, open boolean, status text)
	AS 'MODULE_PATHNAME', 'amad_events' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100;

COMMENT ON FUNCTION amad_events_bigint IS
	'the anomalies of a model''s source that has an integer time column; otherwise as amad_events';

CREATE FUNCTION amad_calibrate_step(internal, amad_model, "any", VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_calibrate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION amad_calibrate_rows_step(internal, amad_model, record) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_calibrate_rows_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION amad_calibrate_final(internal) RETURNS bytea
	AS 'MODULE_PATHNAME', 'amad_calibrate_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION amad_merge_step(internal, amad_model, jsonb, bytea) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_merge_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION amad_merge_final(internal) RETURNS amad_model
	AS 'MODULE_PATHNAME', 'amad_merge_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION amad_calibrate_step IS
	'transition function of amad_calibrate';

COMMENT ON FUNCTION amad_calibrate_rows_step IS
	'transition function of amad_calibrate_rows';

COMMENT ON FUNCTION amad_calibrate_final IS
	'final function of amad_calibrate and amad_calibrate_rows';

COMMENT ON FUNCTION amad_merge_step IS
	'transition function of amad_merge';

COMMENT ON FUNCTION amad_merge_final IS
	'final function of amad_merge';

CREATE AGGREGATE amad_calibrate(model amad_model, ts "any", VARIADIC features "any") (
	SFUNC = amad_calibrate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_calibrate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);

COMMENT ON AGGREGATE amad_calibrate(model amad_model, ts "any", VARIADIC features "any") IS
	'calibrate a model on all rows of one series, a group; amad_merge puts the results into the model';

CREATE AGGREGATE amad_calibrate_rows(model amad_model, source_row record) (
	SFUNC = amad_calibrate_rows_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_calibrate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);

COMMENT ON AGGREGATE amad_calibrate_rows(model amad_model, source_row record) IS
	'calibrate a model on the rows of one series of a source, in order of time; used by amad_train and amad_retrain';

CREATE AGGREGATE amad_merge(model amad_model, series jsonb, calibration bytea) (
	SFUNC = amad_merge_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_merge_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);

COMMENT ON AGGREGATE amad_merge(model amad_model, series jsonb, calibration bytea) IS
	'put the calibrations of series, which amad_calibrate has computed with the same model, into the model';

CREATE FUNCTION amad_train(model_name text, source text, timestamp_col text DEFAULT NULL,
		feature_cols text[] DEFAULT NULL, series_cols text[] DEFAULT NULL, label_col text DEFAULT NULL,
		options jsonb DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, last_n bigint DEFAULT NULL,
		metric_col text DEFAULT NULL, value_col text DEFAULT NULL, bucket text DEFAULT NULL, aggregate text DEFAULT NULL,
		deploy "any" DEFAULT true, keep integer DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_train_source' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_train(model_name text, source text, timestamp_col text, feature_cols text[],
		series_cols text[], label_col text, options jsonb, since timestamptz, until timestamptz, last_n bigint,
		metric_col text, value_col text, bucket text, aggregate text,
		deploy "any", keep integer) IS
	'train a model on a relation or query, store both as the next version of model_name, and return a summary';

CREATE FUNCTION amad_retrain(model_name text, warm_start boolean DEFAULT false, since timestamptz DEFAULT NULL,
		until timestamptz DEFAULT NULL, last_n bigint DEFAULT NULL, deploy "any" DEFAULT true, keep integer DEFAULT NULL)
	RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_retrain' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_retrain IS
	'train the deployed version of a model again on the current rows of its source; warm_start continues from its weights';

CREATE FUNCTION amad_train_bigint(model_name text, source text, timestamp_col text DEFAULT NULL,
		feature_cols text[] DEFAULT NULL, series_cols text[] DEFAULT NULL, label_col text DEFAULT NULL,
		options jsonb DEFAULT NULL, since bigint DEFAULT NULL, until bigint DEFAULT NULL, last_n bigint DEFAULT NULL,
		metric_col text DEFAULT NULL, value_col text DEFAULT NULL, bucket text DEFAULT NULL, aggregate text DEFAULT NULL,
		deploy "any" DEFAULT true, keep integer DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_train_source' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_train_bigint IS
	'train a model on a relation or query with an integer time column; otherwise as amad_train';

CREATE FUNCTION amad_retrain_bigint(model_name text, warm_start boolean DEFAULT false, since bigint DEFAULT NULL,
		until bigint DEFAULT NULL, last_n bigint DEFAULT NULL, deploy "any" DEFAULT true, keep integer DEFAULT NULL)
	RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_retrain' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_retrain_bigint IS
	'train the deployed version of a model whose source has an integer time column again; otherwise as amad_retrain';

CREATE FUNCTION amad_in_sample(level integer, block_rows bigint, number bigint, series_cols text[], VARIADIC series "any")
	RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_in_sample' LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION amad_in_sample IS
	'whether the row with a number (from 0) in its series is in the sample that a training uses when the rows do not fit in maintenance_work_mem; level: one of 2^level blocks of block_rows rows is';

CREATE FUNCTION amad_estimate(source text, timestamp_col text DEFAULT NULL, feature_cols text[] DEFAULT NULL,
		series_cols text[] DEFAULT NULL, label_col text DEFAULT NULL, options jsonb DEFAULT NULL,
		OUT rows bigint, OUT series bigint, OUT short_series bigint, OUT features integer, OUT sampled double precision,
		OUT steps bigint, OUT passes double precision, OUT workers integer, OUT seconds double precision,
		OUT read_seconds double precision, OUT train_seconds double precision, OUT calibrate_seconds double precision,
		OUT memory bigint, OUT memory_required bigint, OUT maintenance_work_mem bigint, OUT version_bytes bigint)
	AS 'MODULE_PATHNAME', 'amad_estimate' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_estimate IS
	'time and memory that amad_train will need on a relation or query, from a count of the rows and some real steps';

CREATE FUNCTION amad_recalibrate(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		label_col text DEFAULT NULL, options jsonb DEFAULT NULL, deploy "any" DEFAULT true, keep integer DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_recalibrate' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_recalibrate IS
	'calibrate the deployed version on recent rows without training, rescale moved features, adopt new series, store it as the next version, and return a summary';

CREATE FUNCTION amad_recalibrate_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		label_col text DEFAULT NULL, options jsonb DEFAULT NULL, deploy "any" DEFAULT true, keep integer DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_recalibrate' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_recalibrate_bigint IS
	'calibrate the deployed version of a model whose source has an integer time column; otherwise as amad_recalibrate';

CREATE FUNCTION amad_compare(model_name text, version integer, other_version integer DEFAULT NULL,
		since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL)
	RETURNS TABLE (version integer, rows bigint, scored bigint, flagged bigint, flagged_both bigint, learning bigint,
		drift bigint, events bigint, events_kept bigint, events_per_day double precision, median_severity double precision)
	AS 'MODULE_PATHNAME', 'amad_compare' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 2;

COMMENT ON FUNCTION amad_compare IS
	'what two versions of a model make of the same rows of its source, one row for each version; default for other_version: the deployed one';

CREATE FUNCTION amad_compare_bigint(model_name text, version integer, other_version integer DEFAULT NULL,
		since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL)
	RETURNS TABLE (version integer, rows bigint, scored bigint, flagged bigint, flagged_both bigint, learning bigint,
		drift bigint, events bigint, events_kept bigint, events_per_day double precision, median_severity double precision)
	AS 'MODULE_PATHNAME', 'amad_compare' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 2;

COMMENT ON FUNCTION amad_compare_bigint IS
	'what two versions make of the same rows of a source that has an integer time column; otherwise as amad_compare';

CREATE FUNCTION amad_first_call() RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_first_call' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_first_call IS
	'whether it is called for the first time while a query is executed; used in queries of amad on shards';

DO $do$
DECLARE
	f record;
	name text;
BEGIN
	FOR f IN
		SELECT p.oid, p.proname, p.prosrc, p.procost, p.prorows
		FROM pg_catalog.pg_proc p
		WHERE p.pronamespace OPERATOR(pg_catalog.=) '@extschema@'::pg_catalog.regnamespace
			AND p.proname OPERATOR(pg_catalog.=) ANY (ARRAY['amad_detect', 'amad_detect_bigint', 'amad_events',
				'amad_events_bigint', 'amad_drift', 'amad_drift_bigint']::pg_catalog.name[])
		ORDER BY p.proname
	LOOP
		name := f.proname OPERATOR(pg_catalog.||) '_on_shard';
		EXECUTE pg_catalog.format($$ CREATE FUNCTION %I(%s, shard regtype, call jsonb, model amad_model) RETURNS %s
			AS 'MODULE_PATHNAME', %L LANGUAGE C STABLE PARALLEL UNSAFE COST %s ROWS %s $$, name,
			pg_catalog.pg_get_function_identity_arguments(f.oid), pg_catalog.pg_get_function_result(f.oid),
			f.prosrc, f.procost, f.prorows);
		EXECUTE pg_catalog.format($$ COMMENT ON FUNCTION %I IS %L $$, name,
			'what ' OPERATOR(pg_catalog.||) f.proname OPERATOR(pg_catalog.||) ' calls for a shard of a distributed source');
	END LOOP;
END $do$;

CREATE FUNCTION amad_refresh_on_shard(ranges jsonb, shard regtype, call jsonb, model amad_model)
	RETURNS TABLE (range integer, place bigint, key text, flagged boolean, learning boolean, empty bytea, ts bigint,
		severity double precision, status text, expected jsonb, contributions jsonb)
	AS 'MODULE_PATHNAME', 'amad_refresh_on_shard' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 1000;

COMMENT ON FUNCTION amad_refresh_on_shard IS
	'what amad_refresh calls for a shard of a distributed source';

DO $do$
DECLARE
	variant text;
	bound text;
BEGIN
	FOR variant, bound IN VALUES ('amad_recalibrate', 'timestamptz'), ('amad_recalibrate_bigint', 'bigint') LOOP
		EXECUTE pg_catalog.format($$ CREATE FUNCTION %I(model_name text, since %s, until %s, last_n bigint, series jsonb,
				source text, timestamp_col text, label_col text, options jsonb, shard regtype, call jsonb, model amad_model)
			RETURNS TABLE (key text, adopted boolean, learning bigint, figures bytea, rescaled jsonb, totals jsonb)
			AS 'MODULE_PATHNAME', 'amad_recalibrate_on_shard' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100 $$,
			variant OPERATOR(pg_catalog.||) '_on_shard', bound, bound);
		EXECUTE pg_catalog.format($$ COMMENT ON FUNCTION %I IS %L $$, variant OPERATOR(pg_catalog.||) '_on_shard',
			'what ' OPERATOR(pg_catalog.||) variant OPERATOR(pg_catalog.||) ' calls for a shard of a distributed source');
	END LOOP;
END $do$;

CREATE FUNCTION amad_schedule(model_name text, schedule text DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_schedule' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_schedule IS
	'create the jobs that refresh a watch and care for its model, by pg_cron or TimescaleDB, or replace them; without them, return how an administrator can';

CREATE FUNCTION amad_unschedule(model_name text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_unschedule' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_unschedule IS
	'remove the jobs of a watch; false if there are none';

CREATE FUNCTION amad_find_job(watch uuid, model_name text, owner name,
		OUT scheduler text, OUT job bigint, OUT state text, OUT message text)
	AS 'MODULE_PATHNAME', 'amad_find_job' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION amad_find_job IS
	'the job that refreshes a watch, as amad_status shows it';

CREATE PROCEDURE amad_job(job_id integer, config jsonb)
	AS 'MODULE_PATHNAME', 'amad_job' LANGUAGE C;

COMMENT ON PROCEDURE amad_job IS
	'amad_refresh() or amad_care() for jobs of TimescaleDB, which have the name of the model in their configuration';

CREATE FUNCTION amad_check_job(config jsonb) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_check_job' LANGUAGE C STABLE PARALLEL RESTRICTED;

COMMENT ON FUNCTION amad_check_job IS
	'raise an error if amad_job() cannot have this configuration';

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

ALTER TABLE amad_changes REPLICA IDENTITY FULL;

ALTER TABLE amad_overflow REPLICA IDENTITY FULL;

ALTER TABLE amad_watches OWNER TO @extowner@;

ALTER TABLE amad_changes OWNER TO @extowner@;

ALTER TABLE amad_overflow OWNER TO @extowner@;

ALTER TABLE amad_pending OWNER TO @extowner@;

ALTER TABLE amad_series OWNER TO @extowner@;

ALTER TABLE amad_runs OWNER TO @extowner@;

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

CREATE TABLE amad_incidents (
	id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	watch uuid NOT NULL,
	series_id bytea NOT NULL,
	series jsonb,
	kind text NOT NULL,
	state text NOT NULL,
	started timestamptz,
	ended timestamptz,
	peak timestamptz,
	peak_severity float8,
	rows bigint NOT NULL DEFAULT 0,
	top_features jsonb,
	model_version integer,
	first_ts bigint NOT NULL,
	last_ts bigint NOT NULL,
	peak_ts bigint,
	opened_at timestamptz NOT NULL,
	ended_at timestamptz,
	merged_into bigint,
	leader bigint,
	announced_severity float8,
	peaks integer NOT NULL DEFAULT 0,
	acknowledged_at timestamptz,
	acknowledged_by name,
	note text,
	detail text,
	feature text,
	verdict text,
	muted boolean NOT NULL DEFAULT false
);

CREATE INDEX ON amad_incidents (watch, series_id, last_ts);

CREATE INDEX ON amad_incidents (watch) WHERE state OPERATOR(pg_catalog.=) 'open';

CREATE INDEX ON amad_incidents (leader);

COMMENT ON TABLE amad_incidents IS 'incidents that refreshes of watches have found';

COMMENT ON COLUMN amad_incidents.id IS 'identifier, which an incident keeps when rows are added or scored again';

COMMENT ON COLUMN amad_incidents.watch IS 'the watch, as in amad_watches';

COMMENT ON COLUMN amad_incidents.series_id IS 'SHA-256 of the series, as in amad_series; of the empty string for the source as a whole, and of amad_runs.kind for the kind job';

COMMENT ON COLUMN amad_incidents.series IS 'values of the series columns; null: the source as a whole, or the model has no series';

COMMENT ON COLUMN amad_incidents.kind IS 'anomaly, silent (no rows, or no values of a feature), drift (the model does not fit the series, and a recalibration did not help), or job (runs of the watch fail)';

COMMENT ON COLUMN amad_incidents.state IS 'open, closed, merged (into an older incident), or withdrawn (its rows were scored again and are normal)';

COMMENT ON COLUMN amad_incidents.started IS 'time of the first anomalous row, or of the last row or value before a silence; null for integers';

COMMENT ON COLUMN amad_incidents.ended IS 'time of the last anomalous row, or of a row after a silence, or of amad_retire(); null while a silence lasts, and for integers';

COMMENT ON COLUMN amad_incidents.peak IS 'time of the row with the greatest severity';

COMMENT ON COLUMN amad_incidents.peak_severity IS 'that severity';

COMMENT ON COLUMN amad_incidents.rows IS 'number of anomalous rows';

COMMENT ON COLUMN amad_incidents.top_features IS 'up to three features that contributed most to the peak: share, expected and actual value, and direction: 1 above the expected value, -1 below';

COMMENT ON COLUMN amad_incidents.model_version IS 'version that scored the peak';

COMMENT ON COLUMN amad_incidents.first_ts IS 'the same as started, as in amad_changes';

COMMENT ON COLUMN amad_incidents.last_ts IS 'the same as ended, as in amad_changes; that of started while a silence lasts';

COMMENT ON COLUMN amad_incidents.peak_ts IS 'the same as peak, as in amad_changes';

COMMENT ON COLUMN amad_incidents.opened_at IS 'as_of of the refresh that found it';

COMMENT ON COLUMN amad_incidents.ended_at IS 'as_of of the refresh that closed, merged or withdrew it, or time of amad_feedback()';

COMMENT ON COLUMN amad_incidents.merged_into IS 'the incident that it was merged into';

COMMENT ON COLUMN amad_incidents.leader IS 'the incident that was announced for this one and others of its kind; null: it was announced alone';

COMMENT ON COLUMN amad_incidents.announced_severity IS 'greatest severity that amad_outbox has announced; null: not announced, because it was found in old rows';

COMMENT ON COLUMN amad_incidents.peaks IS 'how often the announced severity has doubled';

COMMENT ON COLUMN amad_incidents.acknowledged_at IS 'time of amad_acknowledge()';

COMMENT ON COLUMN amad_incidents.acknowledged_by IS 'role that called it';

COMMENT ON COLUMN amad_incidents.note IS 'note of amad_acknowledge() or amad_feedback(), whichever was given last';

COMMENT ON COLUMN amad_incidents.verdict IS 'that of amad_feedback(): incident, false_alarm or expected; null: none';

COMMENT ON COLUMN amad_incidents.muted IS 'whether nothing is announced for now: it is like a false alarm, or it has the verdict false_alarm or expected';

COMMENT ON COLUMN amad_incidents.detail IS 'for the kinds drift and job: what to do, or the error';

COMMENT ON COLUMN amad_incidents.feature IS 'the feature without values, of a silence; null: the series or the source has no rows';

CREATE TABLE amad_outbox (
	incident bigint NOT NULL,
	transition text NOT NULL,
	number integer NOT NULL,
	watch uuid NOT NULL,
	leader bigint,
	created timestamptz NOT NULL,
	as_of timestamptz NOT NULL,
	delivered timestamptz,
	PRIMARY KEY (incident, transition, number)
);

CREATE INDEX ON amad_outbox (watch) WHERE delivered IS NULL;

COMMENT ON TABLE amad_outbox IS 'transitions of incidents that are to be announced, each at least once';

COMMENT ON COLUMN amad_outbox.incident IS 'the incident';

COMMENT ON COLUMN amad_outbox.transition IS 'open, peak (the announced severity has doubled), closed or withdrawn';

COMMENT ON COLUMN amad_outbox.number IS 'counts the transitions peak of an incident; otherwise 0';

COMMENT ON COLUMN amad_outbox.watch IS 'the watch, as in amad_watches';

COMMENT ON COLUMN amad_outbox.leader IS 'the incident that is announced, usually the same; null until the run has ended';

COMMENT ON COLUMN amad_outbox.created IS 'time at which it was written';

COMMENT ON COLUMN amad_outbox.as_of IS 'as_of of the refresh';

COMMENT ON COLUMN amad_outbox.delivered IS 'time at which amad_delivered() confirmed it';

CREATE TABLE amad_verdicts (
	id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	watch uuid NOT NULL,
	incident bigint,
	series_id bytea,
	series jsonb,
	verdict text NOT NULL,
	first_ts bigint NOT NULL,
	last_ts bigint NOT NULL,
	started timestamptz,
	ended timestamptz,
	feature text,
	direction text,
	peak_severity float8,
	training_version integer,
	until timestamptz,
	note text,
	given_at timestamptz NOT NULL,
	given_by name NOT NULL
);

CREATE UNIQUE INDEX ON amad_verdicts (incident);

COMMENT ON TABLE amad_verdicts IS 'what amad_feedback() was told of incidents, and of times of series';

COMMENT ON COLUMN amad_verdicts.id IS 'identifier, for amad_drop_verdict()';

COMMENT ON COLUMN amad_verdicts.watch IS 'the watch, as in amad_watches';

COMMENT ON COLUMN amad_verdicts.incident IS 'the incident, as in amad_incidents; null: the times were specified';

COMMENT ON COLUMN amad_verdicts.series_id IS 'its series_id; null: the times were specified';

COMMENT ON COLUMN amad_verdicts.series IS 'values of series columns, as amad_detect() returns them: the verdict is on all series with these values; null: on all series';

COMMENT ON COLUMN amad_verdicts.verdict IS 'incident, false_alarm or expected';

COMMENT ON COLUMN amad_verdicts.first_ts IS 'first time that it is on, as in amad_changes';

COMMENT ON COLUMN amad_verdicts.last_ts IS 'last time that it is on, as in amad_changes';

COMMENT ON COLUMN amad_verdicts.started IS 'time of the first row of the incident, or the begin that was specified; null for integers';

COMMENT ON COLUMN amad_verdicts.ended IS 'time of the last row of the incident, or the end that was specified; null for integers';

COMMENT ON COLUMN amad_verdicts.feature IS 'of a false alarm: the feature that contributed most to its peak; null: it mutes nothing';

COMMENT ON COLUMN amad_verdicts.direction IS 'whether the value of that feature was above or below the expected one';

COMMENT ON COLUMN amad_verdicts.peak_severity IS 'greatest severity of the false alarm';

COMMENT ON COLUMN amad_verdicts.training_version IS 'version of the last training of the model that was deployed when the verdict was given';

COMMENT ON COLUMN amad_verdicts.until IS 'a false alarm mutes others up to this time; null: until a later training is deployed';

COMMENT ON COLUMN amad_verdicts.note IS 'note of amad_feedback()';

COMMENT ON COLUMN amad_verdicts.given_at IS 'time at which the verdict was given';

COMMENT ON COLUMN amad_verdicts.given_by IS 'role that gave it';

ALTER TABLE amad_incidents OWNER TO @extowner@;

ALTER TABLE amad_outbox OWNER TO @extowner@;

ALTER TABLE amad_verdicts OWNER TO @extowner@;

ALTER TABLE amad_incidents ENABLE ROW LEVEL SECURITY;

ALTER TABLE amad_outbox ENABLE ROW LEVEL SECURITY;

ALTER TABLE amad_verdicts ENABLE ROW LEVEL SECURITY;

CREATE POLICY amad_incidents_select ON amad_incidents FOR SELECT
	USING (EXISTS (SELECT FROM amad_watches w WHERE w.watch OPERATOR(pg_catalog.=) amad_incidents.watch));

CREATE POLICY amad_outbox_select ON amad_outbox FOR SELECT
	USING (EXISTS (SELECT FROM amad_watches w WHERE w.watch OPERATOR(pg_catalog.=) amad_outbox.watch));

CREATE POLICY amad_verdicts_select ON amad_verdicts FOR SELECT
	USING (EXISTS (SELECT FROM amad_watches w WHERE w.watch OPERATOR(pg_catalog.=) amad_verdicts.watch));

COMMENT ON POLICY amad_incidents_select ON amad_incidents IS 'those of watches that the role can see';

COMMENT ON POLICY amad_outbox_select ON amad_outbox IS 'those of watches that the role can see';

COMMENT ON POLICY amad_verdicts_select ON amad_verdicts IS 'those of watches that the role can see';

GRANT SELECT ON amad_incidents, amad_outbox, amad_verdicts TO PUBLIC;

COMMENT ON SEQUENCE amad_incidents_id_seq IS 'identifiers of incidents';

COMMENT ON SEQUENCE amad_verdicts_id_seq IS 'identifiers of verdicts';

GRANT SELECT ON SEQUENCE amad_incidents_id_seq, amad_verdicts_id_seq TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('amad_incidents', '');

SELECT pg_catalog.pg_extension_config_dump('amad_incidents_id_seq', '');

SELECT pg_catalog.pg_extension_config_dump('amad_outbox', '');

SELECT pg_catalog.pg_extension_config_dump('amad_verdicts', '');

SELECT pg_catalog.pg_extension_config_dump('amad_verdicts_id_seq', '');

CREATE FUNCTION amad_acknowledge(id bigint, note text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_acknowledge' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_acknowledge IS
	'note that somebody looks after an incident';

CREATE FUNCTION amad_feedback(id bigint, verdict text, note text DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_feedback' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_feedback(bigint, text, text, timestamptz) IS
	'say what an incident was: incident, false_alarm or expected; null takes it back';

CREATE FUNCTION amad_feedback(model_name text, series jsonb, since timestamptz, until timestamptz, verdict text DEFAULT 'incident',
		note text DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'amad_feedback_range' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_feedback(text, jsonb, timestamptz, timestamptz, text, text) IS
	'say that there was an incident that was not found, or that anomalies are expected, in series of a watch from since until until';

CREATE FUNCTION amad_drop_verdict(id bigint) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_drop_verdict' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_drop_verdict IS
	'remove a verdict of amad_feedback()';

CREATE FUNCTION amad_deliveries(max_rows integer DEFAULT 100) RETURNS TABLE (incident bigint, transition text, number integer,
		model_name text, incidents bigint, message jsonb)
	AS 'MODULE_PATHNAME', 'amad_deliveries' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;

COMMENT ON FUNCTION amad_deliveries IS
	'lock and return announcements of incidents that have not been delivered, without those that another transaction has locked';

CREATE FUNCTION amad_delivered(incident bigint, transition text, number integer DEFAULT 0) RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_delivered' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_delivered IS
	'confirm that an announcement was delivered; false if there was none that waited';

CREATE FUNCTION amad_tune(model_name text, per_day double precision DEFAULT NULL, since timestamptz DEFAULT NULL)
		RETURNS TABLE (min_severity double precision, min_rows integer, merge_gap interval, alarms bigint, alarms_per_day double precision,
			incidents bigint, chosen boolean)
	AS 'MODULE_PATHNAME', 'amad_tune' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 80;

COMMENT ON FUNCTION amad_tune IS
	'replay the stored severities over rules for incidents, and store the rule with the most alarms a day that are at most per_day, among those that keep the most confirmed incidents';

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

CREATE FUNCTION amad_metrics() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
	SET jit = off
BEGIN ATOMIC
	WITH s AS MATERIALIZED (SELECT * FROM amad_status),
		
		w AS MATERIALIZED (SELECT s.*, pg_catalog.format(CASE pg_catalog.count(*) OVER (PARTITION BY s.owner, s.model_name)
				WHEN 1 THEN 'owner="%s",model="%s"' ELSE 'owner="%s",model="%s",watch="%s"' END, e.owner, e.model, s.watch) AS labels
			FROM s CROSS JOIN LATERAL (SELECT
				pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(s.owner::text, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') AS owner,
				pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(s.model_name, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') AS model) e),
		i AS MATERIALIZED (SELECT i.watch, i.kind, pg_catalog.count(*) AS open
			FROM amad_incidents i WHERE i.state = 'open' GROUP BY i.watch, i.kind),
		
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

CREATE FUNCTION amad_distribute() RETURNS void
	AS 'MODULE_PATHNAME', 'amad_distribute' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_distribute IS
	'make amad_models and amad_grants reference tables of Citus, which have a copy on each node, nodes added later included';

CREATE FUNCTION amad_undistribute() RETURNS void
	AS 'MODULE_PATHNAME', 'amad_undistribute' LANGUAGE C VOLATILE PARALLEL UNSAFE;

COMMENT ON FUNCTION amad_undistribute IS
	'undo amad_distribute(): the models are on the coordinator only';
