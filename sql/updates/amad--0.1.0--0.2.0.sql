-- amad 0.1.0 -> 0.2.0

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
