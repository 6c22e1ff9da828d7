-- ---- versions of a model ---------------------------------------------------------

CREATE FUNCTION amad_deploy(model_name text, version integer) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_deploy' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_deploy IS
	'deploy a version of one of your own models: scoring by name then uses it';

CREATE FUNCTION amad_drop(model_name text, version integer DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'amad_drop' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_drop IS
	'drop a version of one of your own models, or all versions (null); returns the number of versions dropped';
