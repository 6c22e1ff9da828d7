--
-- Seasonality: expected values that follow from the time of a row.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET jit = off;
SET max_parallel_maintenance_workers = 0;
CREATE SCHEMA season_test;
SET search_path = season_test, public, helpers;

-- 30 days of a load with a daily season and of one without, every half hour
CREATE FUNCTION noise(n bigint, salt int) RETURNS float8 LANGUAGE sql IMMUTABLE AS
	$$ SELECT ((hashint8extended(n, salt) % 1000) / 1000.0)::float8 $$;
CREATE TABLE load AS SELECT n, timestamptz '2026-03-02 00:00+00' + n * interval '30 min' AS ts,
	50 + 30 * sin(2 * pi() * n / 48) + noise(n, 1) AS users, 10 + noise(n, 2) AS other
FROM generate_series(0, 48 * 30) n;
-- from one evening on there are no users for a day: each value is usual, and similar to those before it
UPDATE load SET users = 20 + noise(n, 1) WHERE n >= 48 * 27 + 36 AND n < 48 * 28 + 36;

CREATE VIEW usual AS SELECT ts, users, other FROM load WHERE n <= 48 * 27;
\set o '{"steps": 60, "window": 16, "d_model": 16, "advanced": {"flatline_weight": 0}}'
SELECT amad_train('load', 'season_test.usual', 'ts', options => :'o') IS NOT NULL AS trained;
SELECT amad_train('load blind', :'o'::jsonb || '{"season": "none"}', ts, users, other) IS NOT NULL AS trained
FROM load WHERE n <= 48 * 27;

-- one feature follows its season, the other does not
SELECT d->'options'->>'season' AS option, d->'season'->'periods' AS periods, d->'season'->'harmonics' AS harmonics,
	(d->'season'->'gain'->>0)::float8 > 0.9 AS foreseen, (d->'season'->'gain'->>1)::float8 < 0.1 AS not_foreseen
FROM amad_describe('load') d;
SELECT d->'options'->>'season' AS option, d->'season' AS season FROM amad_describe('load blind') d;

-- next morning the network, which sees only the rows before, is used to the low values; the season is not
CREATE VIEW morning AS SELECT * FROM load WHERE n > 48 * 25 AND n <= 48 * 28 + 20;
SELECT min(ratio_of(seen)) > 8 AS found, min(ratio_of(seen) / ratio_of(blind)) > 3 AS "not by the network"
FROM (SELECT n, amad_score('load', ts, users, other) OVER w AS seen,
		amad_score('load blind', ts, users, other) OVER w AS blind
	FROM morning WINDOW w AS (ORDER BY ts)) x
WHERE n > 48 * 28 + 15;
-- the contributions point at the feature
SELECT (contributions->>'users')::float8 > 0.9 AS points_at_users FROM (
	SELECT n, (amad_explain('load', ts, users, other) OVER (ORDER BY ts)).contributions FROM morning) x
ORDER BY n DESC LIMIT 1;

-- same row, same score, however many rows are read: the time is the row's, not the query's
SELECT count(DISTINCT score) AS scores FROM (
	SELECT DISTINCT last_value(amad) OVER (PARTITION BY first_row) AS score FROM (
		SELECT first_row, n, amad_score('load', ts, users, other) OVER (PARTITION BY first_row ORDER BY ts) AS amad
		FROM morning, unnest(ARRAY[0, 48 * 25, 48 * 26 - 7, 48 * 27 - 50]) AS first_row WHERE n > first_row) x
	WHERE n = 48 * 28 + 20) y;

-- the round trip through text changes nothing
SELECT amad_describe(model::text::public.amad_model) = amad_describe(model) AS same FROM amad_models
WHERE model_name = 'load';

-- a recalibration may change its weight
SELECT amad_recalibrate('load', since => (SELECT min(ts) FROM load),
	options => '{"advanced": {"season_weight": 0}}') IS NOT NULL AS recalibrated;
SELECT max(ratio_of(seen)) < 5 AS missed
FROM (SELECT n, amad_score('load', ts, users, other) OVER (ORDER BY ts) AS seen FROM morning) x WHERE n > 48 * 28 + 15;

-- "auto" finds periods of which the rows span three, and does not look for a month
SELECT days, amad_describe(model)->'season'->'periods' AS periods FROM (
	SELECT days, amad_fit('{"steps": 1, "window": 4, "d_model": 4, "heads": 1}'::jsonb, ts, users, other) AS model
	FROM load, unnest(ARRAY[2.5, 3, 20, 21, 30]) AS days WHERE n <= 48 * days GROUP BY days) x ORDER BY days;
-- daily rows do not have a season of a day, but one of a week, with fewer harmonics
CREATE TABLE days AS
SELECT timestamp '2026-01-01' + n * interval '1 day' AS ts, 1 + n % 7 + noise(n, 3) AS v FROM generate_series(0, 200) n;
SELECT (amad_describe(amad_fit('{"steps": 1, "window": 4, "d_model": 4, "heads": 1}'::jsonb, ts, v))->'season') - 'gain'
	AS season FROM days;
-- integers, also negative ones, have only the given periods; so do baselines
SELECT method, amad_describe(amad_fit(jsonb_build_object('method', method, 'season', season), n - 700, users, other))
	->'season'->'periods' AS periods
FROM load, (VALUES ('pca', jsonb '"auto"'), ('pca', '[48]'), ('zscore', '[48, 336]')) v(method, season)
GROUP BY method, season ORDER BY method, season;

-- a series of a fleet has a season of its own
CREATE TABLE fleet AS SELECT n, ts, site,
	50 + 30 * sin(2 * pi() * (n / 48.0 + CASE site WHEN 'west' THEN 0.5 ELSE 0 END)) + noise(n, 4) AS users
FROM load, unnest(ARRAY['east', 'west']) site WHERE n <= 48 * 20;
SELECT amad_train('fleet', 'season_test.fleet', 'ts', '{users}', '{site}', options => :'o') IS NOT NULL AS trained;
SELECT site, other, max(severity) < 1.5 AS usual
FROM (SELECT site, other, n, amad_score('fleet', jsonb_build_object('site', other), ts, users)
		OVER (PARTITION BY site, other ORDER BY ts) AS severity
	FROM fleet, unnest(ARRAY['east', 'west']) AS other) x
WHERE n > 48 * 16 GROUP BY site, other ORDER BY site, other;

-- missing values do not count
SELECT bool_and(severity > 0) AS scored
FROM (SELECT n, amad_score('load', ts, CASE WHEN n % 3 > 0 THEN users END, CASE WHEN n % 3 = 0 THEN other END)
		OVER (ORDER BY ts) AS severity FROM load) x
WHERE n > 200;

-- the gain is 0 if held-out rows cannot confirm it: a constant, a feature missing there, a fleet without held-out rows
SELECT amad_describe(amad_fit('{"method": "zscore", "season": ["1 day"]}'::jsonb, ts, 7::float8,
	CASE WHEN NOT is_held_out(n + 1, 48 * 30 + 1, 0.1, 64, 31) THEN users END))->'season'->'gain' AS gain FROM load;
CREATE VIEW short AS SELECT ts, n / 60 AS part, users FROM load;
SELECT amad_train('short', 'season_test.short', 'ts', '{users}', '{part}',
	options => '{"method": "zscore", "season": ["12 hours"]}') IS NOT NULL AS trained;
SELECT d->'training'->'held_out' AS held_out, d->'season'->'gain' AS gain FROM amad_describe('short') d;

-- a series without any value
CREATE VIEW void AS SELECT ts, site, CASE WHEN site = 'west' THEN users END AS users
FROM load, unnest(ARRAY['east', 'west']) site;
SELECT amad_train('void', 'season_test.void', 'ts', '{users}', '{site}',
	options => '{"method": "zscore", "season": ["1 day"]}') IS NOT NULL AS trained;
SELECT site, count(amad_score) AS scored FROM (
	SELECT site, amad_score('void', jsonb_build_object('site', site), ts, users) OVER (PARTITION BY site ORDER BY ts)
	FROM void) x GROUP BY site ORDER BY site;

-- a fleet whose sample lacks whole series: these have the step and the season of the fleet
CREATE TABLE many AS SELECT timestamp '2026-01-01' + n * interval '3 hours' AS ts, part, noise(n, part) AS v
FROM generate_series(1, 1000) part, generate_series(1, 120) n;
SET maintenance_work_mem = '1MB';
SET client_min_messages = warning;
SELECT amad_train('many', 'season_test.many', 'ts', '{v}', '{part}', options =>
	'{"method": "zscore", "season": ["1 day"], "advanced": {"season_harmonics": 1}}')->'sampled_from' AS sampled_from;
RESET client_min_messages;
RESET maintenance_work_mem;
SELECT DISTINCT d->'step' AS step, d->'max_gap' AS max_gap, d->'season'->'periods' AS periods, s->'step' AS "of series",
	s->'max_gap' AS "and gap"
FROM amad_describe('many') d, jsonb_array_elements(d->'series') s;

-- the memory for a season is checked before anything is trained
CREATE TABLE wide AS SELECT n, ARRAY(SELECT sin(n * i)::float8 FROM generate_series(1, 600) i) AS v
FROM generate_series(0, 115) n;
SET maintenance_work_mem = '1400kB';
SELECT length(amad_fit('{"method": "zscore", "horizons": [1]}'::jsonb, n, v)::text) > 0 AS fits FROM wide;
\set VERBOSITY sqlstate
SELECT length(amad_fit('{"method": "zscore", "horizons": [1], "season": [48, 49, 50, 51],
	"advanced": {"season_harmonics": 24}}'::jsonb, n, v)::text) > 0 AS fits FROM wide;
\set VERBOSITY default
RESET maintenance_work_mem;

-- a year is one of 365.25 days, as in EXTRACT (EPOCH); a month has 30 days
SELECT amad_describe(amad_fit('{"method": "zscore", "season": ["1 month", "1 year"]}'::jsonb, ts,
	1.0))->'season'->'periods' AS periods
FROM generate_series(timestamp '2020-01-01', '2023-01-01', '1 day') ts;

-- errors
SELECT amad_fit('{"season": "weekly"}'::jsonb, ts, users) FROM load;
SELECT amad_fit('{"season": 86400}'::jsonb, ts, users) FROM load;
SELECT amad_fit('{"season": ["1 day", 86400]}'::jsonb, ts, users) FROM load;
SELECT amad_fit('{"season": [0]}'::jsonb, ts, users) FROM load;
SELECT amad_fit('{"season": [null]}'::jsonb, ts, users) FROM load;
SELECT amad_fit('{"season": [1, 2, 3, 4, 5]}'::jsonb, ts, users) FROM load;
SELECT amad_fit('{"season": ["one day"]}'::jsonb, ts, users) FROM load;
SELECT amad_fit('{"season": ["20 days"]}'::jsonb, ts, users) FROM load;
SELECT amad_fit('{"season": ["1 hour"]}'::jsonb, ts, users) FROM load;
SELECT amad_fit('{"advanced": {"season_harmonics": 25}}'::jsonb, ts, users) FROM load;
SELECT amad_fit('{"advanced": {"season_weight": -1}}'::jsonb, ts, users) FROM load;

SELECT count(amad_drop(name)) AS dropped
FROM unnest(ARRAY['load', 'load blind', 'fleet', 'short', 'void', 'many']) name;
SET client_min_messages = warning;
DROP SCHEMA season_test CASCADE;
