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

COMMENT ON FUNCTION amad_model_in IS 'I/O function of amad_model';
COMMENT ON FUNCTION amad_model_out IS 'I/O function of amad_model';
COMMENT ON FUNCTION amad_model_recv IS 'I/O function of amad_model';
COMMENT ON FUNCTION amad_model_send IS 'I/O function of amad_model';

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
	'trained anomaly detection model: options, scaling, weights, calibration, threshold';

CREATE FUNCTION amad_model_error(model amad_model) RETURNS text
	AS 'MODULE_PATHNAME', 'amad_model_error' LANGUAGE C STABLE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_model_error IS
	'reason why a model cannot be used; null if it is intact';
