-- ---- training: aggregates ----------------------------------------------------------

CREATE FUNCTION amad_fit_step(internal, "any", VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_fit_options_step(internal, jsonb, "any", VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_fit_options_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_fit_final(internal) RETURNS amad_model
	AS 'MODULE_PATHNAME', 'amad_fit_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_train_step(internal, text, "any", VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
CREATE FUNCTION amad_train_options_step(internal, text, jsonb, "any", VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_train_options_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
CREATE FUNCTION amad_train_final(internal) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_train_final' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_fit_step IS
	'transition function of amad_fit';
COMMENT ON FUNCTION amad_fit_options_step IS
	'transition function of amad_fit';
COMMENT ON FUNCTION amad_fit_final IS
	'final function of amad_fit';
COMMENT ON FUNCTION amad_train_step IS
	'transition function of amad_train';
COMMENT ON FUNCTION amad_train_options_step IS
	'transition function of amad_train';
COMMENT ON FUNCTION amad_train_final IS
	'final function of amad_train';

-- Without options, ts has any type, which is checked at run time. With options it has a declared type, so that
-- an untyped literal or parameter before it is taken for the options.
DO $do$
DECLARE
	ts text;
	arguments text;
	step text;
BEGIN
	FOREACH ts IN ARRAY ARRAY['"any"', 'timestamptz', 'timestamp', 'date', 'bigint'] LOOP
		IF ts OPERATOR(pg_catalog.=) '"any"' THEN
			arguments := 'ts "any", VARIADIC features "any"';
			step := 'step';
		ELSE
			arguments := pg_catalog.format('options jsonb, ts %s, VARIADIC features "any"', ts);
			step := 'options_step';
		END IF;
		EXECUTE pg_catalog.format($$ CREATE AGGREGATE amad_fit(%s) (
				SFUNC = amad_fit_%s, STYPE = internal, SSPACE = 1048576,
				FINALFUNC = amad_fit_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE) $$, arguments, step);
		EXECUTE pg_catalog.format($$ COMMENT ON AGGREGATE amad_fit(%s) IS
				'train a model on the rows of a group and return it, without storing it' $$, arguments);
		EXECUTE pg_catalog.format($$ CREATE AGGREGATE amad_train(model_name text, %s) (
				SFUNC = amad_train_%s, STYPE = internal, SSPACE = 1048576,
				FINALFUNC = amad_train_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = UNSAFE) $$, arguments, step);
		EXECUTE pg_catalog.format($$ COMMENT ON AGGREGATE amad_train(model_name text, %s) IS
				'train a model on the rows of a group, store it as the next version of model_name, and return a summary' $$,
			arguments);
	END LOOP;
END $do$;

-- An aggregate cannot be declared volatile. Without this mark, the planner would drop a training whose result
-- is not used:
--   SELECT device FROM (SELECT device, amad_train(…) FROM readings GROUP BY device) s
UPDATE pg_catalog.pg_proc SET provolatile = 'v'
	WHERE proname OPERATOR(pg_catalog.=) 'amad_train' AND prokind OPERATOR(pg_catalog.=) 'a'
	AND pronamespace OPERATOR(pg_catalog.=) '@extschema@'::pg_catalog.regnamespace;

-- ---- calibration, series by series ---------------------------------------------------

CREATE FUNCTION amad_calibrate_step(internal, amad_model, "any", VARIADIC "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_calibrate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_calibrate_rows_step(internal, amad_model, record) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_calibrate_rows_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_calibrate_final(internal) RETURNS bytea
	AS 'MODULE_PATHNAME', 'amad_calibrate_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_merge_step(internal, amad_model, jsonb, bytea) RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_merge_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_merge_final(internal) RETURNS amad_model
	AS 'MODULE_PATHNAME', 'amad_merge_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_calibrate_step IS
	'transition function of amad_calibrate';
COMMENT ON FUNCTION amad_calibrate_rows_step IS
	'transition function of amad_calibrate_rows';
COMMENT ON FUNCTION amad_calibrate_final IS
	'final function of amad_calibrate and amad_calibrate_rows';
COMMENT ON FUNCTION amad_merge_step IS
	'transition function of amad_merge';
COMMENT ON FUNCTION amad_merge_final IS
	'final function of amad_merge';

CREATE AGGREGATE amad_calibrate(model amad_model, ts "any", VARIADIC features "any") (
	SFUNC = amad_calibrate_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_calibrate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);
COMMENT ON AGGREGATE amad_calibrate(model amad_model, ts "any", VARIADIC features "any") IS
	'calibrate a model on all rows of one series, a group; amad_merge puts the results into the model';

CREATE AGGREGATE amad_calibrate_rows(model amad_model, source_row record) (
	SFUNC = amad_calibrate_rows_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_calibrate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);
COMMENT ON AGGREGATE amad_calibrate_rows(model amad_model, source_row record) IS
	'calibrate a model on the rows of one series of a source, in order of time; used by amad_train and amad_retrain';

CREATE AGGREGATE amad_merge(model amad_model, series jsonb, calibration bytea) (
	SFUNC = amad_merge_step, STYPE = internal, SSPACE = 1048576,
	FINALFUNC = amad_merge_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE);
COMMENT ON AGGREGATE amad_merge(model amad_model, series jsonb, calibration bytea) IS
	'put the calibrations of series, which amad_calibrate has computed with the same model, into the model';

-- ---- training: by the name of a source -----------------------------------------

CREATE FUNCTION amad_train(model_name text, source text, timestamp_col text DEFAULT NULL,
		feature_cols text[] DEFAULT NULL, series_cols text[] DEFAULT NULL, label_col text DEFAULT NULL,
		options jsonb DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, last_n bigint DEFAULT NULL,
		metric_col text DEFAULT NULL, value_col text DEFAULT NULL, bucket text DEFAULT NULL, aggregate text DEFAULT NULL,
		deploy "any" DEFAULT true, keep integer DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_train_source' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train(model_name text, source text, timestamp_col text, feature_cols text[],
		series_cols text[], label_col text, options jsonb, since timestamptz, until timestamptz, last_n bigint,
		metric_col text, value_col text, bucket text, aggregate text,
		deploy "any", keep integer) IS
	'train a model on a relation or query, store both as the next version of model_name, and return a summary';

CREATE FUNCTION amad_retrain(model_name text, warm_start boolean DEFAULT false, since timestamptz DEFAULT NULL,
		until timestamptz DEFAULT NULL, last_n bigint DEFAULT NULL, deploy "any" DEFAULT true, keep integer DEFAULT NULL)
	RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_retrain' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_retrain IS
	'train the deployed version of a model again on the current rows of its source; warm_start continues from its weights';

CREATE FUNCTION amad_train_bigint(model_name text, source text, timestamp_col text DEFAULT NULL,
		feature_cols text[] DEFAULT NULL, series_cols text[] DEFAULT NULL, label_col text DEFAULT NULL,
		options jsonb DEFAULT NULL, since bigint DEFAULT NULL, until bigint DEFAULT NULL, last_n bigint DEFAULT NULL,
		metric_col text DEFAULT NULL, value_col text DEFAULT NULL, bucket text DEFAULT NULL, aggregate text DEFAULT NULL,
		deploy "any" DEFAULT true, keep integer DEFAULT NULL) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_train_source' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_train_bigint IS
	'train a model on a relation or query with an integer time column; otherwise as amad_train';

CREATE FUNCTION amad_retrain_bigint(model_name text, warm_start boolean DEFAULT false, since bigint DEFAULT NULL,
		until bigint DEFAULT NULL, last_n bigint DEFAULT NULL, deploy "any" DEFAULT true, keep integer DEFAULT NULL)
	RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_retrain' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_retrain_bigint IS
	'train the deployed version of a model whose source has an integer time column again; otherwise as amad_retrain';

CREATE FUNCTION amad_in_sample(level integer, block_rows bigint, number bigint, series_cols text[], VARIADIC series "any")
	RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_in_sample' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_in_sample IS
	'whether the row with a number (from 0) in its series is in the sample that a training uses when the rows do not fit in maintenance_work_mem; level: one of 2^level blocks of block_rows rows is';

-- ---- estimates -----------------------------------------------------------------

CREATE FUNCTION amad_estimate(source text, timestamp_col text DEFAULT NULL, feature_cols text[] DEFAULT NULL,
		series_cols text[] DEFAULT NULL, label_col text DEFAULT NULL, options jsonb DEFAULT NULL,
		OUT rows bigint, OUT series bigint, OUT short_series bigint, OUT features integer, OUT sampled double precision,
		OUT steps bigint, OUT passes double precision, OUT workers integer, OUT seconds double precision,
		OUT read_seconds double precision, OUT train_seconds double precision, OUT calibrate_seconds double precision,
		OUT memory bigint, OUT memory_required bigint, OUT maintenance_work_mem bigint, OUT version_bytes bigint)
	AS 'MODULE_PATHNAME', 'amad_estimate' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_estimate IS
	'time and memory that amad_train will need on a relation or query, from a count of the rows and some real steps';
