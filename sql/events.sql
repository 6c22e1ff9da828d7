-- ---- events --------------------------------------------------------------------

CREATE FUNCTION amad_events(model_name text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
		min_duration interval DEFAULT NULL, merge_gap interval DEFAULT NULL, cooldown interval DEFAULT NULL,
		min_severity double precision DEFAULT 1.0, direction text DEFAULT NULL,
		k integer DEFAULT 1, n integer DEFAULT 1, maintenance text DEFAULT NULL,
		series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL)
	RETURNS TABLE (series jsonb, start_ts timestamptz, end_ts timestamptz, peak_ts timestamptz,
		peak_severity double precision, n_points bigint, top_features jsonb, open boolean)
	AS 'MODULE_PATHNAME', 'amad_events' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100;
COMMENT ON FUNCTION amad_events IS
	'the anomalies of a model''s source as intervals, each with its peak and its main contributing features';

CREATE FUNCTION amad_events_bigint(model_name text, since bigint DEFAULT NULL, until bigint DEFAULT NULL,
		min_duration bigint DEFAULT NULL, merge_gap bigint DEFAULT NULL, cooldown bigint DEFAULT NULL,
		min_severity double precision DEFAULT 1.0, direction text DEFAULT NULL,
		k integer DEFAULT 1, n integer DEFAULT 1, maintenance text DEFAULT NULL,
		series jsonb DEFAULT NULL, source text DEFAULT NULL, timestamp_col text DEFAULT NULL)
	RETURNS TABLE (series jsonb, start_ts bigint, end_ts bigint, peak_ts bigint,
		peak_severity double precision, n_points bigint, top_features jsonb, open boolean)
	AS 'MODULE_PATHNAME', 'amad_events' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100;
COMMENT ON FUNCTION amad_events_bigint IS
	'the anomalies of a model''s source that has an integer time column; otherwise as amad_events';
