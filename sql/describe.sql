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
