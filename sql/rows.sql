
-- ---- rows of a narrow source -----------------------------------------------------

CREATE FUNCTION amad_pivot_step(internal, text, "any", "any", text[], text) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_pivot_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_pivot_final(internal) RETURNS float8[]
	AS 'MODULE_PATHNAME', 'amad_pivot_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_pivot_step IS
	'transition function of amad_pivot';
COMMENT ON FUNCTION amad_pivot_final IS
	'final function of amad_pivot';

CREATE AGGREGATE amad_pivot(metric text, value "any", ts "any", metrics text[], aggregate text) (
	SFUNC = amad_pivot_step, STYPE = internal, SSPACE = 512,
	FINALFUNC = amad_pivot_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);
COMMENT ON AGGREGATE amad_pivot(metric text, value "any", ts "any", metrics text[], aggregate text) IS
	'values of several metrics as one array, each by avg, max, min, sum or last; used in the queries that read narrow sources';
