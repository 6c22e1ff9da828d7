\set ECHO none
-- Functions that several tests use, in a schema at the end of the search path.  A test includes this by
--
--   \getenv srcdir PG_ABS_SRCDIR
--   \set helpers :srcdir '/sql/include/helpers.sql'
--   \i :helpers
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS helpers;
GRANT USAGE ON SCHEMA helpers TO PUBLIC;
RESET client_min_messages;
SET search_path = "$user", public, helpers;

-- Options with more added to them, and those in "advanced" added to those in "advanced".
CREATE OR REPLACE FUNCTION helpers.merged(options jsonb, more jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT options || more || CASE
		WHEN jsonb_typeof(options->'advanced') = 'object' AND jsonb_typeof(more->'advanced') = 'object'
		THEN jsonb_build_object('advanced', (options->'advanced') || (more->'advanced'))
		ELSE '{}' END $$;

-- One advanced option.
CREATE OR REPLACE FUNCTION helpers.advanced(key text, value anyelement) RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT jsonb_build_object('advanced', jsonb_build_object(key, value)) $$;

-- Options of a network of few weights and steps, with more added.
CREATE OR REPLACE FUNCTION helpers.tiny(more jsonb DEFAULT '{}') RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT helpers.merged('{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "steps": 5, "horizons": [2, 4],
		"advanced": {"batch_size": 2}}', more) $$;

-- Noise from 0 to 1, the same everywhere.
CREATE OR REPLACE FUNCTION helpers.noise(n bigint) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$
	SELECT (hashint8(n) & 65535) / 65535.0 $$;

-- Is the model that its text describes the same, byte for byte?
CREATE OR REPLACE FUNCTION helpers.round_trip(model amad_model) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
	SELECT amad_model_send(model::text::amad_model) = amad_model_send(model) $$;

-- Sum of the numbers of an object.
CREATE OR REPLACE FUNCTION helpers.total(object jsonb) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$
	SELECT sum(value::float8) FROM jsonb_each_text(object) $$;

-- An anomaly score in units of the threshold, from the severity, and the reverse.
CREATE OR REPLACE FUNCTION helpers.ratio_of(severity float8) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$
	SELECT CASE WHEN severity <= 1 THEN severity ELSE exp(severity - 1) END $$;
CREATE OR REPLACE FUNCTION helpers.severity_of(ratio float8) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$
	SELECT CASE WHEN ratio <= 1 THEN ratio ELSE 1 + ln(ratio) END $$;

-- Is row n (1 ... rows) held out?  Blocks of at least min_rows rows, 10 at most, each at the end of its part of the
-- series, none of which begins within the first `warmup` rows.
CREATE OR REPLACE FUNCTION helpers.is_held_out(n bigint, rows bigint, fraction numeric, min_rows bigint, warmup bigint)
RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
	SELECT (rows - n) % part < size AND rows - (rows - n) / part * part - size >= warmup
	FROM (SELECT all_rows / blocks AS size, rows / blocks AS part
		FROM (SELECT greatest(min_rows * CASE WHEN rows >= 20 * min_rows THEN 2 ELSE 1 END,
			ceil(fraction * rows)::bigint) AS all_rows) a,
			LATERAL (SELECT least(all_rows / min_rows, 10) AS blocks) b) c $$;

-- Threshold of a training: a high quantile of all scores, raised by what held-out scores have more at lower quantiles,
-- and by a margin for few rows.
CREATE OR REPLACE FUNCTION helpers.threshold_of(scores float8[], held_out boolean[], share float8)
RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	n int := cardinality(scores);
	usual float8[] := (SELECT percentile_cont('{0.5,0.75,0.9}'::float8[]) WITHIN GROUP (ORDER BY s) FROM unnest(scores) s);
	others float8[] := (SELECT percentile_cont('{0.5,0.75,0.9}'::float8[]) WITHIN GROUP (ORDER BY s)
		FROM unnest(scores, held_out) AS x(s, held) WHERE held);
	high float8 := (SELECT percentile_cont(1 - share * n / (n + 2000)) WITHIN GROUP (ORDER BY s) FROM unnest(scores) s);
BEGIN
	RETURN high * greatest(1, (SELECT exp(avg(ln(o / u))) FROM unnest(others, usual) AS x(o, u))) * (1 + 30 / sqrt(n));
END $$;
\set ECHO all
