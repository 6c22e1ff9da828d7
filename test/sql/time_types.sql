--
-- Types of the time column: dates, and timestamps with and without time zone. Results do not depend on the settings of
-- the session (time zone, DateStyle, search_path ...).
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA time_types_test;
SET search_path = time_types_test, public, helpers;
SET extra_float_digits = 0;

CREATE FUNCTION small() RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$ SELECT tiny('{"d_model": 16, "steps": 20}') $$;

-- 558 days, and local times through a night in which clocks go forward
CREATE TABLE days AS
SELECT date '2025-01-01' + n AS day, sin(n * 0.2) AS a, cos(n * 0.11) + (n * 7919 % 101) / 500.0 AS b
FROM generate_series(1, 558) n;
CREATE TABLE night AS
SELECT timestamp '2026-03-27 00:00' + n * interval '10 min' AS ts, sin(n * 0.2) AS a,
	cos(n * 0.11) + (n * 7919 % 101) / 500.0 AS b
FROM generate_series(1, 600) n;

SELECT amad_train('day', 'days', 'day', options => small())->'version' AS version;
SELECT amad_train('night', 'night', 'ts', options => small())->'version' AS version;
SELECT amad_train('aggregate', small(), day, a, b)->'version' AS version FROM days;
-- dates are timestamps at midnight
SELECT model_name, amad_describe(model)->>'ts_type' AS ts_type FROM amad_models ORDER BY model_name;

-- ---- sessions with different settings

-- Digests of results: severities to the bit, statuses, order of rows
CREATE FUNCTION digest() RETURNS TABLE (what text, rows bigint, digest text) LANGUAGE sql AS $$
	SELECT 'detect days', count(*), md5(string_agg(concat(encode(float8send(severity), 'hex'), status), ' ' ORDER BY n))
	FROM (SELECT row_number() OVER () AS n, * FROM amad_detect('day')) d
	UNION ALL
	SELECT 'detect night', count(*),
		md5(string_agg(concat(ts IS NULL, encode(float8send(severity), 'hex'), status), ' ' ORDER BY n))
	FROM (SELECT row_number() OVER () AS n, * FROM amad_detect('night')) d
	UNION ALL
	SELECT 'score days', count(s), md5(string_agg(encode(float8send(s), 'hex'), ' ' ORDER BY day))
	FROM (SELECT day, amad_score('aggregate', day, a, b) OVER (ORDER BY day) AS s FROM days) d
	UNION ALL
	SELECT 'score night', count(s), md5(string_agg(encode(float8send(s), 'hex'), ' ' ORDER BY ts))
	FROM (SELECT ts, amad_score('night', ts, a, b) OVER (ORDER BY ts) AS s FROM night) d
	UNION ALL
	SELECT 'events', count(*),
		md5(string_agg(concat(n_points, encode(float8send(peak_severity), 'hex'), top_features), ' ' ORDER BY n))
	FROM (SELECT row_number() OVER () AS n, *
		FROM amad_events('night', min_severity => 0.1, merge_gap => '1 day', min_duration => '1 hour')) e
	UNION ALL
	SELECT 'fit', count(*), md5(string_agg(m::text, '')) FROM (SELECT amad_fit(small(), day, a, b) AS m FROM days) f
	UNION ALL
	SELECT 'evaluate', 1, md5(amad_evaluate(day, a, b > 0.9)::text) FROM days $$;
CREATE TABLE digests AS SELECT 'UTC' AS session, * FROM digest();
SET timezone = 'America/New_York';
INSERT INTO digests SELECT 'New York', * FROM digest();
SET timezone = 'Europe/Berlin';
SET DateStyle = 'SQL, DMY';
SET extra_float_digits = -10;
INSERT INTO digests SELECT 'Berlin', * FROM digest();
SET timezone = 'Asia/Kolkata';
SET DateStyle = 'Postgres, MDY';
SET IntervalStyle = 'sql_standard';
SET bytea_output = 'escape';
INSERT INTO digests SELECT 'Kolkata', * FROM digest();
RESET ALL;
SET search_path = time_types_test, public, helpers;
-- all sessions have the same results
SELECT what, min(rows) AS rows, count(DISTINCT digest) AS digests, count(*) AS sessions
FROM digests GROUP BY what ORDER BY what;

-- ---- an hour that the session's time zone lacks

-- two local times that are shown as the same time are rows of their own: neither is a duplicate, and there is no gap
SET timezone = 'Europe/Berlin';
SELECT count(*) AS rows, count(DISTINCT ts) < count(*) AS shown_twice,
	count(*) FILTER (WHERE status IN ('duplicate_ts', 'gap')) AS misplaced
FROM amad_detect('night');
-- since and until are times of the session
SELECT count(*) AS rows FROM amad_detect('night', since => '2026-03-28 00:00', until => '2026-03-28 01:00');
SELECT count(*) AS rows
FROM amad_detect('night', since => timestamp '2026-03-28 00:00', until => timestamp '2026-03-28 01:00');
-- the query has its bounds in ISO format, which all sessions read in the same way
SET DateStyle = 'SQL, DMY';
SELECT substring(amad_detect_query('night', until => '02/03/2026 01:00') FROM 'ts OPERATOR.*''') AS condition;
RESET DateStyle;
RESET timezone;

-- ---- dates and bounds outside the range of timestamps

-- such rows, and those without a date, are invalid
SELECT status, count(*) AS rows, count(severity) AS scored
FROM amad_detect('day', source => $$SELECT * FROM days UNION ALL VALUES ('infinity'::date, 1, 1), ('-infinity', 1, 1),
	('5874897-12-31', 1, 1), (NULL, 1, 1)$$)
GROUP BY status ORDER BY status;
-- amad_fit refuses them
SELECT amad_fit(small(), CASE WHEN a > 0.99 THEN '5874897-12-31' ELSE day END, a, b) FROM days;
-- training from a source omits and counts them
SELECT x->'rows' AS rows, x->'rows_without_timestamp' AS without
FROM amad_train('far', $$SELECT * FROM days UNION ALL VALUES ('5874897-12-31'::date, 1, 1), (NULL, 1, 1)$$, 'day',
	options => small()) x;
-- local times at the ends of the range: the last is shown as infinite, because its time in UTC is out of the range
CREATE TABLE far AS
SELECT ts AT TIME ZONE 'UTC' AS ts, a, b FROM night
UNION ALL
VALUES ('294276-12-31 23:59:59+00'::timestamptz, 1, 1), ('4713-01-02 00:00:00+00 BC', 1, 1);
SET timezone = 'America/New_York';
SELECT count(*) AS rows, count(severity) AS scored, count(*) FILTER (WHERE isfinite(ts)) AS finite
FROM amad_detect('night', source => $$SELECT ts AT TIME ZONE 'UTC' AS ts, a, b FROM far$$, timestamp_col => 'ts');
RESET timezone;
-- bounds that exclude all rows
SELECT count(*) AS since_infinity FROM amad_detect('night', since => 'infinity');
SELECT count(*) AS until_infinity FROM amad_detect('night', until => '-infinity');
SELECT count(*) AS since_far FROM amad_detect('night', since => '294276-12-31 23:00+00');
-- bounds that include all rows
SELECT count(*) AS all FROM amad_detect('night', since => '-infinity');
SELECT count(*) AS all_too FROM amad_detect('night', since => '4713-01-02 BC', until => '294276-12-31');
-- durations that reach beyond the range: no event is as long, all rows are within such a gap
SELECT count(*) AS events FROM amad_events('night', min_severity => 0, min_duration => '178000000 years');
SELECT count(*) AS events
FROM amad_events('night', min_severity => 0, merge_gap => '300000 years', cooldown => '178000000 years');

RESET search_path;
DROP SCHEMA time_types_test CASCADE;
DELETE FROM amad_models;
