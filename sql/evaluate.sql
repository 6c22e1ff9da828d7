-- ---- evaluation: an aggregate ------------------------------------------------------

CREATE FUNCTION amad_evaluate_final(internal) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_evaluate_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_final(internal) IS
	'final function of amad_evaluate';

CREATE FUNCTION amad_evaluate_step(internal, float8, boolean) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, float8, boolean) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(score float8, label boolean) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(score float8, label boolean) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in order of time: ORDER BY within the call';

CREATE FUNCTION amad_evaluate_step(internal, float8, float8) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, float8, float8) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(score float8, label float8) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(score float8, label float8) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in order of time: ORDER BY within the call';

CREATE FUNCTION amad_evaluate_step(internal, float8, boolean, jsonb) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, float8, boolean, jsonb) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(score float8, label boolean, options jsonb) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(score float8, label boolean, options jsonb) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in order of time: ORDER BY within the call';

CREATE FUNCTION amad_evaluate_step(internal, float8, float8, jsonb) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, float8, float8, jsonb) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(score float8, label float8, options jsonb) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(score float8, label float8, options jsonb) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in order of time: ORDER BY within the call';

CREATE FUNCTION amad_evaluate_step(internal, timestamptz, float8, boolean) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, timestamptz, float8, boolean) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(ts timestamptz, score float8, label boolean) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts timestamptz, score float8, label boolean) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

CREATE FUNCTION amad_evaluate_step(internal, timestamptz, float8, float8) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, timestamptz, float8, float8) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(ts timestamptz, score float8, label float8) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts timestamptz, score float8, label float8) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

CREATE FUNCTION amad_evaluate_step(internal, timestamptz, float8, boolean, jsonb) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, timestamptz, float8, boolean, jsonb) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(ts timestamptz, score float8, label boolean, options jsonb) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts timestamptz, score float8, label boolean, options jsonb) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

CREATE FUNCTION amad_evaluate_step(internal, timestamptz, float8, float8, jsonb) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, timestamptz, float8, float8, jsonb) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(ts timestamptz, score float8, label float8, options jsonb) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts timestamptz, score float8, label float8, options jsonb) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

CREATE FUNCTION amad_evaluate_step(internal, timestamp, float8, boolean) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, timestamp, float8, boolean) IS
	'transition function of amad_evaluate';

CREATE FUNCTION amad_evaluate_step(internal, date, float8, boolean) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, date, float8, boolean) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(ts timestamp, score float8, label boolean) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts timestamp, score float8, label boolean) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

CREATE AGGREGATE amad_evaluate(ts date, score float8, label boolean) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts date, score float8, label boolean) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

CREATE FUNCTION amad_evaluate_step(internal, timestamp, float8, float8) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, timestamp, float8, float8) IS
	'transition function of amad_evaluate';

CREATE FUNCTION amad_evaluate_step(internal, date, float8, float8) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, date, float8, float8) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(ts timestamp, score float8, label float8) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts timestamp, score float8, label float8) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

CREATE AGGREGATE amad_evaluate(ts date, score float8, label float8) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts date, score float8, label float8) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

CREATE FUNCTION amad_evaluate_step(internal, timestamp, float8, boolean, jsonb) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, timestamp, float8, boolean, jsonb) IS
	'transition function of amad_evaluate';

CREATE FUNCTION amad_evaluate_step(internal, date, float8, boolean, jsonb) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, date, float8, boolean, jsonb) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(ts timestamp, score float8, label boolean, options jsonb) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts timestamp, score float8, label boolean, options jsonb) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

CREATE AGGREGATE amad_evaluate(ts date, score float8, label boolean, options jsonb) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts date, score float8, label boolean, options jsonb) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

CREATE FUNCTION amad_evaluate_step(internal, timestamp, float8, float8, jsonb) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, timestamp, float8, float8, jsonb) IS
	'transition function of amad_evaluate';

CREATE FUNCTION amad_evaluate_step(internal, date, float8, float8, jsonb) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, date, float8, float8, jsonb) IS
	'transition function of amad_evaluate';

CREATE AGGREGATE amad_evaluate(ts timestamp, score float8, label float8, options jsonb) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts timestamp, score float8, label float8, options jsonb) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

CREATE AGGREGATE amad_evaluate(ts date, score float8, label float8, options jsonb) (
	SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_evaluate(ts date, score float8, label float8, options jsonb) IS
	'quality of anomaly scores against labels, as an object of metrics; rows in any order';

