-- ---- the module ----------------------------------------------------------------

CREATE FUNCTION amad_version() RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_version' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_version IS
	'versions of amad and PostgreSQL, and the BLAS library and kernels in use';
