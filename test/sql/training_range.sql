--
-- since, until and last_n of a training: which rows it uses, and what is stored
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA range_test;
SET search_path = range_test, public, helpers;
SET client_min_messages = warning;
SET timezone = 'UTC';

CREATE TABLE r AS
SELECT d AS device, '2026-01-01 00:00+00'::timestamptz + n * interval '1 min' AS ts, n::bigint AS number,
	sin(n / 7.0) * d + noise(n) AS a, cos(n / 9.0) + noise(n + 1000 * d) AS b
FROM generate_series(1, 2) d, generate_series(1, 600) n WHERE d = 1 OR n <= 500;

-- Do two models have the same weights and threshold?
CREATE FUNCTION same(a text, b text) RETURNS boolean LANGUAGE sql AS $$
	SELECT (SELECT bool_and(v.data = w.data) FROM amad_weights(x.model) v JOIN amad_weights(y.model) w USING (name))
		AND amad_describe(x.model)->'calibration' = amad_describe(y.model)->'calibration'
	FROM amad_models x, amad_models y WHERE x.model_name = a AND y.model_name = b AND x.deployed AND y.deployed $$;

-- ---- rows

-- since is inclusive, until exclusive
SELECT s->'rows' AS rows, s->'range' AS range
FROM amad_train('m', 'r', 'ts', feature_cols => '{a,b}', series_cols => '{device}', options => tiny(),
	since => '2026-01-01 01:00+00', until => '2026-01-01 07:00+00') s;
SELECT amad_train('query', $$SELECT * FROM r WHERE ts >= '2026-01-01 01:00+00' AND ts < '2026-01-01 07:00+00'$$, 'ts',
	feature_cols => '{a,b}', series_cols => '{device}', options => tiny())->'range' AS none;
SELECT same('m', 'query');
-- the newest timestamps of each series
SELECT s->'rows' AS rows, s->'range' AS range
FROM amad_train('m', 'r', 'ts', feature_cols => '{a,b}', series_cols => '{device}', options => tiny(), last_n => 200) s;
SELECT amad_train('query', $$SELECT * FROM r WHERE number > CASE device WHEN 1 THEN 400 ELSE 300 END$$, 'ts',
	feature_cols => '{a,b}', series_cols => '{device}', options => tiny())->'rows' AS rows;
SELECT same('m', 'query');
-- of those before until
SELECT s->'rows' AS rows, s->'range' AS range
FROM amad_train('m', 'r', 'ts', feature_cols => '{a,b}', series_cols => '{device}', options => tiny(), last_n => 200,
	until => '2026-01-01 05:00+00') s;
SELECT amad_train('query', $$SELECT * FROM r WHERE number BETWEEN 100 AND 299$$, 'ts',
	feature_cols => '{a,b}', series_cols => '{device}', options => tiny())->'rows' AS rows;
SELECT same('m', 'query');
-- the stored source is the whole table, and the range is part of the facts
SELECT source, training->'range' AS range FROM amad_models WHERE model_name = 'm' ORDER BY version;
SELECT amad_describe('m')->'training'->'range' AS range;
SELECT count(*), count(severity) > 900 AS scored FROM amad_detect('m');
SELECT amad_recalibrate('m', last_n => 300)->'version' AS version;
SELECT training->'range' AS range, training->'recalibration'->'training_version' AS training
FROM amad_models WHERE model_name = 'm' AND deployed;

-- ---- amad_retrain

SELECT s->'rows' AS rows, s->'range' AS range FROM amad_retrain('m', since => '2026-01-01 02:00+00') s;
-- without a range: all rows, whatever the range of the deployed version is
SELECT s->'rows' AS rows, s ? 'range' AS range FROM amad_retrain('m') s;
SELECT s->'rows' AS rows FROM amad_retrain('m', true, NULL, '2026-01-01 04:00+00', NULL) s;
SELECT s->'rows' AS rows FROM amad_retrain('m', last_n => 150) s;
-- later rows are detected
INSERT INTO r SELECT 1, '2026-01-01 00:00+00'::timestamptz + n * interval '1 min', n, sin(n / 7.0), 0 FROM generate_series(601, 610) n;
SELECT count(*) FROM amad_detect('m', since => '2026-01-01 10:01+00');

-- ---- types of time columns

-- the bounds of a column without time zone are converted by the session's time zone
CREATE VIEW plain AS SELECT ts AT TIME ZONE 'UTC' AS ts, a, b FROM r WHERE device = 1;
SET timezone = 'Europe/Berlin';
SELECT s->'rows' AS rows, s->'range' AS range
FROM amad_train('plain', 'plain', options => tiny(), since => '2026-01-01 03:00', until => '2026-01-01 09:00') s;
SET timezone = 'UTC';
CREATE VIEW days AS SELECT ('2026-01-01'::date + number::int) AS ts, a, b FROM r WHERE device = 1;
SELECT s->'rows' AS rows, s->'range' AS range
FROM amad_train('days', 'days', options => tiny(), since => '2026-02-01', until => '2026-12-01') s;
-- integers
SELECT s->'rows' AS rows, s->'range' AS range
FROM amad_train_bigint('number', 'r', 'number', '{a,b}', '{device}', options => tiny(), since => 101, until => 401) s;
SELECT s->'rows' AS rows, s->'range' AS range FROM amad_retrain_bigint('number', since => -9223372036854775808, until => 301) s;
SELECT s->'rows' AS rows, s->'range' AS range FROM amad_retrain_bigint('number', last_n => 100) s;
SELECT count(*) FROM amad_detect_bigint('number', until => 51);
-- the other function is fine without bounds
SELECT s->'rows' AS rows FROM amad_train('number', 'r', 'number', '{a,b}', '{device}', options => tiny(), last_n => 100) s;
SELECT s->'rows' AS rows FROM amad_retrain_bigint('plain', last_n => 200) s;
SELECT amad_train('number', 'r', 'number', feature_cols => '{a,b}', series_cols => '{device}', since => '2026-01-01');
SELECT amad_retrain('number', until => '2026-01-01');
SELECT amad_train_bigint('m', 'r', 'ts', '{a,b}', '{device}', since => 1);
SELECT amad_retrain_bigint('plain', since => 1);

-- ---- bounds that exclude nothing, or everything

SELECT s->'rows' AS rows, s ? 'range' AS range FROM amad_retrain('m', since => '-infinity', until => 'infinity') s;
SELECT s->'rows' AS rows, s ? 'range' AS range
FROM amad_retrain('m', since => NULL, until => NULL, last_n => NULL, deploy => NULL, keep => NULL) s;
SELECT amad_retrain('m', since => 'infinity');
SELECT amad_retrain('m', until => '-infinity');
SELECT amad_retrain('m', since => '2030-01-01');
SELECT amad_retrain('m', until => '2020-01-01', last_n => 10);
SELECT amad_retrain('m', since => '2026-01-02', until => '2026-01-01');
SELECT amad_retrain('m', since => '2026-01-02', until => '2026-01-02');
SELECT amad_retrain('m', since => '2026-01-01', last_n => 5);
SELECT amad_retrain('m', last_n => 0);
SELECT amad_retrain_bigint('number', since => 5, until => 4);
SELECT amad_retrain('m', last_n => 9223372036854775807)->'rows' AS rows;
-- too few rows
SELECT amad_retrain('m', last_n => 5);
-- rows without a timestamp are not in a range
CREATE TABLE unplaced AS SELECT 'infinity'::timestamptz AS ts, 1.0::float8 AS a;
SELECT amad_train('u', 'unplaced', since => '2026-01-01');

-- ---- what changes in between

BEGIN;
SET TRANSACTION READ ONLY;
SELECT amad_train('m', 'r', 'ts', since => '2026-01-01');
ROLLBACK;
BEGIN;
SET TRANSACTION READ ONLY;
SELECT amad_retrain('m', since => '2026-01-01');
ROLLBACK;
ALTER TABLE r DROP COLUMN b CASCADE;
SELECT amad_retrain('m', since => '2026-01-01');
DELETE FROM amad_models;
DROP SCHEMA range_test CASCADE;
