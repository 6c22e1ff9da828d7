-- Types of the time column, and what must not depend on the session: time zone, DateStyle, search_path …
CREATE SCHEMA time_types_test;
SET search_path = time_types_test, public;
SET extra_float_digits = 0;

CREATE FUNCTION tiny() RETURNS jsonb IMMUTABLE LANGUAGE sql AS
$$ SELECT '{"window": 8, "d_model": 16, "heads": 2, "layers": 1, "steps": 20, "horizons": [2, 4], "advanced": {"batch_size": 2}}'::jsonb $$;

-- two years of days; local times through a night in which clocks go forward
CREATE TABLE days AS SELECT date '2025-01-01' + n AS day, sin(n * 0.2) AS a, cos(n * 0.11) + (n * 7919 % 101) / 500.0 AS b FROM generate_series(1, 558) n;
CREATE TABLE night AS SELECT timestamp '2026-03-27 00:00' + n * interval '10 min' AS ts, sin(n * 0.2) AS a, cos(n * 0.11) + (n * 7919 % 101) / 500.0 AS b FROM generate_series(1, 600) n;

SELECT amad_train('day', 'days', 'day', options => tiny())->'version' AS version;
SELECT amad_train('night', 'night', 'ts', options => tiny())->'version' AS version;
SELECT amad_train('aggregate', tiny(), day, a, b)->'version' AS version FROM days;
SELECT model_name, amad_describe(model)->>'ts_type' AS ts_type FROM amad_models ORDER BY model_name;

-- One line a session: severities, statuses and the identity of rows
CREATE FUNCTION digest() RETURNS TABLE (what text, rows bigint, digest text) LANGUAGE sql AS $$
	SELECT 'detect days', count(*), md5(string_agg(concat(encode(float8send(severity), 'hex'), status), ' ' ORDER BY n))
	FROM (SELECT row_number() OVER () AS n, * FROM amad_detect('day')) d
	UNION ALL
	SELECT 'detect night', count(*), md5(string_agg(concat(ts::text COLLATE "C" IS NULL, encode(float8send(severity), 'hex'), status), ' ' ORDER BY n))
	FROM (SELECT row_number() OVER () AS n, * FROM amad_detect('night')) d
	UNION ALL
	SELECT 'score days', count(s), md5(string_agg(encode(float8send(s), 'hex'), ' ' ORDER BY day))
	FROM (SELECT day, amad_score('aggregate', day, a, b) OVER (ORDER BY day) AS s FROM days) d
	UNION ALL
	SELECT 'score night', count(s), md5(string_agg(encode(float8send(s), 'hex'), ' ' ORDER BY ts))
	FROM (SELECT ts, amad_score('night', ts, a, b) OVER (ORDER BY ts) AS s FROM night) d
	UNION ALL
	SELECT 'events', count(*), md5(string_agg(concat(n_points, encode(float8send(peak_severity), 'hex'), top_features), ' ' ORDER BY n))
	FROM (SELECT row_number() OVER () AS n, * FROM amad_events('night', min_severity => 0.9, merge_gap => '1 day', min_duration => '1 hour')) e
	UNION ALL
	SELECT 'fit', count(*), md5(string_agg(m::text, '')) FROM (SELECT amad_fit(tiny(), day, a, b) AS m FROM days) f
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
SET search_path = time_types_test, public;
SELECT what, min(rows) AS rows, count(DISTINCT digest) AS digests, count(*) AS sessions FROM digests GROUP BY what ORDER BY what;

-- timestamps that a session shows twice are rows of their own: nothing is a duplicate, or a gap
SET timezone = 'Europe/Berlin';
SELECT count(*) AS rows, count(DISTINCT ts) < count(*) AS shown_twice, count(*) FILTER (WHERE status IN ('duplicate_ts', 'gap')) AS misplaced FROM amad_detect('night');
-- since and until are times of the session
SELECT count(*) AS rows FROM amad_detect('night', since => '2026-03-28 00:00', until => '2026-03-28 01:00');
SELECT count(*) AS rows FROM amad_detect('night', since => timestamp '2026-03-28 00:00', until => timestamp '2026-03-28 01:00');
-- the query is read in the same way in all sessions
SET DateStyle = 'SQL, DMY';
SELECT substring(amad_detect_query('night', until => '02/03/2026 01:00') FROM 'ts OPERATOR.*''') AS condition;
RESET DateStyle;
RESET timezone;

-- dates and bounds out of the range of timestamps
SELECT status, count(*) AS rows, count(severity) AS scored
FROM amad_detect('day', source => $$SELECT * FROM days UNION ALL VALUES ('infinity'::date, 1, 1), ('-infinity', 1, 1), ('5874897-12-31', 1, 1), (NULL, 1, 1)$$) GROUP BY status ORDER BY status;
SELECT amad_fit(tiny(), CASE WHEN a > 0.99 THEN '5874897-12-31' ELSE day END, a, b) FROM days;
SELECT x->'rows' AS rows, x->'rows_without_timestamp' AS without
FROM amad_train('far', $$SELECT * FROM days UNION ALL VALUES ('5874897-12-31'::date, 1, 1), (NULL, 1, 1)$$, 'day', options => tiny()) x;
CREATE TABLE far AS SELECT ts AT TIME ZONE 'UTC' AS ts, a, b FROM night UNION ALL VALUES ('294276-12-31 23:59:59+00'::timestamptz, 1, 1), ('4713-01-02 00:00:00+00 BC', 1, 1);
SET timezone = 'America/New_York';
SELECT count(*) AS rows, count(severity) AS scored, count(*) FILTER (WHERE isfinite(ts)) AS finite
FROM amad_detect('night', source => $$SELECT ts AT TIME ZONE 'UTC' AS ts, a, b FROM far$$, timestamp_col => 'ts');
RESET timezone;
SELECT (SELECT count(*) FROM amad_detect('night', since => 'infinity')) AS since_infinity, (SELECT count(*) FROM amad_detect('night', until => '-infinity')) AS until_infinity,
	(SELECT count(*) FROM amad_detect('night', since => '294276-12-31 23:00+00')) AS since_far, (SELECT count(*) FROM amad_detect('night', since => '-infinity')) AS all,
	(SELECT count(*) FROM amad_detect('night', since => '4713-01-02 BC', until => '294276-12-31')) AS all_too;
SELECT count(*) AS events FROM amad_events('night', min_severity => 0, min_duration => '178000000 years');
SELECT count(*) AS events FROM amad_events('night', min_severity => 0, merge_gap => '300000 years', cooldown => '178000000 years');

RESET search_path;
DROP SCHEMA time_types_test CASCADE;
DELETE FROM amad_models;
