--
-- Watches whose series columns have types with several texts for a value: a series is one, whether a trigger or a query logs it.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA watch_series_test;
SET search_path = watch_series_test, public, helpers;
SET client_min_messages = warning;
SET amad.max_parallel_workers = 0;
SET timezone = 'UTC';

CREATE FUNCTION series(type text, d int, n bigint) RETURNS text IMMUTABLE LANGUAGE sql AS $$
	SELECT CASE type WHEN 'numeric' THEN d || CASE WHEN n % 2 = 0 THEN '.0' ELSE '.00' END WHEN 'character(5)' THEN 'd' || d
		ELSE '2026-01-0' || d || ' 01:00+00' END $$;
CREATE TABLE results (type text, logged text, rows bigint, series bigint, differ bigint);
-- rows are logged by triggers, then by a query in another time zone: both are pending
CREATE PROCEDURE try(type text, logged text) LANGUAGE plpgsql AS $$
DECLARE
	t text := 'of_' || regexp_replace(type, '\W', '', 'g') || logged;
BEGIN
	EXECUTE format('CREATE TABLE %I (device %s, ts timestamptz, flow float8)', t, type);
	EXECUTE format('INSERT INTO %I SELECT series(%L, d, n)::%s, ''2026-02-01''::timestamptz + n * interval ''1 min'', sin(n / 7.0) * d + noise(n)
		FROM generate_series(1, 2) d, generate_series(1, 300) n', t, type, type);
	PERFORM amad_train(t, t, 'ts', '{flow}', '{device}', options => '{"method": "pca", "horizons": [1]}');
	PERFORM amad_watch(t, target => t || '_scores', late => CASE WHEN logged = 'polled' THEN interval '1 hour' END);
	CALL amad_refresh(t, as_of => '2026-02-01 04:00');
	EXECUTE format('UPDATE %I SET flow = flow + 1 WHERE ts BETWEEN ''2026-02-01 03:30'' AND ''2026-02-01 03:40''', t);
	CALL amad_refresh(t, as_of => '2026-02-01 03:35');
	PERFORM set_config('timezone', 'Asia/Tokyo', true), set_config('datestyle', 'SQL, DMY', true);
	CALL amad_refresh(t, since => '2026-02-01 03:00+00', as_of => '2026-02-01 06:00+00');
	PERFORM set_config('timezone', 'UTC', true), set_config('datestyle', 'Postgres, MDY', true);
	EXECUTE format('INSERT INTO results SELECT %L, %L, count(*), count(DISTINCT s.device), count(*) FILTER (WHERE s.severity IS DISTINCT FROM d.severity)
		FROM %I s FULL JOIN (SELECT (series->>''device'')::%s AS device, ts, severity FROM amad_detect(%L)) d USING (device, ts)',
		type, logged, t || '_scores', type, t);
END $$;
CALL try('numeric', 'logged');
CALL try('numeric', 'polled');
CALL try('character(5)', 'logged');
CALL try('character(5)', 'polled');
CALL try('timestamptz', 'logged');
CALL try('timestamptz', 'polled');
CALL try('timestamp', 'logged');
CALL try('date', 'logged');
CALL try('date', 'polled');
SELECT * FROM results ORDER BY type, logged;

SET client_min_messages = error;
SELECT count(amad_drop(model_name)) FROM (SELECT DISTINCT model_name FROM amad_models) m;
DROP SCHEMA watch_series_test CASCADE;
