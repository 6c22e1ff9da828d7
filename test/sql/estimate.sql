--
-- amad_estimate: what a training will need; and messages about memory that is too little for one.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/include/helpers.sql'
\i :helpers
CREATE SCHEMA estimate_test;
SET search_path = estimate_test, public, helpers;
SET client_min_messages = warning;
SET amad.max_parallel_workers = 0;
SET timezone = 'UTC';

CREATE TABLE readings AS SELECT d AS device, '2026-01-01'::timestamptz + n * interval '1 min' AS ts, sin(n / 7.0) * d + noise(n * d) AS flow,
	noise(n + d) AS temp
FROM generate_series(1, 6) d, generate_series(1, 3000) n WHERE d < 6 OR n <= 10;

-- rows, series, steps and passes are those of the training
SELECT rows, series, short_series, features, sampled, steps, round(passes::numeric, 2) AS passes, workers
FROM amad_estimate('readings', series_cols => '{device}', options => tiny('{"steps": 50}'));
SELECT s->'rows' AS rows, s->'series' AS series, s->'short_series' AS short_series, s->'steps' AS steps,
	round((s->>'passes')::numeric, 2) AS passes
FROM amad_train('fleet', 'readings', series_cols => '{device}', options => tiny('{"steps": 50}')) s;
-- with epochs
SELECT steps, round(passes::numeric, 2) AS passes
FROM amad_estimate('readings', series_cols => '{device}', options => tiny('{"epochs": 2}') - 'steps');
SELECT s->'steps' AS steps, round((s->>'passes')::numeric, 2) AS passes
FROM amad_train('fleet', 'readings', series_cols => '{device}', options => tiny('{"epochs": 2}') - 'steps') s;

-- sizes: the stored version within a quarter; memory is less than what the budget reserves
CREATE TABLE kinds (n int, options jsonb);
INSERT INTO kinds VALUES (1, tiny()), (2, '{"method": "pca"}'), (3, '{"method": "zscore"}'), (4, tiny('{"d_model": 64}'));
CREATE TABLE trained AS SELECT n, options, amad_train('k' || n, 'readings', series_cols => '{device}', options => options) FROM kinds;
SELECT n, version_bytes::float8 / pg_column_size(model) BETWEEN 0.8 AND 1.25 AS size, memory BETWEEN 1 AND 2e6 AS memory,
	e.maintenance_work_mem = pg_size_bytes(current_setting('maintenance_work_mem')) AS setting
FROM trained t JOIN amad_models ON model_name = 'k' || n,
	LATERAL amad_estimate('readings', series_cols => '{device}', options => t.options) e ORDER BY n;
-- times are positive, and their sum is the total
SELECT read_seconds > 0 AND train_seconds > 0 AND calibrate_seconds > 0 AND abs(seconds - read_seconds - train_seconds - calibrate_seconds) < 1e-9
	AS seconds, seconds < 60 AS "not too long"
FROM amad_estimate('readings', series_cols => '{device}', options => tiny());

-- with the memory required nothing is left out, with less the share is as estimated
CREATE TABLE many AS SELECT '2026-01-01'::timestamptz + n * interval '1 min' AS ts, sin(n / 7.0) AS flow, cos(n / 9.0) AS temp
FROM generate_series(1, 60000) n;
SELECT set_config('maintenance_work_mem', ceil(memory_required / 1024.0)::text, false) IS NOT NULL AS set
FROM amad_estimate('many', options => tiny());
SELECT sampled FROM amad_estimate('many', options => tiny());
SELECT amad_train('many', 'many', options => tiny())->'sampled_from' AS sampled_from;
SET maintenance_work_mem = '1MB';
SELECT sampled BETWEEN 0.05 AND 0.5 AS part, passes > 0 AS passes FROM amad_estimate('many', options => tiny());
SELECT s->'sampled_from' AS sampled_from, (s->>'rows')::float8 / 60000 BETWEEN 0.05 AND 0.5 AS part
FROM amad_train('many', 'many', options => tiny()) s;
-- the default network does not fit: no times
SELECT sampled, memory_required > 1048576 AS required, maintenance_work_mem, num_nonnulls(steps, passes, seconds, memory, version_bytes) AS others
FROM amad_estimate('many');

-- too little memory is named as the cause, not gaps in the rows
\set SHOW_CONTEXT never
\set VERBOSITY terse
SELECT amad_train('many', 'many');
\set VERBOSITY default
CREATE FUNCTION options() RETURNS jsonb LANGUAGE sql AS $$ SELECT tiny('{"horizons": [2, 2000]}') $$;
SELECT amad_train('many', 'SELECT * FROM many LIMIT 40000', options => options());
SELECT sampled, seconds FROM amad_estimate('SELECT * FROM many LIMIT 40000', options => options());
SET maintenance_work_mem = '4MB';
SELECT amad_train('many', 'SELECT * FROM many LIMIT 40000', options => options())->'rows' AS rows;
-- rows left out are not gaps
CREATE TABLE gaps AS SELECT d AS device, '2026-01-01'::timestamptz + (n + n / 700 * 1000) * interval '1 min' AS ts, sin(n / 7.0) AS flow,
	cos(n / 9.0) AS temp
FROM generate_series(1, 80) d, generate_series(1, 1300) n;
SET maintenance_work_mem = '2MB';
SELECT (s->>'gaps')::int <= 80 AS gaps, s->'sampled_from' AS sampled_from
FROM amad_train('gaps', 'gaps', series_cols => '{device}', options => tiny()) s;
SET maintenance_work_mem = '64MB';
SELECT s->'gaps' AS gaps, s->'sampled_from' AS sampled_from
FROM amad_train('gaps', 'gaps', series_cols => '{device}', options => tiny()) s;
RESET maintenance_work_mem;

-- errors are those of a training
SELECT rows FROM amad_estimate('SELECT * FROM readings WHERE false');
SELECT rows FROM amad_estimate('readings', feature_cols => '{nothing}');
SELECT rows FROM amad_estimate('SELECT * FROM readings LIMIT 7', options => tiny());
SELECT rows FROM amad_estimate(NULL);
-- transforms, other types of time, no finite time
SELECT e.rows, seconds > 0 AS seconds FROM amad_estimate('readings', series_cols => '{device}', options => tiny('{"transform": {"flow": "log", "temp": "rate"}}')) e;
SELECT rows, seconds > 0 AS seconds FROM amad_estimate('SELECT row_number() OVER (ORDER BY ts) * 100000000000000 AS n, flow FROM readings', 'n', '{flow}', options => tiny());
SELECT rows, seconds > 0 AS seconds FROM amad_estimate('SELECT ''infinity''::timestamp AS ts, flow FROM readings', options => tiny());

DROP SCHEMA estimate_test CASCADE;
DELETE FROM amad_models;
