--
-- What recurs at its time of day: a job is no anomaly at its time, but at another time, and its absence is one.  Local
-- time and holidays.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
SET jit = off;
SET timezone = 'UTC';
SET max_parallel_maintenance_workers = 0;
CREATE SCHEMA recurrence_test;
SET search_path = recurrence_test, public, helpers;

-- ---- a nightly job, at two o'clock for an hour; a row every half an hour

CREATE FUNCTION at(n bigint) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$
	SELECT timestamptz '2026-09-01 00:00+00' + n * interval '30 min' $$;
CREATE TABLE r AS SELECT n, at(n) AS ts, n % 48 IN (4, 5) AS job, sin(n * pi() / 24) + 0.3 * noise(n) AS a,
	cos(n * pi() / 24) + 0.3 * noise(-n) AS b FROM generate_series(0, 45 * 48 - 1) n;
CREATE FUNCTION load(job boolean) RETURNS float8 IMMUTABLE LANGUAGE sql AS $$ SELECT 6 * job::int $$;
SELECT amad_train('job', options, ts, a + load(job), b + load(job)) IS NOT NULL AS trained
FROM r, tiny('{"steps": 300}') options WHERE n < 40 * 48 GROUP BY options;
SELECT amad_train('without', options, ts, a + load(job), b + load(job)) IS NOT NULL AS trained
FROM r, tiny('{"steps": 300, "advanced": {"recurrence": 0}}') options WHERE n < 40 * 48 GROUP BY options;
-- bins of a day are as long as a row; those of the job, and those before and after it
SELECT x->'period' AS period, (x->>'from')::float8 / 1800 AS from, (x->>'to')::float8 / 1800 AS to,
	(x->>'factor')::float8 > 2 AS divides
FROM jsonb_array_elements(amad_describe('job')->'recurrence') x WHERE x->'period' = '86400' ORDER BY 2;
SELECT amad_describe('without')->'recurrence' AS recurrence;
-- The rows after the training, in different versions
CREATE FUNCTION flagged(model text, version text) RETURNS TABLE (n bigint, severity float8) LANGUAGE sql AS $$
	SELECT n, amad_score(model, ts, a + load(job), b + load(job)) OVER (ORDER BY ts) FROM
	(SELECT n, ts, a, b, CASE version WHEN 'as ever' THEN job WHEN 'none' THEN false
		WHEN 'at noon' THEN n % 48 IN (24, 25) END AS job FROM r WHERE n >= 39 * 48) x $$;
SELECT model, version, count(*) FILTER (WHERE severity > 1 AND n % 48 BETWEEN 4 AND 9) > 0 AS at_night,
	count(*) FILTER (WHERE severity > 1 AND n % 48 BETWEEN 24 AND 29) > 0 AS at_noon
FROM unnest('{job,without}'::text[]) model, unnest('{as ever,none,at noon}'::text[]) version,
	LATERAL flagged(model, version) WHERE n >= 40 * 48 GROUP BY model, version ORDER BY model, version;
-- evidence of features that are not as usual has its contributions
SELECT (e).contributions->>'1' IS NOT NULL AS has_contributions, round(total((e).contributions)::numeric, 3) AS total
FROM (SELECT n, amad_explain('job', ts, a, b) OVER (ORDER BY ts) AS e FROM r) x WHERE n = 41 * 48 + 4;
-- an incident of one day recurs nowhere
SELECT jsonb_array_length(amad_describe(amad_fit(tiny('{"steps": 100}'), ts, a + CASE WHEN n BETWEEN 960 AND 965 THEN 9 ELSE 0 END, b))
	->'recurrence') AS bins FROM r;

-- ---- series of a fleet: each restarts at a time of its own

CREATE TABLE fleet AS SELECT d, n, at(n) AS ts, (1 - (n % 48 = 6 * d)::int) * (5 + sin(n * pi() / 24) + 0.3 * noise(n * 4 + d)) AS a
FROM generate_series(1, 4) d, generate_series(0, 35 * 48 - 1) n;
SELECT s->'series' AS series FROM amad_train('fleet', 'SELECT * FROM recurrence_test.fleet WHERE n < 30 * 48', 'ts', '{a}', '{d}',
	options => tiny('{"steps": 300}')) s;
SELECT f.d, count(*) FILTER (WHERE s.is_anomaly AND f.n % 48 BETWEEN 6 * f.d AND 6 * f.d + 3) AS at_their_time
FROM amad_detect('fleet', since => at(30 * 48), source => 'fleet') s JOIN fleet f ON f.ts = s.ts AND f.d = (s.series->>'d')::int
GROUP BY f.d ORDER BY f.d;

-- each has a profile of its own, which is stored for such series only
SELECT get_byte(value, 52) AS profiles, round_trip(model) FROM (SELECT model, amad_model_send(model) AS value FROM amad_models WHERE model_name = 'fleet') m;
-- profiles take an eighth of maintenance_work_mem at most
SET maintenance_work_mem = '1MB';
SELECT amad_train('many', 'SELECT 100 * copy + d AS d, ts, a FROM recurrence_test.fleet, generate_series(1, 10) copy WHERE n < 30 * 48',
	'ts', series_cols => '{d}', options => tiny('{"steps": 300}')) IS NOT NULL AS trained;
SELECT get_byte(amad_model_send(model), 52) BETWEEN 1 AND 37 AS profiles_fit FROM amad_models WHERE model_name = 'many';
RESET maintenance_work_mem;

-- ---- the end of a month: rows of six hours, a job in the evening of the last day

CREATE TABLE m AS SELECT n, timestamptz '2026-01-01 00:00+00' + n * interval '6 hours' AS ts,
	0.3 * noise(n) AS a, 0.3 * noise(-n) AS b,
	n % 4 = 3 AND extract(day FROM timestamptz '2026-01-01 00:00+00' + (n + 1) * interval '6 hours') = 1 AS job FROM generate_series(0, 4 * 330) n;
SELECT amad_train('months', options, ts, a + load(job), b + load(job)) IS NOT NULL AS trained
FROM m, tiny('{"steps": 300}') options WHERE ts < '2026-09-02' GROUP BY options;
SELECT x->>'day' AS day, (x->>'from')::float8 / 3600 AS from, (x->>'to')::float8 / 3600 AS to, (x->>'factor')::float8 > 2 AS divides
FROM jsonb_array_elements(amad_describe('months')->'recurrence') x WHERE x ? 'day' ORDER BY 1, 2;
SELECT version, count(*) FILTER (WHERE severity > 1) > 0 AS found FROM (
	SELECT version, ts, amad_score('months', ts, a + load(job), b + load(job)) OVER (PARTITION BY version ORDER BY ts) AS severity
	FROM (SELECT version, ts, a, b, CASE version WHEN 'as ever' THEN job WHEN 'none' THEN false ELSE ts = '2026-10-15 18:00+00' END AS job
		FROM m, unnest('{as ever,none,on the fifteenth}'::text[]) version WHERE ts BETWEEN '2026-08-10' AND '2026-11-02') x) y
WHERE ts > '2026-09-20' GROUP BY version ORDER BY version;
-- not with three weeks
SELECT count(*) AS days FROM jsonb_array_elements(amad_describe('job')->'recurrence') x WHERE x ? 'day';

-- ---- local time

-- a job at four in Berlin; daylight saving time ends on October 25
CREATE TABLE berlin AS SELECT n, at(n) AS ts, extract(hour FROM at(n) AT TIME ZONE 'Europe/Berlin') = 4 AS job,
	0.3 * noise(n) AS a, 0.3 * noise(-n) AS b FROM generate_series(0, 65 * 48 - 1) n;
SELECT zone, amad_train(zone, options, ts, a + load(job), b + load(job)) IS NOT NULL AS trained
FROM berlin, (VALUES ('UTC'), ('Europe/Berlin')) z(zone), LATERAL tiny(jsonb_build_object('steps', 300, 'timezone', zone)) options
WHERE n < 50 * 48 GROUP BY zone, options ORDER BY zone;
SELECT amad_describe('Europe/Berlin')->'options'->'timezone' AS timezone;
SELECT zone, count(DISTINCT n / 48) FILTER (WHERE severity > 1 AND hour BETWEEN 4 AND 6) > 5 AS most_nights
FROM (SELECT zone, n, extract(hour FROM ts AT TIME ZONE 'Europe/Berlin') AS hour,
	amad_score(zone, ts, a + load(job), b + load(job)) OVER (PARTITION BY zone ORDER BY ts) AS severity
	FROM berlin, (VALUES ('UTC'), ('Europe/Berlin')) z(zone)) x WHERE n >= 56 * 48 GROUP BY zone ORDER BY zone;
-- scores do not depend on the session's time zone
SET timezone = 'America/New_York';
CREATE TABLE scores AS SELECT n, amad_score('Europe/Berlin', ts, a + load(job), b) OVER (ORDER BY ts) AS s FROM berlin;
SET timezone = 'UTC';
SELECT count(*) AS different FROM (SELECT n, amad_score('Europe/Berlin', ts, a + load(job), b) OVER (ORDER BY ts) AS s FROM berlin) x
JOIN scores USING (n) WHERE x.s IS DISTINCT FROM scores.s;
-- a model is the same after it has been written and read
SELECT round_trip(model) FROM amad_models WHERE model_name = 'Europe/Berlin';
\set VERBOSITY default
SELECT amad_fit(tiny('{"timezone": "Europe/Berlinn"}'), ts, a) FROM r;
SELECT amad_fit(tiny('{"timezone": 1}'), ts, a) FROM r;
SELECT amad_fit(tiny('{"timezone": "Europe/Berlin"}'), ts::timestamp, a) FROM r;
SELECT amad_fit(tiny('{"timezone": "Europe/Berlin"}'), n, a) FROM r;

-- ---- holidays

CREATE TABLE holidays (name text, day date);
INSERT INTO holidays VALUES ('c', '2026-12-25'), ('a', '2026-01-01'), ('b', '2026-01-06'), ('again', '2026-01-01'), ('old', '0044-03-15 BC'), ('unknown', NULL),
	('never', 'infinity');
SET datestyle = 'German';
SELECT h, amad_train('holidays ' || number, options, ts, a, b) IS NOT NULL AS trained
FROM r, (VALUES (1, '"holidays"'::jsonb), (2, '"SELECT day + 1 AS day FROM holidays WHERE name < ''c''"'), (3, '[]'),
	(4, '["2026-05-01", "2025-05-01"]')) h(number, h), LATERAL tiny(jsonb_build_object('holidays', h)) options
GROUP BY number, h, options ORDER BY number;
SELECT model_name, amad_describe(model_name)->'options'->'holidays' AS holidays FROM amad_models
WHERE model_name LIKE 'holidays%' ORDER BY model_name;
RESET datestyle;
SELECT amad_train('x', tiny('{"holidays": "r"}'), ts, a) FROM r;
SELECT amad_train('x', tiny('{"holidays": "no_table"}'), ts, a) FROM r;
SELECT amad_train('x', tiny('{"holidays": "SELECT day FROM holidays; DROP TABLE holidays"}'), ts, a) FROM r;
SELECT amad_train('x', tiny('{"holidays": ["2026-02-30"]}'), ts, a) FROM r;
SELECT amad_train('x', tiny('{"holidays": ["infinity"]}'), ts, a) FROM r;
-- dates that depend on DateStyle, or on the day
SELECT amad_train('x', tiny('{"holidays": ["25.12.2026"]}'), ts, a) FROM r;
SELECT amad_train('x', tiny('{"holidays": ["today"]}'), ts, a) FROM r;
SELECT amad_train('x', tiny('{"holidays": [1]}'), ts, a) FROM r;
SELECT amad_train('x', tiny('{"holidays": {}}'), ts, a) FROM r;
SELECT amad_train('x', tiny('{"holidays": ["2026-01-01"]}'), n, a) FROM r;
SELECT amad_train('x', options, ts, a) FROM r,
	(SELECT tiny(jsonb_build_object('holidays', jsonb_agg(date '2000-01-01' + d))) AS options FROM generate_series(1, 4097) d) o GROUP BY options;
-- a query runs when a model is trained, not when one is only computed
SELECT amad_fit(tiny('{"holidays": "holidays"}'), ts, a) FROM r;
-- with the rights of the caller
CREATE ROLE recurrence_reader;
GRANT USAGE ON SCHEMA recurrence_test TO recurrence_reader;
GRANT SELECT ON r TO recurrence_reader;
SET ROLE recurrence_reader;
SELECT amad_train('x', tiny('{"holidays": "recurrence_test.holidays"}'), ts, a) FROM r;
RESET ROLE;

-- A holiday is like a Sunday: work on five days a week, but not on holidays
DELETE FROM holidays;
INSERT INTO holidays (day) SELECT (at(0) AT TIME ZONE 'UTC')::date + d FROM unnest('{15,51,57}'::int[]) d;
CREATE TABLE office AS SELECT n, ts, 5 * work::int + 0.5 * noise(n) AS a, 4 * work::int + 0.5 * noise(-n) AS b FROM (SELECT n, at(n) AS ts,
	n % 48 BETWEEN 16 AND 35 AND extract(isodow FROM at(n) AT TIME ZONE 'UTC') < 6
	AND (at(n) AT TIME ZONE 'UTC')::date NOT IN (SELECT day FROM holidays) AS work FROM generate_series(0, 63 * 48 - 1) n) x;
SELECT what, amad_train(what, options, ts, a, b) IS NOT NULL AS trained
FROM office, (VALUES ('no holidays', '{}'::jsonb), ('with holidays', '{"holidays": "holidays"}')) v(what, o),
	LATERAL tiny(o || '{"steps": 300}') options WHERE n < 49 * 48 GROUP BY what, options ORDER BY what;
SELECT what, count(*) FILTER (WHERE severity > 1) > 10 AS flagged
FROM (SELECT what, n, amad_score(what, ts, a, b) OVER (PARTITION BY what ORDER BY ts) AS severity
	FROM office, (VALUES ('no holidays'), ('with holidays')) v(what)) x WHERE n / 48 IN (51, 57) GROUP BY what ORDER BY what;

RESET client_min_messages;
SET client_min_messages = warning;
SELECT count(amad_drop(model_name)) AS dropped FROM (SELECT DISTINCT model_name FROM amad_models) m;
DROP SCHEMA recurrence_test CASCADE;
DROP ROLE recurrence_reader;
