-- ---- detection -------------------------------------------------------------------

CREATE FUNCTION amad_detect(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		only_anomalies boolean DEFAULT false, "explain" boolean DEFAULT true)
	RETURNS TABLE (series jsonb, ts timestamptz, anomaly_score double precision, threshold double precision,
		severity double precision, is_anomaly boolean, expected_values jsonb, contributions jsonb, direction jsonb,
		imputed text[], status text, model_version integer)
	AS 'MODULE_PATHNAME', 'amad_detect' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 10000;
COMMENT ON FUNCTION amad_detect IS
	'score the rows of a model''s source; returns severity, expected values, contributions and status';

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
		severity double precision, is_anomaly boolean, expected_values jsonb, contributions jsonb, direction jsonb,
		imputed text[], status text, model_version integer)
	AS 'MODULE_PATHNAME', 'amad_detect' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 10000;
COMMENT ON FUNCTION amad_detect_bigint IS
	'score the rows of a model''s source that has an integer time column; otherwise as amad_detect';

CREATE FUNCTION amad_detect_query_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL)
	RETURNS text
	AS 'MODULE_PATHNAME', 'amad_detect_query' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_detect_query_bigint IS
	'the query that amad_detect_bigint runs, for use with EXPLAIN';
