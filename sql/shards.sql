-- ---- on the shards of a distributed source ----------------------------------------------

CREATE FUNCTION amad_first_call() RETURNS boolean
	AS 'MODULE_PATHNAME', 'amad_first_call' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION amad_first_call IS
	'whether it is called for the first time while a query is executed; used in queries of amad on shards';

-- Each function that is called for all shards of a source has a variant for one of them.
DO $do$
DECLARE
	f record;
	name text;
BEGIN
	FOR f IN
		SELECT p.oid, p.proname, p.prosrc, p.procost, p.prorows
		FROM pg_catalog.pg_proc p
		WHERE p.pronamespace OPERATOR(pg_catalog.=) '@extschema@'::pg_catalog.regnamespace
			AND p.proname OPERATOR(pg_catalog.=) ANY (ARRAY['amad_detect', 'amad_detect_bigint', 'amad_events',
				'amad_events_bigint', 'amad_drift', 'amad_drift_bigint']::pg_catalog.name[])
		ORDER BY p.proname
	LOOP
		name := f.proname OPERATOR(pg_catalog.||) '_on_shard';
		EXECUTE pg_catalog.format($$ CREATE FUNCTION %I(%s, shard regtype, call jsonb, model amad_model) RETURNS %s
			AS 'MODULE_PATHNAME', %L LANGUAGE C STABLE PARALLEL UNSAFE COST %s ROWS %s $$, name,
			pg_catalog.pg_get_function_identity_arguments(f.oid), pg_catalog.pg_get_function_result(f.oid),
			f.prosrc, f.procost, f.prorows);
		EXECUTE pg_catalog.format($$ COMMENT ON FUNCTION %I IS %L $$, name,
			'what ' OPERATOR(pg_catalog.||) f.proname OPERATOR(pg_catalog.||) ' calls for a shard of a distributed source');
	END LOOP;
END $do$;

CREATE FUNCTION amad_refresh_on_shard(ranges jsonb, shard regtype, call jsonb, model amad_model)
	RETURNS TABLE (range integer, place bigint, key text, flagged boolean, learning boolean, empty bytea, ts bigint,
		severity double precision, status text, expected jsonb, contributions jsonb)
	AS 'MODULE_PATHNAME', 'amad_refresh_on_shard' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 1000;
COMMENT ON FUNCTION amad_refresh_on_shard IS
	'what amad_refresh calls for a shard of a distributed source';

-- For the arguments of amad_recalibrate up to options; some series only.
DO $do$
DECLARE
	variant text;
	bound text;
BEGIN
	FOR variant, bound IN VALUES ('amad_recalibrate', 'timestamptz'), ('amad_recalibrate_bigint', 'bigint') LOOP
		EXECUTE pg_catalog.format($$ CREATE FUNCTION %I(model_name text, since %s, until %s, last_n bigint, series jsonb,
				source text, timestamp_col text, label_col text, options jsonb, shard regtype, call jsonb, model amad_model)
			RETURNS TABLE (key text, adopted boolean, learning bigint, figures bytea, rescaled jsonb, totals jsonb)
			AS 'MODULE_PATHNAME', 'amad_recalibrate_on_shard' LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 100 $$,
			variant OPERATOR(pg_catalog.||) '_on_shard', bound, bound);
		EXECUTE pg_catalog.format($$ COMMENT ON FUNCTION %I IS %L $$, variant OPERATOR(pg_catalog.||) '_on_shard',
			'what ' OPERATOR(pg_catalog.||) variant OPERATOR(pg_catalog.||) ' calls for a shard of a distributed source');
	END LOOP;
END $do$;
