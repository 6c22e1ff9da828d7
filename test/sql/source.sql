-- Training by the name of a source: columns, fleets, unusual rows, versions
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA source_test;
SET search_path = source_test, public, helpers;
SET client_min_messages = warning;
SET maintenance_work_mem = '64MB';
SET amad.max_parallel_workers = 0;
\set o '{"window": 8, "d_model": 8, "heads": 2, "layers": 1, "horizons": [2, 8], "steps": 3}'

CREATE TABLE readings (
	id bigint GENERATED ALWAYS AS IDENTITY,
	device text,
	ts timestamptz,
	flow float8,
	pressure real,
	temp numeric,
	note text,
	PRIMARY KEY (device, ts)
);
INSERT INTO readings (device, ts, flow, pressure, temp, note)
SELECT d, '2026-01-01 00:00+00'::timestamptz + n * interval '1 min', sin(n / 7.0) * ascii(d) + noise(n),
	cos(n / 9.0) + noise(n + 1000), n % 5 + noise(n + ascii(d)), 'x'
FROM unnest('{a,b,c}'::text[]) d, generate_series(1, 400) n;
CREATE VIEW one AS SELECT ts, flow, pressure, temp FROM readings WHERE device = 'a';

-- ---- columns
-- by default, every numeric column except keys and identity columns, and the only time column
SELECT s - '{seconds,core,threshold,loss}'::text[] AS summary
FROM amad_train('fleet', 'readings', series_cols => '{device}', options => :'o') s;
SELECT source, features FROM amad_models WHERE model_name = 'fleet';
-- columns by name, in any order; the model stores what was specified
SELECT amad_train('one', 'one', 'ts', '{temp,flow}', options => :'o')->'features' AS features;
SELECT source, features FROM amad_models WHERE model_name = 'one';
-- the model is that of the aggregate
SELECT count(*) AS tensors, bool_and(a.data = b.data) AS same
FROM amad_weights((SELECT model FROM amad_models WHERE model_name = 'one')) a
JOIN amad_weights((SELECT amad_fit(:'o'::jsonb, ts, temp, flow) FROM one)) b USING (name, shape);
-- queries that end in a semicolon or a comment
SELECT amad_train('q', $$ SELECT ts, flow AS "Flow %", -flow AS "select" FROM readings WHERE device = 'b' ; $$,
	options => :'o')->'rows' AS rows;
SELECT amad_train('q', $$(VALUES ('2026-01-01'::timestamptz, 1.0))$$, options => :'o');
SELECT amad_train('q', 'WITH x AS (TABLE one) SELECT * FROM x -- comment', options => :'o')->'version' AS version;
SELECT source->>'source' AS source, features FROM amad_models WHERE model_name = 'q' ORDER BY version;
-- names that look like keywords
CREATE TABLE "select me" AS SELECT ts AS "Ts", flow AS "order" FROM one;
CREATE TABLE selected AS TABLE one;
SELECT amad_train('kw', '"select me"', options => :'o')->'features' AS features;
SELECT amad_train('kw', 'selected', options => :'o')->'features' AS features;
-- the search_path of the training is not needed later
CREATE SCHEMA "my schema";
SET search_path = "my schema", source_test, public, helpers;
CREATE TABLE here AS TABLE one;
SELECT amad_train('here', 'here', options => :'o')->'version' AS version;
SET search_path = source_test, public, helpers;
SELECT source->'source' AS source FROM amad_models WHERE model_name = 'here';
SELECT count(*) FROM amad_detect('here', last_n => 3);

-- all wrong columns are listed
SELECT amad_train('x', 'readings', feature_cols => '{flow,presure,note,device}', series_cols => '{devise}',
	options => :'o');
SELECT amad_train('x', 'readings', 'note', '{flow}', options => :'o');
SELECT amad_train('x', 'readings', feature_cols => '{flow,flow}', options => :'o');
SELECT amad_train('x', 'readings', feature_cols => '{flow,device}', series_cols => '{device}', options => :'o');
SELECT amad_train('x', 'readings', series_cols => '{device,device}', options => :'o');
SELECT amad_train('x', 'readings', feature_cols => '{flow,NULL}', options => :'o');
SELECT amad_train('x', 'SELECT ts, flow, flow FROM one', feature_cols => '{flow}', options => :'o');
SELECT amad_train('x', 'SELECT flow FROM one', options => :'o');
SELECT amad_train('x', 'SELECT ts, ts::date AS day, flow FROM one', options => :'o');
SELECT amad_train('x', 'SELECT ts, note FROM readings', options => :'o');
SELECT amad_train('x', 'nosuch', options => :'o');
SELECT amad_train('x', 'no.such.thing.here', options => :'o');
SELECT amad_train('x', 'SELECT nosuch FROM one', options => :'o');
SELECT amad_train('x', 'SELECT 1; SELECT 2', options => :'o');
SELECT amad_train('x', 'SELECT ts, flow FROM one) AS s; DROP TABLE one; --', options => :'o');
SELECT amad_train('x', 'DELETE FROM one RETURNING *', options => :'o');
SELECT amad_train('x', 'WITH d AS (DELETE FROM selected RETURNING *) SELECT * FROM d', options => :'o');
SELECT amad_train('x', 'SELECT * FROM one WHERE false', options => :'o');
SELECT amad_train(NULL, 'one');
SELECT amad_train('', 'one');
SELECT amad_train('x', NULL::text);
SELECT amad_train('x', '');
SELECT amad_train('x', 'one', options => '{"features": ["a"]}');
SELECT amad_train('x', 'one', options => '{"windows": 8}');
SELECT count(*) AS stored FROM amad_models WHERE model_name = 'x';
SELECT count(*) AS rows FROM selected;

-- types of time
CREATE TABLE times AS SELECT n, n::int2 AS n2, n::int4 AS n4, ('2020-01-01'::date + n::int) AS day,
	'2026-01-01'::timestamp + n * interval '1 h' AS hour,
	sin(n / 7.0) AS a FROM generate_series(1, 200) n;
SELECT t, amad_train('time-' || t, 'times', t, '{a}', options => :'o')->'rows' AS rows
FROM unnest('{n,n2,n4,day,hour}'::text[]) t;
SELECT t, d->'ts_type' AS ts_type, d->'step' AS step, d->'max_gap' AS max_gap
FROM unnest('{n,n2,n4,day,hour}'::text[]) t, amad_describe('time-' || t) d;

-- ---- fleets
-- a series has a threshold of its own when enough of its rows have a score
SELECT s->'series' AS series, s->'step' AS step, s->'max_gap' AS max_gap,
	s->'threshold' = amad_describe('fleet')->'threshold' AS of_the_fleet
FROM jsonb_array_elements(amad_describe('fleet')->'series') s;
SELECT amad_train('fleet1', 'readings', series_cols => '{device}',
	options => :'o'::jsonb || '{"contamination": 0.002}')->'series' AS series;
SELECT d->'series'->0->'series' AS first, bool_and(s->'threshold' = d->'threshold') AS of_the_fleet
FROM amad_describe('fleet1') d, jsonb_array_elements(d->'series') s GROUP BY d;
SELECT series, count(DISTINCT threshold) AS thresholds, min(threshold) = (s->>'threshold')::float8 AS own
FROM amad_detect('fleet') JOIN jsonb_array_elements(amad_describe('fleet')->'series') s ON s->'series' = series
GROUP BY series, s ORDER BY series;
-- a series that is too short is omitted and counted; it is an error if no series is left
INSERT INTO readings (device, ts, flow, pressure, temp) SELECT 'short', ts, flow, pressure, temp FROM readings
WHERE device = 'a' ORDER BY ts LIMIT 10;
SELECT s->'series' AS series, s->'short_series' AS short, s->'rows' AS rows
FROM amad_train('fleet2', 'readings', series_cols => '{device}', options => :'o') s;
SELECT amad_train('fleet3', 'SELECT * FROM readings WHERE device = ''short''', 'ts', '{flow}', '{device}',
	options => :'o');
-- several columns, a null among them, numbers and booleans
SELECT amad_train('fleet4',
	$$SELECT ts, flow, device, ascii(device) > 97 AS big, NULLIF(ascii(device), 98) AS code FROM readings
	WHERE device < 'd'$$,

	'ts', '{flow}', '{big,code,device}', options => :'o')->'series' AS series;
SELECT DISTINCT series FROM amad_detect('fleet4') ORDER BY series;
-- without series_cols the rows are too many for one series
SELECT amad_train('x', 'readings', options => :'o');

-- ---- unusual rows
CREATE TABLE odd AS SELECT row_number() OVER () AS i, ts, flow, pressure, temp, false AS bad, 0 AS code FROM one;
INSERT INTO odd VALUES (401, NULL, 1, 1, 1, false, 0), (402, 'infinity', 1, 1, 1, false, 0),
	(403, '-infinity', 1, 1, 1, false, 0);
INSERT INTO odd SELECT 404, ts, 1e6, 1e6, 1e6, false, 0 FROM odd WHERE i = 50;
UPDATE odd SET flow = 'NaN', temp = NULL WHERE i = 60;
UPDATE odd SET flow = 'Infinity', temp = 'NaN' WHERE i = 61;
UPDATE odd SET flow = NULL, pressure = NULL, temp = NULL WHERE i = 62;
UPDATE odd SET temp = 10::numeric ^ 400 WHERE i = 63;
SELECT s->'rows' AS rows, s->'duplicate_rows' AS duplicates, s->'rows_without_timestamp' AS without_ts,
	s->'imputed_rows' AS imputed_rows, s->'imputed_values' AS imputed_values, s->'gaps' AS gaps
FROM amad_train('odd', 'odd', feature_cols => '{flow,pressure,temp}', options => :'o') s;
-- labelled rows are omitted: the model is that of the other rows
UPDATE odd SET bad = true, code = 2, flow = 1e9 WHERE i BETWEEN 100 AND 110;
SELECT l, s->'rows' AS rows, s->'labelled_rows' AS labelled, s->'gaps' AS gaps
FROM unnest('{bad,code}'::text[]) l,
	amad_train('odd-' || l, 'odd', feature_cols => '{flow,pressure,temp}', label_col => l, options => :'o') s;
SELECT round((amad_describe('odd-bad')->'scaling'->'mean'->>1)::numeric, 6) = round(avg(pressure)::numeric, 6)
	AS mean_of_the_others
FROM odd WHERE NOT bad AND isfinite(ts) AND i <= 400;
SELECT amad_train('x', 'odd', feature_cols => '{flow}', label_col => 'nosuch', options => :'o');
SELECT amad_train('x', 'SELECT ts, flow, ''x''::text AS l FROM one', label_col => 'l', options => :'o');
SELECT amad_train('x', 'SELECT ts, flow, true AS l FROM one', label_col => 'l', options => :'o');
-- a column without any value
SELECT amad_train('x', 'SELECT ts, flow, NULL::float8 AS never FROM one', options => :'o');
-- a column without values in one series of a fleet: the fleet's figures are used there
SELECT amad_train('fleet5',
	$$SELECT device, ts, flow, CASE WHEN device <> 'b' THEN pressure END AS p FROM readings WHERE device < 'd'$$,

	'ts', '{flow,p}', '{device}', options => :'o')->'imputed_values' AS imputed;
SELECT series, count(severity), count(*) FILTER (WHERE imputed = '{p}') AS imputed FROM amad_detect('fleet5')
GROUP BY series ORDER BY series;

-- ---- more rows than memory
CREATE TABLE many AS SELECT n / 20000 AS s, n AS t, sin(n / 7.0) + noise(n) AS a, cos(n / 9.0) + noise(n + 77) AS b
FROM generate_series(0, 79999) n;
SET maintenance_work_mem = '2MB';
SET client_min_messages = notice;
\set VERBOSITY terse
SELECT s->'rows' < '80000' AND s->'rows' > '10000' AS sampled, s->'sampled_from' AS sampled_from, s->'series' AS series
FROM amad_train('many', 'many', 't', '{a,b}', '{s}', options => :'o') s;
SELECT s->'rows' < '80000' AND s->'rows' > '5000' AS sampled, s->'sampled_from' AS sampled_from
FROM amad_train('many2', 'many', 't', '{a,b}', options => :'o') s;
\set VERBOSITY default
SET client_min_messages = warning;
SELECT model_name, training->'sampled_from' AS sampled_from FROM amad_models WHERE model_name LIKE 'many%' ORDER BY 1;
SELECT count(*) FILTER (WHERE training ? 'sampled_from') AS other FROM amad_models WHERE model_name NOT LIKE 'many%';
-- the sample is the same each time
SELECT amad_train('many', 'many', 't', '{a,b}', '{s}', options => :'o')->'version' AS version;
SELECT amad_model_send(a.model) = amad_model_send(b.model) AS same
FROM amad_models a, amad_models b
WHERE a.model_name = 'many' AND a.version = 1 AND b.model_name = 'many' AND b.version = 2;
SET maintenance_work_mem = '64MB';
-- calibration on blocks of many rows: few training rows are anomalies
CREATE TABLE blocks AS SELECT n / 1000 AS s, n AS t, noise(n) * (1 + n / 1000 % 3) AS a
FROM generate_series(0, 299999) n;
SELECT amad_train('blocks', 'blocks', 't', '{a}', '{s}', options => '{"method": "zscore"}')->'series' AS series;
SELECT count(severity) AS scored, count(*) FILTER (WHERE is_anomaly) < 0.1 * count(*) AS few,
	count(DISTINCT threshold) > 100 AS own
FROM amad_detect_bigint('blocks', "explain" => false);

-- ---- versions
SELECT amad_retrain('one')->'version' AS version;
SELECT amad_model_send(a.model) = amad_model_send(b.model) AS same FROM amad_models a, amad_models b
WHERE a.model_name = 'one' AND b.model_name = 'one' AND a.version = 1 AND b.version = 2;
SELECT a.source = b.source AS same_source, a.options = b.options AS same_options FROM amad_models a, amad_models b
WHERE a.model_name = 'one' AND b.model_name = 'one' AND a.version = 1 AND b.version = 2;
-- a warm start continues from the weights of the deployed version
SELECT s->'version' AS version, (s->>'loss')::float8 < (training->'loss'->-1)::float8 AS better
FROM amad_models m, amad_retrain('one', warm_start => true) s WHERE model_name = 'one' AND m.version = 2;
SELECT amad_retrain('one', NULL)->'version' AS version;
SELECT version, deployed FROM amad_models WHERE model_name = 'one' ORDER BY version;
SELECT amad_deploy('one', 1);
SELECT version, deployed FROM amad_models WHERE model_name = 'one' ORDER BY version;
SELECT DISTINCT model_version FROM amad_detect('one');
SELECT amad_deploy('one', 9);
SELECT amad_deploy('one', 0);
SELECT amad_deploy('nosuch', 1);
SELECT amad_deploy(NULL, 1) IS NULL AS "null";
SELECT amad_drop('one', 1);
SELECT amad_drop('one', 2);
SELECT amad_drop('one', 2);
SELECT amad_drop('one');
SELECT amad_drop('one');
SELECT amad_drop('nosuch');
SELECT amad_drop('one', 0);
-- the only version can be dropped while it is deployed
SELECT amad_drop('here', 1);
-- a model of the aggregate does not have a source
SELECT amad_train('agg', :'o'::jsonb, ts, flow) IS NULL FROM one;
SELECT amad_retrain('agg');
SELECT amad_retrain('nosuch');
-- a source that has changed
ALTER TABLE selected RENAME flow TO flux;
SELECT amad_retrain('kw');
DROP TABLE selected;
SELECT amad_retrain('kw');
BEGIN READ ONLY;
SELECT amad_train('x', 'one', options => :'o');
ROLLBACK;
BEGIN READ ONLY;
SELECT amad_retrain('q');
ROLLBACK;
BEGIN READ ONLY;
SELECT amad_drop('q');
ROLLBACK;

-- ---- rights
CREATE ROLE amad_reader;
GRANT USAGE ON SCHEMA source_test TO amad_reader;
GRANT SELECT ON one TO amad_reader;
SET ROLE amad_reader;
SELECT amad_train('mine', 'one', options => :'o')->'version' AS version;
SELECT amad_train('mine', 'readings', options => :'o');
SELECT amad_retrain('q');
SELECT amad_drop('q');
SELECT amad_deploy('q', 1);
RESET ROLE;
-- sources stored by other roles are not executed with the privileges of the caller
SELECT amad_detect('mine');
SELECT count(*) FROM amad_detect('mine', source => 'one');
SELECT amad_retrain('mine');
DELETE FROM amad_models WHERE owner = 'amad_reader';
DROP OWNED BY amad_reader;
DROP ROLE amad_reader;

DELETE FROM amad_models;
DROP SCHEMA "my schema", source_test CASCADE;
