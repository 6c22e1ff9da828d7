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

-- For each form of amad_explain.
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

-- ---- detection -------------------------------------------------------------------

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

-- ---- events --------------------------------------------------------------------

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
