\echo Use "CREATE EXTENSION amad" to load this file. \quit

-- ---- the type of a model -----------------------------------------------------

CREATE TYPE amad_model;

CREATE FUNCTION amad_model_in(cstring) RETURNS amad_model
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION amad_model_out(amad_model) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION amad_model_recv(internal) RETURNS amad_model
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION amad_model_send(amad_model) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION amad_model_in(cstring) IS 'I/O';
COMMENT ON FUNCTION amad_model_out(amad_model) IS 'I/O';
COMMENT ON FUNCTION amad_model_recv(internal) IS 'I/O';
COMMENT ON FUNCTION amad_model_send(amad_model) IS 'I/O';

CREATE TYPE amad_model (
	INPUT = amad_model_in,
	OUTPUT = amad_model_out,
	RECEIVE = amad_model_recv,
	SEND = amad_model_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = double,
	STORAGE = external
);
COMMENT ON TYPE amad_model IS
	'a trained anomaly detector: options, scaling, weights, calibration, threshold';

CREATE FUNCTION amad_model_error(model amad_model) RETURNS text
	AS 'MODULE_PATHNAME', 'amad_model_error' LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_model_error(model amad_model) IS
	'why a model cannot be used; null if it is intact';

