\echo Use "CREATE EXTENSION amad" to load this file. \quit

-- ---- the type of a model -----------------------------------------------------

CREATE TYPE amad_model;

CREATE FUNCTION amad_model_in(cstring) RETURNS amad_model
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION amad_model_out(amad_model) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION amad_model_recv(internal) RETURNS amad_model
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION amad_model_send(amad_model) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION amad_model_in IS 'I/O function of amad_model';
COMMENT ON FUNCTION amad_model_out IS 'I/O function of amad_model';
COMMENT ON FUNCTION amad_model_recv IS 'I/O function of amad_model';
COMMENT ON FUNCTION amad_model_send IS 'I/O function of amad_model';

CREATE TYPE amad_model (
	INPUT = amad_model_in,
	OUTPUT = amad_model_out,
	RECEIVE = amad_model_recv,
	SEND = amad_model_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = external
);
COMMENT ON TYPE amad_model IS
	'trained anomaly detection model: options, scaling, weights, calibration, threshold';

CREATE FUNCTION amad_model_error(model amad_model) RETURNS text
	AS 'MODULE_PATHNAME', 'amad_model_error' LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_model_error IS
	'reason why a model cannot be used; null if it is intact';

-- ---- the table of models -----------------------------------------------------

-- The owner is identified by oid in the cluster in which the row was stored, so that a renamed role keeps its
-- models, and by name elsewhere (after a restore, on a subscriber or another node).
CREATE TABLE amad_models (
	owner name NOT NULL DEFAULT CURRENT_USER,
	owner_oid oid,
	owner_cluster bigint,
	model_name text NOT NULL CHECK (model_name OPERATOR(pg_catalog.<>) ''),
	version integer NOT NULL CHECK (version OPERATOR(pg_catalog.>) 0),
	deployed boolean NOT NULL DEFAULT true,
	features text[],
	options jsonb NOT NULL,
	training jsonb NOT NULL,
	source jsonb,
	model amad_model NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (model_name, owner, version)
);

COMMENT ON TABLE amad_models IS 'trained models, versioned by name and owner';
COMMENT ON COLUMN amad_models.owner IS 'role that trained the model; the row is visible to it and its members';
COMMENT ON COLUMN amad_models.owner_oid IS 'oid of that role in owner_cluster; elsewhere, or if null, the name counts';
COMMENT ON COLUMN amad_models.owner_cluster IS 'system identifier of the cluster to which owner_oid belongs';
COMMENT ON COLUMN amad_models.model_name IS 'name given to amad_train()';
COMMENT ON COLUMN amad_models.version IS 'number of the version among those of owner and model_name, from 1';
COMMENT ON COLUMN amad_models.deployed IS 'whether scoring by name uses this version';
COMMENT ON COLUMN amad_models.features IS 'names of the features, in order; null if unknown';
COMMENT ON COLUMN amad_models.options IS 'all options used in training, defaults included';
COMMENT ON COLUMN amad_models.training IS 'statistics of the training: rows, steps, loss curve, seconds …';
COMMENT ON COLUMN amad_models.source IS
	'relation or query that the model was trained on, with its columns; null if unknown';
COMMENT ON COLUMN amad_models.model IS 'the model itself';
COMMENT ON COLUMN amad_models.created_at IS 'time at which the model was stored';

-- A trusted extension is installed with a superuser's privileges; its creator must be able to dump the table.
ALTER TABLE amad_models OWNER TO @extowner@;

CREATE FUNCTION amad_may_use(owner name, owner_oid oid, owner_cluster bigint) RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_may_use' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_may_use IS
	'whether the current role has the privileges of the owner of a row of amad_models';

-- Only functions insert and update rows.
ALTER TABLE amad_models ENABLE ROW LEVEL SECURITY;
CREATE POLICY amad_models_select ON amad_models FOR SELECT USING (amad_may_use(owner, owner_oid, owner_cluster));
CREATE POLICY amad_models_delete ON amad_models FOR DELETE USING (amad_may_use(owner, owner_oid, owner_cluster));
COMMENT ON POLICY amad_models_select ON amad_models IS 'models owned by the role or by roles that it is a member of';
COMMENT ON POLICY amad_models_delete ON amad_models IS 'models owned by the role or by roles that it is a member of';
GRANT SELECT, DELETE ON amad_models TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('amad_models', '');

-- ---- versions of a model ---------------------------------------------------------

CREATE FUNCTION amad_deploy(model_name text, version integer) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_deploy' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_deploy IS
	'deploy a version of one of your own models: scoring by name then uses it';

CREATE FUNCTION amad_drop(model_name text, version integer DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'amad_drop' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_drop IS
	'drop a version of one of your own models, or all versions (null); returns the number of versions dropped';

-- ---- contents of a model --------------------------------------------------------

CREATE FUNCTION amad_describe(model amad_model) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_describe' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION amad_describe(model amad_model) IS
	'options, scaling, calibration, threshold and training statistics of a model';

CREATE FUNCTION amad_describe(model_name text, version integer DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_describe_name' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_describe(model_name text, version integer) IS
	'options, scaling, calibration, threshold and training statistics of a stored model; default: the deployed version';

CREATE FUNCTION amad_weights(model amad_model, OUT name text, OUT shape integer[], OUT data real[]) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'amad_weights' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 60;
COMMENT ON FUNCTION amad_weights IS
	'weights of a model, one row per tensor, in row-major order';
-- ---- evaluation: an aggregate ------------------------------------------------------

CREATE FUNCTION amad_evaluate_step(internal, "any", "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_evaluate_step(internal, "any", "any", "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_evaluate_step(internal, "any", "any", "any", "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_evaluate_final(internal) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_evaluate_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, "any", "any") IS
	'transition function of amad_evaluate';
COMMENT ON FUNCTION amad_evaluate_step(internal, "any", "any", "any") IS
	'transition function of amad_evaluate';
COMMENT ON FUNCTION amad_evaluate_step(internal, "any", "any", "any", "any") IS
	'transition function of amad_evaluate';
COMMENT ON FUNCTION amad_evaluate_final IS
	'final function of amad_evaluate';

-- ts has any type, which is checked at run time. Score and label have declared types, so that other numbers are
-- converted to them, and an untyped literal or parameter after them is taken for the options.
DO $do$
DECLARE
	form text;
	label text;
	arguments text;
BEGIN
	FOREACH form IN ARRAY ARRAY['score float8, label %s', 'score float8, label %s, options jsonb',
		'ts "any", score float8, label %s', 'ts "any", score float8, label %s, options jsonb']
	LOOP
		FOREACH label IN ARRAY ARRAY['boolean', 'float8'] LOOP
			arguments := pg_catalog.format(form, label);
			EXECUTE pg_catalog.format($$ CREATE AGGREGATE amad_evaluate(%s) (
					SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
					FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE) $$, arguments);
			EXECUTE pg_catalog.format($$ COMMENT ON AGGREGATE amad_evaluate(%s) IS
					'measure anomaly scores against labels; without ts, use ORDER BY within the call' $$, arguments);
		END LOOP;
	END LOOP;
END $do$;
-- ---- scoring -------------------------------------------------------------------

CREATE TYPE amad_result AS (
	anomaly_score double precision,
	threshold double precision,
	severity double precision,
	is_anomaly boolean,
	expected_values jsonb,
	expected_lower jsonb,
	expected_upper jsonb,
	contributions jsonb,
	direction jsonb,
	imputed text[],
	status text,
	model_version integer
);
COMMENT ON TYPE amad_result IS 'result of amad_explain for a row';
COMMENT ON COLUMN amad_result.anomaly_score IS
	'evidence of the rows up to this one, or around it with lookahead; null in warm-up and while pending';
COMMENT ON COLUMN amad_result.threshold IS 'anomaly_score at severity 1.0';
COMMENT ON COLUMN amad_result.severity IS 's = anomaly_score / threshold up to 1.0, 1 + ln(s) beyond';
COMMENT ON COLUMN amad_result.is_anomaly IS 'whether severity is greater than 1.0; null in warm-up, while pending, and with status learning or drift';
COMMENT ON COLUMN amad_result.expected_values IS '{feature: expected value}, in the units of the feature';
COMMENT ON COLUMN amad_result.expected_lower IS '{feature: least value that alone would not make the row an anomaly}; null for a feature without a lower bound';
COMMENT ON COLUMN amad_result.expected_upper IS '{feature: greatest value that alone would not make the row an anomaly}; null for a feature without an upper bound';
COMMENT ON COLUMN amad_result.contributions IS '{feature: share of the row''s score}; shares sum to 1';
COMMENT ON COLUMN amad_result.direction IS '{feature: 1 above, -1 below, 0 at the expected value}';
COMMENT ON COLUMN amad_result.imputed IS 'missing features, which do not count in the score; null if there are none';
COMMENT ON COLUMN amad_result.status IS 'why there is no severity, or what is unusual about the row; otherwise null';
COMMENT ON COLUMN amad_result.model_version IS 'version of the model; null for a model that is not stored';

-- Without a series, ts has any type, which is checked at run time. With a series it has a declared type, so that
-- an untyped literal or parameter before it is taken for the series.
DO $do$
DECLARE
	model text;
	ts text;
	arguments text;
BEGIN
	FOREACH model IN ARRAY ARRAY['model_name text', 'model amad_model'] LOOP
		FOREACH ts IN ARRAY ARRAY['ts "any"', 'series jsonb, ts timestamptz', 'series jsonb, ts timestamp',
			'series jsonb, ts date', 'series jsonb, ts bigint']
		LOOP
			arguments := pg_catalog.format('%s, %s, VARIADIC features "any"', model, ts);
			EXECUTE pg_catalog.format($$ CREATE FUNCTION amad_score(%s) RETURNS double precision
				AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300 $$, arguments);
			EXECUTE pg_catalog.format($$ CREATE FUNCTION amad_explain(%s) RETURNS amad_result
				AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300 $$, arguments);
			EXECUTE pg_catalog.format($$ COMMENT ON FUNCTION amad_score(%s) IS
				'severity of a row, 1.0 at the threshold; null in warm-up and while pending; OVER (ORDER BY ts)' $$, arguments);
			EXECUTE pg_catalog.format($$ COMMENT ON FUNCTION amad_explain(%s) IS
				'severity of a row with expected values, their bands, contributions and status; OVER (ORDER BY ts)' $$, arguments);
		END LOOP;
	END LOOP;
END $do$;

-- ---- detection -------------------------------------------------------------------

CREATE FUNCTION amad_detect(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		only_anomalies boolean DEFAULT false, "explain" boolean DEFAULT true)
	RETURNS TABLE (series jsonb, ts timestamptz, anomaly_score double precision, threshold double precision,
		severity double precision, is_anomaly boolean, expected_values jsonb, expected_lower jsonb,
		expected_upper jsonb, contributions jsonb, direction jsonb, imputed text[], status text, model_version integer)
	AS 'MODULE_PATHNAME', 'amad_detect' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 10000;
COMMENT ON FUNCTION amad_detect IS
	'score the rows of a model''s source; returns severity, expected values and their bands, contributions and status';

CREATE FUNCTION amad_detect_query(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL)
	RETURNS text
	AS 'MODULE_PATHNAME', 'amad_detect_query' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_detect_query IS
	'the query that amad_detect runs, for use with EXPLAIN';

CREATE FUNCTION amad_detect_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		only_anomalies boolean DEFAULT false, "explain" boolean DEFAULT true)
	RETURNS TABLE (series jsonb, ts bigint, anomaly_score double precision, threshold double precision,
		severity double precision, is_anomaly boolean, expected_values jsonb, expected_lower jsonb,
		expected_upper jsonb, contributions jsonb, direction jsonb, imputed text[], status text, model_version integer)
	AS 'MODULE_PATHNAME', 'amad_detect' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 10000;
COMMENT ON FUNCTION amad_detect_bigint IS
	'score the rows of a model''s source that has an integer time column; otherwise as amad_detect';

CREATE FUNCTION amad_detect_query_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL)
	RETURNS text
	AS 'MODULE_PATHNAME', 'amad_detect_query' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_detect_query_bigint IS
	'the query that amad_detect_bigint runs, for use with EXPLAIN';

-- ---- events --------------------------------------------------------------------

CREATE FUNCTION amad_events(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		min_duration interval DEFAULT NULL, merge_gap interval DEFAULT NULL, cooldown interval DEFAULT NULL,
		min_severity double precision DEFAULT 1.0, direction text DEFAULT NULL,
		k integer DEFAULT 1, n integer DEFAULT 1, maintenance text DEFAULT NULL,
		series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		learning boolean DEFAULT false, silence interval DEFAULT NULL)
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
		learning boolean DEFAULT false, silence bigint DEFAULT NULL)
	RETURNS TABLE (series jsonb, kind text, start_ts bigint, end_ts bigint, peak_ts bigint,
		peak_severity double precision, n_points bigint, top_features jsonb, open boolean, status text)
	AS 'MODULE_PATHNAME', 'amad_events' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100;
COMMENT ON FUNCTION amad_events_bigint IS
	'the anomalies of a model''s source that has an integer time column; otherwise as amad_events';
-- ---- training: aggregates ----------------------------------------------------------

CREATE FUNCTION amad_fit_step(internal, "any", VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_fit_options_step(internal, jsonb, "any", VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_options_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_fit_final(internal) RETURNS amad_model
	AS 'MODULE_PATHNAME', 'amad_fit_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_train_step(internal, text, "any", VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
CREATE FUNCTION amad_train_options_step(internal, text, jsonb, "any", VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_options_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
CREATE FUNCTION amad_train_final(internal) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_train_final' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_fit_step IS
	'transition function of amad_fit';
COMMENT ON FUNCTION amad_fit_options_step IS
	'transition function of amad_fit';
COMMENT ON FUNCTION amad_fit_final IS
	'final function of amad_fit';
COMMENT ON FUNCTION amad_train_step IS
	'transition function of amad_train';
COMMENT ON FUNCTION amad_train_options_step IS
	'transition function of amad_train';
COMMENT ON FUNCTION amad_train_final IS
	'final function of amad_train';

-- Without options, ts has any type, which is checked at run time. With options it has a declared type, so that
-- an untyped literal or parameter before it is taken for the options.
DO $do$
DECLARE
	ts text;
	arguments text;
	step text;
BEGIN
	FOREACH ts IN ARRAY ARRAY['"any"', 'timestamptz', 'timestamp', 'date', 'bigint'] LOOP
		IF ts OPERATOR(pg_catalog.=) '"any"' THEN
			arguments := 'ts "any", VARIADIC features "any"';
			step := 'step';
		ELSE
			arguments := pg_catalog.format('options jsonb, ts %s, VARIADIC features "any"', ts);
			step := 'options_step';
		END IF;
		EXECUTE pg_catalog.format($$ CREATE AGGREGATE amad_fit(%s) (
				SFUNC = amad_fit_%s, STYPE = internal, SSPACE = 1048576,
				FINALFUNC = amad_fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE) $$, arguments, step);
		EXECUTE pg_catalog.format($$ COMMENT ON AGGREGATE amad_fit(%s) IS
				'train a model on the rows of a group and return it, without storing it' $$, arguments);
		EXECUTE pg_catalog.format($$ CREATE AGGREGATE amad_train(model_name text, %s) (
				SFUNC = amad_train_%s, STYPE = internal, SSPACE = 1048576,
				FINALFUNC = amad_train_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE) $$, arguments, step);
		EXECUTE pg_catalog.format($$ COMMENT ON AGGREGATE amad_train(model_name text, %s) IS
				'train a model on the rows of a group, store it as the next version of model_name, and return a summary' $$,
			arguments);
	END LOOP;
END $do$;

-- An aggregate cannot be declared volatile. Without this mark, the planner would drop a training whose result
-- is not used:
--   SELECT device FROM (SELECT device, amad_train(…) FROM readings GROUP BY device) s
UPDATE pg_catalog.pg_proc SET provolatile = 'v'
	WHERE proname OPERATOR(pg_catalog.=) 'amad_train' AND prokind OPERATOR(pg_catalog.=) 'a'
	AND pronamespace OPERATOR(pg_catalog.=) '@extschema@'::pg_catalog.regnamespace;

-- ---- training: by the name of a source -----------------------------------------

CREATE FUNCTION amad_train(model_name text, source text, timestamp_col text DEFAULT NULL,
		feature_cols text[] DEFAULT NULL, series_cols text[] DEFAULT NULL, label_col text DEFAULT NULL,
		options jsonb DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_train_source' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train(model_name text, source text, timestamp_col text, feature_cols text[],
		series_cols text[], label_col text, options jsonb) IS
	'train a model on a relation or query, store both as the next version of model_name, and return a summary';

CREATE FUNCTION amad_retrain(model_name text, warm_start boolean DEFAULT false) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_retrain' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_retrain IS
	'train the deployed version of a model again on the current rows of its source; warm_start continues from its weights';
-- ---- drift and recalibration ---------------------------------------------------------

CREATE FUNCTION amad_recalibrate(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		label_col text DEFAULT NULL, options jsonb DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_recalibrate' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_recalibrate IS
	'calibrate the deployed version on recent rows without training, rescale moved features, adopt new series, store it as the next version, and return a summary';

CREATE FUNCTION amad_drift(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		label_col text DEFAULT NULL)
	RETURNS TABLE (series jsonb, feature text, rows bigint, flagged double precision, severity double precision,
		shift double precision, scale double precision, clipped double precision, residual_ratio double precision,
		drifted boolean, action text)
	AS 'MODULE_PATHNAME', 'amad_drift' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100;
COMMENT ON FUNCTION amad_drift IS
	'whether recent rows have drifted from the training rows, by series and feature, and what to do';

CREATE FUNCTION amad_recalibrate_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		label_col text DEFAULT NULL, options jsonb DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_recalibrate' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_recalibrate_bigint IS
	'calibrate the deployed version of a model whose source has an integer time column; otherwise as amad_recalibrate';

CREATE FUNCTION amad_drift_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		label_col text DEFAULT NULL)
	RETURNS TABLE (series jsonb, feature text, rows bigint, flagged double precision, severity double precision,
		shift double precision, scale double precision, clipped double precision, residual_ratio double precision,
		drifted boolean, action text)
	AS 'MODULE_PATHNAME', 'amad_drift' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100;
COMMENT ON FUNCTION amad_drift_bigint IS
	'whether recent rows of a source with an integer time column have drifted; otherwise as amad_drift';
-- ---- the module ----------------------------------------------------------------

CREATE FUNCTION amad_version() RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_version' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_version IS
	'versions of amad and PostgreSQL, and the BLAS library and kernels in use';
