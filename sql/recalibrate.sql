-- ---- drift and recalibration ---------------------------------------------------------

CREATE FUNCTION amad_recalibrate(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL, label_col text DEFAULT NULL,
		options jsonb DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_recalibrate' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_recalibrate(model_name text, since timestamptz, until timestamptz, last_n bigint, source text,
		timestamp_col text, label_col text, options jsonb) IS
	'calibrate the deployed version on recent rows, without training, store it as the next version and return a summary';

CREATE FUNCTION amad_drift(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL, label_col text DEFAULT NULL)
	RETURNS TABLE (series jsonb, feature text, rows bigint, flagged double precision, severity double precision,
		shift double precision, scale double precision, clipped double precision, residual_ratio double precision,
		drifted boolean, action text)
	AS 'MODULE_PATHNAME', 'amad_drift' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100;
COMMENT ON FUNCTION amad_drift(model_name text, since timestamptz, until timestamptz, last_n bigint, source text,
		timestamp_col text, label_col text) IS
	'whether recent rows have drifted from what the model knows, of each series and by feature, and what to do';

CREATE FUNCTION amad_recalibrate_timestamp(model_name text, since timestamp DEFAULT NULL, until timestamp DEFAULT NULL,
		last_n bigint DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL, label_col text DEFAULT NULL,
		options jsonb DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_recalibrate' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_recalibrate_timestamp(model_name text, since timestamp, until timestamp, last_n bigint, source text,
		timestamp_col text, label_col text, options jsonb) IS
	'calibrate the deployed version on recent rows, without training, store it as the next version and return a summary; bounds as timestamp';

CREATE FUNCTION amad_drift_timestamp(model_name text, since timestamp DEFAULT NULL, until timestamp DEFAULT NULL,
		last_n bigint DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL, label_col text DEFAULT NULL)
	RETURNS TABLE (series jsonb, feature text, rows bigint, flagged double precision, severity double precision,
		shift double precision, scale double precision, clipped double precision, residual_ratio double precision,
		drifted boolean, action text)
	AS 'MODULE_PATHNAME', 'amad_drift' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100;
COMMENT ON FUNCTION amad_drift_timestamp(model_name text, since timestamp, until timestamp, last_n bigint, source text,
		timestamp_col text, label_col text) IS
	'whether recent rows have drifted from what the model knows, of each series and by feature, and what to do; bounds as timestamp';

CREATE FUNCTION amad_recalibrate_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL, label_col text DEFAULT NULL,
		options jsonb DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_recalibrate' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_recalibrate_bigint(model_name text, since bigint, until bigint, last_n bigint, source text,
		timestamp_col text, label_col text, options jsonb) IS
	'calibrate the deployed version on recent rows, without training, store it as the next version and return a summary; bounds as bigint';

CREATE FUNCTION amad_drift_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		last_n bigint DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL, label_col text DEFAULT NULL)
	RETURNS TABLE (series jsonb, feature text, rows bigint, flagged double precision, severity double precision,
		shift double precision, scale double precision, clipped double precision, residual_ratio double precision,
		drifted boolean, action text)
	AS 'MODULE_PATHNAME', 'amad_drift' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100;
COMMENT ON FUNCTION amad_drift_bigint(model_name text, since bigint, until bigint, last_n bigint, source text,
		timestamp_col text, label_col text) IS
	'whether recent rows have drifted from what the model knows, of each series and by feature, and what to do; bounds as bigint';
