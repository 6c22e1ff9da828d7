-- ---- training: aggregates ------------------------------------------------------

CREATE FUNCTION amad_fit_final(internal) RETURNS amad_model
	AS 'MODULE_PATHNAME', 'amad_fit_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_fit_final(internal) IS
	'final function of amad_fit';

CREATE FUNCTION amad_fit_step(internal, timestamptz, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_fit_step(internal, timestamptz, VARIADIC "any") IS
	'transition function of amad_fit';

CREATE AGGREGATE amad_fit(ts timestamptz, VARIADIC features "any") (
	SFUNC = amad_fit_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_fit(ts timestamptz, VARIADIC features "any") IS
	'train a model on the rows of a group and return it, storing nothing';

CREATE FUNCTION amad_fit_step(internal, timestamp, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_fit_step(internal, timestamp, VARIADIC "any") IS
	'transition function of amad_fit';

CREATE FUNCTION amad_fit_step(internal, date, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_fit_step(internal, date, VARIADIC "any") IS
	'transition function of amad_fit';

CREATE AGGREGATE amad_fit(ts timestamp, VARIADIC features "any") (
	SFUNC = amad_fit_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_fit(ts timestamp, VARIADIC features "any") IS
	'train a model on the rows of a group and return it, storing nothing';

CREATE AGGREGATE amad_fit(ts date, VARIADIC features "any") (
	SFUNC = amad_fit_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_fit(ts date, VARIADIC features "any") IS
	'train a model on the rows of a group and return it, storing nothing';

CREATE FUNCTION amad_fit_step(internal, bigint, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_fit_step(internal, bigint, VARIADIC "any") IS
	'transition function of amad_fit';

CREATE AGGREGATE amad_fit(ts bigint, VARIADIC features "any") (
	SFUNC = amad_fit_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_fit(ts bigint, VARIADIC features "any") IS
	'train a model on the rows of a group and return it, storing nothing';

CREATE FUNCTION amad_fit_options_step(internal, jsonb, timestamptz, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_options_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_fit_options_step(internal, jsonb, timestamptz, VARIADIC "any") IS
	'transition function of amad_fit';

CREATE AGGREGATE amad_fit(options jsonb, ts timestamptz, VARIADIC features "any") (
	SFUNC = amad_fit_options_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_fit(options jsonb, ts timestamptz, VARIADIC features "any") IS
	'train a model on the rows of a group and return it, storing nothing';

CREATE FUNCTION amad_fit_options_step(internal, jsonb, timestamp, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_options_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_fit_options_step(internal, jsonb, timestamp, VARIADIC "any") IS
	'transition function of amad_fit';

CREATE FUNCTION amad_fit_options_step(internal, jsonb, date, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_options_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_fit_options_step(internal, jsonb, date, VARIADIC "any") IS
	'transition function of amad_fit';

CREATE AGGREGATE amad_fit(options jsonb, ts timestamp, VARIADIC features "any") (
	SFUNC = amad_fit_options_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_fit(options jsonb, ts timestamp, VARIADIC features "any") IS
	'train a model on the rows of a group and return it, storing nothing';

CREATE AGGREGATE amad_fit(options jsonb, ts date, VARIADIC features "any") (
	SFUNC = amad_fit_options_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_fit(options jsonb, ts date, VARIADIC features "any") IS
	'train a model on the rows of a group and return it, storing nothing';

CREATE FUNCTION amad_fit_options_step(internal, jsonb, bigint, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_options_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_fit_options_step(internal, jsonb, bigint, VARIADIC "any") IS
	'transition function of amad_fit';

CREATE AGGREGATE amad_fit(options jsonb, ts bigint, VARIADIC features "any") (
	SFUNC = amad_fit_options_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE
);
COMMENT ON AGGREGATE amad_fit(options jsonb, ts bigint, VARIADIC features "any") IS
	'train a model on the rows of a group and return it, storing nothing';

CREATE FUNCTION amad_train_final(internal) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_train_final' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train_final(internal) IS
	'final function of amad_train';

CREATE FUNCTION amad_train_step(internal, text, timestamptz, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train_step(internal, text, timestamptz, VARIADIC "any") IS
	'transition function of amad_train';

CREATE AGGREGATE amad_train(model_name text, ts timestamptz, VARIADIC features "any") (
	SFUNC = amad_train_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_train_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE amad_train(model_name text, ts timestamptz, VARIADIC features "any") IS
	'train a model on the rows of a group, store it as the next version of model_name and return a summary';

CREATE FUNCTION amad_train_step(internal, text, timestamp, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train_step(internal, text, timestamp, VARIADIC "any") IS
	'transition function of amad_train';

CREATE FUNCTION amad_train_step(internal, text, date, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train_step(internal, text, date, VARIADIC "any") IS
	'transition function of amad_train';

CREATE AGGREGATE amad_train(model_name text, ts timestamp, VARIADIC features "any") (
	SFUNC = amad_train_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_train_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE amad_train(model_name text, ts timestamp, VARIADIC features "any") IS
	'train a model on the rows of a group, store it as the next version of model_name and return a summary';

CREATE AGGREGATE amad_train(model_name text, ts date, VARIADIC features "any") (
	SFUNC = amad_train_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_train_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE amad_train(model_name text, ts date, VARIADIC features "any") IS
	'train a model on the rows of a group, store it as the next version of model_name and return a summary';

CREATE FUNCTION amad_train_step(internal, text, bigint, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train_step(internal, text, bigint, VARIADIC "any") IS
	'transition function of amad_train';

CREATE AGGREGATE amad_train(model_name text, ts bigint, VARIADIC features "any") (
	SFUNC = amad_train_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_train_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE amad_train(model_name text, ts bigint, VARIADIC features "any") IS
	'train a model on the rows of a group, store it as the next version of model_name and return a summary';

CREATE FUNCTION amad_train_options_step(internal, text, jsonb, timestamptz, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_options_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train_options_step(internal, text, jsonb, timestamptz, VARIADIC "any") IS
	'transition function of amad_train';

CREATE AGGREGATE amad_train(model_name text, options jsonb, ts timestamptz, VARIADIC features "any") (
	SFUNC = amad_train_options_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_train_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE amad_train(model_name text, options jsonb, ts timestamptz, VARIADIC features "any") IS
	'train a model on the rows of a group, store it as the next version of model_name and return a summary';

CREATE FUNCTION amad_train_options_step(internal, text, jsonb, timestamp, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_options_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train_options_step(internal, text, jsonb, timestamp, VARIADIC "any") IS
	'transition function of amad_train';

CREATE FUNCTION amad_train_options_step(internal, text, jsonb, date, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_options_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train_options_step(internal, text, jsonb, date, VARIADIC "any") IS
	'transition function of amad_train';

CREATE AGGREGATE amad_train(model_name text, options jsonb, ts timestamp, VARIADIC features "any") (
	SFUNC = amad_train_options_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_train_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE amad_train(model_name text, options jsonb, ts timestamp, VARIADIC features "any") IS
	'train a model on the rows of a group, store it as the next version of model_name and return a summary';

CREATE AGGREGATE amad_train(model_name text, options jsonb, ts date, VARIADIC features "any") (
	SFUNC = amad_train_options_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_train_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE amad_train(model_name text, options jsonb, ts date, VARIADIC features "any") IS
	'train a model on the rows of a group, store it as the next version of model_name and return a summary';

CREATE FUNCTION amad_train_options_step(internal, text, jsonb, bigint, VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_options_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train_options_step(internal, text, jsonb, bigint, VARIADIC "any") IS
	'transition function of amad_train';

CREATE AGGREGATE amad_train(model_name text, options jsonb, ts bigint, VARIADIC features "any") (
	SFUNC = amad_train_options_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_train_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE
);
COMMENT ON AGGREGATE amad_train(model_name text, options jsonb, ts bigint, VARIADIC features "any") IS
	'train a model on the rows of a group, store it as the next version of model_name and return a summary';

-- ---- training: by the name of a source -----------------------------------------

CREATE FUNCTION amad_train(model_name text, source text, timestamp_col text DEFAULT NULL,
		feature_cols text[] DEFAULT NULL, series_cols text[] DEFAULT NULL, label_col text DEFAULT NULL,
		options jsonb DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_train_source' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train(model_name text, source text, timestamp_col text, feature_cols text[],
		series_cols text[], label_col text, options jsonb) IS
	'train a model on a relation or query, store it with its source as the next version of model_name and return a summary';

CREATE FUNCTION amad_retrain(model_name text, warm_start boolean DEFAULT false) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_retrain' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_retrain(model_name text, warm_start boolean) IS
	'train the deployed version again on the rows its source has now; warm_start continues from its weights';


-- An aggregate cannot be declared volatile. But a training whose result nobody reads must not be left
-- out of a plan, as an aggregate without effects may be:
--   SELECT device FROM (SELECT device, amad_train(…) FROM readings GROUP BY device) s
UPDATE pg_catalog.pg_proc SET provolatile = 'v'
	WHERE proname OPERATOR(pg_catalog.=) 'amad_train' AND prokind OPERATOR(pg_catalog.=) 'a'
	AND pronamespace OPERATOR(pg_catalog.=) '@extschema@'::pg_catalog.regnamespace;
