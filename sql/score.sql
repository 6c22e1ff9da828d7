-- ---- scoring -------------------------------------------------------------------

CREATE FUNCTION amad_score(model_name text, ts timestamptz, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model_name text, ts timestamptz, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model_name text, ts timestamp, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model_name text, ts timestamp, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model_name text, ts bigint, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model_name text, ts bigint, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model amad_model, ts timestamptz, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model amad_model, ts timestamptz, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model amad_model, ts timestamp, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model amad_model, ts timestamp, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up; use it with OVER (ORDER BY ts)';

CREATE FUNCTION amad_score(model amad_model, ts bigint, VARIADIC features "any") RETURNS double precision
	AS 'MODULE_PATHNAME', 'amad_score' LANGUAGE C WINDOW STABLE PARALLEL SAFE COST 300;
COMMENT ON FUNCTION amad_score(model amad_model, ts bigint, VARIADIC features "any") IS
	'severity of a row, 1.0 is the threshold of the model; null in warm-up; use it with OVER (ORDER BY ts)';

