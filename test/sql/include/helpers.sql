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
\set ECHO all
