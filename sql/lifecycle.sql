-- ---- versions of a model ---------------------------------------------------------

CREATE FUNCTION amad_deploy(model_name text, version integer) RETURNS void
	AS 'MODULE_PATHNAME', 'amad_deploy' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_deploy(model_name text, version integer) IS
	'make a version of an own model the one that scoring by name uses';

CREATE FUNCTION amad_drop(model_name text, version integer DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'amad_drop' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_drop(model_name text, version integer) IS
	'drop a version of an own model, or all (null), and return their number';

