--
-- The argument series: several values of a column, several objects, and values of each type of column.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA series_values_test;
SET search_path = series_values_test, public, helpers;
SET client_min_messages = warning;
SET amad.max_parallel_workers = 0;
SET timezone = 'UTC';

CREATE TABLE readings (site text, device int, ts timestamptz, flow float8);
INSERT INTO readings
SELECT s, CASE WHEN d < 4 THEN d END, '2026-01-01'::timestamptz + n * interval '1 min', sin(n / 7.0) * d + noise(n * d)
FROM unnest('{a,b}'::text[]) s, generate_series(1, 4) d, generate_series(1, 200) n;
CREATE INDEX ON readings (device, ts);
SELECT amad_train('fleet', 'readings', series_cols => '{site,device}', options => tiny())->'series' AS series;

-- which series are read for a filter
CREATE FUNCTION found(filter jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(DISTINCT concat(series->>'site', coalesce(series->>'device', '-')), ' '
		ORDER BY concat(series->>'site', coalesce(series->>'device', '-')))
	FROM amad_detect('fleet', last_n => 1, series => filter) $$;
SELECT found('{}'), found('{"device": 2}') AS one, found('{"device": "2"}') AS text, found('{"device": null}') AS null;
SELECT found('{"device": [1, 3]}') AS two, found('{"device": [1, "3", 1]}') AS mixed, found('{"device": [3, null]}') AS "null too",
	found('{"device": [null]}') AS "only null", found('{"device": [77]}') AS unknown;
SELECT found('{"site": ["a", "b"], "device": [2, 3]}') AS product, found('{"site": "b", "device": [2, 3]}') AS one_site;
SELECT found('[{"site": "a", "device": 1}, {"site": "b", "device": 2}]') AS objects,
	found('[{"site": "a", "device": [1, 2]}, {"device": null}]') AS mixed, found('[{"site": "a"}]') AS one, found('[{}]') AS "all";
-- an empty array selects nothing
SELECT found('[]') AS none, found('{"device": []}') AS no_value, found('[{"device": []}, {"device": 1}]') AS one;

-- events, silences included, drift and recalibration
SELECT DISTINCT series FROM amad_events('fleet', series => '[{"site": "a", "device": [1, 2]}, {"site": "b", "device": 3}]',
	min_severity => 0) ORDER BY series;
SELECT kind, series FROM amad_events('fleet', source => 'SELECT * FROM readings WHERE device = 1',
	timestamp_col => 'ts', series => '[{"site": "a", "device": [1, 2]}, {"site": "b", "device": [null, 3]}]',
	silence => '1 hour', since => '2026-01-01', until => '2026-01-01 03:00') WHERE kind LIKE 'silen%' ORDER BY series;
SELECT count(*) FROM amad_events('fleet', source => 'SELECT * FROM readings WHERE device = 1', timestamp_col => 'ts',
	series => '[]', silence => '1 hour', since => '2026-01-01', until => '2026-01-01 03:00');
SELECT DISTINCT series FROM amad_drift('fleet', series => '{"device": [1, 3], "site": "a"}') ORDER BY series;
SELECT s->'series' AS calibrated, s->'series_unchanged' AS others
FROM amad_recalibrate('fleet', series => '[{"site": "a", "device": 1}, {"site": "b", "device": 2}]') s;

-- the index on the series is used
SET enable_seqscan = off;
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE 'EXPLAIN (COSTS off) ' || query;
END $$;
SELECT amad_detect_query('fleet', series => '{"device": [2, 3], "site": "it''s"}');
SELECT trim(p) AS index FROM plan(amad_detect_query('fleet', series => '{"device": [2, 3]}')) p WHERE p ~ 'Index Cond';

\set SHOW_CONTEXT never
-- a value that does not fit, a column that is no series column, and other JSON
SELECT found('{"device": "x"}');
SELECT found('{"device": [1, 3000000000]}');
SELECT found('{"device": [1, 2.5]}');
SELECT found('{"device": [[1]]}');
SELECT found('[{"device": 1}, {"devise": 2}]');
SELECT found('[1]');
SELECT found('[[{"device": 1}]]');
SELECT found('"a"');

-- other types of series columns; values of array types are written as text
CREATE TYPE color AS ENUM ('red', 'green');
CREATE DOMAIN small_text AS varchar(3) CHECK (value <> 'bad');
CREATE DOMAIN warm AS color;
CREATE TABLE typed AS SELECT n, ts, flow, ARRAY[device, 1] AS list, jsonb_build_array(device) AS doc, ts::date AS day,
	(CASE device WHEN 1 THEN 'red' ELSE 'green' END)::color AS color, device::text::small_text AS dom, int4range(0, device) AS range,
	(ARRAY[true, false])[device % 2 + 1] AS flag, (CASE device WHEN 1 THEN 'red' ELSE 'green' END)::color::warm AS warm,
	('x' || device)::char(5) AS padded, device::bit(3) AS bits
FROM (SELECT row_number() OVER (ORDER BY ts) AS n, ts, device, flow FROM readings WHERE site = 'a' AND device IS NOT NULL) r;
SELECT c, amad_train(c, 'typed', 'n', '{flow}', ARRAY[c], options => tiny('{"max_gap": 10}'))->'series' AS series
FROM unnest('{list,doc,day,color,dom,range,flag,warm,padded,bits}'::text[]) c;
SELECT c, (SELECT string_agg(DISTINCT series->>c, ' ') FROM amad_detect_bigint(c, last_n => 1, series => f)) AS found
FROM (VALUES ('list', '{"list": ["{2,1}", "{3,1}"]}'::jsonb), ('list', '{"list": "{2,1}"}'), ('doc', '{"doc": [[2], [3]]}'),
	('day', '{"day": ["2026-01-01", "2026-01-09"]}'), ('color', '{"color": ["red"]}'), ('dom', '{"dom": [1, "3"]}'),
	('range', '{"range": ["[0,1)", "empty"]}'), ('flag', '{"flag": [true]}'),
	('warm', '{"warm": "red"}'), ('warm', '{"warm": ["red", "green"]}'), ('padded', '{"padded": "x1"}'),
	('padded', '{"padded": ["x2  ", "x3"]}'), ('bits', '{"bits": ["001", "010"]}')) v(c, f);
-- by count and index
CREATE INDEX ON typed (warm, n);
SELECT count(*) AS newest FROM amad_detect_bigint('warm', last_n => 1);
SELECT count(*) AS newest FROM amad_detect_bigint('warm', since => 1500);

SELECT count(*) FROM amad_detect_bigint('color', series => '{"color": ["red", "blue"]}');
SELECT count(*) FROM amad_detect_bigint('day', series => '{"day": "someday"}');

-- functions of the column's type cannot change the role, as the source is stored
CREATE SEQUENCE role_reset;
CREATE FUNCTION resets_role(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('role', 'none', false);
	PERFORM nextval('series_values_test.role_reset');
	RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
	RETURN true;
END $$;
CREATE DOMAIN hostile AS text CHECK (series_values_test.resets_role(value));
CREATE TYPE hostile_pair AS (a hostile, b int);
CREATE TABLE hostile_rows AS SELECT ROW(device, 1)::hostile_pair AS device, ts, flow FROM readings WHERE site = 'a';
CREATE INDEX ON hostile_rows (device, ts);
SELECT amad_train('hostile', 'hostile_rows', 'ts', '{flow}', '{device}', options => tiny())->'series' AS series;
ALTER SEQUENCE role_reset RESTART;
SELECT count(*) FROM amad_detect('hostile', series => '{"device": "(1,1)"}');
SELECT count(*) FROM amad_detect('hostile', since => '2026-01-01 03:00', series => '{"device": "(1,1)"}');
SELECT count(amad_detect_query('hostile', since => '2026-01-01 03:00', series => '{"device": "(1,1)"}'));
SELECT is_called FROM role_reset;

-- a value is read by the settings of the session, also when a plan has been kept
CREATE TABLE days AS SELECT '2026-03-01'::date + n AS device, ts, flow FROM (SELECT DISTINCT ON (ts) ts, flow FROM readings WHERE flow IS NOT NULL ORDER BY ts, flow) r, generate_series(1, 2) n;
SELECT amad_train('days', 'days', 'ts', '{flow}', '{device}', options => tiny())->'series' AS series;
SET datestyle = 'ISO, DMY';
SELECT DISTINCT series FROM amad_detect('days', series => '{"device": "02/03/26"}');
SET datestyle = 'ISO, MDY';
SELECT DISTINCT series FROM amad_detect('days', series => '{"device": "02/03/26"}');
SELECT DISTINCT series FROM amad_detect('days', series => '{"device": "03/02/26"}');
RESET datestyle;

DROP SCHEMA series_values_test CASCADE;
DELETE FROM amad_models;
