-- ---- drift and recalibration ---------------------------------------------------------

CREATE FUNCTION amad_recalibrate(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		last_n bigint DEFAULT NULL, series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL,
		label_col text DEFAULT NULL, options jsonb DEFAULT NULL, deploy "any" DEFAULT true, keep integer DEFAULT NULL) RETURNS jsonb
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
		label_col text DEFAULT NULL, options jsonb DEFAULT NULL, deploy "any" DEFAULT true, keep integer DEFAULT NULL) RETURNS jsonb
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

-- ---- versions --------------------------------------------------------------------

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
