-- ---- detection -------------------------------------------------------------------

CREATE FUNCTION amad_detect(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		only_anomalies boolean DEFAULT false, "explain" boolean DEFAULT true)
	RETURNS TABLE (series jsonb, ts timestamptz, anomaly_score double precision, threshold double precision,
		severity double precision, is_anomaly boolean, expected_values jsonb, contributions jsonb, direction jsonb,
		imputed text[], status text, model_version integer)
	AS 'MODULE_PATHNAME', 'amad_detect' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 10000;
COMMENT ON FUNCTION amad_detect(model_name text, since timestamptz, until timestamptz, last_n bigint, series jsonb,
		source text, timestamp_col text, only_anomalies boolean, "explain" boolean) IS
	'score the rows of a model''s source: severity, expected values, contributions and status of each; ts as timestamptz';

CREATE FUNCTION amad_detect_query(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL) RETURNS text
	AS 'MODULE_PATHNAME', 'amad_detect_query' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_detect_query(model_name text, since timestamptz, until timestamptz, last_n bigint, series jsonb,
		source text, timestamp_col text) IS
	'the query by which amad_detect reads its rows, to be looked at by EXPLAIN';

CREATE FUNCTION amad_detect_timestamp(model_name text, since timestamp DEFAULT NULL, until timestamp DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		only_anomalies boolean DEFAULT false, "explain" boolean DEFAULT true)
	RETURNS TABLE (series jsonb, ts timestamp, anomaly_score double precision, threshold double precision,
		severity double precision, is_anomaly boolean, expected_values jsonb, contributions jsonb, direction jsonb,
		imputed text[], status text, model_version integer)
	AS 'MODULE_PATHNAME', 'amad_detect' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 10000;
COMMENT ON FUNCTION amad_detect_timestamp(model_name text, since timestamp, until timestamp, last_n bigint, series jsonb,
		source text, timestamp_col text, only_anomalies boolean, "explain" boolean) IS
	'score the rows of a model''s source: severity, expected values, contributions and status of each; ts as timestamp';

CREATE FUNCTION amad_detect_query_timestamp(model_name text, since timestamp DEFAULT NULL, until timestamp DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL) RETURNS text
	AS 'MODULE_PATHNAME', 'amad_detect_query' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_detect_query_timestamp(model_name text, since timestamp, until timestamp, last_n bigint, series jsonb,
		source text, timestamp_col text) IS
	'the query by which amad_detect_timestamp reads its rows, to be looked at by EXPLAIN';

CREATE FUNCTION amad_detect_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		only_anomalies boolean DEFAULT false, "explain" boolean DEFAULT true)
	RETURNS TABLE (series jsonb, ts bigint, anomaly_score double precision, threshold double precision,
		severity double precision, is_anomaly boolean, expected_values jsonb, contributions jsonb, direction jsonb,
		imputed text[], status text, model_version integer)
	AS 'MODULE_PATHNAME', 'amad_detect' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 10000;
COMMENT ON FUNCTION amad_detect_bigint(model_name text, since bigint, until bigint, last_n bigint, series jsonb,
		source text, timestamp_col text, only_anomalies boolean, "explain" boolean) IS
	'score the rows of a model''s source: severity, expected values, contributions and status of each; ts as bigint';

CREATE FUNCTION amad_detect_query_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL) RETURNS text
	AS 'MODULE_PATHNAME', 'amad_detect_query' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_detect_query_bigint(model_name text, since bigint, until bigint, last_n bigint, series jsonb,
		source text, timestamp_col text) IS
	'the query by which amad_detect_bigint reads its rows, to be looked at by EXPLAIN';

