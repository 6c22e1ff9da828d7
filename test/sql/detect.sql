--
-- Detection on sources: ranges, series, unusual rows, other sources, columns that changed.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA detect_test;
SET search_path = detect_test, public, helpers;
SET client_min_messages = warning;
SET amad.max_parallel_workers = 0;
SET timezone = 'UTC';
CREATE FUNCTION small(more jsonb DEFAULT '{}') RETURNS jsonb IMMUTABLE LANGUAGE sql AS $$
	SELECT '{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "horizons": [2, 8], "steps": 20, "fill_limit": 5,
		"contamination": 0.05}' || more $$;

CREATE TABLE readings (device text, ts timestamptz, flow float8, pressure real, temp numeric);
INSERT INTO readings
SELECT d, '2026-01-01'::timestamptz + n * interval '1 min', sin(n / 7.0) * ascii(d) + noise(n),
	cos(n / 9.0) + noise(n + 1000),
	n % 5 + noise(n + ascii(d))
FROM unnest('{a,b,c}'::text[]) d, generate_series(1, 500) n;
CREATE VIEW one AS SELECT ts, flow, pressure, temp FROM readings WHERE device = 'a';
SELECT amad_train('fleet', 'readings', series_cols => '{device}', options => small())->'warmup' AS warmup;
SELECT amad_train('one', 'one', options => small())->'warmup' AS warmup;

-- faults after the training, so that there are anomalies
UPDATE readings SET flow = flow + 1000 WHERE device IN ('a', 'b') AND ts BETWEEN '2026-01-01 05:00' AND '2026-01-01 05:10';

-- ---- rows
-- one row for each row of the source, in the order of series and time
SELECT series, count(*), count(severity), count(*) FILTER (WHERE status = 'warmup') AS warmup, min(ts), max(ts)
FROM amad_detect('fleet') GROUP BY series ORDER BY series;
SELECT count(*) AS out_of_order FROM (SELECT (series, ts) < lag((series, ts)) OVER (ORDER BY n) AS back FROM (
	SELECT series->>'device' AS series, ts, ordinality AS n FROM amad_detect('fleet') WITH ORDINALITY) x) y WHERE back;
-- the columns
SELECT * FROM amad_detect('one') LIMIT 0;
-- the columns agree with each other
SELECT bool_and(series IS NULL) AS no_series,
	bool_and(abs(severity / severity_of(anomaly_score / threshold) - 1) < 1e-12) AS severity,
	bool_and(is_anomaly = (severity > 1)) AS anomaly, count(DISTINCT is_anomaly) AS both,
	bool_and(model_version = 1) AS version FROM amad_detect('one');
-- the scores and results are those of the window functions
SELECT count(*) AS rows, count(d.severity) AS scored,
	count(*) FILTER (WHERE float8send(s.severity) IS DISTINCT FROM float8send(d.severity)) AS differ
FROM (SELECT device, ts, amad_score('fleet', to_jsonb(device), ts, flow, pressure, temp)
		OVER (PARTITION BY device ORDER BY ts) AS severity FROM readings) s
JOIN amad_detect('fleet') d ON d.ts = s.ts AND d.series->>'device' = s.device;
SELECT count(*) AS rows, count(*) FILTER (WHERE to_jsonb(e.r) IS DISTINCT FROM to_jsonb((d.anomaly_score, d.threshold,
	d.severity, d.is_anomaly, d.expected_values, d.expected_lower, d.expected_upper, d.contributions, d.direction, d.imputed, d.status,
	d.model_version)::amad_result)) AS differ
FROM (SELECT device, ts, amad_explain('fleet', jsonb_build_object('device', device), ts, flow, pressure, temp)
		OVER (PARTITION BY device ORDER BY ts) AS r FROM readings) e
JOIN amad_detect('fleet') d ON d.ts = e.ts AND d.series->>'device' = e.device;
-- without explanations
SELECT count(severity) AS scored, count(expected_values) AS expected, count(contributions) AS shares,
	count(direction) AS directions FROM amad_detect('fleet', "explain" => false);
-- only_anomalies returns all anomalies, and only these
SELECT count(*) AS all, (SELECT count(*) FROM amad_detect('fleet') WHERE is_anomaly) AS anomalies
FROM amad_detect('fleet', only_anomalies => true);
-- nulls mean the defaults
SELECT count(*) FROM amad_detect('fleet', only_anomalies => NULL, "explain" => NULL, since => NULL, last_n => NULL,
	series => NULL);

-- ---- ranges
CREATE TABLE known AS SELECT series->>'device' AS device, ts, float8send(severity) AS bits FROM amad_detect('fleet');
CREATE FUNCTION same(since timestamptz, until timestamptz, OUT rows bigint, OUT scored bigint, OUT differ bigint)
LANGUAGE sql AS $$
	SELECT count(*), count(d.severity), count(*) FILTER (WHERE float8send(d.severity) IS DISTINCT FROM k.bits)
	FROM amad_detect('fleet', since, until) d JOIN known k ON k.ts = d.ts AND k.device = d.series->>'device' $$;
-- a range has the scores of the whole, and no warm-up of its own; until is exclusive
SELECT s.* FROM same('2026-01-01 04:00', NULL) s;
SELECT s.* FROM same('2026-01-01 04:00', '2026-01-01 04:30') s;
SELECT s.* FROM same(NULL, '2026-01-01 04:30') s;
-- ranges that begin anywhere have the same scores
SELECT count(*) AS ranges, sum(rows) AS rows, sum(scored) AS scored, sum(differ) AS differ
FROM generate_series(1, 500, 7) n,
	LATERAL same('2026-01-01'::timestamptz + n * interval '1 min',
		'2026-01-01'::timestamptz + (n + 20) * interval '1 min') s;
-- the last rows of each series
SELECT series, min(ts), count(severity) AS scored FROM amad_detect('fleet', last_n => 3) GROUP BY series
ORDER BY series;
SELECT count(*) FILTER (WHERE float8send(d.severity) IS DISTINCT FROM k.bits) AS differ
FROM amad_detect('fleet', last_n => 300) d JOIN known k ON k.ts = d.ts AND k.device = d.series->>'device';
-- the last rows before a time
SELECT count(*) FROM amad_detect('fleet', last_n => 10, until => '2026-01-01 04:00');
-- ranges without rows, and with all rows
SELECT count(*) FROM amad_detect('fleet', since => '2030-01-01');
SELECT count(*) FROM amad_detect('fleet', since => '-infinity', until => 'infinity');
-- a model whose scores do not depend on earlier rows: no rows are kept
SELECT amad_train('memoryless', 'one', options => '{"method": "zscore", "horizons": [1], "fill_limit": 0}')->'warmup'
	AS warmup;
SELECT count(*) AS rows, count(severity) AS scored FROM amad_detect('memoryless', since => '2026-01-01 08:00');
-- invalid ranges
SELECT count(*) FROM amad_detect('fleet', last_n => 0);
SELECT count(*) FROM amad_detect('fleet', last_n => 10, since => '2026-01-01');
-- one series; series that do not exist
SELECT series, count(*) FROM amad_detect('fleet', series => '{"device": "b"}') GROUP BY series;
SELECT count(*) FROM amad_detect('fleet', series => '{"device": "z"}');
SELECT count(*) FROM amad_detect('fleet', series => '{"device": null}');
-- series must be an object of series columns
SELECT count(*) FROM amad_detect('fleet', series => '{"devise": "b"}');
SELECT count(*) FROM amad_detect('fleet', series => '"b"');
SELECT count(*) FROM amad_detect('one', series => '{"device": "b"}');

-- ---- types of time
CREATE TABLE times AS SELECT n, '2026-03-28'::timestamp + n * interval '10 min' AS local, ts, flow
FROM (SELECT row_number() OVER (ORDER BY ts) AS n, ts, flow FROM one) x;
SELECT amad_train('int', 'times', 'n', '{flow}', options => small())->'rows' AS rows;
SELECT amad_train('local', 'times', 'local', '{flow}', options => small())->'rows' AS rows;
SELECT min(ts), max(ts), count(severity) FROM amad_detect_bigint('int', since => 100, until => 200);
SELECT min(ts), max(ts), count(severity) FROM amad_detect('local', since => '2026-03-29 00:00');
-- bounds of type timestamp or date
SELECT count(*), min(ts) FROM amad_detect('local', since => timestamp '2026-03-29 00:00', until => date '2026-03-30');
-- in UTC each local time is shown as it is stored
SELECT count(*) AS rows, count(local) AS same
FROM amad_detect('local') d LEFT JOIN times ON local = d.ts AT TIME ZONE 'UTC';
-- where the session's time zone lacks an hour, its local times are shown as those of the next one
SET timezone = 'Europe/Berlin';
SELECT count(*), count(DISTINCT ts), count(severity)
FROM amad_detect('local', since => '2026-03-29 00:00', until => '2026-03-29 06:00');
SET timezone = 'UTC';
-- the function must fit the type of the time column
SELECT * FROM amad_detect('int');
SELECT * FROM amad_detect_bigint('local');
SELECT * FROM amad_detect('fleet', since => 5);

-- ---- unusual rows
CREATE TABLE odd AS SELECT row_number() OVER (ORDER BY ts) AS i, * FROM one;
INSERT INTO odd VALUES (501, NULL, 1, 1, 1), (502, 'infinity', 1, 1, 1), (503, '-infinity', 1, 1, 1);
INSERT INTO odd SELECT 504, ts, flow, pressure, temp FROM odd WHERE i = 100;
UPDATE odd SET flow = 'NaN', temp = NULL WHERE i = 200;
UPDATE odd SET flow = NULL, pressure = NULL, temp = NULL WHERE i = 210;
UPDATE odd SET temp = NULL WHERE i BETWEEN 300 AND 320;
DELETE FROM odd WHERE i BETWEEN 400 AND 420;
-- each unusual row has the status of its kind; the gap begins a new warm-up
SELECT status, count(*), count(severity), min(ts), max(ts) FROM amad_detect('one', source => 'odd') GROUP BY status
ORDER BY status;
-- missing values do not contribute; a row without any value has no severity
SELECT ts, severity IS NULL AS no_severity, imputed, contributions->'temp' AS temp
FROM amad_detect('one', source => 'odd')
WHERE ts BETWEEN '2026-01-01 03:20' AND '2026-01-01 03:30' AND imputed IS NOT NULL;
-- the scores are the same wherever the range begins
SELECT count(*) AS rows, count(*) FILTER (WHERE float8send(d.severity) IS DISTINCT FROM float8send(k.severity))
	AS differ
FROM amad_detect('one', source => 'odd') k, generate_series(1, 480, 13) n,
	LATERAL (SELECT * FROM amad_detect('one', since => '2026-01-01'::timestamptz + n * interval '1 min',
		until => '2026-01-01'::timestamptz + (n + 3) * interval '1 min', source => 'odd')) d
WHERE k.ts = d.ts AND k.status IS DISTINCT FROM 'duplicate_ts' AND d.status IS DISTINCT FROM 'duplicate_ts';
-- a series that is not in the model is scored with the figures of all series; its rows are no anomalies
INSERT INTO readings SELECT 'new', ts, flow, pressure, temp FROM readings WHERE device = 'a';
SELECT status, count(*), count(severity), count(is_anomaly) FROM amad_detect('fleet', series => '{"device": "new"}')
GROUP BY status ORDER BY status;
SELECT count(*) FILTER (WHERE severity > 1) > 0 AS severe FROM amad_detect('fleet', series => '{"device": "new"}');
SELECT count(*) FROM amad_detect('fleet', series => '{"device": "new"}', only_anomalies => true);
-- amad_score gives the same severity; amad_explain reports the status
SELECT count(*) FILTER (WHERE severity IS DISTINCT FROM amad_score) AS differ,
	count(*) FILTER (WHERE (e).status IS DISTINCT FROM d.status OR (e).is_anomaly IS NOT NULL) AS unequal
FROM amad_detect('fleet', series => '{"device": "new"}') d JOIN (
	SELECT ts, amad_score('fleet', to_jsonb(device), ts, flow, pressure, temp) OVER (ORDER BY ts),
		amad_explain('fleet', to_jsonb(device), ts, flow, pressure, temp) OVER (ORDER BY ts) AS e
	FROM readings WHERE device = 'new') s USING (ts);

-- ---- other sources
-- rows in any order, columns in any order, additional columns
SELECT count(severity) FROM amad_detect('one',
	source => 'SELECT * FROM readings WHERE device = ''b'' ORDER BY random()');
SELECT count(severity) FROM amad_detect('one', source => 'SELECT ts AS x, ts, temp, flow, pressure FROM one',
	timestamp_col => 'x');
SELECT count(severity) FROM amad_detect('one', source => 'readings');
-- missing and unsuitable columns
SELECT count(*) FROM amad_detect('one', source => 'times');
SELECT count(*) FROM amad_detect('fleet', source => 'one');
SELECT count(*) FROM amad_detect('one', source => 'SELECT ts, flow, pressure, temp::text FROM one');
SELECT count(*) FROM amad_detect('one', source => 'SELECT 1 FROM one');
-- an error of the source
SELECT count(*) FROM amad_detect('one', source => 'SELECT ts, flow, pressure, 1 / 0 AS temp FROM one');
-- no such model
SELECT count(*) FROM amad_detect('nosuch');
SELECT count(*) FROM amad_detect(NULL);
-- a model of the aggregate needs a source in the call
SELECT amad_train('agg', small('{"features": ["flow", "temp"]}'), ts, flow, temp)->'version' AS version
FROM one;
SELECT count(*) FROM amad_detect('agg');
SELECT count(severity) FROM amad_detect('agg', source => 'one');
-- and names of features
SELECT amad_train('unnamed', small(), ts, flow, temp)->'version' AS version FROM one;
SELECT count(*) FROM amad_detect('unnamed', source => 'one');

-- ---- in statements
-- scores stored in the table itself
ALTER TABLE readings ADD severity float8;
UPDATE readings r SET severity = d.severity FROM amad_detect('fleet') d
WHERE r.ts = d.ts AND r.device = d.series->>'device';
SELECT count(severity) FROM readings;
CREATE TABLE anomalies AS SELECT * FROM amad_detect('fleet', only_anomalies => true);
-- a prepared statement
PREPARE p(timestamptz) AS SELECT count(*) FROM amad_detect('fleet', since => $1);
EXECUTE p('2026-01-01 08:00');
EXECUTE p('2026-01-01 08:10');
DEALLOCATE p;
-- several calls in one query
SELECT count(*) FROM unnest('{a,b}'::text[]) x, amad_detect('fleet', series => jsonb_build_object('device', x));
-- in the select list
SELECT count(*) FROM (SELECT (amad_detect('one')).ts) x;
-- with little memory
SET work_mem = '128kB';
SELECT count(*) FROM amad_detect('fleet');
SET work_mem = '1MB';
SELECT count(severity) FROM amad_detect('fleet');
RESET work_mem;

-- ---- the query
-- a range is extended to the rows that its scores depend on
SELECT amad_detect_query('fleet');
SELECT amad_detect_query('fleet', since => '2026-01-01 08:00', until => '2026-01-01 09:00',
	series => '{"device": "it''s"}');
SELECT amad_detect_query('one', last_n => 5);
SELECT amad_detect_query('fleet', last_n => 5);
SELECT amad_detect_query_bigint('int', since => 400);
-- partitions outside the range are not read
CREATE TABLE parts (ts timestamptz, flow float8, pressure real, temp numeric) PARTITION BY RANGE (ts);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01 00:00') TO ('2026-01-01 02:00');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-01-01 02:00') TO ('2026-01-01 06:00');
CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM ('2026-01-01 06:00') TO ('2026-01-02 00:00');
INSERT INTO parts SELECT ts, flow, pressure, temp FROM one;
SELECT amad_train('parts', 'parts', options => small('{"max_gap": "2 min"}'))->'rows' AS rows;
DO $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || amad_detect_query('parts', since => '2026-01-01 07:30',
		until => '2026-01-01 07:40') LOOP
		IF line ~ 'parts_' THEN RAISE WARNING '%', regexp_replace(line, '^.*(parts_\d).*$', 'reads \1'); END IF;
	END LOOP;
END $$;
SELECT count(*), count(severity) FROM amad_detect('parts', since => '2026-01-01 07:30', until => '2026-01-01 07:40');

-- ---- columns that changed
-- a renamed column and a column of another type are errors
ALTER TABLE parts RENAME flow TO flux;
SELECT count(*) FROM amad_detect('parts');
ALTER TABLE parts RENAME flux TO flow;
ALTER TABLE parts DROP pressure, ADD pressure text;
SELECT count(*) FROM amad_detect('parts');
-- another numeric type, another order and more columns do not matter
ALTER TABLE parts DROP pressure, ADD extra int, ADD pressure numeric DEFAULT 1;
SELECT count(severity) FROM amad_detect('parts');
-- a renamed table is an error
ALTER TABLE parts RENAME TO pieces;
SELECT count(*) FROM amad_detect('parts');

-- ---- rights
CREATE ROLE amad_detector;
-- another role does not see the model
SET ROLE amad_detector;
SELECT count(*) FROM amad_detect('one');
RESET ROLE;
DROP OWNED BY amad_detector;
DROP ROLE amad_detector;

DELETE FROM amad_models;
DROP SCHEMA detect_test CASCADE;
