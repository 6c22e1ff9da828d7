-- ---- evaluation: an aggregate ------------------------------------------------------

CREATE FUNCTION amad_evaluate_step(internal, "any", "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_evaluate_step(internal, "any", "any", "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_evaluate_step(internal, "any", "any", "any", "any") RETURNS internal
	AS 'MODULE_PATHNAME', 'amad_evaluate_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION amad_evaluate_final(internal) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'amad_evaluate_final' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION amad_evaluate_step(internal, "any", "any") IS
	'transition function of amad_evaluate';
COMMENT ON FUNCTION amad_evaluate_step(internal, "any", "any", "any") IS
	'transition function of amad_evaluate';
COMMENT ON FUNCTION amad_evaluate_step(internal, "any", "any", "any", "any") IS
	'transition function of amad_evaluate';
COMMENT ON FUNCTION amad_evaluate_final IS
	'final function of amad_evaluate';

-- ts has any type, which is checked at run time. Score and label have declared types, so that other numbers are
-- converted to them, and an untyped literal or parameter after them is taken for the options.
DO $do$
DECLARE
	form text;
	label text;
	arguments text;
BEGIN
	FOREACH form IN ARRAY ARRAY['score float8, label %s', 'score float8, label %s, options jsonb',
		'ts "any", score float8, label %s', 'ts "any", score float8, label %s, options jsonb']
	LOOP
		FOREACH label IN ARRAY ARRAY['boolean', 'float8'] LOOP
			arguments := pg_catalog.format(form, label);
			EXECUTE pg_catalog.format($$ CREATE AGGREGATE amad_evaluate(%s) (
					SFUNC = amad_evaluate_step, STYPE = internal, SSPACE = 1048576,
					FINALFUNC = amad_evaluate_final, FINALFUNC_MODIFY = READ_WRITE, PARALLEL = SAFE) $$, arguments);
			EXECUTE pg_catalog.format($$ COMMENT ON AGGREGATE amad_evaluate(%s) IS
					'measure anomaly scores against labels; without ts, use ORDER BY within the call' $$, arguments);
		END LOOP;
	END LOOP;
END $do$;
