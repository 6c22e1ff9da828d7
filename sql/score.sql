-- ---- scoring -------------------------------------------------------------------

CREATE TYPE amad_result AS (
	ts timestamptz,
	anomaly_score double precision,
	threshold double precision,
	severity double precision,
	is_anomaly boolean,
	expected_values jsonb,
	contributions jsonb,
	direction jsonb,
	imputed text[],
	status text,
	model_version integer
);
COMMENT ON TYPE amad_result IS
	'what amad_explain tells of a row, with a time column of type timestamptz';
COMMENT ON COLUMN amad_result.ts IS 'timestamp of the row';
COMMENT ON COLUMN amad_result.anomaly_score IS 'evidence of the rows up to it, with lookahead around it; null in warm-up and while pending';
COMMENT ON COLUMN amad_result.threshold IS 'anomaly_score at severity 1.0';
COMMENT ON COLUMN amad_result.severity IS 'anomaly_score / threshold';
COMMENT ON COLUMN amad_result.is_anomaly IS 'whether severity is at least 1.0; null in warm-up and while pending';
COMMENT ON COLUMN amad_result.expected_values IS '{feature: the value the model expects}, in the features'' own units';
COMMENT ON COLUMN amad_result.contributions IS '{feature: share in the row''s score}; shares sum to 1';
COMMENT ON COLUMN amad_result.direction IS '{feature: 1 above, -1 below, 0 at the expected value}';
COMMENT ON COLUMN amad_result.imputed IS 'features that were missing and take no part in the score; null: none';
COMMENT ON COLUMN amad_result.status IS 'why there is no severity, or what is unusual; null: all is well';
COMMENT ON COLUMN amad_result.model_version IS 'version of the model; null for a model that is not stored';

CREATE TYPE amad_result_timestamp AS (
	ts timestamp,
	anomaly_score double precision,
	threshold double precision,
	severity double precision,
	is_anomaly boolean,
	expected_values jsonb,
	contributions jsonb,
	direction jsonb,
	imputed text[],
	status text,
	model_version integer
);
COMMENT ON TYPE amad_result_timestamp IS
	'what amad_explain tells of a row, with a time column of type timestamp';
COMMENT ON COLUMN amad_result_timestamp.ts IS 'timestamp of the row';
COMMENT ON COLUMN amad_result_timestamp.anomaly_score IS 'evidence of the rows up to it, with lookahead around it; null in warm-up and while pending';
COMMENT ON COLUMN amad_result_timestamp.threshold IS 'anomaly_score at severity 1.0';
COMMENT ON COLUMN amad_result_timestamp.severity IS 'anomaly_score / threshold';
COMMENT ON COLUMN amad_result_timestamp.is_anomaly IS 'whether severity is at least 1.0; null in warm-up and while pending';
COMMENT ON COLUMN amad_result_timestamp.expected_values IS '{feature: the value the model expects}, in the features'' own units';
COMMENT ON COLUMN amad_result_timestamp.contributions IS '{feature: share in the row''s score}; shares sum to 1';
COMMENT ON COLUMN amad_result_timestamp.direction IS '{feature: 1 above, -1 below, 0 at the expected value}';
COMMENT ON COLUMN amad_result_timestamp.imputed IS 'features that were missing and take no part in the score; null: none';
COMMENT ON COLUMN amad_result_timestamp.status IS 'why there is no severity, or what is unusual; null: all is well';
COMMENT ON COLUMN amad_result_timestamp.model_version IS 'version of the model; null for a model that is not stored';

CREATE TYPE amad_result_bigint AS (
	ts bigint,
	anomaly_score double precision,
	threshold double precision,
	severity double precision,
	is_anomaly boolean,
	expected_values jsonb,
	contributions jsonb,
	direction jsonb,
	imputed text[],
	status text,
	model_version integer
);
COMMENT ON TYPE amad_result_bigint IS
	'what amad_explain tells of a row, with a time column of type bigint';
COMMENT ON COLUMN amad_result_bigint.ts IS 'timestamp of the row';
COMMENT ON COLUMN amad_result_bigint.anomaly_score IS 'evidence of the rows up to it, with lookahead around it; null in warm-up and while pending';
COMMENT ON COLUMN amad_result_bigint.threshold IS 'anomaly_score at severity 1.0';
COMMENT ON COLUMN amad_result_bigint.severity IS 'anomaly_score / threshold';
COMMENT ON COLUMN amad_result_bigint.is_anomaly IS 'whether severity is at least 1.0; null in warm-up and while pending';
COMMENT ON COLUMN amad_result_bigint.expected_values IS '{feature: the value the model expects}, in the features'' own units';
COMMENT ON COLUMN amad_result_bigint.contributions IS '{feature: share in the row''s score}; shares sum to 1';
COMMENT ON COLUMN amad_result_bigint.direction IS '{feature: 1 above, -1 below, 0 at the expected value}';
COMMENT ON COLUMN amad_result_bigint.imputed IS 'features that were missing and take no part in the score; null: none';
COMMENT ON COLUMN amad_result_bigint.status IS 'why there is no severity, or what is unusual; null: all is well';
COMMENT ON COLUMN amad_result_bigint.model_version IS 'version of the model; null for a model that is not stored';

CREATE FUNCTION amad_score(model_name text, ts timestamptz, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model_name text, ts timestamptz, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model_name text, ts timestamp, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model_name text, ts timestamp, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model_name text, ts date, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model_name text, ts date, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model_name text, ts bigint, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model_name text, ts bigint, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model_name text, series jsonb, ts timestamptz, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model_name text, series jsonb, ts timestamptz, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model_name text, series jsonb, ts timestamp, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model_name text, series jsonb, ts timestamp, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model_name text, series jsonb, ts date, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model_name text, series jsonb, ts date, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model_name text, series jsonb, ts bigint, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model_name text, series jsonb, ts bigint, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model amad_model, ts timestamptz, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model amad_model, ts timestamptz, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model amad_model, ts timestamp, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model amad_model, ts timestamp, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model amad_model, ts date, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model amad_model, ts date, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model amad_model, ts bigint, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model amad_model, ts bigint, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model amad_model, series jsonb, ts timestamptz, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model amad_model, series jsonb, ts timestamptz, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model amad_model, series jsonb, ts timestamp, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model amad_model, series jsonb, ts timestamp, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model amad_model, series jsonb, ts date, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model amad_model, series jsonb, ts date, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model amad_model, series jsonb, ts bigint, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model amad_model, series jsonb, ts bigint, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up and while pending; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model_name text, ts timestamptz, VARIADIC features "any") RETURNS amad_result
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model_name text, ts timestamptz, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model_name text, ts timestamp, VARIADIC features "any") RETURNS amad_result_timestamp
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model_name text, ts timestamp, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model_name text, ts date, VARIADIC features "any") RETURNS amad_result_timestamp
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model_name text, ts date, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model_name text, ts bigint, VARIADIC features "any") RETURNS amad_result_bigint
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model_name text, ts bigint, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model_name text, series jsonb, ts timestamptz, VARIADIC features "any") RETURNS amad_result
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model_name text, series jsonb, ts timestamptz, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model_name text, series jsonb, ts timestamp, VARIADIC features "any") RETURNS amad_result_timestamp
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model_name text, series jsonb, ts timestamp, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model_name text, series jsonb, ts date, VARIADIC features "any") RETURNS amad_result_timestamp
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model_name text, series jsonb, ts date, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model_name text, series jsonb, ts bigint, VARIADIC features "any") RETURNS amad_result_bigint
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model_name text, series jsonb, ts bigint, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model amad_model, ts timestamptz, VARIADIC features "any") RETURNS amad_result
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model amad_model, ts timestamptz, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model amad_model, ts timestamp, VARIADIC features "any") RETURNS amad_result_timestamp
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model amad_model, ts timestamp, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model amad_model, ts date, VARIADIC features "any") RETURNS amad_result_timestamp
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model amad_model, ts date, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model amad_model, ts bigint, VARIADIC features "any") RETURNS amad_result_bigint
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model amad_model, ts bigint, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model amad_model, series jsonb, ts timestamptz, VARIADIC features "any") RETURNS amad_result
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model amad_model, series jsonb, ts timestamptz, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model amad_model, series jsonb, ts timestamp, VARIADIC features "any") RETURNS amad_result_timestamp
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model amad_model, series jsonb, ts timestamp, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model amad_model, series jsonb, ts date, VARIADIC features "any") RETURNS amad_result_timestamp
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model amad_model, series jsonb, ts date, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_explain(model amad_model, series jsonb, ts bigint, VARIADIC features "any") RETURNS amad_result_bigint
	AS 'MODULE_PATHNAME', 'amad_explain' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_explain(model amad_model, series jsonb, ts bigint, VARIADIC features "any") IS
	'severity of a row with its reasons: expected values, contributions of features, status; use it with OVER (ORDER BY ts)';

